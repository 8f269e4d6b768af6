"""Newton's method on the mean cross-entropy of a linear softmax model, and its certificate."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg

from infogeo.maxent._dual.problem import EPS, Curvature, Step

_BLOCK_ENTRIES = 1 << 18
_CHUNK = 128  # rows whose products are added one after the other


@dataclass(frozen=True)
class Task:
    """The dual of one problem in independent coordinates: all rows have a choice.

    Parameters are t (r, q): theta = t contrasts'. Where all classes are allowed these are contrasts
    between the classes, else the classes themselves: a parameter of a class that few rows allow
    then has nothing to do with the others, whose sums would round it away.
    """

    rows: np.ndarray  # (n, r)
    base: np.ndarray  # (n, c), -inf where ruled out
    allowed: np.ndarray  # bool (n, c)
    targets: np.ndarray  # (n, c), distributions
    weights: np.ndarray  # (n,)
    penalty: np.ndarray | None  # (r, r)
    contrasts: np.ndarray  # (c, q): c - 1 orthonormal ones of sum 0, or the identity
    # (r q, k): directions that act on the probabilities, of about the same effect; None: all
    span: np.ndarray | None
    idle: np.ndarray | None  # (r q, j): orthonormal directions that change nothing; None: none
    tilt: np.ndarray | None = None  # (k,): a linear price of the coordinates

    has_many_proofs = True  # a proof that fails costs little more than a step

    @property
    def is_hard(self):
        """Whether each row has one label."""
        return bool((self.targets.max(axis=1) == 1.0).all())

    def along(self, direction):
        """Return the change of the logits, (n, c), by a change of t; 0 where ruled out."""
        return np.where(self.allowed, self.rows @ (direction @ self.contrasts.T), 0.0)

    def step(self, point):
        """Return the Newton step from a point."""
        factor = factor_of(self, point)
        with np.errstate(over="ignore", invalid="ignore"):  # where the model is saturated
            change = -factor.solve(point.gradient)
            direction = out_of_span(self, change)
            along = self.along(direction)
            reach = reach_of(self, along)
            decrement = math.sqrt(max(0.0, -float(change @ point.gradient)))
        return Step(direction, along, decrement, reach, factor, factor.is_reliable)

    def moved(self, point, step, length):
        """Return the point after a step of some length."""
        return evaluate(self, point.t + length * step.direction)

    def shifted(self, point, change, *, accurate):
        """Return the point after a change of the coordinates."""
        return evaluate(self, point.t + out_of_span(self, change), accurate=accurate)

    def line(self, point, direction, along, extra=None):
        """Return the first two derivatives of the dual on a line, as a function of the length.

        ``extra(length)`` is the slope of what else there is to pay.
        """
        pull, bend = -float((self.weights[:, None] * self.targets * along).sum()), 0.0
        if self.penalty is not None:
            pull += float((direction * (self.penalty @ point.t)).sum())
            bend = float((direction * (self.penalty @ direction)).sum())

        def derivatives(length):
            p = point.log_p + length * along
            p = np.exp(p - p.max(axis=1, keepdims=True))
            p /= p.sum(axis=1, keepdims=True)
            means = (p * along).sum(axis=1)
            variances = (p * np.square(along - means[:, None])).sum(axis=1)
            slope = float(self.weights @ means) + pull + length * bend
            slope += 0.0 if extra is None else extra(length)
            return slope, float(self.weights @ variances) + bend

        return derivatives

    def curvature(self, point, factor):
        """Return the Hessian at a point, for a proof, from its factor.

        Along a direction the third derivative of the dual is at most R times the second, R the
        largest range of the change of logits within a row, and R is at most the lever times the
        length in the norm of the Hessian, as for a single distribution.
        """
        whitener, is_known = factor.whitener()
        lever = lever_of(self, whitener) if is_known else math.inf
        return Curvature(point, whitener, lever, is_centred=False)

    def errors(self, curvature, point):
        """Bound the drift, and the rounding errors of the whitened gradient and of all log p."""
        of_logs = rounding_of_logs(self, point)
        of_gradient = rounding_of_gradient(self, point, of_logs)
        rounding = float(np.linalg.norm(np.abs(curvature.whitener) @ of_gradient))
        drift = reach_of(self, self.along(point.t - curvature.origin.t))
        return drift, rounding, float(of_logs.max(initial=0.0))

    def are_met(self, curvature, point, size):
        """Whether targets hold that a proof leaves out: there are none."""
        return True


@dataclass(frozen=True)
class State:
    """The model at parameters t."""

    t: np.ndarray  # (r, q)
    logits: np.ndarray  # (n, c)
    log_p: np.ndarray  # (n, c)
    p: np.ndarray  # (n, c)
    excess: np.ndarray  # (n, c): p - targets
    gradient: np.ndarray  # (k,), in the coordinates of the span


def contrasts_of(num_classes):
    """Return orthonormal contrasts (c, c - 1): each class against the mean of those before it."""
    k = np.arange(1, num_classes)
    upper = np.triu(np.ones((num_classes, num_classes - 1)))
    upper[k, k - 1] = -k
    return upper / np.sqrt(k * (k + 1.0))


def make_task(rows, base, targets, weights, penalty=None, free=None):
    """Return the task; directions that change neither a probability nor a price are left out.

    `free`, (r, f), are orthonormal directions of the rows that the penalty leaves without a price.
    """
    allowed = ~np.isneginf(base)
    num_classes = base.shape[1]
    if allowed.all():
        contrasts = contrasts_of(num_classes)
        return Task(rows, base, allowed, targets, weights, penalty, contrasts, None, None)
    contrasts = np.eye(num_classes)
    span, idle = _span_and_ties(rows, allowed, contrasts)
    if penalty is not None:
        # What changes no probability, but has a price, has its optimum where that is least.
        priced = np.kron(np.eye(len(penalty)) - free @ free.T, np.eye(num_classes))
        left, values, _ = np.linalg.svd(idle.T @ priced)
        is_free = np.zeros(idle.shape[1], dtype=bool)
        is_free[: values.size] = values <= 1e-8
        span, idle = np.hstack([span, idle @ left[:, ~is_free]]), idle @ left[:, is_free]
    return Task(rows, base, allowed, targets, weights, penalty, contrasts, span, idle)


def theta_of(task, t):
    """Return theta (r, c), of minimum norm among those that give the same."""
    if task.idle is not None:
        flat = t.ravel()
        t = (flat - task.idle @ (task.idle.T @ flat)).reshape(t.shape)
    return t @ task.contrasts.T


def tied_direction(task, kept, guess):
    """Return the direction (r q,) nearest to a guess with equal logits wherever `kept`."""
    span, ties = _span_and_ties(task.rows, kept, task.contrasts)
    direction = ties @ (ties.T @ guess)
    share = kept / (kept.sum(axis=1, keepdims=True) * float(len(kept)))
    for _ in range(2):  # refinement: the ties are known to the condition of the others
        logits = task.rows @ (direction.reshape(task.rows.shape[1], -1) @ task.contrasts.T)
        means = np.where(kept, logits, 0.0).sum(axis=1, keepdims=True)
        means /= kept.sum(axis=1, keepdims=True)
        off = task.rows.T @ (share * (logits - means)) @ task.contrasts
        direction = direction - span @ (span.T @ off.ravel())
    return direction


def _span_and_ties(rows, allowed, contrasts):
    """Return directions that tell the allowed classes apart, and those that tie all of them.

    The first, (r q, k), have the identity as their information under uniform distributions on the
    allowed classes, and few entries; the others, (r q, r q - k), are orthonormal. They come from a
    triangular factor of that information: to form it, and square what matters to few rows or for
    small values, would lose that.
    """
    size = rows.shape[1] * contrasts.shape[1]
    if size == 0:
        return np.zeros((0, 0)), np.zeros((0, 0))
    share = allowed / allowed.sum(axis=1, keepdims=True)
    weights = np.full(len(rows), 1.0 / len(rows))
    factor = _root_of_information(rows, share, weights, contrasts)
    scale = np.linalg.norm(factor, axis=0)
    # Where all allowed classes have the same, their centre leaves rounding errors.
    terms = (np.square(rows).T @ (weights[:, None] * share)) @ np.square(contrasts)
    is_zero = scale <= 16.0 * size * EPS * np.sqrt(terms.ravel())
    factor[:, is_zero] = 0.0
    scale = np.where(is_zero, 1.0, scale)
    upper, order = scipy.linalg.qr(factor / scale, mode="r", pivoting=True)
    upper = upper[: min(upper.shape)]
    diagonal = np.abs(np.diagonal(upper))
    rank = int((diagonal > 16.0 * size * EPS * diagonal[0]).sum())
    basis, dependent = order[:rank], order[rank:]
    square = upper[:rank, :rank]
    span = np.zeros((size, rank))
    span[basis] = scipy.linalg.solve_triangular(square, np.eye(rank)) / scale[basis, None]
    ties = np.zeros((size, size - rank))
    ties[dependent, np.arange(size - rank)] = 1.0 / scale[dependent]
    mixture = scipy.linalg.solve_triangular(square, upper[:rank, rank:])
    ties[basis] = -mixture / scale[basis, None]
    ties, _ = np.linalg.qr(ties)
    return span, ties


def _root_of_information(rows, p, weights, contrasts, span=None):
    """Return R, upper triangular, with R'R the weighted sum of the Fisher informations."""
    factor = None
    for block in _roots(rows, p, weights, contrasts):
        block = block if span is None else block @ span
        stacked = block if factor is None else np.vstack([factor, block])
        factor = np.linalg.qr(stacked, mode="r")
    return factor


