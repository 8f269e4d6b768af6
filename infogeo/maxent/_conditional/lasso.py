"""The search where absolute values are the price of coefficients: which of them are not 0.

The objective is the mean cross-entropy, plus a ridge, plus the sum of price_i |t_i|. Proximal
Newton steps find the optimum: each minimises the quadratic model with the absolute values, and is
cut short by the same rule as a Newton step.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from infogeo.maxent._conditional.softmax import (
    Task,
    chunked_product,
    contrasts_of,
    evaluate,
    hessian_of,
    out_of_span,
    reach_of,
)
from infogeo.maxent._dual.linear import power_of_two
from infogeo.maxent._dual.newton import line_search

# Coordinates that depend on others leave no more of themselves, squared, beside them.
DEPENDENT = 1e-9
# A step that changes no logit by more than this is followed by one of the size of rounding.
_CLOSE = 1e-8
# Below this a step that is not much smaller than the one before comes from rounding.
_NEAR = 1e-2
_MOST_SWEEPS = 30


@dataclass(frozen=True)
class Columns:
    """The columns of features whose coefficients cost their absolute value."""

    given: np.ndarray  # (n, m)
    rows: np.ndarray  # (n, m), of spread about 1
    centre: np.ndarray  # (m,): what was subtracted
    unit: np.ndarray  # (m,), powers of two: coef = t / unit
    price: np.ndarray  # (m,): of |coef| of one class
    ridge: np.ndarray  # (m,): of coef^2 / 2
    is_centred: bool

    def in_one_gauge(self, v):
        """Return v (m, c) of the classes with the constant of each feature that costs least.

        Adding a constant changes no probability. Without a ridge what costs the same may be an
        interval, of which the end or the mean is taken that least squares prefer: the limit of a
        ridge that vanishes.
        """
        middle = np.sort(v, axis=1)[:, [(v.shape[1] - 1) // 2, v.shape[1] // 2]]
        shift = np.clip(v.mean(axis=1), *middle.T)
        return v - np.where(self.ridge > 0.0, 0.0, shift)[:, None]


def columns_of(X, price, ridge, has_intercept):
    """Centre (if an intercept makes up for it) and scale columns."""
    centre = X.mean(axis=0) if has_intercept else np.zeros(X.shape[1])
    moved = X - centre
    unit = power_of_two(np.abs(moved).max(axis=0, initial=0.0))
    return Columns(X, moved / unit, centre, unit, price, ridge, has_intercept)


@dataclass(frozen=True)
class Model:
    """The smooth columns, whose task is known, and the others; coordinates are (u, v[chosen])."""

    smooth: Task
    columns: Columns
    contrasts: np.ndarray  # (c, q)
    span: np.ndarray  # (r q, k): coordinates u of the smooth columns
    price: np.ndarray  # (m, q), of |v|
    ridge: np.ndarray  # (m,), of v^2 / 2

    def task(self, chosen, signs=None):
        """Return the smooth task of some coordinates; with signs, |v| counts as signs * v."""
        met = np.flatnonzero(chosen.any(axis=1))
        rows = np.hstack([self.smooth.rows, self.columns.rows[:, met]])
        penalty = np.diag(np.concatenate([np.zeros(self.smooth.rows.shape[1]), self.ridge[met]]))
        if self.smooth.penalty is not None:
            penalty[: len(self.smooth.penalty), : len(self.smooth.penalty)] = self.smooth.penalty
        tilt = None
        if signs is not None:
            tilt = np.concatenate([np.zeros(self.span.shape[1]), (self.price * signs)[chosen]])
        span = None
        if self.contrasts.shape[1] > 1:
            picked = np.eye(met.size * self.contrasts.shape[1])[:, chosen[met].reshape(-1)]
            span = scipy.linalg.block_diag(self.span, picked)
        return replace(
            self.smooth,
            rows=rows,
            penalty=penalty if penalty.any() else None,
            contrasts=self.contrasts,
            span=span,
            idle=None,
            tilt=tilt,
        )

    def gather(self, u, v, chosen):
        return np.concatenate([u, v[chosen]])

    def scatter(self, x, chosen):
        v = np.zeros(chosen.shape)
        v[chosen] = x[self.span.shape[1] :]
        return x[: self.span.shape[1]], v

    def parameters(self, u, v, chosen):
        """Return t (r, q) of the task of the chosen coordinates."""
        return np.vstack(
            [(self.span @ u).reshape(-1, self.contrasts.shape[1]), v[chosen.any(axis=1)]]
        )

    def slopes(self, state, v):
        """Return the partial derivatives without the prices, in all v; (m, q)."""
        weighted = self.smooth.weights[:, None] * state.excess
        product = chunked_product(self.columns.rows, weighted) @ self.contrasts
        return product + self.ridge[:, None] * v


def model_of(smooth, columns):
    """Join the task of the smooth columns and the others."""
    num_classes = smooth.base.shape[1]
    contrasts = contrasts_of(2) if num_classes == 2 else np.eye(num_classes)
    span = smooth.span
    if span is None:
        inner = smooth.contrasts if num_classes > 2 else np.eye(1)
        span = np.kron(np.eye(smooth.rows.shape[1]), inner)
    price = (columns.price / columns.unit)[:, None] * np.abs(contrasts).sum(axis=0)
    return Model(smooth, columns, contrasts, span, price, columns.ridge / columns.unit**2)


# ---------------------------------------------------------------- the search


def search(model, start, max_steps):
    """Return coordinates close to the optimum, and the steps, from t of the smooth columns alone.

    Few coordinates are let in at a time: those whose partial derivatives are above their prices.
    """
    theta = start @ model.smooth.contrasts.T @ model.contrasts
    u = np.linalg.lstsq(model.span, theta.ravel())[0]
    v, steps, is_over = np.zeros(model.price.shape), 0, False
    chosen = np.zeros(v.shape, dtype=bool)
    while not is_over:
        before, was_empty = v, not chosen.any()
        u, v, taken, is_close = _minimise(model, u, v, chosen, max_steps - steps)
        steps += taken
        chosen = v != 0.0
        state = evaluate(model.task(chosen), model.parameters(u, v, chosen))
        excess = np.where(chosen, 0.0, np.abs(model.slopes(state, v)) / model.price)
        wrong = np.argsort(-excess, axis=None)[: max(10, int(chosen.sum()))]
        wrong = wrong[excess.ravel()[wrong] > 1.0 + 1e-11]
        chosen.ravel()[wrong] = True
        # Of columns that depend on others some are let in, and none gets a weight.
        is_settled = wrong.size == 0 or (np.array_equal(v, before) and not was_empty)
        is_over = steps >= max_steps or (is_settled and is_close)
    return u, v, steps


def _minimise(model, u, v, chosen, max_steps):
    """Take proximal Newton steps in some coordinates; the last value is whether they end."""
    last = math.inf
    for steps in range(max_steps):
        task = model.task(chosen)
        state = evaluate(task, model.parameters(u, v, chosen))
        x, price = model.gather(u, v, chosen), np.zeros(u.size)
        price = np.concatenate([price, model.price[chosen]])
        best = _of_quadratic(hessian_of(task, state), state.gradient, x, price, u.size)
        step = best - x
        direction = out_of_span(task, step)
        along = task.along(direction)
        reach = reach_of(task, along)

        def slope(length, x=x, step=step, price=price):
            here = x + length * step
            return float(price @ (step * np.sign(np.where(here == 0.0, step, here))))

        if not float(state.gradient @ step) + slope(0.0) < 0.0:  # to rounding it is flat
            return u, v, steps + 1, True
        length = line_search(task.line(state, direction, along, slope), reach)
        u, v = model.scatter(best if length >= 1.0 else x + length * step, chosen)
        # The reach of rounding, which does not shrink any more, is all that is left.
        if reach < _CLOSE or 0.5 * last < reach < _NEAR:
            return u, v, steps + 1, True
        last = reach
    return u, v, max_steps, False


def _of_quadratic(hessian, gradient, x, price, num_free):
    """Minimise gradient'd + d'Hd / 2 + price'|x + d| over d; return x + d.

    The first coordinates are free and are eliminated.
    """
    free, rest = slice(0, num_free), slice(num_free, None)
    right = np.hstack([hessian[free, rest], gradient[free, None]])
    solved = np.linalg.lstsq(hessian[free, free], right)[0]
    mixture, shift = solved[:, :-1], solved[:, -1]
    inner = hessian[rest, rest] - hessian[rest, free] @ mixture
    slope = gradient[rest] - mixture.T @ gradient[free]
    best = _descended(inner, slope - inner @ x[rest], price[rest], x[rest])
    best = _settled(inner, slope - inner @ x[rest], price[rest], best)
    return np.concatenate([x[free] - shift - mixture @ (best - x[rest]), best])


def _descended(H, c, price, x):
    """Lower x'Hx / 2 + c'x + price'|x| along one coordinate after the other."""
    x, slope, diagonal = x.copy(), H @ x + c, np.maximum(np.diagonal(H), 1e-300)
    for _ in range(_MOST_SWEEPS):
        largest = 0.0
        for i in range(x.size):
            goal = x[i] - slope[i] / diagonal[i]
            new = math.copysign(max(0.0, abs(goal) - price[i] / diagonal[i]), goal)
            if new != x[i]:
                step = new - x[i]
                slope += step * H[i]
                x[i] = new
                largest = max(largest, step * step * diagonal[i])
        if largest < 1e-16:
            break
    return x


