r"""The Fisher metric of Dirichlet distributions, as numbers: no public function stands here.

With the velocities :math:`w_i = \dot a_i / a_i`, the shares :math:`p_i = a_i / S`, their mean
:math:`m = \sum p_i w_i` and :math:`f(a) = a^2 \psi_1(a) - a`, which is between 1/2 and 1, the
squared speed is

.. math:: \sum_i \psi_1(a_i) \dot a_i^2 - \psi_1(S) \dot S^2
          = \sum_i a_i (w_i - m)^2 + \sum_i f(a_i) w_i^2 - f(S) m^2,

in which nothing cancels for large a. The geodesics of the metric solve
:math:`\psi_1(a_i) \ddot a_i + \tfrac12 \psi_2(a_i) \dot a_i^2 = \lambda`, and the sum S does, too.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from infogeo.manifolds import _differences, _special
from infogeo.manifolds._spectral import Level, level


class Weights(NamedTuple):
    """What the metric needs of concentrations a and their sum, free of scales."""

    a: np.ndarray
    f: np.ndarray  # a^2 psi_1(a) - a
    second: np.ndarray  # a^3 psi_2(a)
    third: np.ndarray  # a^4 psi_3(a)


# Newton steps of log a below this that do not become smaller are rounding.
_ROUNDING = 1e-6

# From here on the series of `_special` are exact; below, so many steps of the recurrence.
_START = _special.START
_STEPS = np.arange(float(_START))
# Coefficients of x^2, x^3, x^4 times the derivatives of Binet's function, highest power first.
_SERIES = np.array(
    [
        [b * factor for factor in (1.0, -(2 * j + 1.0), (2 * j + 1.0) * (2 * j + 2.0))]
        for j, b in reversed(list(enumerate(_special.BERNOULLI, 1)))
    ]
)


def weights_of(a: np.ndarray) -> Weights:
    """Return f and the scaled derivatives of trigamma, at once what `_special` has one by one.

    The steps of the recurrence are :math:`1 / 2 u^2` with u = x (x + 1), and its derivatives.
    """
    is_small = a < _START
    column = (-1, *(1,) * a.ndim)
    inverse = 1.0 / np.where(is_small, a + _START, a)
    square, total = inverse * inverse, _SERIES[0].reshape(column)
    for row in _SERIES[1:]:
        total = total * square + row.reshape(column)
    ratio = a * inverse
    r2, r3, r4 = total * inverse * np.stack([ratio**2, ratio**3, ratio**4])
    if is_small.any():
        low = np.where(is_small, a, 1.0)
        x = low + _STEPS.reshape(column)
        share = low / x / (x + 1.0)
        squared = share * share
        cube = squared * share
        r2 = np.where(is_small, r2 + 0.5 * squared.sum(0), r2)
        r3 = np.where(is_small, r3 - (cube * (2.0 * x + 1.0)).sum(0), r3)
        r4 = np.where(is_small, r4 + (cube * (10.0 * low + 3.0 * share)).sum(0), r4)
    return Weights(a, 0.5 + r2, r3 - a - 1.0, r4 + 2.0 * a + 3.0)


class Place(NamedTuple):
    """Concentrations along the axis 1, their sum, and the shares."""

    each: Weights
    total: Weights
    shares: np.ndarray


def place(a: np.ndarray) -> Place:
    total = a.sum(1, keepdims=True)
    both = weights_of(np.concatenate([a, total], axis=1))
    each, total = (Weights(*(v[:, part] for v in both)) for part in (slice(-1), slice(-1, None)))
    return Place(each, total, each.a / total.a)


class Speed(NamedTuple):
    """A velocity of log a: its mean over the shares, and what is beyond that."""

    w: np.ndarray
    mean: np.ndarray
    beyond: np.ndarray


def speed(at: Place, parts: np.ndarray) -> Speed:
    """Return the velocity that is the sum of parts: one for each a, and one for all, the last.

    What is beyond the mean counts sqrt(S) times as much, so that it must not be rounded as the
    rest.
    """
    own, common = parts[:, :-1], parts[:, -1:]
    mean = (at.shares * own).sum(1, keepdims=True)
    return Speed(own + common, mean + common, own - mean)


def lowered(at: Place, v: Speed) -> np.ndarray:
    """Return the covector of a velocity: the metric times it."""
    return at.each.a * v.beyond + at.each.f * v.w - at.shares * at.total.f * v.mean


def squared(at: Place, v: Speed) -> np.ndarray:
    """Return the squared norm of a velocity."""
    terms = at.each.a * v.beyond * v.beyond + at.each.f * v.w * v.w
    return terms.sum(1) - (at.total.f * v.mean * v.mean)[:, 0]


def plain(at: Place, w: np.ndarray) -> Speed:
    """Return a velocity that is not given in parts."""
    return speed(at, np.concatenate([w, np.zeros_like(w[:, :1])], axis=1))


def raised(at: Place, covector: np.ndarray) -> np.ndarray:
    """Return the velocity of log a of a covector: the inverse of `lowered`."""
    inverse = 1.0 / (at.each.a + at.each.f)
    shift = (at.each.a * inverse * covector).sum(1, keepdims=True) / _excess(at)
    return (covector + at.each.a * shift) * inverse


def _excess(at: Place) -> np.ndarray:
    """Return 1 / psi_1(S) less the sum of 1 / psi_1(a_i): positive, about (k - 1) / 2 for large a.

    1 / psi_1(a) is a - c(a), with c below 1/2; for small a it is about a^2.
    """
    each, total = (v.a * v.f / (v.a + v.f) for v in (at.each, at.total))
    excess = each.sum(1, keepdims=True) - total
    top = at.each.a.max(1, keepdims=True)
    if (top > 0.99999 * at.total.a).any() or (at.total.a < 1e-3).any():
        return np.where(excess > 1e-3 * total, excess, _small_excess(at))
    return excess


def _small_excess(at: Place) -> np.ndarray:
    """Return the same where one concentration is nearly the sum, or all are small."""
    is_top = at.each.a == at.each.a.max(1, keepdims=True)
    is_top &= np.cumsum(is_top, axis=1) == 1
    rest = np.where(is_top, 0.0, at.each.a).sum(1, keepdims=True)
    inverse = [v.a * v.a / (v.a + v.f) for v in (at.each, at.total)]
    slopes = [-v.a * v.second / (v.a + v.f) ** 2 for v in (at.each, at.total)]
    middle = 0.5 * (np.where(is_top, slopes[0], 0.0).sum(1, keepdims=True) + slopes[1])
    bounded = at.each.a * at.each.f / (at.each.a + at.each.f)
    others = [np.where(is_top, 0.0, x).sum(1, keepdims=True) for x in (inverse[0], bounded)]
    by_slope = np.where(
        at.total.a < 1.0, rest * middle - others[0], others[1] - rest * (1.0 - middle)
    )
    direct = inverse[1] - inverse[0].sum(1, keepdims=True)
    return np.where(rest < 1e-5 * at.total.a, by_slope, direct)


def acceleration(at: Place, u: Speed, v: Speed) -> np.ndarray:
    """Return minus the Christoffel symbols times two velocities, divided by a.

    Along a geodesic it is the second derivative of a, divided by a.
    """
    multiplier = 0.5 * _bend(at, u, v) / _excess(at)
    product = at.each.second * u.w * v.w
    return (at.each.a * multiplier - 0.5 * product) / (at.each.a + at.each.f)


def _bend(at: Place, u: Speed, v: Speed) -> np.ndarray:
    """Return minus the sum of psi_2 / psi_1 times two velocities of a, plus that of the sum S."""
    each, total = (y.a * (y.second + y.a + y.f) / (y.a + y.f) for y in (at.each, at.total))
    terms = at.each.a * u.beyond * v.beyond - each * u.w * v.w
    return terms.sum(1, keepdims=True) + total * u.mean * v.mean


def curvature(at: Place, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the sectional curvature of planes of velocities of log a, (n, k, 1) to (n,).

    With the flat coordinates in which psi_1(a) da^2 is a square, the manifold is where the sum is
    S, in a flat space with one time. Its normal is timelike, and Gauss' equation has this sign.
    """
    first = plain(at, u)
    along = (v * lowered(at, first)).sum(1) / squared(at, first)
    across = plain(at, v - along[:, None] * u)
    bends = [_bend(at, x, y)[:, 0] for x, y in ((first, first), (across, across), (first, across))]
    area = squared(at, first) * squared(at, across) * _excess(at)[:, 0]
    return (-0.25 * (bends[0] * bends[1] - bends[2] ** 2) / area)[:, 0]


