r"""scikit-learn estimators in Fisher-Rao geometry.

`FisherRaoEmbedding` puts predictions on the sphere of radius 2, where the straight-line distance
is 4 sin(d / 4), monotone in the Fisher-Rao distance d: in a pipeline behind it KMeans, PCA,
NearestNeighbors or UMAP work in that geometry. `FisherRaoKNeighborsClassifier` and
`FisherRaoKMeans` use the distance itself, in radians, and the Frechet mean. `ConditionalMaxEnt`
takes features of any kind and is the front of `infogeo.maxent.conditional`.

**What rows of predictions are.** Rows are probabilities: no negative entry, sum 1 up to rounding in
their precision. ``from_logits=True`` says that they are logits: any real numbers, a constant
added to a row changes nothing, -inf masks a class. Nothing is guessed: a table with counts, with
percentages or with one damaged cell would otherwise be read as logits in silence, and fall into
other clusters. Rows of another kind are refused, with the number of the worst one: counts have to
be divided by their sums first.

scikit-learn's own checks pass for estimators with ``from_logits=True``, which any table of numbers
suits; the others refuse the tables of these checks, which hold no probabilities.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from array_api_compat import is_array_api_obj, is_numpy_array

from infogeo._array import Array, bad_value, centred, gate, on_host, safe_log
from infogeo._docs import finish
from infogeo._names import matched_rows
from infogeo._system.extras import missing

try:
    from sklearn.base import (
        BaseEstimator,
        ClassifierMixin,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        OneToOneFeatureMixin,
        TransformerMixin,
    )
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils import check_array, check_random_state, column_or_1d
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.interop.sklearn") from None

from infogeo import logits, simplex
from infogeo.interop._conditional import ConditionalMaxEnt
from infogeo.mean import frechet_mean
from infogeo.neighbors import nearest

if TYPE_CHECKING:
    from sklearn.utils import Tags

__all__ = [
    "ConditionalMaxEnt",
    "FisherRaoEmbedding",
    "FisherRaoKMeans",
    "FisherRaoKNeighborsClassifier",
]


class FisherRaoEmbedding(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    r"""Predictions as points of the sphere of radius 2, where Fisher-Rao geometry is the sphere's.

    .. math:: u = 2 \sqrt p, \qquad |u - u'| = 4 \sin(d(p, p') / 4)

    Parameters
    ----------
    from_logits : bool

    Attributes
    ----------
    from_logits_ : bool
    n_features_in_ : int
    feature_names_in_ : array of str

    Examples
    --------
    >>> from infogeo.interop.sklearn import FisherRaoEmbedding
    >>> embedding = FisherRaoEmbedding().fit([[1.0, 0.0], [0.25, 0.75]])
    >>> embedding.transform([[0.25, 0.75]]).round(6)
    array([[1.      , 1.732051]])
    >>> embedding.inverse_transform([[2.0, -0.3]])
    array([[1., 0.]])
    """

    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = from_logits

    def fit(self, X: Any, y: None = None) -> Self:
        """Look at the outcomes; nothing else is learned.

        Parameters
        ----------
        X : array-like, shape (n, c)
            Probabilities or logits, one distribution per row.
        y : None
            Ignored.

        Returns
        -------
        FisherRaoEmbedding
            The fitted transformer.
        """
        _read_training_data(self, X)
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Return the points of the sphere.

        Parameters
        ----------
        X : array-like, shape (n, c)

        Returns
        -------
        array, shape (n, c)
            2 sqrt(p), in the positive orthant of the sphere of radius 2.
        """
        return _on_sphere(self, _read(self, X))

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Return the distributions nearest to points around the sphere.

        Centroids, reconstructions and averages do not lie on the sphere: they are moved to the
        nearest point of its positive orthant, which is their positive part, rescaled. A row
        without positive entries goes to the vertex of its largest entry.

        Parameters
        ----------
        X : array-like, shape (n, c)
            Points of the ambient space.

        Returns
        -------
        array, shape (n, c)
            Probabilities or logits (sum zero, -inf for probability 0), as in the training data.
        """
        check_is_fitted(self)
        u = check_array(X, dtype=[np.float64, np.float32], input_name="X", estimator=self)
        if u.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X must have one column for each of the {self.n_features_in_} outcomes that "
                f"{type(self).__name__} was fitted with: got shape {u.shape}."
            )
        vertices = np.eye(u.shape[1], dtype=u.dtype)[u.argmax(axis=1)]
        u = np.where((u > 0.0).any(axis=1, keepdims=True), np.maximum(u, 0.0), vertices)
        if self.from_logits_:
            return centred(2.0 * safe_log(u, np), np)
        p = (u / u.max(axis=1, keepdims=True)) ** 2
        return p / p.sum(axis=1, keepdims=True)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class FisherRaoKNeighborsClassifier(ClassifierMixin, BaseEstimator):
    """Classify by the training rows nearest in Fisher-Rao distance.

    Parameters
    ----------
    n_neighbors : int
        How many neighbours vote.
    weights : {"uniform", "distance"} or callable
        Votes count equally; in inverse proportion to the distance (neighbours at distance 0
        then decide alone); or as a function of the distances, (n, n_neighbors), says.
    from_logits : bool

    Attributes
    ----------
    classes_ : array, shape (num_classes,)
        The labels seen.
    from_logits_ : bool
    n_features_in_ : int
    feature_names_in_ : array of str

    Notes
    -----
    The search is `infogeo.neighbors.nearest`: exact, also for rows that differ by 1e-12, and from
    logits also in the tails. Neighbours at equal distances come in the order of the training rows,
    and classes with equal votes in the order of ``classes_``.

    Examples
    --------
    >>> from infogeo.interop.sklearn import FisherRaoKNeighborsClassifier
    >>> classifier = FisherRaoKNeighborsClassifier(n_neighbors=1)
    >>> classifier.fit([[0.9, 0.1], [0.2, 0.8]], ["left", "right"]).predict([[0.6, 0.4]])
    array(['left'], dtype='<U5')
    >>> classifier.kneighbors([[0.6, 0.4]])[0].round(6)
    array([[0.725937]])
    """

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        weights: str | Callable[[np.ndarray], np.ndarray] = "uniform",
        from_logits: bool = False,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.weights = weights
        self.from_logits = from_logits

    def fit(self, X: Any, y: Any) -> Self:
        """Remember the training rows and their labels.

        Parameters
        ----------
        X : array-like, shape (n, c)
            Probabilities or logits, one distribution per row.
        y : array-like, shape (n,)
            Labels.

        Returns
        -------
        FisherRaoKNeighborsClassifier
            The fitted classifier.
        """
        _require_count("n_neighbors", self.n_neighbors)
        if not (callable(self.weights) or self.weights in ("uniform", "distance")):
            raise bad_value(
                "weights", 'be "uniform", "distance" or a function', f"got {self.weights!r}"
            )
        X, y = _read_training_data(self, X, matched_rows("X", X, "y", y))
        check_classification_targets(y)
        self.classes_, self._labels = np.unique(column_or_1d(y, warn=True), return_inverse=True)
        self._rows = X
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the training rows nearest to each row.

        Parameters
        ----------
        X : array-like, shape (n, c), or None
            Probabilities or logits, as in the training data. None: the training rows, each
            without itself.
        n_neighbors : int or None
            How many; None: as many as vote.
        return_distance : bool
            Whether to return the distances too.

        Returns
        -------
        distances : array, shape (n, n_neighbors)
            Fisher-Rao distances in radians, ascending; only with `return_distance`.
        indices : array, shape (n, n_neighbors)
            Positions of the training rows.
        """
        check_is_fitted(self)
        n_neighbors = self.n_neighbors if n_neighbors is None else n_neighbors
        _require_count("n_neighbors", n_neighbors)
        among = (self._rows,) if X is None else (_read(self, X), self._rows)
        num_candidates = len(self._rows) - (X is None)
        if n_neighbors > num_candidates:
            raise bad_value(
                "n_neighbors",
                f"not exceed the number of training rows to choose from, {num_candidates}",
                f"got {n_neighbors}",
            )
        space = _space_of(self)
        found = nearest(*among, num_neighbors=n_neighbors, space=space, check=False)
        return (found.distances, found.indices) if return_distance else found.indices

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the share of the votes for each class.

        Parameters
        ----------
        X : array-like, shape (n, c)

        Returns
        -------
        array, shape (n, num_classes)
            Shares, in the order of ``classes_``.
        """
        distances, indices = self.kneighbors(X)
        votes = self._votes(distances)
        labels = self._labels[indices]
        shares = np.stack(
            [np.where(labels == k, votes, 0.0).sum(axis=1) for k in range(len(self.classes_))],
            axis=1,
        )
        totals = shares.sum(axis=1, keepdims=True)
        if not (totals > 0.0).all():
            raise bad_value(
                "weights",
                "leave every row a neighbour that counts",
                f"all neighbours of row {int(np.argmin(totals > 0.0))} have weight 0",
            )
        return shares / totals

    def predict(self, X: Any) -> np.ndarray:
        """Return the class with the most votes.

        Parameters
        ----------
        X : array-like, shape (n, c)

        Returns
        -------
        array, shape (n,)
            Labels.
        """
        winners = self.predict_proba(X).argmax(axis=1)
        return self.classes_[winners]

    def _votes(self, distances: np.ndarray) -> np.ndarray:
        if callable(self.weights):
            return np.asarray(self.weights(distances))
        if self.weights == "uniform":
            return np.ones_like(distances)
        is_zero = distances == 0.0
        inverse = 1.0 / np.where(is_zero, 1.0, distances)
        return np.where(is_zero.any(axis=1, keepdims=True), is_zero, inverse)

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        # scikit-learn's yardstick has two columns: as distributions over two outcomes they keep
        # one of its two dimensions, too few to tell its three classes apart.
        tags.classifier_tags.poor_score = True
        return tags


class FisherRaoKMeans(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, BaseEstimator
):
    """Cluster distributions by squared Fisher-Rao distance to the Frechet means of the clusters.

    Parameters
    ----------
    n_clusters : int
        How many clusters.
    n_init : int
        Run so often from different seeds, and keep the run with the least inertia.
    max_iter : int
        Give up a run after so many assignments.
    tol : float
        Stop a run when an assignment lowers the inertia by less than this share of it.
    from_logits : bool
    random_state : int, RandomState or None
        Source of the seeds. With an int, the result is the same in each run and does not depend
        on the order of the rows.

    Attributes
    ----------
    cluster_centers_ : array, shape (n_clusters, c)
        Frechet means of the clusters: probabilities, or logits with sum zero, as the rows are.
    labels_ : array, shape (n,)
        The cluster of each training row.
    inertia_ : float
        Weighted sum of squared distances to the centres, in squared radians.
    n_iter_ : int
        Assignments in the run that was kept.
    from_logits_ : bool
    n_features_in_ : int
    feature_names_in_ : array of str

    Notes
    -----
    Lloyd's algorithm with exact Frechet means (`infogeo.mean.frechet_mean`), from greedy
    k-means++ seeds drawn with probability proportional to the squared distance. A cluster that
    loses all its rows continues from the row that costs most. Equal rows are merged and their
    weights added, so that a row of weight 2 is the same as two rows.

    References
    ----------
    D. Arthur and S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.

    Examples
    --------
    >>> from infogeo.interop.sklearn import FisherRaoKMeans
    >>> p = [[0.9, 0.1], [1.0, 0.0], [0.2, 0.8], [0.1, 0.9]]
    >>> kmeans = FisherRaoKMeans(n_clusters=2, random_state=0).fit(p)
    >>> bool(kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2] == kmeans.labels_[3])
    True
    >>> round(kmeans.inertia_, 6)
    0.247316
    """

    def __init__(
        self,
        n_clusters: int = 8,
        *,
        n_init: int = 4,
        max_iter: int = 300,
        tol: float = 1e-4,
        from_logits: bool = False,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.from_logits = from_logits
        self.random_state = random_state

    def fit(self, X: Any, y: None = None, sample_weight: Any = None) -> Self:
        """Find the clusters.

        Parameters
        ----------
        X : array-like, shape (n, c)
            Probabilities or logits, one distribution per row.
        y : None
            Ignored.
        sample_weight : array-like, shape (n,), or None
            Not negative; None: 1 for each row.

        Returns
        -------
        FisherRaoKMeans
            The fitted estimator.
        """
        for name in ("n_clusters", "n_init", "max_iter"):
            _require_count(name, getattr(self, name))
        if not (isinstance(self.tol, int | float | np.number) and self.tol >= 0.0):
            raise bad_value("tol", "be a number that is not negative", f"got {self.tol!r}")
        sample_weight = matched_rows("X", X, "sample_weight", sample_weight)
        X = _read_training_data(self, X)
        weights = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        if len(X) < self.n_clusters:
            raise ValueError(
                f"n_samples={len(X)} must not be less than n_clusters={self.n_clusters}."
            )
        if not weights.sum() > 0.0:
            raise bad_value("sample_weight", "have a positive sum", "the sum is 0")
        distinct = _merged(X, _on_sphere(self, X), weights)
        if len(distinct[0]) < self.n_clusters:
            warnings.warn(
                f"The rows hold {len(distinct[0])} different distributions, fewer than "
                f"n_clusters={self.n_clusters}: some clusters are empty.",
                ConvergenceWarning,
                stacklevel=2,
            )
        lloyd = _Lloyd(*distinct, _space_of(self), self.n_clusters, self.max_iter, self.tol)
        rng = check_random_state(self.random_state)
        best = min((lloyd.run(rng) for _ in range(self.n_init)), key=lambda run: run[0])
        _, self.cluster_centers_, self.n_iter_ = best
        self._n_features_out = self.n_clusters
        self.labels_ = self._nearest_centers(X)
        to_centers = _space_of(self).fisher_rao_squared_distance(
            X, self.cluster_centers_[self.labels_], check=False
        )
        self.inertia_ = float(weights @ to_centers)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the cluster with the nearest centre.

        Parameters
        ----------
        X : array-like, shape (n, c)

        Returns
        -------
        array, shape (n,)
            Clusters, from 0.
        """
        return self._nearest_centers(_read(self, X))

    def transform(self, X: Any) -> np.ndarray:
        """Return the distances to the centres.

        Parameters
        ----------
        X : array-like, shape (n, c)

        Returns
        -------
        array, shape (n, n_clusters)
            Fisher-Rao distances in radians.
        """
        X, space = _read(self, X), _space_of(self)
        return np.stack(
            [space.fisher_rao_distance(X, z, check=False) for z in self.cluster_centers_], axis=1
        )

    def _nearest_centers(self, X: np.ndarray) -> np.ndarray:
        return _assign(_on_sphere(self, X), _on_sphere(self, self.cluster_centers_))

    def __sklearn_tags__(self) -> "Tags":
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


