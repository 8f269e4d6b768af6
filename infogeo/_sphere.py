"""The unit sphere, on which predictions are the vectors sqrt(p): what the simplex and logits share.

Angles are those of the sphere of radius 2, twice those between unit vectors, so that they are
Fisher-Rao distances. A chord is |sqrt p - sqrt q|.
"""

import math

import numpy as np
from array_api_compat import numpy as numpy_namespace

from infogeo import _array
from infogeo._array import Array, Namespace, bad_value


def angle_of_chord(chord: Array, xp: Namespace) -> Array:
    """Return 4 arcsin(chord / 2): the arc on the sphere of radius 2 over |sqrt p - sqrt q|."""
    if xp is numpy_namespace:
        return np.minimum(4.0 * np.arcsin(0.5 * chord), math.pi)
    # Rounding may add one ulp to pi. Where it does the derivative is still that of the arc.
    arc = 4.0 * xp.asin(0.5 * chord)
    return arc + _array.detached(_array.clip(arc, xp, max=math.pi) - arc)


def squared_angle_of_chord(squared_chord: Array, xp: Namespace) -> Array:
    """Return (4 arcsin(chord / 2))^2, analytic in the squared chord, at 0 too.

    From 16 arcsin^2(sqrt(x) / 2) = 8 sum x^n / (n^2 binomial(2n, n)) near 0, so that automatic
    differentiation finds the gradient 0 and the Hessian 2 g there.
    """
    is_near = squared_chord < 0.01
    x = xp.where(is_near, squared_chord, xp.zeros_like(squared_chord))
    series = xp.zeros_like(x)
    for n in range(8, 0, -1):
        series = (series + 8.0 / (n * n * math.comb(2 * n, n))) * x
    x = xp.where(is_near, xp.ones_like(squared_chord), squared_chord)
    return _array.as_number(xp.where(is_near, series, 16.0 * xp.asin(0.5 * xp.sqrt(x)) ** 2))


def far_squared_chord(num_outcomes: int) -> float:
    """Return from where on a squared chord keeps its digits in 2 - 2 sum sqrt(p q).

    The distance is at most ten times less exact than the sum. Longer sums are less exact
    themselves, so that they may lose less.
    """
    return 0.1 if num_outcomes <= 100 else 0.2


def sinc(angle: Array, xp: Namespace) -> Array:
    """Return sin(angle) / angle."""
    is_zero = angle == 0.0
    safe = xp.where(is_zero, xp.ones_like(angle), angle)
    return xp.where(is_zero, xp.ones_like(angle), xp.sin(safe) / safe)


def slerp_weights(angle: Array, t: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return sin((1 - t) angle) / sin(angle) and sin(t angle) / sin(angle)."""
    is_zero = angle == 0.0
    sine = xp.where(is_zero, xp.ones_like(angle), xp.sin(angle))
    from_start = xp.where(is_zero, 1.0 - t, xp.sin((1.0 - t) * angle) / sine)
    return from_start, xp.where(is_zero, t, xp.sin(t * angle) / sine)


def require_inside(time: Array, xp: Namespace) -> None:
    """Raise if a geodesic leaves the simplex before time 1.

    One that ends on a face may overshoot by rounding, and then its square by rounding squared.
    """
    if bool(xp.any(time < 1.0 - xp.finfo(time.dtype).eps ** 0.5)):
        raise bad_value(
            "v",
            "keep the geodesic inside the simplex up to time 1",
            f"one leaves it at time {float(_array.on_host(xp.min(time))):.6g}",
            "Scale v by less than its boundary_time.",
        )


def boundary_sine(z: Array, xp: Namespace) -> Array:
    r"""Return (sqrt p_1 - sqrt p_2) / sqrt 2 of logits, with the two largest probabilities.

    It is the sine of the angle from u = sqrt p to the nearest tie: that of the classes k and j is
    the great sphere u_k = u_j. The foot of the perpendicular has both coordinates at their mean
    and the others as they are, up to a common factor: it is a distribution, and where j is the
    runner-up no other class is ahead of the two there. The probabilities are never formed: near
    a tie their difference would cancel.
    """
    top, second = _array.top_two(z, xp)
    inverse_p = xp.sum(xp.exp(z - top[..., None]), axis=-1)  # 1 / p of the predicted class
    return (0.0 - _array.expm1(0.5 * (second - top), xp)) / xp.sqrt(2.0 * inverse_p)
