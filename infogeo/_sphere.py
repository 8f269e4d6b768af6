"""The unit sphere, on which predictions are the vectors sqrt(p): what the simplex and logits share.

Angles are those of the sphere of radius 2, twice those between unit vectors, so that they are
Fisher-Rao distances. A chord is |sqrt p - sqrt q|.
"""

from infogeo import _array
from infogeo._array import Array, Namespace, bad_value


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

    A geodesic that ends on a face may pass it by a rounding error. The roots then differ from 0 by
    as much, and the probabilities only by its square.
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
