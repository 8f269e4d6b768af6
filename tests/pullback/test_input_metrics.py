"""Metrics of the inputs, against dense generalised eigenproblems and maps that are isometries."""

import math
import pickle

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch

from infogeo import normal, simplex
from infogeo.pullback import InputMetric, Loop, PullbackMetric, heads, input_metrics

F32, F64 = torch.float32, torch.float64
SHAPE = (2, 2, 3)  # of an input: as means and stds, a pair of 2 x 3 pixels
SIZE = math.prod(SHAPE)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def probabilities(num=3, size=SIZE, seed=0):
    p = torch.rand(num, size, dtype=F64, generator=generator(seed)) + 0.05
    return (p / p.sum(-1, keepdim=True)).reshape(num, *SHAPE)


def inputs(num=3, seed=0):
    """Return inputs in (0, 1), which are points of all spaces but the simplex."""
    return 0.05 + 0.9 * torch.rand(num, *SHAPE, dtype=F64, generator=generator(seed))


def spd(size=SIZE, seed=0):
    factor = torch.randn(size, size, dtype=F64, generator=generator(seed))
    return factor @ factor.T + 0.5 * torch.eye(size, dtype=F64)


def moving(x):
    """A metric that changes from input to input."""
    x = x.flatten(1)
    return torch.diag_embed(1.0 + x) + 0.3 * x[:, :, None] * x[:, None]


WEIGHTS = torch.linspace(0.5, 4.0, SIZE, dtype=F64)
METRICS = {
    "euclidean": input_metrics.euclidean,
    "diagonal": input_metrics.diagonal(WEIGHTS),
    "full": input_metrics.full(spd()),
    "full of x": input_metrics.full(moving),
    "bernoulli": input_metrics.bernoulli,
    "categorical": input_metrics.categorical,
    "normal": input_metrics.normal,
    "sphere": input_metrics.constant_curvature(0.5, SIZE),
    "ball": input_metrics.constant_curvature(-0.05, SIZE),
}


def points(name, num=3, seed=0):
    return probabilities(num, seed=seed) if name == "categorical" else inputs(num, seed)


def dense(name, x):
    """Return h(x) as the textbook has it, shape (batch, d, d)."""
    flat = x.flatten(1)
    if name == "full":
        return spd().expand(len(x), -1, -1)
    if name == "full of x":
        return moving(x)
    if name == "normal":
        variance = x[:, 1].flatten(1) ** 2
        return torch.diag_embed(torch.cat([1.0 / variance, 2.0 / variance], dim=1))
    diagonal = {
        "euclidean": torch.ones_like(flat),
        "diagonal": WEIGHTS.expand_as(flat),
        "bernoulli": 1.0 / flat + 1.0 / (1.0 - flat),
        "categorical": 1.0 / flat,
        "sphere": (1.0 + 0.125 * flat.square().sum(1, keepdim=True)).expand_as(flat) ** -2,
        "ball": (1.0 - 0.0125 * flat.square().sum(1, keepdim=True)).expand_as(flat) ** -2,
    }
    return torch.diag_embed(diagonal[name])


def tangents(name, d=SIZE):
    """Return a basis of the tangent space, as columns."""
    if name == "categorical":
        return torch.as_tensor(scipy.linalg.null_space(np.ones((1, d))))
    return torch.eye(d, dtype=F64)


def vectors(name, num=3, seed=5):
    v = torch.randn(num, *SHAPE, dtype=F64, generator=generator(seed))
    return v - v.mean((1, 2, 3), keepdim=True) if name == "categorical" else v


def net(dtype=F64, num_outputs=5):
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Flatten(),
        torch.nn.Linear(SIZE, 8),
        torch.nn.Tanh(),
        torch.nn.Linear(8, num_outputs),
    ).to(dtype)


def assert_close(seen, expected, rtol, atol=0.0):
    torch.testing.assert_close(seen, expected, rtol=rtol, atol=atol, check_dtype=False)


# ---------------------------------------------------------------- against dense formulas


