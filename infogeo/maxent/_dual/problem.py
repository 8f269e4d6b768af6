"""What the parts of the solve hand to each other."""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from infogeo._status import Status
from infogeo.maxent._dual.features import ranges, violations
from infogeo.maxent._dual.linear import mean_of
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

    def report(self, step, decrement):
        """Tell the user's callback how far the search has come."""
        if self.callback is not None:
            self.callback(step, float(decrement))


@dataclass(frozen=True)
class Problem:
    """One problem in float64, or a batch of them with leading axes."""

    features: np.ndarray  # (m, c); a scipy.sparse array for the solve of sparse features
    targets: np.ndarray  # (m,)
    log_base: np.ndarray  # (c,), as the user gave it
    roundoff: float  # relative, of the targets
    start: np.ndarray | None = None  # (m,): natural parameters to start from
    penalty: np.ndarray | None = None  # (m,): weights of the squared violations, if they may be
    noise: np.ndarray | None = None  # (m,): how far targets may be off beyond their rounding

    @functools.cached_property
    def base(self):
        """The log_base of one problem, shifted so that the largest entry is 0.

        The shift is by the largest entry of these outcomes: one that a face leaves behind may be
        so large that a shift by it rounds all others away.
        """
        return self.log_base - self.log_base.max()

    @property
    def blur(self):
        """How far the targets that were meant may be from those that are given, (m,)."""
        rounding = self.roundoff * np.abs(self.targets)
        return rounding if self.noise is None else rounding + self.noise

    @functools.cached_property
    def ranges(self):
        """The smallest and the largest value of every feature, each (m,)."""
        return ranges(self.features)

    def member(self, k):
        """Return a member, or a slice, of a batch."""
        start = None if self.start is None else self.start[k]
        penalty = None if self.penalty is None else self.penalty[k]
        noise = None if self.noise is None else self.noise[k]
        F, b, C = self.features[k], self.targets[k], self.log_base[k]
        return Problem(F, b, C, self.roundoff, start, penalty, noise)


@dataclass(frozen=True)
class Reduced:
    """The same problem in independent features of spread about 1 whose targets are 0."""

    rows: np.ndarray  # (r, c): combinations of F - b
    transform: np.ndarray  # (m, r): theta = transform @ t, of minimum norm
    lower: np.ndarray  # (r, r): lower @ rows are r of the rows of F - b, scaled
    blur: np.ndarray  # (r,): how well the targets of those rows are known or can be met
    combinations: np.ndarray  # (m, m - r): eta'F is constant for each column eta
    unmet: np.ndarray  # bool (m - r,): where eta'b is another constant, beyond rounding
    varies: np.ndarray  # bool (m - r,): where eta'F is no constant, beyond rounding
    ridge: np.ndarray | float = 0.0  # (r,): the dual has ridge t^2 / 2 added for each t
    kept: np.ndarray | None = None  # (r,): the features that the others follow from
    covariance: np.ndarray | None = None  # (r, r): of the rows at t = 0, where it is known

    @property
    def is_open(self):
        """Whether a dependence of features was neither refuted nor confirmed."""
        return bool(self.unmet.any() or self.varies.any())

    def theta(self, t):
        """Return the natural parameters of the user's features."""
        return self.transform @ t

    def residual(self, problem, point):
        """Return the largest violation of the targets, in the units of the user."""
        return float(np.abs(violations(problem.features, problem.targets, point.p)).max())

    @property
    def rank(self):
        """How many features are independent."""
        return self.rows.shape[0]

    def normals(self, support):
        """Return an orthonormal basis, (r, k), of the t with t'rows = 0 on the support."""
        basis, upper, _ = scipy.linalg.qr(self.rows[:, support], pivoting=True)
        diagonal = np.abs(np.diagonal(upper))
        rank = int((diagonal > 1e-10 * max(1.0, diagonal.max(initial=0.0))).sum())
        return basis[:, rank:]

    def heights(self, normals, outcomes):
        """Return t'rows on some outcomes, (k, n), for each of the t in the columns, (r, k)."""
        return normals.T @ self.rows[:, outcomes]

    def program(self):
        """Return the constraints of the search for the largest support, see `_face`."""
        return self.rows, None


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
class Curvature:
    """The Hessian at a point, and what follows from it."""

    origin: Point
    whitener: np.ndarray  # (r, m): W with W'W close to the inverse; 0 for dependent features
    lever: float  # no two rows are further apart, in the norm of W
    doubt: float = 0.0  # the Hessian and its approximation are at most exp(doubt) times each other
    longest: float = 0.0  # of dense features: no row is longer
    sizes: np.ndarray | float = 0.0  # (m,): of dense features, the roots of the second moments

    def decrement(self, point):
        """Return the Newton decrement of a point nearby."""
        return float(np.linalg.norm(self.whitener @ point.gradient))


@dataclass(frozen=True)
class Outcome:
    """How the solve in reduced coordinates ended."""

    status: Status
    point: Point
    steps: int
    error_bound: float = math.inf
    dual_gap: float = math.inf
    certificate: np.ndarray | None = None
    vanishing: np.ndarray | None = None  # bool (c,): outcomes whose probabilities run to 0
    rank: int | None = None  # of the constraints, where it was found at the optimum only
    was_limited: bool = False  # whether the search for a face was too large to be finished


@dataclass(frozen=True)
class Found:
    """What was found, on the outcomes of a face."""

    problem: Problem  # on the outcomes of the face
    reduced: Reduced
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


def evaluate(problem, reduced, t, *, accurate=False):
    """Return the member q of the family with parameters t."""
    logits = problem.base + t @ reduced.rows
    top = float(logits.max())
    p = np.exp(logits - top)
    total = float(p.sum())
    p /= total
    mean = mean_of(reduced.rows, p) if accurate else reduced.rows @ p
    return Point(t, logits, top + math.log(total), p, mean, mean + reduced.ridge * t)
