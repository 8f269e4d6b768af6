"""Intervals of distances: they hold what they promise, and say nothing that the data do not."""

import itertools
import math
from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

import infogeo
from infogeo import simplex
from infogeo.inference import interval
from infogeo.inference._interval import _root

P = np.array([0.1, 0.2, 0.3, 0.4])


def on_great_circle(middle, way, distance):
    """Return two distributions whose root probabilities are at a distance, about the middle."""
    way = way - (way @ middle) * middle
    way /= np.linalg.norm(way)
    roots = [math.cos(distance / 4) * middle + s * math.sin(distance / 4) * way for s in (1, -1)]
    assert min(root.min() for root in roots) >= 0.0
    return [root**2 for root in roots]


@pytest.mark.parametrize(
    ("num_outcomes", "n", "m", "distance"),
    [
        (2, 20, 20, 1.5),
        (5, 200, 200, 0.0),
        (5, 1000, 1000, 0.7),
        (50, 200, 200, 0.2),
        (50, 100, 1000, 0.7),
        (200, 200, 200, 0.0),
        (200, 200, 200, 1.2),
    ],
)
def test_coverage(num_outcomes, n, m, distance, rng):
    middle = np.full(num_outcomes, num_outcomes**-0.5)
    way = np.where(np.arange(num_outcomes) % 2, 1.0, -1.0) * rng.uniform(0.8, 1.0, num_outcomes)
    p, q = on_great_circle(middle, way, distance)
    found = interval(rng.multinomial(n, p, size=400), rng.multinomial(m, q, size=400))
    held = (found.lower <= distance + 1e-9) & (distance <= found.upper)
    # Of 400 at .925, which is promised, fewer than this by chance once in 1,000.
    assert held.mean() >= 0.885
    assert (found.estimate >= found.lower).all()
    assert (found.estimate <= found.upper).all()
    if distance > 0.5:  # not as the plug-in distance, which is too large every time
        assert 0.2 < (found.estimate > distance).mean() < 0.8


def test_coverage_where_rare_outcomes_are_in_one_distribution_only(rng):
    """Nobody can tell a small probability from 0: the interval is longer, says so, and holds."""
    common, rare, none = np.full(4, 0.15), np.full(200, 0.4 / 200), np.zeros(200)
    p, q = np.concatenate([common, rare, none]), np.concatenate([common, none, rare])
    distance = 2.0 * math.acos(0.6)
    found = interval(rng.multinomial(2000, p, size=60), rng.multinomial(2000, q, size=60))
    assert ((found.lower <= distance) & (distance <= found.upper)).mean() >= 0.85
    assert (found.unresolved > 0.05).all()
    assert (found.unresolved < found.upper - found.lower).all()
    coarse = interval(
        np.add.reduceat(rng.multinomial(2000, p), [0, 1, 2, 3, 4, 204]),
        np.add.reduceat(rng.multinomial(2000, q), [0, 1, 2, 3, 4, 204]),
    )
    assert float(coarse.lower) <= distance <= float(coarse.upper)
    assert float(coarse.unresolved) < 0.05


@pytest.mark.parametrize("distance", [0.0, 0.5])
def test_coverage_beside_a_known_distribution(distance, rng):
    p, q = on_great_circle(np.sqrt(P), np.array([1.0, -1.0, 1.0, -1.0]), distance)
    counts = rng.multinomial(150, p, size=400)
    found = interval(counts, q, size_b=math.inf)
    held = (found.lower <= distance + 1e-9) & (distance <= found.upper)
    assert held.mean() >= 0.885  # as above
    swapped = interval(q, counts, size_a=math.inf)
    np.testing.assert_allclose(swapped.upper, found.upper, atol=1e-9)


@pytest.mark.parametrize("size_b", [100, math.inf])
def test_coverage_where_one_outcome_of_three_is_rare(size_b, rng):
    """What one outcome adds that is seen once or not at all is no sum of many small parts."""
    p, q = np.array([0.45, 0.51, 0.04]), np.array([0.16, 0.14, 0.7])
    distance = float(simplex.fisher_rao_distance(p, q))
    n = 20 if size_b == math.inf else 100
    y = q if size_b == math.inf else rng.multinomial(size_b, q, size=300)
    options = {"size_b": size_b} if size_b == math.inf else {}
    found = interval(rng.multinomial(n, p, size=300), y, **options)
    assert ((found.lower <= distance) & (distance <= found.upper)).mean() >= 0.885


