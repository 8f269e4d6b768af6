"""Sparse features: Newton's method by conjugate gradients, and a proof at the end.

The m x m covariance is formed once, near the optimum: from there on the argument is that of
`infogeo.maxent._dual.proofs`, with norm(F_y) in the inverse covariance bounded by the sum of
|F_iy| norm(e_i), which needs only the entries that are not 0.
"""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse

from infogeo._array import bad_value
from infogeo._status import Status
from infogeo.maxent._dual.features import heights
from infogeo.maxent._dual.linear import power_of_two
from infogeo.maxent._dual.newton import CLOSE, step_length
from infogeo.maxent._dual.problem import CAUTION, EPS, Curvature, Outcome, Point
from infogeo.maxent._dual.proofs import (
    LARGEST_CERTIFIED,
    bound_of,
    growth_of,
    is_best_possible,
    is_converged_to_rounding,
    is_proof,
    range_certificate,
    simplified,
)

_MAX_INNER_STEPS = 300
_MANY_ENTRIES = 32
# Pairs of entries that are added up together.
_MANY_PAIRS = 4_000_000
# Pivots of a scaled matrix of second moments below this are 0 for all that is known.
_SMALLEST_PIVOT = 1e-11
# Normals that are worked on together: their products with all outcomes are dense.
_MANY_NORMALS = 64


def check_sparse(features, check):
    """Return scipy.sparse features as a float64 csr array."""
    if features.ndim != 2 or 0 in features.shape:
        raise bad_value(
            "features", "have shape (m, c) if they are sparse", f"got shape {features.shape}"
        )
    if features.dtype.kind not in "biuf":
        raise TypeError(f"features must hold real numbers: its dtype is {features.dtype}.")
    rows = scipy.sparse.csr_array(features, dtype=np.float64)
    if not rows.has_canonical_format:
        rows = rows.copy()  # what was given stays as it is
        rows.sum_duplicates()
    if check and not np.isfinite(rows.data).all():
        raise bad_value("features", "be finite", "it has NaN or infinite entries")
    return rows


def with_entries(matrix, entries):
    """Return a csr array with other entries at the same places, which it shares."""
    places = matrix.indices, matrix.indptr
    return scipy.sparse.csr_array((entries, *places), shape=matrix.shape)


