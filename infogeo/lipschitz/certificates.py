r"""What a Lipschitz constant guarantees about a prediction.

The certificates are for logits z(x) with :math:`|z(x) - z(x')|_2 \le L |x - x'|_2`, unless a
function says otherwise. They hold to the rounding of their dtype, for the constant that they are
given; `infogeo.lipschitz.layers.lipschitz_bound` computes a bound on the constant of a network.
"""

import math
from dataclasses import dataclass, replace
from numbers import Real
from typing import ClassVar

from array_api_compat import device as device_of

from infogeo import _sphere
from infogeo._array import (
    MODEL_LOGITS,
    NON_NEGATIVE,
    POSITIVE,
    REAL,
    Array,
    bad_value,
    entries,
    gate,
    norm,
    top_two,
)
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.registry import storable

__all__ = [
    "Coverage",
    "accept",
    "binary_radius",
    "boundary_distance",
    "confidence_bound",
    "coverage",
    "drift_bound",
    "fisher_rao_radius",
    "l_inf_radius",
    "margin_radius",
    "pairwise_radius",
    "total_variation_bound",
]


@storable("Coverage")
@dataclass(frozen=True, eq=False, repr=False)
class Coverage(Table):
    """What is left of a classifier that rejects inputs without a certificate.

    Parameters
    ----------
    radii : array, shape (r,)
        The radii to certify.
    coverage : array, shape (r,)
        Share of the inputs that are accepted.
    accuracy : array, shape (r,)
        Share of the accepted inputs that are classified right; NaN if none is accepted.
    certified_accuracy : array, shape (r,)
        Share of all inputs that are accepted and classified right.
    """

    axes: ClassVar = {"radius": "radii"}

    radii: Array
    coverage: Array
    accuracy: Array
    certified_accuracy: Array


