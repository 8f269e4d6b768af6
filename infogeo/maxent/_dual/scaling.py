r"""Matrices with given sums of rows and columns: Newton's method in logarithms, and a proof.

P = exp(K + f_i + g_j) shall have the row sums a and the column sums b. In relative terms nothing
is small: a margin of 1e-60 counts as much as one of .5, and no bound depends on the smallest.

**The proof.** Let r and c be the sums of P as it is, R = P / r by rows and C = P / c by columns. If
d_ij = x_i + y_j are added to the logarithms, the sums are right when

.. math:: x + R y = \alpha - R[\rho], \quad y + C'x = \beta - C'[\rho],

with the relative errors alpha = (a - r) / r and beta = (b - c) / c, and the averages over the rows
and the columns of rho = exp(d) - 1 - d, which is at most d^2 exp(D) / 2 if |d| <= D. Because the
totals agree, y may be eliminated: A x = (first right-hand side) - R (second) with
A = I - R C' + 1 r' / sum(r), in the gauge r'x = 0 (1 is the null vector of I - R C', and r its left
one). A matrix Z near the inverse of A, with norm(I - Z A) <= q < 1 in the maximum norm, shows that
right-hand sides of no more than alpha and beta lead to

.. math:: \max |d| \le N(\alpha, \beta) = 2 \max(|Z| (\alpha + R \beta)) / (1 - q) + \max \beta,

and max |x| and max |y| are no more either. The energy sum P d^2 = sum r x (..) + sum c y (..) is at
most N times m = sum r alpha + sum c beta. So where N = N(alpha, beta), D = 2 N, D exp(D) <= 1/2 and
E = 2 D m, consider all d with max |d| <= D and energy at most E. Their remainders, in a row, are
at most exp(D) / 2 min(D^2, E / r_i), and all together at most exp(D) E / 2 for the rows and for the
columns. If N(remainders) <= N, the solution of the linear system with them is such a d again:
max |d| <= N + N(remainders) <= D, and its energy is at most D (m + exp(D) E) <= E / 2 + E / 2. By
Brouwer's theorem one of these d solves the equations. So there is a solution, also where P has
zeros, it is the only one, and no logarithm of P is off by more than N + N(remainders).

alpha and beta include how well the margins are known and the rounding of all sums, q that of A and
of its product with Z. All that A is made of is stochastic, so that Z is about as large as the
number of sweeps that proportional fitting needs.
"""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.sparse

from infogeo._docs import finish
from infogeo._status import Status
from infogeo.maxent._dual.problem import EPS

# Newton steps as short as this converge to rounding with the matrix at hand.
_SHORT = 1e-3
# Sweeps go on as long as each divides the error by this.
_FAST = 4.0
# Logarithms that spread more than this are scaled up from less, by factors of 2.
_LARGEST_SPREAD = 64.0
# What is added to the diagonal far from the solution, where the table may nearly fall into parts: a
# step is long then, and what is made of it is a step of about 30 in the logarithms.
_RIDGE = 1e-14
# Roundings of a sum: numpy adds up rows in pairs of blocks of 128.
_ROUNDINGS = 48.0


@dataclass(frozen=True)
class Scaled:
    """How the search ended: the logarithms of the factors, and their proof."""

    status: Status
    rows: np.ndarray  # (I,): f
    columns: np.ndarray  # (J,): g
    steps: int
    error: float = math.inf  # of every K + f + g as a sum of real numbers