def _roots(rows, p, weights, contrasts):
    """Yield the blocks B of a tall matrix with B'B the weighted sum of the Fisher informations.

    A row of it is what one class of one sample contributes, less the mean over the classes.
    """
    size = rows.shape[1] * contrasts.shape[1]
    step = max(1, 4 * _BLOCK_ENTRIES // max(1, size * p.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        centred = contrasts - (p[part] @ contrasts)[:, None, :]  # (n, c, q)
        centred *= np.sqrt(weights[part, None] * p[part])[:, :, None]
        block = rows[part, None, :, None] * centred[:, :, None, :]
        yield block.reshape(block.shape[0] * block.shape[1], size)


def evaluate(task, t, *, accurate=False):
    """Return the model at t; `accurate` bounds the rounding of the gradient by chunks."""
    logits = task.base + task.rows @ (t @ task.contrasts.T)
    log_p = logits - logits.max(axis=1, keepdims=True)
    p = np.exp(log_p)
    total = p.sum(axis=1, keepdims=True)
    p /= total
    log_p -= np.log(total)
    excess = _excess(task, p)
    weighted = task.weights[:, None] * excess
    product = chunked_product(task.rows, weighted) if accurate else task.rows.T @ weighted
    gradient = product @ task.contrasts
    if task.penalty is not None:
        gradient = gradient + task.penalty @ t
    gradient = _into_span(task, gradient.ravel())
    gradient = gradient if task.tilt is None else gradient + task.tilt
    return State(t, logits, log_p, p, excess, gradient)


def _excess(task, p):
    """Return p - targets; of a label, minus the sum of the others, which keeps its digits."""
    if not task.is_hard:
        return p - task.targets
    is_label = task.targets > 0.0
    excess = np.where(is_label, 0.0, p)
    excess[is_label] = -excess.sum(axis=1)
    return excess


def chunked_product(rows, weighted):
    """Return rows' weighted with a rounding error of less than 200 EPS of its absolute terms."""
    (n, r), c = rows.shape, weighted.shape[1]
    whole = n - n % _CHUNK
    chunks = rows[:whole].reshape(whole // _CHUNK, _CHUNK, r).transpose(0, 2, 1)
    parts = np.matmul(chunks, weighted[:whole].reshape(whole // _CHUNK, _CHUNK, c))
    parts = np.concatenate([parts, (rows[whole:].T @ weighted[whole:])[None]])
    return np.ascontiguousarray(np.moveaxis(parts, 0, -1)).sum(axis=-1)  # pairwise


def _into_span(task, vector):
    return vector if task.span is None else task.span.T @ vector


def out_of_span(task, vector):
    """Return parameters (r, q) from coordinates of the span."""
    full = vector if task.span is None else task.span @ vector
    return full.reshape(task.rows.shape[1], task.contrasts.shape[1])


def _information(rows, p, weights, contrasts):
    """Return the weighted sum of the Fisher informations, (r (c - 1),) twice."""
    r, c = rows.shape[1], p.shape[1]
    if c == 2:
        scaled = rows * np.sqrt(2.0 * weights * p[:, 0] * p[:, 1])[:, None]
        return scaled.T @ scaled
    cross = np.zeros((r * c, r * c))
    step = max(1, _BLOCK_ENTRIES // (r * c))
    roots = np.sqrt(weights)
    for start in range(0, rows.shape[0], step):
        part = slice(start, start + step)
        block = rows[part, :, None] * (roots[part, None] * p[part])[:, None, :]
        block = block.reshape(-1, r * c)
        cross += block.T @ block
    # Off the diagonal of classes the entries are -p_j p_k; on it p_j (1 - p_j) is the sum of the
    # others, without the cancellation of p_j - p_j^2.
    laplacian = -cross.reshape(r, c, r, c)
    own = np.arange(c)
    laplacian[:, own, :, own] = 0.0
    laplacian[:, own, :, own] = -np.moveaxis(laplacian.sum(axis=3), 1, 0)
    half = np.tensordot(laplacian, contrasts, axes=(1, 0))  # (r, r, c, c - 1)
    information = np.tensordot(half, contrasts, axes=(2, 0))  # (r, r, p, q)
    size = r * (c - 1)
    return np.ascontiguousarray(information.transpose(0, 2, 1, 3)).reshape(size, size)


def hessian_of(task, state):
    if task.span is None:
        information = _information(task.rows, state.p, task.weights, task.contrasts)
    else:  # directions of small effect are long: what cancels has to cancel before
        blocks = _roots(task.rows, state.p, task.weights, task.contrasts)
        information = sum(_gram(block @ task.span) for block in blocks)
    return information if task.penalty is None else information + _price(task)


def _gram(block):
    return block.T @ block


def _price(task):
    """Return what the penalty adds to the Hessian."""
    price = np.kron(task.penalty, np.eye(task.contrasts.shape[1]))
    return price if task.span is None else task.span.T @ price @ task.span


@dataclass(frozen=True)
class Factor:
    """A Cholesky factor of the Hessian, scaled to a diagonal of ones."""

    lower: np.ndarray
    scale: np.ndarray
    is_reliable: bool = True

    @classmethod
    def of(cls, hessian):
        """Return that of a Hessian; None if it is not to be told from a singular one."""
        diagonal = np.diagonal(hessian)
        if not (diagonal > 0.0).all():
            return None
        scale = 1.0 / np.sqrt(diagonal)
        try:
            return cls(np.linalg.cholesky(hessian * scale * scale[:, None]), scale)
        except np.linalg.LinAlgError:
            return None

    def solve(self, vector):
        inner = scipy.linalg.cho_solve((self.lower, True), self.scale * vector)
        return self.scale * inner

    def whitener(self):
        """Return W with W'W the inverse, and whether rounding leaves it four digits."""
        size = self.scale.size
        inverse = scipy.linalg.solve_triangular(self.lower, np.eye(size), lower=True)
        # The trace of the inverse of the scaled matrix bounds what rounding may do to it.
        is_known = 64.0 * size * EPS * float(np.square(inverse).sum()) < 5e-3
        return inverse * self.scale, is_known


def factor_of(task, state):
    """Return a factor of the Hessian, at worst one that gives a direction of descent."""
    factor = Factor.of(hessian_of(task, state))
    if factor is not None:
        return factor
    # The squares of what it is a sum of are not to be told from 0.
    root = _root_of_information(task.rows, state.p, task.weights, task.contrasts, task.span)
    if task.penalty is not None:
        values, vectors = np.linalg.eigh(_price(task))
        root = np.vstack([root, np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T])
    size = np.linalg.norm(root, axis=0)
    scale = 1.0 / np.maximum(size, 1e-150)
    upper = np.linalg.qr(root * scale, mode="r")
    if np.abs(np.diagonal(upper)).min() < 1e-12:
        upper = np.linalg.qr(np.vstack([upper, 1e-9 * np.eye(scale.size)]), mode="r")
    return Factor(upper.T, scale, False)


def reach_of(task, along):
    """Return the largest range of a change of logits within a row."""
    if task.span is None:
        return float(np.ptp(along, axis=1).max())
    high = np.where(task.allowed, along, -math.inf).max(axis=1)
    low = np.where(task.allowed, along, math.inf).min(axis=1)
    return float((high - low).max())


def lever_of(task, whitener):
    """Return the largest range of logits within a row by a direction of length 1.

    For x (e_j - e_k) the squared length in the inverse Hessian is at most 2 x'Bx, B the sum of
    the diagonal blocks of the inverse over orthonormal contrasts, or over the allowed classes.
    """
    if whitener.size == 0:
        return 0.0
    full = whitener if task.span is None else whitener @ task.span.T
    r = task.rows.shape[1]
    blocks = full.reshape(full.shape[0], r, task.contrasts.shape[1])
    if task.span is None:
        root = np.linalg.qr(blocks.transpose(0, 2, 1).reshape(-1, r), mode="r")
        squares = np.square(task.rows @ root.T).sum(axis=1)
    else:
        squares = np.zeros(len(task.rows))
        for k in range(blocks.shape[2]):
            root = np.linalg.qr(blocks[:, :, k], mode="r")
            squares += task.allowed[:, k] * np.square(task.rows @ root.T).sum(axis=1)
    return math.sqrt(2.0 * float(squares.max()))


def rounding_of_logs(task, state):
    """Bound the rounding errors of the log-probabilities of a row; (n,)."""
    r, num_classes = task.rows.shape[1], task.base.shape[1]
    sizes = np.abs(task.rows) @ (np.abs(state.t) @ np.abs(task.contrasts).T)
    size = np.where(task.allowed, sizes, 0.0).max(axis=1)
    base = np.where(task.allowed, np.abs(task.base), 0.0).max(axis=1)
    log_p = np.where(task.allowed, np.abs(state.log_p), 0.0).max(axis=1)
    of_logits = 4.0 + base + (r + num_classes + 2) * size
    return EPS * (2.0 * of_logits + num_classes + 4.0 + log_p)


def rounding_of_gradient(task, state, of_logs):
    """Bound the rounding errors of the gradient, with those of the log-probabilities (n,)."""
    r, num_classes = task.rows.shape[1], task.base.shape[1]
    # A probability is off by as much, relatively; so is 1 - p of a label.
    moving = np.abs(state.excess) if task.is_hard else state.p + np.abs(state.excess)
    terms = 200.0 * EPS * np.abs(state.excess) + 2.0 * of_logs[:, None] * moving
    of_product = np.abs(task.rows).T @ (task.weights[:, None] * terms)
    of_gradient = of_product @ np.abs(task.contrasts)
    if task.penalty is not None:
        # The product with the contrasts is as large as the pull of the penalty, at the optimum.
        size = np.abs(task.penalty) @ np.abs(state.t)
        of_gradient += 2.0 * (r + num_classes + 2) * EPS * size
    flat = of_gradient.ravel()
    flat = flat if task.span is None else np.abs(task.span).T @ flat
    return flat if task.tilt is None else flat + 4.0 * EPS * np.abs(task.tilt)
