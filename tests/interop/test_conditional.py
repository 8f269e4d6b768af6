"""ConditionalMaxEnt: scikit-learn's own checks, and its solutions beside LogisticRegression's."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from infogeo import Status
from infogeo.interop.sklearn import ConditionalMaxEnt


# Many of the data sets of the checks are separable.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([ConditionalMaxEnt(), ConditionalMaxEnt(penalty=0.01, l1_penalty=0.001)])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def standardised(load, num_classes=None):
    X, y = load(return_X_y=True)
    if num_classes:
        X, y = X[y < num_classes], y[y < num_classes]
    return StandardScaler().fit_transform(X), y


@pytest.mark.parametrize(
    ("load", "num_classes", "penalty"),
    [(load_iris, None, 0.01), (load_wine, None, 1e-3), (load_wine, 2, 0.1), (load_digits, 3, 0.01)],
)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_solution_is_that_of_logistic_regression(load, num_classes, penalty, fit_intercept):
    X, y = standardised(load, num_classes)
    num_seen = len(np.unique(y))
    # Two classes: one theta, the difference of two, has half the sum of squares.
    strength = (2.0 if num_seen == 2 else 1.0) / (len(y) * penalty)
    theirs = LogisticRegression(
        C=strength, solver="newton-cg", tol=1e-13, max_iter=500, fit_intercept=fit_intercept
    ).fit(X, y)
    ours = ConditionalMaxEnt(penalty=penalty, fit_intercept=fit_intercept).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=1e-9)
    np.testing.assert_allclose(
        ours.predict_log_proba(X), theirs.predict_log_proba(X), rtol=0, atol=1e-8
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(
        ours.decision_function(X), theirs.decision_function(X), rtol=0, atol=1e-8
    )
    assert ours.coef_.shape == theirs.coef_.shape
    assert ours.intercept_.shape == np.atleast_1d(theirs.intercept_).shape or not fit_intercept


def test_separable_data_are_reported():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    model = ConditionalMaxEnt()
    with pytest.warns(ConvergenceWarning, match="class 0 is told from classes 1, 2 without error"):
        model.fit(X, names)
    assert model.status_ is Status.BOUNDARY
    p = model.predict_proba(X)
    assert p[y == 0, 0].min() > 1.0 - 1e-15
    assert p[y > 0, 0].max() < 1e-16
    # What is left is the model of the other two classes.
    rest = ConditionalMaxEnt().fit(X[y > 0], names[y > 0])
    assert rest.status_ is Status.CONVERGED
    np.testing.assert_allclose(p[y > 0, 1:], rest.predict_proba(X[y > 0]), atol=1e-8)
    assert np.isfinite(model.coef_).all()
    expected = (50 + 100 * rest.score(X[y > 0], names[y > 0])) / 150
    assert model.score(X, names) == pytest.approx(expected)


def test_generalisation_on_separable_digits():
    X, y = load_digits(return_X_y=True)
    with pytest.warns(ConvergenceWarning, match="complete separation: all 900 samples"):
        model = ConditionalMaxEnt().fit(X[:900], y[:900])
    assert model.score(X[:900], y[:900]) == 1.0
    assert model.score(X[900:], y[900:]) > 0.85


def test_in_a_pipeline_and_through_pickle():
    X, y = load_wine(return_X_y=True)
    pipeline = make_pipeline(StandardScaler(), ConditionalMaxEnt(penalty=0.01))
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.93
    fitted = clone(pipeline).fit(X, y)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(X), fitted.predict_proba(X))
    assert again[-1].get_params() == {
        "penalty": 0.01, "l1_penalty": None, "fit_intercept": True, "tol": 1e-10, "max_steps": 100,
    }  # fmt: skip
    with pytest.raises(NotFittedError):
        ConditionalMaxEnt().predict(X)


def test_a_class_of_weight_zero_is_no_matter_of_a_penalty():
    X, y = np.arange(6.0)[:, None], [0, 1, 0, 1, 2, 2]
    with pytest.warns(ConvergenceWarning, match=r"class 2 has no samples.* near the limit\.$"):
        model = ConditionalMaxEnt(penalty=0.1).fit(X, y, sample_weight=[1, 1, 1, 1, 0, 0])
    assert model.predict_proba(X)[:, 2].max() < 1e-15


@pytest.mark.parametrize(
    ("options", "labels", "message"),
    [
        ({"penalty": 0.0}, [0, 1, 0], "penalty must be a positive number or None: got 0.0"),
        ({"penalty": -1.0}, [0, 1, 0], "penalty must be a positive number"),
        ({"tol": 0.0}, [0, 1, 0], "tol must be a positive number"),
        ({"max_steps": 0}, [0, 1, 0], "max_steps must be a positive integer"),
        ({"fit_intercept": "no"}, [0, 1, 0], "fit_intercept must be True or False"),
        ({}, ["a", "a", "a"], "y must have at least 2 classes .* 1 class, a"),
        ({}, [0.1, 0.2, 0.7], "Unknown label type"),
    ],
)
def test_bad_options(options, labels, message):
    with pytest.raises(ValueError, match=message):
        ConditionalMaxEnt(**options).fit([[0.0], [1.0], [2.0]], labels)


def test_prices_of_features():
    pd = pytest.importorskip("pandas")
    X, y = load_breast_cancer(return_X_y=True, as_frame=True)
    X = (X - X.mean()) / X.std()
    price = pd.Series(0.02, index=X.columns[::-1])
    price["mean radius"] = 0.2
    model = ConditionalMaxEnt(l1_penalty=price, penalty=0.001).fit(X, y)
    assert model.coef_.shape == model.is_certain_.shape == (1, 30)
    assert model.is_certain_.all()
    assert model.coef_[0, 0] == 0.0
    assert 5 < (model.coef_ != 0.0).sum() < 25
    alone = ConditionalMaxEnt(l1_penalty=0.02, penalty=0.001).fit(X, y)
    again = ConditionalMaxEnt(l1_penalty=price.to_numpy()[::-1], penalty=0.001).fit(X, y)
    np.testing.assert_array_equal(again.coef_, model.coef_)
    assert np.abs(alone.coef_ - model.coef_).max() < 0.1
    assert ConditionalMaxEnt().fit(X[["mean radius"]], y).is_certain_ is None