@dataclass(frozen=True)
class Lines:
    """The rows, or the columns, of a table without zeros."""

    logs: np.ndarray  # (n, k)
    blur: np.ndarray  # (n, k): how well they are known

    @property
    def roundings(self):
        """How often the unit roundoff a sum of exponentials may be off."""
        return _ROUNDINGS

    @property
    def turned(self):
        """The columns, if these are the rows."""
        return Lines(np.ascontiguousarray(self.logs.T), np.ascontiguousarray(self.blur.T))

    def scaled(self, factor):
        """Return the lines of a power of the table."""
        return Lines(self.logs * factor, self.blur)

    def spread(self):
        """Return the range of the logarithms."""
        return float(np.ptp(self.logs))

    def plus(self, own, other):
        """Return logs + own_i + other_j."""
        return self.logs + (own[:, None] + other)

    def normalised(self, logits):
        """Return each line divided by its sum, and the logarithms of the sums."""
        top = logits.max(axis=1)
        shares = np.exp(logits - top[:, None])
        total = shares.sum(axis=1)
        shares /= total[:, None]
        return shares, top + np.log(total)

    def rounding(self, logits):
        """Bound how far they are from what `plus` would give with real numbers."""
        return rounding(self.blur, self.logs, logits)

    def average(self, shares, values):
        """Return the averages of values, one for each entry, over the lines."""
        return (shares * values).sum(axis=1)


@dataclass(frozen=True)
class SparseLines:
    """The rows, or the columns, of a table with zeros: the entries that are none."""

    logs: scipy.sparse.csr_array  # (n, k), with entries in every line
    blur: np.ndarray  # (nnz,)

    @property
    def roundings(self):
        """How often the unit roundoff a sum of exponentials may be off, in whatever order."""
        return float(np.diff(self.logs.indptr).max())

    @property
    def turned(self):
        """The columns, if these are the rows."""
        order = scipy.sparse.csr_array(
            (np.arange(self.blur.size), self.logs.indices, self.logs.indptr), self.logs.shape
        ).T.tocsr()
        logs = (self.logs.data[order.data], order.indices, order.indptr)
        return SparseLines(
            scipy.sparse.csr_array(logs, self.logs.shape[::-1]), self.blur[order.data]
        )

    def scaled(self, factor):
        """Return the lines of a power of the table."""
        return SparseLines(self._with(self.logs.data * factor), self.blur)

    def spread(self):
        """Return the range of the logarithms."""
        return float(np.ptp(self.logs.data))

    def plus(self, own, other):
        """Return logs + own_i + other_j, for each entry."""
        return self.logs.data + (self._repeated(own) + other[self.logs.indices])

    def normalised(self, logits):
        """Return each line divided by its sum, and the logarithms of the sums."""
        top = np.maximum.reduceat(logits, self.logs.indptr[:-1])
        shares = np.exp(logits - self._repeated(top))
        total = np.add.reduceat(shares, self.logs.indptr[:-1])
        return self._with(shares / self._repeated(total)), top + np.log(total)

    def rounding(self, logits):
        """Bound how far they are from what `plus` would give with real numbers."""
        return rounding(self.blur, self.logs.data, logits)

    def average(self, shares, values):
        """Return the averages of values, one for each entry, over the lines."""
        return np.add.reduceat(shares.data * values, self.logs.indptr[:-1])

    def _repeated(self, of_lines):
        return np.repeat(of_lines, np.diff(self.logs.indptr))

    def _with(self, data):
        return scipy.sparse.csr_array((data, self.logs.indices, self.logs.indptr), self.logs.shape)


@dataclass(frozen=True)
class Sums:
    """What is known of the logarithms of the sums."""

    logs: np.ndarray
    roundoff: float  # relative, of the sums


@dataclass(frozen=True)
class _State:
    """A table whose columns have the sums that they should have."""

    rows: np.ndarray  # f
    columns: np.ndarray  # g
    by_rows: np.ndarray  # R
    by_columns: np.ndarray  # C', (J, I)
    sums: np.ndarray  # log r
    excess: np.ndarray  # (a - r) / r


def scale(table, rows, columns, max_steps):
    """Find f and g so that the table times exp(f_i + g_j) has the given sums.

    Parameters
    ----------
    table : Lines or SparseLines
        The rows; the table is connected.
    rows, columns : Sums
        What they have to be.
    max_steps : int
    """
    if rows.logs.size > columns.logs.size:  # the matrices have the size of the rows
        found = scale(table.turned, columns, rows, max_steps)
        return Scaled(found.status, found.columns, found.rows, found.steps, found.error)
    across, f, steps = table.turned, np.zeros(rows.logs.size), 0
    num_levels = math.ceil(math.log2(max(1.0, table.spread() / _LARGEST_SPREAD)))
    for level in reversed(range(num_levels + 1)):
        factor = 0.5**level
        pair = (table.scaled(factor), across.scaled(factor)) if level else (table, across)
        state, is_near, steps = _approach(*pair, f, rows, columns, steps, max_steps, level == 0)
        f = 2.0 * state.rows
    if not is_near:
        status = Status.MAX_STEPS if steps >= max_steps else Status.UNDECIDED
        return Scaled(status, state.rows, state.columns, steps)
    return _finish(table, across, state, rows, columns, steps)