# ---------------------------------------------------------------- what the rows are


def _read_training_data(estimator: Any, *data: Any) -> Any:
    """Validate training data and keep how rows are read: ``from_logits_``."""
    if estimator.from_logits not in (True, False):
        raise bad_value("from_logits", "be True or False", f"got {estimator.from_logits!r}")
    estimator.from_logits_ = bool(estimator.from_logits)
    return _validated(estimator, *data, reset=True)


def _read(estimator: Any, X: Any) -> np.ndarray:
    """Validate rows of the kind that the estimator was fitted to."""
    check_is_fitted(estimator)
    return _validated(estimator, X, reset=False)


def _validated(estimator: Any, X: Any, *y: Any, reset: bool) -> Any:
    if is_array_api_obj(X) and not is_numpy_array(X):
        X = _checked(estimator, X)
    read = validate_data(
        estimator,
        X,
        *y,
        reset=reset,
        dtype=[np.float64, np.float32, np.float16],
        ensure_all_finite=False,  # masked logits are -inf; the gate looks at the values
        ensure_min_features=2 if reset else 1,  # over a single outcome there is one distribution
    )
    return (_checked(estimator, read[0]), *read[1:]) if y else _checked(estimator, read)


def _checked(estimator: Any, X: Array) -> np.ndarray:
    """Return rows as an array of numpy, after a look at their values.

    Rows of half precision come back in float32. Their sums are off by the rounding of halves, and
    nothing that reads them later would know why: probabilities are divided by them.
    """
    space = _space_of(estimator)
    try:
        xp, wide = gate(True, X=(space.POINTS, X))
    except ValueError as error:
        kind, advice = "logits", ""
        if not estimator.from_logits_:
            kind, advice = "probabilities", "; set from_logits=True if they are logits"
        raise ValueError(
            f"{error} ({type(estimator).__name__} reads rows as {kind}{advice}.)"
        ) from None
    if wide.dtype != X.dtype and not estimator.from_logits_:
        wide = wide / xp.sum(wide, axis=-1, keepdims=True)
    return np.asarray(on_host(wide))


