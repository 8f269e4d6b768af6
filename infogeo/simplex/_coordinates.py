"""Charts of the simplex: the sphere, natural and expectation parameters, and the metric in them."""

from __future__ import annotations

import math

from infogeo import _array
from infogeo._array import PROBABILITIES, Array, Namespace, Rule, bad_value, gate
from infogeo.simplex._distance import normalised
from infogeo.typing import A, ArrayLike


def sphere_embedding(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Map probabilities to the positive orthant of the sphere of radius 2, isometrically.

    .. math:: u = 2 \sqrt p

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        Of Euclidean norm 2. The Fisher-Rao distance is the arc between two of them.

    Examples
    --------
    >>> sphere_embedding([0.25, 0.75]).round(6)
    array([1.      , 1.732051])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return 2.0 * _array.safe_sqrt(normalised(p, xp), xp)


def from_sphere(u: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of a point on the positive orthant of the sphere of radius 2.

    .. math:: p = u^2 / 4

    Parameters
    ----------
    u : array, shape (..., c)
        Not negative, of Euclidean norm 2.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `sphere_embedding`.

    Raises
    ------
    TypeError, ValueError
        Negative entries; a norm that is not 2.

    Examples
    --------
    >>> from_sphere([2.0, 0.0])
    array([1., 0.])
    """
    xp, u = gate(check, u=(_ON_SPHERE, u))
    return normalised(0.25 * u * u, xp)


def _is_on_sphere(u: Array, coarseness: float) -> bool:
    excess = 0.25 * (u * u).sum(-1) - 1.0
    tolerance = 4e-6 * math.sqrt(u.shape[-1]) + 8.0 * coarseness
    return bool((u >= 0.0).all()) and bool((abs(excess) <= tolerance).all())


def _explain_sphere(name: str, u: Array, coarseness: float) -> None:
    if not _is_on_sphere(u, coarseness):
        off = abs(0.25 * (u * u).sum(-1) - 1.0).max()
        raise bad_value(
            name,
            "lie on the positive orthant of the sphere of radius 2",
            f"smallest entry {u.min():.6g}, largest ||{name}|^2 / 4 - 1| = {off:.6g}",
            f"Use 2 * {name} / norm({name}) for a direction with entries that are not negative.",
        )


_ON_SPHERE = Rule("outcomes", _is_on_sphere, _explain_sphere)


def natural_parameters(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the e-coordinates, which are the logits with sum zero.

    .. math:: \theta_i = \log p_i - \frac1c \textstyle\sum_j \log p_j

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c)
        -inf where p is 0; the finite ones sum to 0.

    Examples
    --------
    >>> natural_parameters([0.5, 0.5])
    array([0., 0.])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return _array.centred(_array.safe_log(p, xp), xp)


def from_natural_parameters(theta: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of e-coordinates, by the softmax.

    .. math:: p_i = \exp(\theta_i - \psi), \qquad \psi = \log \textstyle\sum_j \exp \theta_j

    Parameters
    ----------
    theta : array, shape (..., c)
        Logits along the last axis, -inf for probability 0; a constant changes nothing.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `natural_parameters`.

    Raises
    ------
    TypeError, ValueError
        NaN, +inf or rows of -inf.

    Examples
    --------
    >>> from_natural_parameters([1.0, 1.0])
    array([0.5, 0.5])
    """
    xp, theta = gate(check, theta=(_array.LOGITS, theta))
    return _array.softmax(theta, xp)


def expectation_parameters(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the m-coordinates, which are the probabilities of all outcomes but the last.

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    array, shape (..., c - 1)
        The coordinates eta in which `fisher_information` and `christoffel_symbols` are given.

    Examples
    --------
    >>> expectation_parameters([0.25, 0.25, 0.5])
    array([0.25, 0.25])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    return normalised(p, xp)[..., :-1]


def from_expectation_parameters(eta: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the probabilities of m-coordinates: the last outcome has what is missing to 1.

    Parameters
    ----------
    eta : array, shape (..., c - 1)
        Not negative, with sum at most 1.
    check : bool

    Returns
    -------
    array, shape (..., c)
        Probabilities: the inverse of `expectation_parameters`.

    Raises
    ------
    TypeError, ValueError
        Entries that are not the beginning of a distribution.

    Examples
    --------
    >>> from_expectation_parameters([0.25, 0.25])
    array([0.25, 0.25, 0.5 ])
    """
    xp, eta = gate(check, eta=(_BEGINNING, eta))
    if len(eta.shape) == 0:
        raise bad_value("eta", "have shape (..., c - 1)", "got a number")
    last = 1.0 - xp.sum(eta, axis=-1, keepdims=True)
    last = xp.where(last < 0.0, xp.zeros_like(last), last)  # rounding of a sum of 1
    return normalised(xp.concat([eta, last], axis=-1), xp)


def _begins_distribution(eta: Array, coarseness: float) -> bool:
    tolerance = 2e-6 * math.sqrt(eta.shape[-1] + 1) + 4.0 * coarseness if eta.ndim else 0.0
    return bool((eta >= 0.0).all()) and bool((eta.sum(-1) <= 1.0 + tolerance).all())


def _explain_beginning(name: str, eta: Array, coarseness: float) -> None:
    if not _begins_distribution(eta, coarseness):
        raise bad_value(
            name,
            "hold the first c - 1 of c probabilities",
            f"smallest entry {eta.min():.6g}, largest sum {eta.sum(-1).max():.6g}",
        )


_BEGINNING = Rule("", _begins_distribution, _explain_beginning)


def dimension(p: ArrayLike[A], *, check: bool = True) -> int:
    """Return the number of parameters of the distributions.

    Parameters
    ----------
    p : array, shape (..., c)
    check : bool

    Returns
    -------
    int
        One less than the number of outcomes: c - 1.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities.

    Examples
    --------
    >>> dimension([0.2, 0.3, 0.5])
    2
    """
    _, p = gate(check, p=(PROBABILITIES, p))
    return int(p.shape[-1]) - 1


def fisher_information(p: ArrayLike[A], *, check: bool = True) -> A:
    r"""Return the Fisher information matrix in expectation coordinates.

    .. math:: g_{ij} = \delta_{ij} / p_i + 1 / p_c, \qquad i, j < c

    Parameters
    ----------
    p : array, shape (..., c)
        Probabilities along the last axis, all positive.
    check : bool

    Returns
    -------
    array, shape (..., c - 1, c - 1)
        In squared radians per squared unit of probability.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities, or 0.

    Examples
    --------
    >>> fisher_information([0.5, 0.25, 0.25])
    array([[6., 4.],
           [4., 8.]])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = _interior(p, check, xp)
    identity = xp.eye(p.shape[-1] - 1, dtype=p.dtype, device=_array.device_of(p))
    return identity / p[..., :-1, None] + 1.0 / p[..., -1:, None]


def christoffel_symbols(p: ArrayLike[A], *, alpha: float = 0.0, check: bool = True) -> A:
    r"""Return the Christoffel symbols of the alpha-connection in expectation coordinates.

    .. math:: \Gamma^k_{ij} = -\frac{1 + \alpha}{2} \left(\frac{\delta_{ijk}}{p_k}
              - \frac{p_k \delta_{ij}}{p_i} - \frac{p_k}{p_c}\right), \qquad i, j, k < c

    Parameters
    ----------
    p : array, shape (..., c)
        Probabilities along the last axis, all positive.
    alpha : float
        +1 is the e-connection, -1 the m-connection (flat in these coordinates), 0 Levi-Civita.
    check : bool

    Returns
    -------
    array, shape (..., c - 1, c - 1, c - 1)
        The upper index k first, then i and j.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities, or 0.

    References
    ----------
    S. Amari and H. Nagaoka, Methods of Information Geometry, 2000, section 2.3.

    Examples
    --------
    >>> christoffel_symbols([0.25, 0.75])
    array([[[-1.33333333]]])
    """
    xp, p = gate(check, p=(PROBABILITIES, p))
    p = _interior(p, check, xp)
    identity = xp.eye(p.shape[-1] - 1, dtype=p.dtype, device=_array.device_of(p))
    upper, lower = p[..., :-1, None, None], p[..., None, :-1, None]
    cubic = identity[:, :, None] * identity[:, None, :] / upper
    cubic = cubic - upper * identity / lower - upper / p[..., -1:, None, None]
    return -0.5 * (1.0 + _array.finite_number("alpha", alpha)) * cubic


def _interior(p: Array, check: bool, xp: Namespace) -> Array:
    """Return the normalised p; raise if it has zeros, where coordinates are infinite."""
    if check and _array.is_readable(p) and bool(xp.any(p == 0.0)):
        raise bad_value(
            "p",
            "have positive probabilities only",
            "it has zeros, where the coordinates of the metric are infinite",
            "Leave out the outcomes of probability 0.",
        )
    return normalised(p, xp)
