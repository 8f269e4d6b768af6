"""C-maximisation: 50-digit references, answers known by construction, exact certificates."""

import json
import math
import pickle
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, max_entropy

ORACLES = json.loads((Path(__file__).parent.parent / "oracles" / "maxent.json").read_text())
FACES = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


def numbers(texts):
    return np.array([float(x) for x in texts])


def log_errors(projection, log_p):
    """Return the largest error of the log-probabilities, where they are finite."""
    where = np.isfinite(log_p)
    assert (projection.probabilities[~where] == 0.0).all()
    with np.errstate(divide="ignore"):
        return float(np.abs(np.log(projection.probabilities[where]) - log_p[where]).max())


def assert_solved(projection, log_p, tolerance):
    """Check log-probabilities against a reference, and the claims about them."""
    assert projection.status is Status.CONVERGED
    assert projection.certificate is None
    error = log_errors(projection, log_p)
    assert error <= tolerance
    assert error <= projection.error_bound


def assert_optimal(projection, F, b, C):
    """Check the two conditions that only p* meets: its expectations, and its form."""
    p, where = projection.probabilities, np.isfinite(C)
    size = np.abs(F).max() + np.abs(b).max()
    np.testing.assert_allclose(F @ p, b, rtol=0, atol=1e-11 * size)
    log_p = C + projection.theta @ F - projection.log_partition
    resolved = where & (p > 1e-290)
    scale = 1.0 + np.abs(C[where]).max() + (np.abs(projection.theta) @ np.abs(F)).max()
    np.testing.assert_allclose(log_p[resolved], np.log(p[resolved]), rtol=0, atol=1e-12 * scale)


def is_farkas(F, b, eta):
    """Whether eta'(F_y - b) > 0 for every outcome, in exact rational arithmetic."""
    F = [[Fraction(float(x)) for x in row] for row in F]
    b, eta = [Fraction(float(x)) for x in b], [Fraction(float(x)) for x in eta]
    above = [
        sum(e * (row[y] - target) for e, row, target in zip(eta, F, b, strict=True))
        for y in range(len(F[0]))
    ]
    return min(above) > 0


def exponential_member(rng, F, C, size=1.0):
    """Draw theta; return it, the log-probabilities and the targets, in extended precision."""
    theta = rng.normal(size=F.shape[0]) * size / np.sqrt(F.shape[0])
    logits = C.astype(np.longdouble) + (theta.astype(np.longdouble)[:, None] * F).sum(0)
    log_p = logits - logits.max()
    log_p -= np.log(np.exp(log_p).sum())
    return theta, log_p.astype(float), (F * np.exp(log_p)).sum(-1).astype(float)


# ---------------------------------------------------------------- against 50 digits


@pytest.mark.parametrize("oracle", ORACLES["dice"], ids=lambda oracle: str(oracle["targets"][0]))
def test_loaded_dice_against_50_digits(oracle):
    die = max_entropy(oracle["features"], oracle["targets"])
    assert_solved(die, numbers(oracle["log_probabilities"]), 1e-14)
    np.testing.assert_allclose(die.theta, numbers(oracle["theta"]), rtol=1e-14)
    np.testing.assert_allclose(die.entropy, float(oracle["entropy"]), rtol=1e-14)
    np.testing.assert_allclose(die.value, float(oracle["value"]), rtol=1e-14)
    assert die.error_bound < 1e-11
    assert die.support.all()
    assert die.rank == 1


def test_the_published_die():
    # E. T. Jaynes, Where do we stand on maximum entropy?, 1979.
    published = [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749]
    np.testing.assert_allclose(max_entropy(FACES, 4.5).probabilities, published, atol=6e-6)


@pytest.mark.parametrize("oracle", ORACLES["priors"], ids=["mild", "ruled out", "steep"])
def test_priors_against_50_digits(oracle):
    base = numbers(oracle["log_base"])
    found = c_maximize(oracle["features"], oracle["targets"], log_base=base)
    assert_solved(found, numbers(oracle["log_probabilities"]), 3e-13)
    np.testing.assert_allclose(found.theta, numbers(oracle["theta"]), rtol=1e-13)
    np.testing.assert_allclose(found.entropy, float(oracle["entropy"]), rtol=1e-12)
    np.testing.assert_allclose(found.value, float(oracle["value"]), rtol=1e-12)
    np.testing.assert_array_equal(found.support, np.isfinite(base))


