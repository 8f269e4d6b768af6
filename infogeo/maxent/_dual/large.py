"""Large dense problems: the way to the optimum, and the Hessian there, in single precision.

Steps follow a Hessian of a sample of the outcomes, which they correct as they go (BFGS). At the end
the Hessian of all outcomes is formed once, and a bound on its rounding errors takes part in the
proof. The gradient of the proof is that of all outcomes in double precision.
"""

from dataclasses import dataclass, replace

import numpy as np

from infogeo.maxent._dual.newton import step_length
from infogeo.maxent._dual.problem import Reduced, evaluate
from infogeo.maxent._dual.proofs import certify

# Problems of fewer outcomes, or of fewer numbers, gain nothing.
_FEWEST_OUTCOMES, _FEWEST_NUMBERS = 4096, 100_000
# Outcomes whose squares are added in single precision; sums of more are in double precision.
_BLOCK = 1024
# What a sum of the squares of so many products loses, relative to the trace (see `_whitener`).
_LOSS = (_BLOCK + 8) * 2.0**-24
_MAX_STEPS = 30
# A shorter step in single precision follows noise soon.
_SHORTEST = 3e-5


@dataclass(frozen=True)
class Coarse:
    """What a proof takes from single precision."""

    reduced: Reduced  # with rows in single precision, for the sizes of terms
    norms: float  # no row less its mean is longer, in the norm of the whitener
    doubt: float  # the whitener's covariance is at most exp(doubt) times the right one


def solve_large(problem, reduced, controls):
    """Return a certified Outcome of a large problem that needs no special care, or None."""
    num_features, num_outcomes = reduced.rows.shape
    is_large = num_outcomes >= _FEWEST_OUTCOMES and reduced.rows.size >= _FEWEST_NUMBERS
    if not is_large or problem.start is not None or 16 * num_features > num_outcomes:
        return None
    with np.errstate(all="ignore"):  # what overflows is not claimed to be solved
        rows = reduced.rows.astype(np.float32)
        t, steps = _approach(rows, problem.base.astype(np.float32), controls)
        if t is None or steps >= controls.max_steps:
            return None
        point = evaluate(problem, reduced, t)
        whitener, coarse = _whitener(rows, point, reduced)
        if whitener is None:
            return None
        remaining = controls.max_steps - steps
        outcome = certify(problem, reduced, point, whitener, controls.tol, remaining, coarse)
    if outcome is None or not outcome.status.is_solution:
        return None
    return replace(outcome, steps=steps + outcome.steps)


def _approach(rows, base, controls):
    """Return parameters close to the optimum, and the steps; None if they do not come close."""
    num_features, num_outcomes = rows.shape
    t, logits = np.zeros(num_features), base
    p, gradient = _weights_and_means(rows, logits)
    stride = max(1, num_outcomes // max(_FEWEST_OUTCOMES, 16 * num_features))
    few, mass = np.ascontiguousarray(rows[:, ::stride]), p[::stride] / p[::stride].sum()
    centred = (few - (few @ mass)[:, None]) * np.sqrt(mass)
    try:
        inverse = np.linalg.inv((centred @ centred.T).astype(np.float64))
    except np.linalg.LinAlgError:
        return None, 0
    for step in range(min(_MAX_STEPS, controls.max_steps)):
        direction = -inverse @ gradient
        controls.report(step, np.sqrt(max(0.0, -float(direction @ gradient))))
        along = direction.astype(np.float32) @ rows
        reach = float(np.ptp(along))
        if not (reach < np.inf and along.max() > 0.0):
            return None, step
        length = step_length(logits, along, reach, (0.0, 0.0))
        t, logits = t + length * direction, logits + np.float32(length) * along
        p, after = _weights_and_means(rows, logits)
        if length * reach < _SHORTEST:
            return t, step + 1
        change, curved = length * direction, after - gradient
        gradient = after
        curvature = float(change @ curved)
        if curvature > 0.0:
            bent = inverse @ curved
            inverse += (1.0 + curved @ bent / curvature) / curvature * np.outer(change, change)
            inverse -= (np.outer(bent, change) + np.outer(change, bent)) / curvature
    return None, _MAX_STEPS


def _weights_and_means(rows, logits):
    """Return softmax(logits), and the means of the rows, added in double precision."""
    p = np.exp(logits - logits.max())
    p /= p.sum(dtype=np.float64)
    mean = np.zeros(rows.shape[0])
    for first in range(0, p.size, 4 * _BLOCK):
        block = slice(first, first + 4 * _BLOCK)
        mean += rows[:, block] @ p[block]
    return p, mean


def _whitener(rows, point, reduced):
    """Return W with W'W close to the inverse of the Hessian, and how close; None if it is not.

    A product of two entries sqrt(p) F has a relative error of 8 roundings, a sum of n such one of n
    more; so the matrix of second moments is off by at most (n + 8) 2^-24 of its trace, in the
    spectral norm, and the trace is at most the square of the longest row.
    """
    roots = np.sqrt(point.p.astype(np.float32))
    covariance, longest = -np.outer(point.mean, point.mean), 0.0
    for first in range(0, roots.size, _BLOCK):
        block = rows[:, first : first + _BLOCK]
        longest = max(longest, float(np.einsum("ij,ij->j", block, block).max()))
        block = block * roots[first : first + _BLOCK]
        covariance += block @ block.T
    longest = 1.001 * np.sqrt(longest)
    smallest, *_ = np.linalg.eigvalsh(covariance)
    lost = 1.1 * _LOSS * longest**2 / smallest
    if not (smallest > 0.0 and lost < 0.5):
        return None, None
    whitener = np.linalg.inv(np.linalg.cholesky(covariance))
    norm = 1.001 / np.sqrt(smallest)
    coarse = Coarse(
        replace(reduced, rows=rows),
        norm * (longest + float(np.linalg.norm(point.mean))),
        -float(np.log1p(-lost)),
    )
    return whitener, coarse
