"""Unknown class frequencies of rows, by maximum likelihood from predictions for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.linalg
import scipy.optimize
from array_api_compat import array_namespace, is_dask_array

from infogeo import _array, _spaces
from infogeo._array import PROBABILITIES, WEIGHTS, Array, bad_value, gate, matched
from infogeo._blocks import BLOCK_SIZE
from infogeo._docs import finish
from infogeo._names import numbered
from infogeo._result import Table
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.maxent._arguments import check_controls, to_host
from infogeo.maxent._dual.problem import EPS
from infogeo.maxent._frequencies import Rows, Source, normalised, working_copy
from infogeo.maxent._gradients import refuse_gradients
from infogeo.maxent._wording import Message, Named, failure, listed, names_of, ran_out

# Below this the pivots of a scaled Hessian are 0 for all that is known.
_SMALLEST_PIVOT = 1e-12
_MOST_HALVINGS = 40


@storable("FrequencyEstimate")
@dataclass(frozen=True, eq=False, repr=False)
class FrequencyEstimate(Table):
    """Estimate class frequencies of new rows under label shift, by maximum likelihood.

    Parameters
    ----------
    frequencies : array, shape (c,)
        The estimates: probabilities.
    standard_errors : array, shape (c,)
        Their standard deviations for many rows; NaN for a frequency that is estimated as 0, where
        no normal distribution is near.
    covariance : array, shape (c, c)
        Their covariance, with the frequencies that are estimated as 0 held there.
    error_bound : array, shape ()
        By how much each frequency is off the maximum of the likelihood, at most; inf if the
        search did not come close enough to say. This is no standard error.
    likelihood_gap : array, shape ()
        By how much the mean log-likelihood of a row is below its maximum, at most, in nats.
    status : Status
        How the search ended.
    steps : int array, shape ()
        Passes over the rows.
    """

    axes: ClassVar = {"class": None}

    frequencies: Array
    standard_errors: Array
    covariance: Array
    error_bound: Array
    likelihood_gap: Array
    status: Status
    steps: Array

    def __str__(self) -> str:
        arrays = self.frequencies, self.standard_errors
        f, errors = (np.asarray(_array.on_host(x)) for x in arrays)
        lines = [f"FrequencyEstimate: {self.status.value}", f"{'class':>8} frequency  std. error"]
        order = np.argsort(-f, kind="stable")[:10]
        lines += [f"{k:8d} {float(f[k]):9.4g}  {float(errors[k]):10.2g}" for k in np.sort(order)]
        if f.size > order.size:
            lines.append(f"and {f.size - order.size} more, which are less frequent")
        return "\n".join(lines)


def estimate_frequencies(
    p: Any,
    training_frequencies: Array | None = None,
    *,
    confusion: Array | None = None,
    weights: Array | None = None,
    space: Any = "simplex",
    tol: float = 1e-10,
    max_steps: int = 200,
    throw: bool = True,
    check: bool = True,
) -> FrequencyEstimate:
    r"""Estimate class frequencies of new rows under label shift, by maximum likelihood.

    .. math:: f = \arg\max \sum_i w_i \log \sum_k f_k \, p_{ik} / \pi_k

    Only the frequencies of the classes have changed since training, not what the inputs of a class
    look like. Either the predictions are calibrated and the frequencies :math:`\pi` of the training
    data are known, or a confusion matrix says how often the classes are mistaken.

    Parameters
    ----------
    p : array, shape (n, c)
        Predictions for the new rows.
    training_frequencies : array, shape (c,), optional
        The frequencies that the model was calibrated for: those of its training data. Positive.
    confusion : array, shape (c, c), optional
        Counts of held-out rows of the training distribution by their class (first axis) and by the
        class that was predicted (second axis). Only the most probable class of each row of `p`
        counts then, and calibration does not matter.
    weights : array, shape (n,), optional
        How much each row counts; divided by their sum. Default: equally.
    space : module or name
        What `p` holds: `infogeo.simplex` (probabilities) or `infogeo.logits`.
    tol : float
        Stop when no frequency is off the maximum by more than this, or when rounding allows no
        better; `error_bound` says what was reached.
    max_steps : int
        The most passes over the rows.
    throw : bool
        Whether an unsuccessful search raises. If not, see `status`.
    check : bool

    Returns
    -------
    FrequencyEstimate
        Frequencies in the library, dtype and on the device of `p`, their standard errors, and the
        numbers that prove that they maximise the likelihood.

    Raises
    ------
    TypeError, ValueError
        Things that are not predictions, frequencies or counts, or do not fit together.
    SolveError
        The predictions do not tell some classes apart, or the steps ran out.

    Notes
    -----
    The maximum is the one to which the EM algorithm of Saerens and others converges (MLLS). It is
    found by Newton's method with non-negativity: the likelihood is concave, and self-concordance
    bounds the distance to its maximum. Given a confusion matrix M of rates, the likelihood is that
    of the predicted classes. Its maximum is the solution of M'f = q with the frequencies q of the
    predicted classes (BBSE) if that has no negative entry.

    Standard errors are those of many rows drawn independently, by the sandwich formula, which
    allows for weights. With a confusion matrix they count the rows it is made of as well. Without,
    they take the predictions as calibrated and the training frequencies as known exactly.

    Predictions at these frequencies are those of Bayes' rule, p_k f_k / pi_k, normalised. To make
    predictions average to them exactly, pass them on to `match_frequencies`.

    References
    ----------
    M. Saerens, P. Latinne and C. Decaestecker, Adjusting the outputs of a classifier to new a
    priori probabilities, Neural Computation 14, 2002.
    Z. Lipton, Y.-X. Wang and A. Smola, Detecting and correcting for label shift with black box
    predictors, ICML 2018.
    Y. Kim, P. Carbonetto, M. Stephens and M. Anitescu, A fast algorithm for maximum likelihood
    estimation of mixture proportions using sequential quadratic programming, JCGS 29, 2020.

    Examples
    --------
    A test with 90 % sensitivity and 80 % specificity, positive for three of ten:

    >>> positive = np.repeat([1.0, 0.0], [300, 700])
    >>> p = np.stack([1 - positive, positive], axis=1)
    >>> found = estimate_frequencies(p, confusion=[[160, 40], [10, 90]])
    >>> found.frequencies.round(4)
    array([0.8571, 0.1429])
    >>> found.standard_errors.round(4)
    array([0.0408, 0.0408])
    """
    space = _spaces.of_predictions(space)
    check_controls(tol, max_steps)
    if (training_frequencies is None) == (confusion is None):
        raise TypeError(
            "estimate_frequencies needs one of training_frequencies (for calibrated predictions) "
            "and confusion (the counts of a confusion matrix), not both."
        )
    given = {"training_frequencies": (_PRIOR, training_frequencies)}
    if confusion is not None:
        given = {"confusion": (_CONFUSION, confusion)}
    like, other, masses = _gate(p, given, weights, space, check)
    data = working_copy(like)
    masses = normalised(masses, None, data.shape[0], None, 0)
    rows = Rows(Source(data, space.SPHERE, False, array_namespace(data)), None, masses)
    if confusion is None:
        problem = _Calibrated(rows, _positive("training_frequencies", other))
    else:
        problem = _confused(rows, other)
    solution = _maximise(problem, tol, max_steps)
    result = _result(problem, solution, like)
    if throw and not result.status.is_solution:
        names = names_of(p=(space.POINTS, p))
        raise failure(_diagnosis(solution), result, classes=names.get("outcomes"))
    return result


# ---------------------------------------------------------------- arguments

_PRIOR = replace(PROBABILITIES, axes=("outcomes",))
_CONFUSION = replace(WEIGHTS, axes=("outcomes", "outcomes"))


def _gate(p, given, weights, space, check):
    """Return the rows, and on the host the other argument and the weights, or None."""
    ((name, (rule, other)),) = given.items()
    weighted = {} if weights is None else {"weights": (WEIGHTS, weights)}
    p, other, *matching = matched(
        p=(space.POINTS, numbered(("outcomes",), p, other)), **{name: (rule, other)}, **weighted
    )
    weighted = {"weights": (WEIGHTS, *matching)} if matching else {}
    _, data, *masses = gate(check, p=(space.POINTS, p), **weighted)
    if len(data.shape) != 2 or data.shape[0] == 0:
        seen = f"got shape {tuple(data.shape)}"
        raise bad_value("p", "have shape (n, c), one prediction per row", seen)
    if is_dask_array(data):
        raise TypeError("p must be in memory: the search passes over it many times. Use compute().")
    refuse_gradients(p=data)
    _, other = gate(check, **{name: (rule, other)})
    other = to_host(name, other)
    num_classes = data.shape[1]
    shape = (num_classes,) if name == "training_frequencies" else (num_classes, num_classes)
    if other.shape != shape:
        seen = f"got {other.shape} for p of shape {tuple(data.shape)}"
        raise bad_value(name, f"have shape {shape}", seen)
    if masses:
        masses = [to_host("weights", masses[0])]
        if masses[0].shape != (data.shape[0],):
            rule = f"have one entry for each of the {data.shape[0]} rows"
            raise bad_value("weights", rule, f"got shape {masses[0].shape}")
    return data, other, masses[0] if masses else None


def _positive(name, frequencies):
    if not frequencies.min() > 0.0:
        (wrong,) = np.nonzero(frequencies <= 0.0)
        advice = "A class that was not in the training data cannot be estimated: leave it out of p."
        raise bad_value(name, "be positive", f"they are 0 for {listed(wrong, 'class')}", advice)
    return frequencies / frequencies.sum()


# ---------------------------------------------------------------- likelihoods


@dataclass(frozen=True)
class _Moments:
    """What one pass over the rows says about the likelihood at some frequencies."""

    log_likelihood: float  # the weighted mean, -inf where a row is impossible
    mean: np.ndarray  # (c,): sum_i w_i s_i, with s_i = r_i / (r_i'f), 1 at the maximum
    hessian: np.ndarray  # (c, c): sum_i w_i s_i s_i'
    squares: np.ndarray  # (c, c): sum_i w_i^2 s_i s_i'
    weighted: np.ndarray  # (c,): sum_i w_i^2 s_i


@dataclass(frozen=True)
class _Calibrated:
    """Rows whose likelihood under class k is in proportion to p_k / pi_k."""

    rows: Rows
    prior: np.ndarray  # (c,)

    @property
    def num_classes(self):
        return self.prior.size

    @property
    def num_roundings(self):
        """How many roundings the sums carry, those of long sums as of random signs."""
        block = min(self.rows.weights.size, BLOCK_SIZE / self.prior.size)
        return 24.0 + 2.0 * self.prior.size + 2.0 * math.sqrt(block)

    @property
    def smallest_weight(self):
        weights = self.rows.weights
        return float(weights[weights > 0.0].min())

    def at(self, f):
        """Take one pass over the rows."""
        rows, xp = self.rows, self.rows.source.xp
        on_device, ratio = rows.on_device(f), rows.on_device(1.0 / self.prior)
        value, mean, hessian, squares, weighted = 0.0, 0.0, 0.0, 0.0, 0.0
        for _, block, w in rows.blocks():
            r = rows.source.chart.probabilities(block, xp) * ratio
            likelihood = r @ on_device
            counts = w > 0.0
            likelihood = xp.where(counts, likelihood, xp.ones_like(likelihood))
            if not bool(xp.all(likelihood > 0.0)):
                return _Moments(-math.inf, f, np.zeros((f.size, f.size)), None, None)
            s = r / likelihood[:, None]
            value += float(xp.sum(w * xp.log(likelihood)))
            ws = s * w[:, None]
            mean = mean + xp.sum(ws, axis=0)
            hessian = hessian + s.T @ ws
            squares = squares + ws.T @ ws
            weighted = weighted + ws.T @ w
        host = (to_host("", x) for x in (mean, hessian, squares, weighted))
        return _Moments(value, *host)

    def covariance(self, f, moments, on, inverse):
        """Return the covariance of the estimates that are not 0, by the sandwich formula."""
        total = float(self.rows.weights @ self.rows.weights)
        v = moments.weighted[on]
        scores = moments.squares[np.ix_(on, on)] - v[:, None] - v + total
        return inverse @ scores @ inverse


@dataclass(frozen=True)
class _Confused:
    """Counts of predicted classes, whose rates in each class were counted too."""

    rates: np.ndarray  # (c, k): of each class, and of the predicted classes that occur
    counts: np.ndarray  # (c,): held-out rows of each class
    shares: np.ndarray  # (k,): of the rows, by their predicted class
    spread: np.ndarray  # (k, k): the covariance of the shares

    @property
    def num_classes(self):
        return self.counts.size

    @property
    def num_roundings(self):
        return 24.0 + 4.0 * self.counts.size

    @property
    def smallest_weight(self):
        return float(self.shares.min())

    def at(self, f):
        """Evaluate the likelihood of the predicted classes."""
        likelihood = f @ self.rates
        if not (likelihood > 0.0).all():
            return _Moments(-math.inf, f, np.zeros((f.size, f.size)), None, None)
        s = self.rates / likelihood
        value = float(self.shares @ np.log(likelihood))
        return _Moments(value, s @ self.shares, (s * self.shares) @ s.T, None, None)

    def covariance(self, f, moments, on, inverse):
        """Return the covariance of the estimates that are not 0, by the delta method."""
        likelihood = f @ self.rates
        s = (self.rates / likelihood)[on]
        total = s @ self.spread @ s.T
        # The score of class a moves with the rates m_k of class k by (a = k) u'dm_k - f_k B_a dm_k.
        u = self.shares / likelihood
        slopes, parts = s * u, f * f / self.counts
        of_rates = np.diag(parts @ self.rates) - (self.rates.T * parts) @ self.rates
        total += slopes @ of_rates @ slopes.T
        for i, k in enumerate(on):
            m = self.rates[k]
            spread_u = (m * u - m * float(m @ u)) / self.counts[k]
            cross = f[k] * (slopes @ spread_u)
            total[i] -= cross
            total[:, i] -= cross
            total[i, i] += float(u @ spread_u)
        return inverse @ total @ inverse


def _confused(rows, counts):
    """Return the problem of the predicted classes."""
    sizes, xp = counts.sum(axis=1), rows.source.xp
    (empty,) = np.nonzero(sizes == 0.0)
    rule = "hold counts, with examples of every class"
    if empty.size:
        raise bad_value("confusion", rule, f"there is none of {listed(empty, 'class')}")
    if sizes.max() <= 1.0 + 1e-6:
        advice = "Multiply rates by the number of examples: it decides the standard errors."
        raise bad_value("confusion", rule, f"its rows sum to {sizes.max():.6g} at most", advice)
    share, square = np.zeros(sizes.size), np.zeros(sizes.size)
    for _, block, w in rows.blocks():
        predicted, w = (_array.on_host(x) for x in (xp.argmax(block, axis=1), w))
        share += np.bincount(predicted, weights=w, minlength=sizes.size)
        square += np.bincount(predicted, weights=w * w, minlength=sizes.size)
    (never,) = np.nonzero((counts.sum(axis=0) == 0.0) & (share > 0.0))
    if never.size:
        seen = f"{listed(never, 'class')} was never predicted there, and is in p"
        raise bad_value("confusion", "have counts of every class that p predicts", seen)
    on = share > 0.0
    q, v = share[on] / share.sum(), square[on] / share.sum() ** 2
    spread = np.diag(v) - np.outer(v, q) - np.outer(q, v) + v.sum() * np.outer(q, q)
    return _Confused((counts / sizes[:, None])[:, on], sizes, q, spread)


# ---------------------------------------------------------------- the maximum


@dataclass(frozen=True)
class _Solution:
    """Frequencies, and how far they may be from the maximum of the likelihood."""

    f: np.ndarray
    moments: _Moments
    status: Status
    steps: int
    on: np.ndarray  # which frequencies are positive
    inverse: np.ndarray | None  # of the Hessian among these; None if it is singular
    error: float = math.inf


def _maximise(problem, tol, max_steps):
    """Minimise -sum_i w_i log(r_i'f) + sum f over f >= 0: the minimum has the sum 1."""
    f = np.full(problem.num_classes, 1.0 / problem.num_classes)
    best, step = _judged(problem, f, problem.at(f), 1), 1
    while step < max_steps and best.error > 0.1 * tol:
        trial, passes = _searched(problem, best, max_steps - step)
        step += passes
        if trial is None:
            break
        found = _judged(problem, *trial, step)
        is_finished = math.isfinite(best.error) and found.error > 0.5 * best.error
        best = replace(best if is_finished else found, steps=step)
        if is_finished:
            break
    if best.inverse is None:
        return replace(best, status=Status.UNDECIDED)
    if best.error <= tol or (math.isfinite(best.error) and step < max_steps):
        return replace(best, status=Status.CONVERGED)
    return best if step >= max_steps else replace(best, status=Status.ROUNDING)


def _judged(problem, f, moments, step):
    """Bound how far frequencies are from the maximum of the likelihood.

    In units of the smallest weight the function is self-concordant: a Newton decrement x < 1
    puts the minimum within x / (1 - x) of f, in the norm of the Hessian, and no r_i'f is off by
    more than that, relatively.
    """
    (on,) = np.nonzero(f)
    found = _Solution(f, moments, Status.MAX_STEPS, step, on, _inverse(moments.hessian, on))
    if found.inverse is None:
        return found
    gradient, noise = 1.0 - moments.mean, EPS * problem.num_roundings * (1.0 + moments.mean)
    own, own_noise = gradient[on], noise[on]
    decrement = math.sqrt(max(0.0, float(own @ found.inverse @ own)))
    decrement += math.sqrt(float(own_noise @ np.abs(found.inverse) @ own_noise))
    root = math.sqrt(problem.smallest_weight)
    x = decrement / root
    if not x < 0.5:
        return found
    errors = decrement / (1.0 - x) * np.sqrt(np.diagonal(found.inverse)) + 4.0 * EPS
    off = np.delete(moments.mean + noise, on)
    is_face = (off < 1.0 - x / (1.0 - x)).all() and (errors < f[on]).all()
    return replace(found, error=float(errors.max())) if is_face else found


def _inverse(hessian, on):
    """Return the inverse among the positive frequencies; None if it is singular to rounding."""
    own = hessian[np.ix_(on, on)]
    scale = np.sqrt(np.diagonal(own))
    if not (scale > 0.0).all():
        return None
    try:
        factor = scipy.linalg.cho_factor(own / scale / scale[:, None])
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(factor[0]).min() ** 2 < _SMALLEST_PIVOT:
        return None
    return scipy.linalg.cho_solve(factor, np.eye(scale.size)) / scale / scale[:, None]


def _searched(problem, solution, max_passes):
    """Return better frequencies with their moments, or None, and the passes that it took."""
    f, moments = solution.f, solution.moments
    step = _newton_goal(moments) - f
    slope = float((1.0 - moments.mean) @ step)
    slack = 16.0 * EPS * (1.0 + abs(moments.log_likelihood))
    length = 1.0
    for passes in range(1, min(_MOST_HALVINGS, max_passes) + 1):
        trial = np.maximum(f + length * step, 0.0)
        trial = trial / trial.sum()
        found = problem.at(trial)
        if -found.log_likelihood <= -moments.log_likelihood + 1e-4 * length * slope + slack:
            return (trial, found), passes
        length *= 0.5
    return None, passes


def _newton_goal(moments):
    """Return the minimum over f >= 0 of the second-order model of the function."""
    scale = np.sqrt(np.diagonal(moments.hessian))
    scale = np.where(scale > 0.0, scale, 1.0)
    matrix = moments.hessian / scale / scale[:, None] + 1e-13 * np.eye(scale.size)
    factor = scipy.linalg.cholesky(matrix, lower=True)
    right = (2.0 * moments.mean - 1.0) / scale
    right = scipy.linalg.solve_triangular(factor, right, lower=True)
    return scipy.optimize.nnls(factor.T, right)[0] / scale


# ---------------------------------------------------------------- results


def _result(problem, solution, like):
    """Return the result in arrays of the user's library."""
    xp, f, on = array_namespace(like), solution.f, solution.on
    covariance = np.zeros((f.size, f.size))
    errors = np.full(f.size, np.nan)
    if solution.inverse is None:
        covariance[:] = np.nan
    else:
        own = problem.covariance(f, solution.moments, on, solution.inverse)
        covariance[np.ix_(on, on)] = own
        errors[on] = np.sqrt(np.maximum(np.diagonal(own), 0.0))

    def array(x, dtype=like.dtype):
        return xp.asarray(x, dtype=dtype, device=_array.device_of(like))

    eps = float(xp.finfo(like.dtype).eps)
    gap = math.log(max(1.0, solution.moments.mean.max())) + EPS * problem.num_roundings
    return FrequencyEstimate(
        frequencies=array(f),
        standard_errors=array(errors),
        covariance=array(covariance),
        error_bound=array(solution.error + (eps if eps > EPS else 0.0)),
        likelihood_gap=array(gap),
        status=solution.status,
        steps=array(solution.steps, dtype=xp.asarray(0).dtype),
    )


def _diagnosis(solution):
    if solution.status is Status.UNDECIDED:
        own = solution.moments.hessian[np.ix_(solution.on, solution.on)]
        values, vectors = np.linalg.eigh(own)
        mixed = (np.abs(vectors[:, values <= 1e-10 * values[-1]]) > 0.1).any(axis=1)
        return Message(
            "The predictions do not tell {} apart: other frequencies are as likely. Merge "
            "classes, or use a model that separates them.",
            (Named("class", tuple(solution.on[mixed])),),
        )
    if solution.status is Status.ROUNDING:
        return Message(
            "Rounding hides whether some frequencies are 0. The likelihood is at its maximum to "
            "rounding; throw=False returns it."
        )
    return Message(f"{ran_out(solution.steps, 'pass over the rows')}. Raise max_steps.")


finish(globals())