@dataclass(frozen=True)
class SparseReduced:
    """Sparse features in units of their ranges, stored by outcomes; dependent ones included.

    Products with the features, and with their transpose, then read the entries one after the other.
    """

    columns: scipy.sparse.csr_array  # (c, m)
    base: np.ndarray  # (c,)
    targets: np.ndarray  # (m,)
    scale: np.ndarray  # (m,): powers of 2; theta = t / scale
    blur: np.ndarray  # (m,): how well the targets are known
    ridge: np.ndarray  # (m,)

    transform = np.zeros((0, 0))  # gradients are those of dense features
    is_open = False  # dependences are looked at in the proof
    near = 0.1  # as in `infogeo.maxent._dual.large.Large`: here it costs some twenty steps

    @classmethod
    def of(cls, problem):
        """Return the features of a problem, scaled."""
        F, b = problem.features, problem.targets
        low, high = problem.ranges
        scale = power_of_two(np.where(high > low, high - low, 1.0))
        ridge = np.zeros(b.size) if problem.penalty is None else 1.0 / problem.penalty
        if (scale == scale[0]).all():
            rows, scale = F, np.ones(b.size)
        else:
            rows = with_entries(F, F.data / np.repeat(scale, np.diff(F.indptr)))
        columns = rows.T.tocsr()
        blur = problem.blur / scale
        return cls(columns, problem.base, b / scale, scale, blur, ridge / scale**2)

    @property
    def rows(self):
        """The same entries as (m, c)."""
        return self.columns.T

    @functools.cached_property
    def counts(self):
        """How many entries each feature has, (m,)."""
        return np.bincount(self.columns.indices, minlength=self.targets.size)

    def theta(self, t):
        """Return the natural parameters in the user's units."""
        return t / self.scale

    def residual(self, problem, point):
        """Return the largest violation of the targets, in the units of the user."""
        return float(np.abs((point.mean - self.targets) * self.scale).max())

    def sample(self, stride):
        """Return the same features on some of the outcomes."""
        return replace(self, columns=self.columns[::stride], base=self.base[::stride])

    def evaluate(self, t, level=None, *, logits=None, accurate=True):
        """Return the member of the family with parameters t, whose logits may be known.

        Sums are sequential and always the same: there is nothing to be gained from `level`, a
        guess of the value, or from less accuracy.
        """
        if logits is None:
            logits = self.base + self.columns @ t - float(t @ self.targets)
        top = float(logits.max())
        p = np.exp(logits - top)
        total = float(p.sum())
        p /= total
        mean = self.rows @ p
        gradient = mean - self.targets + self.ridge * t
        return Point(t, logits, top + math.log(total), p, mean, gradient)

    def covariance(self, point):
        """Return the Hessian of the dual at a point, (m, m)."""
        covariance = second_moments(self.columns, point.p) - np.outer(point.mean, point.mean)
        return covariance + np.diag(self.ridge)

    def curvature(self, point, scale=None):
        """Return the Hessian at a point, for a proof; of independent features.

        `scale`, (m,), is the unit of each feature: its standard deviation if not given. The norm of
        a row is bounded by the sum of the norms of its entries.
        """
        covariance = self.covariance(point)
        if scale is None:
            scale = np.sqrt(np.diagonal(covariance))
        factor, order, rank = _pivoted(covariance / np.outer(scale, scale), 1e-10)
        kept, lower = order[:rank], np.tril(factor[:rank, :rank])
        inverse = scipy.linalg.solve_triangular(lower, np.eye(rank), lower=True)
        whitener = np.zeros((rank, scale.size))
        whitener[:, kept] = inverse / scale[kept]
        longest = float((self.sizes @ np.linalg.norm(whitener, axis=0)).max())
        longest += float(np.linalg.norm(whitener @ point.mean))
        return Curvature(point, whitener, 2.0 * longest)

    def rounding(self, curvature, point, drift):
        """Bound the rounding errors: of the whitened gradient, and of every logit, (c,).

        The errors of the logits count as in `infogeo.maxent._dual.large.Large.rounding`.
        """
        of_gradient, of_logits = self.rounding_of_terms(point)
        return (
            float(np.linalg.norm(np.abs(curvature.whitener) @ of_gradient))
            + 1.02 * float(growth_of(drift)) * math.sqrt(float(point.p @ np.square(of_logits))),
            of_logits,
        )

    def rounding_of_gradient(self, point):
        """Bound the rounding errors of the gradient, (m,)."""
        of_gradient, of_logits = self.rounding_of_terms(point)
        return of_gradient + 2.0 * (self.sizes.T @ (point.p * of_logits))

    def rounding_of_terms(self, point):
        """Bound the rounding errors of the gradient for exact logits, (m,), and of these, (c,)."""
        t, targets = np.abs(point.t), np.abs(self.targets)
        longest = int(np.diff(self.columns.indptr).max(initial=0))
        terms = 6.0 + np.abs(self.base) + np.abs(point.logits - point.value)
        terms += (longest + 2) * (self.sizes @ t + float(t @ targets))
        length = self.counts + 2.0  # the sums are sequential
        of_sums = length * (self.sizes.T @ point.p) + targets + self.ridge * t
        return self.blur + EPS * of_sums, EPS * terms

    @functools.cached_property
    def sizes(self):
        """The absolute values of the entries, by columns."""
        return with_entries(self.columns, np.abs(self.columns.data))

    @functools.cached_property
    def _span(self):
        """Independent features, and a basis, (m, k), of what is the same for every outcome."""
        return self._split(np.arange(self.targets.size), np.ones(self.columns.shape[0], bool))

    @property
    def rank(self):
        """How many features are independent."""
        return self._span[0].size

    @functools.cached_property
    def is_rank_exact(self):
        """Whether the features that count as dependent follow from the others to rounding.

        The covariance, in which they are found, has rounding errors of about the squares of
        differences of 1e-6.
        """
        for normals in _column_blocks(self.combinations):
            values = self.columns @ normals
            middle = 0.5 * (values.max(axis=0) + values.min(axis=0))
            slack = CAUTION * EPS * (self.sizes @ np.abs(normals)).max(axis=0)
            if (np.abs(values - middle) > slack).any():
                return False
        return True

    @property
    def combinations(self):
        """A basis, (m, k), of the combinations that are the same for every outcome."""
        return self._span[1]

    def normals(self, support):
        """Return an orthonormal basis, (m, k), of the t with t'(F - b) = 0 on the support."""
        _, normals = self._split(self._span[0], support)
        return np.linalg.qr(normals)[0]

    def heights(self, normals, outcomes):
        """Return t'(F - b) on some outcomes, (k, n), for each of the t in the columns, (m, k)."""
        return (self.columns[outcomes] @ normals - self.targets @ normals).T

    def program(self):
        """Return the constraints of the search for the largest support, see `_face`.

        F - b would be dense: the total mass is a free variable.
        """
        ones = scipy.sparse.csr_array(np.ones((1, self.columns.shape[0])))
        free = scipy.sparse.csr_array(-np.append(self.targets, 1.0)[:, None])
        return scipy.sparse.vstack([self.rows, ones], format="csr"), free

    def _split(self, chosen, support):
        """Return which of some features are independent on the support, and a basis (m, k).

        Its columns are the combinations of the chosen that are 0 there, but for a target of their
        own if they are the same for every outcome.
        """
        on = self.columns[np.flatnonzero(support)]
        on = on if chosen.size == self.targets.size else on[:, chosen]
        uniform = np.full(on.shape[0], 1.0 / on.shape[0])
        centre = on.T @ uniform
        if support.all():
            moments = second_moments(on, uniform) - np.outer(centre, centre)
        else:
            centre, b = centre - self.targets[chosen], self.targets[chosen]
            moments = second_moments(on, uniform)
            moments -= np.outer(centre, b) + np.outer(b, centre) + np.outer(b, b)
            centre = b
        spread = np.sqrt(np.maximum(np.diagonal(moments), 0.0))
        spread = np.where(spread > 1e-7, spread, 1.0)  # ranges are about 1: that is rounding
        factor, order, rank = _pivoted(moments / np.outer(spread, spread), _SMALLEST_PIVOT)
        basis, dependent = order[:rank], order[rank:]
        lower = np.tril(factor[:rank, :rank])
        normals = np.zeros((chosen.size, dependent.size))
        normals[dependent, np.arange(dependent.size)] = 1.0
        if rank:
            mixture = scipy.linalg.solve_triangular(
                lower, factor[rank:, :rank].T, lower=True, trans=1
            )
            normals[basis] = -mixture
            normals /= spread[:, None]
            for part in _column_blocks(normals):
                left = on @ part - centre @ part
                left = (on.T @ left)[basis] - np.outer(centre[basis], left.sum(axis=0))
                left /= on.shape[0] * spread[basis, None]
                part[basis] -= scipy.linalg.cho_solve((lower, True), left) / spread[basis, None]
        else:
            normals /= spread[:, None]
        wide = np.zeros((self.targets.size, dependent.size))
        wide[chosen] = normals
        return np.sort(chosen[basis]), wide


