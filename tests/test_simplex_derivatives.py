"""Values and derivatives of every scalar function of two distributions, at pairs that are hard.

Equal and partly equal pairs, near ones, vertices, tails, faces, disjoint supports: numpy's values,
torch's gradients (eager and functional) and second derivatives against mpmath, in both precisions.
"""

import functools

import mpmath
import numpy as np
import pytest

from infogeo import simplex

torch = pytest.importorskip("torch")

PAIRS = {
    "equal": ([0.2, 0.3, 0.5], [0.2, 0.3, 0.5]),
    "halves": ([0.5, 0.5], [0.5, 0.5]),
    "partly equal": ([0.2, 0.3, 0.5], [0.2, 0.5, 0.3]),
    "near": ([0.2, 0.3, 0.5], [0.2, 0.3 + 1e-3, 0.5 - 1e-3]),
    "far": ([0.2, 0.3, 0.5], [0.6, 0.3, 0.1]),
    "near a vertex": ([1.0, 1e-12, 1e-15], [1.0, 1e-13, 1e-14]),
    "vertex and centre": ([1.0, 1e-20], [0.5, 0.5]),
    "centre and vertex": ([0.5, 0.5], [1.0, 1e-20]),
    "tail": ([0.5, 0.5], [1e-5, 1.0 - 1e-5]),
    "tails": ([0.5, 0.5, 1e-15], [1e-15, 0.5, 0.5]),
    "one face": ([0.5, 0.5, 0.0], [0.2, 0.8, 0.0]),
    "from a face": ([0.5, 0.5, 0.0], [0.2, 0.3, 0.5]),
    "to a face": ([0.2, 0.3, 0.5], [0.5, 0.5, 0.0]),
    "crossed faces": ([0.5, 0.5, 0.0], [0.0, 0.5, 0.5]),
    "vertices": ([1.0, 0.0], [0.0, 1.0]),
    "disjoint": ([0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]),
}


def _power_sum(p, q, order):
    """Return sum p^order q^(1 - order)."""
    total = mpmath.mpf(0)
    for x, y in zip(p, q, strict=True):
        if x > 0 and y > 0:
            total += x**order * y ** (1 - order)
        elif (x == 0 and order < 0 and y > 0) or (y == 0 and order > 1 and x > 0):
            return mpmath.inf
        elif order == 0 and x > 0:
            total += y
    return total


def _squared_chord(p, q):
    return mpmath.fsum((mpmath.sqrt(x) - mpmath.sqrt(y)) ** 2 for x, y in zip(p, q, strict=True))


def _distance(p, q):
    return 4 * mpmath.asin(mpmath.sqrt(_squared_chord(p, q)) / 2)


def _kl(p, q):
    pairs = [(x, y) for x, y in zip(p, q, strict=True) if x > 0]
    return (
        mpmath.inf
        if any(y == 0 for _, y in pairs)
        else mpmath.fsum(x * mpmath.log(x / y) for x, y in pairs)
    )


def _alpha(p, q, alpha):
    if abs(alpha) == 1:
        return _kl(p, q) if alpha == -1 else _kl(q, p)
    alpha = mpmath.mpf(alpha)
    return 4 / (1 - alpha**2) * (1 - _power_sum(p, q, (1 - alpha) / 2))


def _jensen_shannon(p, q):
    middle = [(x + y) / 2 for x, y in zip(p, q, strict=True)]
    return (_kl(p, middle) + _kl(q, middle)) / 2


def _chi_square(p, q):
    return _power_sum(p, q, mpmath.mpf(2)) - 1


def _renyi(p, q, order):
    if order == 1:
        return _kl(p, q)
    total = _power_sum(p, q, mpmath.mpf(order))
    return mpmath.inf if total in (0, mpmath.inf) else mpmath.log(total) / (mpmath.mpf(order) - 1)


def _call(function, **parameters):
    return functools.partial(function, **parameters)