@pytest.mark.parametrize(
    "oracle", ORACLES["moments"], ids=lambda o: f"order {o['order']} on [{o['low']}, {o['high']}]"
)
def test_moments_against_50_digits(oracle):
    grid = oracle["low"] + (oracle["high"] - oracle["low"]) * np.arange(33) / 32
    F = np.multiply.accumulate(np.tile(grid, (oracle["order"], 1)), axis=0)
    found = max_entropy(F, oracle["targets"])
    # The data as given determine p* to 1e-13, however badly conditioned; what the rounding of
    # the targets has done to the p they were made from, the bound has to cover.
    assert_solved(found, numbers(oracle["log_probabilities_of_rounded_targets"]), 1e-13)
    assert log_errors(found, numbers(oracle["log_probabilities"])) <= found.error_bound
    assert found.error_bound < 1e-5
    assert found.rank == oracle["order"]


# ---------------------------------------------------------------- known by construction


@pytest.mark.parametrize("num_features", [1, 5, 20, 100])
@pytest.mark.parametrize("num_outcomes", [10, 100, 1000, 10_000, 100_000])
def test_known_by_construction(rng, num_outcomes, num_features):
    F, C = rng.normal(size=(num_features, num_outcomes)), rng.normal(size=num_outcomes)
    theta, log_p, b = exponential_member(rng, F, C)
    found = c_maximize(F, b, log_base=C)
    assert_solved(found, log_p, 1e-11)
    assert found.error_bound < 1e-8
    assert found.rank == min(num_features, num_outcomes - 1)
    if num_features < num_outcomes:
        np.testing.assert_allclose(found.theta, theta, rtol=0, atol=1e-11)


@given(
    st.integers(2, 7).flatmap(
        lambda c: st.tuples(
            st.lists(st.lists(st.integers(-3, 3), min_size=c, max_size=c), min_size=1, max_size=4),
            st.lists(st.integers(-2, 2), min_size=4, max_size=4),
        )
    )
)
def test_rational_members_are_found_within_the_bound(drawn):
    # p_y = 2^(k'F_y) / Z with integers is rational: everything but the solve is exact.
    rows, k = drawn
    exponents = [
        sum(u * row[y] for u, row in zip(k, rows, strict=False)) for y in range(len(rows[0]))
    ]
    weights = [Fraction(2) ** exponent for exponent in exponents]
    p = [weight / sum(weights) for weight in weights]
    b = [float(sum(x * y for x, y in zip(row, p, strict=True))) for row in rows]
    found = max_entropy(np.array(rows, dtype=float), b)
    log_p = np.array([math.log(x) for x in p])
    assert_solved(found, log_p, 1e-9)


@pytest.mark.parametrize("mean", [1e-20, 1e-12, 0.25, 1.0 - 1e-12])
def test_one_bit_is_a_logit(mean):
    coin = max_entropy([[0.0, 1.0]], mean)
    np.testing.assert_allclose(coin.probabilities, [1.0 - mean, mean], rtol=5e-15)
    np.testing.assert_allclose(coin.theta, math.log(mean) - math.log1p(-mean), rtol=1e-14)


def test_margins_of_a_table_give_independence(rng):
    p, q = rng.dirichlet(np.ones(3)), rng.dirichlet(np.ones(4))
    rows = [np.repeat(row, 4) for row in np.eye(3)] + [np.tile(row, 3) for row in np.eye(4)]
    table = max_entropy(rows, np.concatenate([p, q]))
    np.testing.assert_allclose(table.probabilities, np.outer(p, q).ravel(), rtol=1e-13)
    assert table.rank == 5  # 3 + 4 margins that both sum to 1


def test_pythagorean_relation(rng):
    F, C = rng.normal(size=(3, 12)), rng.normal(size=12)
    p = rng.dirichlet(np.ones(12))
    q = np.exp(C) / np.exp(C).sum()
    star = c_maximize(F, F @ p, log_base=C).probabilities

    def kl(u, v):
        return float((u * np.log(u / v)).sum())

    np.testing.assert_allclose(kl(p, q), kl(p, star) + kl(star, q), rtol=1e-13)