def _state(table, across, f, rows, columns):
    by_columns, sums = across.normalised(across.plus(np.zeros(columns.logs.size), f))
    g = columns.logs - sums
    by_rows, sums = table.normalised(table.plus(f, g))
    with np.errstate(over="ignore"):
        return _State(f, g, by_rows, by_columns, sums, np.expm1(rows.logs - sums))


def _approach(table, across, f, rows, columns, steps, max_steps, is_last):
    """Go near the solution by sweeps of proportional fitting and damped Newton steps.

    Returns
    -------
    _State, bool, int
        Whether Newton's method converges from here, or nothing but rounding is left of the excess,
        which is asked of the last table only; and the number of steps so far.
    """
    state = _swept(table, across, _state(table, across, f, rows, columns), rows, columns)
    while True:
        error = float(np.abs(state.excess).max())
        if not math.isfinite(error) or (error <= 0.5 and not is_last):
            return state, False, steps
        if error > 1.0:  # lines of little mass, which the dual hardly sees, are set right at once
            state = _swept(table, across, state, rows, columns)
            error = float(np.abs(state.excess).max())
        try:
            step = np.linalg.solve(_matrix(state, _RIDGE), state.excess)
        except np.linalg.LinAlgError:
            return state, False, steps
        step -= 0.5 * (step.max() + step.min())
        if error < _SHORT and (np.ptp(step) < _SHORT or _is_rounding(table, state, rows)):
            return state, True, steps
        if steps >= max_steps or not np.isfinite(step).all():
            return state, False, steps
        state, steps = _searched(table, across, state, step, rows, columns), steps + 1


def _is_rounding(table, state, rows):
    """Whether the sums are right to rounding: steps that are still long then follow only noise."""
    _, errors, _ = _relative_errors(table, state.rows, state.columns, rows)
    # Of factors as large as these there is no float nearer to what is wanted.
    unit = EPS * (np.abs(state.rows) + np.abs(state.columns).max())
    return bool((np.abs(state.excess) <= errors / 3.0 + unit).all())


def _swept(table, across, state, rows, columns):
    """Return the state after a sweep of proportional fitting, and more while they do much."""
    while True:
        before = np.abs(state.excess).max()
        f = state.rows + rows.logs - state.sums
        state = _state(table, across, f, rows, columns)
        error = np.abs(state.excess).max()
        if not 1e-12 < _FAST * error < before:
            return state


def _matrix(state, ridge=0.0):
    """Return A = I - R C' + 1 r' / sum(r), and the ridge times I.

    The diagonal of I - R C' is the sum of the other entries: it has its digits where the table
    nearly falls into parts.
    """
    product = state.by_rows @ state.by_columns
    matrix = -(product.toarray() if scipy.sparse.issparse(product) else product)
    diagonal = np.diag_indices_from(matrix)
    matrix[diagonal] = 0.0
    matrix[diagonal] = ridge - matrix.sum(axis=1)
    weights = np.exp(state.sums - state.sums.max())
    matrix += weights / weights.sum()
    return matrix


def _searched(table, across, state, step, rows, columns):
    """Return the state after a damped step that does not go far beyond the maximum along it.

    The dual, sum a f - sum b log sum exp(K + f), is concave, and along a step of range D its second
    derivative changes by factors of at most exp(D t): up to t = log(1 + D) / D it only rises.
    """
    reach = float(np.ptp(step))
    safe = math.log1p(reach) / reach if reach > 0.0 else 1.0
    wanted = np.exp(rows.logs)

    def slope(at):
        return float(step @ (wanted - np.exp(at.sums)))

    first, length = slope(state), 1.0
    while True:
        trial = _state(table, across, state.rows + length * step, rows, columns)
        # A step of thousands may leave a line no mass at all: no step leads back from there.
        is_lost = not np.isfinite(trial.excess).all()
        if length <= safe or (slope(trial) >= -0.5 * abs(first) and not is_lost):
            return trial
        length = max(safe, 0.5 * length)