# ---------------------------------------------------------------- Newton's method, for log a


class Terms(NamedTuple):
    """What Newton's step needs at the nodes, (n, k, N), and the energy (n,) with its gradient."""

    energy: np.ndarray
    gradient: np.ndarray
    at: Place
    v: Speed


def parts_of(w: np.ndarray) -> np.ndarray:
    """Return (n, k, ...) as its deviations from the mean over the axis 1, then that mean."""
    mean = w.mean(1, keepdims=True)
    return np.concatenate([w - mean, mean], axis=1)


def _curve(
    times: np.ndarray, x: np.ndarray, chord: np.ndarray, bend: np.ndarray, slopes: np.ndarray
) -> tuple[Place, Speed]:
    """Return the places and velocities of log a = log x + t chord + bend."""
    path = times * chord[..., None] + bend
    at = place(x[..., None] * np.exp(path[:, :-1] + path[:, -1:]))
    return at, speed(at, chord[..., None] + slopes)


def at(nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray) -> Terms:
    """Return the terms of curves from x (n, k) on; chords and bends come in k + 1 parts."""
    at, v = _curve(nodes.times, x, chord, bend, bend @ nodes.slopes.T)
    energy = 0.5 * (nodes.weights * squared(at, v)).sum(-1)
    sums = 0.5 * at.total.second * v.mean + (at.total.a + at.total.f) * v.w
    force = 0.5 * _slope(at.each) * v.w * v.w - at.shares * v.mean * sums
    gradient = (nodes.weights * lowered(at, v)) @ nodes.slopes + nodes.weights * force
    return Terms(energy, gradient, at, v)