def test_the_numbers_of_a_projection_agree(rng):
    F, C = rng.normal(size=(4, 30)), rng.normal(size=30)
    C[3] = -np.inf
    b = F @ np.where(np.isfinite(C), 1 / 29, 0.0)
    found = c_maximize(F, b, log_base=C)
    assert_optimal(found, F, b, C)
    p, where = found.probabilities, np.isfinite(C)
    entropy = -(p[where] * np.log(p[where])).sum()
    np.testing.assert_allclose(found.entropy, entropy, rtol=1e-14)
    np.testing.assert_allclose(found.value, entropy + (p[where] * C[where]).sum(), rtol=1e-13)
    np.testing.assert_allclose(found.residual, np.abs(F @ p - b).max(), atol=1e-15)
    assert 0.0 <= found.dual_gap < 1e-20


@pytest.mark.parametrize("tol", [1e-2, 1e-6, 1e-12])
def test_tolerance_is_met(rng, tol):
    F = rng.normal(size=(3, 50))
    _, log_p, b = exponential_member(rng, F, np.zeros(50))
    found = max_entropy(F, b, tol=tol)
    assert_solved(found, log_p, tol)
    assert found.error_bound <= tol


# ---------------------------------------------------------------- invariances


def small_problem(seed, num_features=3, num_outcomes=8):
    rng = np.random.default_rng(seed)
    F, C = rng.normal(size=(num_features, num_outcomes)), rng.normal(size=num_outcomes)
    return F, F @ rng.dirichlet(np.ones(num_outcomes)), C


@given(st.integers(0, 10**6), st.floats(-1e3, 1e3))
def test_a_constant_in_the_base_changes_nothing(seed, constant):
    F, b, C = small_problem(seed)
    plain, shifted = c_maximize(F, b, log_base=C), c_maximize(F, b, log_base=C + constant)
    np.testing.assert_allclose(shifted.probabilities, plain.probabilities, rtol=1e-9)
    np.testing.assert_allclose(shifted.log_partition, plain.log_partition + constant, atol=1e-9)
    np.testing.assert_allclose(shifted.value, plain.value + constant, atol=1e-11)


@given(st.integers(0, 10**6), st.floats(-30, 30), st.floats(-1e3, 1e3), st.integers(0, 7))
def test_units_and_offsets_of_features_change_nothing(seed, log_scale, offset, turn):
    F, b, C = small_problem(seed)
    plain = c_maximize(F, b, log_base=C)
    scale = np.array([1.0, math.exp(log_scale), -1.0])
    moved = c_maximize(
        np.roll(scale[:, None] * (F + offset), turn, axis=1),
        scale * (b + offset),
        log_base=np.roll(C, turn),
    )
    bound = plain.error_bound + moved.error_bound
    difference = np.log(np.roll(moved.probabilities, -turn) / plain.probabilities)
    assert np.abs(difference).max() <= bound
    assert bound < 1e-5
    np.testing.assert_allclose(moved.theta * scale, plain.theta, rtol=1e-6, atol=bound)


def test_ruled_out_outcomes_are_as_if_absent(rng):
    F, b, C = small_problem(3)
    with_more = np.insert(F, 2, 1e6, axis=1)
    base = np.insert(C, 2, -np.inf)
    found, plain = c_maximize(with_more, b, log_base=base), c_maximize(F, b, log_base=C)
    np.testing.assert_allclose(np.delete(found.probabilities, 2), plain.probabilities, rtol=1e-14)
    np.testing.assert_allclose(found.theta, plain.theta, rtol=1e-14)
    assert found.probabilities[2] == 0.0
    assert not found.support[2]


@pytest.mark.parametrize("depth", [30.0, 300.0, 3000.0])
def test_outcomes_that_the_prior_all_but_excludes_can_be_required(depth):
    # exp(-3000) underflows; the targets ask for a third of the mass there nevertheless.
    C = np.array([0.0, -1.0, -depth, -depth - 1.0])
    F = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    b = [1 / 3, 1 / 2]
    found = c_maximize(F, b, log_base=C)
    # Two independent bits under this prior, and the constraints are on each of them.
    expected = [1 / 3, 1 / 3, 1 / 6, 1 / 6]
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-11)
    assert found.status is Status.CONVERGED


# ---------------------------------------------------------------- redundant and nearly redundant


def test_redundant_rows_are_found_and_theta_is_of_minimum_norm(rng):
    base = rng.normal(size=(2, 15))
    F = np.vstack([base, base[0], -3.0 * base[1] + 2.0, np.full(15, 0.7), base.sum(0) - 1.0])
    _, log_p, b = exponential_member(rng, F, np.zeros(15))
    found = max_entropy(F, b)
    assert_solved(found, log_p, 1e-12)
    assert found.rank == 2
    # The smallest theta with theta'F = log p up to a constant, by the pseudo-inverse.
    centred = F - F.mean(1, keepdims=True)
    smallest = np.linalg.pinv(centred.T, rcond=1e-10) @ (log_p - log_p.mean())
    np.testing.assert_allclose(found.theta, smallest, rtol=0, atol=1e-12)
    assert found.theta[4] == 0.0


