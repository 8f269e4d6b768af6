"""What solvers and decompositions return: frozen, with the numbers that justify them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import numpy as np

Array = Any
Class = TypeVar("Class", bound=type)

STORABLE: dict[str, type] = {}


def storable(kind: str) -> Callable[[Class], Class]:
    """Register a dataclass with `infogeo.save` and `infogeo.load`.

    Parameters
    ----------
    kind : str
        What files call it: this stays when the class is moved or renamed.

    Returns
    -------
    callable
        The decorator, in a line of its own: `infogeo.load` finds there which module it has to
        import.
    """

    def register(cls: Class) -> Class:
        known = STORABLE.setdefault(kind, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise ValueError(f"{kind} is registered already, for {known!r}")
        STORABLE[kind] = cls  # the same class again where its module is reloaded
        return cls

    return register


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
        What happened, in parts: of `c_maximize` and what builds on it, ``message.said(features=,
        outcomes=)`` writes it with names for numbers.
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


@storable("Projection")
@dataclass(frozen=True, eq=False)
class Projection:
    """The distribution that constraints single out, with the proof of its accuracy.

    Parameters
    ----------
    probabilities : array, shape (..., c)
        The point p* where E_C and M_D meet.
    theta : array, shape (..., m)
        Its natural parameters: log p* = C + theta'F - log_partition.
    log_partition : array, shape (...)
        psi(theta), in nats.
    value : array, shape (...)
        H(p*) + E_p*[C], the maximum, in nats.
    entropy : array, shape (...)
        H(p*), in nats.
    residual : array, shape (...)
        The largest violation of E[F_i] = b_i, in the units of F_i.
    error_bound : array, shape (...)
        Certified: no entry of ``log_probabilities`` on the support is off by more than this; inf
        if the solve did not come close enough for a certificate. It is the relative error of
        every probability that the dtype holds with all its digits.
    dual_gap : array, shape (...)
        Certified upper bound on KL(p*, probabilities), in nats.
    status : Status
        How the solve ended; for a batch the worst of its members.
    support : bool array, shape (..., c)
        Where p* is positive, be it too small for the dtype of the probabilities.
    rank : int array, shape (...)
        The number of independent constraints.
    steps : int array, shape (...)
        Newton steps taken.
    log_probabilities : array, shape (..., c)
        log p*, in nats: -inf off the support, finite on it also where the probability is too
        small for its dtype.
    certificate : array, shape (..., m), or None
        A vector eta over the features that proves infeasibility: eta'(F_y - b) > 0 for every
        outcome, or eta'F constant and different from eta'b. None if there is nothing to prove;
        NaN for the members of a batch that have none.
    direction : array, shape (..., m), or None
        On the boundary, a vector eta over the features that exposes the face: eta'(F_y - b) is 0
        for the outcomes of the support and positive for the others that log_base allows.
        theta - s eta is the theta of the limit s -> inf. None if nothing is on the boundary; NaN
        for the members of a batch that are not.
    member_status : numpy array of Status, shape (...)
        How each member of a batch ended.
    """

    probabilities: Array
    theta: Array
    log_partition: Array
    value: Array
    entropy: Array
    residual: Array
    error_bound: Array
    dual_gap: Array
    status: Status
    support: Array
    rank: Array
    steps: Array
    log_probabilities: Array
    certificate: Array | None = None
    direction: Array | None = None
    member_status: np.ndarray | None = None

    def __str__(self) -> str:
        batch = tuple(self.rank.shape)
        lines = [
            f"Projection: {self.status.value}{f' (the worst of a batch {batch})' if batch else ''}",
            f"outcomes {self.probabilities.shape[-1]}, features {self.theta.shape[-1]}, "
            f"rank {_span(self.rank, '.0f')}, steps {_span(self.steps, '.0f')}",
            f"violation of the constraints {_span(self.residual, '.2g')}",
            f"error of every log-probability at most {_span(self.error_bound, '.2g')}",
            f"entropy {_span(self.entropy, '.6g')} nats, H + E[C] {_span(self.value, '.6g')} nats",
        ]
        if self.direction is not None:
            lines.append(_vanishing(_on_host(self.direction), _on_host(self.support)))
        if self.certificate is not None:
            lines.append(_clash(_on_host(self.certificate)))
        return "\n  ".join(lines)


def _on_host(x: Array) -> np.ndarray:
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _span(x: Array, form: str) -> str:
    """Write one number, or the smallest and the largest of a batch."""
    numbers = _on_host(x)
    if numbers.size == 0:
        return "none"
    low, high = format(float(numbers.min()), form), format(float(numbers.max()), form)
    return low if low == high else f"{low} to {high}"


def _vanishing(directions: np.ndarray, supports: np.ndarray) -> str:
    """Say which outcomes vanish and why: of the first such problem, if it is a batch."""
    first, eta, member = _first_member(directions)
    on = supports.reshape(-1, supports.shape[-1])[first]
    numbers = np.flatnonzero(~on)
    more = ", ..." if numbers.size > 8 else ""
    listed = ", ".join(str(y) for y in numbers[:8])
    return (
        f"{member}{numbers.size} of {on.size} outcomes have probability 0: {listed}{more}; "
        f"{_combination(eta)} is nowhere below its target, and above it there"
    )


def _clash(certificates: np.ndarray) -> str:
    """Say which features clash: in the first certificate, if it is a batch."""
    _, eta, member = _first_member(certificates)
    return f"{member}{_combination(eta)} is above its target for every outcome"


def _first_member(vectors: np.ndarray) -> tuple[int, np.ndarray, str]:
    """Return the first member of a batch that has a vector, and how to call it."""
    rows = vectors.reshape(-1, vectors.shape[-1])
    first = int(np.argmin(np.isnan(rows).any(axis=-1)))
    return first, rows[first], f"problem {first} of the batch: " if vectors.ndim > 1 else ""


def _combination(eta: np.ndarray) -> str:
    (features,) = np.nonzero(eta)
    terms = " ".join(f"{eta[i]:+.4g} F[{i}]" for i in features[:6])
    return terms + (" ..." if features.size > 6 else "")


@storable("Spectrum")
@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues and eigenvectors of a pullback metric, relative to the input's own metric.

    Parameters
    ----------
    values : array, shape (batch, k)
        Descending, squared Fisher-Rao length (of the radius-2 sphere) per squared input length.
    vectors : array, shape (batch, k, ...)
        Orthonormal directions of the shape of an input, one for each value.
    temperature : float
        The softmax temperature the metric was taken at.
    errors : array, shape (batch, k), or None
        For values from products with vectors: by how much each can be too small; none is too
        large by more than rounding. None for values that are exact to rounding.
    """

    values: Array
    vectors: Array
    temperature: float
    errors: Array | None = None