FUNCTIONS = {
    "distance": (simplex.fisher_rao_distance, _distance),
    "squared distance": (simplex.fisher_rao_squared_distance, lambda p, q: _distance(p, q) ** 2),
    "hellinger": (
        simplex.hellinger_distance,
        lambda p, q: mpmath.sqrt(_squared_chord(p, q) / 2),
    ),
    "bhattacharyya": (
        simplex.bhattacharyya_coefficient,
        lambda p, q: mpmath.fsum(mpmath.sqrt(x * y) for x, y in zip(p, q, strict=True)),
    ),
    "entropy": (lambda p, q: simplex.entropy(p), lambda p, q: -_kl(p, [mpmath.mpf(1)] * len(p))),
    "jeffreys": (simplex.jeffreys_divergence, lambda p, q: _kl(p, q) + _kl(q, p)),
    "Jensen-Shannon": (simplex.jensen_shannon_divergence, _jensen_shannon),
    "chi-square, power 2": (simplex.chi_square_divergence, _chi_square),
    **{
        f"alpha {alpha}": (
            _call(simplex.alpha_divergence, alpha=alpha),
            functools.partial(_alpha, alpha=alpha),
        )
        for alpha in (-3.0, -1.0, -0.999, 0.0, 0.9, 1.0, 2.0)
    },
    **{
        f"renyi {order}": (
            _call(simplex.renyi_divergence, order=order),
            functools.partial(_renyi, order=order),
        )
        for order in (0.1, 0.999, 1.0, 2.0, 10.0, 1000.0)
    },
}


