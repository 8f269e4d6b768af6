"""Geodesics of normal distributions, and the maps between velocities and points."""

from infogeo import _array, _points
from infogeo._array import UNIT_INTERVAL, Array, Namespace
from infogeo._points import make
from infogeo.normal._distance import ROOT_2, Fields, Separation, hypot, separation_of, sinhc
from infogeo.normal._point import Normal, Tangent


def fisher_rao_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point of the Fisher-Rao geodesic from a (t = 0) to b (t = 1).

    With the weights :math:`w_a = \sinh((1 - t) \rho) / \sinh \rho`,
    :math:`w_b = \sinh(t \rho) / \sinh \rho` and :math:`\rho = d(a, b) / \sqrt 2`:

    .. math:: \frac{1}{\sigma} = \frac{w_a}{\sigma_a} + \frac{w_b}{\sigma_b}, \qquad
              \frac{\mu}{\sigma} = \frac{w_a \mu_a}{\sigma_a} + \frac{w_b \mu_b}{\sigma_b}

    Parameters
    ----------
    a, b : Normal
    t : float or array
        Parameter in [0, 1], proportional to arc length. Its axes come first in the result.
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...).

    Raises
    ------
    TypeError, ValueError
        As `fisher_rao_distance`; t outside [0, 1] (`exp_map` goes beyond).

    References
    ----------
    C. Atkinson and A. F. S. Mitchell, Rao's distance measure, Sankhya A 43, 1981.

    Examples
    --------
    >>> middle = fisher_rao_geodesic(Normal(-1.0, 1.0), Normal(1.0, 1.0), 0.5)
    >>> float(middle.mean), round(float(middle.std) ** 2, 12)
    (0.0, 1.5)
    """
    xp, p, q, t = _points.gate(check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t))
    between = separation_of(p, q, xp)
    t = _array.as_leading(t, between.size, xp)
    is_near = between.arc < 0.5
    near_std, *near_shares = _near_geodesic(p, q, t, between, is_near, xp)
    far_std, *far_shares = _far_geodesic(p, q, t, between, is_near, xp)
    of_a, of_b = (xp.where(is_near, n, f) for n, f in zip(near_shares, far_shares, strict=True))
    return make(
        Normal, _mixed(p[0], q[0], of_a, of_b, xp), xp.where(is_near, near_std, far_std), xp=xp
    )


def _near_geodesic(
    a: Fields, b: Fields, t: Array, between: Separation, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return the standard deviation and the shares of the two means, for rho below 1.

    The standard deviation is that of a plus the change from it, and the change is computed by
    itself. So derivatives keep their digits where the points are near:
    1 - w_a - w_b = 2 sinh(t rho / 2) sinh((1 - t) rho / 2) / cosh(rho / 2).
    """
    squared = xp.where(is_near, 4.0 * between.squared_arc(xp), xp.zeros_like(between.size))
    std_a, std_b = a[1], xp.where(is_near, b[1], a[1])
    s, whole = 1.0 - t, sinhc(squared, xp)
    weight_a, weight_b = (x * sinhc(x * x * squared, xp) / whole for x in (s, t))
    cosh = 1.0 + 0.125 * squared * sinhc(squared / 16.0, xp) ** 2
    bend = sinhc(0.25 * s * s * squared, xp) * sinhc(0.25 * t * t * squared, xp) / cosh
    lack = 0.5 * t * s * squared * bend + weight_b * (xp.where(is_near, between.y, 0.0) / std_b)
    weight_b = weight_b * (std_a / std_b)
    total = weight_a + weight_b
    return std_a + std_a * (lack / total), weight_a / total, weight_b / total


