"""The scikit-learn bridge: its own checks, and what the estimators promise in this geometry."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

from infogeo import logits, simplex
from infogeo.interop.sklearn import (
    FisherRaoEmbedding,
    FisherRaoKMeans,
    FisherRaoKNeighborsClassifier,
    _Lloyd,
)

ESTIMATORS = [FisherRaoEmbedding(), FisherRaoKNeighborsClassifier(), FisherRaoKMeans()]
# The tables of scikit-learn's checks hold no probabilities; as logits they are what they are.
OF_LOGITS = [clone(estimator).set_params(from_logits=True) for estimator in ESTIMATORS]


# Some of the checks have fewer different distributions than the 8 clusters of the default.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(OF_LOGITS)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


@pytest.fixture
def predictions(rng):
    """Return three groups of predictions, certain of one class or of none, and their groups."""
    centers = np.array([[20.0, 1.0, 1.0, 1.0], [1.0, 1.0, 20.0, 1.0], [8.0, 8.0, 8.0, 8.0]])
    groups = rng.integers(0, 3, 150)
    return np.array([rng.dirichlet(centers[g]) for g in groups]), groups


def all_distances(p, q):
    return simplex.fisher_rao_distance(p[:, None], q[None])


# ---------------------------------------------------------------- what the rows are


def test_rows_are_read_as_they_are_said_to_be(predictions):
    p, _ = predictions
    assert not FisherRaoEmbedding().fit(p).from_logits_
    assert FisherRaoEmbedding(from_logits=True).fit(p).from_logits_
    by_probabilities = FisherRaoEmbedding().fit_transform(p)
    np.testing.assert_allclose(
        FisherRaoEmbedding(from_logits=True).fit_transform(np.log(p) + 7.0), by_probabilities
    )
    np.testing.assert_allclose(by_probabilities, 2.0 * np.sqrt(p), rtol=1e-15)


def test_masked_and_saturated_logits():
    z = [[800.0, -800.0, -np.inf], [0.0, 1.0, 2.0]]
    embedding = FisherRaoEmbedding(from_logits=True).fit(z)
    u = embedding.transform(z)
    np.testing.assert_array_equal(u[0], [2.0, 0.0, 0.0])
    back = embedding.inverse_transform(u)
    np.testing.assert_array_equal(back[0], [0.0, -np.inf, -np.inf])
    np.testing.assert_allclose(back[1], [-1.0, 0.0, 1.0], atol=1e-15)


def counts(p):
    return np.round(100.0 * p)


def percentages(p):
    return 100.0 * p


def rounded_coarsely(p):
    return np.round(p, 1) + 0.01


def logarithms(p):
    return np.log(p)


def with_one_negative_cell(p):
    damaged = p.copy()
    damaged[17, 2] *= -1.0
    return damaged


def with_one_large_cell(p):
    damaged = p.copy()
    damaged[17, 2] += 1.0
    return damaged


TABLES = (
    counts, percentages, rounded_coarsely, logarithms, with_one_negative_cell, with_one_large_cell
)  # fmt: skip


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_tables_of_other_things_are_refused_and_never_guessed(predictions, estimator, table):
    """By fit and by every later method; the way out is in the message, and works."""
    p, groups = predictions
    X = table(p)
    sums = abs(X.sum(axis=1) - 1.0)
    row = (
        17 if "cell" in table.__name__ else int((X.min(axis=1) if X.min() < 0 else -sums).argmin())
    )
    message = rf"X must hold probabilities .*\(row {row}\).*set from_logits=True if they are logits"
    with pytest.raises(ValueError, match=message):
        clone(estimator).fit(X, groups)
    fitted = clone(estimator).fit(p, groups)
    for method in ("transform", "predict", "predict_proba", "kneighbors"):
        if hasattr(fitted, method):
            with pytest.raises(ValueError, match=message):
                getattr(fitted, method)(X)
    assert clone(estimator).set_params(from_logits=True).fit(X, groups).from_logits_
    if X.min() >= 0.0:
        clone(estimator).fit(X / X.sum(axis=1, keepdims=True), groups)


def half_in(library, p):
    if library == "numpy":
        return p.astype(np.float16)
    if library == "pandas":
        pandas = pytest.importorskip("pandas")
        return pandas.DataFrame(p.astype(np.float16), columns=list("abcd"))
    return torch.tensor(p, dtype=getattr(torch, library))


@pytest.mark.parametrize("library", ["numpy", "pandas", "float16", "bfloat16"])
@pytest.mark.parametrize("from_logits", [False, True])
def test_half_precision_has_its_tolerance(predictions, library, from_logits):
    """Sums of rounded probabilities are off by 1e-3 or 1e-2: that is rounding, not an error."""
    p, groups = predictions
    X = half_in(library, np.log(p) if from_logits else p)
    wide = np.asarray(X.float() if isinstance(X, torch.Tensor) else X, dtype=np.float64)
    wide = logits.to_simplex(wide) if from_logits else wide / wide.sum(axis=1, keepdims=True)
    embedding = FisherRaoEmbedding(from_logits=from_logits)
    u = embedding.fit_transform(X)
    assert u.dtype == np.float32
    np.testing.assert_allclose(u, 2.0 * np.sqrt(wide), rtol=2e-6)
    kmeans = FisherRaoKMeans(3, random_state=0, from_logits=from_logits).fit(X)
    assert kmeans.cluster_centers_.dtype == np.float32
    assert adjusted_rand_score(kmeans.predict(X), groups) > 0.95
    classifier = FisherRaoKNeighborsClassifier(from_logits=from_logits).fit(X, groups)
    assert (classifier.predict(X) == groups).mean() > 0.95
    if not from_logits:
        with pytest.raises(ValueError, match=r"X must hold probabilities .*\(row 3\)"):
            FisherRaoEmbedding().fit(half_in(library, p + 0.02 * (np.arange(150) == 3)[:, None]))


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        ({}, [[0.0, np.nan], [0.5, 0.5]], r"NaN or infinite entries \(row 0\)"),
        ({"from_logits": True}, [[0.0, np.nan], [0.5, 0.5]], r"NaN or \+inf entries \(row 0\)"),
        ({"from_logits": True}, [[0.0, np.inf], [0.5, 0.5]], r"NaN or \+inf entries \(row 0\)"),
        ({"from_logits": True}, [[-np.inf, -np.inf], [0.5, 0.5]], r"all .* masked \(row 0\)"),
        ({}, [[1.0], [1.0]], "1 feature"),
        (
            {},
            [[3.0, 1.0], [0.5, 0.5]],
            r"\(row 0\)\. Divide by X\.sum\(-1, keepdims=True\) if these are counts\. "
            r"\(FisherRaoEmbedding reads rows as probabilities; set from_logits=True if they are "
            r"logits\.\)",
        ),
        ({}, [[-1.0, 2.0], [0.5, 0.5]], "smallest entry -1"),
        ({"from_logits": "yes"}, [[0.5, 0.5]], "from_logits must be True or False"),
        ({"from_logits": None}, [[0.5, 0.5]], "from_logits must be True or False"),
    ],
)
def test_rows_that_are_refused(options, data, message):
    with pytest.raises(ValueError, match=message):
        FisherRaoEmbedding(**options).fit(data)


# ---------------------------------------------------------------- embedding


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_embedding_and_back(predictions, dtype):
    p = predictions[0].astype(dtype)
    p[0] = [1.0, 0.0, 0.0, 0.0]
    embedding = FisherRaoEmbedding()
    u = embedding.fit_transform(p)
    assert u.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(u, axis=1), 2.0, rtol=1e-6)
    back = embedding.inverse_transform(u)
    assert back.dtype == dtype
    np.testing.assert_allclose(back, p, rtol=8 * np.finfo(dtype).eps, atol=1e-7)


def test_straight_distances_are_chords_of_fisher_rao_distances(predictions):
    u = FisherRaoEmbedding().fit_transform(predictions[0])
    chords = np.linalg.norm(u[:, None] - u[None], axis=-1)
    d = all_distances(predictions[0], predictions[0])
    np.testing.assert_allclose(chords, 4.0 * np.sin(d / 4.0), atol=1e-14)


def test_the_inverse_is_the_nearest_point_of_the_orthant(rng):
    u = rng.normal(size=(40, 3)) * rng.uniform(0.1, 5.0, (40, 1))
    p = FisherRaoEmbedding().fit([[0.5, 0.25, 0.25]]).inverse_transform(u)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    distance = np.linalg.norm(2.0 * np.sqrt(p) - u, axis=1)
    fine = 2.0 * np.sqrt(np.concatenate([rng.dirichlet(np.full(3, 0.3), 20_000), np.eye(3)]))
    nearest = np.linalg.norm(fine[:, None] - u[None], axis=-1).min(axis=0)
    assert (u <= 0.0).all(axis=1).any()
    assert (distance <= nearest + 1e-12).all()
    np.testing.assert_allclose(distance, nearest, atol=0.02)


def test_names_and_containers(predictions):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(predictions[0], columns=["cat", "dog", "emu", "fox"])
    embedding = FisherRaoEmbedding().set_output(transform="pandas")
    u = embedding.fit_transform(frame)
    assert list(u.columns) == list(frame.columns) == list(embedding.get_feature_names_out())
    assert list(u.index) == list(frame.index)
    kmeans = FisherRaoKMeans(3, random_state=0).set_output(transform="pandas").fit(frame)
    assert list(kmeans.transform(frame).columns) == [f"fisherraokmeans{k}" for k in range(3)]
    with pytest.raises(ValueError, match="feature names should match"):
        embedding.transform(frame[["dog", "cat", "emu", "fox"]])


def test_pipelines_of_scikit_learn_work_on_the_sphere(predictions):
    p, groups = predictions
    kmeans = make_pipeline(FisherRaoEmbedding(), KMeans(3, n_init=3, random_state=0)).fit(p)
    assert adjusted_rand_score(kmeans[-1].labels_, groups) > 0.9
    centers = kmeans[0].inverse_transform(kmeans[-1].cluster_centers_)
    np.testing.assert_allclose(centers.sum(axis=1), 1.0)
    pca = make_pipeline(FisherRaoEmbedding(), PCA(2)).fit(p)
    assert pca[-1].explained_variance_ratio_.sum() > 0.8
    flat = pca.inverse_transform(pca.transform(p))
    assert simplex.fisher_rao_distance(p, flat).mean() < 0.25
    full = make_pipeline(FisherRaoEmbedding(), PCA(4)).fit(p)
    np.testing.assert_allclose(full.inverse_transform(full.transform(p)), p, atol=1e-14)


def test_inverse_of_another_width(predictions):
    with pytest.raises(ValueError, match=r"for each of the 4 outcomes .* got shape \(1, 2\)"):
        FisherRaoEmbedding().fit(predictions[0]).inverse_transform([[1.0, 1.0]])
    with pytest.raises(NotFittedError):
        FisherRaoEmbedding().inverse_transform([[1.0, 1.0]])


# ---------------------------------------------------------------- nearest neighbours


@pytest.mark.parametrize("as_logits", [False, True])
def test_neighbours_are_those_of_all_distances(predictions, rng, as_logits):
    p, groups = predictions
    q = rng.dirichlet(np.ones(4), 30)
    train, query = (np.log(p), np.log(q)) if as_logits else (p, q)
    classifier = FisherRaoKNeighborsClassifier(7, from_logits=as_logits).fit(train, groups)
    distances, indices = classifier.kneighbors(query)
    every = all_distances(q, p)
    np.testing.assert_array_equal(indices, np.argsort(every, axis=1)[:, :7])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :7], rtol=1e-13)
    np.testing.assert_array_equal(
        classifier.kneighbors(query, 2, return_distance=False), indices[:, :2]
    )
    among = classifier.kneighbors(n_neighbors=3)[1]
    every = all_distances(p, p)
    np.fill_diagonal(every, np.inf)
    np.testing.assert_array_equal(among, np.argsort(every, axis=1)[:, :3])


def test_neighbours_that_differ_in_the_tenth_digit():
    p = np.array([[0.5, 0.5], [0.5 + 3e-11, 0.5 - 3e-11], [0.5 + 1e-11, 0.5 - 1e-11], [0.4, 0.6]])
    classifier = FisherRaoKNeighborsClassifier(2).fit(p, [0, 1, 2, 3])
    distances, indices = classifier.kneighbors(p[:1], 3)
    np.testing.assert_array_equal(indices, [[0, 2, 1]])
    np.testing.assert_allclose(distances, [[0.0, 2e-11, 6e-11]], rtol=1e-5)


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d)])
def test_votes_agree_with_scikit_learn_on_the_same_distances(predictions, rng, weights):
    p, groups = predictions
    names = np.array(["cat", "dog", "none"])[groups]
    q = np.concatenate([rng.dirichlet(np.ones(4), 40), p[:3]])
    ours = FisherRaoKNeighborsClassifier(6, weights=weights).fit(p, names)
    theirs = KNeighborsClassifier(6, weights=weights, metric="precomputed")
    theirs.fit(all_distances(p, p), names)
    to_train = all_distances(q, p)
    np.testing.assert_array_equal(ours.classes_, theirs.classes_)
    np.testing.assert_array_equal(ours.predict(q), theirs.predict(to_train))
    np.testing.assert_allclose(ours.predict_proba(q), theirs.predict_proba(to_train), atol=1e-9)


def test_the_classifier_in_a_search(predictions):
    search = GridSearchCV(FisherRaoKNeighborsClassifier(), {"n_neighbors": [1, 9]}, cv=3)
    search.fit(*predictions)
    assert search.best_score_ > 0.9
    assert cross_val_score(search.best_estimator_, *predictions, cv=3).min() > 0.85


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be a positive integer: got 0"),
        ({"n_neighbors": 2.0}, "n_neighbors must be a positive integer: got 2.0"),
        ({"weights": "near"}, "weights must be .* got 'near'"),
        ({"n_neighbors": 5}, "training rows to choose from, 2: got 5"),
        ({"n_neighbors": 1, "weights": np.zeros_like}, "neighbours of row 0 have weight 0"),
    ],
)
def test_bad_options_of_the_classifier(options, message):
    p = [[0.5, 0.5], [0.2, 0.8]]
    with pytest.raises(ValueError, match=message):
        FisherRaoKNeighborsClassifier(**options).fit(p, [0, 1]).predict(p)


# ---------------------------------------------------------------- clusters


@pytest.mark.parametrize("as_logits", [False, True])
def test_separated_clusters_are_found(predictions, as_logits):
    p, groups = predictions
    X = np.log(p) if as_logits else p
    kmeans = FisherRaoKMeans(3, random_state=0, from_logits=as_logits).fit(X)
    assert adjusted_rand_score(kmeans.labels_, groups) > 0.95
    np.testing.assert_array_equal(kmeans.predict(X), kmeans.labels_)
    np.testing.assert_array_equal(clone(kmeans).fit_predict(X), kmeans.labels_)
    centers = kmeans.cluster_centers_
    centers = logits.to_simplex(centers) if as_logits else centers
    every = all_distances(p, centers)
    np.testing.assert_allclose(kmeans.transform(X), every, rtol=1e-12)
    np.testing.assert_array_equal(kmeans.labels_, every.argmin(axis=1))
    np.testing.assert_allclose(kmeans.inertia_, (every.min(axis=1) ** 2).sum(), rtol=1e-12)
    np.testing.assert_array_equal(kmeans.predict(kmeans.cluster_centers_), np.arange(3))


def test_the_centres_are_frechet_means(predictions):
    p, _ = predictions
    kmeans = FisherRaoKMeans(3, random_state=0, tol=0.0).fit(p)
    for k, center in enumerate(kmeans.cluster_centers_):
        logs = simplex.log_map(center, p[kmeans.labels_ == k])
        assert simplex.norm(center, logs.mean(axis=0), check=False) < 2e-12


def test_the_inertia_beats_that_of_chords(rng):
    p = rng.dirichlet(np.full(5, 0.2), 300)
    ours = FisherRaoKMeans(6, n_init=8, random_state=0, tol=0.0).fit(p)
    theirs = KMeans(6, n_init=8, random_state=0).fit(2.0 * np.sqrt(p))
    centers = FisherRaoEmbedding().fit(p).inverse_transform(theirs.cluster_centers_)
    assert ours.inertia_ < 1.001 * (all_distances(p, centers).min(axis=1) ** 2).sum()


def test_neither_order_nor_repetition_of_rows_matters(rng):
    p = rng.dirichlet(np.full(4, 0.3), 60)
    weights = rng.integers(0, 4, 60)
    weighted = FisherRaoKMeans(5, random_state=3).fit(p, sample_weight=weights)
    order = rng.permutation(weights.sum())
    repeated = FisherRaoKMeans(5, random_state=3).fit(np.repeat(p, weights, axis=0)[order])
    np.testing.assert_allclose(repeated.cluster_centers_, weighted.cluster_centers_, rtol=1e-12)
    np.testing.assert_allclose(repeated.inertia_, weighted.inertia_, rtol=1e-12)


def test_more_runs_are_never_worse(rng):
    p = rng.dirichlet(np.full(6, 0.3), 60)
    inertias = [FisherRaoKMeans(7, n_init=n, random_state=1).fit(p).inertia_ for n in (1, 3, 9)]
    assert inertias == sorted(inertias, reverse=True)


def test_clusters_of_nearly_equal_predictions():
    """Two groups 1e-9 apart: products of unit vectors are all 1 there."""
    shift = 1e-9 * np.array([0.0, 0.01, 0.02, 1.0, 1.01, 1.02])
    p = np.stack([0.5 + shift, 0.5 - shift], axis=1)
    labels = FisherRaoKMeans(2, random_state=0).fit(p).labels_
    assert labels[0] == labels[1] == labels[2] != labels[3] == labels[4] == labels[5]


def test_certain_and_masked_logits_cluster():
    z = np.array([[800.0, -800.0, 0.0], [700.0, 0.0, -np.inf], [0.0, 800.0, -np.inf]])
    kmeans = FisherRaoKMeans(2, random_state=0, from_logits=True).fit(z)
    assert kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2]
    assert np.isneginf(kmeans.cluster_centers_[kmeans.labels_[2], 2])
    np.testing.assert_allclose(kmeans.transform(z)[2].max(), np.pi)


def test_single_precision_stays(predictions):
    p = predictions[0].astype(np.float32)
    kmeans = FisherRaoKMeans(3, random_state=0).fit(p)
    assert kmeans.cluster_centers_.dtype == kmeans.transform(p).dtype == np.float32
    double = FisherRaoKMeans(3, random_state=0).fit(p.astype(np.float64))
    assert adjusted_rand_score(kmeans.labels_, double.labels_) == 1.0


def test_as_many_clusters_as_rows(rng):
    p = rng.dirichlet(np.ones(3), 6)
    kmeans = FisherRaoKMeans(6, random_state=0).fit(p)
    assert sorted(kmeans.labels_) == list(range(6))
    assert kmeans.inertia_ < 1e-28


def test_fewer_distributions_than_clusters_are_told():
    p = [[0.5, 0.5], [0.5, 0.5], [0.2, 0.8], [0.2, 0.8]]
    with pytest.warns(ConvergenceWarning, match="hold 2 different distributions, fewer than n_cl"):
        kmeans = FisherRaoKMeans(3, random_state=0).fit(p)
    assert kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2] == kmeans.labels_[3]
    assert kmeans.inertia_ < 1e-28


def test_an_empty_cluster_takes_the_row_that_costs_most(rng):
    p = np.concatenate([rng.dirichlet(np.full(3, 100.0), 9), [[1.0, 0.0, 0.0]]])
    u = 2.0 * np.sqrt(p)
    lloyd = _Lloyd(p, u, np.ones(10), simplex, num_clusters=3, max_iter=9, tol=0.0)
    centers = 2.0 * np.sqrt([[1 / 3, 1 / 3, 1 / 3], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    labels = lloyd.without_gaps(np.zeros(10, int), centers)
    assert labels[9] == 1
    costs = all_distances(p, np.full((1, 3), 1 / 3))[:9, 0]
    np.testing.assert_array_equal(np.flatnonzero(labels == 2), [costs.argmax()])
    assert np.count_nonzero(labels == 0) == 8


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"n_clusters": 0}, {}, "n_clusters must be a positive integer"),
        ({"n_init": 1.5}, {}, "n_init must be a positive integer"),
        ({"max_iter": True}, {}, "max_iter must be a positive integer"),
        ({"tol": -1.0}, {}, "tol must be a number that is not negative"),
        ({"n_clusters": 3}, {}, "n_samples=2 must not be less than n_clusters=3"),
        ({}, {"sample_weight": [0.0, 0.0]}, "positive sum|at least one non-zero number"),
        ({}, {"sample_weight": [1.0, -1.0]}, "Negative values in data passed to `sample_weight`"),
    ],
)
def test_bad_options_of_the_clusters(options, arguments, message):
    with pytest.raises(ValueError, match=message):
        FisherRaoKMeans(**{"n_clusters": 2, **options}).fit([[0.5, 0.5], [0.2, 0.8]], **arguments)


# ---------------------------------------------------------------- all of them


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_fitted_estimators_survive_pickling(predictions, estimator):
    p, groups = predictions
    fitted = clone(estimator).fit(p, groups)
    again = pickle.loads(pickle.dumps(fitted))
    for method in ("transform", "predict", "predict_proba"):
        if hasattr(fitted, method):
            np.testing.assert_array_equal(getattr(again, method)(p), getattr(fitted, method)(p))
    assert again.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        getattr(clone(fitted), "transform" if hasattr(fitted, "transform") else "predict")(p)


def test_a_missing_scikit_learn_is_named(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'sklearn':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", "import infogeo.interop.sklearn"],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.stderr.splitlines()[-1] == (
        "ModuleNotFoundError: infogeo.interop.sklearn needs scikit-learn: "
        "pip install 'infogeo[sklearn]'"
    )