@pytest.mark.parametrize("name", METRICS)
def test_frames_are_orthonormal(name):
    x, h, basis = points(name), dense(name, points(name)), tangents(name)
    n = basis.shape[1]
    frame = METRICS[name].push(x, torch.eye(n, dtype=F64).expand(len(x), -1, -1))
    assert frame.shape == (len(x), n, SIZE)
    assert_close(frame @ h @ frame.mT, torch.eye(n, dtype=F64).expand(len(x), -1, -1), 0.0, 1e-13)
    gradients = torch.randn(len(x), 4, SIZE, dtype=F64)
    assert_close(METRICS[name].pull(x, gradients), gradients @ frame.mT, 1e-12, 1e-13)
    v = vectors(name).flatten(1)[:, None]
    assert_close(METRICS[name].push(x, METRICS[name].coordinates(x, v)), v, 1e-11, 1e-13)


@pytest.mark.parametrize("name", METRICS)
def test_norm_is_that_of_the_matrix(name):
    x, v = points(name), vectors(name)
    flat = v.flatten(1)
    expected = torch.einsum("bi,bij,bj->b", flat, dense(name, x), flat).sqrt()
    assert_close(METRICS[name].norm(x, v), expected, rtol=1e-13)
    assert METRICS[name].norm(x, 0.0 * v).tolist() == [0.0] * 3


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("num_outputs", [5, 20])
def test_spectrum_solves_the_generalised_eigenproblem(name, num_outputs):
    model, x, basis = net(num_outputs=num_outputs), points(name), tangents(name)
    G, h = PullbackMetric(model).matrix(x), dense(name, x)
    pulled = PullbackMetric(model, input_metric=METRICS[name])
    spectrum = pulled.spectrum(x)
    k = min(num_outputs - 1, basis.shape[1])
    assert spectrum.values.shape == (3, k)
    assert spectrum.vectors.shape == (3, k, *SHAPE)
    for i in range(3):
        restricted = [(basis.T @ matrix[i] @ basis).numpy() for matrix in (G, h)]
        expected = scipy.linalg.eigh(*restricted, eigvals_only=True)[::-1]
        size = expected[0]
        np.testing.assert_allclose(spectrum.values[i], expected[:k], rtol=1e-9, atol=1e-12 * size)
        v = spectrum.vectors[i].flatten(1)
        assert_close(v @ h[i] @ v.T, torch.eye(k, dtype=F64), 0.0, 1e-12)
        assert_close(v @ G[i] @ v.T, torch.diag(spectrum.values[i]), 0.0, 1e-12 * size)
        assert pulled.trace(x)[i].item() == pytest.approx(expected.sum(), rel=1e-11)
    if k < 8:  # else rounding, where the map has rank 8
        assert_close(pulled.log_spectrum(x).exp(), spectrum.values, rtol=1e-10)
    assert pulled.rank(x).tolist() == [min(k, 8)] * 3


def test_an_output_that_does_not_react_counts_in_no_metric():
    weights = torch.tensor([1.0, 4.0], dtype=F64)
    pulled = PullbackMetric(
        lambda x: torch.stack([0.0 * x[:, 0], 3.0 * x[:, 1]], dim=1),
        heads.normal_fixed_std(1.0),
        input_metric=input_metrics.diagonal(weights),
    )
    x = torch.zeros(2, 2, dtype=F64)
    assert pulled.rank(x).tolist() == [1, 1]
    values = pulled.spectrum(x).values  # 9 / 4: the direction of length 1 is (0, 1/2)
    assert_close(values, torch.tensor([[2.25, 0.0]] * 2, dtype=F64), 1e-14)


def test_no_metric_is_the_euclidean_one():
    x = inputs()
    plain = PullbackMetric(net(), strategy=Loop())  # the fastest may be another for equal networks
    for given in (None, input_metrics.euclidean):
        pulled = PullbackMetric(net(), input_metric=given, strategy=Loop())
        assert pulled.input_metric is input_metrics.euclidean
        assert torch.equal(pulled.spectrum(x).values, plain.spectrum(x).values)


