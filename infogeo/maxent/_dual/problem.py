"""What the parts of the solve hand to each other."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from infogeo._status import Status
from infogeo.maxent._dual.features import ranges
from infogeo.maxent._wording import Message

EPS = float(np.finfo(np.float64).eps)
# How often over a rounding error has to be exceeded before it counts as more than rounding.
CAUTION = 8.0


@dataclass(frozen=True)
class Controls:
    """When to stop, and whom to tell on the way."""

    tol: float
    max_steps: int
    callback: Callable[[int, float], object] | None = None

    def report(self, step: int, decrement: float) -> None:
        """Tell the user's callback how far the search has come."""
        if self.callback is not None:
            self.callback(step, float(decrement))


@dataclass(frozen=True)
class Problem:
    """One problem in float64, or a batch of them with leading axes."""

    features: Any  # (m, c): an array, or a scipy.sparse one for the solve of sparse features
    targets: np.ndarray  # (m,)
    log_base: np.ndarray  # (c,), as the user gave it
    roundoff: float  # relative, of the targets
    start: np.ndarray | None = None  # (m,): natural parameters to start from
    penalty: np.ndarray | None = None  # (m,): weights of the squared violations, if they may be
    noise: np.ndarray | None = None  # (m,): how far targets may be off beyond their rounding

    @functools.cached_property
    def base(self) -> np.ndarray:
        """The log_base of one problem, shifted so that the largest entry is 0.

        The shift is by the largest entry of these outcomes: one that a face leaves behind may be
        so large that a shift by it rounds all others away.
        """
        return self.log_base - self.log_base.max()

    @property
    def blur(self) -> np.ndarray:
        """How far the targets that were meant may be from those that are given, (m,)."""
        rounding = self.roundoff * np.abs(self.targets)
        return rounding if self.noise is None else rounding + self.noise

    @functools.cached_property
    def ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """The smallest and the largest value of every feature, each (m,)."""
        return ranges(self.features)

    def member(self, k: Any) -> "Problem":
        """Return a member, or a slice, of a batch."""
        start = None if self.start is None else self.start[k]
        penalty = None if self.penalty is None else self.penalty[k]
        noise = None if self.noise is None else self.noise[k]
        F, b, C = self.features[k], self.targets[k], self.log_base[k]
        return Problem(F, b, C, self.roundoff, start, penalty, noise)


@dataclass(frozen=True)
class Point:
    """A member q of the exponential family."""

    t: np.ndarray  # (r,)
    logits: np.ndarray  # (c,): C + t'rows
    value: float  # of the dual, log sum exp(logits)
    p: np.ndarray  # (c,)
    mean: np.ndarray  # (r,): E_q[rows]
    gradient: np.ndarray  # (r,): of the dual, mean + ridge t


@dataclass(frozen=True)
class Step:
    """Where to go from a point, in the model of second order."""

    direction: np.ndarray  # (r,)
    along: np.ndarray  # (c,): the change of the logits
    decrement: float
    reach: float  # the largest range of the change of the logits of one distribution
    hessian: Any  # what `curvature` makes a proof from
    is_reliable: bool = True  # whether a proof can be built on the Hessian

    def shortened(self, share: float) -> "Step":
        """Return a share of the step."""
        direction, along = share * self.direction, share * self.along
        return replace(self, direction=direction, along=along, reach=share * self.reach)


@dataclass(frozen=True)
class Curvature:
    """The Hessian at a point, and what follows from it."""

    origin: Any  # as the points of the features are
    whitener: np.ndarray  # (k, r): W with W'W close to the inverse; 0 for dependent features
    lever: float  # no two rows are further apart, in the norm of W
    is_centred: bool = True  # whether no row is further than half of that from the mean
    doubt: float = 0.0  # the Hessian and its approximation are at most exp(doubt) times each other
    sizes: np.ndarray | float = 0.0  # (r,): the spread of each feature
    norms: np.ndarray | float = math.inf  # (c,): how far rows are from the mean, in the norm of W
    lengths: np.ndarray | float = 0.0  # (c,): of large dense features, of their rows
    largest: float = math.inf  # of large dense features, bounds the singular values of W

    def decrement(self, point: Any) -> float:
        """Return the Newton decrement of a point nearby."""
        return float(np.linalg.norm(self.whitener @ point.gradient))

    def moved(self, point: Any) -> float:
        """Return how far the gradient has moved to a point nearby; inf if that is of no use."""
        if not self.is_centred:
            return math.inf
        return float(np.linalg.norm(self.whitener @ (point.gradient - self.origin.gradient)))