def test_more_features_than_outcomes(rng):
    F = rng.normal(size=(40, 7))
    p = rng.dirichlet(np.ones(7))
    found = max_entropy(F, F @ p)
    assert_solved(found, np.log(p), 1e-11)
    assert found.rank == 6
    smallest = np.linalg.pinv((F - F.mean(1, keepdims=True)).T) @ (np.log(p) - np.log(p).mean())
    np.testing.assert_allclose(found.theta, smallest, rtol=0, atol=1e-12)


def test_constant_features_only(capfd):
    found = c_maximize([[2.0, 2.0, 2.0], [0.1, 0.1, 0.1]], [2.0, 0.1], log_base=[0.0, 1.0, 2.0])
    expected = np.exp([0.0, 1.0, 2.0])
    np.testing.assert_allclose(found.probabilities, expected / expected.sum(), rtol=1e-15)
    assert found.rank == 0
    np.testing.assert_array_equal(found.theta, [0.0, 0.0])
    assert capfd.readouterr() == ("", "")  # LAPACK complains there of sizes of 0


def test_near_duplicates_are_kept_and_the_bound_is_honest(rng):
    row = rng.normal(size=30)
    F = np.vstack([row, row + 1e-9 * rng.normal(size=30)])
    theta = np.array([0.5, -0.2]) + 1e8 * np.array([1.0, -1.0])
    logits = (theta.astype(np.longdouble)[:, None] * F).sum(0)
    log_p = logits - np.log(np.exp(logits).sum())
    found = max_entropy(F, (F * np.exp(log_p)).sum(-1).astype(float))
    assert found.rank == 2
    assert_solved(found, log_p.astype(float), 1e-5)
    assert 1e-9 < found.error_bound < 1e-3


def test_duplicates_to_rounding_are_one(rng):
    row = rng.normal(size=30)
    F = np.vstack([row, row * (1 + 2.0**-52)])
    _, log_p, b = exponential_member(rng, F, np.zeros(30))
    found = max_entropy(F, b)
    assert found.rank == 1
    assert_solved(found, log_p, 1e-12)


def test_noise_in_the_targets_moves_the_answer_as_much(rng):
    F = rng.normal(size=(5, 100))
    _, log_p, b = exponential_member(rng, F, np.zeros(100))
    found = max_entropy(F, b + 1e-10 * rng.normal(size=5))
    assert found.status is Status.CONVERGED
    assert 1e-12 < log_errors(found, log_p) < 1e-8


@pytest.mark.parametrize("noise", [1e-10, 1e-6, 0.1])
def test_redundant_rows_that_disagree_are_proved_to(rng, noise):
    base = rng.normal(size=(3, 20))
    F = np.vstack([base, base[0] - 2.0 * base[2]])
    _, _, b = exponential_member(rng, F, np.zeros(20))
    b[3] += noise
    with pytest.raises(SolveError, match=r"features 0, 2, 3 clash") as caught:
        max_entropy(F, b)
    found = caught.value.result
    assert found.status is Status.INFEASIBLE
    assert is_farkas(F, b, found.certificate)
    assert found.certificate[1] == 0.0
    np.testing.assert_allclose(np.ptp(found.certificate @ F), 0.0, atol=1e-14)


def test_a_disagreement_between_rounding_and_proof_is_not_decided(rng):
    row = np.sign(rng.normal(size=30)) * rng.uniform(0.5, 1.0, size=30)
    noise = 8e-15 * np.where(np.arange(30) % 2, 1.0, -1.0) * rng.uniform(0, 1, size=30)
    with pytest.raises(SolveError, match=r"F\[0\].*F\[1\].* little more than rounding") as caught:
        max_entropy([row, row + noise], [0.1, 0.1 + 6e-15])
    assert caught.value.result.status is Status.UNDECIDED