@pytest.mark.parametrize("name", METRICS)
def test_the_factor_and_norms_do_not_depend_on_it(name):
    x, v = points(name), vectors(name)
    plain = PullbackMetric(net(), strategy=Loop())
    pulled = PullbackMetric(net(), input_metric=METRICS[name], strategy=Loop())
    assert torch.equal(pulled.factor(x), plain.factor(x))
    assert torch.equal(pulled.norm(x, v), plain.norm(x, v))


# ---------------------------------------------------------------- distances


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].distance])
def test_norm_is_the_speed_of_the_distance(name):
    x, v, step = points(name), vectors(name), 1e-6
    seen = METRICS[name].distance(x - step * v, x + step * v) / (2.0 * step)
    assert_close(seen, METRICS[name].norm(x, v), rtol=1e-8)
    assert METRICS[name].distance(x, x).tolist() == [0.0] * 3
    one = METRICS[name].distance(x[:1], x)
    assert one.shape == (3,)
    assert one[0].item() == 0.0


def test_distances_of_closed_form():
    x0, x1 = inputs(seed=1), inputs(seed=2)
    angles = [2.0 * x.flatten(1).sqrt().asin() for x in (x0, x1)]
    expected = (angles[0] - angles[1]).norm(dim=1)
    assert_close(input_metrics.bernoulli.distance(x0, x1), expected, rtol=1e-13)
    half = normal.Normal(x0[0, 0], x0[0, 1]), normal.Normal(x1[0, 0], x1[0, 1])
    expected = normal.fisher_rao_distance(*half).square().sum().sqrt()
    assert_close(input_metrics.normal.distance(x0, x1)[0], expected, rtol=1e-13)
    p, q = probabilities(seed=1), probabilities(seed=2)
    expected = simplex.fisher_rao_distance(p.flatten(1), q.flatten(1))
    assert torch.equal(input_metrics.categorical.distance(p, q), expected)
    step = (x0 - x1).flatten(1)
    expected = torch.einsum("bi,ij,bj->b", step, spd(), step).sqrt()
    assert_close(METRICS["full"].distance(x0, x1), expected, rtol=1e-13)
    assert_close(METRICS["diagonal"].distance(x0, x1), (step**2 @ WEIGHTS).sqrt(), rtol=1e-13)
    assert METRICS["full of x"].distance is None


# ---------------------------------------------------------------- isometries


@pytest.mark.parametrize(
    ("metric", "head", "model"),
    [
        ("bernoulli", heads.bernoulli, lambda x: torch.logit(x.flatten(1))),
        ("categorical", heads.categorical, lambda x: x.flatten(1).log()),
        (
            "normal",
            heads.normal,
            lambda x: torch.cat([x[:, 0].flatten(1), x[:, 1].flatten(1).log()], dim=1),
        ),
        ("diagonal", heads.normal_fixed_std(WEIGHTS.rsqrt()), lambda x: x.flatten(1)),
    ],
)
def test_what_only_renames_a_point_is_an_isometry(metric, head, model):
    x = points(metric)
    seen = PullbackMetric(model, head, input_metric=METRICS[metric]).spectrum(x).values
    assert seen.shape == (3, SIZE - (metric == "categorical"))
    assert_close(seen, torch.ones_like(seen), rtol=1e-12)


def test_a_full_metric_of_ones_own_pullback_is_an_isometry():
    inner = PullbackMetric(net(num_outputs=SIZE + 1))
    x = inputs()

    def own(x):
        return inner.matrix(x) + torch.eye(SIZE, dtype=F64)

    seen = PullbackMetric(net(num_outputs=SIZE + 1), input_metric=input_metrics.full(own))
    values = inner.spectrum(x).values
    assert_close(seen.spectrum(x).values[:, :8], (values / (1.0 + values))[:, :8], rtol=1e-9)


# ---------------------------------------------------------------- edges and precision


