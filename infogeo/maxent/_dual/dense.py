"""Dense features: products, Hessians and rounding errors, for `newton` and its proof."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from infogeo.maxent._dual.features import violations
from infogeo.maxent._dual.linear import mean_of, norms_of, sizes_of, solve_lower, whitener_of
from infogeo.maxent._dual.newton import on_line
from infogeo.maxent._dual.problem import EPS, Curvature, Outcome, Point, Problem, Step
from infogeo.maxent._dual.proofs import growth_of


class Family:
    """What dense, sparse and large features have in common: their logits are one distribution."""

    ridge: np.ndarray | float
    evaluate: Callable[..., Point]
    rounding: Callable[..., tuple[float, np.ndarray]]

    def line(
        self, point: Any, direction: np.ndarray, along: np.ndarray
    ) -> Callable[[float], tuple[float, float]]:
        """Return the first two derivatives of the dual on a line."""
        pull = float((self.ridge * point.t) @ direction)
        return on_line(point.logits, along, pull, float((self.ridge * direction) @ direction))

    def shifted(self, point: Any, change: np.ndarray, *, accurate: bool) -> Point:
        """Return the point after a change of the parameters."""
        return self.evaluate(point.t + change, accurate=accurate)

    def errors(self, curvature: Curvature, point: Any) -> tuple[float, float, float]:
        """Bound the drift, and the rounding errors of the whitened gradient and of all log p."""
        drift = float(np.ptp(point.logits - curvature.origin.logits)) + curvature.doubt
        rounding, of_logits = self.rounding(curvature, point, drift)
        return drift, rounding, float(of_logits.max() + point.p @ of_logits)

    def are_met(self, curvature: Curvature, point: Any, size: float) -> bool:
        """Whether targets hold that a proof leaves out: there are none."""
        return True

    def finished(self, problem: Problem, outcome: Outcome, tol: float) -> Outcome:
        """Return the outcome: what contradicts each other was seen before the first step."""
        return outcome


@dataclass(frozen=True)
class Reduced(Family):
    """A problem in independent features of spread about 1 whose targets are 0."""

    rows: np.ndarray  # (r, c): combinations of F - b
    base: np.ndarray  # (c,)
    transform: np.ndarray  # (m, r): theta = transform @ t, of minimum norm
    lower: np.ndarray  # (r, r): lower @ rows are r of the rows of F - b, scaled
    blur: np.ndarray  # (r,): how well the targets of those rows are known or can be met
    combinations: np.ndarray  # (m, m - r): eta'F is constant for each column eta
    unmet: np.ndarray  # bool (m - r,): where eta'b is another constant, beyond rounding
    varies: np.ndarray  # bool (m - r,): where eta'F is no constant, beyond rounding
    ridge: np.ndarray | float = 0.0  # (r,): the dual has ridge t^2 / 2 added for each t
    kept: np.ndarray | None = None  # (r,): the features that the others follow from
    covariance: np.ndarray | None = None  # (r, r): of the rows at t = 0, where it is known

    has_many_proofs = True  # a proof that fails costs little more than a step

    @property
    def is_open(self) -> bool:
        """Whether a dependence of features was neither refuted nor confirmed."""
        return bool(self.unmet.any() or self.varies.any())

    @property
    def rank(self) -> int:
        """How many features are independent."""
        return self.rows.shape[0]

    def theta(self, t: np.ndarray) -> np.ndarray:
        """Return the natural parameters of the user's features."""
        return self.transform @ t

    def parameters(self, theta: np.ndarray) -> np.ndarray:
        """Return the t of natural parameters of the user's features, or of those like them."""
        return np.linalg.lstsq(self.transform, theta, rcond=None)[0]

    def residual(self, problem: Problem, point: Any) -> float:
        """Return the largest violation of the targets, in the units of the user."""
        return float(np.abs(violations(problem.features, problem.targets, point.p)).max())

    def evaluate(self, t: np.ndarray, *, accurate: bool = False) -> Point:
        """Return the member of the family with parameters t."""
        logits = self.base + t @ self.rows
        top = float(logits.max())
        p = np.exp(logits - top)
        total = float(p.sum())
        p /= total
        mean = mean_of(self.rows, p) if accurate else self.rows @ p
        return Point(t, logits, top + math.log(total), p, mean, mean + self.ridge * t)

    def moved(self, point: Any, step: Step, length: float) -> Point:
        """Return the point after a step of some length."""
        return self.evaluate(point.t + length * step.direction)

    def step(self, point: Any) -> Step:
        """Return the Newton step from a point."""
        whitener, is_reliable = whitener_of(self, point)
        whitened = whitener @ point.gradient
        direction = -whitener.T @ whitened
        along = direction @ self.rows
        decrement = float(np.linalg.norm(whitened))
        return Step(direction, along, decrement, float(np.ptp(along)), whitener, is_reliable)

    def curvature(self, point: Any, whitener: np.ndarray) -> Curvature:
        """Return the Hessian at a point for a proof, whose whitener is known."""
        norms = norms_of(whitener, self.rows, point.mean)
        return Curvature(point, whitener, 2.0 * float(norms.max()), norms=norms)

    def rounding(self, curvature: Curvature, point: Any, drift: float) -> tuple[float, np.ndarray]:
        """Bound the rounding errors: of the whitened gradient, and of every logit, (c,)."""
        of_sums, of_logits = self._rounding_of_terms(point)
        to_whitened = solve_lower(self.lower, curvature.whitener.T, transposed=True).T
        of_gradient = np.abs(to_whitened) @ self.blur + np.abs(curvature.whitener) @ of_sums
        shift = float(np.linalg.norm(curvature.whitener @ (point.mean - curvature.origin.mean)))
        most = 2.0 * float(((curvature.norms + shift) * (point.p * of_logits)).sum())
        return (
            float(np.linalg.norm(of_gradient)) + of_mean(of_logits, point, drift, most),
            of_logits,
        )

    def violations(self, point: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return by how much targets are missed, and the rounding of targets, (r,)."""
        return np.abs(self.lower @ point.gradient), self.blur

    def rounding_of_violations(self, point: Any) -> np.ndarray:
        """Bound the rounding errors of `violations`, (r,)."""
        of_sums, of_logits = self._rounding_of_terms(point)
        of_sums += 2.0 * (np.abs(self.rows) @ (point.p * of_logits))
        return self.blur + np.abs(self.lower) @ of_sums

    def _rounding_of_terms(self, point: Any) -> tuple[np.ndarray, np.ndarray]:
        """Bound the rounding errors of the gradient for exact logits, (r,), and of these, (c,)."""
        weights = (point.t.size + 2) * np.abs(point.t)
        terms, of_means = sizes_of(self.rows, weights, point.p)
        terms += 6.0 + np.abs(self.base) + np.abs(point.logits - point.value)
        # The sums are pairwise, and pairwise again over blocks: a factor of 48 is plenty.
        of_sums = 48.0 * EPS * of_means + 2.0 * EPS * self.ridge * np.abs(point.t)
        return of_sums, EPS * terms

    def normals(self, support: np.ndarray) -> np.ndarray:
        """Return an orthonormal basis, (r, k), of the t with t'rows = 0 on the support."""
        basis, upper, _ = scipy.linalg.qr(self.rows[:, support], pivoting=True)
        diagonal = np.abs(np.diagonal(upper))
        rank = int((diagonal > 1e-10 * max(1.0, diagonal.max(initial=0.0))).sum())
        return basis[:, rank:]

    def heights(self, normals: np.ndarray, outcomes: np.ndarray) -> np.ndarray:
        """Return t'rows on some outcomes, (k, n), for each of the t in the columns, (r, k)."""
        return normals.T @ self.rows[:, outcomes]

    def program(self) -> tuple[Any, Any]:
        """Return the constraints of the search for the largest support, see `face`."""
        return self.rows, None


def of_mean(of_logits: np.ndarray, point: Any, drift: float, most: float = math.inf) -> float:
    """Bound what errors of the logits, (c,), do to the whitened mean; `most` is another bound.

    They change it by at most the root of E_p[error^2], because the covariance of the whitened rows
    is at most exp(drift) times the identity, and 1.02 for the whitener's own digits. Where nearly
    all mass is on outcomes near the mean, the sum of the errors times distances is less.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # where logits ran off nothing is proved
        size = np.sqrt(point.p @ np.square(of_logits))
        return min(float(1.02 * growth_of(drift) * size), most)
