r"""Any exponential family, from its log-partition, by automatic differentiation.

Points are arrays of parameters (..., k). torch differentiates the log-partition, and Newton's
method finds geodesics, as it finds those of Dirichlet distributions. An `ExponentialFamily` is a
space as the modules of the other families are, so that means, neighbours, heads and the contract
take it.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _divergence
from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo.manifolds import _envelope
from infogeo.manifolds._potential import over
from infogeo.manifolds._potential_gate import PARAMETERS, Family, Geodesic, torch_device, wide

__all__ = ["ExponentialFamily"]

_RTOL = 1e-12


@dataclass(frozen=True, repr=False)
class ExponentialFamily(Family):
    r"""The space of an exponential family, from its log-partition.

    .. math:: p_\theta(x) = h(x) \, e^{\theta' F(x) - \psi(\theta)}, \qquad
              g = \nabla^2 \psi(\theta)

    Parameters
    ----------
    log_partition : callable
        ``log_partition(theta)``: psi of natural parameters (k,) of float64, a tensor without axes.
        It is made of functions that torch.func differentiates, and is inf or NaN outside of its
        domain.
    to_natural : callable or None
        ``to_natural(x)``: the natural parameters (k,) of the parameters x (k,) that points have.
        None: points are natural parameters.
    from_natural : callable or None
        The way back. It is NaN or infinite where there is no such point.

    Raises
    ------
    TypeError
        Something that is no function; one of the two ways without the other.

    Notes
    -----
    Points are arrays of numpy or torch (others without gradients). All is computed in float64, on
    the device of the points, and returned in their dtype. Tensors have gradients: the divergences
    and parameters all of them, distances those of the first order, by the theorem of the envelope,
    the maps of geodesics none. The points of a batch are mapped by ``torch.func.vmap``, so that
    the three functions must not ask for values.

    A geodesic is found in the parameters x, from the straight line between the points, by Newton's
    method on the energy. Parameters of which all numbers are allowed, such as logarithms of scales,
    are best: then nothing leaves the family on the way.

    Divergences of near points are integrals of :math:`D' F(\theta + s D) D`, with D the difference
    of the natural parameters. They have one sign, so that no digits are lost.

    References
    ----------
    S. Amari, Information Geometry and Its Applications, Springer 2016, chapter 2.

    Examples
    --------
    Poisson distributions by the logarithm of the rate:

    >>> import torch
    >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
    >>> x, y = np.log([4.0]), np.log([9.0])
    >>> round(float(poisson.fisher_rao_distance(x, y)), 12)
    2.0
    >>> round(float(poisson.kl_divergence(x, y)), 6)
    1.756279
    """

    # ------------------------------------------------------------ the Fisher metric

    def dimension(self, a: Array, *, check: bool = True) -> int:
        """Return the number of parameters.

        Parameters
        ----------
        a : array, shape (..., k)
        check : bool

        Returns
        -------
        int
            k.

        Raises
        ------
        TypeError, ValueError
        """
        _, a = _array.gate(check, a=(PARAMETERS, a))
        return int(a.shape[-1])

    def inner_product(self, a: Array, u: Array, v: Array, *, check: bool = True) -> Array:
        """Return the Fisher metric of two tangent vectors.

        Parameters
        ----------
        a : array, shape (..., k)
        u, v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In squared units of the Fisher metric.

        Raises
        ------
        TypeError, ValueError
        """
        back, a, u, v = self._gate(check, {"a": a}, u=u, v=v)
        return back(over(self._potential.metric, a, u, v))

    def norm(self, a: Array, v: Array, *, check: bool = True) -> Array:
        """Return the Fisher norm of a tangent vector.

        Parameters
        ----------
        a : array, shape (..., k)
        v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In units of the Fisher metric; 0 has the gradient 0.

        Raises
        ------
        TypeError, ValueError
        """
        back, a, v = self._gate(check, {"a": a}, v=v)
        # The norm of a multiple is as exact: a vector of 1e-200 has a square that underflows.
        largest = v.detach().abs().amax(-1, keepdim=True)
        size = largest.where(largest > 0.0, 1.0)
        unit = v / size
        squared = over(self._potential.metric, a, unit, unit).clamp(min=0.0)
        return back(size[..., 0] * _array.safe_sqrt(squared, array_namespace(squared)))

    def fisher_information(self, a: Array, *, check: bool = True) -> Array:
        """Return the Fisher information matrix of the parameters.

        Parameters
        ----------
        a : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k, k)
            In the order of the parameters.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
        >>> poisson.fisher_information([0.0])
        array([[1.]])
        """
        back, a = self._gate(check, {"a": a})
        return back(over(self._potential.information, a))

    def christoffel_symbols(self, a: Array, *, check: bool = True) -> Array:
        """Return the Christoffel symbols of the Levi-Civita connection.

        Parameters
        ----------
        a : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k, k, k)
            The upper index first.

        Raises
        ------
        TypeError, ValueError
        """
        import torch

        back, a = self._gate(check, {"a": a}, has_inverse=True)
        units = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device)

        def symbols(x: Any) -> Any:
            lower = torch.func.vmap(
                lambda u: torch.func.vmap(lambda v: self._potential.bend(x, u, v))(units)
            )(units)
            return -lower.movedim(-1, 0)

        return back(over(symbols, a))

    def sectional_curvature(self, a: Array, u: Array, v: Array, *, check: bool = True) -> Array:
        """Return the sectional curvature of the plane of two tangent vectors.

        Parameters
        ----------
        a : array, shape (..., k)
        u, v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            NaN for vectors that span no plane.

        Raises
        ------
        TypeError, ValueError
            As for other verbs; a family of one parameter, which has no planes.
        """
        back, a, u, v = self._gate(check, {"a": a}, u=u, v=v, has_inverse=True)
        if a.shape[-1] == 1:
            seen = "the family has one parameter"
            raise bad_value("u and v", "span a plane", seen, "A line has no curvature.")
        return back(over(self._potential.curvature, a, u, v))

    # ------------------------------------------------------------ distance and geodesics

    def fisher_rao_distance(
        self, a: Array, b: Array, *, rtol: float = _RTOL, check: bool = True
    ) -> Array:
        """Return the Fisher-Rao distance of two points, the length of the geodesic.

        Parameters
        ----------
        a, b : array, shape (..., k)
        rtol : float
        check : bool

        Returns
        -------
        array, shape (...)
            In units of the Fisher metric.

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        squared = self.fisher_rao_squared_distance(a, b, rtol=rtol, check=check)
        return _array.as_number(_array.safe_sqrt(squared, array_namespace(squared)))

    def fisher_rao_squared_distance(
        self, a: Array, b: Array, *, rtol: float = _RTOL, check: bool = True
    ) -> Array:
        """Return the squared Fisher-Rao distance, smooth at a = b.

        Parameters
        ----------
        a, b : array, shape (..., k)
        rtol : float
        check : bool

        Returns
        -------
        array, shape (...)
            In squared units of the Fisher metric. Its gradient is -2 times the log map.

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        xp, a, b = self._gate_ends(check, a, b, rtol)
        device = torch_device(a)

        def solve(x: np.ndarray, y: np.ndarray, has_gradients: bool) -> tuple[np.ndarray, ...]:
            found = self._found(x, y, rtol, device, has_ends=has_gradients)
            shape = np.broadcast_shapes(x.shape, y.shape)
            if not (found.error <= rtol).all():
                self._result(found, shape, rtol, True, a, xp)
            squared = found.length.reshape(shape[:-1]) ** 2
            if not has_gradients:
                return (squared,)
            ends = ((x, found.start, -2.0), (y, found.end, 2.0))
            return squared, *(
                sign
                * (self.fisher_information(z, check=False) @ v.reshape(shape)[..., None])[..., 0]
                for z, v, sign in ends
            )

        return _envelope.squared_distance(a, b, solve, xp)

    def connect(
        self, a: Array, b: Array, *, rtol: float = _RTOL, throw: bool = True, check: bool = True
    ) -> Geodesic:
        """Solve for the geodesic: its length with an estimate of the error, and its velocities.

        Parameters
        ----------
        a, b : array, shape (..., k)
        rtol : float
        throw : bool
        check : bool

        Returns
        -------
        Geodesic
            ``distance``, ``error``, ``initial_velocity``, ``final_velocity``, ``steps``,
            ``status``.

        Raises
        ------
        TypeError, ValueError
        SolveError

        Examples
        --------
        >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
        >>> found = poisson.connect(np.log([4.0]), np.log([9.0]))
        >>> bool(found.error < 1e-12), found.status.value
        (True, 'converged')
        """
        xp, a, b = self._gate_ends(check, a, b, rtol)
        _envelope.require_no_gradient(a, b)
        x, y = np.broadcast_arrays(_envelope.to_host(a), _envelope.to_host(b))
        found = self._found(x, y, rtol, torch_device(a), has_ends=True)
        return self._result(found, x.shape, rtol, throw, a, xp)

    def log_map(self, a: Array, b: Array, *, rtol: float = _RTOL, check: bool = True) -> Array:
        """Return the velocity at a of the geodesic that reaches b at time 1.

        Parameters
        ----------
        a, b : array, shape (..., k)
        rtol : float
        check : bool

        Returns
        -------
        array, shape (..., k)
            Of norm d(a, b): the inverse of `exp_map`.

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        return self.connect(a, b, rtol=rtol, check=check).initial_velocity

    def exp_map(self, a: Array, v: Array, *, check: bool = True) -> Array:
        """Return the point that the geodesic with velocity v reaches from a at time 1.

        Parameters
        ----------
        a : array, shape (..., k)
        v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k)
            At distance ``norm(a, v)`` from a, if no shorter way leads there.

        Raises
        ------
        TypeError, ValueError
            As for other verbs; a geodesic that leaves the family before time 1.
        """
        xp, a, v = _array.gate(check, a=(PARAMETERS, a), v=(PARAMETERS, v))
        self._require_points(check, a=a, has_inverse=True)
        _envelope.require_no_gradient(a, v)
        x, w = np.broadcast_arrays(_envelope.to_host(a), _envelope.to_host(v))
        (reached,) = self._flow(torch_device(a), x, w)[:1]
        if check and not np.isfinite(reached).all():
            where = ~np.isfinite(reached).all(-1)
            seen = "its geodesic cannot be followed up to time 1"
            raise bad_value("v", "stay in the family", seen, "Scale v down.", where=where)
        return _envelope.as_like(reached, a, xp)

    def fisher_rao_geodesic(
        self, a: Array, b: Array, t: Any, *, rtol: float = _RTOL, check: bool = True
    ) -> Array:
        """Return points on the shortest path from a (t = 0) to b (t = 1).

        Parameters
        ----------
        a, b : array, shape (..., k)
        t : float or array
        rtol : float
        check : bool

        Returns
        -------
        array, shape (..., k)
            Of batch shape t.shape + (...), at equal distances for equal steps of t.

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        xp, a, b, t = self._gate_path(check, a, b, t)
        found = self.connect(a, b, rtol=rtol, check=False)
        ends = (a, b, found.initial_velocity, found.final_velocity)
        x, y, start, end = np.broadcast_arrays(*map(_envelope.to_host, ends))
        share = _array.as_leading(_envelope.to_host(t), x, np)
        is_late = share >= 0.5  # each point from its nearer end
        velocity = np.where(is_late, (share - 1.0) * end, share * start)
        (reached,) = self._followed(torch_device(a), np.where(is_late, y, x), velocity)[:1]
        return _envelope.as_like(reached, a, xp)

    def parallel_transport(
        self, a: Array, b: Array, v: Array, *, rtol: float = _RTOL, check: bool = True
    ) -> Array:
        """Return a tangent vector at a, carried to b along the shortest path.

        Parameters
        ----------
        a, b : array, shape (..., k)
        v : array, shape (..., k)
        rtol : float
        check : bool

        Returns
        -------
        array, shape (..., k)
            At b, of the same norm.

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        kinds = {name: (PARAMETERS, x) for name, x in (("a", a), ("b", b), ("v", v))}
        xp, a, b, v = _array.gate(check, **kinds)
        _envelope.require_no_gradient(a, b, v)
        start = self.log_map(a, b, rtol=rtol, check=check)
        x, w, carried = np.broadcast_arrays(*map(_envelope.to_host, (a, start, v)))
        arrived = self._followed(torch_device(a), x, w, carried)[2]
        return _envelope.as_like(arrived, a, xp)

    # ------------------------------------------------------------ the e- and the m-geometry

    def natural_parameters(self, a: Array, *, check: bool = True) -> Array:
        """Return the natural parameters of points.

        Parameters
        ----------
        a : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k)
            The factors of the sufficient statistics.

        Raises
        ------
        TypeError, ValueError
        """
        back, a = self._gate(check, {"a": a})
        return back(over(self._potential.theta, a))

    def from_natural_parameters(self, theta: Array, *, check: bool = True) -> Array:
        """Return the points of natural parameters.

        Parameters
        ----------
        theta : array, shape (..., k)
            In the domain of the log-partition.
        check : bool

        Returns
        -------
        array, shape (..., k)
            The parameters of the points.

        Raises
        ------
        TypeError, ValueError
        """
        back, theta = self._gate(check, {}, theta=theta)
        made = over(self._potential.point, theta)
        if check and _array.is_readable(theta):
            self._require_domain("theta", theta, made)
        return back(made)

    def expectation_parameters(self, a: Array, *, check: bool = True) -> Array:
        """Return the expectation parameters, the gradient of the log-partition.

        Parameters
        ----------
        a : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k)
            The means of the sufficient statistics.

        Raises
        ------
        TypeError, ValueError
        """
        back, a = self._gate(check, {"a": a})
        return back(over(lambda x: self._potential.slope(self._potential.theta(x)), a))

    def from_expectation_parameters(
        self, eta: Array, *, start: Array | None = None, check: bool = True
    ) -> Array:
        """Return the points whose sufficient statistics have given means, by Newton's method.

        Parameters
        ----------
        eta : array, shape (..., k)
            Means of the sufficient statistics.
        start : array, shape (..., k), or None
        check : bool

        Returns
        -------
        array, shape (..., k)
            Tensors have their first derivatives.

        Raises
        ------
        TypeError, ValueError
            As for other verbs; no start where zeros are no point.
        SolveError
            Means that no member of the family has, or that rounding does not tell from such.

        Examples
        --------
        >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
        >>> np.exp(poisson.from_expectation_parameters([3.0])).round(12)
        array([3.])
        """
        given = np.zeros(np.shape(eta)[-1:]).tolist() if start is None else start
        back, eta, begin = self._gate(check, {}, eta=eta, start=given)
        if check and _array.is_readable(begin):
            with_advice = "Pass start, a point to begin with." if start is None else ""
            self._require_points(check, has_inverse=True, advice=with_advice, start=begin)
        return back(self._from_means(eta, over(self._potential.theta, begin)))

    def fit(
        self,
        statistics: Array,
        *,
        weights: Array | None = None,
        start: Array | None = None,
        check: bool = True,
    ) -> Array:
        """Fit the family to samples by maximum likelihood.

        Parameters
        ----------
        statistics : array, shape (n, ..., k)
            The sufficient statistics of n samples.
        weights : array or None
        start : array, shape (..., k), or None
        check : bool

        Returns
        -------
        array, shape (..., k)
            The point whose means of the statistics are those of the samples.

        Raises
        ------
        TypeError, ValueError
            As for other verbs; no start where zeros are no point.
        SolveError
            The likelihood has no maximum, as for samples that do not vary.

        Examples
        --------
        >>> poisson = ExponentialFamily(lambda theta: theta.exp().sum())
        >>> np.exp(poisson.fit([[2.0], [3.0], [7.0]])).round(12)
        array([4.])
        """
        xp, x, weights = _array.gate_mean(check, PARAMETERS, statistics, weights, 0)
        means = _array.weighted_sum(x, weights, 0, xp)
        return self.from_expectation_parameters(means, start=start, check=check)

    def e_geodesic(self, a: Array, b: Array, t: Any, *, check: bool = True) -> Array:
        """Return points on the line from a to b in the natural parameters.

        Parameters
        ----------
        a, b : array, shape (..., k)
        t : float or array
        check : bool

        Returns
        -------
        array, shape (..., k)
            Of batch shape t.shape + (...).

        Raises
        ------
        TypeError, ValueError
        """
        _, a, b, t = self._gate_path(check, a, b, t)
        back, a, b, t = wide(a, b, t)
        p, q = (over(self._potential.theta, z) for z in (a, b))
        t = _array.as_leading(t, p + q, array_namespace(t))
        return back(over(self._potential.point, (1.0 - t) * p + t * q))

    def m_geodesic(self, a: Array, b: Array, t: Any, *, check: bool = True) -> Array:
        """Return points on the line from a to b in the expectation parameters.

        Parameters
        ----------
        a, b : array, shape (..., k)
        t : float or array
        check : bool

        Returns
        -------
        array, shape (..., k)
            Of batch shape t.shape + (...).

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        _, a, b, t = self._gate_path(check, a, b, t)
        back, a, b, t = wide(a, b, t)
        p, q = (over(self._potential.theta, z) for z in (a, b))
        eta = [over(self._potential.slope, z) for z in (p, q)]
        t = _array.as_leading(t, p + q, array_namespace(t))
        means = (1.0 - t) * eta[0] + t * eta[1]
        return back(self._from_means(means, (1.0 - t) * p + t * q))

    def e_mean(
        self, points: Array, *, weights: Array | None = None, axis: int = 0, check: bool = True
    ) -> Array:
        """Return the mean of the natural parameters.

        Parameters
        ----------
        points : array, shape (..., n, ..., k)
            With one axis to average over and any number of batch axes.
        weights : array or None
        axis : int
        check : bool

        Returns
        -------
        array, shape (..., k)
            The point with the least mean divergence to the points, KL(mean, point).

        Raises
        ------
        TypeError, ValueError
        """
        return self._mean(points, weights, axis, check, is_natural=True)

    def m_mean(
        self, points: Array, *, weights: Array | None = None, axis: int = 0, check: bool = True
    ) -> Array:
        """Return the mean of the expectation parameters.

        Parameters
        ----------
        points : array, shape (..., n, ..., k)
            With one axis to average over and any number of batch axes.
        weights : array or None
        axis : int
        check : bool

        Returns
        -------
        array, shape (..., k)
            The point with the least mean divergence from the points, KL(point, mean).

        Raises
        ------
        TypeError, ValueError
        SolveError
        """
        return self._mean(points, weights, axis, check, is_natural=False)

    def e_transport(self, a: Array, b: Array, v: Array, *, check: bool = True) -> Array:
        """Return a tangent vector at a, carried to b by the e-connection.

        Parameters
        ----------
        a, b : array, shape (..., k)
        v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k)
            At b, of the same velocity of the natural parameters.

        Raises
        ------
        TypeError, ValueError
        """
        back, a, b, v = self._gate(check, {"a": a, "b": b}, v=v)
        chart = self._potential
        return back(over(lambda x, y, w: chart.pulled(y, *chart.pushed(x, w)), a, b, v))

    def m_transport(self, a: Array, b: Array, v: Array, *, check: bool = True) -> Array:
        """Return a tangent vector at a, carried to b by the m-connection.

        Parameters
        ----------
        a, b : array, shape (..., k)
        v : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (..., k)
            At b, of the same velocity of the expectation parameters.

        Raises
        ------
        TypeError, ValueError
        """
        back, a, b, v = self._gate(check, {"a": a, "b": b}, v=v, has_inverse=True)
        return back(over(self._potential.carried, a, b, v))

    # ------------------------------------------------------------ divergences

    def kl_divergence(self, a: Array, b: Array, *, check: bool = True) -> Array:
        """Return the Kullback-Leibler divergence from a to b.

        Parameters
        ----------
        a, b : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In nats.

        Raises
        ------
        TypeError, ValueError
        """
        return self.renyi_divergence(a, b, order=1.0, check=check)

    def jeffreys_divergence(self, a: Array, b: Array, *, check: bool = True) -> Array:
        """Return the sum of the two Kullback-Leibler divergences.

        Parameters
        ----------
        a, b : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In nats.

        Raises
        ------
        TypeError, ValueError
        """
        back, a, b = self._gate(check, {"a": a, "b": b})
        renyi = self._potential.renyi
        return back(over(lambda x, y: renyi(x, y, 1.0) + renyi(y, x, 1.0), a, b))

    def renyi_divergence(self, a: Array, b: Array, *, order: float, check: bool = True) -> Array:
        """Return the Renyi divergence of a finite order.

        Parameters
        ----------
        a, b : array, shape (..., k)
        order : float
            Not negative; 1 is the Kullback-Leibler divergence.
        check : bool

        Returns
        -------
        array, shape (...)
            In nats; inf where the mixture of that order is not in the family.

        Raises
        ------
        TypeError, ValueError
            As for other verbs; an infinite order.
        """
        order = _divergence.checked_order(order)
        if order == float("inf"):
            raise bad_value("order", "be finite for this family", f"got {order!r}")
        back, a, b = self._gate(check, {"a": a, "b": b})
        return back(over(lambda x, y: self._potential.renyi(x, y, order), a, b))

    def bhattacharyya_coefficient(self, a: Array, b: Array, *, check: bool = True) -> Array:
        """Return the integral of the root of the product of the densities.

        Parameters
        ----------
        a, b : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In [0, 1].

        Raises
        ------
        TypeError, ValueError
        """
        back, a, b = self._gate(check, {"a": a, "b": b})
        return back((-0.5 * over(lambda x, y: self._potential.renyi(x, y, 0.5), a, b)).exp())

    def hellinger_distance(self, a: Array, b: Array, *, check: bool = True) -> Array:
        """Return the root of 1 minus the Bhattacharyya coefficient.

        Parameters
        ----------
        a, b : array, shape (..., k)
        check : bool

        Returns
        -------
        array, shape (...)
            In [0, 1].

        Raises
        ------
        TypeError, ValueError
        """
        back, a, b = self._gate(check, {"a": a, "b": b})
        half = 0.5 * over(lambda x, y: self._potential.renyi(x, y, 0.5), a, b)
        squared = -(-half).expm1()
        return back(_array.safe_sqrt(squared.clamp(min=0.0), array_namespace(squared)))

    # ------------------------------------------------------------ shared

    def _mean(
        self, points: Any, weights: Any, axis: int, check: bool, *, is_natural: bool
    ) -> Array:
        xp, x, weights = _array.gate_mean(check, PARAMETERS, points, weights, axis)
        self._require_points(check, points=x, has_inverse=not is_natural)
        back, x = wide(x)
        weights = None if weights is None else wide(weights)[1]
        theta = over(self._potential.theta, x)
        xp = array_namespace(theta)
        middle = _array.weighted_sum(theta, weights, axis, xp)
        if is_natural:
            return back(over(self._potential.point, middle))
        means = _array.weighted_sum(over(self._potential.slope, theta), weights, axis, xp)
        return back(self._from_means(means, middle))


finish(
    globals(),
    {
        "a : array, shape (..., k)": "Parameters of points.",
        "a, b : array, shape (..., k)": "Parameters of points; batch axes broadcast.",
        "v : array, shape (..., k)": "Velocities of the parameters.",
        "u, v : array, shape (..., k)": "Velocities of the parameters.",
        "rtol : float": "How exact the length has to be by the estimate of its error, relative.",
        "start : array, shape (..., k), or None": (
            "Parameters of a point to begin with; what is found does not depend on it. None: zeros."
        ),
        "TypeError, ValueError": (
            "Points outside of the family, where the log-partition is not finite; a log-partition\n"
            "that is not convex there, or whose second derivative is not positive definite, where\n"
            "that is needed; functions that torch cannot differentiate; arrays of different\n"
            "libraries."
        ),
        "SolveError": (
            "A geodesic or a mean that was not found as exactly as asked for. It carries\n"
            "``.result`` and, for a batch, ``.failed``: the positions in the flattened batch."
        ),
    },
)