def test_black_and_white_pixels_do_not_move():
    x = inputs()
    x[0, 0, 0, 0], x[1, 1, 1, 2] = 0.0, 1.0
    pulled = PullbackMetric(net(), input_metric=input_metrics.bernoulli)
    spectrum = pulled.spectrum(x)
    assert torch.isfinite(spectrum.values).all()
    assert (spectrum.vectors[0, :, 0, 0, 0] == 0.0).all()
    assert (spectrum.vectors[1, :, 1, 1, 2] == 0.0).all()
    v = torch.zeros_like(x)
    assert input_metrics.bernoulli.norm(x, v).tolist() == [0.0] * 3
    v[0, 0, 0, 0] = 1e-3
    assert input_metrics.bernoulli.norm(x, v).tolist() == [math.inf, 0.0, 0.0]


def test_an_image_with_empty_pixels_is_a_point_of_a_face():
    p = probabilities(2)
    p[:, 0, 0] = 0.0
    p /= p.sum((1, 2, 3), keepdim=True)
    spectrum = PullbackMetric(net(), input_metric=input_metrics.categorical).spectrum(p)
    assert torch.isfinite(spectrum.values).all()
    assert_close(spectrum.vectors.sum((2, 3, 4)), torch.zeros(2, 4, dtype=F64), 0.0, 1e-14)
    v = torch.zeros_like(p)
    v[0, 1, 0, 0], v[0, 1, 0, 1] = 1e-3, -1e-3
    v[1, 1, 0, 0], v[1, 0, 0, 1] = -1e-3, 1e-3
    seen = input_metrics.categorical.norm(p, v)
    expected = simplex.norm(p[0].flatten(), v[0].flatten())
    assert seen[0].item() == pytest.approx(float(expected), rel=1e-13)
    assert seen[1].item() == math.inf


def test_brightness_is_no_direction_of_the_simplex():
    # log(c p) has the same softmax for each c: a gradient along the sum of x is no change.
    p = probabilities()

    def model(x):
        x = x.flatten(1)
        return torch.cat([x.log(), torch.zeros_like(x[:, :1])], dim=1) + 1e3 * x.sum(1)[:, None]

    with_brightness = PullbackMetric(
        lambda x: model(x) * torch.linspace(1.0, 2.0, SIZE + 1, dtype=F64),
        input_metric=input_metrics.categorical,
    )
    normalised = PullbackMetric(
        lambda x: (
            model(x / x.sum((1, 2, 3), keepdim=True))
            * torch.linspace(1.0, 2.0, SIZE + 1, dtype=F64)
        ),
        input_metric=input_metrics.categorical,
    )
    assert_close(with_brightness.trace(p), normalised.trace(p), rtol=1e-10)


@pytest.mark.parametrize("name", METRICS)
def test_float32_is_accurate(name):
    x = points(name)
    expected = PullbackMetric(net(), input_metric=METRICS[name]).spectrum(x).values
    seen = PullbackMetric(net(F32), input_metric=METRICS[name]).spectrum(x.float()).values
    assert seen.dtype == F32
    assert_close(seen[:, 0], expected[:, 0], rtol=2e-5)


def test_bernoulli_pixels_of_1e_minus_30_keep_their_digits():
    x = torch.tensor([[1e-30, 0.5]], dtype=F32)
    seen = PullbackMetric(torch.logit, heads.bernoulli, input_metric=input_metrics.bernoulli)
    assert_close(seen.spectrum(x).values, torch.ones(1, 2), rtol=1e-6)
    with mpmath.workdps(50):
        a, b = mpmath.mpf(float(x[0, 0])), mpmath.mpf("4e-30")
        expected = 2 * (mpmath.asin(mpmath.sqrt(b)) - mpmath.asin(mpmath.sqrt(a)))
    y = torch.tensor([[4e-30, 0.5]], dtype=F32)
    assert input_metrics.bernoulli.distance(x, y).item() == pytest.approx(float(expected), rel=1e-6)


