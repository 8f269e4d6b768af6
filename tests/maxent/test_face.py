"""Optima on the boundary: exact supports, directions that prove them, nothing guessed."""

import numpy as np
import pytest
from known_class import assert_on_face, draw_problem, exact_values

from infogeo import SolveError, Status
from infogeo.maxent import c_maximize, max_entropy
from infogeo.maxent._dual.face import edge_direction, joined
from infogeo.maxent._dual.problem import Problem

FACES = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])


# ---------------------------------------------------------------- closed cases


@pytest.mark.parametrize(
    ("mean", "face"), [(1.0, 0), (6.0, 5), (np.nextafter(6.0, 0.0), 5), (np.nextafter(6.0, 7.0), 5)]
)
def test_a_die_at_the_end_of_its_range(mean, face):
    # Targets are known to their rounding: 6 within one unit of the last place is 6.
    die = max_entropy(FACES, mean)
    assert die.status is Status.BOUNDARY
    np.testing.assert_array_equal(die.probabilities, np.eye(6)[face])
    np.testing.assert_array_equal(die.support, np.eye(6)[face] > 0)
    np.testing.assert_array_equal(die.direction, [1.0 if face == 0 else -1.0])
    assert die.entropy == 0.0
    assert die.rank == 0
    assert die.error_bound < 1e-14


@pytest.mark.parametrize("distance", [1e-14, 1e-13])
def test_a_die_between_rounding_and_resolution_is_undecided(distance):
    with pytest.raises(SolveError, match="edge") as caught:
        max_entropy(FACES, 6.0 - distance)
    found = caught.value.result
    assert found.status is Status.UNDECIDED
    assert found.error_bound == np.inf
    assert "target of feature 0" in str(caught.value)


def test_the_optimum_on_a_face_is_that_of_its_outcomes():
    F, b = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 0.0, 0.0, 2.0]]), np.array([1.5, 0.0])
    C = np.array([5.0, 0.0, 1.0, -2.0])
    found = c_maximize(F, b, log_base=C)
    assert_on_face(found, F, b, C, np.array([False, True, True, False]))
    np.testing.assert_allclose(found.probabilities[1:3], 0.5, rtol=1e-15)
    np.testing.assert_array_equal(found.direction, [0.0, 1.0])
    ruled_out = c_maximize(F, b, log_base=[-np.inf, 0.0, 1.0, -np.inf])
    assert ruled_out.status is Status.CONVERGED
    np.testing.assert_array_equal(found.theta, ruled_out.theta)


def test_a_face_that_no_single_feature_shows():
    # Two bits that are as often 1 as they are both 1: they are equal.
    F = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])
    found = max_entropy(F, [0.25, 0.25, 0.25])
    np.testing.assert_allclose(found.probabilities, [0.75, 0, 0, 0.25], rtol=4e-15, atol=0)
    assert found.status is Status.BOUNDARY
    values = exact_values(F, [0.25] * 3, found.direction)
    # eta = (1, 1, -2) / 2 up to rounding.
    np.testing.assert_allclose([float(v) for v in values], [0.0, 0.5, 0.5, 0.0], atol=1e-9)


def test_a_face_of_a_face():
    # Feature 0 leaves outcomes 0, 1, 2; only among them is the target of feature 1 at its end.
    F = np.array([[0.0, 0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 9.0, -9.0]])
    b, C = np.array([0.0, 1.0]), np.zeros(5)
    found = c_maximize(F, b)
    assert_on_face(found, F, b, C, np.array([False, True, True, False, False]))


def test_a_face_without_a_distribution_is_infeasible_with_one_proof():
    F = np.array([[0.0, 0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 1.0, 9.0, -9.0]])
    with pytest.raises(SolveError, match="features 0, 1 clash") as caught:
        max_entropy(F, [0.0, 1.5])
    found = caught.value.result
    assert found.status is Status.INFEASIBLE
    assert min(exact_values(F, [0.0, 1.5], found.certificate)) > 0


def test_tables_with_zero_margins():
    rng = np.random.default_rng(0)
    table = rng.dirichlet(np.ones(20)).reshape(4, 5)
    table[1], table[:, 3] = 0.0, 0.0
    table /= table.sum()
    rows, columns = table.sum(1), table.sum(0)
    F = np.vstack([np.repeat(np.eye(4), 5, axis=1), np.tile(np.eye(5), 4)])
    found = max_entropy(F, np.concatenate([rows, columns]))
    assert found.status is Status.BOUNDARY
    expected = np.outer(rows, columns)
    np.testing.assert_allclose(found.probabilities, expected.ravel(), rtol=1e-13, atol=0)
    assert found.rank == 3 + 4 - 2


def test_a_triangular_table_is_the_only_one():
    # Margins and an upper triangle: facial reduction has to take one outcome after another.
    size = 6
    F = np.vstack([np.repeat(np.eye(size), size, axis=1), np.tile(np.eye(size), size)])
    margins = np.array([2.0**-k for k in range(1, size)] + [2.0 ** (1 - size)])
    base = np.where(np.triu(np.ones((size, size))) > 0, 0.0, -np.inf).ravel()
    found = c_maximize(F, np.concatenate([margins, margins]), log_base=base)
    np.testing.assert_allclose(found.probabilities, np.diag(margins).ravel(), rtol=1e-14, atol=0)
    np.testing.assert_array_equal(found.support, np.eye(size).ravel() > 0)


