"""The verbs of the front: each asks the space of the points that it is given."""

from typing import Any

import numpy as np

from infogeo import _points, _spaces
from infogeo._array import Array
from infogeo._points import Points
from infogeo.manifolds import _family


def _space(point: Any, argument: str = "a") -> Any:
    """Return the space of a point."""
    space = _spaces.of_point(point)
    if space is None:
        kinds = (space.POINTS for space in _spaces.registered().values())
        known = ", ".join(kind.__name__ for kind in kinds if isinstance(kind, type))
        raise TypeError(
            f"{argument} must be a point of a family ({known}): got {type(point).__name__}. "
            "For arrays of predictions use infogeo.simplex or infogeo.logits."
        )
    return space


def _verb(point: Any, name: str, argument: str = "a") -> Any:
    """Return a verb of the space of a point.

    Numbers that overflow are inf: numpy has no need to warn of them.
    """
    verb = _spaces.verb(_space(point, argument), name)
    is_of_numpy = isinstance(point, Points) and isinstance(_points.fields(point)[0], np.ndarray)
    return np.errstate(all="ignore")(verb) if is_of_numpy else verb


def dimension(a: Any, *, check: bool = True) -> int:
    r"""Return the number of parameters of the family.

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    int
        The dimension of the manifold that a lies on.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> dimension(Poisson(2.0))
    1
    """
    return _verb(a, "dimension")(a, check=check)


