"""Large problems: a sample of the outcomes shows the way, one Hessian of all proves the end.

Steps follow the Hessian of the sample, which they correct as they go (BFGS). Close to the optimum
the Hessian of all outcomes is formed once, of dense features in single precision: a bound on its
rounding errors takes part in the proof. Gradients are those of all outcomes in double precision,
for one reading of the features each.

What is large is a `Large` or a `infogeo.maxent._dual.sparse.SparseReduced`. Both have a `sample`,
and `evaluate`, `curvature` and `rounding` at a point.
"""

import math
from dataclasses import dataclass

import numpy as np

from infogeo.maxent._dual.dense import Family, of_mean
from infogeo.maxent._dual.features import is_sparse
from infogeo.maxent._dual.linear import covariance_of, depth_of_sums, sums
from infogeo.maxent._dual.newton import line_search, on_line
from infogeo.maxent._dual.problem import EPS, Curvature, Point
from infogeo.maxent._dual.proofs import growth_of, proved
from infogeo.maxent._dual.sparse import SparseReduced

# Problems of fewer outcomes, or of fewer numbers, gain nothing.
_FEWEST_OUTCOMES, _FEWEST_NUMBERS = 4096, 100_000
# The sample has so many outcomes, or so many for each feature.
_SAMPLE, _SAMPLE_OF_FEATURE = 2048, 48
# The numbers of a block of outcomes, which stays in the cache.
_BLOCK_SIZE = 131_072
_FEWEST_IN_BLOCK = 512
# Outcomes whose squares are added in single precision; sums of more are in double precision.
_MOST_IN_SINGLE = 4096
_MAX_STEPS = 30
# The reach of a step after which a sample has done what it can.
_NEAR_IN_SAMPLE = 0.5
# A step that leaves no more, as a change of log-probabilities, is to be the last.
_LAST = 1e-12
# Targets of up to so many spreads need not be subtracted from the features to keep the digits.
_LARGEST_OFFSET = 4.0
# A Hessian of the sample with smaller pivots shows features that may be dependent.
_SMALLEST_PIVOT = 0.01