def test_nothing_is_farther_from_a_known_distribution_than_its_rarest_outcome():
    found = interval([0, 20], [0.9, 0.1], size_b=math.inf)
    assert float(found.upper) == pytest.approx(2.0 * math.acos(math.sqrt(0.1)))
    assert 1.5 < float(found.lower) < 2.3


@pytest.mark.parametrize("known", [0.5, 0.1, 0.01, 1e-6])
def test_coverage_of_two_outcomes_beside_a_known_distribution_by_enumeration(known):
    for n in (2, 10, 200):
        count = np.arange(n + 1)
        found = interval(np.stack([count, n - count], -1), [known, 1.0 - known], size_b=math.inf)
        for share in (0.0, 0.001, 0.03, 0.3, 0.9, 1.0):
            cosine = math.sqrt(known * share) + math.sqrt((1.0 - known) * (1.0 - share))
            distance = 2.0 * math.acos(min(cosine, 1.0))
            held = (found.lower <= distance + 1e-9) & (distance <= found.upper + 1e-9)
            assert stats.binom.pmf(count, n, share)[held].sum() >= 0.94


@pytest.mark.parametrize(
    ("counts", "known"),
    [
        ([1000, 0], [0.999, 0.001]),
        ([100, 0], [0.9, 0.1]),
        ([500, 500, 0], [0.45, 0.45, 0.1]),
        ([10**6, 0], [0.9999, 1e-4]),
    ],
)
def test_an_outcome_that_is_known_and_not_seen_does_not_open_the_interval(counts, known):
    """A known distribution is what a huge sample of it is."""
    found = interval(counts, known, size_b=math.inf)
    huge = interval(counts, np.round(1e8 * np.array(known)))
    assert float(found.upper) == pytest.approx(float(huge.upper), rel=0.1)
    assert float(found.lower) == pytest.approx(float(huge.lower), rel=0.01)


@pytest.mark.filterwarnings("error")
def test_what_one_huge_sample_lacks_overflows_nowhere():
    for counts in ([10**9, 5], [10**14 - 10**5, 10**4]):
        assert np.isfinite(float(interval([0, 5], counts).upper))


@pytest.mark.filterwarnings("error")
def test_what_neither_sample_has_does_not_change_how_equal_shares_are():
    """Outcomes without an observation say nothing, where no outcome was seen once alone."""
    for x, y in (([2, 3], [2, 3]), ([30, 50, 20], [300, 500, 200]), ([4, 7, 9], [5, 2, 8])):
        found = interval(x, y)
        for many in (1, 2, 5):
            zeros = [0] * many
            wider = interval([*x, *zeros], [*y, *zeros])
            for name in ("estimate", "lower", "upper", "unresolved"):
                ours, theirs = getattr(wider, name), getattr(found, name)
                np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0, 20], [4, 999_996]),
        ([13, 7], [520_000, 480_000]),
        ([3, 17, 0], [200_000, 500_000, 300_000]),
        ([5, 5, 5, 5], [10_000, 290_000, 300_000, 400_000]),
    ],
)
def test_a_larger_sample_beside_a_small_one_changes_nothing_at_last(x, y):
    """A share of a million observations is known next to what twenty leave open."""
    expected = interval(x, y)
    for factor in (10**3, 10**5, 10**8):
        found = interval(x, factor * np.array(y))
        for name in ("estimate", "lower", "upper"):
            ours, theirs = getattr(found, name), getattr(expected, name)
            np.testing.assert_allclose(ours, theirs, atol=2e-3, err_msg=f"{name} {factor}")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("n", "known"),
    [
        (1, [0.3, 0.3, 0.4]),
        (20, [0.5, 0.5]),
        (30, [0.999, 0.001]),
        (20, [0.6, 0.399, 0.001]),
        (20, [0.127, 0.602, 0.271]),
        (50, [0.01, 0.02, 0.93, 0.04]),
        (200, np.arange(1.0, 11.0) / 55.0),
        (200, np.arange(1.0, 101.0) / 5050.0),
        (50, np.full(200, 0.005)),
    ],
)
def test_an_ever_larger_sample_becomes_a_distribution_that_is_known(n, known, rng):
    """A sample of 1e13 observations tells its distribution to 1e-6."""
    known = np.array(known)
    near = rng.multinomial(n, known, size=8)
    counts = np.concatenate([near, rng.multinomial(n, rng.dirichlet(np.ones(len(known))), size=8)])
    expected = interval(counts, known, size_b=math.inf)
    found = interval(counts, np.round(1e13 * known))
    for name in ("estimate", "lower", "upper"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, atol=1e-3, err_msg=name)