def reduce_sparse(problem):
    """Scale the features; return also a certificate if a target is out of reach for its feature."""
    reduced = SparseReduced.of(problem)
    if problem.penalty is not None:
        return reduced, None
    low, high = problem.ranges
    blur = problem.blur + EPS * np.maximum(np.abs(low), np.abs(high))
    return reduced, range_certificate(problem, low, high, blur)


# ---------------------------------------------------------------- Newton's method


def newton_sparse(problem, reduced, controls):
    """Minimise log sum exp(C + t'(F - b)) + ridge t^2 / 2 and say what was found."""
    squares = with_entries(reduced.columns, np.square(reduced.columns.data)).T
    noise = EPS * (CAUTION + np.sqrt(reduced.counts))
    point = _first_point(problem, reduced)
    for steps in range(controls.max_steps + 1):
        second = squares @ point.p
        variances = second - point.mean**2
        variances = np.where(variances > noise * second, variances, 0.0) + reduced.ridge
        direction, along = _solve_inexactly(reduced, point, variances)
        reach = float(np.ptp(along))
        decrement = math.sqrt(max(0.0, -float(direction @ point.gradient)))
        controls.report(steps, decrement)
        if not math.isfinite(reach):
            break
        if reach < CLOSE and steps < controls.max_steps:
            outcome = _certify(problem, reduced, point, variances, steps, controls)
            is_full = outcome.rank == reduced.targets.size  # then no combination is constant
            if not is_full and outcome.error_bound > controls.tol and outcome.status.is_solution:
                # Along a contradiction t runs off until rounding hides that it is one.
                return _or_contradiction(problem, reduced, outcome)
            if outcome.status is not Status.UNDECIDED:
                return outcome
            point = outcome.point
            break
        eta = _farkas(problem, reduced, point, direction, along)
        if eta is not None:
            return Outcome(Status.INFEASIBLE, point, steps, certificate=eta)
        is_over = steps == controls.max_steps
        if is_over or _is_stuck(reduced, point, reach):
            break
        ridge = (
            float((reduced.ridge * point.t) @ direction),
            float((reduced.ridge * direction) @ direction),
        )
        length = step_length(point.logits, along, reach, ridge)
        t, logits = point.t + length * direction, point.logits + length * along
        point = reduced.evaluate(t, logits=logits)
    status = Status.MAX_STEPS if steps == controls.max_steps else Status.UNDECIDED
    outcome = Outcome(status, point, steps, vanishing=point.p < 1e-6 * point.p.max())
    return _or_contradiction(problem, reduced, outcome)