# ---------------------------------------------------------------- the proof


def _finish(table, across, state, rows, columns, steps):
    """Converge to rounding with the inverse at hand, and bound the error."""
    try:
        inverse = np.linalg.inv(_matrix(state))
    except np.linalg.LinAlgError:
        return Scaled(Status.UNDECIDED, state.rows, state.columns, steps)
    while True:
        trial = _state(table, across, state.rows + inverse @ state.excess, rows, columns)
        errors = [np.abs(at.excess).max() for at in (state, trial)]
        if not errors[1] < errors[0]:
            break
        state, steps = trial, steps + 1
        if errors[1] > 0.5 * errors[0]:
            break
    error = _error_bound(table, across, state, rows, columns, inverse)
    status = Status.CONVERGED if error < math.inf else Status.UNDECIDED
    return Scaled(status, state.rows, state.columns, steps, error)


def _error_bound(table, across, state, rows, columns, inverse):
    """Return D as the head of this module has it, or inf without a proof."""
    by_rows, alpha, noise_of_rows = _relative_errors(table, state.rows, state.columns, rows)
    by_columns, beta, noise_of_columns = _relative_errors(
        across, state.columns, state.rows, columns
    )
    matrix = _matrix(_State(state.rows, state.columns, by_rows, by_columns, rows.logs, alpha))
    sizes, count = np.abs(inverse), rows.logs.size
    norm = float(sizes.sum(axis=1).max())
    defect = inverse @ matrix
    defect[np.diag_indices_from(defect)] -= 1.0
    roundings = 4.0 * count + columns.logs.size + 2.0 * (table.roundings + across.roundings) + 100.0
    noise = 3.0 * noise_of_rows + noise_of_columns + EPS * roundings + 2.0 * alpha.max()
    q = float(np.abs(defect).sum(axis=1).max()) + norm * noise
    if not (q < 0.5 and alpha.max() < 0.1 and beta.max() < 0.1):
        return math.inf

    def largest(of_rows, of_columns):
        reach = float((sizes @ (of_rows + by_rows @ of_columns)).max()) / (1.0 - q)
        return 1.01 * (2.0 * reach + float(of_columns.max()))  # 1.01: the rounding of all this

    first = largest(alpha, beta)
    radius = 2.0 * first
    if radius * math.exp(min(radius, 1.0)) > 0.5:
        return math.inf
    mass = 1.2 * float(np.exp(rows.logs) @ alpha + np.exp(columns.logs) @ beta)
    energy = math.log(1.2 * 2.0 * radius * mass)
    remainders = (
        0.5 * math.exp(radius) * np.exp(np.minimum(2.0 * math.log(radius), energy - a.logs))
        for a in (rows, columns)
    )
    second = largest(*remainders)
    return first + second if second <= first else math.inf


def _relative_errors(lines, own, other, wanted):
    """Return the lines' shares, bounds on their sums' relative errors, and on the shares' noise."""
    logits = lines.plus(own, other)
    shares, sums = lines.normalised(logits)
    noise = lines.average(shares, lines.rounding(logits))
    with np.errstate(over="ignore"):
        seen = np.abs(np.expm1(wanted.logs - sums))
    of_sums = EPS * (2.0 * np.abs(wanted.logs) + np.abs(sums) + lines.roundings + 20.0) + noise
    return shares, seen + 1.2 * (wanted.roundoff + of_sums), float(noise.max())


def rounding(blur, logs, logits):
    """Bound how far logits = logs + (f + g) are from the sum of real numbers with exact logs."""
    return blur + EPS * (np.abs(logs) + np.abs(logits) + 6.0)


finish(globals())