def test_half_precision_inputs():
    x = points("bernoulli").half()
    model = net(F32)
    seen = PullbackMetric(lambda x: model(x.float()), input_metric=input_metrics.bernoulli)
    expected = PullbackMetric(model, input_metric=input_metrics.bernoulli).spectrum(x.float())
    assert_close(seen.spectrum(x).values, expected.values, rtol=1e-3)  # gradients are halves


@pytest.mark.parametrize("name", METRICS)
def test_empty_batches_and_pickles(name):
    copy = pickle.loads(pickle.dumps(METRICS[name]))
    pulled, expected = (
        PullbackMetric(net(), input_metric=metric, strategy=Loop())
        for metric in (copy, METRICS[name])
    )
    x = points(name)
    assert torch.equal(pulled.trace(x), expected.trace(x))
    assert pulled.trace(x[:0]).shape == (0,)
    assert pulled.spectrum(x[:0]).vectors.shape == (0, 4, *SHAPE)


@pytest.mark.cuda
@pytest.mark.parametrize("name", METRICS)
def test_input_metrics_on_a_gpu(name):
    x, v = points(name), vectors(name)
    here = PullbackMetric(net(), input_metric=METRICS[name])
    there = PullbackMetric(net().cuda(), input_metric=METRICS[name])
    seen = there.spectrum(x.cuda())
    assert seen.vectors.is_cuda
    assert_close(seen.values.cpu(), here.spectrum(x).values, rtol=1e-9)
    norm = METRICS[name].norm(x.cuda(), v.cuda())
    assert_close(norm.cpu(), METRICS[name].norm(x, v), rtol=1e-12)
    if METRICS[name].distance:
        seen = METRICS[name].distance(x.cuda(), x.cuda().flip(0)).cpu()
        assert_close(seen, METRICS[name].distance(x, x.flip(0)), rtol=1e-12, atol=1e-15)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (lambda: input_metrics.diagonal([1.0, 0.0]), ValueError, "weights must be positive"),
        (lambda: input_metrics.full([1.0]), ValueError, r"matrix must have shape \(d, d\)"),
        (lambda: input_metrics.full([[1.0, 2.0]]), ValueError, "matrix must be square"),
        (
            lambda: input_metrics.full([[1.0, 2.0], [0.0, 1.0]]),
            ValueError,
            "matrix must be symmetric: entries differ .* by 1 ",
        ),
        (
            lambda: input_metrics.full([[1.0, 2.0], [2.0, 1.0]]),
            ValueError,
            "positive definite: its smallest eigenvalue is -1",
        ),
        (
            lambda: input_metrics.full([[0.0, 0.0], [0.0, 0.0]]),
            ValueError,
            "positive definite: its smallest eigenvalue is 0",
        ),
        (
            lambda: PullbackMetric(net(), input_metric=torch.eye(2)),
            TypeError,
            "input_metric must be an infogeo.pullback.InputMetric: got Tensor.*full",
        ),
    ],
)
def test_bad_metrics(build, error, message):
    with pytest.raises(error, match=message):
        build()


@pytest.mark.parametrize(
    ("metric", "x", "message"),
    [
        (input_metrics.diagonal([1.0, 2.0]), torch.ones(1, 3), "x must have 2 entries .*weights"),
        (input_metrics.full(torch.eye(2)), torch.ones(1, 3), "2 entries .*rows of the matrix"),
        (input_metrics.full(lambda x: torch.eye(3)), torch.ones(1, 3), r"shape \(1, 3, 3\) here"),
        (input_metrics.bernoulli, torch.full((1, 3), 1.5), r"x must lie in \[0, 1\]"),
        (input_metrics.categorical, torch.ones(1, 3), "sum 1 over all its entries.*x / total"),
        (input_metrics.categorical, torch.ones(1, 1), "at least two entries"),
        (input_metrics.normal, torch.ones(1, 3), r"means in x\[:, 0\] and .*torch.stack"),
        (input_metrics.normal, torch.zeros(1, 2, 3), r"x\[:, 1\] must be positive"),
    ],
)
def test_inputs_that_are_no_points(metric, x, message):
    pulled = PullbackMetric(lambda x: x.flatten(1), heads.poisson, input_metric=metric)
    calls = (pulled.spectrum, pulled.log_spectrum, pulled.trace, pulled.rank)
    for call in (*calls, lambda x: metric.norm(x, torch.zeros_like(x))):
        with pytest.raises(ValueError, match=message):
            call(x)