@dataclass(frozen=True)
class Outcome:
    """How the solve in reduced coordinates ended."""

    status: Status
    point: Any  # a Point, or as the features have them
    steps: int
    error_bound: float = math.inf
    dual_gap: float = math.inf
    certificate: np.ndarray | None = None
    vanishing: np.ndarray | None = None  # bool (c,): outcomes whose probabilities run to 0
    rank: int | None = None  # of the constraints, where it was found at the optimum only
    was_limited: bool = False  # whether the search for a face was too large to be finished


class Provable(Protocol):
    """Features of which a point near the optimum can be proved to be near.

    Dense ones are a `dense.Reduced`, or a `large.Large` if they are many; sparse ones are a
    `sparse.SparseReduced`; those of samples are a `softmax.Task`. Each has parameters t of its own,
    and a kind of points, with a gradient.
    """

    def errors(self, curvature: Curvature, point: Any) -> tuple[float, float, float]:
        """Bound the drift, and the rounding errors of the whitened gradient and of all log p.

        Covariances changed by a factor of at most exp(drift) since the curvature was found.
        """

    def are_met(self, curvature: Curvature, point: Any, size: float) -> bool:
        """Whether the targets hold of those features that the whitener leaves out.

        `size` is the certified decrement of the others.
        """


class System(Provable, Protocol):
    """What Newton's method asks of features."""

    has_many_proofs: bool  # whether to go on after a proof that failed

    def step(self, point: Any) -> Step:
        """Return the Newton step from a point."""

    def line(
        self, point: Any, direction: np.ndarray, along: np.ndarray
    ) -> Callable[[float], tuple[float, float]]:
        """Return the first two derivatives of the dual on a line, as a function of the length."""

    def moved(self, point: Any, step: Step, length: float) -> Any:
        """Return the point after a step of some length."""

    def shifted(self, point: Any, change: np.ndarray, *, accurate: bool) -> Any:
        """Return the point after a change in the coordinates of the gradient."""

    def curvature(self, point: Any, hessian: Any) -> Curvature:
        """Return the Hessian at a point, for a proof, from what the step there knows of it."""


class Constraints(System, Protocol):
    """Features with targets, with what the search for a proof or for a face asks of them."""

    base: np.ndarray  # (c,)
    blur: np.ndarray  # (r,): how well targets are known
    ridge: np.ndarray | float  # (r,): the dual has ridge t^2 / 2 added for each t
    is_open: bool  # whether a dependence of features was neither refuted nor confirmed
    transform: np.ndarray  # (m, r): theta = transform @ t, for gradients; empty if they need none

    def theta(self, t: np.ndarray) -> np.ndarray:
        """Return the natural parameters of the user's features."""

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """Return the t of natural parameters of the user's features."""

    def residual(self, problem: Problem, point: Point) -> float:
        """Return the largest violation of the targets, in the units of the user."""

    def evaluate(self, t: np.ndarray, *, accurate: bool = False) -> Point:
        """Return the member of the family with parameters t."""

    def finished(self, problem: Problem, outcome: Outcome, tol: float) -> Outcome:
        """Return the outcome, or the proof of a contradiction that only the end brings to light."""

    def violations(self, point: Point) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much targets are missed, and the rounding of targets."""

    def rounding_of_violations(self, point: Point) -> np.ndarray:
        """Bound the rounding errors of `violations`."""

    def normals(self, support: np.ndarray) -> np.ndarray:
        """Return an orthonormal basis, (r, k), of the t with t'(F - b) = 0 on the support."""

    def heights(self, normals: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
        """Return t'(F - b) on some outcomes, (k, n), for each of the t in the columns."""

    def program(self) -> tuple[Any, Any]:
        """Return the constraints of the search for the largest support, see `face`."""


@dataclass(frozen=True)
class Found:
    """What was found, on the outcomes of a face."""

    problem: Problem  # on the outcomes of the face
    reduced: Any  # Constraints, or a `large.Large`
    outcome: Outcome
    support: np.ndarray  # bool, over the outcomes that were given
    direction: np.ndarray | None = None  # (m,): exposes the face


@dataclass(frozen=True)
class Solution:
    """The fields of a Projection for one problem, and what to tell if it failed."""

    probabilities: np.ndarray
    log_probabilities: np.ndarray
    theta: np.ndarray
    log_partition: float
    value: float
    entropy: float
    residual: float
    error_bound: float
    dual_gap: float
    status: Status
    support: np.ndarray
    rank: int
    steps: int
    certificate: np.ndarray | None
    direction: np.ndarray | None
    transform: np.ndarray  # (m, r), as in Reduced
    diagnosis: Message