def _first_point(problem, reduced):
    """Return where to start: at the parameters that were given, if they are better than 0."""
    origin = reduced.evaluate(np.zeros(reduced.targets.size))
    if problem.start is None:
        return origin
    start = reduced.evaluate(problem.start * reduced.scale)
    values = [x.value + 0.5 * float(reduced.ridge @ x.t**2) for x in (start, origin)]
    return start if values[0] < values[1] else origin


def _solve_inexactly(reduced, point, variances):
    """Return d with H d near -gradient, and d'(F - b), by conjugate gradients.

    They are preconditioned with the diagonal of H.
    """
    size = variances.max() * 1e-14
    inverse = np.where(variances > size, 1.0 / np.maximum(variances, max(size, 1e-300)), 0.0)
    residual = -point.gradient
    preconditioned = inverse * residual
    d, search, along = np.zeros_like(residual), preconditioned, np.zeros_like(point.p)
    product = first = float(residual @ preconditioned)
    tolerance = min(0.1, first**0.5) ** 2 * first
    for _ in range(_MAX_INNER_STEPS):
        if not product > max(tolerance, 1e-30 * first):
            break
        values = reduced.columns @ search
        values -= float(point.p @ values)
        curved = reduced.rows @ (point.p * values) + reduced.ridge * search
        curvature = float(search @ curved)
        if not curvature > 0.0:
            break
        length = product / curvature
        d, along = d + length * search, along + length * values
        residual = residual - length * curved
        preconditioned = inverse * residual
        before, product = product, float(residual @ preconditioned)
        search = preconditioned + (product / before) * search
    return d, along + float(d @ (point.mean - reduced.targets))  # its mean was left out


def _is_stuck(reduced, point, reach):
    """Whether the constraints hold up to rounding, as for dense features."""
    violation = np.abs(point.gradient)
    if (violation > 1e-4 + reduced.blur).any():
        return False
    return is_converged_to_rounding(violation, reduced.rounding_of_gradient(point), reach)


def _farkas(problem, reduced, point, direction, along):
    """Return eta with eta'(F_y - b) > 0 for all outcomes, if the search came across one."""
    if reduced.ridge.any():
        return None
    for vector, values in ((direction, along), (point.t, point.logits - problem.base)):
        if values.max() < 0.0:
            eta = reduced.theta(-vector)
            if is_proof(problem, eta):
                return simplified(problem, eta)
    return None


def _or_contradiction(problem, reduced, outcome):
    """Return INFEASIBLE if a combination is the same for every outcome and has another target."""
    if reduced.ridge.any():
        return outcome
    for combination in reduced.combinations.T:
        eta = reduced.theta(combination)
        values, _ = heights(eta, problem.features, problem.targets)
        eta = np.copysign(eta, eta * values[0])
        if abs(values[0]) <= float(np.abs(eta) @ problem.blur):
            continue  # targets that agree to their rounding contradict nothing
        if is_proof(problem, eta):
            eta = simplified(problem, eta)
            return Outcome(Status.INFEASIBLE, outcome.point, outcome.steps, certificate=eta)
    return outcome


# ---------------------------------------------------------------- the proof


