"""Conditional maximum entropy: multinomial logistic regression as a C-maximisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import device

from infogeo._array import (
    PROBABILITIES,
    REAL,
    WEIGHTS,
    Rule,
    along,
    bad_value,
    finite_number,
    gate,
    matched,
)
from infogeo._docs import finish
from infogeo._names import is_nameless, numbered
from infogeo._result import Result
from infogeo._status import Status
from infogeo._system.registry import storable
from infogeo.maxent._arguments import LOG_BASE, check_controls, to_host
from infogeo.maxent._conditional.separation import Samples, solve
from infogeo.maxent._gradients import refuse_gradients
from infogeo.maxent._wording import Message, failure, ran_out

Array = Any

# The squares of larger and smaller features are not numbers of full precision.
_SIZES = (1e-151, 1e151)
# Labels that leave out more classes than this are no numbering of classes.
_LARGEST_GAP = 10_000
_NUMBERING = "numpy.unique(labels, return_inverse=True) numbers any labels."


@storable("Separation")
@dataclass(frozen=True, eq=False, repr=False)
class Separation(Result):
    """A proof that classes can be told apart without error, so that no finite theta is optimal.

    The scores of a sample x are coef x + intercept. No class that `log_base` allows has a higher
    score than the sample's label, and some have a lower one.

    Parameters
    ----------
    coef : array, shape (c, d)
        The direction, its largest entry 1 or all entries integers.
    intercept : array, shape (c,)
        Its part for the constant feature.
    margins : array, shape (n,)
        The score of each sample's label minus the highest of the other allowed classes: positive
        where the sample is decided, 0 where it is on the edge, inf where there is no other class.
    is_complete : bool
        Whether the direction decides every sample.
    text : str
        Which classes and samples, in words.
    """

    coef: Array
    intercept: Array
    margins: Array
    is_complete: bool
    text: str

    def __str__(self) -> str:
        return self.text


@storable("ConditionalProjection")
@dataclass(frozen=True, eq=False, repr=False)
class ConditionalProjection(Result):
    """The conditional distribution that feature-label moments single out, with its accuracy.

    Parameters
    ----------
    coef : array, shape (c, d)
        theta_y, one row for each class; the rows sum to 0 (with an `l1_penalty` and more than two
        classes they need not).
    intercept : array, shape (c,)
        The parameters of the constant feature, sum 0; 0 without intercept.
    probabilities : array, shape (n, c)
        p*(y | x_i), exactly 0 off the support.
    residual : float
        The largest violation of the moment conditions (with a penalty, of the relaxed ones), in
        the units of the features.
    entropy : float
        The weighted mean of the entropies of the samples' p*, in nats.
    cross_entropy : float
        The weighted mean of -log p*(label), in nats; without C and without penalty this is the
        entropy.
    error_bound : float
        Certified: no log-probability of the support is off by more than this; inf if the solve
        did not come close enough for a certificate.
    dual_gap : float
        Certified upper bound on how far the objective of the dual is from its minimum, in nats.
    status : Status
        How the solve ended.
    support : bool array, shape (n, c)
        Where p* is positive.
    rank : int
        The number of parameters that act on the probabilities of the samples.
    steps : int
        Newton steps taken.
    separation : Separation or None
        On the boundary, the direction and the proof. theta + s (direction) is the theta of the
        limit s -> inf.
    is_certain : bool array, shape (c, d), or None
        With an `l1_penalty`, where it is proved that theta is 0, or has the sign of `coef`; False
        for features without one.
    """

    coef: Array
    intercept: Array
    probabilities: Array
    residual: float
    entropy: float
    cross_entropy: float
    error_bound: float
    dual_gap: float
    status: Status
    support: Array
    rank: int
    steps: int
    separation: Separation | None = None
    is_certain: Array | None = None

    def __str__(self) -> str:
        n, c = self.probabilities.shape
        lines = [
            f"ConditionalProjection: {self.status.value}",
            f"samples {n}, classes {c}, features {self.coef.shape[1]}, rank {self.rank}, "
            f"steps {self.steps}",
            f"violation of the moment conditions {self.residual:.2g}",
            f"error of every log-probability at most {self.error_bound:.2g}",
            f"entropy {self.entropy:.6g} nats, cross-entropy {self.cross_entropy:.6g} nats",
        ]
        if self.separation is not None:
            lines.append(self.separation.text)
        return "\n  ".join(lines)


def conditional(
    features: Any,
    labels: Any,
    *,
    penalty: Array | None = None,
    l1_penalty: Array | None = None,
    log_base: Array | None = None,
    sample_weight: Array | None = None,
    fit_intercept: bool = True,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> ConditionalProjection:
    r"""Fit the conditional distribution of maximum entropy that has the moments of the data.

    .. math:: p^*(y \mid x) = \exp(C(x, y) + \theta_y' x + \theta_{0y} - \psi(x)), \qquad
              \sum_i w_i x_i (1[y_i = y] - p^*(y \mid x_i)) = \rho\, \theta_y

    Among all p(y | x_i) with these moments it maximises the weighted mean of H(p) + E_p[C]. It is
    also multinomial logistic regression: theta minimises the weighted mean of -log p(y_i | x_i),
    plus the sum of rho / 2 theta^2 + lambda abs(theta) if there are penalties.

    Parameters
    ----------
    features : array, shape (n, d)
        x: one row for each sample. Columns that depend on each other, constant columns and more
        columns than samples are ordinary cases.
    labels : int array, shape (n,), or array, shape (n, c)
        The classes, counted from 0; or a distribution for each sample (soft labels), whose
        moments are then those to meet.
    penalty : float, array, shape (d,), or None
        rho: the weight of the squared theta, of each feature or of all, which is the slack that
        the moments get for it. 0 in an array leaves a feature without slack. The intercept is
        free, so that the class frequencies are met exactly. None: no slack.
    l1_penalty : float, array, shape (d,), or None
        lambda: the weight of the sum of the absolute values of theta, of each feature or of all. A
        moment may miss that of the data by lambda, and theta is exactly 0 where it need not miss
        it by more. Both penalties together are an elastic net.
    log_base : array, shape (c,) or (n, c), optional
        C: the logarithms of a prior prediction for each sample, normalised or not; -inf rules a
        class out. Default 0. Its last axis says how many classes there are; without it they end
        with the largest label.
    sample_weight : array, shape (n,), optional
        w: not negative; divided by their sum. Default: equal weights.
    fit_intercept : bool
        Whether the constant is a feature, so that class frequencies are among the moments.
    tol : float
        Stop when the certified error of every log-probability is below this, or when rounding
        allows no better; `error_bound` says what was reached.
    max_steps : int
    throw : bool
    check : bool

    Returns
    -------
    ConditionalProjection
        Parameters, probabilities of the samples, and the numbers that prove them; arrays in the
        library, dtype and device of the features.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; values that are not finite; labels that are not whole
        numbers from 0; a label that `log_base` rules out; tensors that require a gradient.
    SolveError
        The steps ran out, or data so near the edge of separation that rounding decides.

    Notes
    -----
    **Separation.** If a direction exists along which no class gains on the labels (complete
    separation: every label wins; quasi-complete: some do, the others tie), the cross-entropy has
    no minimum, and iterative solvers stop at arbitrary coefficients. The probabilities have a limit
    all the same, and it is what is returned: status BOUNDARY, probabilities exactly 0 for the
    classes that the direction rules out, the model of the remaining ones as usual, and the
    direction in `separation`. It is found from Newton's iterates or by a linear program, and
    checked on all samples: a margin is positive only if it is more than rounding, and 0 if it is no
    more than that, a hundred-millionth of the positive ones. With a penalty only an intercept can
    run off (a class without samples).

    **The certificate.** With the Newton decrement lambda and S the largest range of logits of a
    sample per unit length in the norm of the Hessian, x = lambda S < 1 proves that the optimum
    exists and that no log-probability of the samples is off by more than -log(1 - x). Rounding of
    the sums is included.

    The memory is that of a few copies of the features and of one matrix of order (d + 1)(c - 1),
    the time that of its Cholesky factor and of n (d c)^2 operations for each of about 10 steps.

    References
    ----------
    A. L. Berger, S. A. Della Pietra and V. J. Della Pietra, A maximum entropy approach to natural
    language processing, Comput. Linguist. 22, 1996.
    A. Albert and J. A. Anderson, On the existence of maximum likelihood estimates in logistic
    regression models, Biometrika 71, 1984.
    F. Bach, Self-concordant analysis for logistic regression, Electron. J. Stat. 4, 2010.

    Examples
    --------
    >>> from infogeo import maxent
    >>> found = maxent.conditional([[0.0], [1.0], [2.0], [3.0]], [0, 1, 0, 1])
    >>> found.probabilities[:, 1].round(4)
    array([0.2039, 0.3884, 0.6116, 0.7961])
    >>> bool(found.error_bound < 1e-12)
    True

    Labels that a threshold tells apart:

    >>> found = maxent.conditional([[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1])
    >>> print(found.separation)
    complete separation: all 4 samples are decided; class 0 is told from class 1 without error
    >>> found.probabilities
    array([[1., 0.],
           [1., 0.],
           [0., 1.],
           [0., 1.]])
    """
    if scipy.sparse.issparse(features):
        raise TypeError(
            f"features must be dense: got a {type(features).__name__}. Pass features.toarray(): "
            "the solve makes dense copies and a matrix of order (d + 1)(c - 1) in any case."
        )
    if _are_names(labels):
        rule = "be whole numbers from 0, one for each sample, or a distribution for each"
        raise TypeError(f"labels must {rule}: they are names. {_NUMBERING}")
    features, labels, base, weight, *prices = _by_name(
        features,
        labels,
        0.0 if log_base is None else log_base,
        1.0 if sample_weight is None else sample_weight,
        penalty=penalty,
        l1_penalty=l1_penalty,
    )
    xp, X, C = gate(check, features=(REAL, features), log_base=(LOG_BASE, base))
    # Labels and weights are read, wherever they live: their dtypes are not those of the result.
    _, y = gate(check, labels=(_LABELS, labels))
    _, w = gate(check, sample_weight=(WEIGHTS, weight))
    names = ("penalty", "l1_penalty")
    price, l1_price = (_price(name, x, X, check) for name, x in zip(names, prices, strict=True))
    check_controls(tol, max_steps)
    samples, is_weighted = _samples(X, y, C, w, price, l1_price, fit_intercept)
    fit = solve(samples, tol, max_steps)
    if throw and not fit.status.is_solution:
        raise failure(_diagnosis(fit), _result(fit, samples, is_weighted, X, xp))
    return _result(fit, samples, is_weighted, X, xp)


# ---------------------------------------------------------------- arguments


def _by_name(features, labels, base, weight, **prices):
    """Return the arguments in one order of the names of samples, of classes and of features.

    The names of classes are their numbers, unless labels are soft and have others. Prices that
    are numbers have none.
    """
    others = [0.0 if x is None else x for x in prices.values()]
    given = {"features": (_FEATURES, numbered(("features",), features, *others))}
    if len(getattr(labels, "shape", ())) == 2:
        given["labels"] = PROBABILITIES, numbered(("outcomes",), labels, base)
    else:
        given["labels"] = _LABELS, labels
        shape = getattr(base, "shape", ())
        if shape and not is_nameless(base):
            given["the classes"] = _CLASSES, numbered(("outcomes",), np.zeros(shape[-1]), base)
    given |= {"log_base": (LOG_BASE, base), "sample_weight": (WEIGHTS, weight)}
    given |= {name: (_PRICE, x) for name, x in prices.items() if x is not None}
    values = dict(zip(given, matched(**given), strict=True))
    values.pop("the classes", None)
    return *(values[name] for name in _MATCHED), *(values.get(name) for name in prices)


def _are_names(labels):
    if not is_nameless(labels):
        labels = np.asarray(labels).reshape(-1)
    try:
        first = labels[0] if len(labels) else None
    except (TypeError, KeyError, IndexError):
        return False
    return isinstance(first, str | bytes)


def _are_labels(y, coarseness):
    return False  # `explain` looks at them; they are few


def _explain_labels(name, y, coarseness):
    if y.ndim == 2:
        PROBABILITIES.explain(name, y, coarseness)
        return
    rule = "be whole numbers from 0, one for each sample, or a distribution for each"
    if not np.isfinite(y).all():
        raise bad_value(name, rule, "it has NaN or infinite entries")
    wrong = (y != np.rint(y)) | (y < 0.0)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise bad_value(name, rule, f"entry {i} is {y[i]:.6g}", _NUMBERING)


_LABELS = Rule("", _are_labels, _explain_labels)
_FEATURES = along(REAL, "features")
_CLASSES = along(REAL, "outcomes")
_PRICE = along(WEIGHTS, "features")
_MATCHED = ("features", "labels", "log_base", "sample_weight")


def _price(name, price, features, check):
    """Return what each feature pays, (d,): 0 for None."""
    size = features.shape[-1] if len(features.shape) else 0
    if price is None:
        return np.zeros(size)
    if not np.ndim(price):
        if not finite_number(name, price) > 0.0:
            raise bad_value(name, "be a positive number or None", f"got {price!r}")
        return np.full(size, float(price))
    _, given = gate(check, **{name: (_PRICE, price)})
    refuse_gradients(**{name: given})
    if tuple(given.shape) != (size,):
        seen = f"got shape {tuple(given.shape)} for {size} features"
        raise bad_value(name, "be a number or have one for each feature", seen)
    return to_host(name, given)


def _samples(X, y, C, w, penalty, l1_penalty, fit_intercept):
    """Check the arguments against each other; return the problem, and which rows count."""
    if not isinstance(fit_intercept, bool | np.bool_):
        raise bad_value("fit_intercept", "be True or False", f"got {fit_intercept!r}")
    if X.ndim != 2 or X.shape[0] == 0:
        advice = "Write features[:, None] for a single feature." if X.ndim == 1 else ""
        rule = "have shape (n, d), one row for each sample"
        raise bad_value("features", rule, f"got shape {tuple(X.shape)}", advice)
    refuse_gradients(features=X, labels=y, log_base=C, sample_weight=w)
    X, y = to_host("features", X), to_host("labels", y)
    C, w = to_host("log_base", C), to_host("sample_weight", w)
    _check_sizes(X)
    num_samples = X.shape[0]
    if y.ndim not in (1, 2) or y.shape[0] != num_samples:
        rule = "have shape (n,) or (n, c), one row for each sample"
        raise bad_value("labels", rule, f"features has {num_samples} rows, labels {y.shape}")
    num_classes = y.shape[1] if y.ndim == 2 else int(y.max()) + 1
    if y.ndim == 1 and num_classes > _LARGEST_GAP and not C.ndim:
        num_met = np.unique(y).size
        if num_classes > _LARGEST_GAP + num_met:
            seen = f"{num_met} different ones end with {y.max():.17g}"
            raise bad_value("labels", "number the classes from 0 on", seen, _NUMBERING)
    if C.ndim:
        num_seen, num_classes = num_classes, C.shape[-1]
        is_wide = num_seen <= num_classes if y.ndim == 1 else num_seen == num_classes
        if C.ndim > 2 or (C.ndim == 2 and C.shape[0] != num_samples) or not is_wide:
            raise bad_value(
                "log_base",
                f"have shape (c,) or (n, c), here n = {num_samples} and "
                f"c {'at least' if y.ndim == 1 else '='} {num_seen}",
                f"got shape {C.shape}",
            )
    if num_classes < 2:
        raise bad_value("labels", "tell at least 2 classes apart", f"there is {num_classes} class")
    if w.ndim > 1 or (w.ndim == 1 and w.shape[0] != num_samples):
        rule = "have shape (n,)"
        raise bad_value("sample_weight", rule, f"features has {num_samples} rows, it has {w.shape}")
    w = np.broadcast_to(w, (num_samples,))
    if not w.max() > 0.0:
        raise bad_value("sample_weight", "have a positive sum", "the sum is 0")
    w = w / w.max()  # the sum of large ones may overflow
    w = w / w.sum()
    if y.ndim == 1:
        targets = np.zeros((num_samples, num_classes))
        targets[np.arange(num_samples), y.astype(np.int64)] = 1.0
    else:
        targets = y / y.sum(axis=1, keepdims=True)
    C = np.broadcast_to(C, targets.shape)
    is_weighted = w > 0.0
    clash = np.isneginf(C) & (targets > 0.0) & is_weighted[:, None]
    if clash.any():
        i, k = (int(x) for x in np.argwhere(clash)[0])
        rule = "not rule out the label of a sample"
        raise bad_value("log_base", rule, f"it is -inf for class {k} of sample {i}, its label")
    C = C - C.max(axis=1, keepdims=True)
    offset = _offset(X) if fit_intercept else np.zeros(X.shape[1])
    X = X - offset
    return Samples(X, offset, targets, C, w, penalty, l1_penalty, bool(fit_intercept)), is_weighted


def _offset(X):
    """Return for each column what can be subtracted from it without rounding, (d,).

    It is one of its numbers where they are all within a factor 2 of each other (Sterbenz). Beside
    large offsets, differences that decide a separation would look like rounding.
    """
    low, high = X.min(axis=0), X.max(axis=0)
    is_far = ((low > 0.0) & (high <= 2.0 * low)) | ((high < 0.0) & (low >= 2.0 * high))
    return np.where(is_far, X[0], 0.0)


def _check_sizes(X):
    """Refuse columns whose squares are not numbers of full precision."""
    size = np.abs(X).max(axis=0, initial=0.0)
    is_extreme = (size > 0.0) & ((size < _SIZES[0]) | (size > _SIZES[1]))
    if is_extreme.any():
        j = int(np.argmax(is_extreme))
        rule = f"have columns whose largest entries lie between {_SIZES[0]:g} and {_SIZES[1]:g}"
        seen = f"that of column {j} is {size[j]:.6g}"
        raise bad_value("features", rule, seen, "Change the unit of the column.")


# ---------------------------------------------------------------- the result


def _result(fit, samples, is_weighted, like, xp):
    """Return the result in the user's library; weights, and rows without one, come back in."""

    def collect(values, dtype=like.dtype):
        return xp.asarray(np.ascontiguousarray(values), dtype=dtype, device=device(like))

    log_p, support = fit.log_p, fit.support
    if not is_weighted.all():
        log_p, support = _everywhere(fit, samples, is_weighted)
    p = np.exp(log_p)
    finite = np.where(support, log_p, 0.0)
    weights, targets = samples.weights, samples.targets
    moments = np.hstack([samples.X, np.full((len(p), 1), float(samples.has_intercept))])
    violation = moments.T @ (weights[:, None] * (targets - p))
    violation[:-1] += samples.offset[:, None] * violation[-1]
    violation[:-1] -= samples.penalty[:, None] * fit.coef.T
    violation[:-1] = _beyond(violation[:-1], samples.l1_penalty[:, None], fit.coef.T)
    bits = xp.finfo(like.dtype).bits
    cast = float(xp.finfo(like.dtype).eps) if bits < 64 else 0.0
    intercept = fit.intercept - fit.coef @ samples.offset
    if fit.is_certain is not None:  # coefficients whose sum is not 0 have moved it
        intercept = intercept - intercept.mean()
    separation = None
    if fit.direction is not None:
        separation = _separation(fit.direction, samples, support, is_weighted, collect)
    return ConditionalProjection(
        coef=collect(fit.coef),
        intercept=collect(intercept),
        probabilities=collect(p),
        residual=float(np.abs(violation).max()),
        entropy=max(0.0, -float(weights @ (p * finite).sum(axis=1))),
        cross_entropy=max(0.0, -float(weights @ (targets * finite).sum(axis=1))),
        error_bound=fit.error_bound + cast,
        dual_gap=fit.dual_gap,
        status=fit.status,
        support=collect(support, xp.bool),
        rank=fit.rank,
        steps=fit.steps,
        separation=separation,
        is_certain=None if fit.is_certain is None else collect(fit.is_certain, xp.bool),
    )


def _beyond(slack, price, coef):
    """Return by how much slack is off what absolute values allow: their slopes times the price."""
    least = np.where(coef > 0.0, price, -price)
    most = np.where(coef < 0.0, -price, price)
    return slack - np.clip(slack, least, most)


def _everywhere(fit, samples, is_weighted):
    """Return log-probabilities and support of all rows, also of those of weight 0."""
    support = ~np.isneginf(samples.base)
    if fit.direction is not None:
        scores = np.where(support, samples.X @ fit.direction[0].T + fit.direction[1], -math.inf)
        support = scores >= scores.max(axis=1, keepdims=True)
    support[is_weighted] = fit.support
    logits = samples.X @ fit.coef.T + fit.intercept + samples.base
    logits = np.where(support, logits, -math.inf)
    logits -= logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    log_p[is_weighted] = fit.log_p
    return log_p, support


def _separation(direction, samples, support, is_weighted, collect):
    """Describe a direction: margins, and the classes and samples that it decides."""
    coef, intercept = direction
    allowed = ~np.isneginf(samples.base)
    scores = samples.X @ coef.T + intercept
    labels = samples.targets.argmax(axis=1)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    others = allowed.copy()
    others[np.arange(len(labels)), labels] = False
    below = np.where(others, own - scores, math.inf)
    tied = others & support
    below[tied & is_weighted[:, None]] = 0.0  # to rounding
    margins = below.min(axis=1)
    is_decided = ~tied.any(axis=1)
    is_complete = bool(is_decided[is_weighted].all())
    text = _told(labels, others, support, is_decided, is_weighted)
    intercept = intercept - coef @ samples.offset
    return Separation(collect(coef), collect(intercept), collect(margins), is_complete, text)


def _told(labels, others, support, is_decided, is_weighted):
    """Say which classes and samples a direction tells apart."""
    rows = np.flatnonzero(is_weighted)
    decided, open_rows = rows[is_decided[rows]], rows[~is_decided[rows]]
    num_classes = others.shape[1]
    # met[a, b]: a sample of class a for which b is an alternative; open[a, b]: and stays one.
    met, unsettled = np.zeros((2, num_classes, num_classes), dtype=bool)
    np.logical_or.at(met, labels[rows], others[rows])
    np.logical_or.at(unsettled, labels[rows], (others & support)[rows])
    if open_rows.size == 0:
        text = f"complete separation: all {rows.size} samples are decided"
    else:
        cut = rows[(others & ~support)[rows].any(axis=1)]
        text = (
            f"quasi-complete separation: {decided.size} of {rows.size} samples are decided"
            f"{_listed(decided)}, {cut.size - decided.size} in part; {open_rows.size} are on the "
            f"edge{_listed(open_rows)}"
        )
    seen = np.zeros(num_classes, dtype=bool)
    seen[labels[rows]] = True
    phrases = [f"class {k} has no samples" for k in np.flatnonzero(~seen)]
    for a in range(num_classes):
        told = [b for b in range(a + 1, num_classes) if seen[a] and seen[b] and met[a, b]]
        told = [b for b in told if not unsettled[a, b] and not unsettled[b, a]]
        if told:
            plural = "es" if len(told) > 1 else ""
            names = ", ".join(map(str, told[:8])) + (", ..." if len(told) > 8 else "")
            phrases.append(f"class {a} is told from class{plural} {names} without error")
    more = ["..."] if len(phrases) > 6 else []
    return "; ".join([text, *phrases[:6], *more])


def _listed(numbers):
    if numbers.size == 0:
        return ""
    more = ", ..." if numbers.size > 6 else ""
    return f" ({', '.join(str(i) for i in numbers[:6])}{more})"


def _diagnosis(fit):
    """Say why a solve did not succeed, and what can be done."""
    if fit.status is Status.MAX_STEPS and math.isfinite(fit.error_bound):
        return Message(
            f"{ran_out(fit.steps)}: the error of the log-probabilities is at most "
            f"{fit.error_bound:.2g}. Raise max_steps."
        )
    if fit.status is Status.MAX_STEPS and fit.steps < 20:
        return Message(f"{ran_out(fit.steps)}. Raise max_steps.")
    return Message(
        f"No solution, and no proof of separation, after {fit.steps} steps: to rounding, the "
        "classes are nearly separable, or the features nearly dependent. A penalty on squares "
        "decides it, or a larger one; or leave out features that others almost determine."
    )


finish(globals())