# ---------------------------------------------------------------- infeasible


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, 1e-11])
def test_a_die_close_to_mean_6(distance):
    die = max_entropy(FACES, 6.0 - distance)
    assert die.status is Status.CONVERGED
    exactly = 6.0 - (6.0 - distance)
    # p_5 / p_6 = r with sum over k of k r^k / sum r^k = distance.
    ratio = scipy.optimize.brentq(
        lambda r: sum(k * r**k for k in range(6)) / sum(r**k for k in range(6)) - exactly,
        0.0, 2 * exactly, xtol=1e-300, rtol=1e-15,
    )  # fmt: skip
    expected = ratio ** np.arange(5.0, -1.0, -1.0)
    np.testing.assert_allclose(
        die.probabilities, expected / expected.sum(), rtol=float(die.error_bound)
    )
    assert die.error_bound < 2e-14 / distance


@pytest.mark.parametrize(
    ("mean", "eta", "said"),
    [
        (7.0, -1.0, r"most 6; 7 was"),
        (0.5, 1.0, r"least 1; 0\.5 was"),
        (6.0 + 1e-12, -1.0, r"most 6; 6\.000000000001 was"),
    ],
)
def test_targets_out_of_range_are_said_at_once(mean, eta, said):
    message = rf"the mean of feature 1 is at {said} asked\. For every outcome it lies in \[1, 6\]"
    with pytest.raises(SolveError, match=message):
        max_entropy([[0.0, 1.0, 0.0, 1.0, 0.0, 1.0], FACES[0]], [0.5, mean])
    found = max_entropy([[0.0, 1.0, 0.0, 1.0, 0.0, 1.0], FACES[0]], [0.5, mean], throw=False)
    assert found.status is Status.INFEASIBLE
    assert found.steps == 0
    np.testing.assert_array_equal(found.certificate, [0.0, eta])


def test_ruled_out_outcomes_do_not_count_for_the_range():
    with pytest.raises(SolveError, match=r"at most 4; 4\.5 .* every outcome that log_base allows"):
        c_maximize(FACES, 4.5, log_base=[0.0, 0.0, 0.0, 0.0, -np.inf, -np.inf])


def test_errors_are_said_with_names():
    names = {"features": ["odd", "shows"], "outcomes": list("abcdef")}
    with pytest.raises(SolveError) as caught:
        max_entropy([[1.0, 0.0, 1.0, 0.0, 1.0, 0.0], FACES[0]], [0.5, 6.5])
    error = caught.value
    assert "the mean of feature 1 is at most 6; 6.5 was asked" in str(error)
    assert "the mean of shows is at most 6; 6.5 was asked" in error.message.said(**names)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.failed) == (str(error), None)
    assert again.result.status is Status.INFEASIBLE
    with pytest.raises(SolveError) as caught:
        max_entropy([[0.0, 0.0, 1.0, 0.0, 0.0, 0.0], FACES[0]], [[0.9, 3.0], [0.9, 5.0]])
    said = caught.value.message.said(**names)
    assert caught.value.failed == (1,)
    assert "number 1. Number 1: " in said
    assert "the targets of odd, shows clash" in said
    assert "(odd)" in said
    with pytest.raises(SolveError) as caught:
        max_entropy([FACES[0]], lower=6.5)
    assert "shows is below its lower bound" in caught.value.message.said(features=["shows"])


def test_a_clash_names_its_features_only(rng):
    # Mean 0.5 and second moment 0.2: a variance below 0. The other three are innocent.
    x = np.linspace(-1.0, 1.0, 21)
    F = np.vstack([rng.normal(size=21), x, rng.normal(size=21), x**2, rng.normal(size=21)])
    b = F @ max_entropy(x[None, :], 0.5).probabilities
    b[3] = 0.2
    with pytest.raises(SolveError, match=r"features 1, 3 clash.*above its target .* by at least"):
        max_entropy(F, b)
    eta = max_entropy(F, b, throw=False).certificate
    np.testing.assert_array_equal(np.flatnonzero(eta), [1, 3])
    assert is_farkas(F, b, eta)


def draw_features(rng):
    """Draw small features of every kind: continuous, integer, indicators, powers."""
    num_outcomes, num_features = int(rng.integers(3, 13)), int(rng.integers(1, 7))
    shape = (num_features, num_outcomes)
    kind = rng.integers(4)
    if kind == 0:
        return rng.normal(size=shape)
    if kind == 1:
        return rng.integers(-2, 3, size=shape).astype(float)
    if kind == 2:
        return (rng.random(shape) < 0.4).astype(float)
    grid = np.arange(num_outcomes) / 16.0
    return np.multiply.accumulate(np.tile(grid, (num_features, 1)), axis=0)


def draw_base(rng, num_outcomes):
    return rng.normal(size=num_outcomes) * rng.choice([0.0, 1.0, 10.0])


