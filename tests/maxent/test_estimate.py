"""Class frequencies under label shift: closed cases, EM, 40 digits, and coverage by simulation."""

import mpmath
import numpy as np
import pytest

from infogeo import SolveError, Status
from infogeo.maxent import estimate_frequencies, match_frequencies

pd = pytest.importorskip("pandas")

MEANS = np.array([[0.0, 0.0], [1.5, 0.0], [0.0, 1.5]])
PRIOR = np.array([0.5, 0.3, 0.2])
TRUTH = np.array([0.2, 0.5, 0.3])
# Held-out rows by their class, and by the class that was predicted.
COUNTS = np.array([[160.0, 30.0, 10.0], [20.0, 90.0, 15.0], [5.0, 25.0, 120.0]])


def predictions(rng, n, truth=TRUTH, prior=PRIOR):
    """Return calibrated posteriors for rows of three normal classes with other frequencies."""
    x = MEANS[rng.choice(3, n, p=truth)] + rng.normal(size=(n, 2))
    joint = np.exp(-0.5 * ((x[:, None] - MEANS) ** 2).sum(-1)) * prior
    return joint / joint.sum(axis=1, keepdims=True)


def by_em(p, prior, weights, num_steps):
    """Return the frequencies that the EM algorithm of Saerens and others comes to."""
    f = prior
    for _ in range(num_steps):
        posterior = p / prior * f
        f = weights @ (posterior / posterior.sum(axis=1, keepdims=True))
    return f


# ---------------------------------------------------------------- calibrated predictions


@pytest.mark.parametrize("weighted", [False, True])
def test_em_comes_to_the_same(rng, weighted):
    p = predictions(rng, 400)
    w = rng.uniform(0.5, 3.0, 400) if weighted else np.ones(400)
    found = estimate_frequencies(p, PRIOR, weights=w if weighted else None)
    expected = by_em(p, PRIOR, w / w.sum(), 3000)
    np.testing.assert_allclose(found.frequencies, expected, rtol=1e-10)
    assert found.status is Status.CONVERGED
    assert found.error_bound < 1e-10
    assert 0.0 <= found.likelihood_gap < 1e-10
    # At the maximum the predictions by Bayes' rule average to the estimates.
    posterior = p / PRIOR * found.frequencies
    posterior /= posterior.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.average(posterior, axis=0, weights=w), expected, rtol=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1.0])
def test_the_error_is_within_its_bound(rng, size):
    p = rng.beta(0.5, 0.5, 30)
    w = rng.uniform(0.5, 2.0, 30) * np.where(np.arange(30) < 5, size, 1.0)
    found = estimate_frequencies(np.stack([p, 1.0 - p], axis=1), [0.3, 0.7], weights=w)
    with mpmath.workdps(40):
        rows = [
            (mpmath.mpf(a), mpmath.mpf(1.0 - a), mpmath.mpf(v)) for a, v in zip(p, w, strict=True)
        ]
        prior = [mpmath.mpf(0.3), mpmath.mpf(0.7)]

        def score(f):
            terms = ((a / prior[0], b / prior[1], v) for a, b, v in rows)
            return sum(v * (a - b) / (f * a + (1 - f) * b) for a, b, v in terms)

        exact = float(mpmath.findroot(score, float(found.frequencies[0])))
    assert abs(found.frequencies[0] - exact) <= found.error_bound < 1e-10


def test_certain_predictions_are_counted(rng):
    labels, w = rng.choice(3, 50, p=TRUTH), rng.uniform(0.5, 2.0, 50)
    w /= w.sum()
    found = estimate_frequencies(np.eye(3)[labels], PRIOR, weights=w)
    f = np.bincount(labels, weights=w)
    np.testing.assert_allclose(found.frequencies, f, rtol=1e-12)
    excess = w[:, None] * (np.eye(3)[labels] - f)
    np.testing.assert_allclose(found.covariance, excess.T @ excess, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, np.sqrt((excess**2).sum(0)), rtol=1e-9)