def fisher_rao_distance(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the Fisher-Rao distance of two points.

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric; of the library, dtype and device of the points.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> float(fisher_rao_distance(Poisson(4.0), Poisson(9.0)))
    2.0
    """
    return _verb(a, "fisher_rao_distance")(a, b, check=check)


def fisher_rao_squared_distance(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the squared Fisher-Rao distance, smooth at a = b.

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> float(fisher_rao_squared_distance(Poisson(4.0), Poisson(9.0)))
    4.0
    """
    return _verb(a, "fisher_rao_squared_distance")(a, b, check=check)


def connect(a: Any, b: Any, *, rtol: float = 1e-12, throw: bool = True, check: bool = True) -> Any:
    r"""Solve for the geodesic between two points, in families without a formula for it.

    Parameters
    ----------
    a, b : point
        Of Dirichlet, beta or multivariate normal distributions.
    rtol : float
        How exact the distance has to be, relative. For Dirichlet and beta distributions it is the
        size of a bracket that proves it.
    throw : bool
    check : bool

    Returns
    -------
    Connection
        ``distance``, ``initial_velocity``, ``final_velocity``, ``steps`` and ``status``; for
        Dirichlet and beta distributions also the bracket ``lower`` and ``upper``, the ``turning``
        of the curve and points of the ``curve``. For multivariate normals see
        `infogeo.multivariate_normal.connect`.

    Raises
    ------
    TypeError, ValueError
        Points of two families, or of a family that has a formula; tensors that require a gradient,
        which velocities do not have.
    SolveError
        A distance that is not as exact as asked for. It carries ``.result`` (a Connection) and,
        for a batch, ``.failed``: the positions in the flattened batch.

    Notes
    -----
    A curve of length L that turns by less than pi joins points at a distance of at least L times
    the cosine of half its turning, where curvature is not positive: in the plane the arc of a
    circle is the extreme case. The curve is a polynomial of time for each logarithm of a
    concentration, and Newton's method on its energy finds it. Velocities are right to about 1e-10
    of their norm and better.

    Between concentrations of 1e-3 and 1e6 nearly all brackets are tighter than 1e-12. Where one is
    not, the status says so.

    Examples
    --------
    >>> from infogeo.manifolds import Dirichlet
    >>> found = connect(Dirichlet([0.01, 1.0, 50.0]), Dirichlet([50.0, 1.0, 0.01]))
    >>> round(float(found.distance), 10), bool(found.lower <= found.distance <= found.upper)
    (9.4241253595, True)
    >>> found.status.value
    'converged'
    """
    return _verb(a, "connect")(a, b, rtol=rtol, throw=throw, check=check)


def fisher_rao_geodesic(a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
    r"""Return points on the shortest path from a (t = 0) to b (t = 1).

    Parameters
    ----------
    a, b : point
    t : float or array
    check : bool

    Returns
    -------
    point
        Of batch shape t.shape + (...), at equal distances for equal steps of t.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> fisher_rao_geodesic(Poisson(4.0), Poisson(16.0), 0.5)
    Poisson(rate=9.0)
    """
    return _verb(a, "fisher_rao_geodesic")(a, b, t, check=check)


def e_geodesic(a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
    r"""Return points on the line from a to b in the natural parameters.

    Parameters
    ----------
    a, b : point
    t : float or array
    check : bool

    Returns
    -------
    point
        Of batch shape t.shape + (...).

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> path = e_geodesic(Poisson(4.0), Poisson(16.0), 0.5)
    >>> round(float(path.rate), 12)
    8.0
    """
    return _verb(a, "e_geodesic")(a, b, t, check=check)


def m_geodesic(a: Any, b: Any, t: Any, *, check: bool = True) -> Any:
    r"""Return points on the line from a to b in the expectation parameters.

    Parameters
    ----------
    a, b : point
    t : float or array
    check : bool

    Returns
    -------
    point
        Of batch shape t.shape + (...).

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> m_geodesic(Poisson(4.0), Poisson(16.0), 0.5)
    Poisson(rate=10.0)
    """
    return _verb(a, "m_geodesic")(a, b, t, check=check)


def exp_map(a: Any, v: Any, *, check: bool = True) -> Any:
    r"""Return the point that the geodesic with velocity v reaches from a at time 1.

    Parameters
    ----------
    a : point
        Where the vectors are attached.
    v : tangent vector
    check : bool

    Returns
    -------
    point
        At distance ``norm(a, v)`` from a.

    Raises
    ------
    TypeError, ValueError
        Points and vectors of two families; a geodesic that leaves the family before time 1.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> exp_map(Poisson(4.0), Tangent(4.0))
    Poisson(rate=9.0)
    """
    return _verb(a, "exp_map")(a, v, check=check)


def log_map(a: Any, b: Any, *, check: bool = True) -> Any:
    r"""Return the velocity at a of the geodesic that reaches b at time 1.

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    tangent vector
        Of norm d(a, b): the inverse of `exp_map`.

    Raises
    ------
    TypeError, ValueError
        Points of two families; a point at the edge of its family, which no finite velocity leaves.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> log_map(Poisson(4.0), Poisson(9.0))
    Tangent(rate=4.0)
    """
    return _verb(a, "log_map")(a, b, check=check)


def inner_product(a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
    r"""Return the Fisher metric of two tangent vectors.

    Parameters
    ----------
    a : point
        Where the vectors are attached.
    u, v : tangent vector
        All batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        In squared units of the Fisher metric; inf for vectors that leave an edge.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> float(inner_product(Poisson(4.0), Tangent(2.0), Tangent(6.0)))
    3.0
    """
    return _verb(a, "inner_product")(a, u, v, check=check)


def norm(a: Any, v: Any, *, check: bool = True) -> Array:
    r"""Return the Fisher norm of a tangent vector.

    Parameters
    ----------
    a : point
        Where the vectors are attached.
    v : tangent vector
    check : bool

    Returns
    -------
    array, shape (...)
        In units of the Fisher metric.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> float(norm(Poisson(4.0), Tangent(-4.0)))
    2.0
    """
    return _verb(a, "norm")(a, v, check=check)


def parallel_transport(a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
    r"""Return a tangent vector at a, carried to b along the shortest path.

    Parameters
    ----------
    a, b : point
    v : tangent vector
    check : bool

    Returns
    -------
    tangent vector
        At b, of the same norm.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> parallel_transport(Poisson(4.0), Poisson(9.0), Tangent(4.0))
    Tangent(rate=6.0)
    """
    return _verb(a, "parallel_transport")(a, b, v, check=check)


def e_transport(a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
    r"""Return a tangent vector at a, carried to b by the e-connection.

    Parameters
    ----------
    a, b : point
    v : tangent vector
    check : bool

    Returns
    -------
    tangent vector
        At b, of the same velocity of the natural parameters.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> e_transport(Poisson(4.0), Poisson(8.0), Tangent(1.0))
    Tangent(rate=2.0)
    """
    return _verb(a, "e_transport")(a, b, v, check=check)


def m_transport(a: Any, b: Any, v: Any, *, check: bool = True) -> Any:
    r"""Return a tangent vector at a, carried to b by the m-connection.

    Parameters
    ----------
    a, b : point
    v : tangent vector
    check : bool

    Returns
    -------
    tangent vector
        At b, of the same velocity of the expectation parameters.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> from infogeo.manifolds.poisson import Tangent
    >>> m_transport(Poisson(4.0), Poisson(8.0), Tangent(1.0))
    Tangent(rate=1.0)
    """
    return _verb(a, "m_transport")(a, b, v, check=check)


def fisher_information(a: Any, *, check: bool = True) -> Array:
    r"""Return the Fisher information matrix.

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    array, shape (..., d, d)
        In the parameters of the class of the point, in their order: of a covariance the entries of
        the lower triangle, row by row, of multinomial probabilities all but the last.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> fisher_information(Poisson(4.0))
    array([[0.25]])
    """
    return _verb(a, "fisher_information")(a, check=check)


def christoffel_symbols(a: Any, *, check: bool = True) -> Array:
    r"""Return the Christoffel symbols of the Levi-Civita connection.

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    array, shape (..., d, d, d)
        In the coordinates of `fisher_information`; the upper index first.

    Examples
    --------
    >>> from infogeo.manifolds import Laplace
    >>> christoffel_symbols(Laplace(0.0, 2.0))
    array([[[ 0. , -0.5],
            [-0.5,  0. ]],
           [[ 0.5,  0. ],
            [ 0. , -0.5]]])
    """
    return _verb(a, "christoffel_symbols")(a, check=check)


def sectional_curvature(a: Any, u: Any, v: Any, *, check: bool = True) -> Array:
    r"""Return the sectional curvature of the plane of two tangent vectors.

    Parameters
    ----------
    a : point
        Where the vectors are attached.
    u, v : tangent vector
        All batch axes broadcast.
    check : bool

    Returns
    -------
    array, shape (...)
        -1/2 for normals, 1/4 for probabilities of three outcomes and more.

    Examples
    --------
    >>> from infogeo.manifolds import Laplace
    >>> from infogeo.manifolds.laplace import Tangent
    >>> float(sectional_curvature(Laplace(0.0, 2.0), Tangent(1.0, 0.0), Tangent(0.0, 1.0)))
    -1.0
    """
    return _verb(a, "sectional_curvature")(a, u, v, check=check)


def natural_parameters(a: Any, *, check: bool = True) -> Array:
    r"""Return the natural parameters (e-coordinates).

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    array
        Of the shape of the batch for one parameter; a tuple of arrays for several.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> float(natural_parameters(Poisson(1.0)))
    0.0
    """
    return _verb(a, "natural_parameters")(a, check=check)


def expectation_parameters(a: Any, *, check: bool = True) -> Array:
    r"""Return the expectation parameters (m-coordinates).

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    array
        Of the shape of the batch for one parameter; a tuple of arrays for several.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> float(expectation_parameters(Poisson(4.0)))
    4.0
    """
    return _verb(a, "expectation_parameters")(a, check=check)


def kl_divergence(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the Kullback-Leibler divergence.

    .. math:: \mathrm{KL}(a, b) = \mathbb{E}_a \log \frac{a}{b}

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf if a has outcomes that b excludes.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> round(float(kl_divergence(Poisson(1.0), Poisson(2.0))), 6)
    0.306853
    """
    return _verb(a, "kl_divergence")(a, b, check=check)


def jeffreys_divergence(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the sum of the two Kullback-Leibler divergences.

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        In nats.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> round(float(jeffreys_divergence(Poisson(1.0), Poisson(2.0))), 6)
    0.693147
    """
    return _verb(a, "jeffreys_divergence")(a, b, check=check)


def renyi_divergence(a: Any, b: Any, *, order: float, check: bool = True) -> Array:
    r"""Return the Renyi divergence.

    .. math:: R(a, b) = \frac{1}{\text{order} - 1} \log \int a^{\text{order}} b^{1 - \text{order}}

    Parameters
    ----------
    a, b : point
        Of an exponential family, or a product of such: ``docs/manifolds.md`` lists them.
    order : float
        Not negative and finite, for some families not above 1: 1 gives KL(a, b).
    check : bool

    Returns
    -------
    array, shape (...)
        In nats; inf where the integral is.

    Raises
    ------
    TypeError, ValueError
        Points of two families; a negative order.

    Examples
    --------
    >>> from infogeo.manifolds import Beta
    >>> a, b = Beta(1.0, 1.0), Beta(2.0, 2.0)
    >>> round(float(renyi_divergence(a, b, order=0.5)), 6)
    0.077664
    """
    return _verb(a, "renyi_divergence")(a, b, order=order, check=check)


def hellinger_distance(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the Hellinger distance, in [0, 1].

    .. math:: H(a, b)^2 = 1 - \int \sqrt{a \, b}

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        0 for equal distributions, 1 for those without a common outcome.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> round(float(hellinger_distance(Poisson(1.0), Poisson(4.0))), 6)
    0.627271
    """
    return _verb(a, "hellinger_distance")(a, b, check=check)


def bhattacharyya_coefficient(a: Any, b: Any, *, check: bool = True) -> Array:
    r"""Return the Bhattacharyya coefficient, in [0, 1].

    .. math:: \int \sqrt{a \, b}

    Parameters
    ----------
    a, b : point
    check : bool

    Returns
    -------
    array, shape (...)
        1 for equal distributions, 0 for those without a common outcome.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> round(float(bhattacharyya_coefficient(Poisson(1.0), Poisson(4.0))), 6)
    0.606531
    """
    return _verb(a, "bhattacharyya_coefficient")(a, b, check=check)


def e_mean(points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
    r"""Return the mean in the natural parameters.

    Parameters
    ----------
    points : point
        A batch, of one family.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    point
        Of the batch shape without the axis.

    Raises
    ------
    TypeError, ValueError
        Something else than a batch of points; weights without a positive sum.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> round(float(e_mean(Poisson([1.0, 4.0])).rate), 12)
    2.0
    """
    return _verb(points, "e_mean", "points")(points, weights=weights, axis=axis, check=check)


def m_mean(points: Any, *, weights: Any = None, axis: int = 0, check: bool = True) -> Any:
    r"""Return the mean in the expectation parameters.

    Parameters
    ----------
    points : point
        A batch, of one family.
    weights : array or None
    axis : int
    check : bool

    Returns
    -------
    point
        Of the batch shape without the axis.

    Raises
    ------
    TypeError, ValueError
        Something else than a batch of points; weights without a positive sum.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> m_mean(Poisson([1.0, 4.0]))
    Poisson(rate=2.5)
    """
    return _verb(points, "m_mean", "points")(points, weights=weights, axis=axis, check=check)


def to_distribution(a: Any, *, check: bool = True) -> Any:
    r"""Return the distribution of another library that a point is, the way back of reading it.

    Parameters
    ----------
    a : point
    check : bool

    Returns
    -------
    torch.distributions.Distribution, or frozen distribution of scipy.stats
        Of torch for tensors, if torch has the family, and of scipy for arrays of numpy.

    Raises
    ------
    TypeError, ValueError
        A family that the library does not have.

    See Also
    --------
    infogeo.interop.distributions.from_distribution : The way from there.

    Examples
    --------
    >>> from infogeo.manifolds import Exponential
    >>> float(to_distribution(Exponential(0.5)).mean())
    2.0
    """
    return _family.to_distribution(_space(a), a, check)


def sample(
    a: Any, shape: int | tuple[int, ...] = (), *, rng: Any = None, check: bool = True
) -> Array:
    r"""Draw samples, by the library of the distribution.

    Parameters
    ----------
    a : point
    shape : int or tuple of int
        How many for each distribution of the batch.
    rng : numpy.random.Generator, int or None
        The generator, or its seed. None for tensors of families that torch has: torch draws from
        its own generator, ``torch.manual_seed``.
    check : bool

    Returns
    -------
    array, of the shape that is asked for and then the shape of a
        Of the library and dtype of the point, without gradients.

    Examples
    --------
    >>> from infogeo.manifolds import Poisson
    >>> sample(Poisson([2.0, 200.0]), (10000,), rng=0).mean(axis=0).round()
    array([  2., 200.])
    """
    shape = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    return _family.sample(_space(a), a, shape, rng, check)
