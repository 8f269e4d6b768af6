"""The scikit-learn front of `infogeo.maxent.conditional`; exported by `infogeo.interop.sklearn`."""

import warnings
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from infogeo._array import REAL, along, log_softmax, matched
from infogeo._docs import finish
from infogeo._names import is_nameless, matched_rows
from infogeo.maxent import ConditionalProjection, conditional

# The coefficients of separable data go so far towards their limit that what it excludes gets at
# most exp(-40), which is rounding beside 1.
_FAR = 40.0
_PRICES = ("penalty", "l1_penalty")
_COLUMNS = along(REAL, "features")


class ConditionalMaxEnt(ClassifierMixin, BaseEstimator):
    r"""Classify by the conditional distribution of maximum entropy with the data's moments.

    .. math:: p(y \mid x) \propto \exp(\theta_y' x + \theta_{0y})

    This is multinomial logistic regression, solved until the error of every training
    log-probability is certified, and with separable data told apart from a solution.

    Parameters
    ----------
    penalty : float, array, shape (n_features,), or None
        rho, the weight of the squared theta in the mean cross-entropy + rho / 2 sum theta^2: each
        feature-label moment may miss that of the data by rho theta. None: moments are met exactly.
    l1_penalty : float, array, shape (n_features,), or None
        lambda, the weight of the absolute values of theta: a moment may miss that of the data by
        lambda, and theta is exactly 0 where it need not miss it by more.
    fit_intercept : bool
        Whether class frequencies are among the moments.
    tol : float
        Stop when the certified error of every training log-probability is below this, or when
        rounding allows no better.
    max_steps : int

    Attributes
    ----------
    classes_ : array, shape (num_classes,)
        The labels seen.
    coef_ : array, shape (num_classes, n_features), or (1, n_features) for two classes
        theta_y, of sum 0; for two classes the difference of the second and the first.
    intercept_ : array, shape (num_classes,) or (1,)
        Likewise for the constant feature.
    status_ : Status
        CONVERGED, or BOUNDARY for separable data.
    error_bound_ : float
        Certified: no training log-probability is off by more than this.
    is_certain_ : bool array of the shape of ``coef_``, or None
        With an `l1_penalty`, where a coefficient is proved to be 0, or to have the sign it has.
    separation_ : Separation or None
        For separable data, the direction that proves it. Classes are numbered as in ``classes_``.
    n_steps_ : int
        Newton steps taken.
    n_features_in_ : int
        The number of features.
    feature_names_in_ : array of str
        The names of the features, if the training data had any.

    Notes
    -----
    scikit-learn's ``LogisticRegression`` has the same solution for ``C = 1 / (n penalty)``, n the
    sum of the weights, and with two classes, where it counts one theta instead of two, for
    ``C = 2 / (n penalty)``. Of absolute values it is ``C = 1 / (n l1_penalty)`` in both cases.

    Separable data without a penalty have no finite solution; a ConvergenceWarning says which
    classes and samples are told apart. The coefficients are then a point so far along the direction
    of `separation_` that the training probabilities are those of the limit to rounding.

    Examples
    --------
    >>> from infogeo.interop.sklearn import ConditionalMaxEnt
    >>> model = ConditionalMaxEnt().fit([[0.0], [1.0], [2.0], [3.0]], ["no", "yes", "no", "yes"])
    >>> model.predict_proba([[0.0], [3.0]]).round(4)
    array([[0.7961, 0.2039],
           [0.2039, 0.7961]])
    >>> bool(model.error_bound_ < 1e-12)
    True
    """

    def __init__(
        self,
        *,
        penalty: float | None = None,
        l1_penalty: Any = None,
        fit_intercept: bool = True,
        tol: float = 1e-10,
        max_steps: int = 100,
    ) -> None:
        self.penalty = penalty
        self.l1_penalty = l1_penalty
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.max_steps = max_steps

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Find the distribution.

        Parameters
        ----------
        X : array-like, shape (n, n_features)
            Features, one row for each sample.
        y : array-like, shape (n,)
            Labels.
        sample_weight : array-like, shape (n,), or None
            Not negative; None: 1 for each sample.

        Returns
        -------
        ConditionalMaxEnt
            The fitted classifier.
        """
        y = matched_rows("X", X, "y", y)
        sample_weight = matched_rows("X", X, "sample_weight", sample_weight)
        prices = {name: _by_column(X, name, getattr(self, name)) for name in _PRICES}
        X, y = validate_data(self, X, y, dtype=np.float64)
        check_classification_targets(y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(
                f"y must have at least 2 classes to tell apart: it has 1 class, {self.classes_[0]}."
            )
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        found = conditional(
            X,
            labels,
            **prices,
            sample_weight=sample_weight,
            fit_intercept=self.fit_intercept,
            tol=self.tol,
            max_steps=self.max_steps,
        )
        coef, intercept = found.coef, found.intercept
        if found.separation is not None:
            coef, intercept = _towards_limit(found, X, labels, sample_weight)
            has_penalty = self.penalty is not None or self.l1_penalty is not None
            advice = "" if has_penalty else " A penalty makes the solution finite."
            warnings.warn(
                f"The data are separable, and no finite coefficients are optimal: "
                f"{found.separation}. (Classes are numbered as in classes_.) The parameters are "
                f"near the limit.{advice}",
                ConvergenceWarning,
                stacklevel=2,
            )
        if len(self.classes_) == 2:
            coef, intercept = coef[1:] - coef[:1], intercept[1:] - intercept[:1]
        self.coef_, self.intercept_ = coef, intercept
        self.is_certain_ = None if found.is_certain is None else found.is_certain[-len(coef) :]
        self.status_, self.error_bound_ = found.status, found.error_bound
        self.separation_, self.n_steps_ = found.separation, found.steps
        return self

    def decision_function(self, X: Any) -> np.ndarray:
        """Return the logits.

        Parameters
        ----------
        X : array-like, shape (n, n_features)

        Returns
        -------
        array, shape (n, num_classes), or (n,) for two classes
            Logits of sum 0; for two classes the log-odds of the second.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        scores = X @ self.coef_.T + self.intercept_
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Return the logarithms of the probabilities of the classes.

        Parameters
        ----------
        X : array-like, shape (n, n_features)

        Returns
        -------
        array, shape (n, num_classes)
            In the order of ``classes_``, in nats.
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            scores = np.stack([np.zeros_like(scores), scores], axis=1)
        return log_softmax(scores, np)

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like, shape (n, n_features)

        Returns
        -------
        array, shape (n, num_classes)
            In the order of ``classes_``.
        """
        p = np.exp(self.predict_log_proba(X))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class.

        Parameters
        ----------
        X : array-like, shape (n, n_features)

        Returns
        -------
        array, shape (n,)
            Labels.
        """
        winners = self.predict_log_proba(X).argmax(axis=1)
        return self.classes_[winners]


def _by_column(X: Any, name: str, price: Any) -> Any:
    """Return what there is one of for each column in the order of the columns."""
    if price is None or is_nameless(price):
        return price
    (*_, price) = matched(X=(_COLUMNS, X), **{name: (_COLUMNS, price)})
    return price


def _towards_limit(
    found: ConditionalProjection,
    X: np.ndarray,
    labels: np.ndarray,
    sample_weight: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return parameters whose training probabilities are those of the limit to rounding."""
    direction: Any = found.separation
    excluded = ~found.support
    if sample_weight is not None:
        excluded &= (sample_weight > 0.0)[:, None]
    gaps = []
    for coef, intercept in (
        (found.coef, found.intercept),
        (direction.coef, direction.intercept),
    ):
        scores = X @ coef.T + intercept
        gaps.append((np.take_along_axis(scores, labels[:, None], axis=1) - scores)[excluded])
    distance = max(0.0, float(((_FAR - gaps[0]) / gaps[1]).max()))
    return (
        found.coef + distance * direction.coef,
        found.intercept + distance * direction.intercept,
    )


finish(
    globals(),
    {
        "X : array-like, shape (n, n_features)": "Features.",
    },
)
