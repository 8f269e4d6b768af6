"""Geodesics of the simplex, and the maps between velocities and points."""

from __future__ import annotations

from infogeo import _array, _geodesic, _sphere
from infogeo._array import PROBABILITIES, TANGENT, UNIT_INTERVAL, Array, Namespace, bad_value, gate
from infogeo.simplex._distance import angle_of_chord, normalised, root_difference
from infogeo.simplex._tangents import on_sphere
from infogeo.typing import A, ArrayLike


def fisher_rao_geodesic(
    p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True
) -> A:
    r"""Return the point at t of the Fisher-Rao geodesic from p (t = 0) to q (t = 1).

    .. math:: \sqrt{\gamma(t)} = \frac{\sin((1 - t)\varphi) \sqrt p + \sin(t \varphi) \sqrt q}
              {\sin \varphi}, \qquad \varphi = d(p, q) / 2

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1] (`exp_map` goes beyond).

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> fisher_rao_geodesic([1.0, 0.0], [0.0, 1.0], 0.5).round(12)
    array([0.5, 0.5])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    delta = root_difference(p, q, xp)
    angle = 0.5 * angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    t = _array.as_leading(t, delta, xp)
    from_p, from_q = _sphere.slerp_weights(angle, t, xp)
    root_p, root_q = (_array.safe_sqrt(normalised(x, xp), xp) for x in (p, q))
    return normalised((from_p * root_p + from_q * root_q) ** 2, xp)


def e_geodesic(p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the e-geodesic from p to q, which is straight in log-probabilities.

    .. math:: \gamma(t) \propto p^{1 - t} q^t

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities. Inside (0, 1) an outcome that p or q excludes has probability 0.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1]; p and q without a common outcome.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_geodesic([0.8, 0.2], [0.2, 0.8], [0.0, 0.5, 1.0]).round(12)
    array([[0.8, 0.2],
           [0.5, 0.5],
           [0.2, 0.8]])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    joint = (p > 0.0) & (q > 0.0)
    _geodesic.require_common_outcome("p and q", joint, check, xp)
    t = _array.as_leading(t, joint, xp)
    one = xp.ones_like(p + q)
    log_p, log_q = xp.log(xp.where(joint, p, one)), xp.log(xp.where(joint, q, one))
    theta = xp.where(joint, (1.0 - t) * log_p + t * log_q, -xp.inf)
    return _with_ends(xp.exp(_array.log_softmax(theta, xp)), p, q, t, xp)


def m_geodesic(p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point at t of the m-geodesic from p to q, which is straight in probabilities.

    .. math:: \gamma(t) = (1 - t) p + t q

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_geodesic([1.0, 0.0], [0.0, 1.0], 0.25)
    array([0.75, 0.25])
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    p, q = normalised(p, xp), normalised(q, xp)
    t = _array.as_leading(t, p + q, xp)
    return (1.0 - t) * p + t * q


def alpha_geodesic(
    p: ArrayLike[A], q: ArrayLike[A], t: ArrayLike[A], *, alpha: float, check: bool = True
) -> A:
    r"""Return the point at t of the geodesic of Amari's alpha-connection from p to q.

    As a set it is the normalised straight line between the alpha-representations
    p^beta and q^beta, beta = (1 - alpha) / 2:

    .. math:: \gamma \propto ((1 - s) p^\beta + s q^\beta)^{1 / \beta}, \qquad
              t(s) \propto \int_0^s Z(\sigma)^{-2 \beta} d\sigma

    with Z the sum before normalisation; the time change t(s) makes the parameter affine.

    Parameters
    ----------
    p, q : array, shape (..., c)
    t : float or array
    alpha : float
        +1 is the e-connection, -1 the m-connection, 0 Levi-Civita; any real number is allowed.
    check : bool

    Returns
    -------
    array, shape t.shape + (..., c)
        Probabilities.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1]; for alpha >= 1, p and q without a common
        outcome.

    Notes
    -----
    t(s) is integrated by Gauss' rule on panels that are halved where the integrand bends, and
    inverted by Newton's method; alpha = 0 and +-1 have closed forms. Inside ``jax.jit`` and
    ``torch.func``, where values cannot be read, the panels are fixed, and tails lose digits for
    alpha in (0.8, 1).

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.6.

    Examples
    --------
    >>> p, q = [0.7, 0.2, 0.1], [0.1, 0.1, 0.8]
    >>> np.allclose(alpha_geodesic(p, q, 0.3, alpha=0.0), fisher_rao_geodesic(p, q, 0.3))
    True
    """
    xp, p, q, t = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q), t=(UNIT_INTERVAL, t))
    alpha = _array.finite_number("alpha", alpha)
    closed = {1.0: e_geodesic, 0.0: fisher_rao_geodesic, -1.0: m_geodesic}.get(alpha)
    if closed is not None:
        return closed(p, q, t, check=check)
    beta = 0.5 * (1.0 - alpha)
    joint = (p > 0.0) & (q > 0.0)
    if beta < 0.0:
        _geodesic.require_common_outcome("p and q", joint, check, xp)
    log_p, log_q = (_array.safe_log(normalised(x, xp), xp) for x in (p, q))
    t = _array.as_leading(t, joint, xp)
    log_point = _geodesic.log_alpha_geodesic(log_p, log_q, t, beta, xp)
    return _with_ends(xp.exp(log_point), p, q, t, xp)


def _with_ends(inside: Array, p: Array, q: Array, t: Array, xp: Namespace) -> Array:
    p, q = normalised(p, xp), normalised(q, xp)
    return _geodesic.with_ends(inside, p, q, t, (p > 0.0) != (q > 0.0), xp)


def exp_map(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the point that the Fisher-Rao geodesic from p with velocity v reaches at time 1.

    .. math:: \sqrt{\exp_p v} = \cos(|x|) \sqrt p + \frac{\sin |x|}{|x|} x,
              \qquad x = \frac{v}{2 \sqrt p}

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities, at Fisher-Rao distance ``norm(p, v)`` from p.

    Raises
    ------
    TypeError, ValueError
        Values that are not probabilities or not tangent; a geodesic that leaves the simplex
        before time 1 (see `boundary_time`): the formula would reflect it, and a reflected curve
        is no geodesic.

    Examples
    --------
    >>> exp_map([0.5, 0.5], [np.pi / 4, -np.pi / 4]).round(12)
    array([1., 0.])
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    root, x, length = on_sphere(p, v, check, xp)
    time = _boundary_time(root, x, length, xp)
    if check and _array.is_readable(time):
        _sphere.require_inside(time, xp)
    return normalised((xp.cos(length) * root + _sphere.sinc(length, xp) * x) ** 2, xp)


def log_map(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the velocity at p of the Fisher-Rao geodesic that reaches q at time 1.

    .. math:: \log_p q = \frac{2 \varphi}{\sin \varphi}
              \sqrt p \left(\sqrt q - \cos(\varphi) \sqrt p\right), \qquad \varphi = d(p, q) / 2

    Parameters
    ----------
    p, q : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Tangent vector at p, of norm d(p, q): the inverse of `exp_map`.

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; an outcome of q that p excludes: leaving a face takes infinite
        speed in probabilities (the chart `sphere_embedding` has no such limit).

    Examples
    --------
    >>> log_map([0.5, 0.5], [1.0, 0.0]).round(6)
    array([ 0.785398, -0.785398])
    """
    xp, p, q = gate(check, p=(PROBABILITIES, p), q=(PROBABILITIES, q))
    leaves_face = (p == 0.0) & (q > 0.0)
    if check and _array.is_readable(leaves_face) and bool(xp.any(leaves_face)):
        raise bad_value(
            "q",
            "be 0 where p is",
            "it has an outcome that p excludes, and no finite velocity leaves a face",
            "Work with sphere_embedding(p), or with distances.",
        )
    delta = -root_difference(p, q, xp)
    squared_chord = xp.sum(delta**2, axis=-1, keepdims=True)
    angle = 0.5 * angle_of_chord(_array.norm(delta, xp), xp)[..., None]
    root = _array.safe_sqrt(normalised(p, xp), xp)
    # sqrt q - cos(angle) sqrt p, with 1 - cos(angle) = |delta|^2 / 2
    return 2.0 / _sphere.sinc(angle, xp) * root * (delta + 0.5 * squared_chord * root)


def boundary_time(p: ArrayLike[A], v: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the time at which the geodesic from p with velocity v leaves the simplex.

    .. math:: t = \min_i \frac{1}{|x|} \operatorname{atan2}(|x| \sqrt{p_i}, -x_i),
              \qquad x = \frac{v}{2 \sqrt p}

    Parameters
    ----------
    p : array, shape (..., c)
    v : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (...)
        Time > 0 of the first face outside p's own; inf for v = 0.

    Examples
    --------
    >>> round(float(boundary_time([0.5, 0.5], [0.5, -0.5])) * 2 / np.pi, 12)
    1.0
    """
    xp, p, v = gate(check, p=(PROBABILITIES, p), v=(TANGENT, v))
    return _boundary_time(*on_sphere(p, v, check, xp), xp)


def _boundary_time(root: Array, x: Array, length: Array, xp: Namespace) -> Array:
    is_zero = length == 0.0
    angle = xp.atan2(length * root, -x)
    angle = xp.where((root == 0.0) & (x == 0.0), xp.full_like(angle, xp.inf), angle)
    time = angle / xp.where(is_zero, xp.ones_like(length), length)
    return xp.min(xp.where(is_zero, xp.full_like(time, xp.inf), time), axis=-1)
