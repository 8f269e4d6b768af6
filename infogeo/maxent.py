r"""The distribution that expectations single out: C-maximisation, with proofs.

Given features F, targets b and a base C, `c_maximize` finds the point p* where the mixture family
:math:`\{p : E_p[F_i] = b_i\}` meets the exponential family :math:`p \propto \exp(C + \theta' F)`.
It returns a certified error of every log-probability, or a vector that proves that no
distribution satisfies the constraints. Logs are natural, outcomes lie along the last axis.
"""

import itertools
import math
import sys
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
from array_api_compat import array_namespace, device, is_array_api_obj, is_dask_array

from infogeo._array import REAL, Rule, bad_value, gate, is_readable
from infogeo._result import Projection, SolveError, Status

__all__ = ["c_maximize", "max_entropy"]

_EPS = float(np.finfo(np.float64).eps)
# How often over a rounding error has to be exceeded before it counts as more than rounding.
_CAUTION = 8.0
# The bound -log(1 - x) is proved for x < 1; only x up to here is called a solution.
_LARGEST_CERTIFIED = 0.1
# From here on re-using the covariance gains two digits or more a step.
_CLOSE = 0.01
_SEVERITY = (
    Status.CONVERGED,
    Status.BOUNDARY,
    Status.MAX_STEPS,
    Status.UNDECIDED,
    Status.INFEASIBLE,
)


def c_maximize(
    features, targets=0.0, *, log_base=None, tol=1e-10, max_steps=100, throw=True, check=True
):
    r"""Distribution that maximises H(p) + E_p[C] among those with given expectations.

    .. math:: p^* = \arg\max \{ H(p) + E_p[C] : E_p[F_i] = b_i \} = \exp(C + \theta' F - \psi)

    The same p* is nearest to exp(C) in relative entropy: min KL(p, exp(C) / sum exp(C)).

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints. Redundant rows, constant rows and
        more rows than outcomes are ordinary cases.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features. They are taken
        as known to the rounding of their dtype.
    log_base : array, shape (..., c), optional
        C: the logarithm of a prior or of a reference measure, normalised or not; -inf rules an
        outcome out. Default 0: maximum entropy.
    tol : float
        Stop when the certified error of every log-probability is below this, or when the rounding
        of the data allows no better; `error_bound` says what was reached.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises. If not, see `status`.
    check : bool
        Verify that the values are finite. Shapes and dtypes are always verified.

    Returns
    -------
    Projection
        Probabilities, natural parameters, and the numbers that prove them. Leading axes are a
        batch; the members are solved one by one.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; values that are not finite; tensors that require a
        gradient (the solve has none to give).
    SolveError
        No distribution satisfies the constraints (then ``error.result.certificate`` proves it),
        or none was found. ``error.failed`` lists the failed members of a batch, counted along
        its flattened axes; the others are solved in ``error.result``.

    Notes
    -----
    Newton's method on the dual log sum exp(C + theta'(F - b)). With the Newton decrement lambda
    and S = 2 max_y norm(F_y - E_q[F]), in the norm of the inverse Hessian, x = lambda S < 1 proves
    that the optimum is interior and that no log-probability is off by more than -log(1 - x);
    lambda includes the rounding of b and of the sums. A solve counts as converged if that bound is
    at most `tol`, or as small as rounding allows and below about 0.1.

    An optimum on the boundary, where some outcomes get probability 0 (a die of mean 6), is not
    certified by this test: such problems end as UNDECIDED, and the message names the outcomes.

    If the features are linearly dependent, theta is the one of minimum norm among those that give
    p*.

    References
    ----------
    E. T. Jaynes, Information theory and statistical mechanics, Phys. Rev. 106, 1957.
    I. Csiszar, I-divergence geometry of probability distributions, Ann. Probab. 3, 1975.
    F. Bach, Self-concordant analysis for logistic regression, Electron. J. Stat. 4, 2010.

    Examples
    --------
    A prior, and two groups of outcomes whose total probabilities are known:

    >>> prior = np.array([0.4, 0.3, 0.2, 0.1])
    >>> found = c_maximize([[1, 1, 0, 0]], 0.5, log_base=np.log(prior))
    >>> found.probabilities.round(4)
    array([0.2857, 0.2143, 0.3333, 0.1667])
    >>> bool(found.error_bound < 1e-12)
    True
    """
    base = 0.0 if log_base is None else log_base
    xp, F, b, C = gate(
        check, features=(REAL, features), targets=(REAL, targets), log_base=(_LOG_BASE, base)
    )
    _check_controls(tol, max_steps)
    roundoff = max(_roundoff(F), _roundoff(b), _roundoff(targets))
    F_host, b_host, C_host = _broadcast(
        _to_host("features", F), _to_host("targets", b), _to_host("log_base", C)
    )
    solutions = [
        _solve(F_host[i], b_host[i], C_host[i], roundoff, tol, max_steps)
        for i in np.ndindex(F_host.shape[:-2])
    ]
    result = _stack(solutions, F_host.shape, F, xp)
    if throw and not result.status.is_solution:
        raise _solve_error(solutions, result)
    return result