@pytest.mark.parametrize(
    ("n", "known"), [(30, [0.999, 0.001]), (30, [0.5, 0.5]), (12, [0.25, 0.25, 0.25, 0.25])]
)
def test_coverage_beside_a_huge_sample_by_enumeration(n, known):
    """All samples with their probabilities: the second sample is as good as known."""
    c = len(known)
    counts = np.array([k for k in itertools.product(range(n + 1), repeat=c) if sum(k) == n])
    found = interval(counts, np.round(1e12 * np.array(known)))
    corner = np.arange(c) == c - 1
    others = (1.0 - np.array([0.01, 0.185, 0.6, 0.95]))[:, None] * known
    others = [*others, *(0.5 * others[:2] + 0.5 * corner), known]
    for shares in others:
        shares = np.array(shares) + (1.0 - sum(shares)) * corner
        distance = float(simplex.fisher_rao_distance(shares, known))
        held = (found.lower <= distance + 1e-6) & (distance <= found.upper + 1e-6)
        assert stats.multinomial.pmf(counts[held], n, shares).sum() >= 0.945


def test_large_samples_agree_with_the_chi_square_law(rng):
    """At n = 1e7 a distance of .5 is known to 1.96 / sqrt(N), to both sides."""
    p, q = on_great_circle(np.sqrt(P), np.array([1.0, -1.0, 1.0, -1.0]), 0.5)
    n = 10_000_000
    found = interval(np.round(n * p), np.round(n * q))
    half = 1.959964 * math.sqrt(2.0 / n)
    np.testing.assert_allclose(found.estimate, 0.5, atol=half / 50)
    np.testing.assert_allclose([found.lower, found.upper], [0.5 - half, 0.5 + half], atol=half / 20)


def test_the_plug_in_distance_is_that_of_the_shares(rng):
    x, y = rng.integers(0, 9, size=(2, 7, 5)) + 1
    found = interval(x, y)
    expected = simplex.fisher_rao_distance(
        x / x.sum(-1, keepdims=True), y / y.sum(-1, keepdims=True)
    )
    np.testing.assert_allclose(found.distance, expected, rtol=1e-13)


