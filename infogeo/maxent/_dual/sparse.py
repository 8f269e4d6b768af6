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
from infogeo.maxent._dual.dense import Family, of_mean
from infogeo.maxent._dual.features import heights
from infogeo.maxent._dual.linear import power_of_two
from infogeo.maxent._dual.problem import CAUTION, EPS, Curvature, Outcome, Point, Step
from infogeo.maxent._dual.proofs import is_proof, range_certificate, simplified

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
class SparseReduced(Family):
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
    has_many_proofs = False  # one that fails costs as much as all steps
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
    def _counts(self):
        """How many entries each feature has, (m,)."""
        return np.bincount(self.columns.indices, minlength=self.targets.size)

    @functools.cached_property
    def _squared_rows(self):
        """The squares of the entries, as (m, c)."""
        return with_entries(self.columns, np.square(self.columns.data)).T

    def theta(self, t):
        """Return the natural parameters of the user's features."""
        return t / self.scale

    def parameters(self, theta):
        """Return the t of natural parameters of the user's features."""
        return theta * self.scale

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

    def moved(self, point, step, length):
        """Return the point after a step of some length, whose logits are known."""
        t, logits = point.t + length * step.direction, point.logits + length * step.along
        return self.evaluate(t, logits=logits)

    def step(self, point):
        """Return the Newton step from a point, inexact where the optimum is far away."""
        second = self._squared_rows @ point.p
        noise = EPS * (CAUTION + np.sqrt(self._counts)) * second
        variances = second - point.mean**2
        variances = np.where(variances > noise, variances, 0.0) + self.ridge
        direction, along = _solve_inexactly(self, point, variances)
        decrement = math.sqrt(max(0.0, -float(direction @ point.gradient)))
        return Step(direction, along, decrement, float(np.ptp(along)), variances)

    def curvature(self, point, variances=None):
        """Return the Hessian at a point, for a proof; of independent features.

        `variances`, (m,), are those of the features, 0 where they are rounding. The norm of a row
        is bounded by the sum of the norms of its entries.
        """
        covariance = self.covariance(point)
        spread = np.sqrt(np.diagonal(covariance) if variances is None else variances)
        scale = np.where(spread > 0.0, spread, 1.0)
        factor, order, rank = _pivoted(covariance / np.outer(scale, scale), 1e-10)
        kept, lower = order[:rank], np.tril(factor[:rank, :rank])
        inverse = scipy.linalg.solve_triangular(lower, np.eye(rank), lower=True)
        whitener = np.zeros((rank, scale.size))
        whitener[:, kept] = inverse / scale[kept]
        longest = float((self.sizes @ np.linalg.norm(whitener, axis=0)).max())
        longest += float(np.linalg.norm(whitener @ point.mean))
        return Curvature(point, whitener, 2.0 * longest, sizes=spread)

    def are_met(self, curvature, point, size):
        """Whether the targets of the features hold that a proof leaves out as dependent.

        A covariance loses directions where probabilities run to 0, or features nearly agree.
        """
        kept = curvature.whitener.any(axis=0)
        if kept.all():
            return True
        slack = CAUTION * self.rounding_of_violations(point) + 2.0 * size * curvature.sizes
        is_met = kept | (np.abs(point.gradient) <= slack)
        return is_met.all() and len(curvature.whitener) == self.rank and self.is_rank_exact

    def finished(self, problem, outcome, tol):
        """Return the outcome, or INFEASIBLE with the combination that shows it.

        That is the same for every outcome and has another target. Along such a contradiction t runs
        off until rounding hides that it is one.
        """
        is_full = outcome.rank == self.targets.size  # then no combination is constant
        is_certain = outcome.status.is_solution and (is_full or outcome.error_bound <= tol)
        if is_certain or outcome.status is Status.INFEASIBLE or self.ridge.any():
            return outcome
        for combination in self.combinations.T:
            eta = self.theta(combination)
            values, _ = heights(eta, problem.features, problem.targets)
            eta = np.copysign(eta, eta * values[0])
            if abs(values[0]) <= float(np.abs(eta) @ problem.blur):
                continue  # targets that agree to their rounding contradict nothing
            if is_proof(problem, eta):
                eta = simplified(problem, eta)
                return Outcome(Status.INFEASIBLE, outcome.point, outcome.steps, certificate=eta)
        return outcome

    def rounding(self, curvature, point, drift):
        """Bound the rounding errors: of the whitened gradient, and of every logit, (c,)."""
        of_gradient, of_logits = self._rounding_of_terms(point)
        sizes = np.abs(curvature.whitener)
        most = 2.0 * (sizes @ (self.sizes.T @ (point.p * of_logits)))
        of_means = of_mean(of_logits, point, drift, float(np.linalg.norm(most)))
        return float(np.linalg.norm(sizes @ of_gradient)) + of_means, of_logits

    def violations(self, point):
        """Return by how much targets are missed, and the rounding of targets, (m,)."""
        return np.abs(point.gradient), self.blur

    def rounding_of_violations(self, point):
        """Bound the rounding errors of `violations`, (m,)."""
        of_gradient, of_logits = self._rounding_of_terms(point)
        return of_gradient + 2.0 * (self.sizes.T @ (point.p * of_logits))

    def _rounding_of_terms(self, point):
        """Bound the rounding errors of the gradient for exact logits, (m,), and of these, (c,)."""
        t, targets = np.abs(point.t), np.abs(self.targets)
        longest = int(np.diff(self.columns.indptr).max(initial=0))
        terms = 6.0 + np.abs(self.base) + np.abs(point.logits - point.value)
        terms += (longest + 2) * (self.sizes @ t + float(t @ targets))
        length = self._counts + 2.0  # the sums are sequential
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


# ---------------------------------------------------------------- linear algebra


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