@pytest.mark.parametrize("confused", [False, True])
def test_intervals_cover_as_often_as_they_say(confused):
    """Of 400 draws 380 are expected within 1.96 standard errors, and 363 to 397 nearly always."""
    rng, inside = np.random.default_rng(5), np.zeros(3)
    rates = COUNTS / COUNTS.sum(axis=1, keepdims=True)
    for _ in range(400):
        if confused:
            counts = np.stack([rng.multinomial(150, row) for row in rates])
            predicted = rng.choice(3, 300, p=TRUTH @ rates)
            found = estimate_frequencies(np.eye(3)[predicted], confusion=counts)
        else:
            found = estimate_frequencies(predictions(rng, 300), PRIOR)
        inside += np.abs(found.frequencies - TRUTH) < 1.96 * found.standard_errors
    assert (inside >= 363).all()
    assert (inside <= 397).all()


def test_a_class_that_is_not_there(rng):
    p = predictions(rng, 3000, truth=np.array([0.0, 0.6, 0.4]))
    rows = np.argsort(p[:, 0])[:2000]  # those that look the least like it
    found = estimate_frequencies(p[rows], PRIOR)
    assert found.frequencies[0] == 0.0
    assert np.isnan(found.standard_errors[0])
    two = estimate_frequencies(
        p[rows, 1:] / p[rows, 1:].sum(1, keepdims=True), PRIOR[1:] / PRIOR[1:].sum()
    )
    np.testing.assert_allclose(found.frequencies[1:], two.frequencies, rtol=1e-9)
    np.testing.assert_allclose(found.standard_errors[1:], two.standard_errors, rtol=1e-9)
    assert found.error_bound < 1e-10


def test_small_frequencies_and_logits_that_would_underflow():
    z = np.array([[0.0, -2000.0]] * 9999 + [[-2000.0, 0.0]])
    found = estimate_frequencies(z, [0.5, 0.5], space="logits")
    np.testing.assert_allclose(found.frequencies, [0.9999, 1e-4], rtol=1e-9)
    np.testing.assert_allclose(found.standard_errors, 1e-2 * np.sqrt(0.9999 * 1e-4), rtol=1e-6)


# ---------------------------------------------------------------- a confusion matrix


def test_a_test_of_known_sensitivity(rng):
    """The formula of Rogan and Gladen, with its standard error."""
    positive, n = rng.random(800) < 0.35, 800
    p = np.where(positive[:, None], [0.1, 0.9], [0.8, 0.2])
    found = estimate_frequencies(p, confusion=[[160, 40], [10, 90]])
    q, specificity, sensitivity = positive.mean(), 0.8, 0.9
    gain = sensitivity + specificity - 1.0
    f = (q + specificity - 1.0) / gain
    variance = q * (1 - q) / n + f**2 * sensitivity * (1 - sensitivity) / 100
    variance += (1 - f) ** 2 * specificity * (1 - specificity) / 200
    np.testing.assert_allclose(found.frequencies, [1 - f, f], rtol=1e-9)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(variance) / gain, rtol=1e-9)


def test_the_inverse_of_the_confusion_matrix_where_it_is_positive(rng):
    w, rates = rng.uniform(0.5, 2.0, 700), COUNTS / COUNTS.sum(axis=1, keepdims=True)
    predicted = rng.choice(3, 700, p=TRUTH @ rates)
    found = estimate_frequencies(np.eye(3)[predicted], confusion=COUNTS, weights=w)
    w /= w.sum()
    q = np.bincount(predicted, weights=w)
    inverse = np.linalg.inv(rates.T)
    np.testing.assert_allclose(found.frequencies, inverse @ q, rtol=1e-9)
    excess = w[:, None] * (np.eye(3)[predicted] - q)
    spread = excess.T @ excess
    for f, m, n in zip(inverse @ q, rates, COUNTS.sum(axis=1), strict=True):
        spread += f**2 * (np.diag(m) - np.outer(m, m)) / n
    np.testing.assert_allclose(found.covariance, inverse @ spread @ inverse.T, rtol=1e-7)


def test_no_frequency_is_negative_where_the_inverse_has_one():
    """Fewer positive tests than false alarms alone would be."""
    p = np.repeat([[1.0, 0.0], [0.0, 1.0]], [190, 10], axis=0)
    found = estimate_frequencies(p, confusion=[[160, 40], [10, 90]])
    np.testing.assert_array_equal(found.frequencies, [1.0, 0.0])
    assert found.status is Status.CONVERGED


# ---------------------------------------------------------------- what people hand over


