r"""The geodesic between N(0, I) and N(m, diag w), by a minimisation over a fibre.

The normals of dimension d are the base of a Riemannian submersion from the symmetric space of
SO(d + 1, d). A geodesic of the base lifts to one of the symmetric space, which has its distances
in closed form; where the lift ends in the fibre over N(m, diag w), a skew-symmetric a, is found
by minimising the distance. With A = a - m m' / 2 the points of the fibre are

.. math:: G = H H', \qquad H = \begin{pmatrix} w^{-1/2} & 0 & 0 \\ m' w^{-1/2} & 1 & 0 \\
          A w^{-1/2} & -m & w^{1/2} \end{pmatrix}

In the basis in which the invariant form is diag(1, -1), log G has one block Y, d x (d + 1), and
its transpose. H = exp(log G / 2) Q has in the same place a block C, affine in a, with

.. math:: Y = U \sigma V', \quad C = U \sinh(\sigma / 2) \tilde V', \quad
          d^2 = \tfrac12 \textstyle\sum \sigma_i^2, \quad
          C = \bigl(-\sinh(\lambda / 2) - \tfrac12 A w^{-1/2} \,\big|\, m / \sqrt 2\bigr)

where lambda = log w. So the distance is a function of the singular values of a d x (d + 1) matrix
that is small for near points and keeps its digits there; a singular value decomposition gives it,
its gradient and its Hessian. At the minimum Y = (-B | sqrt2 x) with symmetric B, and (x, B) is
the velocity of the geodesic at N(0, I).

References: P. S. Eriksen, Geodesics connected with the Fisher metric on the multivariate normal
manifold, 1987. S. Kobayashi, Geodesics of multivariate normal distributions and a Toda lattice
type Lax pair, Phys. Scr. 98, 2023.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from infogeo._array import Array

_EPS = float(np.finfo(np.float64).eps)
_MANY = 64  # from so many pairs on, a formula for all of them is faster than LAPACK for each


@dataclass(frozen=True)
class Solution:
    """Geodesics from N(0, I) to N(m, diag w), for a batch of n.

    Parameters
    ----------
    distance : array, shape (n,)
        Length of the geodesic; never below the true one, but for rounding.
    x, b : array, shape (n, d) and (n, d, d)
        Velocity of mean and covariance at N(0, I).
    end_x, end_b : array, shape (n, d) and (n, d, d)
        Velocity of the geodesic back, at N(m, diag w), in coordinates that make this N(0, I).
    residual : array, shape (n,)
        Length that is left in the fibre: the norm of the skew-symmetric part of Y / sqrt2.
    steps : int array, shape (n,)
        Newton steps.
    is_solved : bool array, shape (n,)
        Whether a further step would shorten the distance by less than rtol, relative.
    """

    distance: np.ndarray
    x: np.ndarray
    b: np.ndarray
    end_x: np.ndarray
    end_b: np.ndarray
    residual: np.ndarray
    steps: np.ndarray
    is_solved: np.ndarray


class _Frame(NamedTuple):
    """What defines the fibre: C at a = 0, and the scale of b, where a = w^(1/4) b w^(1/4)."""

    C: np.ndarray  # (n, d, d + 1)
    q: np.ndarray  # (n, d): w^(1/4), which gives b the scale of the midpoint


class _Point(NamedTuple):
    """A point of the fibre: b, the singular values and vectors of its C, and the gradient."""

    b: np.ndarray  # (n, d, d), skew-symmetric
    U: np.ndarray  # (n, d, d)
    s: np.ndarray  # (n, d), descending
    Vt: np.ndarray  # (n, d, d + 1)
    slope: np.ndarray  # (n, d): of the value by s
    value: np.ndarray  # (n,): the squared distance 2 sum asinh(s)^2
    gradient: np.ndarray  # (n, d, d), skew-symmetric: of the value by b
    norm: np.ndarray  # (n,): of the gradient


Parts = TypeVar("Parts", bound=tuple[Any, ...])  # a frame or a point, of a batch


def solve(m: np.ndarray, log_w: np.ndarray, rtol: float, max_steps: int) -> Solution:
    """Return the geodesics to N(m, diag exp(log_w)); both arguments have shape (n, d)."""
    frame = _frame(m, log_w)
    n, d = m.shape
    best = _point(frame, np.zeros((n, d, d)))
    steps, is_solved = np.zeros(n, dtype=int), np.ones(n, dtype=bool)
    active = np.flatnonzero(best.norm > _floor(best))
    while active.size:
        sub, here = _rows(frame, active), _rows(best, active)
        step, decrement, is_bent = _newton_step(sub, here)
        # Where the value is quadratic, or its changes are rounding, the gradient has the say.
        is_close = decrement <= np.maximum(1e-10 * here.value, _rounding(here))
        there = _line_search(sub, here, step, decrement, is_close)
        _extend(sub, here, there, step, np.flatnonzero(is_bent & ~is_close))
        is_progress = np.where(is_close, there.norm < 0.5 * here.norm, there.value < here.value)
        is_solved[active] = decrement <= np.maximum(rtol * here.value, _rounding(here))
        steps[active] += is_progress
        _put(best, active[is_progress], _rows(there, is_progress))
        is_going = is_progress & (there.norm > _floor(there)) & (steps[active] < max_steps)
        is_solved[active[is_progress & (there.norm <= _floor(there))]] = True
        active = active[is_going]
    return _solution(m, frame, best, steps, is_solved)


def upper_bound(m: Array, log_w: Array) -> Array:
    """Return the length at a = 0, which is at least the distance; shapes (n, d) to (n,)."""
    s = np.linalg.svd(_frame(m, log_w).C, compute_uv=False)
    return _length(s)


def _length(s: Array) -> Array:
    """Return the distance of descending singular values, also where its square underflows."""
    angles = np.arcsinh(s)
    unit = np.where(angles[..., :1] > 0.0, angles[..., :1], 1.0)
    return unit[..., 0] * np.sqrt(2.0 * ((angles / unit) ** 2).sum(-1))


# ---------------------------------------------------------------- a point of the fibre


def _frame(m: Array, log_w: Array) -> _Frame:
    n, d = m.shape
    q = np.exp(0.25 * log_w)
    C = np.empty((n, d, d + 1))
    np.multiply(m[:, :, None], 0.25 * (m / q**2)[:, None, :], out=C[..., :d])
    i = np.arange(d)
    C[:, i, i] -= np.sinh(0.5 * log_w)
    C[..., d] = m / math.sqrt(2.0)
    return _Frame(C, q)


def _point(frame: _Frame, b: Array) -> _Point:
    C = frame.C.copy()
    C[..., :-1] -= 0.5 * _scaled(b, frame)
    U, s, Vt = _singular_values(C)
    value, slope = 2.0 * (np.arcsinh(s) ** 2).sum(-1), _slope(s)
    P = ((U * slope[:, None, :]) @ Vt[..., :-1]) * frame.q[:, :, None] / frame.q[:, None, :]
    gradient = 0.25 * (_t(P) - P)
    return _Point(b, U, s, Vt, slope, value, gradient, np.sqrt(_dot(gradient, gradient)))


def _singular_values(C: Array) -> tuple[Array, Array, Array]:
    """Return U, s and V' of each matrix, for many of two rows by one-sided Jacobi rotations.

    A rotation makes the two rows orthogonal, a second one to full relative precision. Then they
    are s V', and the rotations are U.
    """
    n, num_rows, _ = C.shape
    if num_rows != 2 or n < _MANY:
        return np.linalg.svd(C, full_matrices=False)
    scale = np.abs(C).max(axis=(1, 2))
    first, second = np.moveaxis(C, 0, 2) / np.where(scale > 0.0, scale, 1.0)  # (length, n) each
    total = np.zeros(n)
    for _ in range(2):
        product, difference = (first * second).sum(0), ((first - second) * (first + second)).sum(0)
        angle = 0.5 * np.arctan2(2.0 * product, difference)
        cosine, sine = np.cos(angle), np.sin(angle)
        first, second = cosine * first + sine * second, cosine * second - sine * first
        total += angle
    lengths = np.sqrt(np.stack([(first * first).sum(0), (second * second).sum(0)]))
    cosine, sine = np.cos(total), np.sin(total)
    U = np.stack([cosine, -sine, sine, cosine], axis=1).reshape(n, 2, 2)
    (singular,) = np.nonzero(lengths[1] <= 8.0 * _EPS * lengths[0])
    lengths[:, singular] = 1.0
    Vt = np.stack([(first / lengths[0]).T, (second / lengths[1]).T], axis=1)
    s = np.ascontiguousarray((lengths * scale).T)
    if singular.size:  # the second row says nothing about V
        U[singular], s[singular], Vt[singular] = np.linalg.svd(C[singular], full_matrices=False)
    return U, s, Vt


def _scaled(b: Array, frame: _Frame) -> Array:
    """Return the matrix a w^(-1/2), which is w^(1/4) b w^(-1/4)."""
    return frame.q[:, :, None] * b / frame.q[:, None, :]


def _t(x: Array) -> Array:
    return x.swapaxes(-1, -2)


def _slope(s: Array) -> Array:
    """Return the derivative of 2 asinh(s)^2."""
    return 4.0 * np.arcsinh(s) / np.sqrt(1.0 + s * s)


def _slope_by_s(point: _Point) -> Array:
    """Return 4 asinh(s) / (s sqrt(1 + s^2)), which is 4 at 0."""
    is_zero = point.s == 0.0
    return np.where(is_zero, 4.0, point.slope / np.where(is_zero, 1.0, point.s))


def _floor(point: _Point) -> Array:
    """Return the rounding error of the norm of the gradient, for C rounded relative to its norm."""
    return 4.0 * _EPS * math.sqrt(point.s.shape[-1]) * point.s[:, 0]


def _rounding(point: _Point) -> Array:
    """Return the rounding error of the value."""
    return 4.0 * _EPS * (point.value + point.s[:, 0] * point.slope.sum(-1))


# ---------------------------------------------------------------- Newton's method


def _newton_step(frame: _Frame, here: _Point) -> tuple[Array, Array, Array]:
    """Return a direction of descent by conjugate gradients, minus the slope along it, and flags.

    A member is flagged if its quadratic model has no minimum. Its direction is then one in which
    the model bends down.
    """
    lift, sums = _eigenbasis(frame, here)
    hessian = _hessian(frame, here, lift)
    d = here.s.shape[-1]
    gradient = lift @ here.gradient @ _t(lift)
    step, residual = np.zeros_like(gradient), -gradient
    z = residual / sums
    direction, size = z, _dot(residual, z)
    # Accurate systems where that makes convergence quadratic, rough ones far away.
    goal = size * np.clip(here.norm / np.linalg.norm(here.slope, axis=-1), 1e-8, 0.1) ** 2
    is_going = size > 0.0
    has_no_minimum = np.zeros_like(is_going)
    for _ in range(d * d):
        image = hessian(direction)
        curvature = _dot(direction, image)
        has_no_minimum |= is_going & (curvature <= 0.0)
        # Along a direction that bends down, the step of a bend of the same size upwards: it is
        # one of descent, and `_extend` finds its length.
        curvature = np.where(curvature == 0.0, size, np.abs(curvature))
        length = np.divide(size, curvature, out=np.zeros_like(size), where=is_going)
        step += length[:, None, None] * direction
        is_going &= ~has_no_minimum
        residual -= length[:, None, None] * image
        z = residual / sums
        following = _dot(residual, z)
        is_going &= following > goal
        if not is_going.any():
            break
        ratio = np.divide(following, size, out=np.zeros_like(size), where=is_going)
        direction *= ratio[:, None, None]
        direction += z
        size = following
    return _t(lift) @ step @ lift, -_dot(gradient, step), has_no_minimum


def _dot(x: Array, y: Array) -> Array:
    n, d, _ = x.shape
    return np.vecdot(x.reshape(n, d * d), y.reshape(n, d * d))


def _eigenbasis(frame: _Frame, here: _Point) -> tuple[Array, Array]:
    """Return T and the eigenvalues by x of a quadratic that touches the value at b = T' x T.

    The value is a concave function of C C', so its linearisation tr(S C C') + const, S = U
    diag(slope / 2 s) U', is a quadratic that touches the value from above, and minimising it is
    a step that never increases the value. In the unknowns w^(-1/4) b w^(-1/4) its Hessian is
    diagonal in the eigenvectors of w^(1/2) S w^(1/2).
    """
    q = frame.q
    root = (q * q)[:, :, None] * here.U * np.sqrt(_slope_by_s(here))[:, None, :]
    if q.shape[-1] == 2:  # one unknown: the sum of both tau will do
        sums = 0.125 * _dot(root, root)[:, None, None]
        return q[:, :, None] * np.eye(2), sums
    tau, O = np.linalg.eigh(root @ _t(root))
    tau = 0.125 * np.maximum(tau, _EPS * tau[:, -1:])  # digits that rounding has taken
    return _t(O) * q[:, None, :], tau[:, :, None] + tau[:, None, :]


def _hessian(frame: _Frame, here: _Point, lift: Array) -> Callable[[Array], Array]:
    """Return the second derivative of the value by x, where b = T' x T with T = lift.

    In the bases U and V the derivative of the slope (an odd function of C) weighs the symmetric
    part by differences, the skew-symmetric part by sums, and what is across V by slope / s.
    """
    s, slope, by_s = here.s, here.slope, _slope_by_s(here)[:, :, None]
    s_i, s_j, slope_i, slope_j = s[:, :, None], s[:, None, :], slope[:, :, None], slope[:, None, :]
    is_equal = np.abs(s_i - s_j) <= 1e-5 * (s_i + s_j)
    mean = 0.5 * (s_i + s_j)
    curvature = (4.0 - mean * _slope(mean)) / (1.0 + mean * mean)
    differences = np.where(
        is_equal, curvature, (slope_i - slope_j) / np.where(is_equal, 1.0, s_i - s_j)
    )
    is_zero = mean == 0.0
    sums = np.where(is_zero, 4.0, (slope_i + slope_j) / np.where(is_zero, 1.0, s_i + s_j))
    plus, minus = 0.5 * (differences + sums) - by_s, 0.5 * (differences - sums)
    # The change of C by x is -left x right' / 2 in the bases U and V, and left x / 2 before V.
    left = _t(here.U) @ (frame.q[:, :, None] * _t(lift))
    right = here.Vt[..., :-1] @ _t(lift / frame.q[:, None, :])
    from_left, from_right = _t(left), _t(right)

    def apply(x: Array) -> Array:
        half = left @ x
        along = half @ from_right
        change = from_left @ ((plus * along + minus * _t(along)) @ right + by_s * half)
        return 0.125 * (change - _t(change))

    return apply


def _line_search(
    frame: _Frame, here: _Point, step: Array, decrement: Array, is_close: Array
) -> _Point:
    """Return the first of the points at 1, 1/2, 1/4, ... steps that decreases the value enough."""
    there = _point(frame, here.b + step)
    slack = _rounding(here)
    length = 1.0
    trying = np.flatnonzero(~is_close & ~_is_lower(there.value, here.value, decrement, slack))
    for _ in range(30):
        if trying.size == 0:
            break
        length *= 0.5
        shorter = _point(_rows(frame, trying), here.b[trying] + length * step[trying])
        _put(there, trying, shorter)
        is_enough = _is_lower(
            shorter.value, here.value[trying], length * decrement[trying], slack[trying]
        )
        trying = trying[~is_enough]
    return there


def _extend(frame: _Frame, here: _Point, there: _Point, step: Array, which: Array) -> None:
    """Double the steps of some members of the batch as long as the value decreases."""
    length = 1.0
    while which.size and length < 2.0**30:
        length *= 2.0
        longer = _point(_rows(frame, which), here.b[which] + length * step[which])
        is_lower = longer.value < there.value[which]
        which = which[is_lower]
        _put(there, which, _rows(longer, is_lower))


def _is_lower(new: Array, old: Array, decrement: Array, slack: Array) -> Array:
    return new <= old - 1e-4 * decrement + slack


def _rows(parts: Parts, which: Array) -> Parts:
    return type(parts)(*(part[which] for part in parts))


def _put(parts: Parts, which: Array, new: Parts) -> None:
    for part, value in zip(parts, new, strict=True):
        part[which] = value


# ---------------------------------------------------------------- the geodesic


def _solution(m: Array, frame: _Frame, point: _Point, steps: Array, is_solved: Array) -> Solution:
    """Return the velocities at both ends, which are read off log G.

    H has the block C beside `above` = V cosh V~' + ... and `below` = U cosh U~', for
    H = exp(log G / 2) Q and Q = diag(V V~', U U~'): so V and U~ follow from V~ and U.
    """
    d, (b, U, s, Vt, *_) = m.shape[-1], point
    sigma, cosh = 2.0 * np.arcsinh(s)[:, None, :], np.sqrt(1.0 + s * s)[:, None, :]
    m_column, m_row = m[:, :, None], (m / frame.q**2)[:, None, :]
    half = 0.5 * (_scaled(b, frame) - 0.5 * m_column * m_row)  # A w^(-1/2) / 2
    mean = np.zeros_like(half)
    i = np.arange(d)
    mean[:, i, i] = 0.5 * (frame.q**2 + frame.q**-2)
    above = np.empty((*m.shape[:1], d + 1, d + 1))
    above[:, :d, :d], above[:, :d, d:] = mean + half, m_column / -math.sqrt(2.0)
    above[:, d:, :d], above[:, d:, d:] = m_row / math.sqrt(2.0), 1.0
    V, U_tilde = above @ _t(Vt) / cosh, _t(mean - half) @ U / cosh
    Y, end = (U * sigma) @ _t(V), -(U_tilde * sigma) @ Vt
    residual = np.linalg.norm(Y[..., :d] - _t(Y[..., :d]), axis=(-2, -1)) / math.sqrt(8.0)
    return Solution(_length(s), *_velocity(Y), *_velocity(end), residual, steps, is_solved)


def _velocity(Y: Array) -> tuple[Array, Array]:
    B = -0.5 * (Y[..., :-1] + _t(Y[..., :-1]))
    return Y[..., -1] / math.sqrt(2.0), B
