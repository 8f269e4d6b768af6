"""The proof where absolute values are the price of coefficients, also that some are exactly 0.

Let T hold the coordinates that are not 0, with those whose partial derivative reaches the price to
rounding. For a subgradient xi at t over T, and the optimum over T at t + d,
-xi'd >= (1 - exp(-R)) / R d'Hd with R the largest range of the change of logits within a row, as
for a smooth dual: convex terms only add to the left side. That bounds d, and with it every
log-probability and every partial derivative at the optimum over T. Where these are below the
prices off T, it is the optimum over all coordinates, and every optimum is 0 off T.

A coordinate of T may depend on others there (of two columns that sum to 1, one is enough). Its
weight can move to the others. No optimum has an absolute value above objective / price, so that
what rounding leaves of it is bounded by a product. Where the dependence is exact, the coordinate
leaves T: its partial derivative is the same combination of the prices of the others.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from infogeo._status import Status
from infogeo.maxent._conditional.lasso import DEPENDENT, model_of, search
from infogeo.maxent._conditional.softmax import (
    Factor,
    evaluate,
    factor_of,
    hessian_of,
    lever_of,
    out_of_span,
    reach_of,
    rounding_of_gradient,
    rounding_of_logs,
)
from infogeo.maxent._dual.problem import EPS, Controls
from infogeo.maxent._dual.proofs import LARGEST_CERTIFIED, refined

# What is exact: a dependence of columns, or that of the classes of one feature, whose constant
# changes nothing.
_COLUMNS, _GAUGE = 1, 2


@dataclass(frozen=True)
class Selection:
    """Parameters of which some are 0, and what is proved of them."""

    t: np.ndarray  # (r, c): of the smooth columns
    v: np.ndarray  # (m, c): of the others
    is_certain: np.ndarray  # bool (m, c): whether the sign, or that it is 0, is proved
    log_p: np.ndarray  # (n, c)
    status: Status
    steps: int
    rank: int
    error_bound: float = math.inf
    dual_gap: float = math.inf


def select(smooth, columns, start, tol, max_steps):
    """Solve for the smooth columns with the others, from t of the former alone."""
    model = model_of(smooth, columns)
    return _proved(model, *search(model, start, max_steps), tol, max_steps)


def _proved(model, u, v, steps, tol, max_steps):
    """Finish with these signs; return the result with what is proved."""
    r, q = model.smooth.rows.shape[1], model.contrasts.shape[1]
    is_turned = v != 0.0
    while is_turned.any() and steps < max_steps:
        chosen, signs = v != 0.0, np.sign(v)
        task = model.task(chosen, signs)
        origin = evaluate(task, model.parameters(u, v, chosen), accurate=True)
        curvature = task.curvature(origin, factor_of(task, origin))
        if curvature.lever == math.inf:
            break
        state, steps = refined(task, curvature, steps, Controls(tol, max_steps), 0.0)
        u, v = np.linalg.lstsq(model.span, state.t[:r].ravel())[0], np.zeros(v.shape)
        v[chosen.any(axis=1)] = state.t[r:].reshape(-1, q)
        is_turned = v * signs < 0.0
        v[is_turned] = 0.0
    proof, tied = None, np.zeros(v.shape, dtype=bool)
    for _ in range(4):
        proof = _bounded(model, u, v, tied)
        if proof is None or not (proof.is_open & ~tied).any():
            break
        tied |= proof.is_open
    return _selection(model, u, v, proof, steps, tol, max_steps)


def _selection(model, u, v, proof, steps, tol, max_steps):
    """Return the result, in the gauge that is shown."""
    chosen = v != 0.0
    task = model.task(chosen)
    state = evaluate(task, model.parameters(u, v, chosen))
    of_classes = model.columns.in_one_gauge(v @ model.contrasts.T)
    found = Selection(
        t=(model.span @ u).reshape(-1, model.contrasts.shape[1]) @ model.contrasts.T,
        v=of_classes,
        is_certain=np.zeros(of_classes.shape, dtype=bool),
        log_p=state.log_p,
        status=Status.MAX_STEPS if steps >= max_steps else Status.UNDECIDED,
        steps=steps,
        rank=u.size + int(chosen.sum()),
    )
    if proof is None:
        return found
    is_certain = np.where(chosen, np.abs(v) > proof.error, proof.is_zero)
    if v.shape[1] > 1:  # where the gauge is not that of the proof
        is_moved = (of_classes != v).any(axis=1)[:, None]
        error = 2.0 * proof.error.max(axis=1, keepdims=True)
        is_certain = np.where(is_moved, np.abs(of_classes) > error, is_certain)
    return replace(
        found,
        is_certain=np.broadcast_to(is_certain, of_classes.shape),
        error_bound=proof.bound,
        dual_gap=proof.gap,
        status=Status.CONVERGED if proof.bound <= tol or steps < max_steps else found.status,
    )


@dataclass(frozen=True)
class _Proof:
    bound: float  # of every log-probability
    gap: float
    error: np.ndarray  # (m, q): of v
    is_zero: np.ndarray  # bool (m, q): proved to be 0
    is_open: np.ndarray  # bool (m, q): neither 0 by proof nor among the coordinates of the proof


def _bounded(model, u, v, tied):
    """Bound the errors at (u, v), with `tied` among the coordinates of the proof; None if not."""
    chosen = (v != 0.0) | tied
    task = model.task(chosen)
    state = evaluate(task, model.parameters(u, v, chosen), accurate=True)
    hessian = hessian_of(task, state)
    basis, dependent = _split(hessian, model.gather(np.zeros(u.size), tied, chosen) == 0.0)
    factor = Factor.of(hessian[np.ix_(basis, basis)])
    whitener, is_known = (None, False) if factor is None else factor.whitener()
    if not is_known:
        return None
    x, price = model.gather(u, v, chosen), model.gather(np.zeros(u.size), model.price, chosen)
    slope, of_logs = state.gradient, rounding_of_logs(task, state)
    rest = np.sign(slope) * np.maximum(np.abs(slope) - price, 0.0)
    subgradient = np.where(x != 0.0, slope + price * np.sign(x), rest)
    blur = rounding_of_gradient(task, state, of_logs) + 4.0 * EPS * price
    size = np.linalg.norm(whitener @ subgradient[basis])
    size = 1.01 * float(size + np.linalg.norm(np.abs(whitener) @ blur[basis]))
    lever = 1.01 * lever_of(_restricted(task, basis), whitener)
    mixture = whitener.T @ (whitener @ hessian[np.ix_(basis, dependent)])
    implied = _implied(model, x, chosen, basis, dependent, mixture)
    # What dependent coordinates may add, which at the optimum are at most `most`.
    most = _objective(task, state, x, price) / price[dependent]
    reach = np.where(implied > 0, 0.0, most)
    rest = np.abs(subgradient[dependent] - mixture.T @ subgradient[basis])
    rest += blur[dependent] + np.abs(mixture).T @ blur[basis]
    size += _rounding_of(mixture, hessian, basis, dependent, whitener, reach)
    length = (size + math.sqrt(size**2 + 3.6 * float(rest @ reach))) / 1.8
    move = lever * length + float(_leftovers(task, basis, dependent, mixture) @ reach)
    if not move <= LARGEST_CERTIFIED:
        return None
    error = np.zeros(x.size)
    error[basis] = 1.01 * length * np.linalg.norm(whitener, axis=0)
    if (implied > 0).any() and not (np.abs(x) >= error)[(x != 0.0) & (price > 0.0)].all():
        return None  # the signs, which the implication needs, are not proved
    # Not of what changes nothing but the gauge, which is fixed later.
    most = np.where(implied == _GAUGE, 0.0, most)
    error[basis] += np.abs(mixture) @ most
    error[dependent] = most
    _, error = model.scatter(error, chosen)
    is_zero, is_open = _off(model, state, of_logs, v, chosen, move)
    bound = move + float(of_logs.max())
    return _Proof(bound, size * length + float(rest @ reach), error, is_zero, is_open)


def _implied(model, x, chosen, basis, dependent, mixture):
    """Return which dependent coordinates do exactly what others do, at no lower price.

    _GAUGE if the others are classes of the same feature, else _COLUMNS, or 0 if they do not.
    """
    features, contrasts = (axis[chosen] for axis in np.indices(chosen.shape))
    num_free = x.size - features.size
    is_priced = basis >= num_free
    others, unit = basis[is_priced] - num_free, model.columns.unit[features]
    found = np.zeros(dependent.size, dtype=int)
    for number, i in enumerate(dependent - num_free):
        multiples = np.rint(mixture[is_priced, number] * (unit[i] / unit[others]))
        used = others[multiples != 0.0]
        multiples = multiples[multiples != 0.0]
        signs = np.sign(x[used + num_free])
        terms = np.append(features[used], features[i]), np.append(contrasts[used], contrasts[i])
        if not _are_dearer(model.columns, features[i], features[used], multiples, signs):
            continue
        if _cancel(model, *terms, np.append(multiples, -1.0)):
            is_gauge = (features[used] == features[i]).all() and model.smooth.allowed.all()
            found[number] = _GAUGE if is_gauge else _COLUMNS
    return found


def _are_dearer(columns, own, others, multiples, signs):
    """Whether a partial derivative is at most its price where it is the multiples of others.

    Those are plus or minus their prices where the coordinate has a sign, else at most as large.
    """
    if (columns.ridge[others] > 0.0).any():
        return False
    price = [
        Fraction(a) * Fraction(columns.price[j]) for a, j in zip(multiples, others, strict=True)
    ]
    known = sum(a * int(sign) for a, sign in zip(price, signs, strict=True))
    unknown = sum(abs(a) for a, sign in zip(price, signs, strict=True) if sign == 0.0)
    return abs(known) + unknown <= Fraction(columns.price[own])


def _cancel(model, features, contrasts, multiples):
    """Whether multiples of columns, for some classes, change no probability: exactly.

    In whole numbers sums are exact, and of columns once each a sum of two that is 0. An intercept
    takes what is the same for all rows.
    """
    X = model.columns.given[:, features]
    total = np.zeros((len(X), model.contrasts.shape[1]))
    np.add.at(total.T, contrasts, (multiples * X).T)
    count = np.bincount(contrasts, minlength=total.shape[1])
    is_whole = np.abs(multiples * X).sum() < 2.0**52 and bool((np.rint(X) == X).all())
    is_sum_exact = (count < 2) | ((count == 2) & ~total.any(axis=0))
    if not is_whole and not ((np.abs(multiples) == 1.0).all() and is_sum_exact.all()):
        return False
    allowed = model.smooth.allowed
    if is_whole and model.columns.is_centred and allowed.all():
        total = total - total[0]
    if total.shape[1] == 1:
        return not total.any()
    low = np.where(allowed, total, math.inf).min(axis=1)
    return bool((low == np.where(allowed, total, -math.inf).max(axis=1)).all())


def _split(hessian, own):
    """Return which coordinates to take as independent, and which depend on them.

    Those of `own` are independent; of the others, as many as are.
    """
    scale = 1.0 / np.sqrt(np.maximum(np.diagonal(hessian), 1e-300))
    scaled = hessian * scale * scale[:, None]
    basis, dependent = list(np.flatnonzero(own)), []
    for i in np.flatnonzero(~own):
        mixture = np.linalg.lstsq(scaled[np.ix_(basis, basis)], scaled[basis, i])[0]
        is_new = scaled[i, i] - scaled[basis, i] @ mixture > DEPENDENT
        (basis if is_new else dependent).append(i)
    return np.array(basis, dtype=np.intp), np.array(dependent, dtype=np.intp)


def _restricted(task, basis):
    """Return the task in some of its coordinates."""
    size = task.rows.shape[1] * task.contrasts.shape[1]
    if task.span is None and basis.size == size:
        return task
    span = np.eye(size) if task.span is None else task.span
    return replace(task, span=span[:, basis])


def _rounding_of(mixture, hessian, basis, dependent, whitener, reach):
    """Bound what the rounding of the mixture adds to a decrement."""
    terms = np.abs(hessian[np.ix_(basis, basis)]) @ np.abs(mixture)
    terms += np.abs(hessian[np.ix_(basis, dependent)])
    return 16.0 * (basis.size + 2) * EPS * float(np.linalg.norm(np.abs(whitener) @ terms @ reach))


def _leftovers(task, basis, dependent, mixture):
    """Return the largest range of logits within a row that dependent coordinates leave."""
    ranges = np.zeros(dependent.size)
    size = task.rows.shape[1] * task.contrasts.shape[1]
    size = size if task.span is None else task.span.shape[1]
    for k, i in enumerate(dependent):
        x = np.zeros(size)
        x[i] = 1.0
        x[basis] = -mixture[:, k]
        rounding = EPS * (size + 4.0) * np.abs(x).sum() * np.abs(task.rows).max()
        ranges[k] = reach_of(task, task.along(out_of_span(task, x))) + 4.0 * rounding
    return ranges


def _objective(task, state, x, price):
    """Return a little more than what is minimised."""
    finite = np.where(task.allowed, state.log_p, 0.0)
    value = -float(task.weights @ (task.targets * finite).sum(axis=1)) + float(price @ np.abs(x))
    if task.penalty is not None:
        value += 0.5 * float((state.t * (task.penalty @ state.t)).sum())
    return 1.001 * value


def _off(model, state, of_logs, v, chosen, move):
    """Return which coordinates are proved to be 0 at the optimum, and which are not settled.

    `move` is what a log-probability may be off by, and so 1 - p relatively.
    """
    columns = replace(
        model.smooth,
        rows=model.columns.rows,
        penalty=None,
        contrasts=model.contrasts,
        span=None,
    )
    slope = np.abs(model.slopes(state, v))
    slope += rounding_of_gradient(columns, state, of_logs).reshape(v.shape)
    change = math.expm1(move) * np.minimum(state.p, 1.0 - state.p)
    change = np.abs(columns.rows).T @ (model.smooth.weights[:, None] * change)
    slope += change @ np.abs(model.contrasts)
    is_zero = ~chosen & (slope < model.price * (1.0 - 8.0 * EPS))
    return is_zero, ~chosen & ~is_zero