@storable("TraceEstimate")
@dataclass(frozen=True, eq=False)
class TraceEstimate:
    """The trace of a pullback metric from random directions of the output.

    Parameters
    ----------
    values : array, shape (batch,)
        Unbiased estimates of the trace.
    standard_errors : array, shape (batch,)
        Their standard deviations, estimated from the same samples.
    num_samples : int
        How many random directions were taken.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    values: Array
    standard_errors: Array
    num_samples: int
    temperature: float


@storable("ScaledFactor")
@dataclass(frozen=True, eq=False)
class ScaledFactor:
    """The factor A = diag(exp(log_scales)) rows of a pullback metric, before it can underflow.

    Parameters
    ----------
    rows : array, shape (batch, r, d)
        Directions, of the size of the network's Jacobian.
    log_scales : array, shape (batch, r)
        Logarithms of the rows' weights, descending; in a product of heads within each part.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    rows: Array
    log_scales: Array
    temperature: float


@storable("Attack")
@dataclass(frozen=True, eq=False)
class Attack:
    """Inputs moved to where a model may no longer predict the same class.

    Parameters
    ----------
    points : array, shape (batch, ...)
        The inputs after the attack.
    success : bool array, shape (batch,)
        Whether the predicted class has changed.
    distances : array, shape (batch,)
        How far the points are from the inputs in the l2 norm: the radius, unless the box that
        they were held in ends before.
    temperature : float
        The softmax temperature the metric was taken at.
    """

    points: Array
    success: Array
    distances: Array
    temperature: float


@storable("Kinks")
@dataclass(frozen=True, eq=False)
class Kinks:
    """Where a network is not differentiable at its inputs.

    Parameters
    ----------
    is_differentiable : bool array, shape (batch,)
        Whether no kink was found at the input.
    operations : tuple of str
        The operations with kinks, and the modules that they belong to.
    counts : int array, shape (batch, len(operations))
        How many entries of their results are at a kink.
    """

    is_differentiable: Array
    operations: tuple[str, ...]
    counts: Array

    def __str__(self) -> str:
        is_smooth, counts = _on_host(self.is_differentiable), _on_host(self.counts)
        lines = [f"Kinks: {int((~is_smooth).sum())} of {_counted(len(is_smooth), 'input')} at one"]
        for name, column in zip(self.operations, counts.T, strict=True):
            entries = _counted(int(column.sum()), "entry", "entries")
            lines.append(f"{name}: {entries} of {_counted(int((column > 0).sum()), 'input')}")
        return "\n  ".join(lines)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


@storable("Mean")
@dataclass(frozen=True, eq=False)
class Mean:
    """A Frechet mean, with the gradient that it leaves.

    Parameters
    ----------
    point : array, shape (..., c), or points of the space
        The mean.
    gradient_norm : array, shape (...)
        Fisher norm of the weighted mean of the log maps: for predictions in radians of the sphere
        of radius 2.
    steps : int array, shape (...)
        Steps taken.
    status : Status
        How the solve ended; for a batch the worst of its members.
    """

    point: Array
    gradient_norm: Array
    steps: Array
    status: Status