@pytest.mark.parametrize("seed", range(6))
def test_campaign_interior(seed):
    rng = np.random.default_rng(seed)
    for _ in range(40):
        F = draw_features(rng)
        C = draw_base(rng, F.shape[1])
        b = F @ rng.dirichlet(np.full(F.shape[1], rng.choice([0.5, 1.0, 5.0])))
        assert_optimal(c_maximize(F, b, log_base=C), F, b, C)


@pytest.mark.parametrize("seed", range(6))
def test_campaign_infeasible_with_exact_proofs(seed):
    # Beyond a supporting hyperplane, by amounts down to 1e-6.
    rng = np.random.default_rng(100 + seed)
    for _ in range(40):
        F = draw_features(rng)
        C = draw_base(rng, F.shape[1])
        normal = rng.normal(size=F.shape[0])
        touching = int((normal @ F).argmax())
        beyond = 10.0 ** -rng.uniform(0, 6)
        inwards = rng.uniform(0, 0.5) * (F.mean(1) - F[:, touching])
        inwards -= normal * min(0.0, normal @ inwards) / (normal @ normal)
        b = F[:, touching] + beyond * (normal + inwards)
        found = c_maximize(F, b, log_base=C, throw=False)
        assert found.status is Status.INFEASIBLE
        assert is_farkas(F, b, found.certificate)


@pytest.mark.parametrize("seed", range(3))
def test_campaign_against_linear_programming(seed):
    rng = np.random.default_rng(300 + seed)
    seen = set()
    for _ in range(40):
        F = draw_features(rng)
        shift = rng.normal(size=F.shape[0]) * rng.choice([0.01, 0.1])
        b = F @ rng.dirichlet(np.ones(F.shape[1])) + shift
        found = max_entropy(F, b, throw=False)
        seen.add(found.status)
        everything = np.vstack([F, np.ones(F.shape[1])])
        program = scipy.optimize.linprog(np.zeros(F.shape[1]), A_eq=everything, b_eq=[*b, 1.0])
        if program.status == 0:
            assert found.status is Status.CONVERGED
            assert_optimal(found, F, b, np.zeros(F.shape[1]))
        else:
            assert program.status == 2  # infeasible
            assert found.status is Status.INFEASIBLE
            assert is_farkas(F, b, found.certificate)
    assert seen == {Status.CONVERGED, Status.INFEASIBLE}


def test_steps_that_run_out(rng):
    F = rng.normal(size=(3, 50))
    _, log_p, b = exponential_member(rng, F, np.zeros(50), size=3.0)
    with pytest.raises(SolveError, match=r"The 2 steps ran out: .* not known yet. Raise max_steps"):
        max_entropy(F, b, max_steps=2)
    bounds = []
    for max_steps in range(1, 12):
        found = max_entropy(F, b, max_steps=max_steps, throw=False)
        assert found.steps <= max_steps
        assert found.status in (Status.MAX_STEPS, Status.CONVERGED)
        assert log_errors(found, log_p) <= found.error_bound
        bounds.append(float(found.error_bound))
    assert found.status is Status.CONVERGED
    assert bounds == sorted(bounds, reverse=True)


# ---------------------------------------------------------------- batches