def test_faces_in_other_libraries_and_dtypes(lib):
    die = max_entropy(lib.array(FACES, "float32"), lib.array([6.0], "float32"))
    assert lib.owns(die.direction)
    assert lib.dtype_name(die.direction) == "float32"
    np.testing.assert_array_equal(lib.to_numpy(die.probabilities), np.eye(6)[5])


def test_the_text_form_names_what_vanishes():
    text = str(max_entropy([FACES[0], FACES[0] ** 2], [1.5, 2.5]))
    assert text.startswith("Projection: solved: the optimum lies on a face")
    assert "4 of 6 outcomes have probability 0: 2, 3, 4, 5" in text
    assert "F[0]" in text
    assert "F[1]" in text
    batch = str(max_entropy(FACES, [[4.5], [6.0]]))
    assert "problem 1 of the batch: 5 of 6 outcomes have probability 0" in batch


# ---------------------------------------------------------------- directions


def problem_of(F, b):
    return Problem(
        np.array(F, dtype=float), np.array(b, dtype=float), np.zeros(len(F[0])), 2.0**-52
    )


def test_edges_are_read_off_the_ranges():
    F = [[0, 1, 5], [2, 3, 4], [7, 7, 7], [-4, -1, 0]]
    eta = edge_direction(problem_of(F, [0, 4, 7, 0]))
    np.testing.assert_array_equal(eta, [0.2, -0.5, 0.0, -0.25])
    assert edge_direction(problem_of(F, [1, 3, 7, -1])) is None
    assert edge_direction(problem_of(F, [1, 3, 7.5, -1])) is None  # a constant has no ends
    eta = edge_direction(problem_of(F, [4.99999, np.nextafter(4.0, 0.0), 7, -1]))
    np.testing.assert_array_equal(eta, [0.0, -0.5, 0.0, 0.0])


def test_two_directions_are_joined_to_one(rng):
    # It is positive where the outer one is, and on its face a multiple of the inner one.
    for _ in range(50):
        F = rng.integers(-3, 4, size=(3, 8)).astype(float)
        b, outer, inner = F[:, 0], rng.normal(size=3), rng.normal(size=3) * 10.0
        F[2, 3:] = (outer[:2] @ (b[:2, None] - F[:2, 3:]) + rng.random(5)) / outer[2] + b[2]
        F[:, 1:3] = b[:, None] + rng.normal() * np.cross(outer, rng.normal(size=3))[:, None]
        on_face = np.arange(8) < 3
        both = joined(problem_of(F, b), outer, on_face, inner)
        above = F - b[:, None]
        assert (both @ above[:, 3:] > 0.0).all()
        wanted, found = inner @ above[:, :3], both @ above[:, :3]
        scale = np.abs(inner).max() * np.abs(above).max()
        np.testing.assert_allclose(
            found * wanted.max(), wanted * found.max(), rtol=0, atol=1e-12 * scale**2
        )
        assert (found * wanted >= -1e-12 * scale**2).all()
        assert np.abs(both).max() == 1.0


# ---------------------------------------------------------------- campaigns of known class


def run_campaign(seed, count):
    """Return how many problems were left undecided; fail on a wrong claim."""
    rng = np.random.default_rng(seed)
    undecided = 0
    for k in range(count):
        kind = ("interior", "boundary", "infeasible")[k % 3]
        F, b, C, support = draw_problem(rng, kind)
        found = c_maximize(F, b, log_base=C, throw=False)
        if found.status in (Status.UNDECIDED, Status.MAX_STEPS):
            undecided += 1
        elif kind == "interior":
            assert found.status is Status.CONVERGED
            assert found.support.all()
            np.testing.assert_allclose(F @ found.probabilities, b, atol=1e-10 * np.abs(F).max())
        elif kind == "boundary":
            assert_on_face(found, F, b, C, support)
        else:
            assert found.status is Status.INFEASIBLE
            assert min(exact_values(F, b, found.certificate)) > 0
    return undecided


@pytest.mark.parametrize("seed", range(3))
def test_campaign(seed):
    assert run_campaign(seed, 300) == 0


@pytest.mark.slow
@pytest.mark.campaign
def test_large_campaign():
    count = 9000
    assert run_campaign(100, count) <= 0.005 * count


def test_faces_of_rounded_targets():
    # Continuous features and weights: the targets lie on the face only to rounding.
    rng = np.random.default_rng(7)
    for _ in range(60):
        num_features, num_outcomes = int(rng.integers(2, 9)), int(rng.integers(10, 60))
        support = np.arange(num_outcomes) < rng.integers(2, num_outcomes - 1)
        F = rng.normal(size=(num_features, num_outcomes))
        F[0] = np.where(support, 0.3, 0.3 + rng.uniform(0.1, 1.0, num_outcomes))
        F = np.linalg.qr(rng.normal(size=(num_features, num_features)))[0] @ F
        p = np.where(support, rng.dirichlet(np.ones(num_outcomes)), 0.0)
        b, C = F @ (p / p.sum()), rng.normal(size=num_outcomes)
        assert_on_face(c_maximize(F, b, log_base=C), F, b, C, support)