def _certify(problem, reduced, origin, variances, steps, controls):
    """Finish with the covariance at the origin, and bound the error."""
    scale = np.sqrt(np.where(variances > 0.0, variances, 1.0))
    curvature = reduced.curvature(origin, scale)
    whitener, lever = curvature.whitener, curvature.lever
    point, done, decrement = origin, 0, curvature.decrement(origin)
    enough = 1e-4 * controls.tol
    while steps + done < controls.max_steps and (done == 0 or decrement * lever > enough):
        trial = reduced.evaluate(point.t - whitener.T @ (whitener @ point.gradient))
        trial_decrement = curvature.decrement(trial)
        if done > 0 and trial_decrement > 0.5 * decrement:
            break
        point, decrement, done = trial, trial_decrement, done + 1
        controls.report(steps + done, decrement)
    steps += done
    drift = float(np.ptp(point.logits - origin.logits))
    rounding, of_logits = reduced.rounding(curvature, point, drift)
    of_logs = float(of_logits.max() + point.p @ of_logits)
    size, x, bound = bound_of(decrement, rounding, of_logs, lever, drift)
    # The constraints that were left out as dependent have to hold by themselves.
    kept, rank = whitener.any(axis=0), len(whitener)
    with np.errstate(invalid="ignore"):  # a size of inf proves nothing
        slack = CAUTION * reduced.rounding_of_gradient(point) + size * np.sqrt(variances) * 2.0
    is_met = kept | (np.abs(point.gradient) <= slack)
    is_near = bound <= controls.tol or is_best_possible(decrement, rounding, lever, controls.tol)
    is_proved = x <= LARGEST_CERTIFIED and is_near and is_met.all()
    if is_proved and rank < scale.size:
        # A covariance loses directions where probabilities run to 0, or features nearly agree.
        is_proved = rank == reduced.rank and reduced.is_rank_exact
    if not is_proved:
        status = Status.MAX_STEPS if steps >= controls.max_steps else Status.UNDECIDED
        return Outcome(status, point, steps)
    return Outcome(Status.CONVERGED, point, steps, float(bound), float(size**2), rank=rank)


def _pivoted(matrix, smallest):
    """Return the Cholesky factor, (n, n), of a matrix, its order of the rows, and its rank."""
    factor, order, rank, _ = scipy.linalg.lapack.dpstrf(matrix, lower=1, tol=smallest)
    if np.diagonal(matrix).max() <= smallest:  # which LAPACK asks of the later pivots only
        rank = 0
    return factor, order - 1, rank


def _column_blocks(matrix):
    """Yield views of some columns after the others."""
    for first in range(0, matrix.shape[1], _MANY_NORMALS):
        yield matrix[:, first : first + _MANY_NORMALS]


def second_moments(columns, p):
    """Return E_p[F F'], (m, m)."""
    num_outcomes, num_features = columns.shape
    stored = np.diff(columns.indptr)
    longest = int(stored.max(initial=0))
    if longest > _MANY_ENTRIES or longest * num_outcomes > 4 * columns.nnz:
        weighted = with_entries(columns, columns.data * np.repeat(p, stored))
        return (columns.T @ weighted).toarray()
    # Few entries at every outcome: pair by pair they are added up faster.
    total = np.zeros(num_features**2)
    size = _MANY_PAIRS // max(1, longest * (longest + 1) // 2)
    for first in range(0, num_outcomes, size):
        block = slice(first, first + size)
        total += _pair_sums(columns, block, stored[block], p[block], longest)
    half = total.reshape(num_features, num_features)
    return half + half.T


def _pair_sums(columns, block, stored, p, longest):
    """Return the weighted sums of the products of two entries in a block, half of the diagonal."""
    where, values = np.empty((longest, p.size), dtype=np.int64), np.empty((longest, p.size))
    starts = columns.indptr[:-1][block]
    for k in range(longest):
        has_entry = stored > k
        entries = np.where(has_entry, starts + k, 0)
        where[k] = columns.indices[entries]
        values[k] = np.where(has_entry, columns.data[entries], 0.0)
    num_pairs, first = longest * (longest + 1) // 2, 0
    cells, products = np.empty((num_pairs, p.size), dtype=np.int64), np.empty((num_pairs, p.size))
    for i in range(longest):
        pairs = slice(first, first + i + 1)
        np.add(where[i] * columns.shape[1], where[: i + 1], out=cells[pairs])
        np.multiply(p * values[i], values[: i + 1], out=products[pairs])
        products[first + i] *= 0.5
        first += i + 1
    return np.bincount(cells.ravel(), products.ravel(), minlength=columns.shape[1] ** 2)