def test_vectors_that_leave_the_simplex_are_refused():
    p = torch.full((1, 4), 0.25)
    with pytest.raises(ValueError, match="sum to 0 along its last axis"):
        input_metrics.categorical.norm(p, torch.ones(1, 4))


def test_a_metric_of_ones_own():
    plane = InputMetric(  # the hyperbolic plane, of inputs (a, b) with b > 0
        lambda x, rows: rows * x[:, None, 1:],
        lambda x, w: w * x[:, None, 1:],
        lambda x, v: v / x[:, None, 1:],
    )
    x = torch.tensor([[0.3, 2.0]], dtype=F64)
    pulled = PullbackMetric(lambda x: x, heads.normal_fixed_std(1.0), input_metric=plane)
    assert_close(pulled.spectrum(x).values, torch.full((1, 2), 4.0), rtol=1e-14)
    assert plane.norm(x, torch.tensor([[3.0, 4.0]], dtype=F64)).item() == 2.5


# ---------------------------------------------------------------- metrics of spaces


def test_counts_of_photons():
    """h = 1 / rate: flat in 2 sqrt(rate); a pixel without light stays where it is."""
    photons = input_metrics.of_space("poisson")
    x = torch.tensor([[4.0, 9.0, 0.0]], dtype=torch.float64)
    v = torch.tensor([[1.0, -2.0, 0.0]], dtype=torch.float64)
    expected = math.sqrt(1.0 / 4.0 + 4.0 / 9.0)
    torch.testing.assert_close(photons.norm(x, v), torch.tensor([expected]).double())
    assert photons.norm(x, v + 1.0).item() == math.inf
    far = photons.distance(x, torch.tensor([[9.0, 4.0, 16.0]], dtype=torch.float64))
    torch.testing.assert_close(far.item(), math.sqrt(4.0 + 4.0 + 64.0))
    root = PullbackMetric(lambda r: r.sqrt(), heads.normal_fixed_std(0.5), input_metric=photons)
    inside = x[:, :2]
    torch.testing.assert_close(root.spectrum(inside).values, torch.ones(1, 2).double())
    with pytest.raises(ValueError, match="x must be finite and not negative"):
        photons.norm(-x, v)


@pytest.mark.parametrize("space", ["simplex", "multivariate_normal"])
def test_spaces_without_orthogonal_fields_are_refused(space):
    with pytest.raises(TypeError, match=f"got infogeo.{space}. Use input_metrics.full"):
        input_metrics.of_space(space)


# ---------------------------------------------------------------- constant curvature


def embedded_distance(kappa, x, y):
    """Return the distance on the sphere, in the plane or on the hyperboloid, to 60 digits."""
    with mpmath.workdps(60):
        k = mpmath.mpf(kappa) / 4
        x, y = ([mpmath.mpf(float(v)) for v in z] for z in (x, y))
        if kappa == 0.0:
            return float(mpmath.sqrt(sum((a - b) ** 2 for a, b in zip(x, y, strict=True))))
        scales = [1 + k * sum(v * v for v in z) for z in (x, y)]
        inner = sum(a * b for a, b in zip(x, y, strict=True)) / (scales[0] * scales[1])
        heights = [(2 / s - 1) for s in scales]
        cosine = 4 * k * inner + heights[0] * heights[1]
        angle = mpmath.acos(cosine) if kappa > 0.0 else mpmath.acosh(cosine)
        return float(mpmath.re(angle) / (2 * mpmath.sqrt(abs(k))))


KAPPAS = (1.0, 0.25, 1e-12, 0.0, -1e-12, -0.5, -3.0)