def test_a_batch_is_its_members(rng):
    F, C = rng.normal(size=(4, 1, 2, 9)), rng.normal(size=(3, 9))
    b = np.einsum("bjmc,c->bjm", F, np.full(9, 1 / 9)) + 0.05 * rng.normal(size=(4, 3, 2))
    batch = c_maximize(F, b, log_base=C)
    assert batch.probabilities.shape == (4, 3, 9)
    assert batch.theta.shape == (4, 3, 2)
    assert batch.support.shape == (4, 3, 9)
    for name in ("log_partition", "value", "entropy", "residual", "error_bound", "dual_gap"):
        assert getattr(batch, name).shape == (4, 3)
    assert batch.status is Status.CONVERGED
    assert batch.certificate is None
    for i, j in np.ndindex(4, 3):
        single = c_maximize(F[i, 0], b[i, j], log_base=C[j])
        for name in ("probabilities", "theta", "log_partition", "value", "entropy"):
            together, alone = getattr(batch, name)[i, j], getattr(single, name)
            np.testing.assert_allclose(together, alone, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(batch.error_bound[i, j], single.error_bound, rtol=0.3)


def test_a_scalar_target_serves_all_features_and_members(rng):
    F = rng.normal(size=(5, 2, 20))
    batch = max_entropy(F, 0.1)
    np.testing.assert_allclose(batch.probabilities[:, None, :] * F @ np.ones(20), 0.1, atol=1e-14)


def test_failed_members_of_a_batch_are_listed_and_the_others_solved():
    means = np.array([[4.5, 7.0, 2.0], [6.0, 3.5, 0.0]])
    with pytest.raises(SolveError, match=r"2 of 6 problems failed.*numbers 1, 5") as caught:
        max_entropy(FACES, means[..., None])
    assert caught.value.failed == (1, 5)
    found = caught.value.result
    assert found.status is Status.INFEASIBLE
    solved = np.isfinite(found.error_bound)
    np.testing.assert_array_equal(solved, [[True, False, True], [True, True, False]])
    np.testing.assert_allclose((found.probabilities * FACES).sum(-1)[solved], means[solved])
    np.testing.assert_array_equal(
        found.certificate[..., 0], [[np.nan, -1.0, np.nan], [np.nan, np.nan, 1.0]]
    )


def test_an_empty_batch():
    found = max_entropy(np.ones((0, 2, 5)), 1.0)
    assert found.probabilities.shape == (0, 5)
    assert found.theta.shape == (0, 2)
    assert "batch" in str(found)


# ---------------------------------------------------------------- libraries and dtypes


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 3e-7)])
def test_output_lives_where_the_input_lives(lib, dtype, tolerance):
    F = lib.array(FACES, dtype)
    die = c_maximize(F, lib.array([4.5], dtype), log_base=lib.array(np.zeros(6), dtype))
    reference = numbers(ORACLES["dice"][0]["log_probabilities"])
    for name in ("probabilities", "theta", "entropy", "value", "log_partition", "error_bound"):
        array = getattr(die, name)
        assert lib.owns(array)
        assert lib.dtype_name(array) == dtype
    assert lib.owns(die.support)
    assert lib.dtype_name(die.support) == "bool"
    assert "int" in lib.dtype_name(die.rank)
    log_p = np.log(lib.to_numpy(die.probabilities).astype(float))
    error = np.abs(log_p - reference).max()
    assert error <= tolerance
    assert error <= float(lib.to_numpy(die.error_bound))
    assert str(die).startswith("Projection: converged")


def test_certificates_live_there_too(lib):
    found = max_entropy(lib.array(FACES, "float32"), 7.0, throw=False)
    assert lib.owns(found.certificate)
    assert lib.dtype_name(found.certificate) == "float32"
    assert "-1 F[0] is above its target" in str(found)


def test_weak_and_integer_arguments():
    plain = max_entropy(FACES, 4.5)
    for features in (FACES.tolist(), FACES.astype(int), FACES.astype(int).tolist()):
        np.testing.assert_array_equal(max_entropy(features, [4.5]).theta, plain.theta)


def test_memory_layout_does_not_matter(rng):
    F = rng.normal(size=(5, 3000))
    b = F.mean(1) + 0.1
    plain = max_entropy(F, b)
    for other in (np.asfortranarray(F), F[:, ::-1].copy()[:, ::-1]):
        np.testing.assert_array_equal(max_entropy(other, b).probabilities, plain.probabilities)


def test_the_bound_covers_the_rounding_of_the_returned_probabilities(rng):
    # Targets of 0 are exact: what is left of float32 is the rounding of the output.
    F = rng.integers(-3, 4, size=(2, 9)).astype(np.float32)
    coarse, fine = max_entropy(F, 0.0), max_entropy(F.astype(float), 0.0)
    error = log_errors(coarse, np.log(fine.probabilities))
    assert 1e-9 < error <= coarse.error_bound < 1e-6


def test_targets_of_float32_carry_its_rounding(rng):
    # 40 rows for 7 outcomes: the targets cannot agree to more than their own rounding.
    F = rng.normal(size=(40, 7))
    p = rng.dirichlet(np.ones(7))
    found = max_entropy(F, (F @ p).astype(np.float32))
    assert found.status is Status.CONVERGED
    assert found.rank == 6
    assert 1e-8 < log_errors(found, np.log(p)) <= found.error_bound < 1e-3
    with pytest.raises(SolveError, match="clash"):
        max_entropy(F, (F @ p).astype(np.float32).astype(float))