def assert_same(found, expected):
    for name in ("estimate", "lower", "upper", "distance", "unseen", "unresolved"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        np.testing.assert_allclose(ours, theirs, rtol=0.0, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("num_outcomes", [2, 3, 5, 8])
@pytest.mark.parametrize(
    ("n", "m", "sizes"),
    [(6, 6, {}), (20, 200, {}), (12, 1, {"size_b": math.inf}), (7, 1, {"size_b": 12.5})],
)
def test_neither_the_order_of_the_samples_nor_that_of_the_outcomes_matters(
    num_outcomes, n, m, sizes, rng
):
    """Also where outcomes are unseen, and only their place could say whose they are."""
    p, q = rng.dirichlet(np.full(num_outcomes, 0.4), size=(2, 40))
    x, y = rng.multinomial(n, p), q if sizes else rng.multinomial(m, q)
    found = interval(x, y, **sizes)
    swapped = {"size_a": sizes["size_b"]} if sizes else {}
    assert_same(interval(y, x, **swapped), found)
    for _ in range(3):
        order = rng.permutation(num_outcomes)
        assert_same(interval(x[:, order], y[:, order], **sizes), found)
    order = np.argsort(rng.random(x.shape), axis=-1)  # one for each row
    moved = (np.take_along_axis(v, order, -1) for v in (x, y))
    assert_same(interval(*moved, **sizes), found)


@pytest.mark.parametrize("num_outcomes", [2, 6, 40])
@pytest.mark.parametrize("known", [False, True])
def test_a_row_alone_is_as_in_a_batch(num_outcomes, known, rng):
    """Whatever stands beside it: rows of other sizes, and such as take more steps."""
    p, q = rng.dirichlet(np.full(num_outcomes, 0.4), size=(2, 24))
    sizes = np.array([1, 7, 60, 10**6] * 6)
    x = rng.multinomial(sizes, p)
    y = q if known else rng.multinomial(rng.permutation(sizes), q)
    options = {"size_b": math.inf} if known else {}
    found = interval(x, y, **options)
    for i in range(len(x)):
        one = interval(x[i], y[i], **options)
        for name in ("estimate", "lower", "upper", "distance", "unseen", "unresolved"):
            np.testing.assert_allclose(
                getattr(one, name), getattr(found, name)[i], rtol=1e-9, atol=1e-9, err_msg=name
            )


def test_a_single_unseen_outcome_of_samples_of_different_sizes():
    x, y = [0, 0, 14, 6, 0], [1, 0, 140, 58, 1]
    assert float(interval(x, y).upper) == float(interval(y, x).upper)


def test_batches(rng):
    x, y = rng.multinomial(60, [0.5, 0.3, 0.2], 6), rng.multinomial(90, [0.2, 0.3, 0.5], 6)
    found = interval(x, y)
    one = interval(x[2], y[2])
    assert one.estimate.shape == ()
    np.testing.assert_allclose(one.upper, found.upper[2], rtol=1e-12)
    table = interval(x.reshape(2, 3, 3), y[0])
    assert table.lower.shape == (2, 3)
    wide = interval(x, y, level=0.99)
    assert (wide.upper > found.upper).all()
    assert (wide.lower <= found.lower).all()


@pytest.mark.parametrize(
    ("x", "y", "lower", "upper"),
    [
        ([1, 0], [0, 1], 0.0, math.pi),
        ([1, 0, 0], [1, 0, 0], 0.0, 2.0 * math.acos(0.0125 / 3.0)),
        ([5], [3], 0.0, 0.0),
    ],
)
def test_data_that_say_nothing(x, y, lower, upper):
    found = interval(x, y)
    assert (float(found.lower), float(found.upper)) == pytest.approx((lower, upper))


def test_one_outcome_alone():
    """Its probability is at least (tail / c)^(1/n) in both samples, which share the tail .025.

    The smaller one of n and m observations has m / (n + m) of it.
    """
    found = interval([300, 0, 0], [500, 0, 0])
    sizes = (300, 0.025 * 5.0 / 8.0), (500, 0.025 * 3.0 / 8.0)
    least = [(tail / 3.0) ** (1.0 / n) for n, tail in sizes]
    assert float(found.lower) == 0.0
    assert float(found.upper) == pytest.approx(2.0 * math.acos(math.sqrt(math.prod(least))))
    many = interval([300, *[0] * 10**4], [500, *[0] * 10**4])  # two bounds on all others
    angles = [math.asin(math.sqrt(1.0 - tail ** (1.0 / n))) for n, tail in sizes]
    assert float(many.upper) == pytest.approx(2.0 * sum(angles))


def test_a_rare_outcome_of_one_sample_leaves_the_others_close(rng):
    x, y = [9990, 10], [10_000, 0]
    least = [stats.beta.ppf(0.00625, x[0], 11), 0.00625 ** (1.0 / 10_000)]
    expected = 2.0 * math.acos(math.sqrt(math.prod(least)))
    assert float(interval(x, y).upper) == pytest.approx(expected)
    distance = 2.0 * math.asin(math.sqrt(0.002))
    found = interval(rng.multinomial(2000, [0.998, 0.002], 200), [2000, 0])
    assert np.mean(found.upper >= distance) > 0.95
    assert np.mean(found.upper) < 0.3


def test_samples_without_a_common_outcome():
    found = interval([40, 0, 60, 0], [0, 50, 0, 50])
    assert float(found.distance) == pytest.approx(math.pi)
    assert float(found.upper) == math.pi
    assert 2.0 < float(found.lower) < math.pi


def test_unseen_mass():
    """Of 15 observations 3 are of outcomes seen once: a fifth is expected to be unseen."""
    found = interval([5, 1, 1, 0, 0, 0], [6, 0, 0, 1, 1, 0])
    assert float(found.unseen) == pytest.approx(4 / 15)
    assert float(interval([5, 1], [6, 3]).unseen) == 0.0


def test_shares_with_their_size_are_counts():
    x, y = np.array([20, 30, 50]), np.array([40, 40, 20])
    found = interval(x, y)
    assert_same(interval(x / 100, y, size_a=100), found)
    wider = interval(x / 100, y, size_a=33.3)  # a weighted sample
    assert float(wider.lower) < float(found.lower)
    assert float(wider.upper) > float(found.upper)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_shares_of_few_observations_are_counts(dtype, rng):
    """An outcome that was seen once has a share that is seldom exactly 1 / size."""
    x, y = rng.multinomial([[49], [33]], rng.dirichlet(np.full(9, 0.3), size=(2, 40)))
    assert_same(interval(x, (y / 33).astype(dtype), size_b=33), interval(x, y))


def test_frames_series_and_tensors():
    a = pd.Series({"x": 20, "y": 30, "z": 50})
    b = pd.Series({"z": 20, "x": 40, "y": 40})
    expected = interval([20, 30, 50], [40, 40, 20])
    assert float(interval(a, b).upper) == float(expected.upper)
    tensors = torch.tensor([20, 30, 50]), torch.tensor([40, 40, 20])
    assert float(interval(*tensors).upper) == float(expected.upper)
    with pytest.raises(ValueError, match="counts_b"):
        interval(a, b.rename({"x": "w"}))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1, -1], [1, 1]), {}, r"counts_a must hold counts.*entry -1\.0\.$"),
        (([], []), {}, "counts_a must have its outcomes along the last axis"),
        (([1, 2.5], [1, 1]), {}, r"counts_a must hold counts.*2\.5.*size_a="),
        (([1, float("nan")], [1, 1]), {}, r"counts_a must hold counts.*entry nan\. Fill in 0 if"),
        (([1, float("inf")], [1, 1]), {}, r"counts_a must hold counts.*entry inf\.$"),
        (([1, 2.0 + 1e-10], [1, 1]), {}, r"entry 2\.0000000001\. Shares or weighted counts need"),
        (([1, 1], [0, 0]), {}, "counts_b must count something"),
        (([1, 1], [1, 1, 1]), {}, "counts_a.*counts_b"),
        (([0.5, 0.5], [0.5, 0.5]), {"size_a": math.inf, "size_b": math.inf}, "both are inf"),
        (([0.5, 0.6], [1, 1]), {"size_a": 10}, "counts_a must hold probabilities"),
        (([0.5, 0.5], [1, 1]), {"size_a": 0}, "size_a must be a number of observations"),
        (([0.5, 0.5], [1, 1]), {"size_a": 1e17}, "size_a must be a number of observations"),
        (
            ([1, 2e14], [1, 1]),
            {},
            "counts_a must count at most 1e14 observations: it counts 2e.14.*of the shares",
        ),
        (([1, 1], [1e308, 1e308]), {}, "counts_b must count at most.*counts inf"),
        (([1, 1], np.array([[5, 1], [2**63, 3]], dtype=np.uint64)), {}, "9.22337e.18 .row 1"),
        (([1, 1], [1, 1]), {"level": 1.0}, "level must lie between 0 and 1"),
    ],
)
def test_bad_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        interval(*arguments, **options)