def rows_of(terms: Terms, rows: np.ndarray) -> Terms:
    """Return the terms of some of the curves."""
    energy, gradient, places, v = terms
    each, total = (Weights(*(y[rows] for y in part)) for part in (places.each, places.total))
    places = Place(each, total, places.shares[rows])
    return Terms(energy[rows], gradient[rows], places, Speed(*(y[rows] for y in v)))


def guesses(times: np.ndarray, x: np.ndarray, chord: np.ndarray) -> Iterator[np.ndarray]:
    """Yield bends to begin with, each (n, k + 1, N).

    Large concentrations are a hyperbolic space with S^(-1/2) as its height. Its geodesics have
    log S = 2 log cosh s + constant, with s at an even pace, and move across as tanh s does.
    """
    ends = np.log(x.sum(-1)), np.log((x * np.exp(chord[:, :-1] + chord[:, -1:])).sum(-1))
    for depth in (1.0, 2.0, 4.0, 7.0, 10.0, 14.0):
        low = np.minimum(*ends) - depth
        first, last = (np.arccosh(np.exp(0.5 * (end - low)))[:, None] for end in ends)
        s = (first + last) * times - first
        dip = np.log(np.cosh(s)) - (1.0 - times) * np.log(np.cosh(first))
        dip -= times * np.log(np.cosh(last))
        across = (np.tanh(s) + np.tanh(first)) / (np.tanh(last) + np.tanh(first)) - times
        bend = across[:, None] * chord[..., None]
        bend[:, -1] = 2.0 * dip
        yield bend


def _slope(each: Weights) -> np.ndarray:
    """Return the derivative of a^2 psi_1(a) by log a."""
    return each.second + 2.0 * (each.a + each.f)


