r"""Shortest curves by Newton's method on their energy, each curve one polynomial of time.

A curve is known at N Gauss-Lobatto nodes of [0, 1]. Its energy is the sum of the squared speeds at
the nodes, weighted; the shortest curve between two points has the least. The error falls as fast
in N as the curve is smooth, so N grows until a certificate is tight:

In a complete simply connected manifold without positive curvature, a curve of length L that turns
by at most :math:`\tau \le \pi` in all, :math:`\tau = \int |\nabla_T T| \, ds`, joins points at a
distance in :math:`[L \cos(\tau / 2), L]`: a convex curve in the plane that Reshetnyak's theorem
sets beside it is as long, turns no more, and has ends no farther apart.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

# How many nodes: curves that are not certified with one number get the next.
SIZES = (6, 10, 16, 24, 36, 54, 80, 120, 180, 270)
# The most numbers k N^2 that a curve of k coordinates may take for one matrix.
_MOST = 4_000_000
# How many nodes guesses have, how few pairs cost more by their number than by that of nodes, and
# below which turning a curve of one size is a good beginning for the next.
_OF_GUESSES, _FEW, _GOOD = 16, 8, 3.0
# A Newton step that lowers the energy by less than this share leaves the square of it. The first
# size is only the beginning for others.
_SMALL, _SMALL_AT_FIRST = 1e-8, 1e-4
_MAX_STEPS = 60


class Level(NamedTuple):
    """Nodes and matrices for polynomials that are known at N of them."""

    times: np.ndarray  # (N,) in [0, 1]
    weights: np.ndarray  # (N,)
    slopes: np.ndarray  # (N, N): values at the nodes to derivatives there
    products: np.ndarray  # (2 N, M^2): densities at nodes to matrices of the M inner nodes
    fine_times: np.ndarray  # (F,): Gauss' nodes
    fine_weights: np.ndarray  # (F,)
    fine: np.ndarray  # (3, F, N): values at the nodes to values and derivatives at those


@functools.cache
def level(size: int) -> Level:
    """Return the nodes of one size."""
    legendre = np.polynomial.legendre.Legendre.basis(size - 1)
    inner = legendre.deriv().roots()
    for _ in range(3):  # roots of companion matrices have lost some digits
        inner = inner - legendre.deriv()(inner) / legendre.deriv(2)(inner)
    x = np.concatenate([[-1.0], np.sort(inner), [1.0]])
    weights = 2.0 / (size * (size - 1) * legendre(x) ** 2)
    times = 0.5 * (x + 1.0)
    slopes = _slopes(times)
    q = np.arange(size)
    unit = np.eye(size)
    straight = slopes[q, :, None] * slopes[q, None, :]
    mixed = unit[q, :, None] * slopes[q, None, :]
    mixed = mixed + mixed.transpose(0, 2, 1)
    scale = 0.5 * weights[:, None, None]
    parts = [(scale * part)[:, 1:-1, 1:-1].reshape(size, -1) for part in (straight, mixed)]
    y, fine_weights = np.polynomial.legendre.leggauss(size + size // 2 + 2)
    fine_times = 0.5 * (y + 1.0)
    values = interpolation(times, fine_times)
    fine = np.stack([values, values @ slopes, values @ slopes @ slopes])
    products = np.concatenate(parts)
    return Level(times, 0.5 * weights, slopes, products, fine_times, 0.5 * fine_weights, fine)


def _slopes(times: np.ndarray) -> np.ndarray:
    """Return the matrix that differentiates polynomials at their nodes; rows sum to 0."""
    weights = _barycentric(times)
    gaps = times[:, None] - times
    np.fill_diagonal(gaps, 1.0)
    matrix = weights / weights[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(-1))
    return matrix


@functools.cache
def _log_barycentric(key: bytes) -> tuple[np.ndarray, np.ndarray]:
    times = np.frombuffer(key)
    gaps = times[:, None] - times
    np.fill_diagonal(gaps, 1.0)
    return -np.log(np.abs(gaps)).sum(-1), np.sign(gaps).prod(-1)


def _barycentric(times: np.ndarray) -> np.ndarray:
    logs, signs = _log_barycentric(times.tobytes())
    return signs * np.exp(logs - logs.max())


def interpolation(times: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the matrix from values at nodes to values of the polynomial at other times."""
    gaps = targets[:, None] - times
    is_node = gaps == 0.0
    terms = _barycentric(times) / np.where(is_node, 1.0, gaps)
    terms = np.where(is_node.any(-1, keepdims=True), is_node, terms)
    return terms / terms.sum(-1, keepdims=True)


# ---------------------------------------------------------------- the solve


class Group(NamedTuple):
    """Some of the curves that were asked for, all known at the nodes of one level.

    Parameters
    ----------
    rows : array, shape (g,)
        Which of the pairs.
    nodes : Level
        Their nodes.
    bend : array, shape (g, parts, N)
        The curves beyond their chords.
    length, turning : array, shape (g,)
        The length of each, and a bound on how far it turns.
    """

    rows: np.ndarray
    nodes: Level
    bend: np.ndarray
    length: np.ndarray
    turning: np.ndarray