@pytest.mark.parametrize("kappa", KAPPAS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_distances_of_constant_curvature(kappa, dtype):
    h = input_metrics.constant_curvature(kappa, 3)
    x, y = 0.6 * torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(0), dtype=dtype)
    x, y = (z / z.norm(dim=1, keepdim=True).clamp_min(1.0) for z in (x, y))
    y[0], y[1], x[2] = x[0], x[1] * (1.0 + 1e-3), 0.0
    eps = torch.finfo(dtype).eps
    expected = [embedded_distance(kappa, *pair) for pair in zip(x, y, strict=True)]
    found = h.distance(x, y)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, rtol=2e4 * eps, atol=1e-20)
    np.testing.assert_allclose(found[2:], expected[2:], rtol=16 * eps)
    assert torch.equal(h.distance(x[3:4], y[3:4]), found[3:4])
    # Geodesics end where they should, on a line, at unit speed.
    v = h.log_map(x, y)
    np.testing.assert_allclose(h.norm(x, v), found, rtol=32 * eps, atol=1e-30)
    np.testing.assert_allclose(h.exp_map(x, v), y, rtol=1e3 * eps, atol=32 * eps)
    middle = h.exp_map(x, 0.3 * v)
    np.testing.assert_allclose(h.distance(x, middle), 0.3 * found, rtol=1e4 * eps, atol=32 * eps)
    np.testing.assert_allclose(h.distance(middle, y), 0.7 * found, rtol=1e4 * eps, atol=32 * eps)


def test_constant_curvature_at_its_ends():
    sphere = input_metrics.constant_curvature(0.25, 2)
    x, y = torch.tensor([[1.0, 2.0]]).double(), torch.tensor([[3.0, -1.0]]).double()
    antipode = -16.0 * x / (x * x).sum()  # x and -4 / k x / |x|^2
    assert float(sphere.distance(x, antipode)) == pytest.approx(2.0 * math.pi, rel=1e-14)
    assert float(sphere.distance(x, x)) == 0.0
    ball = input_metrics.constant_curvature(-1.0, 1)
    far = torch.tensor([[2.0 - 2.0**-40]], dtype=F64)
    expected = 2.0 * math.atanh(1.0 - 2.0**-41)
    assert float(ball.distance(torch.zeros(1, 1, dtype=F64), far)) == pytest.approx(expected)
    with pytest.raises(ValueError, match=r"x must lie in the ball of radius .* = 2: the largest"):
        ball.check_points(torch.full((1, 1), 2.0))
    with pytest.raises(ValueError, match="x must have 2 entries for each input"):
        sphere.check_points(torch.zeros(1, 3))
    for wrong in (math.nan, math.inf):
        with pytest.raises(ValueError, match="kappa must be"):
            input_metrics.constant_curvature(wrong, 2)
    with pytest.raises(ValueError, match="dim must be a positive integer"):
        input_metrics.constant_curvature(1.0, 0)
    image = torch.stack([x, y]).reshape(1, 2, 2)  # inputs of any shape
    flat = input_metrics.constant_curvature(1.0, 4)
    assert flat.exp_map(image, 0.1 * image).shape == image.shape
    moved = flat.distance(image, flat.exp_map(image, flat.log_map(image, 2.0 * image)))
    assert float(moved) == pytest.approx(float(flat.distance(image, 2.0 * image)))


def test_distance_of_constant_curvature_has_the_gradient_of_the_metric():
    h = input_metrics.constant_curvature(-0.5, 3)
    x, y = torch.tensor([[0.1, -0.4, 0.3], [0.5, 0.2, 0.1]]).double()[:, None].unbind(0)
    x.requires_grad_(True)
    (gradient,) = torch.autograd.grad(0.5 * h.distance(x, y).square().sum(), x)
    # The gradient of d^2 / 2 is -log_x(y), lowered by the metric.
    lowered = h.log_map(x, y) / (1.0 - 0.125 * (x * x).sum()) ** 2
    torch.testing.assert_close(gradient, -lowered)