@pytest.mark.parametrize(
    "given",
    [
        (Counter("aab"), Counter("abb")),
        ({"a": 2}, [1]),
        ([1, 2], {"a": 2, "b": 3}),
        ([Counter("ab"), Counter("b")], [1, 2]),
    ],
)
def test_dicts_are_refused_with_the_way_out(given):
    with pytest.raises(
        TypeError, match=r"got a (Counter|dict)\. infogeo\.interop\.frames\.matched_c"
    ):
        interval(*given)


def test_series_of_different_classes_are_refused_with_the_way_out():
    a, b = pd.Series({"x": 3, "y": 1}), pd.Series({"y": 2, "z": 1})
    with pytest.raises(ValueError, match=r"has 'x', 'z'\. infogeo\.interop\.frames\.matched_c"):
        interval(a, b)
    _, counts = infogeo.interop.frames.matched_counts(a, b)
    assert float(interval(*counts).distance) > 0.0


def test_long_intervals_say_why():
    assert "rare outcomes make" not in str(interval([530, 280, 120, 70], [200, 260, 270, 310]))
    rng = np.random.default_rng(0)
    rare = interval(*rng.multinomial(200, np.full(200, 0.005), size=2))
    assert str(rare).endswith(f"; rare outcomes make {float(rare.unresolved):.4g} of it")
    rows = [[1, 2, 1, 1], [500, 400, 300, 600]]
    assert str(interval(rows, [100, 200, 100, 300])).endswith(
        "0.95; rare outcomes make 1 of them long"
    )