def solve(
    metric: Any, x: np.ndarray, chord: np.ndarray, tolerance: float, wanted: float
) -> Iterator[tuple[Group, np.ndarray]]:
    """Yield the curves from points x (n, k) along chords (n, parts), and the steps taken so far.

    The metric has the functions ``at``, ``guesses``, ``newton_step``, ``rows_of`` and
    ``certificate``. Curves whose turning is above the tolerance get all sizes. Below it they get
    further ones down to what is wanted, as long as these help.
    """
    guess, first = _start(metric, x, chord)
    n, start = x.shape[0], level(_OF_GUESSES).times
    is_open, is_known = np.ones(n, bool), np.zeros(n, bool)
    bend, times, counts, last = guess, start, np.zeros(n, int), np.full(n, np.inf)
    sizes = [size for size in SIZES if x.shape[1] * size**2 <= _MOST]
    first = np.minimum(first, sizes[-1])
    for size in sizes:
        rows = np.flatnonzero(is_open & (first <= size))
        if not rows.size:
            continue
        nodes = level(size)
        kept, new = bend @ interpolation(times, nodes.times).T, rows[~is_known[rows]]
        kept[new] = guess[new] @ interpolation(start, nodes.times).T
        bend, times = kept, nodes.times
        bend[rows], steps = _newton(metric, nodes, x[rows], chord[rows], bend[rows])
        counts[rows] += steps
        length, turning = metric.certificate(nodes, x[rows], chord[rows], bend[rows])
        # Curves that turn a lot are no beginning for the next size.
        is_known[rows] = turning < _GOOD
        is_best = (turning <= wanted) | (turning > 0.1 * last[rows])
        is_done = (turning <= tolerance) & is_best | (size == sizes[-1])
        last[rows] = turning
        is_open[rows] = ~is_done
        if is_done.any():
            done = rows[is_done]
            yield Group(done, nodes, bend[done], length[is_done], turning[is_done]), counts[done]


def _start(metric: Any, x: np.ndarray, chord: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the best guesses (n, k, N), and how many nodes to begin with.

    The nodes have to resolve lengths of about 1.
    """
    coarse, nodes = level(SIZES[0]), level(_OF_GUESSES)
    best = np.zeros((*chord.shape, _OF_GUESSES))
    energy = metric.at(coarse, x, chord, np.zeros((*chord.shape, SIZES[0]))).energy
    far = np.flatnonzero(~(energy < 4.0))
    if far.size:
        energy[far] = metric.at(nodes, x[far], chord[far], best[far]).energy
        for guess in metric.guesses(nodes.times, x[far], chord[far]):
            tried = metric.at(nodes, x[far], chord[far], guess).energy
            is_better = ~(tried >= energy[far])
            best[far[is_better]] = guess[is_better]
            energy[far[is_better]] = tried[is_better]
    size = np.where(energy < 60.0, 1.5 * np.sqrt(2.0 * energy), 50.0)
    return best, np.where(x.shape[0] < _FEW, np.maximum(size, 12.0), size)


def _newton(
    metric: Any, nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the bends of least energy, (n, k, N), and the steps; a step is halved until it helps.

    The Hessian is that of the manifold, which no negative curvature can make indefinite.
    """
    n = x.shape[0]
    small = _SMALL_AT_FIRST if nodes.times.size == SIZES[0] else _SMALL
    counts, rows = np.zeros(n, int), np.arange(n)
    size, here = np.ones(n), bend.copy()
    result = bend.copy()
    step, expected, energy = np.zeros_like(bend), np.zeros(n), np.full(n, np.inf)
    for _ in range(_MAX_STEPS):
        tried = here + size[:, None, None] * step
        terms = metric.at(nodes, x[rows], chord[rows], tried)
        is_worse = ~(terms.energy <= energy - 1e-4 * size * expected)
        # Nothing lowers the energy of a curve that the nodes do not resolve, or that overflows.
        is_stuck = is_worse & ((size < 1e-6) | np.isinf(energy))
        size = np.where(is_worse, 0.5 * size, 1.0)
        if not is_worse.all():
            fresh, decrease = _descent(metric, nodes, terms)
            good = ~is_worse
            here = np.where(good[:, None, None], tried, here)
            step = np.where(good[:, None, None], fresh, step)
            expected = np.where(good, decrease, expected)
            energy = np.where(good, terms.energy, energy)
        counts[rows] += 1
        is_close = ~is_worse & (expected <= small * energy)
        result[rows] = here + np.where(is_close[:, None, None], step, 0.0)
        is_done = is_close | is_stuck
        if is_done.any():
            keep = ~is_done
            rows, size, expected, energy = (v[keep] for v in (rows, size, expected, energy))
            here, step = here[keep], step[keep]
        if not rows.size:
            break
    return result, counts


def _descent(metric: Any, nodes: Level, terms: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return Newton's step where it lowers the energy, else one that certainly does."""
    step, decrease = metric.newton_step(nodes, terms, np.ones(terms.energy.shape))
    bad = np.flatnonzero(~(decrease > 0.0) & np.isfinite(terms.energy))
    if bad.size:
        part = metric.rows_of(terms, bad)
        step[bad], decrease[bad] = metric.newton_step(nodes, part, np.zeros(bad.size))
    return step, decrease