def newton_step(nodes: Level, terms: Terms, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the step of the bends, in k + 1 parts, and by how much it lowers the quadratic model.

    The Hessian is one block for each concentration, and a part of rank two at each node, through
    the sum S and its velocity. That of the manifold subtracts the Christoffel symbols times the
    gradient; it is positive where curvature is not. The share (n,), 1 or 0, is that of the terms
    which may be negative all the same where the nodes are too few.
    """
    _, gradient, at, (w, mean, _) = terms
    share = share[:, None, None]
    shares, psi, slope = at.shares, at.total.a + at.total.f, _slope(at.each)
    rise = raised(at, gradient)
    rise[..., 0] = rise[..., -1] = 0.0
    drift = (shares * rise).sum(1, keepdims=True)
    by_place = 0.5 * (at.each.third + 3.0 * at.each.second + 2.0 * slope) * w * w
    by_place -= shares * mean * (0.5 * at.total.second * mean + psi * w)
    by_place = nodes.weights * by_place - 0.5 * slope * rise + psi * drift * shares
    by_both = share * (slope * w - psi * mean * shares)
    n, k, size = w.shape
    m = size - 2
    blocks = np.concatenate([at.each.a + at.each.f, by_both], axis=-1) @ nodes.products
    blocks = blocks.reshape(n, k, m, m)
    i = np.arange(m)
    blocks[..., i, i] += (share * by_place)[..., 1:-1]
    # How the sum at the inner nodes, and its velocity at all of them, depend on the unknowns.
    rows = np.zeros((n, k, m + size, m))
    rows[:, :, i, i] = shares[..., 1:-1]
    rows[:, :, m:] = shares[..., None] * nodes.slopes[:, 1:-1]
    rows[:, :, m + 1 + i, i] += (share * shares * w)[..., 1:-1]
    middle = _of_sums(nodes, at.total, mean, drift, share)
    step = -_solved(blocks, rows, middle, gradient[..., 1:-1])
    # Beyond such a step the quadratic model says nothing.
    step *= np.minimum(1.0, 2.0 / np.abs(step).max((-2, -1), initial=1e-300))[:, None, None]
    whole = np.zeros_like(w)
    whole[..., 1:-1] = step
    return parts_of(whole), -(step * gradient[..., 1:-1]).sum((-2, -1))


def _of_sums(
    nodes: Level, total: Weights, mean: np.ndarray, drift: np.ndarray, share: np.ndarray
) -> np.ndarray:
    """Return the second derivatives by the sum at inner nodes and its velocity at all of them."""
    n, _, size = mean.shape
    m = size - 2
    i, q = np.arange(m), np.arange(size)
    middle = np.zeros((n, m + size, m + size))
    twice = share * (0.5 * total.second * drift - 0.5 * nodes.weights * total.third * mean**2)
    middle[:, i, i] = twice[:, 0, 1:-1]
    mixed = -(share * nodes.weights * total.second * mean)[:, 0, 1:-1]
    middle[:, i, m + 1 + i] = middle[:, m + 1 + i, i] = mixed
    middle[:, m + q, m + q] = -(nodes.weights * (total.a + total.f))[:, 0]
    return middle


def _solved(
    blocks: np.ndarray, rows: np.ndarray, middle: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Return x with (blocks + rows' middle rows) x = right, by Woodbury's identity."""
    n, k, num_rows, m = rows.shape
    inverse = np.linalg.inv(blocks)
    alone = inverse @ right[..., None]
    reached = inverse @ rows.swapaxes(-1, -2)
    folded = np.moveaxis(rows, 1, 2).reshape(n, num_rows, k * m)
    coupling = folded @ reached.reshape(n, k * m, num_rows) @ middle
    coupling[:, np.arange(num_rows), np.arange(num_rows)] += 1.0
    sums = np.linalg.solve(coupling, folded @ alone.reshape(n, k * m, 1))
    return (alone - reached @ (middle @ sums)[:, None])[..., 0]


def certificate(
    nodes: Level, x: np.ndarray, chord: np.ndarray, bend: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lengths of curves, and a bound on how far they turn."""
    values, slopes, curves = (bend @ matrix.T for matrix in nodes.fine)
    at, v = _curve(nodes.fine_times, x, chord, values, slopes)
    excess = curves[:, :-1] + curves[:, -1:] + v.w * v.w - acceleration(at, v, v)
    speeds = squared(at, v)
    turn = squared(at, plain(at, excess)) / np.where(speeds == 0.0, 1.0, speeds)
    length = (nodes.fine_weights * np.sqrt(speeds)).sum(-1)
    return length, np.sqrt((nodes.fine_weights * turn).sum(-1))


# ---------------------------------------------------------------- curves that begin with a velocity


def flow(
    a: np.ndarray, parts: np.ndarray, carried: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Follow geodesics from a (n, k) for a unit of time, and carry vectors along.

    Parameters
    ----------
    a : array, shape (n, k)
        Concentrations.
    parts : array, shape (n, k + 1)
        The velocities of log a, in parts.
    carried : list of array, shape (n, k)
        Vectors at a, as velocities of log a.

    Returns
    -------
    tuple of array and list
        The same at time 1; concentrations that are NaN where there are no numbers for them.
    """
    time = 0.0
    while time < 1.0:
        at = place(a[..., None])
        v = speed(at, parts[..., None])
        length, largest = np.sqrt(squared(at, v).max(initial=0.0)), np.abs(v.w).max(initial=0.0)
        step = min(1.0 - time, 0.7 / max(length, 1e-300), 1.5 / max(largest, 1e-300))
        while (reached := _picard(a, parts, carried, step)) is None:
            step *= 0.5
            if not step > 1e-6:
                return np.full_like(a, np.nan), parts, carried
        a, parts, carried = reached
        time += step
    return a, parts, carried


def _picard(
    a: np.ndarray, parts: np.ndarray, carried: list[np.ndarray], step: float
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]] | None:
    """Return where geodesics are after a step, None if the iteration does not converge."""
    nodes = level(16)
    integral = step * np.linalg.inv(nodes.slopes[1:, 1:]).T
    v = np.repeat(parts[..., None], 15, axis=-1)
    vectors = [np.repeat(c[..., None], 15, axis=-1) for c in carried]
    last = np.inf
    for _ in range(60):
        path = v @ integral
        with np.errstate(over="ignore", invalid="ignore"):
            at = place(a[..., None] * np.exp(path[:, :-1] + path[:, -1:]))
            here = speed(at, v)
            new = parts[..., None] + parts_of(acceleration(at, here, here) - here.w**2) @ integral
            new_vectors = [
                c[..., None] + (acceleration(at, here, plain(at, x)) - x * here.w) @ integral
                for c, x in zip(carried, vectors, strict=True)
            ]
        pairs = [(new, v), *zip(new_vectors, vectors, strict=True)]
        scales = [np.abs(old).max((1, 2), initial=1e-300) for _, old in pairs]
        change = max(
            (np.abs(x - y).max((1, 2)) / s).max(initial=0.0)
            for (x, y), s in zip(pairs, scales, strict=True)
        )
        if not change < 1e3:
            return None
        v, vectors = new, new_vectors
        if change < 1e-13 and not change < 0.5 * last:
            path = v @ integral
            end = a * np.exp(path[:, :-1, -1] + path[:, -1:, -1])
            return end, v[..., -1], [x[..., -1] for x in vectors]
        last = change
    return None


# ---------------------------------------------------------------- concentrations of mean logarithms


def moved(a: np.ndarray, step: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Return the concentrations whose mean logarithms are those of a plus a step, all (n, k).

    Newton's method in log a, from a start on. Near a, differences of digamma lose no digits. Far
    from it the mean logarithms eta themselves, the target, are as exact, and log -eta is nearly
    linear in log a. A step has a bound, which doubles while steps reach it in one direction. Rows
    that are not solved are NaN.
    """
    b, size = start, np.full((len(start), 1), np.inf)
    bound, before = np.ones_like(size), np.zeros_like(start)
    # A step is better than its target unless the terms of its differences were much larger.
    rounding = np.abs(_differences.mean_logarithms(a, np) + step - target)
    is_near = np.abs(step) < 0.5 * np.minimum(1.0, np.abs(target))
    is_near = (is_near & (rounding <= 1e-13 * np.abs(target))).all(-1, keepdims=True)
    for _ in range(200):
        eta = _differences.mean_logarithms(b, np)
        excess = np.where(is_near, logarithm_shift(a, b) - step, eta * np.log(eta / target))
        change = -raised(place(b[..., None]), (b * excess)[..., None])[..., 0]
        last, size = size, np.abs(change).max(-1, keepdims=True)
        goes_on = (change * before).sum(-1, keepdims=True) > 0.0
        bound = np.where((last > bound) & goes_on, 2.0 * bound, np.maximum(0.5 * bound, 1.0))
        before = np.clip(change, -bound, bound)
        b = b * np.exp(before)
        is_stalled = (size < _ROUNDING) & (size >= 0.5 * last)
        if not ((size > 4e-16) & ~is_stalled).any():
            break
    return np.where(size < _ROUNDING, b, np.nan)


def logarithm_shift(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the mean logarithms at b minus those at a, (n, k)."""
    pairs = _differences.with_sums(a, b, np)
    own, common = (_differences.log_shift(*x, np) for x in pairs)
    rests = [_differences.digamma_rest(*x, np) for x in pairs]
    return own - common + rests[0] - rests[1]