def max_entropy(features, targets, *, tol=1e-10, max_steps=100, throw=True, check=True):
    r"""Distribution of maximum entropy among those with given expectations.

    .. math:: p^* = \arg\max \{ H(p) : E_p[F_i] = b_i \}

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features.
    tol : float
        As in `c_maximize`.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises.
    check : bool
        Verify that the values are finite. Shapes and dtypes are always verified.

    Returns
    -------
    Projection
        As `c_maximize` with log_base = 0.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `c_maximize`.

    References
    ----------
    E. T. Jaynes, Where do we stand on maximum entropy?, in The Maximum Entropy Formalism, 1979.

    Examples
    --------
    Jaynes' die, which shows 4.5 on average:

    >>> die = max_entropy([[1, 2, 3, 4, 5, 6]], 4.5)
    >>> die.probabilities.round(4)
    array([0.0544, 0.0788, 0.1142, 0.1654, 0.2398, 0.3475])
    """
    return c_maximize(features, targets, tol=tol, max_steps=max_steps, throw=throw, check=check)


# ---------------------------------------------------------------- arguments


def _is_log_base(C, coarseness):
    return float(C.min()) > -math.inf and float(C.max()) < math.inf


def _explain_log_base(name, C, coarseness):
    rule = "be finite, or -inf for an outcome that is ruled out"
    if (np.isnan(C) | np.isposinf(C)).any():
        raise bad_value(name, rule, "it has NaN or +inf entries")
    if np.isneginf(C).all(-1).any():
        raise bad_value(name, rule, "all outcomes are ruled out")


_LOG_BASE = Rule("", _is_log_base, _explain_log_base)