def _far_geodesic(
    a: Fields, b: Fields, t: Array, between: Separation, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array]:
    """Return the standard deviation and the shares of the two means for larger rho.

    The factors exp(t rho) and exp((1 - t) rho) are taken out of the two terms, which leaves at most
    1 of each sinh. Then both terms are divided by the larger one, so that nothing overflows between
    standard deviations of 1e-300 and 1e300.
    """
    rho = xp.where(is_near, xp.ones_like(between.arc), 2.0 * between.arc)
    whole = -xp.expm1(-2.0 * rho)
    weight_a, weight_b = (
        -xp.expm1(-2.0 * (1.0 - t) * rho) / whole,
        -xp.expm1(-2.0 * t * rho) / whole,
    )
    log_ratio = 2.0 * xp.log(xp.sqrt(b[1]) / xp.sqrt(a[1]))
    advantage = (2.0 * t - 1.0) * rho - log_ratio  # of the term of b, as a logarithm
    # Beside a tie the nearer end is the unit, which makes the ends exact.
    is_a = advantage <= xp.where(t < 0.5, xp.ones_like(rho), -xp.ones_like(rho))
    smaller = xp.exp(xp.where(is_a, advantage, -advantage))
    weight_a = weight_a * xp.where(is_a, xp.ones_like(smaller), smaller)
    weight_b = weight_b * xp.where(is_a, smaller, xp.ones_like(smaller))
    total = weight_a + weight_b
    half_growth = xp.exp(0.5 * rho * xp.where(is_a, t, 1.0 - t))
    std = xp.where(is_a, a[1], b[1]) * half_growth * half_growth / total
    return std, weight_a / total, weight_b / total


def _mixed(mean_a: Array, mean_b: Array, of_a: Array, of_b: Array, xp: Namespace) -> Array:
    """Return of_a mean_a + of_b mean_b for shares of sum 1.

    It is the mean of the nearer end plus a share of the difference. So it is exact at both ends,
    and means that move together move it by as much, to the last digit.
    """
    difference = mean_b - mean_a
    return xp.where(of_b < 0.5, mean_a + of_b * difference, mean_b - of_a * difference)


def e_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point at t of the e-geodesic from a to b, straight in natural parameters.

    .. math:: \frac{1}{\sigma^2} = \frac{1 - t}{\sigma_a^2} + \frac{t}{\sigma_b^2}, \qquad
              \frac{\mu}{\sigma^2} = \frac{(1 - t) \mu_a}{\sigma_a^2} + \frac{t \mu_b}{\sigma_b^2}

    Parameters
    ----------
    a, b : Normal
    t : float or array
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...); its density is proportional to that of a to the power 1 - t
        times that of b to the power t.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> e_geodesic(Normal(0.0, 1.0), Normal(4.0, 1.0), 0.25)
    Normal(mean=1.0, std=1.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), t = _points.gate(
        check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t)
    )
    low, high = xp.minimum(std_a, std_b), xp.maximum(std_a, std_b)
    t = _array.as_leading(t, mean_a + mean_b + low, xp)
    ratio_a, ratio_b = low / std_a, low / std_b
    total = _mixed_squares(ratio_a, ratio_b, (std_a - std_b) / high, t, xp)
    is_end = total < _smallest(total, xp)
    total = xp.where(is_end, xp.ones_like(total), total)
    std = xp.where(is_end, (1.0 - t) * std_a + t * std_b, low / xp.sqrt(total))
    of_a = xp.where(is_end, 1.0 - t, (1.0 - t) * ratio_a**2 / total)
    of_b = xp.where(is_end, t, t * ratio_b**2 / total)
    return make(Normal, _mixed(mean_a, mean_b, of_a, of_b, xp), std, xp=xp)