def _settled(H, c, price, x):
    """Minimise x'Hx / 2 + c'x + price'|x|, by the signs of the coordinates that are not 0.

    As non-negative least squares are solved: go to the minimum with these signs, or to the first
    coordinate that becomes 0 on the way; then let in what should not be 0.
    """
    x, signs = x.copy(), np.sign(x)
    for _ in range(20 + 3 * x.size):
        (kept,) = np.nonzero(signs)
        goal, is_minimum = _minimum(H[np.ix_(kept, kept)], (c + price * signs)[kept], x[kept])
        # How much of the way there is until a coordinate changes its sign.
        falls = (goal - x[kept]) * signs[kept] < 0.0
        room = np.where(falls, x[kept] / np.where(falls, x[kept] - goal, 1.0), math.inf)
        first = float(room.min(initial=math.inf))
        if first < 1.0 or not is_minimum:
            if first == math.inf:
                break
            x[kept] += first * (goal - x[kept])
            signs[kept[room <= first]] = 0.0
            x[signs == 0.0] = 0.0
            continue
        x[kept] = goal
        slope = H @ x + c
        excess = np.where(signs == 0.0, np.abs(slope) - price, 0.0)
        i = int(np.argmax(excess)) if excess.size else 0
        if not excess.size or excess[i] <= 1e-12 * price[i]:
            break
        signs[i] = -np.sign(slope[i])
    return x


def _minimum(H, c, x):
    """Return the minimum of x'Hx / 2 + c'x, or a point down a direction in which it has none."""
    if x.size == 0:
        return x, True
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(H), 1e-300))
    scaled = H * scale * scale[:, None]
    try:
        lower = np.linalg.cholesky(scaled)
        if np.square(np.diagonal(lower)).min() > 0.01 * DEPENDENT:
            return -scale * scipy.linalg.cho_solve((lower, True), scale * c), True
    except np.linalg.LinAlgError:
        pass  # a direction that changes no logits
    _, vectors = np.linalg.eigh(scaled)
    direction = scale * vectors[:, 0]
    slope = float((H @ x + c) @ direction)
    return x - (1.0 if slope > 0.0 else -1.0) * direction, False
