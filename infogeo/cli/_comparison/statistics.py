"""Standard errors, and what they allow to say: pass, drift, or not enough data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

PASS, DRIFT, UNDECIDED = "pass", "drift", "not enough data"


def mean_error(x: np.ndarray) -> float | None:
    """Return the standard error of the mean of independent numbers; None of a single one."""
    return float(x.std(ddof=1)) / math.sqrt(x.size) if x.size > 1 else None


def share_error(count: int, total: int) -> float:
    """Return the standard error of a share, after Agresti and Coull.

    Two successes and two failures are added: of no changes among 40 rows the error is not 0.
    """
    p = (count + 2.0) / (total + 4.0)
    return math.sqrt(p * (1.0 - p) / (total + 4.0))


def quantile_error(x: np.ndarray, q: float) -> float | None:
    """Return the standard error of a quantile, from the quantiles one error of q away (Woodruff).

    None where these are outside of the data, as for the largest number or a single one.
    """
    import numpy as np

    error = math.sqrt(q * (1.0 - q) / x.size)
    if x.size < 2 or error == 0.0 or not error <= q <= 1.0 - error:
        return None
    low, high = np.quantile(x, [q - error, q + error])
    return float(high - low) / 2.0


def mean_interval(x: np.ndarray, level: float) -> tuple[float, float, float]:
    """Return the mean of independent numbers and Student's interval for it."""
    from scipy.special import stdtrit

    mean, error = float(x.mean()), mean_error(x)
    if error is None:
        return mean, 0.0, math.pi
    half = float(stdtrit(x.size - 1, 0.5 * (1.0 + level))) * error
    return mean, max(mean - half, 0.0), min(mean + half, math.pi)


def mcnemar(old: np.ndarray, new: np.ndarray) -> float:
    """Return the exact p-value of equal accuracies: of rows right in one version only."""
    from scipy.stats import binomtest

    lost, won = int((old & ~new).sum()), int((new & ~old).sum())
    return float(binomtest(won, lost + won).pvalue) if lost + won else 1.0


def verdict(
    estimate: float, lower: float, upper: float, num_rows: int, *, tolerance: float, level: float
) -> dict[str, Any]:
    """Return what an interval says about a tolerance.

    Parameters
    ----------
    estimate, lower, upper : float
        The distance and its interval, in radians.
    num_rows : int
        From how many rows.
    tolerance : float
        The distance that does not matter.
    level : float
        With which probability the interval holds the distance.
    """
    word = PASS if upper <= tolerance else DRIFT if lower > tolerance else UNDECIDED
    found: dict[str, Any] = {
        "verdict": word,
        "tolerance": tolerance,
        "level": level,
        "estimate": estimate,
        "lower": lower,
        "upper": upper,
    }
    if word == UNDECIDED:
        found["rows_that_would_decide"] = _rows_to_decide(
            estimate, lower, upper, num_rows, tolerance
        )
    return found


def _rows_to_decide(
    estimate: float, lower: float, upper: float, num_rows: int, tolerance: float
) -> int | None:
    """Return about how many rows would make the interval end before the tolerance.

    Its ends come nearer to the estimate with the root of the number of rows. None where the
    estimate is the tolerance, to what two digits of the rows can say.
    """
    gap = abs(tolerance - estimate)
    reach = upper - estimate if estimate < tolerance else estimate - lower
    factor = (reach / gap) ** 2 if gap > 1e-3 * reach else math.inf
    if not factor < 1e6:
        return None
    rows = max(num_rows + 1.0, factor * num_rows)
    digits = 1 - math.floor(math.log10(rows))
    return int(math.ceil(rows * 10.0**digits) / 10.0**digits)


@dataclass(frozen=True)
class Outcome:
    """What a limit decides: passed, failed, or (None) nothing; and the words for it."""

    passed: bool | None
    text: str

    @property
    def words(self) -> str:
        if self.passed is None:
            return f"NOT ENOUGH DATA: {self.text}"
        return f"{'passed' if self.passed else 'FAILED'}: {self.text}"


def of_p_value(p: float, limit: float) -> Outcome:
    """Return what a limit on a p-value decides."""
    return Outcome(p >= limit, f"p = {p:.3g}, at least {limit:.3g} required")


def of_verdict(found: dict[str, Any], what: str, rows: str) -> Outcome:
    """Return what a verdict decides, in words about rows or observations."""
    text = (
        f"{what} {found['estimate']:.4g}, from {found['lower']:.4g} to {found['upper']:.4g} at "
        f"the level {found['level']:g}, tolerance {found['tolerance']:.4g}"
    )
    if found["verdict"] != UNDECIDED:
        return Outcome(found["verdict"] == PASS, text)
    needed = found["rows_that_would_decide"]
    if needed is None:
        return Outcome(None, f"{text}: it is too near to it for any number of {rows}")
    return Outcome(None, f"{text}: about {needed} {rows} would decide")