def _check_controls(tol, max_steps):
    if not (isinstance(tol, int | float | np.number) and 0.0 < tol < math.inf):
        raise bad_value("tol", "be a positive number", f"got {tol!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise bad_value("max_steps", "be a positive integer", f"got {max_steps!r}")


def _roundoff(x):
    """Return the relative rounding error that x may carry from its dtype; 0 if it has none."""
    if not is_array_api_obj(x):
        return 0.0
    xp = array_namespace(x)
    return float(xp.finfo(x.dtype).eps) if xp.isdtype(x.dtype, "real floating") else 0.0


def _to_host(name, x):
    """Return the values as float64 numpy: the solve is a sequence of decisions on them."""
    if not (is_readable(x) or is_dask_array(x)):
        raise TypeError(
            f"{name} must have values that can be read: the solve does not run inside jax.jit, "
            "torch.func or torch.compile. Call it outside."
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        if x.requires_grad and torch.is_grad_enabled():
            raise ValueError(
                f"{name} must not require a gradient: it is a tensor with requires_grad=True, and "
                f"gradients through the solve are not offered yet. Pass {name}.detach()."
            )
        x = x.detach().cpu().numpy()
    return np.asarray(x).astype(np.float64, copy=False)


def _broadcast(F, b, C):
    """Check the shapes against each other; return the arrays with the same batch axes."""
    rule = "have shape (..., m, c), one row of c outcome values for each of m features"
    if F.ndim < 2:
        advice = "Write features[None, :] for a single feature." if F.ndim else ""
        raise bad_value("features", rule, f"got shape {F.shape}", advice)
    num_features, num_outcomes = F.shape[-2:]
    if num_features == 0 or num_outcomes == 0:
        raise bad_value("features", rule, f"got shape {F.shape}, which is empty")
    if b.ndim and b.shape[-1] != num_features:
        raise bad_value(
            "targets",
            "be a number or have one entry for each feature in the last axis",
            f"features has {num_features} (shape {F.shape}) and targets has shape {b.shape}",
        )
    if C.ndim and C.shape[-1] != num_outcomes:
        raise bad_value(
            "log_base",
            "have one entry for each outcome in the last axis",
            f"features has {num_outcomes} (shape {F.shape}) and log_base has shape {C.shape}",
        )
    try:
        batch = np.broadcast_shapes(F.shape[:-2], b.shape[:-1], C.shape[:-1])
    except ValueError:
        raise ValueError(
            "features, targets and log_base must have leading axes that broadcast: their shapes "
            f"are {F.shape}, {b.shape} and {C.shape}."
        ) from None
    F = np.broadcast_to(F, (*batch, num_features, num_outcomes))
    b = np.broadcast_to(b, (*batch, num_features))
    return F, b, np.broadcast_to(C, (*batch, num_outcomes))


# ---------------------------------------------------------------- one problem


@dataclass(frozen=True)
class _Problem:
    """One problem on the outcomes that C allows, in float64."""

    features: np.ndarray  # (m, c)
    targets: np.ndarray  # (m,)
    base: np.ndarray  # (c,), the largest is 0
    roundoff: float  # relative, of the targets


@dataclass(frozen=True)
class _Reduced:
    """The same problem in independent features of spread about 1 whose targets are 0."""

    rows: np.ndarray  # (r, c): combinations of F - b
    transform: np.ndarray  # (m, r): theta = transform @ t, of minimum norm
    lower: np.ndarray  # (r, r): lower @ rows are r of the rows of F - b, scaled
    blur: np.ndarray  # (r,): how well the targets of those rows are known or can be met
    combinations: np.ndarray  # (m, m - r): eta'F is constant for each column eta
    unmet: np.ndarray  # bool (m - r,): where eta'b is another constant, beyond rounding


@dataclass(frozen=True)
class _Point:
    """A member q of the exponential family."""

    t: np.ndarray  # (r,)
    logits: np.ndarray  # (c,): C + t'rows
    value: float  # of the dual, log sum exp(logits)
    p: np.ndarray  # (c,)
    gradient: np.ndarray  # (r,): E_q[rows]


@dataclass(frozen=True)
class _Outcome:
    """How the solve in reduced coordinates ended."""

    status: Status
    point: _Point
    steps: int
    error_bound: float = math.inf
    dual_gap: float = math.inf
    certificate: np.ndarray | None = None
    vanishing: np.ndarray | None = None  # bool (c,): outcomes whose probabilities run to 0


@dataclass(frozen=True)
class _Solution:
    """The fields of a Projection for one problem, and what to tell if it failed."""

    probabilities: np.ndarray
    theta: np.ndarray
    log_partition: float
    value: float
    entropy: float
    residual: float
    error_bound: float
    dual_gap: float
    status: Status
    support: np.ndarray
    rank: int
    steps: int
    certificate: np.ndarray | None
    diagnosis: str


def _solve(F, b, C, roundoff, tol, max_steps):
    """Solve one problem, (m, c) features in float64."""
    allowed = ~np.isneginf(C)
    if not allowed.all():
        F, C = F[:, allowed], C[allowed]
    top = C.max()
    # Sums over the outcomes are pairwise, and accurate, only along a contiguous axis.
    problem = _Problem(np.ascontiguousarray(F), b, C - top, roundoff)
    reduced, certificate = _reduce(problem)
    if certificate is None:
        outcome = _newton(problem, reduced, tol, max_steps)
    else:
        start = _evaluate(problem, reduced, np.zeros(reduced.rows.shape[0]))
        outcome = _Outcome(Status.INFEASIBLE, start, 0, certificate=certificate)
    residual = np.abs((F - b[:, None]) @ outcome.point.p).max()
    if outcome.status.is_solution and (reduced.unmet.any() or not residual < math.inf):
        outcome = _Outcome(Status.UNDECIDED, outcome.point, outcome.steps)
    return _describe(problem, reduced, outcome, residual, allowed, top)


def _describe(problem, reduced, outcome, residual, allowed, top):
    """Return the solution in the coordinates that the user gave."""
    point = outcome.point
    theta = reduced.transform @ point.t
    log_p = point.logits - point.value
    probabilities = np.zeros(allowed.shape)
    probabilities[allowed] = point.p
    entropy = max(0.0, -float((point.p * log_p).sum()))
    return _Solution(
        probabilities=probabilities,
        theta=theta,
        log_partition=point.value + top + float(theta @ problem.targets),
        value=entropy + float((point.p * problem.base).sum()) + top,
        entropy=entropy,
        residual=float(residual),
        error_bound=outcome.error_bound,
        dual_gap=outcome.dual_gap,
        status=outcome.status,
        support=allowed,
        rank=reduced.rows.shape[0],
        steps=outcome.steps,
        certificate=outcome.certificate,
        diagnosis=_diagnose(problem, reduced, outcome, allowed),
    )


# ---------------------------------------------------------------- independent features


def _reduce(problem):
    """Scale the features and drop the redundant ones.

    Returns the reduced problem, and a certificate if a target is out of reach for its feature
    or at odds with those of the features that determine it.
    """
    F, b = problem.features, problem.targets
    low, high = F.min(axis=-1), F.max(axis=-1)
    rounding = problem.roundoff * np.abs(b)
    blur = rounding + _EPS * np.maximum(np.abs(low), np.abs(high))
    # A target at the end of its range may be exact (0, of a feature that is never negative), but
    # the outcomes that it rules out keep some mass to the end of the search.
    at_end = np.minimum(high - b, b - low) <= _CAUTION * rounding
    unit = _power_of_two(np.maximum(high - b, b - low))
    rows = F - b[:, None]
    rows *= 1.0 / unit[:, None]
    weights = _reference(problem.base)
    centre = rows @ weights
    covariance = _covariance(rows, weights, centre)
    spread = np.sqrt(np.diagonal(covariance))
    varying = np.flatnonzero(spread * unit > _CAUTION * blur)
    scale = unit * _power_of_two(spread)
    rescale = (unit / scale)[varying]
    rows = rows if varying.size == b.size else rows[varying]
    rows *= rescale[:, None]
    basis, dependent, mixture, lower = _independent(
        rows,
        weights,
        covariance[np.ix_(varying, varying)] * np.outer(rescale, rescale),
        (blur / scale)[varying],
    )
    kept = varying[basis]
    combinations = np.zeros((b.size, dependent.size))
    combinations[varying[dependent], np.arange(dependent.size)] = 1.0
    combinations[kept] = -mixture
    combinations /= scale[:, None]
    disagreement = (centre * unit) @ combinations
    transform = np.zeros((b.size, kept.size))
    inverse = _solve_lower(lower, np.eye(kept.size))
    transform[kept] = inverse.T / scale[kept, None]
    if not (_is_identity(lower) and np.array_equal(kept, varying)):
        rows = _combined(inverse, F[kept], b[kept], scale[kept])
    reduced = _Reduced(
        rows=rows,
        transform=_minimum_norm(transform, combinations),
        lower=lower,
        blur=(rounding / scale + at_end * _EPS)[kept],
        combinations=combinations,
        unmet=np.abs(disagreement) > _CAUTION * (blur @ np.abs(combinations)),
    )
    certificate = _range_certificate(problem, low, high, blur)
    if certificate is None:
        certificate = _affine_certificate(problem, reduced, disagreement)
    return reduced, certificate


def _power_of_two(x):
    """Return powers of two of the size of x, by which scaling is exact; 1 where x is 0."""
    return np.ldexp(1.0, np.frexp(x)[1])


def _reference(base):
    """Return the weights in which spreads are measured.

    Half of them are uniform: an outcome with hardly any mass under exp(C) may still be the one
    that a target needs.
    """
    p = np.exp(base)
    return 0.5 * (p / p.sum() + 1.0 / p.size)


def _independent(rows, weights, covariance, blur):
    """Choose independent rows; return how the others follow, and the factor of the chosen.

    Parameters
    ----------
    rows : array, shape (m, c)
        Rows of standard deviation about 1.
    weights, covariance : arrays of shapes (c,) and (m, m)
        The weights of the outcomes, and the covariance of the rows for them.
    blur : array, shape (m,)
        The size of the rows' rounding errors.

    Returns
    -------
    basis, dependent : index arrays of shapes (r,) and (m - r,)
    mixture : array, shape (r, m - r)
        rows[dependent] = mixture' rows[basis] + constants, up to rounding.
    lower : array, shape (r, r)
        rows[basis] = lower @ (orthonormal rows) + constants; the identity if they are nearly
        orthonormal already.
    """
    num_rows, num_outcomes = rows.shape
    if num_rows == 0 or (num_rows < num_outcomes and np.linalg.eigvalsh(covariance)[0] > 1e-3):
        return np.arange(num_rows), np.arange(0), np.zeros((num_rows, 0)), np.eye(num_rows)
    blur = blur + num_rows * _EPS
    centred = rows - (rows @ weights)[:, None]
    factor = np.linalg.qr((centred * np.sqrt(weights)).T, mode="r")
    # In units of their rounding errors, so that the most significant rows come first.
    upper, order = scipy.linalg.qr(factor / blur, mode="r", pivoting=True)
    rank = 0
    while rank < min(upper.shape):
        mixture = _solve_lower(upper[:rank, :rank].T, upper[:rank, rank], transposed=True)
        if abs(upper[rank, rank]) <= _CAUTION * (1.0 + np.abs(mixture).sum()):
            break
        rank += 1
    basis, dependent = order[:rank], order[rank:]
    lower = upper[:rank, :rank].T
    mixture = _solve_lower(lower, upper[:rank, rank:], transposed=True)
    mixture *= blur[dependent] / blur[basis, None]
    return basis, dependent, mixture, lower * blur[basis, None]


def _is_identity(lower):
    return np.array_equal(lower, np.eye(lower.shape[0]))


def _solve_lower(lower, right, *, transposed=False):
    """Solve lower @ x = right (or lower.T @ x = right) for a lower triangular matrix."""
    if _is_identity(lower):
        return right
    return scipy.linalg.solve_triangular(lower, right, lower=True, trans=int(transposed))


def _combined(inverse, F, b, scale):
    """Return inverse @ ((F - b) / scale) as if it were computed exactly and then rounded.

    The combinations of nearly dependent rows cancel: of monomials up to the 12th power, all but
    seven digits. What is lost there is lost for the probabilities.
    """
    high = F - b[:, None]
    if scale.size == 0:
        return high
    back = high - F
    low = (F - (high - back)) - (b[:, None] + back)  # the rounding error of F - b
    high /= scale[:, None]
    low /= scale[:, None]
    num_parts = 3
    bits = (53 - math.ceil(math.log2(scale.size))) // 2
    right_parts = _split(high, bits, num_parts, axis=0)
    total, carry = np.zeros_like(high), inverse @ low
    for i, left in enumerate(_split(inverse, bits, num_parts, axis=1)):
        for right in right_parts[: num_parts - i]:
            term = left @ right  # exact: sums of integers below 2^53, scaled
            total, before = total + term, total
            back = total - before
            carry += (before - (total - back)) + (term - back)
    return total + carry


def _split(x, bits, num_parts, axis):
    """Split x into parts of few leading bits, relative to the largest entries along an axis."""
    parts = []
    for _ in range(num_parts):
        unit = np.ldexp(_power_of_two(np.abs(x).max(axis=axis, keepdims=True)), -bits)
        parts.append(np.rint(x / unit) * unit)
        x = x - parts[-1]
    return parts


def _minimum_norm(transform, combinations):
    """Remove from the natural parameters what does not act on the distribution."""
    if combinations.shape[1] == 0:
        return transform
    idle, _ = np.linalg.qr(combinations / np.linalg.norm(combinations, axis=0))
    return transform - idle @ (idle.T @ transform)


# ---------------------------------------------------------------- Newton's method on the dual


def _newton(problem, reduced, tol, max_steps):
    """Minimise log sum exp(C + t'rows) and say what was found."""
    point = _evaluate(problem, reduced, np.zeros(reduced.rows.shape[0]))
    for steps in itertools.count():
        whitener, is_reliable = _whitener(reduced.rows, point)
        direction = -whitener.T @ (whitener @ point.gradient)
        along = direction @ reduced.rows
        reach = float(np.ptp(along))
        if is_reliable and reach < _CLOSE and steps < max_steps:
            outcome = _certify(problem, reduced, point, whitener, tol, max_steps - steps)
            if outcome is not None:
                return replace(outcome, steps=steps + outcome.steps)
        certificate = _farkas_certificate(problem, reduced, point, direction, along)
        if certificate is not None:
            return _Outcome(Status.INFEASIBLE, point, steps, certificate=certificate)
        is_stuck = not math.isfinite(reach) or _is_stuck(problem, reduced, point, reach)
        if is_stuck or steps == max_steps:
            status = Status.UNDECIDED if is_stuck else Status.MAX_STEPS
            falling = (along < along.max() - 0.5) | (not is_reliable)
            return _Outcome(status, point, steps, vanishing=falling & (point.p < 1e-6))
        # Out of a singular covariance come steps whose squares overflow.
        scale = min(1.0, 1e8 / reach) if reach > 0.0 else 1.0
        length = scale * _step_length(point.logits, scale * along, scale * reach)
        point = _evaluate(problem, reduced, point.t + length * direction)


def _evaluate(problem, reduced, t, *, accurate=False):
    """Return the member q of the family with parameters t."""
    logits = problem.base + t @ reduced.rows
    top = float(logits.max())
    p = np.exp(logits - top)
    total = float(p.sum())
    p /= total
    # numpy.sum adds pairwise: worth its time where the gradient nearly cancels.
    gradient = (reduced.rows * p).sum(axis=-1) if accurate else reduced.rows @ p
    return _Point(t, logits, top + math.log(total), p, gradient)


def _covariance(rows, weights, mean):
    """Return the covariance of the rows, without letting it cancel."""
    second = (rows * weights) @ rows.T
    covariance = second - np.outer(mean, mean)
    if (np.diagonal(covariance) > 0.01 * np.diagonal(second)).all():
        return covariance
    roots = (rows - mean[:, None]) * np.sqrt(weights)
    return roots @ roots.T


def _whitener(rows, point):
    """Return W with W'W the inverse of the covariance, and whether it is known well enough."""
    try:
        lower = np.linalg.cholesky(_covariance(rows, point.p, point.gradient))
        diagonal = np.diagonal(lower)
        is_reliable = diagonal.size == 0 or bool(diagonal.min() > 1e-3 * diagonal.max())
    except np.linalg.LinAlgError:
        is_reliable = False
    if not is_reliable:
        roots = (rows - point.gradient[:, None]) * np.sqrt(point.p)
        lower, is_reliable = _orthogonal_factor(roots)
    return _solve_lower(lower, np.eye(lower.shape[0])), is_reliable


def _orthogonal_factor(roots):
    """Return L with LL' the covariance, without squaring its condition as Cholesky does.

    Directions in which it vanishes to working precision get a small variance: enough for a
    direction of descent, and the second value says that no bound can be built on it.
    """
    upper = np.linalg.qr(roots.T, mode="r")
    diagonal = np.abs(np.diagonal(upper))
    if diagonal.min() > 1e-12 * diagonal.max():
        return upper.T, True
    smallest = max(1e-7 * diagonal.max(), 1e-40)
    padded = np.vstack([upper, smallest * np.eye(upper.shape[0])])
    return np.linalg.qr(padded, mode="r").T, False


def _step_length(logits, along, reach):
    """Return how far to go: all the way where that is safe, else about to the minimum on the line.

    The third derivative along the line is at most `reach` times the second, so that the full
    step descends if reach < 0.7, and log(1 + reach) / reach never goes beyond the minimum. The
    full step is tried early: it is the one that lets the other directions converge while the
    optimum recedes along one of them.
    """
    if reach < 0.7:
        return 1.0
    steepest = abs(_line_derivatives(logits, along)[0])
    low, high = 0.0, math.inf
    length = 1.0 if reach < 3.0 else math.log1p(reach) / reach
    for _ in range(60):
        slope, curvature = _line_derivatives(logits + length * along, along)
        if abs(slope) <= 0.5 * steepest:
            return length
        low, high = (low, length) if slope > 0.0 else (length, high)
        newton = length - slope / curvature if curvature > 0.0 else math.inf
        if high == math.inf:
            length = min(newton, 8.0 * length)
        else:
            length = newton if low < newton < high else 0.5 * (low + high)
    return low if low > 0.0 else length


def _line_derivatives(logits, along):
    """Return the mean and the variance of `along` under softmax(logits)."""
    weights = np.exp(logits - logits.max())
    weights /= weights.sum()
    slope = float(weights @ along)
    return slope, float(weights @ np.square(along - slope))


# ---------------------------------------------------------------- proofs


def _certify(problem, reduced, origin, whitener, tol, max_steps):
    """Finish the solve from a point close to the optimum; None if it is not close enough.

    The steps re-use the covariance at the origin. A change of all log-probabilities by at most
    `drift` changes covariances by at most exp(drift): the bound holds at the last point.
    """
    whitened = whitener @ reduced.rows
    whitened -= (whitener @ origin.gradient)[:, None]
    lever = 2.0 * math.sqrt(np.einsum("ij,ij->j", whitened, whitened).max())
    point, steps = origin, 0
    decrement = float(np.linalg.norm(whitener @ point.gradient))
    if decrement * lever > _LARGEST_CERTIFIED:
        return None
    while steps < max_steps and (steps == 0 or decrement * lever > 1e-4 * tol):
        step = whitener.T @ (whitener @ point.gradient)
        trial = _evaluate(problem, reduced, point.t - step, accurate=True)
        trial_decrement = float(np.linalg.norm(whitener @ trial.gradient))
        if steps > 0 and trial_decrement > 0.5 * decrement:
            break
        point, decrement, steps = trial, trial_decrement, steps + 1
    drift = float(np.ptp(point.logits - origin.logits))
    shift = float(np.linalg.norm(whitener @ (point.gradient - origin.gradient)))
    rounding, rounding_of_logs = _rounding(problem, reduced, point, whitener)
    # 1.01: the whitener itself is known to at least four digits.
    size = 1.01 * math.exp(0.5 * drift) * (decrement + rounding)
    x = size * math.exp(0.5 * drift) * (lever + 2.0 * shift)
    if x > _LARGEST_CERTIFIED:
        return None
    bound = rounding_of_logs - math.log1p(-x)
    is_best = decrement <= rounding or decrement * lever <= 0.01 * tol
    if bound > tol and not is_best:
        return (
            _Outcome(Status.MAX_STEPS, point, steps, bound, size**2) if steps >= max_steps else None
        )
    return _Outcome(Status.CONVERGED, point, steps, bound, size**2)


def _rounding(problem, reduced, point, whitener):
    """Bound the rounding errors: of the whitened gradient, and of every log-probability."""
    of_sums, of_logs = _rounding_of_gradient(problem, reduced, point)
    to_whitened = _solve_lower(reduced.lower, whitener.T, transposed=True).T
    of_gradient = np.abs(to_whitened) @ reduced.blur + np.abs(whitener) @ of_sums
    return float(np.linalg.norm(of_gradient)), float(of_logs.max() + point.p @ of_logs)


def _rounding_of_gradient(problem, reduced, point):
    """Bound the rounding errors of the gradient, beside those of the targets, and of the logs."""
    size = np.abs(reduced.rows)
    mean_size = size @ point.p
    weights = (point.t.size + 2) * np.abs(point.t)
    terms = 6.0 + np.abs(problem.base) + np.abs(point.logits - point.value) + weights @ size
    of_logs = _EPS * terms
    # The sums are pairwise, for which a factor of 32 is plenty.
    return 32.0 * _EPS * mean_size + 2.0 * (size @ (point.p * of_logs)), of_logs


def _is_stuck(problem, reduced, point, reach):
    """Whether the constraints hold up to rounding, so that further steps would follow only noise.

    Near the optimum steps are short. Outcomes that vanish make steps of about 1, and what calls
    for a leap although the constraints nearly hold is noise in a covariance close to singular.
    """
    violation = np.abs(reduced.lower @ point.gradient)
    if (violation > 1e-4 + reduced.blur).any():
        return False
    of_sums, _ = _rounding_of_gradient(problem, reduced, point)
    rounding = reduced.blur + np.abs(reduced.lower) @ of_sums
    caution = 1.0 if reach < 0.7 else _CAUTION if reach < _CAUTION else _CAUTION**3
    return bool((violation <= caution * rounding).all())


def _range_certificate(problem, low, high, blur):
    """Return a unit vector if a target is outside the range of its feature."""
    above, below = problem.targets - high, low - problem.targets
    excess = np.maximum(above, below) / np.where(blur > 0.0, blur, 1.0)
    worst = int(excess.argmax())
    if not excess[worst] > _CAUTION:  # NaN proves nothing
        return None
    eta = np.zeros(problem.targets.size)
    eta[worst] = 1.0 if below[worst] > 0.0 else -1.0
    return eta


def _affine_certificate(problem, reduced, disagreement):
    """Return a combination eta with eta'F constant and different from eta'b, if it is proved."""
    for k in np.flatnonzero(reduced.unmet):
        eta = np.copysign(1.0, disagreement[k]) * reduced.combinations[:, k]
        if _is_proof(problem, eta):
            return _simplified(problem, eta)
    return None


def _farkas_certificate(problem, reduced, point, direction, along):
    """Return eta with eta'(F_y - b) > 0 for all outcomes, if the search came across one."""
    for vector, values in ((direction, along), (point.t, point.logits - problem.base)):
        if values.max() < 0.0:
            eta = reduced.transform @ -vector
            if _is_proof(problem, eta):
                return _simplified(problem, eta)
    return None


def _is_proof(problem, eta):
    """Whether eta'(F_y - b) > 0 for all outcomes and for all targets that round to b.

    Then the expectation of eta'F is above eta'b whatever the distribution (Farkas' lemma). The
    comparison allows for every rounding error of its own evaluation.
    """
    values, slack = _farkas(problem, eta)
    return bool((values > slack).all())


def _farkas(problem, eta):
    """Return eta'(F_y - b), and a bound on its rounding errors and on those of the targets."""
    above = problem.features - problem.targets[:, None]
    size = np.abs(eta)
    slack = (eta.size + 4) * _EPS * (size @ np.abs(above))
    return eta @ above, slack + problem.roundoff * float(size @ np.abs(problem.targets))


def _simplified(problem, eta):
    """Drop the features that the proof does without, and scale its largest entry to 1."""
    values, slack = _farkas(problem, eta)
    above = problem.features - problem.targets[:, None]
    kept = eta.copy()
    for i in np.argsort(np.abs(eta) * np.ptp(above, axis=-1)):
        trial = values - eta[i] * above[i]
        if (trial > 2.0 * slack).all():  # twice: the subtractions round too
            values, kept[i] = trial, 0.0
    kept /= np.abs(kept).max()
    return kept if _is_proof(problem, kept) else eta


# ---------------------------------------------------------------- what to tell


def _diagnose(problem, reduced, outcome, allowed):
    """Say in words why a solve did not succeed, and what can be done."""
    if outcome.status.is_solution:
        return ""
    if outcome.status is Status.INFEASIBLE:
        return _diagnose_infeasible(problem, outcome.certificate, allowed)
    found = f"The {outcome.steps} steps ran out"
    if outcome.status is not Status.MAX_STEPS:
        found = f"No solution, and no proof that there is none, after {outcome.steps} steps"
    if reduced.unmet.any():
        eta = reduced.combinations[:, np.argmax(reduced.unmet)]
        return (
            f"{found}: to rounding, {_combination(eta)} is the same for every outcome, and its "
            "target differs from that by little more than rounding. Leave one of them out."
        )
    if outcome.vanishing is not None and outcome.vanishing.any():
        numbers = np.flatnonzero(allowed)[outcome.vanishing]
        largest = outcome.point.p[outcome.vanishing].max()
        return (
            f"{found}: the targets lie on the edge of what the features allow, or very near it. "
            f"{_edges(problem)}These probabilities run to 0: of {_listed(numbers, 'outcome')} "
            f"(at most {largest:.1e}). Move the targets inwards; or, if they are exact, rule "
            "these outcomes out (log_base = -inf there) and solve for the others."
        )
    if outcome.status is Status.MAX_STEPS:
        is_certified = math.isfinite(outcome.error_bound)
        bound = f"at most {outcome.error_bound:.2g}" if is_certified else "not known yet"
        return f"{found}: the error of the log-probabilities is {bound}. Raise max_steps."
    return (
        f"{found}: to the rounding of the data, the features are nearly dependent, or the targets "
        f"nearly on the edge of what they allow. {_edges(problem)}Leave out features that others "
        "almost determine, or give targets to more digits."
    )


def _edges(problem):
    """Name the features whose targets are the ends of their ranges."""
    low, high = problem.features.min(axis=-1), problem.features.max(axis=-1)
    margin = np.minimum(high - problem.targets, problem.targets - low)
    numbers = np.flatnonzero((margin <= 1e-9 * (high - low)) & (high > low))
    if numbers.size == 0:
        return ""
    return f"At the end of its range is the target of {_listed(numbers, 'feature')}. "


def _diagnose_infeasible(problem, eta, allowed):
    (numbers,) = np.nonzero(eta)
    where = "every outcome" if allowed.all() else "every outcome that log_base allows"
    if numbers.size == 1:
        i = numbers[0]
        low, high = problem.features[i].min(), problem.features[i].max()
        return (
            f"No distribution satisfies the constraints: targets[{i}] = {problem.targets[i]:.6g} "
            f"is outside the range [{low:.6g}, {high:.6g}] of feature {i} over {where}."
        )
    values, target = eta @ problem.features, float(eta @ problem.targets)
    least = (eta @ (problem.features - problem.targets[:, None])).min()
    clash = f"{_combination(eta)} is above its target {target:.6g} by at least {least:.3g}"
    if np.ptp(values) <= 1e-6 * least:
        constant = target + least  # of values that cancel this one is the best
        clash = f"{_combination(eta)} is {constant:.6g}, and its target {target:.6g}"
    return (
        "No distribution satisfies the constraints: the targets of "
        f"{_listed(numbers, 'feature')} clash. For {where}, {clash}. Change one of these targets; "
        "the combination is in result.certificate."
    )


def _combination(eta):
    """Write eta'F in words, the first few terms."""
    (numbers,) = np.nonzero(eta)
    terms = [f"{eta[i]:+.4g} F[{i}]" for i in numbers[:6]]
    return " ".join(terms) + (" + ..." if numbers.size > 6 else "")


def _listed(numbers, noun):
    """Write the first few of a list of numbered things."""
    more = ", ..." if len(numbers) > 8 else ""
    plural = "s" if len(numbers) > 1 else ""
    return f"{noun}{plural} {', '.join(str(int(i)) for i in numbers[:8])}{more}"


def _solve_error(solutions, result):
    failed = [k for k, solution in enumerate(solutions) if not solution.status.is_solution]
    first = solutions[failed[0]]
    if len(result.rank.shape) == 0:
        return SolveError(first.diagnosis, result)
    return SolveError(
        f"{len(failed)} of {len(solutions)} problems failed, the others are solved in the result: "
        f"{_listed(failed, 'number')}. Number {failed[0]}: {first.diagnosis}",
        result,
        tuple(failed),
    )


def _stack(solutions, shape, like, xp):
    """Collect the solutions of a batch in arrays of the user's library, dtype and device."""
    *batch, num_features, num_outcomes = shape

    def collect(values, *axes, dtype=like.dtype):
        values = np.asarray(values).reshape((*batch, *axes))
        with np.errstate(over="ignore"):
            array = xp.asarray(values, dtype=dtype, device=device(like))
        return array if values.ndim else array[()]

    def scalars(name, **options):
        return collect([getattr(solution, name) for solution in solutions], **options)

    # The bound is on the probabilities as they are returned.
    cast = float(xp.finfo(like.dtype).eps) if xp.finfo(like.dtype).bits < 64 else 0.0
    proofs = [solution.certificate for solution in solutions]
    none = np.full(num_features, np.nan)
    return Projection(
        probabilities=collect([s.probabilities for s in solutions], num_outcomes),
        theta=collect([s.theta for s in solutions], num_features),
        log_partition=scalars("log_partition"),
        value=scalars("value"),
        entropy=scalars("entropy"),
        residual=scalars("residual"),
        error_bound=collect([s.error_bound + cast for s in solutions]),
        dual_gap=scalars("dual_gap"),
        status=max((s.status for s in solutions), key=_SEVERITY.index, default=Status.CONVERGED),
        support=collect([s.support for s in solutions], num_outcomes, dtype=xp.bool),
        rank=scalars("rank", dtype=None),
        steps=scalars("steps", dtype=None),
        certificate=None
        if all(eta is None for eta in proofs)
        else collect([none if eta is None else eta for eta in proofs], num_features),
    )
