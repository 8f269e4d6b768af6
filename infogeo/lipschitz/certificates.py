r"""What a Lipschitz constant guarantees about a prediction.

All of them are for logits z(x) with :math:`|z(x) - z(x')|_2 \le L |x - x'|_2`; a bound on the
network's constant is `infogeo.lipschitz.layers.lipschitz_bound`. They hold to the rounding of the
dtype they are computed in, and for the constant they are given.
"""

import math

from infogeo._array import LOGITS, Rule, bad_value, boundary_sine, gate, top_two

__all__ = ["drift_bound", "fisher_rao_radius", "margin_radius"]


def margin_radius(logits, *, lipschitz_constant, check=True):
    r"""Radius within which no perturbation of the input changes the predicted class.

    .. math:: r(z) = \frac{z_{(1)} - z_{(2)}}{\sqrt2 L}

    with the two largest logits. It is the l2 distance to the decision boundary itself if z is
    affine and its Jacobian is L times a partial isometry.

    Parameters
    ----------
    logits : array, shape (..., c)
        Logits along the last axis; -inf masks a class.
    lipschitz_constant : float or array, shape (...)
        L > 0, from l2 to l2.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

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
        check, logits=(LOGITS, logits), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    top, second = top_two(z, xp)
    return (top - second) / (math.sqrt(2.0) * constant)


def fisher_rao_radius(logits, *, lipschitz_constant, check=True):
    r"""Radius within which the prediction cannot drift as far as the nearest decision boundary.

    .. math:: r(p) = \frac{2 \sqrt2}{L} \operatorname{artanh}
              \frac{\sqrt{p_{(1)}} - \sqrt{p_{(2)}}}{\sqrt2}

    with the two largest of the probabilities p = softmax(z).

    Parameters
    ----------
    logits : array, shape (..., c)
        Logits along the last axis; -inf masks a class.
    lipschitz_constant : float or array, shape (...)
        L > 0, from l2 to l2.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

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
    The Fisher-Rao distance from p to the set where its two largest probabilities are equal is
    :math:`2 \arcsin((\sqrt{p_{(1)}} - \sqrt{p_{(2)}}) / \sqrt2)`; the radius is where
    `drift_bound` reaches it. The probabilities are never formed: near a tie their difference
    would cancel.

    Examples
    --------
    >>> from infogeo.lipschitz.certificates import fisher_rao_radius
    >>> fisher_rao_radius([[1e-9, 0.0], [1.0, 0.0], [1e3, 0.0]], lipschitz_constant=1.0)
    array([7.07106781e-10, 6.85989488e-01, 2.49290096e+00])
    """
    xp, z, constant = gate(
        check, logits=(LOGITS, logits), lipschitz_constant=(POSITIVE, lipschitz_constant)
    )
    return (2.0 * math.sqrt(2.0)) * xp.atanh(boundary_sine(z, xp)) / constant


def drift_bound(radius, *, lipschitz_constant, check=True):
    r"""Fisher-Rao distance that no perturbation of the input of that size exceeds.

    .. math:: \delta(r) = 2 \operatorname{gd}\Bigl(\frac{L r}{2 \sqrt2}\Bigr)
              \le \frac{L r}{\sqrt2}, \qquad \operatorname{gd}(x) = 2 \arctan \tanh \frac x2

    Parameters
    ----------
    radius : float or array, shape (...)
        The l2 size of the perturbation, not negative.
    lipschitz_constant : float or array, shape (...)
        L > 0 of the logits, from l2 to l2.
    check : bool
        Verify the values. Shapes and dtypes are always verified.

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


# ---------------------------------------------------------------- rules


def _are_positive(x, coarseness):
    return float(x.min()) > 0.0 and float(x.max()) < math.inf


def _explain_positive(name, x, coarseness):
    wrong = ~((x > 0.0) & (x < math.inf))
    if wrong.any():
        raise bad_value(name, "be positive and finite", f"it has the entry {x[wrong][0]:.6g}")


def _are_non_negative(x, coarseness):
    return float(x.min()) >= 0.0


def _explain_non_negative(name, x, coarseness):
    wrong = ~(x >= 0.0)
    if wrong.any():
        raise bad_value(name, "not be negative", f"it has the entry {x[wrong][0]:.6g}")


POSITIVE = Rule("", _are_positive, _explain_positive)
NON_NEGATIVE = Rule("", _are_non_negative, _explain_non_negative)