def margin_radius(logits: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return the radius within which no perturbation of the input changes the predicted class.

    .. math:: r(z) = \frac{z_{(1)} - z_{(2)}}{\sqrt2 L}

    with the two largest logits. It is the l2 distance to the decision boundary itself if z is
    affine and its Jacobian is L times a partial isometry.

    Parameters
    ----------
    logits : array, shape (..., c)
    lipschitz_constant : float or array, shape (...)
        L > 0, from l2 to l2.
    check : bool

    Returns
    -------
    array, shape (...)
        In the l2 norm of the input; 0 at a tie, inf if all other classes are masked.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; L not positive.

    Notes
    -----
    At a tie the gradient is that of the class `argmax` names, which is a subgradient.

    References
    ----------
    Y. Tsuzuku, I. Sato and M. Sugiyama, Lipschitz-margin training: scalable certification of
    perturbation invariance for deep neural networks, NeurIPS 2018, proposition 1.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import margin_radius
    >>> float(margin_radius([3.0, -1.0, 1.0], lipschitz_constant=1.0))
    1.41421356...
    """
    xp, z, constant = gate(
        check, logits=(MODEL_LOGITS, logits), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    top, second = top_two(z, xp)
    return (top - second) / (math.sqrt(2.0) * constant)


def binary_radius(f: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return the radius within which no perturbation of the input changes the sign of the output.

    .. math:: r(f) = |f| / L

    Parameters
    ----------
    f : array, shape (...)
        The output of a binary classifier, one number for each input.
    lipschitz_constant : float or array, shape (...)
        L > 0, from any norm to the absolute value.
    check : bool

    Returns
    -------
    array, shape (...)
        In that norm of the input.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not finite; L not positive.

    Notes
    -----
    A classifier that rejects what is not certified for a radius r says 1 iff f > L r, and -1 iff
    f < -L r.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import binary_radius
    >>> binary_radius([-3.0, 0.5], lipschitz_constant=2.0)
    array([1.5 , 0.25])
    """
    xp, f, constant = gate(check, f=(REAL, f), lipschitz_constant=(POSITIVE, lipschitz_constant))
    return xp.abs(f) / constant


def pairwise_radius(
    logits: Array, weight: Array, *, lipschitz_constant: Array, check: bool = True
) -> Array:
    r"""Return the radius within which the predicted class stays, from the rows of the last layer.

    .. math:: r(z) = \min_{j \ne k} \frac{z_k - z_j}{L |w_k - w_j|_2}, \qquad z = W h(x) + b

    Parameters
    ----------
    logits : array, shape (..., c)
    weight : array, shape (c, m)
        W, the matrix of the last layer.
    lipschitz_constant : float or array, shape (...)
        L > 0 of the features h, from l2 to l2: that of the network without its last layer.
    check : bool

    Returns
    -------
    array, shape (...)
        In the l2 norm of the input; 0 at a tie, inf if no other class can ever win.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; a W of another shape.

    Notes
    -----
    Never smaller than `margin_radius` with the constant :math:`L |W|_2`; the same if the rows of W
    are orthogonal and of one norm.

    References
    ----------
    Y. Tsuzuku, I. Sato and M. Sugiyama, Lipschitz-margin training: scalable certification of
    perturbation invariance for deep neural networks, NeurIPS 2018, section 5.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import pairwise_radius
    >>> float(pairwise_radius([3.0, 1.0], [[1.0, 0.0], [0.5, 0.0]], lipschitz_constant=1.0))
    4.0
    """
    xp, z, weight, constant = gate(
        check,
        logits=(MODEL_LOGITS, logits),
        weight=(_WEIGHT, weight),
        lipschitz_constant=(POSITIVE, lipschitz_constant),
    )
    num_classes = z.shape[-1]
    if len(weight.shape) != 2 or weight.shape[0] != num_classes:
        raise bad_value(
            "weight",
            f"have one row for each of the {num_classes} classes",
            f"got shape {tuple(weight.shape)}",
        )
    predicted, is_top = xp.argmax(z, axis=-1), _is_top(z, xp)
    gaps = xp.sum(xp.where(is_top, z, xp.zeros_like(z)), axis=-1, keepdims=True) - z
    norms = xp.stack(
        [norm(weight - weight[k : k + 1, :], xp) for k in range(num_classes)]  # never underflows
    )
    flat = xp.reshape(predicted, (-1,))
    norms = xp.reshape(xp.take(norms, flat, axis=0), z.shape)
    is_parallel = norms == 0.0  # the gap is a constant
    never = xp.where(gaps > 0.0, xp.full_like(gaps, math.inf), xp.zeros_like(gaps))
    radii = xp.where(is_parallel, never, gaps / xp.where(is_parallel, xp.ones_like(norms), norms))
    radii = xp.where(is_top, xp.full_like(radii, math.inf), radii)
    return xp.min(radii, axis=-1) / constant


def l_inf_radius(logits: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return the radius in the maximum norm within which the predicted class stays.

    .. math:: r(z) = \frac{z_{(1)} - z_{(2)}}{2 K}

    Parameters
    ----------
    logits : array, shape (..., c)
    lipschitz_constant : float or array, shape (...)
        K > 0 of each logit, from the maximum norm: ``lipschitz_bound(model, order=np.inf)``.
    check : bool

    Returns
    -------
    array, shape (...)
        In the maximum norm of the input; 0 at a tie, inf if all other classes are masked.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; K not positive.

    Notes
    -----
    One logit may fall by K r while another rises by K r: the margin has to exceed 2 K r, and a
    quarter of that is not enough.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import l_inf_radius
    >>> float(l_inf_radius([3.0, -1.0, 1.0], lipschitz_constant=1.0))
    1.0
    """
    xp, z, constant = gate(
        check, logits=(MODEL_LOGITS, logits), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    top, second = top_two(z, xp)
    return (top - second) / (2.0 * constant)


def boundary_distance(logits: Array, *, check: bool = True) -> Array:
    r"""Return the Fisher-Rao distance from a prediction to the nearest one with another decision.

    .. math:: d_B(p) = 2 \arcsin \frac{\sqrt{p_{(1)}} - \sqrt{p_{(2)}}}{\sqrt2}

    with the two largest of the probabilities p = softmax(z).

    Parameters
    ----------
    logits : array, shape (..., c)
        Logits along the last axis, at least two; -inf masks a class.
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2, from 0 at a tie to pi/2 at a vertex of the simplex.

    Raises
    ------
    TypeError, ValueError
        Something else than an array of logits.

    Notes
    -----
    With u = sqrt p on the unit sphere, the tie of the predicted class k and class j is the great
    sphere u_k = u_j, at the angle arcsin((u_k - u_j) / sqrt2). The foot of the perpendicular has
    no negative coordinate, so that it is a prediction, and where j is the runner-up no class is
    ahead of the two there. Near a tie and far from it the result is exact to rounding.

    Examples
    --------
    >>> import numpy as np
    >>> from infogeo.lipschitz.certificates import boundary_distance
    >>> boundary_distance([[0.0, 0.0], [1e-9, 0.0], [np.log(3.0), 0.0], [1e3, 0.0]])
    array([0.00000000e+00, 5.00000000e-10, 5.23598776e-01, 1.57079633e+00])
    """
    xp, z = gate(check, logits=(MODEL_LOGITS, logits))
    if z.shape[-1] < 2:
        raise bad_value(
            "logits", "hold at least two classes in its last axis", f"got shape {tuple(z.shape)}"
        )
    return 2.0 * xp.asin(_sphere.boundary_sine(z, xp))


def fisher_rao_radius(logits: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return the radius within which the prediction cannot drift to a decision boundary.

    .. math:: r(p) = \frac{2 \sqrt2}{L} \operatorname{artanh}
              \frac{\sqrt{p_{(1)}} - \sqrt{p_{(2)}}}{\sqrt2}

    with the two largest of the probabilities p = softmax(z).

    Parameters
    ----------
    logits : array, shape (..., c)
    lipschitz_constant : float or array, shape (...)
        L > 0, from l2 to l2.
    check : bool

    Returns
    -------
    array, shape (...)
        In the l2 norm of the input; at most 2.4929 / L, and never larger than `margin_radius`.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; L not positive.

    Notes
    -----
    It is where `drift_bound` reaches `boundary_distance`. The probabilities are never formed: near
    a tie their difference would cancel.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import fisher_rao_radius
    >>> fisher_rao_radius([[1e-9, 0.0], [1.0, 0.0], [1e3, 0.0]], lipschitz_constant=1.0)
    array([7.07106781e-10, 6.85989488e-01, 2.49290096e+00])
    """
    xp, z, constant = gate(
        check, logits=(MODEL_LOGITS, logits), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    return (2.0 * math.sqrt(2.0)) * xp.atanh(_sphere.boundary_sine(z, xp)) / constant


def drift_bound(radius: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return how far a perturbation can move the prediction, in Fisher-Rao distance.

    .. math:: \delta(r) = 2 \operatorname{gd}\Bigl(\frac{L r}{2 \sqrt2}\Bigr)
              \le \frac{L r}{\sqrt2}, \qquad \operatorname{gd}(x) = 2 \arctan \tanh \frac x2

    Parameters
    ----------
    radius : float or array, shape (...)
    lipschitz_constant : float or array, shape (...)
    check : bool

    Returns
    -------
    array, shape (...)
        Upper bound on the distance between softmax(z(x)) and softmax(z(x')), in radians of the
        sphere of radius 2: from 0 to pi.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; a negative radius; L not positive.

    Notes
    -----
    It is attained, for every number of classes, by two predictions on either side of a tie:
    logits (a, -a, -inf, ...) and (-a, a, -inf, ...).

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import drift_bound
    >>> drift_bound([0.0, 1.0, 100.0], lipschitz_constant=1.0).round(6)
    array([0.      , 0.69282 , 3.141593])
    """
    xp, radius, constant = gate(
        check, radius=(NON_NEGATIVE, radius), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    return 4.0 * xp.atan(xp.tanh(constant * radius / (4.0 * math.sqrt(2.0))))


def total_variation_bound(radius: Array, *, lipschitz_constant: Array, check: bool = True) -> Array:
    r"""Return how far a perturbation can move the prediction, in total variation.

    .. math:: \tfrac12 |p - q|_1 \le \sin \frac{\delta(r)}2 = \tanh \frac{L r}{2 \sqrt2}

    It is the guarantee for a class that is drawn from the prediction: no event becomes more or
    less probable by more than this.

    Parameters
    ----------
    radius : float or array, shape (...)
    lipschitz_constant : float or array, shape (...)
    check : bool

    Returns
    -------
    array, shape (...)
        From 0 to 1.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; a negative radius; L not positive.

    Notes
    -----
    With :math:`\delta` of `drift_bound`. At a Fisher-Rao distance of d the total variation is at
    most sin(d/2), which two predictions on either side of a tie attain.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import total_variation_bound
    >>> total_variation_bound([0.0, 1.0, 100.0], lipschitz_constant=1.0).round(6)
    array([0.      , 0.339523, 1.      ])
    """
    xp, radius, constant = gate(
        check, radius=(NON_NEGATIVE, radius), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    return xp.tanh(constant * radius / (2.0 * math.sqrt(2.0)))


def confidence_bound(
    logits: Array, radius: Array, *, lipschitz_constant: Array, check: bool = True
) -> Array:
    r"""Return the least probability that the predicted class can fall to under a perturbation.

    .. math:: q_k \ge \operatorname{sigmoid}\Bigl(\log \frac{p_k}{1 - p_k} - \sqrt2 L r\Bigr)

    with the largest of the probabilities p = softmax(z).

    Parameters
    ----------
    logits : array, shape (..., c)
    radius : float or array, shape (...)
    lipschitz_constant : float or array, shape (...)
    check : bool

    Returns
    -------
    array, shape (...)
        From 0 to 1: the probability itself at radius 0.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; a negative radius.

    Notes
    -----
    The log-odds of a class are its logit less the log-sum-exp of the others: a map from z whose
    gradient is at most :math:`\sqrt2` long. The bound is attained where the runner-up has all that
    class k has not, as of two classes. It is never below what the Fisher-Rao distance gives,
    :math:`\cos^2(\arccos \sqrt{p_k} + \delta(r) / 2)` with :math:`\delta` of `drift_bound`.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import confidence_bound
    >>> confidence_bound([2.0, 0.0], [0.0, 0.5, 5.0], lipschitz_constant=1.0).round(6)
    array([0.880797, 0.784636, 0.006237])
    """
    xp, z, radius, constant = gate(
        check,
        logits=(MODEL_LOGITS, logits),
        radius=(NON_NEGATIVE, radius),
        lipschitz_constant=(POSITIVE, lipschitz_constant),
    )
    top, second = top_two(z, xp)
    is_alone = second == -math.inf
    second = xp.where(is_alone, top, second)
    others = xp.where(_is_top(z, xp), xp.full_like(z, -math.inf), z - second[..., None])
    mass = xp.sum(xp.exp(others), axis=-1)  # at least 1 if there is another class
    log_mass = xp.log(xp.where(is_alone, xp.ones_like(mass), mass))
    log_odds = (top - second) - log_mass - math.sqrt(2.0) * constant * radius
    small = xp.exp(-xp.abs(log_odds))
    bound = xp.where(log_odds < 0.0, small, xp.ones_like(small)) / (1.0 + small)
    return xp.where(is_alone, xp.ones_like(bound), bound)


def accept(
    logits: Array,
    radius: Array,
    *,
    lipschitz_constant: Array,
    order: float = 2,
    check: bool = True,
) -> Array:
    r"""Return whether a prediction is certified for a radius; if not, its class is "rejected".

    .. math:: z_{(1)} - z_{(2)} > 2^{1 - 1/s} L r

    Parameters
    ----------
    logits : array, shape (..., c)
    radius : float or array, shape (...)
        The size of the perturbations, not negative.
    lipschitz_constant : float or array, shape (...)
        L > 0 of the logits: ``lipschitz_bound(model, order=order)``.
    order : 1, 2 or inf
    check : bool

    Returns
    -------
    bool array, shape (...)
        False is the class "rejected".

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; entries that are not logits; a negative radius; another
        order.

    Notes
    -----
    No perturbation of size r takes an accepted input to another class: it stays in its own, or is
    rejected. An input that is accepted for the radius r + t is still accepted for r after any
    perturbation of size t, because `margin_radius` changes by no more than the input moves.

    By Hoelder's inequality the margin changes by no more than :math:`|z(x) - z(x')|_s` times the
    norm of :math:`e_j - e_k` of the dual order, which is 1, sqrt 2 or 2 for s = 1, 2 or inf.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import accept
    >>> accept([[2.0, 0.0], [0.5, 0.0]], 1.0, lipschitz_constant=1.0)
    array([ True, False])
    """
    xp, z, radius, constant = gate(
        check,
        logits=(MODEL_LOGITS, logits),
        radius=(NON_NEGATIVE, radius),
        lipschitz_constant=(POSITIVE, lipschitz_constant),
    )
    top, second = top_two(z, xp)
    return top - second > _per_radius(order) * constant * radius


def coverage(
    logits: Array,
    target: Array,
    radii: Array,
    *,
    lipschitz_constant: float,
    order: float = 2,
    check: bool = True,
) -> Coverage:
    r"""Return the coverage and the accuracy of a classifier that rejects what is not certified.

    Parameters
    ----------
    logits : array, shape (n, c)
        Logits along the last axis; -inf masks a class.
    target : array, shape (n,)
        The true classes, integers from 0 to c - 1.
    radii : float or array, shape (r,)
        The radii to certify, not negative.
    lipschitz_constant : float
        L > 0 of the logits: ``lipschitz_bound(model, order=order)``.
    order : 1, 2 or inf
    check : bool

    Returns
    -------
    Coverage
        A number for each radius.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; shapes or values that do not fit.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import coverage
    >>> logits = [[4.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 0.0]]
    >>> found = coverage(logits, [0, 1, 1, 1], [0.0, 1.0, 2.5, 9.0], lipschitz_constant=1.0)
    >>> found.coverage
    array([1.  , 0.75, 0.25, 0.  ])
    >>> found.accuracy
    array([0.5       , 0.66666667, 1.        ,        nan])
    >>> found.certified_accuracy
    array([0.5 , 0.5 , 0.25, 0.  ])
    """
    xp, z, target, radii, constant = gate(
        check,
        logits=(MODEL_LOGITS, logits),
        target=(CLASSES, target),
        radii=(_RADII, radii),
        lipschitz_constant=(POSITIVE, lipschitz_constant),
    )
    if len(z.shape) != 2 or target.shape != z.shape[:1] or z.shape[0] == 0:
        raise bad_value(
            "logits and target",
            "have one row and one class for each of the inputs, at least one",
            f"their shapes are {tuple(z.shape)} and {tuple(target.shape)}",
        )
    if check and bool(xp.any(target >= z.shape[1])):
        raise bad_value(
            "target",
            f"hold classes from 0 to {z.shape[1] - 1}",
            f"it has the entry {float(xp.max(target)):g}",
        )
    top, second = top_two(z, xp)
    is_right = xp.astype(xp.argmax(z, axis=-1), z.dtype) == target
    needed = _per_radius(order) * constant * xp.reshape(radii, (-1,))
    is_accepted = (top - second)[:, None] > needed
    share = xp.mean(xp.astype(is_accepted, z.dtype), axis=0)
    certified = xp.mean(xp.astype(is_accepted & is_right[:, None], z.dtype), axis=0)
    is_empty = share == 0.0
    accuracy = certified / xp.where(is_empty, xp.ones_like(share), share)
    accuracy = xp.where(is_empty, xp.full_like(share, math.nan), accuracy)
    return Coverage(xp.reshape(radii, (-1,)), share, accuracy, certified)


def _per_radius(order):
    """Return the margin that a perturbation of size 1 can take away if the constant is 1."""
    if isinstance(order, bool) or not isinstance(order, Real) or order not in (1, 2, math.inf):
        raise bad_value("order", "be 1, 2 or inf", f"got {order!r}")
    return 2.0 ** (1.0 - 1.0 / order)


def _is_top(z, xp):
    """Return one True in each row: the predicted class."""
    return xp.arange(z.shape[-1], device=device_of(z)) == xp.argmax(z, axis=-1, keepdims=True)


# ---------------------------------------------------------------- rules


_RADII = replace(NON_NEGATIVE, axes=())  # not one for each row
_WEIGHT = replace(REAL, axes=("outcomes", "features"))


def _are_classes(y, coarseness):
    return float(y.min()) >= 0.0 and bool((y % 1.0 == 0.0).all())


CLASSES = entries(
    "hold classes as integers from 0 on", _are_classes, lambda y: (y >= 0.0) & (y % 1.0 == 0.0)
)


finish(
    globals(),
    {
        "logits : array, shape (..., c)": "Logits along the last axis; -inf masks a class.",
        "lipschitz_constant : float or array, shape (...)": "L > 0 of the logits, from l2 to l2.",
        "order : 1, 2 or inf": (
            "The s of the norm of perturbations, and of that of logits: the constant is one from\n"
            "the s-norm to the s-norm."
        ),
    },
)