def _on_normalised(reference, x):
    """Return the reference of two distributions given as one list, at the normalised vectors."""
    halves = x[: len(x) // 2], x[len(x) // 2 :]
    return reference(*([y / mpmath.fsum(half) for y in half] for half in halves))


def _gradient(reference, x):
    """Return the derivatives by the entries that are not 0, None for the others."""
    slopes = []
    for i, entry in enumerate(x):
        if entry == 0:
            slopes.append(None)
            continue
        ends = []
        for step in (1, -1):
            moved = list(x)
            moved[i] += step * entry * mpmath.mpf(10) ** -20
            ends.append(_on_normalised(reference, moved))
        slopes.append((ends[0] - ends[1]) / (2 * entry * mpmath.mpf(10) ** -20))
    return slopes


def _flat(pair, dtype):
    x = torch.tensor(np.concatenate(pair), dtype=dtype)
    return x, [mpmath.mpf(float(entry)) for entry in x]


def _of_halves(function):
    return lambda x: function(x[: len(x) // 2], x[len(x) // 2 :])


def _gradients(function, x):
    leaf = x.clone().requires_grad_()
    (eager,) = torch.autograd.grad(function(leaf), leaf)
    return eager, torch.func.grad(function)(x)


CASES = [
    (name, pair)
    for name in FUNCTIONS
    for pair in PAIRS
    if not (name in ("distance", "hellinger") and pair in ("equal", "halves"))  # a cone
]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name, dtype):
    function, reference = FUNCTIONS[name]
    eps = torch.finfo(dtype).eps
    for pair in [pair for other, pair in CASES if other == name]:
        x, digits = _flat(PAIRS[pair], dtype)
        with mpmath.workdps(60):
            expected = _on_normalised(reference, digits)
            value = _of_halves(function)(x.numpy())
            if mpmath.isinf(expected) or expected > torch.finfo(dtype).max:
                assert np.isposinf(value), (pair, value)
            else:
                condition = 1 + 10 * abs(float(name.split()[-1])) if name[-1].isdigit() else 1
                tolerance = 20 * eps * condition * float(abs(expected)) + 1e-40
                assert abs(float(value) - expected) <= tolerance, (pair, value, expected)
            slopes = _gradient(reference, digits) if np.isfinite(value) else [0] * len(x)
        scale = max(float(abs(slope)) for slope in slopes if slope is not None)
        for gradient in _gradients(_of_halves(function), x):
            assert torch.isfinite(gradient).all() or scale > torch.finfo(dtype).max, pair
            for seen, slope in zip(gradient.tolist(), slopes, strict=True):
                if slope is None or abs(slope) > torch.finfo(dtype).max:
                    continue
                error = abs(seen - slope)
                # Each slope to the digits of its own, or of what the normalisation adds to it.
                small = 1e3 * eps * max(1.0, float(abs(value)))
                assert error <= 1e4 * eps * abs(slope) + small, (pair, seen, slope)


@pytest.mark.parametrize(
    "name", [name for name in FUNCTIONS if name not in ("distance", "hellinger")]
)
@pytest.mark.parametrize("pair", ["equal", "halves", "partly equal", "near", "far", "tail"])
def test_second_derivatives(name, pair):
    """Along a straight line through both points; the second one may have its own velocity."""
    function, reference = FUNCTIONS[name]
    x, digits = _flat(PAIRS[pair], torch.float64)
    line = x * torch.tensor([0.7, -1.3, 0.4, -0.9, 0.8, 1.1][: len(x)], dtype=x.dtype)
    hessian = torch.func.hessian(_of_halves(function))(x)
    with mpmath.workdps(60):
        step = mpmath.mpf(10) ** -18
        values = [
            _on_normalised(
                reference, [a + t * step * float(b) for a, b in zip(digits, line, strict=True)]
            )
            for t in (-1, 0, 1)
        ]
        expected = (values[0] - 2 * values[1] + values[2]) / step**2
    assert abs(float(line @ hessian @ line) - expected) <= 1e-9 * (1 + abs(expected))


@pytest.mark.parametrize("pair", ["vertices", "disjoint"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_at_disjoint_points_are_zero_in_every_dtype(name, pair):
    function = FUNCTIONS[name][0]
    if name == "entropy":
        pytest.skip("it has one argument")
    for dtype in (torch.float64, torch.float32):
        x, _ = _flat(PAIRS[pair], dtype)
        for gradient in _gradients(_of_halves(function), x):
            tolerance = 100 * torch.finfo(dtype).eps
            torch.testing.assert_close(gradient, torch.zeros_like(x), rtol=0, atol=tolerance)


def test_jax_agrees_where_outcomes_are_excluded():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    for pair, name in (("from a face", "distance"), ("disjoint", "renyi 2.0")):
        x, _ = _flat(PAIRS[pair], torch.float64)
        function = _of_halves(FUNCTIONS[name][0])
        gradient = jax.jit(jax.grad(function))(jax.numpy.asarray(x.numpy()))
        expected = torch.func.grad(function)(x)
        np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-13)


# ---------------------------------------------------------------- single values


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_entropy_near_a_vertex(dtype):
    p = np.array([1.0, 1e-20], dtype)
    expected = float(p[1]) * (1.0 - np.log(float(p[1])))
    np.testing.assert_allclose(simplex.entropy(p), expected, rtol=4 * np.finfo(dtype).eps)


def test_divergences_whose_powers_overflow():
    tail = np.array([1.0, 1e-200])
    with mpmath.workdps(500):
        expected = _on_normalised(
            lambda p, q: _alpha(p, q, -3.2), [mpmath.mpf(x) for x in (*tail[::-1], *tail)]
        )
    value = simplex.alpha_divergence(tail[::-1], tail, alpha=-3.2)
    assert abs(value / float(expected) - 1.0) < 1e-12
    assert 1e219 < value < 1e221


@pytest.mark.parametrize("small", [1e-170, 1e-300, 5e-324])
def test_distances_whose_squares_underflow(small):
    """From (1, 0) to (1, x): 2 arcsin sqrt x, and from (1, x) to (1, 2 x)."""
    expected = 2.0 * np.sqrt(small)
    points = np.array([[1.0, 0.0], [1.0, small]])
    np.testing.assert_allclose(simplex.fisher_rao_distance(*points), expected, rtol=1e-14)
    np.testing.assert_allclose(
        simplex.hellinger_distance(*points), np.sqrt(0.5) * np.sqrt(small), rtol=1e-14
    )


def test_separations_whose_squares_underflow(lib):
    """Entries of 2^-1000 that differ by 2^-40, relative: the distance is 2^-540."""
    if lib.name == "jax":
        pytest.skip("its compiler replaces subnormal numbers by 0")
    small, change = 2.0**-1000, 2.0**-40
    p = lib.array([0.75, small, 0.25, 0.0])
    q = lib.array([0.75, small * (1.0 + change), 0.25, 0.0])
    d = lib.to_numpy(simplex.fisher_rao_distance(p, q))
    np.testing.assert_allclose(d, 2.0**-500 * change, rtol=1e-9)
    assert lib.to_numpy(simplex.fisher_rao_distance(p, p)) == 0.0


def test_float32_separations_whose_squares_underflow():
    p = np.array([1.0, 1e-32], np.float32)
    q = np.array([1.0, 1.25e-32], np.float32)
    expected = 2.0 * (np.sqrt(np.float64(q[1])) - np.sqrt(np.float64(p[1])))
    np.testing.assert_allclose(simplex.fisher_rao_distance(p, q), expected, rtol=1e-6)