def m_geodesic(a: Normal, b: Normal, t: Array, *, check: bool = True) -> Normal:
    r"""Return the point at t of the m-geodesic from a to b, straight in expectation parameters.

    .. math:: \mu = (1 - t) \mu_a + t \mu_b, \qquad
              \sigma^2 = (1 - t) \sigma_a^2 + t \sigma_b^2 + t (1 - t) (\mu_a - \mu_b)^2

    Parameters
    ----------
    a, b : Normal
    t : float or array
    check : bool

    Returns
    -------
    Normal
        Of shape t.shape + (...): the normal with the mean and the variance of the mixture of a
        and b.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> m_geodesic(Normal(-3.0, 4.0), Normal(3.0, 4.0), 0.5)
    Normal(mean=0.0, std=5.0)
    """
    xp, (mean_a, std_a), (mean_b, std_b), t = _points.gate(
        check, a=(Normal, a), b=(Normal, b), t=(UNIT_INTERVAL, t)
    )
    difference = mean_b - mean_a
    unit = xp.maximum(xp.maximum(std_a, std_b), xp.abs(difference))
    t = _array.as_leading(t, unit, xp)
    squared = _mixed_squares(std_a / unit, std_b / unit, (std_b - std_a) / unit, t, xp)
    squared = squared + t * (1.0 - t) * (difference / unit) ** 2
    is_end = squared < _smallest(squared, xp)
    inside = unit * xp.sqrt(xp.where(is_end, xp.ones_like(squared), squared))
    std = xp.where(is_end, (1.0 - t) * std_a + t * std_b, inside)
    return make(Normal, _mixed(mean_a, mean_b, 1.0 - t, t + xp.zeros_like(std), xp), std, xp=xp)


def _mixed_squares(x: Array, y: Array, difference: Array, t: Array, xp: Namespace) -> Array:
    """Return (1 - t) x^2 + t y^2 for positive x and y; `difference` is y - x with all its digits.

    Where the difference is small, the result is x^2 plus what the difference adds. So derivatives
    keep their digits where x and y are near.
    """
    is_near = xp.abs(difference) < 0.5 * x
    return xp.where(is_near, x * x + t * difference * (x + y), (1.0 - t) * (x * x) + t * (y * y))


def _smallest(x: Array, xp: Namespace) -> float:
    """Return the bound below which a sum of squares may have lost digits to underflow.

    A sum is that small only at the ends of a curve, where t or 1 - t is as small.
    """
    return float(xp.finfo(x.dtype).smallest_normal) / float(xp.finfo(x.dtype).eps)


def exp_map(a: Normal, v: Tangent, *, check: bool = True) -> Normal:
    r"""Return the point reached from a along the Fisher-Rao geodesic with velocity v, at time 1.

    With :math:`\xi = (\dot\mu / \sqrt 2, \dot\sigma) / \sigma_a` and :math:`\rho = |\xi|`:

    .. math:: \sigma = \frac{\sigma_a}{\cosh \rho - \frac{\sinh \rho}{\rho} \xi_2}, \qquad
              \mu = \mu_a + \sqrt 2 \, \sigma \frac{\sinh \rho}{\rho} \xi_1

    Parameters
    ----------
    a : Normal
        Where the geodesic starts.
    v : Tangent
        Its velocity. The batch axes broadcast.
    check : bool

    Returns
    -------
    Normal
        At Fisher-Rao distance ``norm(a, v)`` from a. The half-plane is complete: every velocity
        leads somewhere.

    Raises
    ------
    TypeError, ValueError
        Something else than a normal and a tangent vector; arrays of different libraries or
        devices; batch axes that do not broadcast; values that are not finite.

    Notes
    -----
    Cosh and sinh are combined so that they neither cancel nor overflow. For large norms the end
    answers to the rounding of v: its relative accuracy is the roundoff times the norm.

    Examples
    --------
    >>> round(float(exp_map(Normal(0.0, 1.0), Tangent(0.0, 2.0)).std), 6) == round(np.e**2, 6)
    True
    """
    xp, (mean, std), (v_mean, v_std) = _points.gate(check, a=(Normal, a), v=(Tangent, v))
    x, y = v_mean / std / ROOT_2, v_std / std
    length = hypot(x, y, xp)
    is_near = length < 1.0
    nearby = _near_exp(x, y, is_near, xp)
    distant = _far_exp(x, y, length, is_near, xp)
    growth, more, way, further = (
        xp.where(is_near, n, f) for n, f in zip(nearby, distant, strict=True)
    )
    return make(Normal, mean + ROOT_2 * (std * way) * further, std * growth * more, xp=xp)