def test_by_name(rng):
    names = ["a", "b", "c"]
    p = pd.DataFrame(predictions(rng, 200), columns=names)
    expected = estimate_frequencies(p.to_numpy(), PRIOR).frequencies
    prior = pd.Series(PRIOR, index=names)[::-1]
    np.testing.assert_allclose(estimate_frequencies(p, prior).frequencies, expected, rtol=1e-12)
    counts = pd.DataFrame(COUNTS, index=names, columns=names)
    expected = estimate_frequencies(p.to_numpy(), confusion=COUNTS).frequencies
    for table in (counts.loc[::-1], counts.loc[:, ::-1], counts):
        found = estimate_frequencies(p, confusion=table).frequencies
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="names of outcomes"):
        estimate_frequencies(p, confusion=counts.rename(index={"a": "x"}))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_every_library(lib, dtype, rng):
    if lib.name == "dask":
        pytest.skip("p has to be in memory")
    p = predictions(rng, 100)
    expected = estimate_frequencies(p, PRIOR)
    found = estimate_frequencies(lib.array(p, dtype), PRIOR.tolist())
    assert lib.owns(found.frequencies)
    assert lib.dtype_name(found.standard_errors) == dtype
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    for name in ("frequencies", "standard_errors"):
        values = lib.to_numpy(getattr(found, name))
        np.testing.assert_allclose(values, getattr(expected, name), rtol=tolerance)
    assert len(str(found).splitlines()) == 5


def test_then_the_predictions_are_matched(rng):
    p = predictions(rng, 300)
    found = estimate_frequencies(p, PRIOR)
    matched = match_frequencies(p, found.frequencies)
    np.testing.assert_allclose(matched.probabilities.mean(axis=0), found.frequencies, rtol=1e-9)
    # With calibrated predictions the offsets are those of Bayes' rule.
    offsets = np.log(found.frequencies / PRIOR)
    np.testing.assert_allclose(matched.class_offsets, offsets - offsets.mean(), atol=1e-8)


def test_a_summary_is_short(rng):
    found = estimate_frequencies(rng.dirichlet(np.full(40, 0.1), 4000), np.full(40, 0.025))
    lines = str(found).splitlines()
    assert len(lines) == 13
    assert lines[-1] == "and 30 more, which are less frequent"


P = [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]


def test_classes_that_predictions_do_not_tell_apart(rng):
    p = predictions(rng, 200)
    p[:, 2] = p[:, 1] * PRIOR[2] / PRIOR[1]  # so that both are as likely in every row
    p /= p.sum(axis=1, keepdims=True)
    with pytest.raises(SolveError, match="do not tell classes 1, 2 apart") as caught:
        estimate_frequencies(p, PRIOR)
    assert caught.value.result.status is Status.UNDECIDED
    assert np.isnan(caught.value.result.standard_errors).all()
    with pytest.raises(SolveError, match="The 2 passes over the rows ran out"):
        estimate_frequencies(predictions(rng, 200), PRIOR, max_steps=2)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((P,), {}, TypeError, "one of training_frequencies"),
        ((P, PRIOR), {"confusion": COUNTS}, TypeError, "not both"),
        ((P, [0.5, 0.5, 0.0]), {}, ValueError, "training_frequencies must be positive.* class 2"),
        ((P, [0.5, 0.5]), {}, ValueError, r"training_frequencies must have shape \(3,\)"),
        ((P, [0.5, 0.9, 0.3]), {}, ValueError, "training_frequencies must hold probabilities"),
        (([0.5, 0.5], [0.5, 0.5]), {}, ValueError, "p must have shape"),
        (([[2.0, -1.0]], [0.5, 0.5]), {}, ValueError, "p must hold probabilities"),
        ((P, PRIOR), {"weights": [1.0]}, ValueError, "weights must have one entry for each"),
        ((P, PRIOR), {"weights": [0.0, 0.0]}, ValueError, "weights must have a positive sum"),
        ((P,), {"confusion": COUNTS[:2]}, ValueError, r"confusion must have shape \(3, 3\)"),
        ((P,), {"confusion": -COUNTS}, ValueError, "confusion must be finite and not negative"),
        ((P,), {"confusion": np.eye(3)}, ValueError, "Multiply rates by the number"),
        ((P,), {"confusion": np.diag([5, 0, 5])}, ValueError, "there is none of class 1"),
        ((P,), {"confusion": [[5, 1, 0]] * 3}, ValueError, "class 2 was never predicted there"),
    ],
)
def test_bad_input(arguments, options, error, message):
    with pytest.raises(error, match=message):
        estimate_frequencies(*arguments, **options)