def test_tracing_is_refused():
    jax = pytest.importorskip("jax")
    with pytest.raises(TypeError, match=r"features must have values that can be read"):
        jax.jit(lambda F: max_entropy(F, 4.5).theta)(jax.numpy.asarray(FACES))
    torch = pytest.importorskip("torch")
    with pytest.raises(TypeError, match=r"must have values that can be read"):
        torch.func.vmap(lambda F: max_entropy(F, 4.5).theta)(torch.tensor(FACES)[None])


# ---------------------------------------------------------------- what is said


def test_the_text_form_explains():
    assert str(max_entropy(FACES, 4.5)).splitlines()[0] == "Projection: converged"
    assert "rank 1" in str(max_entropy(FACES, 4.5))
    assert "1.61358 nats" in str(max_entropy(FACES, 4.5))
    clash = str(max_entropy([FACES[0], 2 * FACES[0]], [3.0, 7.0], throw=False))
    assert clash.startswith("Projection: no distribution satisfies the constraints")
    assert "F[0]" in clash.splitlines()[-1]
    assert "F[1]" in clash.splitlines()[-1]
    batch = str(max_entropy(FACES, [[4.5], [6.0], [9.0]], throw=False))
    assert "the worst of a batch (3,)" in batch
    assert "to inf" in batch
    assert "problem 2 of the batch: -1 F[0]" in batch


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"features": FACES[0]}, r"features must have shape \(\.\.\., m, c\).*\(6,\).*None, :"),
        ({"features": 3.0}, r"features must have shape .* got shape \(\)"),
        ({"features": np.ones((0, 6))}, r"features must .* shape \(0, 6\), which is empty"),
        ({"features": np.ones((3, 0))}, r"features must .* shape \(3, 0\), which is empty"),
        ({"targets": [1.0, 2.0]}, r"targets must be a number or have one entry .* has 1 "),
        ({"log_base": [0.0, 0.0]}, r"log_base must have one entry .* has 6 "),
        ({"features": np.ones((2, 1, 6)), "targets": np.ones((3, 1))}, r"axes that broadcast"),
        ({"features": [[1.0, 2.0], [1.0]]}, r"features must be a rectangular list"),
        ({"features": [[1.0, NAN, 3.0]], "targets": 2.0}, r"features must be finite"),
        ({"targets": INF}, r"targets must be finite"),
        ({"log_base": [0, 0, NAN, 0, 0, 0]}, r"log_base must be finite, or -inf.*NaN or \+inf"),
        ({"log_base": [0, 0, INF, 0, 0, 0]}, r"log_base must be finite, or -inf.*NaN or \+inf"),
        ({"log_base": [-INF] * 6}, r"log_base must be .* all outcomes are ruled out"),
        ({"tol": 0.0}, r"tol must be a positive number: got 0\.0"),
        ({"tol": "tight"}, r"tol must be a positive number: got 'tight'"),
        ({"tol": NAN}, r"tol must be a positive number: got nan"),
        ({"max_steps": 0}, r"max_steps must be a positive integer: got 0"),
        ({"max_steps": 7.5}, r"max_steps must be a positive integer: got 7\.5"),
    ],
)  # fmt: skip
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        c_maximize(**{"features": FACES, "targets": 4.5} | arguments)


@pytest.mark.parametrize("argument", ["features", "targets", "log_base"])
def test_things_that_are_not_numbers(argument):
    with pytest.raises(TypeError, match=f"{argument} must "):
        c_maximize(**{"features": FACES, "targets": 4.5} | {argument: "numbers"})


def test_unchecked_values_prove_nothing():
    found = max_entropy([[1.0, 2.0, NAN]], 1.5, check=False, throw=False)
    assert found.status is Status.UNDECIDED
    assert found.certificate is None


@pytest.mark.parametrize("size", [1e-304, 1e-200, 1e160, 1e305])
def test_features_of_any_size_up_to_the_ends_of_the_range(size):
    found = max_entropy(size * FACES[None], [4.5 * size])
    np.testing.assert_allclose(
        found.probabilities, max_entropy(FACES[None], [4.5]).probabilities, rtol=1e-12
    )


@pytest.mark.parametrize("wrap", [np.asarray, scipy.sparse.csr_array])
@pytest.mark.parametrize("size", [1e-308, 1e308])
def test_features_that_overflow_are_refused(size, wrap):
    features = wrap(np.array([[0.0, 1.0, 1.0], [size, 0.2 * size, -size]]))
    with pytest.raises(ValueError, match=re.escape(f"feature 1 is {size:g}")):
        max_entropy(features, [0.5, 0.0])