@storable("Neighbors")
@dataclass(frozen=True, eq=False)
class Neighbors:
    """The nearest points of each query, nearest first.

    Parameters
    ----------
    indices : int64 array, shape (n, num_neighbors)
        Rows of the points; equal distances are in the order of the rows.
    distances : array, shape (n, num_neighbors)
        Fisher-Rao distances, ascending.
    """

    indices: Array
    distances: Array


@storable("Connection")
@dataclass(frozen=True, eq=False)
class Connection:
    """The geodesic between two normals, with what its solve left over.

    Parameters
    ----------
    distance : array, shape (...)
        Its length, the Fisher-Rao distance.
    initial_velocity : Tangent
        At the first point: the log map.
    final_velocity : Tangent
        On arrival at the second point.
    residual : array, shape (...)
        The part of the length that is left in the fibre, 0 but for rounding: the velocities are
        off by about as much, the distance by its square.
    steps : int array, shape (...)
        Newton steps taken.
    status : Status
        How the solve ended; for a batch the worst of its members.
    """

    distance: Array
    initial_velocity: Any
    final_velocity: Any
    residual: Array
    steps: Array
    status: Status


@storable("Bounds")
@dataclass(frozen=True, eq=False)
class Bounds:
    """A certified bracket.

    Parameters
    ----------
    lower, upper : array, shape (...)
        No value below the one or above the other is possible.
    """

    lower: Array
    upper: Array


@storable("Length")
@dataclass(frozen=True, eq=False)
class Length:
    """The length of curves, measured until it no longer changed.

    Parameters
    ----------
    value : array, shape (batch,)
        In radians of the sphere of radius 2.
    error : array, shape (batch,)
        Estimate of the error of `value`, by halving the steps; no bound.
    num_segments : int array, shape (batch,)
        Pieces that the curves were cut into.
    status : Status
        For a batch the worst of its members.
    member_status : numpy array of Status, shape (batch,)
        CONVERGED where `error` is small enough, ROUNDING where the precision of the model does not
        allow that, MAX_STEPS where the pieces ran out.
    """

    value: Array
    error: Array
    num_segments: Array
    status: Status
    member_status: np.ndarray


@storable("Path")
@dataclass(frozen=True, eq=False)
class Path:
    """Short paths between inputs, as polygons, with a bracket of the distance.

    Parameters
    ----------
    points : array, shape (num_segments + 1, batch, ...)
        The corners, from the first input to the second.
    length : array, shape (batch,)
        Of the polygon, between its corners too: no geodesic is longer.
    lower_bound : array, shape (batch,)
        The distance of the two predictions: no path is shorter.
    energy : array, shape (batch,)
        Half the integral of the squared speed, at least length^2 / 2.
    arrival_error : array, shape (batch,)
        How much longer than `lower_bound` the lift of the geodesic between the predictions is: 0
        where it arrives at the second input by steps short enough. NaN for a head that knows no
        geodesics.
    steps : int array, shape (batch,)
        Steps of the minimisation of the energy; 0 where the lift was enough.
    status : Status
        How the search ended; for a batch the worst of its members.
    member_status : numpy array of Status, shape (batch,)
        How each member of the batch ended.
    """

    points: Array
    length: Array
    lower_bound: Array
    energy: Array
    arrival_error: Array
    steps: Array
    status: Status
    member_status: np.ndarray


@storable("KernelWalk")
@dataclass(frozen=True, eq=False)
class KernelWalk:
    """Walks among inputs that the network cannot tell apart.

    Parameters
    ----------
    points : array, shape (num_steps + 1, batch, ...)
        The inputs, from the one where the walk starts.
    drift : array, shape (num_steps + 1, batch)
        Fisher-Rao distance of their predictions from the first one, in radians.
    """

    points: Array
    drift: Array


@storable("LeafPath")
@dataclass(frozen=True, eq=False)
class LeafPath:
    """Paths that move only where the prediction moves, from one input towards another.

    Parameters
    ----------
    points : array, shape (num_steps + 1, batch, ...)
        The inputs on the way, from the first one.
    outputs : array, shape (num_steps + 1, batch, c)
        The network's outputs there, divided by the temperature.
    labels : int array, shape (num_steps + 1, batch)
        The largest of the outputs: the predicted class of a classifier.
    length : array, shape (batch,)
        In radians: the sum of the distances between consecutive predictions.
    remainder : array, shape (batch,)
        The horizontal part of what is left to the target, in units of the input: 0 where the path
        ends as near to the target as its leaf goes.
    """

    points: Array
    outputs: Array
    labels: Array
    length: Array
    remainder: Array