@pytest.mark.filterwarnings("error")
def test_levels_next_to_0_and_1():
    """The ends move apart with the level, also where the rest of it is lost beside 1."""
    x, y = [53, 28, 12, 7], [46, 26, 17, 11]
    levels = [1e-300, 0.5, 0.95, 1.0 - 1e-6, 1.0 - 1e-12, math.nextafter(1.0, 0.0)]
    uppers = [float(interval(x, y, level=level).upper) for level in levels]
    assert uppers == sorted(uppers)
    assert uppers[-1] <= math.pi
    assert "at the level 0.999999999999 (" in str(interval(x, y, level=1.0 - 1e-12))
    assert "at the level 0.9 (" in str(interval(x, y, level=0.9))


def test_frames_have_a_row_for_each_pair():
    one = interval([5, 6], [7, 8]).to_frame()
    assert one.shape == (1, 6)
    found = interval([[[1, 2], [3, 4]]], [5, 6])
    frame = found.to_frame()
    assert frame.loc[(0, 1), "upper"] == found.upper[0, 1]
    assert list(frame.columns)[:3] == ["estimate", "lower", "upper"]


def test_what_is_shown(tmp_path):
    found = interval([53, 28, 12, 7], [20, 26, 27, 31])
    assert str(found).startswith(f"{float(found.estimate):.4g} rad, from ")
    assert "batch of shape (2,)" in str(interval([[1, 2], [3, 4]], [5, 6]))
    infogeo.save(found, tmp_path / "interval.json")
    assert infogeo.load(tmp_path / "interval.json").level == 0.95


@pytest.mark.parametrize("size", [1e7, 1e9, 1e12, 8e12])
def test_huge_samples_have_the_law_of_large_ones(size):
    # sqrt(N) times all of it depends on sqrt(N) d alone; 1 - d^2 / 8 has 3 digits at the end.
    def scaled(k, **known):
        moved = np.round(5.0 * math.sqrt(k))
        other = [0.25, 0.5, 0.25] if known else [3 * k, 6 * k, 3 * k]
        found = interval([k + moved, 2 * k - moved, k], other, **known)
        return math.sqrt(k) * np.array([found.estimate, found.upper])

    for known in ({}, {"size_b": math.inf}):
        np.testing.assert_allclose(scaled(size, **known), scaled(1e6, **known), rtol=0.01)


def test_roots_are_those_of_the_functions(rng):
    """Also of functions that bend much, are steep, or jump over the value."""
    power, scale = rng.uniform(0.3, 6.0, 200), 10.0 ** rng.uniform(-6.0, 9.0, 200)
    high = np.repeat([1.0, 2.0], 100)
    value = scale * rng.uniform(0.0, 1.0, 200) * high**power

    def excess(place, which):
        return value[which] - scale[which] * place ** power[which]

    at_high = excess(high, np.arange(200))
    guess = rng.uniform(-1.0, 3.0, 200)
    found = _root(excess, value, guess, np.zeros(200), high, value.copy(), at_high)
    off = np.sqrt(value) - np.sqrt(scale * found**power)
    assert (abs(off) <= 3e-4).all() or (
        abs(found - (value / scale) ** (1.0 / power)) <= 1e-12 * np.maximum(found, 1e-12)
    )[abs(off) > 3e-4].all()

    def step(place, which):
        return np.where(place < 0.3, 1.0, -1.0)

    one = np.ones(1)
    found = _root(step, one, 0.7 * one, 0.0 * one, one, one, -one)
    np.testing.assert_allclose(found, 0.3, rtol=1e-9)