def _space_of(estimator: Any) -> ModuleType:
    return logits if estimator.from_logits_ else simplex


def _on_sphere(estimator: Any, X: np.ndarray) -> np.ndarray:
    """Return 2 sqrt(p)."""
    return _space_of(estimator).sphere_embedding(X, check=False)


def _require_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise bad_value(name, "be a positive integer", f"got {value!r}")


# ---------------------------------------------------------------- clustering


def _merged(
    X: np.ndarray, u: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the distinct rows in a fixed order, on the sphere too, with their total weights."""
    _, first, inverse = np.unique(u, axis=0, return_index=True, return_inverse=True)
    totals = np.bincount(np.ravel(inverse), weights=weights).astype(X.dtype)
    first, totals = first[totals > 0.0], totals[totals > 0.0]
    return X[first], u[first], totals


def _assign(u: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Return the nearest centre of each point of the sphere."""
    # Distances from near the centres: products of unit vectors would not tell near ones apart.
    origin = centers.mean(axis=0)
    u, centers = u - origin, centers - origin
    return (np.vecdot(centers, centers) - 2.0 * u @ centers.T).argmin(axis=1)


def _squared_arcs(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the squared distances along the sphere of radius 2."""
    chord = np.linalg.norm(u - v, axis=-1)
    return (4.0 * np.arcsin(np.minimum(0.25 * chord, math.sqrt(0.5)))) ** 2


@dataclass(frozen=True)
class _Lloyd:
    """Lloyd's algorithm on distinct rows X with their points u of the sphere."""

    X: np.ndarray
    u: np.ndarray
    weights: np.ndarray
    space: Any
    num_clusters: int
    max_iter: int
    tol: float

    def run(self, rng: np.random.RandomState) -> tuple[float, np.ndarray, int]:
        """Return the inertia, the centres in the kind of the rows, and the assignments."""
        seeds = self.seeds(rng)
        X, u = self.X[seeds], self.u[seeds]
        labels, inertia = np.full(len(self.X), -1), math.inf
        for step in range(1, self.max_iter + 1):  # noqa: B007, it is returned
            before, labels = labels, self.without_gaps(_assign(self.u, u), u)
            is_changed = labels != before
            for k in np.union1d(labels[is_changed], before[is_changed]):
                members = labels == k
                if members.any():
                    X[k], u[k] = self.mean(members)
            last, inertia = inertia, float(self.weights @ _squared_arcs(self.u, u[labels]))
            if not is_changed.any() or last - inertia <= self.tol * inertia:
                break
        return inertia, X, step

    def seeds(self, rng: np.random.RandomState) -> np.ndarray:
        """Choose the first centres by greedy k-means++; rows in turn if there are too few."""
        if len(self.X) <= self.num_clusters:
            return np.arange(self.num_clusters) % len(self.X)
        num_trials = 2 + int(math.log(self.num_clusters))
        chosen = self.draw(self.weights, 1, rng)
        squares = _squared_arcs(self.u, self.u[chosen[0]])
        while len(chosen) < self.num_clusters:
            candidates = self.draw(self.weights * squares, num_trials, rng)
            trials = [np.minimum(squares, _squared_arcs(self.u, self.u[i])) for i in candidates]
            best = int(np.argmin([self.weights @ trial for trial in trials]))
            squares = trials[best]
            chosen = np.append(chosen, candidates[best])
        return chosen

    @staticmethod
    def draw(masses: np.ndarray, size: int, rng: np.random.RandomState) -> np.ndarray:
        cumulated = np.cumsum(masses, dtype=np.float64)
        drawn = np.searchsorted(cumulated, rng.uniform(size=size) * cumulated[-1], side="right")
        return np.minimum(drawn, len(masses) - 1)

    def without_gaps(self, labels: np.ndarray, centers: np.ndarray) -> np.ndarray:
        """Give each empty cluster the row that costs most, if a cluster has one to spare."""
        sizes = np.bincount(labels, minlength=self.num_clusters)
        if sizes.all():
            return labels
        costs = self.weights * _squared_arcs(self.u, centers[labels])
        for k in np.flatnonzero(sizes == 0):
            spare = np.where(sizes[labels] > 1, costs, -1.0)
            row = int(np.argmax(spare))
            if spare[row] < 0.0:
                break
            sizes[labels[row]] -= 1
            sizes[k], labels[row], costs[row] = 1, k, 0.0
        return labels

    def mean(self, members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the Frechet mean of a cluster, in the kind of the rows and on the sphere."""
        point = frechet_mean(
            self.X[members], weights=self.weights[members], space=self.space, check=False
        ).point
        return point, self.space.sphere_embedding(point, check=False)


finish(
    globals(),
    {
        "X : array-like, shape (n, c)": "Probabilities or logits, as in the training data.",
        "from_logits : bool": (
            "Whether rows are logits; otherwise they are probabilities (see the module)."
        ),
        "from_logits_ : bool": "How rows are read.",
        "n_features_in_ : int": "The number of outcomes.",
        "feature_names_in_ : array of str": (
            "The names of the outcomes, if the training data had any."
        ),
    },
)