@dataclass(frozen=True)
class Large(Family):
    """Dense features of spread about 1, of which no copy is made unless digits ask for one."""

    rows: np.ndarray  # (m, c): the features
    offset: np.ndarray  # (m,): their targets
    unit: np.ndarray  # (m,): (rows - offset) / unit are of spread about 1; theta = t / unit
    base: np.ndarray  # (c,)
    blur: np.ndarray  # (m,): how well the targets are known, in these units

    is_open = False
    near = 1.0  # the reach of a step after which to form the Hessian: it costs six steps

    @classmethod
    def of(cls, F, b, base, unit, blur):
        """Return features, less their targets where these are large."""
        if (np.abs(b) <= _LARGEST_OFFSET * unit).all():
            return cls(F, b, unit, base, blur / unit)
        rows = np.empty_like(F)
        for row, feature, target in zip(rows, F, b, strict=True):
            np.subtract(feature, target, out=row)  # row by row: a row stays in the cache
        return cls(rows, np.zeros(b.size), unit, base, blur / unit)

    @property
    def transform(self):
        """The matrix by which theta = transform @ t."""
        return np.diag(1.0 / self.unit)

    def theta(self, t):
        """Return the natural parameters of the user's features."""
        return t / self.unit

    def residual(self, problem, point):
        """Return the largest violation of the targets, in the units of the user."""
        return float(np.abs(point.gradient * self.unit).max())

    @property
    def _groups(self):
        """Slices of about the root of the number of features, for short sums."""
        size = math.isqrt(self.unit.size - 1) + 1
        return [slice(first, first + size) for first in range(0, self.unit.size, size)]

    def _blocks(self, share=1, most=math.inf):
        """Return slices of a power of two of outcomes, whose rows take a share of the cache."""
        size = max(_FEWEST_IN_BLOCK, _BLOCK_SIZE // (share * self.unit.size))
        size = min(most, 1 << (size.bit_length() - 1))
        return [slice(first, first + size) for first in range(0, self.base.size, size)]

    def evaluate(self, t, level, *, accurate=False):
        """Return the member of the family with parameters t, whose value is about `level`.

        Each block of outcomes is read once.
        """
        theta = t / self.unit
        logits, p = self.base - float(theta @ self.offset), np.empty(self.base.size)
        if accurate:
            mean = self._accurate_sums(theta, level, logits, p)
        else:
            mean = np.zeros(t.size)
            for block in self._blocks():
                rows = self.rows[:, block]
                logits[block] += theta @ rows
                mean += rows @ np.exp(logits[block] - level, out=p[block])
        total = p.sum()
        p *= 1.0 / total
        mean = (mean / total - self.offset) / self.unit
        return Point(t, logits, float(level + np.log(total)), p, mean, mean)

    def _accurate_sums(self, theta, level, logits, p):
        """Complete the logits and p but for its total; return the weighted sums of the rows.

        Sums are of few terms, or by halves. The rounding of that is bounded by `rounding`.
        """
        blocks = self._blocks(2)
        buffer, parts = np.empty((theta.size, blocks[0].stop)), []
        for block in blocks:
            rows = self.rows[:, block]
            logits[block] += sums([theta[group] @ rows[group] for group in self._groups])
            weights = np.exp(logits[block] - level, out=p[block])
            np.multiply(rows, weights, out=buffer[:, : weights.size])
            buffer[:, weights.size :] = 0.0  # whole blocks have the shortest sums
            parts.append(buffer.sum(axis=-1))
        return sums(parts)

    def curvature(self, point, most=_MOST_IN_SINGLE):
        """Return the Hessian at a point; None if single precision does not tell it.

        Its entries are sums of products of (F - b) sqrt(p). A product has a relative error of 8
        roundings, a sum of n such one of n more: the matrix of second moments is off by at most
        (n + 8) 2^-24 of its trace, in the spectral norm. The subtraction of the targets adds
        2^-24 (|F| + |b|) to each entry.
        """
        roots = np.sqrt(point.p.astype(np.float32))
        lengths, second = np.empty(roots.size, np.float32), np.zeros((point.t.size, point.t.size))
        offset = self.offset.astype(np.float32)[:, None]
        inverse_unit = (1.0 / self.unit).astype(np.float32)[:, None]
        blocks = self._blocks(most=most)
        buffer = np.empty((point.t.size, blocks[0].stop), dtype=np.float32)
        for block in blocks:
            rows = buffer[:, : roots[block].size]
            np.copyto(rows, self.rows[:, block], casting="same_kind")
            rows -= offset
            rows *= inverse_unit
            np.einsum("ij,ij->j", rows, rows, out=lengths[block])
            rows *= roots[block]
            second += rows @ rows.T
        lengths = 1.001 * np.sqrt(lengths, dtype=np.float64)
        hessian = second - np.outer(point.mean, point.mean)
        if not np.isfinite(hessian).all():
            return None
        smallest, *_ = np.linalg.eigvalsh(hessian)
        root = math.sqrt(1.01 * np.trace(second))
        of_offset = root + 2.0 * float(np.linalg.norm(self.offset / self.unit))
        lost = 2.0**-24 * root * ((blocks[0].stop + 8) * root + 4.0 * of_offset)
        lost *= 1.1 / smallest
        if not (smallest > 0.0 and lost < 0.5):
            return self.curvature(point, _FEWEST_IN_BLOCK) if most > _FEWEST_IN_BLOCK else None
        largest = 1.001 / math.sqrt(smallest)
        return Curvature(
            point,
            np.linalg.inv(np.linalg.cholesky(hessian)),
            lever=2.0 * largest * float(lengths.max()),
            doubt=-math.log1p(-lost),
            largest=largest,
            lengths=lengths,
            sizes=1.01 * np.sqrt(np.diagonal(second)),
        )

    def rounding(self, curvature, point, drift):
        """Bound the rounding errors: of the whitened gradient, and of every logit, (c,).

        One rounding is half of EPS.
        """
        offset, blocks, groups = np.abs(self.offset / self.unit), self._blocks(2), self._groups
        sizes = float(growth_of(drift)) * curvature.sizes + 2.0 * offset
        # Sums of numpy are pairwise, of 128 numbers in eight parts. With exp, 20 is plenty.
        of_total = 20.0 + 0.5 * math.log2(self.base.size)
        depth = 20.0 + math.log2(blocks[0].stop / 64) + depth_of_sums(len(blocks)) + 4.0
        of_gradient = self.blur + EPS * 0.5 * depth * sizes
        of_gradient += EPS * of_total * (np.abs(point.mean) + offset)
        depth = groups[0].stop + depth_of_sums(len(groups)) + 4
        of_logits = curvature.lengths + float(np.linalg.norm(offset))
        of_logits *= 0.5 * depth * float(np.linalg.norm(point.t))
        of_logits += np.abs(self.base) + np.abs(point.logits) + np.abs(point.logits - point.value)
        of_logits += 4.0
        of_logits *= EPS
        of_value = EPS * (of_total + abs(point.value))  # which is the same for all p
        whitened = min(
            float(np.linalg.norm(np.abs(curvature.whitener) @ of_gradient)),
            curvature.largest * float(np.linalg.norm(of_gradient)),
        )
        return whitened + of_mean(of_logits, point, drift), of_logits + of_value


def solve_large(problem, controls):
    """Return what a Found says of a large problem, or None if it needs special care."""
    num_features, num_outcomes = problem.features.shape
    is_large = num_outcomes >= _FEWEST_OUTCOMES and problem.features.size >= _FEWEST_NUMBERS
    is_plain = problem.start is None and problem.penalty is None
    if not (is_large and is_plain and 16 * num_features <= num_outcomes):
        return None
    fewest = max(_SAMPLE, _SAMPLE_OF_FEATURE * num_features)
    stride = max(1, num_outcomes // fewest)
    with np.errstate(all="ignore"):  # what overflows is not claimed to be solved
        ends = (_sparse_and_few if is_sparse(problem.features) else _dense_and_few)(problem, stride)
        if ends is None:
            return None
        large, few, inverse = ends
        t, level, inverse = _optimum_of_sample(few, inverse)
        point = large.evaluate(t, level + math.log(stride))
        outcome = _descend(large, point, inverse, controls)
    is_solved = outcome is not None and outcome.status.is_solution
    return (large, outcome) if is_solved else None


def _dense_and_few(problem, stride):
    """Return all outcomes, some of them, and the inverse Hessian of these at theta = 0, or None."""
    F, b, base = problem.features, problem.targets, problem.base
    few, few_base = np.ascontiguousarray(F[:, ::stride]), base[::stride]
    weights = np.exp(few_base)
    weights /= weights.sum()
    covariance = covariance_of(few, weights, few @ weights)
    spread = np.sqrt(np.diagonal(covariance))
    inverse = _inverse(covariance / np.outer(spread, spread))
    if inverse is None:
        return None
    large = Large.of(F, b, base, spread, problem.blur)
    return large, Large.of(few, b, few_base, spread, problem.blur), inverse


def _sparse_and_few(problem, stride):
    large = SparseReduced.of(problem)
    few = large.sample(stride)
    point = few.evaluate(np.zeros(large.scale.size), 0.0)
    inverse = _inverse(few.covariance(point))
    return None if inverse is None else (large, few, inverse)


def _inverse(hessian):
    """Return the inverse; None if features may be dependent."""
    spread = np.sqrt(np.diagonal(hessian))
    try:
        pivots = np.diagonal(np.linalg.cholesky(hessian / np.outer(spread, spread)))
    except np.linalg.LinAlgError:
        return None
    return np.linalg.inv(hessian) if pivots.min() > _SMALLEST_PIVOT else None


def _optimum_of_sample(few, inverse):
    """Return the parameters and the value of the optimum for a sample, and its inverse Hessian.

    If it has none nearby, the approach to that of all outcomes starts from 0.
    """
    nowhere, level = np.zeros(len(inverse)), math.log(few.base.size)
    point, corrected = few.evaluate(nowhere, level), inverse
    for _ in range(_MAX_STEPS):
        point, corrected, reach = _step(few, point, corrected)
        if not reach < math.inf:
            break
        if reach < _NEAR_IN_SAMPLE:
            return point.t, point.value, corrected
    return nowhere, level, inverse


def _step(large, point, inverse, *, accurate=False):
    """Return the point that a step leads to, the corrected inverse Hessian, and the reach."""
    change = -(inverse @ point.gradient)
    after = large.evaluate(point.t + change, point.value, accurate=accurate)
    along = after.logits - point.logits
    reach = float(np.ptp(along))
    length = line_search(on_line(point.logits, along), reach) if reach < math.inf else 1.0
    if length != 1.0:
        change *= length
        after = large.evaluate(point.t + change, point.value, accurate=accurate)
    curved = after.gradient - point.gradient
    curvature = float(change @ curved)
    if curvature > 0.0:
        bent = inverse @ curved
        pair = np.outer(bent / curvature, change)
        inverse = inverse - (pair + pair.T)
        inverse += np.outer((1.0 + curved @ bent / curvature) / curvature * change, change)
    return after, inverse, length * reach


def _descend(large, point, inverse, controls):
    """Return a certified Outcome, or None if the steps do not lead to one."""
    curvature, before = None, math.inf
    for steps in range(min(_MAX_STEPS, controls.max_steps)):
        earlier, before = before, math.inf if curvature is None else curvature.decrement(point)
        gain = before / earlier if earlier < math.inf else 1.0  # the next is hardly less
        is_last = before < math.inf and before * gain * curvature.lever <= _LAST
        controls.report(steps, math.sqrt(max(0.0, point.gradient @ inverse @ point.gradient)))
        point, inverse, reach = _step(large, point, inverse, accurate=is_last)
        if not reach < math.inf:
            return None
        if is_last:
            outcome = proved(large, curvature, point, steps + 1, controls)
            after = curvature.decrement(point)
            if outcome is None and after > 0.5 * before:
                return None
            # Enough: what is left is not to be seen in the bound, or far below the tolerance.
            enough = 0.0 if outcome is None else max(0.5 * outcome.error_bound, 0.01 * controls.tol)
            if after * curvature.lever <= enough or after > 0.5 * before:
                return outcome
        if curvature is None and reach < large.near:
            curvature = large.curvature(point)
            if curvature is None:
                return None
            inverse = curvature.whitener.T @ curvature.whitener
    return None