def _near_exp(
    x: Array, y: Array, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array, Array]:
    """Return four factors of the end of a geodesic, for rho below 1, by series.

    The standard deviation of the end is that of the start times the first two of them. Its mean is
    that of the start plus sqrt 2 times the standard deviation of the start times the last two.
    """
    x, y = (xp.where(is_near, z, xp.zeros_like(z)) for z in (x, y))
    squared = x * x + y * y
    sinh = sinhc(squared, xp)
    cosh = 1.0 + 0.5 * squared * sinhc(0.25 * squared, xp) ** 2
    growth = 1.0 / (cosh - sinh * y)
    return growth, xp.ones_like(growth), sinh * x, growth


def _far_exp(
    x: Array, y: Array, length: Array, is_near: Array, xp: Namespace
) -> tuple[Array, Array, Array, Array]:
    r"""Return the same four factors for larger rho, without the difference of cosh and sinh.

    With q = exp(-rho / 2) and the direction (e, c) the denominator is g^2 / q^2, g = |(q^2, k)|,
    k^2 = (1 - q^4) (1 - c) / 2. For c > 0, where 1 - c cancels, it is e^2 / (1 + c). All factors
    stay in the range of floating-point numbers if the end does.
    """
    rho = xp.where(is_near, xp.ones_like(length), length)
    e, c = xp.where(is_near, xp.ones_like(x), x / rho), xp.where(is_near, xp.zeros_like(y), y / rho)
    tiny = float(xp.finfo(rho.dtype).smallest_normal)
    root_q = _array.clip(xp.exp(-0.25 * rho), xp, min=tiny)
    q = root_q * root_q
    rest = -xp.expm1(-2.0 * rho)
    is_up = c > 0.0
    up = e * xp.sqrt(0.5 * rest / (1.0 + xp.where(is_up, c, xp.zeros_like(c))))
    down = xp.sqrt(0.5 * rest * (1.0 - xp.where(is_up, xp.zeros_like(c), c)))
    k = xp.where(is_up, up, down)
    g = _array.clip(xp.hypot(q * q, k), xp, min=tiny)
    ratio = k / root_q
    is_lost = xp.abs(ratio) * tiny > root_q  # the end's deviation underflows
    ratio = xp.where(is_lost, 1.0 / tiny, ratio / xp.where(is_lost, xp.ones_like(q), root_q))
    h = _array.clip(xp.hypot(q, ratio), xp, min=tiny)
    return 1.0 / h, 1.0 / h, 0.5 * rest * (e / g), 1.0 / g


def log_map(a: Normal, b: Normal, *, check: bool = True) -> Tangent:
    r"""Return the velocity at a of the Fisher-Rao geodesic that reaches b at time 1.

    With :math:`\rho = d(a, b) / \sqrt 2` and :math:`\delta = \mu_b - \mu_a`:

    .. math:: (\dot\mu, \dot\sigma) = \frac{\rho}{\sinh \rho} \frac{\sigma_a}{\sigma_b}
              \left(\delta, \; \frac{\delta^2 / 2 + \sigma_b^2 - \sigma_a^2}{2 \sigma_a}\right)

    Parameters
    ----------
    a, b : Normal
    check : bool

    Returns
    -------
    Tangent
        At a, of norm d(a, b): the inverse of `exp_map`.

    Examples
    --------
    >>> v = log_map(Normal(0.0, 1.0), Normal(0.0, np.e))
    >>> float(v.mean), round(float(v.std), 12)
    (0.0, 1.0)
    """
    xp, p, q = _points.gate(check, a=(Normal, a), b=(Normal, b))
    (mean_a, std_a), (mean_b, std_b) = p, q
    between = separation_of(p, q, xp)
    x, y, total = between.x, between.y, std_a + std_b
    across = xp.hypot(x, total)  # sinh rho is size across / (2 std_a std_b)
    along_mean = 2.0 * (std_a / across) * (mean_b - mean_a)
    along_std = x * (x / across) + y * (total / across)
    # Their length, with the mean's over sqrt 2, is the size.
    unit = xp.where(between.is_far, between.size, xp.ones_like(between.size))
    near = std_a / xp.where(between.is_far, std_a, between.root) * between.arc_over_chord(xp)
    scale = xp.where(between.is_far, 2.0 * between.arc * std_a, near)
    return make(Tangent, scale * (along_mean / unit), scale * (along_std / unit), xp=xp)
