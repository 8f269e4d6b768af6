"""Curves on the simplex in a form that probabilities and logits share."""

import math

import numpy as np

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

    One that ends on a face may overshoot by rounding, and then its square by rounding squared.
    """
    if bool(xp.any(time < 1.0 - xp.finfo(time.dtype).eps ** 0.5)):
        raise bad_value(
            "v",
            "keep the geodesic inside the simplex up to time 1",
            f"one leaves it at time {float(_array.on_host(xp.min(time))):.6g}",
            "Scale v by less than its boundary_time.",
        )


def require_common_outcome(names: str, joint: Array, check: bool, xp: Namespace) -> None:
    """Raise if two distributions have no outcome in common."""
    if check and _array.is_readable(joint) and not bool(xp.all(xp.any(joint, axis=-1))):
        raise bad_value(
            names,
            "have an outcome in common for this geodesic to join them",
            "their supports are disjoint",
            "The Fisher-Rao and m-geodesics join any two distributions.",
        )


def with_ends(inside: Array, p: Array, q: Array, t: Array, differ: Array, xp: Namespace) -> Array:
    """Return p at t = 0 and q at t = 1 where their supports differ: the curve jumps there.

    Elsewhere the curve itself goes through its ends, with its derivatives.
    """
    differ = xp.any(differ, axis=-1, keepdims=True)
    ends = xp.where(t == 0.0, p, q)
    return xp.where(((t == 0.0) | (t == 1.0)) & differ, ends, inside)


def log_alpha_geodesic(log_p: Array, log_q: Array, t: Array, beta: float, xp: Namespace) -> Array:
    """Return the logarithm of the alpha-geodesic's point, beta = (1 - alpha) / 2 not 0."""
    s = _invert_time_change(log_p, log_q, t, beta, xp)
    return _array.log_softmax(_power_line(log_p, log_q, s, beta, xp), xp)


def _power_line(log_p: Array, log_q: Array, s: Array, beta: float, xp: Namespace) -> Array:
    """Return 1 / beta log((1 - s) p^beta + s q^beta), s in [0, 1], from the larger of the two."""
    q_is_larger = log_q > log_p
    larger, smaller = xp.where(q_is_larger, log_q, log_p), xp.where(q_is_larger, log_p, log_q)
    share = xp.where(q_is_larger, 1.0 - s, s)  # of the smaller one
    in_both = smaller > -xp.inf
    ratio = xp.where(in_both, smaller, xp.zeros_like(smaller)) - xp.where(
        in_both, larger, xp.zeros_like(larger)
    )
    power = xp.expm1(beta * ratio)
    if beta > 0.0:
        power = xp.where(in_both, power, -xp.ones_like(power))
        inside = share * power > -1.0
    else:
        inside = in_both
    line = xp.log1p(xp.where(inside, share * power, xp.zeros_like(share * power))) / beta
    in_any = larger > -xp.inf
    return xp.where(
        inside & in_any, xp.where(in_any, larger, xp.zeros_like(larger)) + line, -xp.inf
    )


def _invert_time_change(log_p: Array, log_q: Array, t: Array, beta: float, xp: Namespace) -> Array:
    """Return the s in [0, 1] at which the alpha-geodesic has the affine parameter t."""
    in_steps = all(_array.is_readable(x) for x in (log_p, log_q, t))
    batch = xp.zeros_like(_array.logsumexp(xp.where(log_p > log_q, log_p, log_q), xp))
    s = t + batch
    whole = _integral(log_p, log_q, xp.ones_like(s), beta, in_steps, xp)
    low, high = xp.zeros_like(s), xp.ones_like(s)
    for _ in range(60 if in_steps else 12):
        excess = _integral(log_p, log_q, s, beta, in_steps, xp) / whole - t
        low, high = xp.where(excess < 0.0, s, low), xp.where(excess < 0.0, high, s)
        newton = s - excess * whole / _speed(log_p, log_q, s, beta, xp)
        is_inside = (newton >= low) & (newton <= high)
        update = xp.where(is_inside, newton, 0.5 * (low + high))
        is_done = xp.abs(update - s) <= 4.0 * xp.finfo(s.dtype).eps * s
        s = update
        if in_steps and bool(xp.all(is_done)):
            break
    return s


def _speed(log_p: Array, log_q: Array, s: Array, beta: float, xp: Namespace) -> Array:
    """Return dt / ds up to a constant: Z(s)^(-2 beta)."""
    z = _array.logsumexp(_power_line(log_p, log_q, s, beta, xp), xp)
    return xp.exp(-2.0 * beta * z)


def _integral(
    log_p: Array, log_q: Array, s: Array, beta: float, in_steps: bool, xp: Namespace
) -> Array:
    """Return the integral of the speed from 0 to s by the double-exponential rule.

    Node by node it needs little memory; all nodes at once make a short program to trace.
    """
    nodes, weights = _double_exponential_rule()
    if in_steps:
        total = xp.zeros_like(s)
        for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
            total = total + weight * _speed(log_p, log_q, s * node, beta, xp)
        return s * total
    like = {"dtype": s.dtype, "device": _array.device_of(s)}
    column = (-1, *(1,) * len(s.shape))
    nodes = xp.reshape(xp.asarray(nodes.tolist(), **like), column)
    weights = xp.reshape(xp.asarray(weights.tolist(), **like), column)
    return s * xp.sum(weights * _speed(log_p, log_q, s * nodes, beta, xp), axis=0)


def _double_exponential_rule() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights on [0, 1] that tolerate branch points at both ends."""
    u = np.linspace(-3.2, 3.2, 65)
    y = 0.5 * math.pi * np.sinh(u)
    weights = np.cosh(u) / np.cosh(y) ** 2
    return 1.0 / (1.0 + np.exp(-2.0 * y)), weights / weights.sum()
