"""Conditional maximum entropy beside scikit-learn's LogisticRegression.

The reference is a solve in extended precision, to where its gradient is 1e-17; the error is that of
the worst log-probability of a sample.
"""

import functools
import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from infogeo import maxent


def drawn(num_samples, num_features, num_classes):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(num_samples, num_features))
    W = rng.normal(size=(num_classes, num_features)) / np.sqrt(num_features)
    return X, (X @ W.T + rng.gumbel(size=(num_samples, num_classes))).argmax(axis=1)


def digits():
    X, y = load_digits(return_X_y=True)
    return X / 16.0, y


PROBLEMS = {
    "20,000 samples, 20 features, 5 classes": (lambda: drawn(20_000, 20, 5), 1e-4),
    "digits: 1,797 samples, 64 features, 10 classes": (digits, 1e-4),
}


def by_infogeo(X, y, penalty):
    found = maxent.conditional(X, y, penalty=penalty)
    return found.coef, found.intercept


def by_logistic_regression(X, y, penalty, **options):
    model = LogisticRegression(C=1.0 / (len(y) * penalty), **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    return model.coef_, model.intercept_


SOLVERS = {
    "infogeo": by_infogeo,
    "scikit-learn newton-cholesky": functools.partial(
        by_logistic_regression, solver="newton-cholesky"
    ),
    "scikit-learn newton-cholesky, tol 1e-10": functools.partial(
        by_logistic_regression, solver="newton-cholesky", tol=1e-10
    ),
    "scikit-learn lbfgs": by_logistic_regression,
    "scikit-learn lbfgs, tol 1e-10": functools.partial(
        by_logistic_regression, tol=1e-10, max_iter=10_000
    ),
}


def log_probabilities(X, coef, intercept):
    z = X.astype(np.longdouble) @ coef.T.astype(np.longdouble) + intercept
    z -= z.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


@functools.lru_cache(maxsize=1)
def problem(name):
    """Return features, labels, penalty and the reference of the log-probabilities."""
    make, penalty = PROBLEMS[name]
    X, y = make()
    return X, y, penalty, reference(X, y, penalty)


def reference(X, y, penalty):
    """Solve by chord Newton steps whose gradients are sums in extended precision."""
    columns = np.hstack([X, np.ones((len(X), 1))]).astype(np.longdouble)
    start = by_logistic_regression(X, y, penalty, solver="newton-cg", tol=1e-8, max_iter=1000)
    theta = np.hstack([start[0], start[1][:, None]]).T.astype(np.longdouble)
    targets, ridge = np.eye(theta.shape[1])[y], np.full((len(theta), 1), penalty)
    ridge[-1] = 0.0
    r, c = theta.shape
    p = np.exp(log_probabilities(X, theta[:-1].T, theta[-1])).astype(float)
    rows = columns.astype(float)
    hessian = np.zeros((c, r, c, r))
    for j in range(c):
        for k in range(c):
            weights = p[:, j] * ((j == k) - p[:, k]) / len(X)
            hessian[j, :, k, :] = (rows * weights[:, None]).T @ rows
        hessian[j, :, j, :] += np.diag(ridge[:, 0])
    inverse = np.linalg.pinv(hessian.reshape(c * r, c * r), rcond=1e-13, hermitian=True)
    for _ in range(20):
        p = np.exp(log_probabilities(X, theta[:-1].T, theta[-1]))
        gradient = columns.T @ (p - targets) / len(X) + ridge * theta
        if np.abs(gradient).max() < 1e-17:
            break
        step = inverse @ gradient.T.astype(float).ravel()
        theta -= step.reshape(c, r).T
    return log_probabilities(X, theta[:-1].T, theta[-1])


@pytest.mark.parametrize("who", SOLVERS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_conditional(benchmark, name, who):
    X, y, penalty, expected = problem(name)
    benchmark.group = name
    coef, intercept = benchmark.pedantic(
        SOLVERS[who], args=(X, y, penalty), rounds=3, warmup_rounds=1
    )
    error = np.abs(log_probabilities(X, coef, intercept) - expected).max()
    benchmark.extra_info["error"] = float(error)
