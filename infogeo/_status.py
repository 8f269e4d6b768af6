"""How a solve ended, and the error that an unsuccessful one raises."""

from collections.abc import Iterable
from enum import Enum
from typing import Any


class Status(Enum):
    """How a solve ended; the value is the explanation that messages show."""

    CONVERGED = "converged"
    BOUNDARY = "solved: the optimum lies on a face, theta is only a direction's limit"
    INFEASIBLE = "no distribution satisfies the constraints"
    UNDECIDED = "neither a solution nor a proof that there is none"
    MAX_STEPS = "the steps ran out"
    ROUNDING = "rounding hides the answer"

    @property
    def is_solution(self) -> bool:
        """Whether the result is the answer that was asked for."""
        return self in (Status.CONVERGED, Status.BOUNDARY)


_SEVERITY = (
    Status.CONVERGED,
    Status.BOUNDARY,
    Status.ROUNDING,
    Status.MAX_STEPS,
    Status.UNDECIDED,
    Status.INFEASIBLE,
)


def worst(statuses: Iterable[Status]) -> Status:
    """Return how a solve of several parts ended; CONVERGED if there are none."""
    return max(statuses, key=_SEVERITY.index, default=Status.CONVERGED)


class SolveError(RuntimeError):
    """A solve that did not succeed.

    Parameters
    ----------
    text : str
        What happened and what can be done.
    result : object
        The frozen result as far as it got, the same that ``throw=False`` returns.
    failed : tuple of int or None
        For a batch, which of its members failed; the others are solved in `result`.
    message : object or None
        What happened, in parts: of `maxent`, ``message.said(features=, outcomes=, classes=)``
        writes it with these names, and ``message.said()`` with numbers.
    """

    def __init__(
        self, text: str, result: Any, failed: tuple[int, ...] | None = None, *, message: Any = None
    ):
        super().__init__(text)
        self.result = result
        self.failed = failed
        self.message = message

    def __reduce__(self) -> tuple[Any, ...]:
        return _solve_error, (str(self), self.result, self.failed, self.message)


def _solve_error(text: str, result: Any, failed: Any, message: Any) -> SolveError:
    return SolveError(text, result, failed, message=message)
