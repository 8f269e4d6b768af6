r"""The temperature at which a classifier's predictions are calibrated.

The pullback metric depends on it: predictions that are too sure hide how far inputs are apart.
"""

import math
from dataclasses import dataclass

import numpy as np

from infogeo._array import MODEL_LOGITS, Array, bad_value, gate
from infogeo._docs import finish
from infogeo._names import matched_rows
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable

__all__ = ["Calibration", "fit_temperature"]


@storable("Calibration")
@dataclass(frozen=True, repr=False)
class Calibration(Result):
    """The temperature that fits held-out labels best.

    Parameters
    ----------
    temperature : float
        What to divide logits by; 0 or inf on the boundary.
    standard_error : float
        Of the temperature, from the curvature of the likelihood; NaN on the boundary.
    loss_before, loss_after : float
        The mean of -log p[label], in nats, at temperature 1 and at this one.
    status : Status
        CONVERGED, or BOUNDARY if no temperature is best and this one is only the limit.
    """

    temperature: float
    standard_error: float
    loss_before: float
    loss_after: float
    status: Status


def fit_temperature(
    logits: Array, labels: Array, *, throw: bool = True, check: bool = True
) -> Calibration:
    r"""Return the temperature T that makes predictions softmax(logits / T) fit labels best.

    .. math:: \min_{T > 0} \; -\frac1n \sum_i \log \mathrm{softmax}(z_i / T)_{y_i}

    Parameters
    ----------
    logits : array or torch.Tensor, shape (n, c)
        The model's logits for data it was not trained on; -inf for classes that are left out.
    labels : int array or tensor, shape (n,)
        The true classes, from 0 to c - 1.
    throw : bool
        Raise if no temperature is best; otherwise return its limit, with the status BOUNDARY.
    check : bool

    Returns
    -------
    Calibration
        Its `temperature` goes to ``PullbackMetric(model, temperature=...)``.

    Raises
    ------
    TypeError, ValueError
        Logits or labels that cannot be used.
    SolveError
        The likelihood grows to the end, for T -> 0 because each label has the largest logit, or
        for T -> inf because the logits say nothing about the labels.

    Notes
    -----
    The loss is convex in 1 / T: a bracketed Newton iteration solves it to rounding, in float64.

    References
    ----------
    C. Guo, G. Pleiss, Y. Sun and K. Weinberger, On calibration of modern neural networks, ICML
    2017.

    Examples
    --------
    Three of four predictions at logits (0, 4) are right: p = 3/4 and log 3 = 4 / T.

    >>> from infogeo.pullback import fit_temperature
    >>> fit = fit_temperature([[0.0, 4.0]] * 4, [1, 1, 1, 0])
    >>> f"{fit.temperature * np.log(3.0):.12f}"
    '4.000000000000'
    """
    labels = matched_rows("logits", logits, "labels", labels)
    _, logits = gate(check, logits=(MODEL_LOGITS, logits))
    z = _on_host(logits).astype(np.float64)
    if z.ndim != 2 or len(z) == 0:
        raise bad_value(
            "logits", "have shape (n, c), a row for each sample", f"its shape is {z.shape}"
        )
    labels = _checked_labels(labels, z)
    unit = _power_of_2_near(z)
    losses = _Losses(z / unit, labels)
    before, limit = losses.at(unit)[0], losses.limit()
    if limit is None:
        beta = losses.solve()
        loss, _, curvature = losses.at(beta)
        error = unit / beta / (beta * math.sqrt(curvature * len(z)))
        return Calibration(unit / beta, error, before, loss, Status.CONVERGED)
    temperature, loss, message = limit
    result = Calibration(temperature, math.nan, before, loss, Status.BOUNDARY)
    if throw:
        raise SolveError(f"No temperature fits these labels best: {message}", result)
    return result


def _power_of_2_near(z):
    """Return the unit in which the largest logit is about 1: squares of gaps then stay in range."""
    largest = np.max(np.abs(z), where=np.isfinite(z), initial=0.0)
    return 2.0 ** np.clip(np.frexp(largest)[1], -1000, 1000) if largest > 0.0 else 1.0


def _on_host(x):
    return np.asarray(x.detach().cpu() if hasattr(x, "detach") else x)


def _checked_labels(labels, z):
    labels = _on_host(labels)
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, the true classes: got {labels.dtype}.")
    if labels.shape != z.shape[:1]:
        raise bad_value(
            "labels",
            "have one class for each row of logits",
            f"logits has shape {z.shape} and labels {labels.shape}",
        )
    if labels.min() < 0 or labels.max() >= z.shape[1]:
        raise bad_value(
            "labels",
            f"be from 0 to {z.shape[1] - 1}, the columns of logits",
            f"they go from {labels.min()} to {labels.max()}",
        )
    masked = np.flatnonzero(np.isneginf(z[np.arange(len(z)), labels]))
    if masked.size:
        raise bad_value(
            "labels",
            "be classes that are possible",
            f"the logit of the label of row {masked[0]} is -inf",
        )
    return labels


class _Losses:
    """The mean loss as a function of beta = 1 / T, in blocks of rows."""

    def __init__(self, z, labels):
        self.gaps = z - z[np.arange(len(z)), labels][:, None]  # z_j - z_y

    def limit(self):
        """Return the temperature, loss and reason if the best beta is 0 or inf, else None."""
        allowed = np.isfinite(self.gaps)
        gaps = np.where(allowed, self.gaps, 0.0)
        if gaps.any() and not self.gaps.max(1).any():
            ties = np.mean(np.log(np.sum(self.gaps == 0.0, axis=1)))
            return (
                0.0,
                float(ties),
                "each label has the largest logit, and the smaller the temperature the better. "
                "Use more held-out data, some of which the model gets wrong, or temperature=1.",
            )
        centre, size = (np.mean(x.sum(1) / allowed.sum(1)) for x in (gaps, np.abs(gaps)))
        if centre >= -1e-15 * size:  # 0 but for rounding
            return (
                math.inf,
                float(np.mean(np.log(allowed.sum(1)))),
                "the logits of the labels are on average no larger than the others, so that "
                "temperature inf is best. Check that labels belong to these logits.",
            )
        return None

    def at(self, beta):
        """Return the mean loss and its first two derivatives by beta."""
        total = np.zeros(3)
        size = max(1, 2**20 // self.gaps.shape[1])
        for start in range(0, len(self.gaps), size):
            gaps = self.gaps[start : start + size]
            scaled = beta * gaps
            top = scaled.max(1, keepdims=True)
            p = np.exp(scaled - top)
            mass = p.sum(1, keepdims=True)
            p /= mass
            gaps = np.where(p > 0.0, gaps, 0.0)
            mean = np.sum(p * gaps, axis=1, keepdims=True)
            variance = np.sum(p * (gaps - mean) ** 2, axis=1)
            total += np.sum(top + np.log(mass)), np.sum(mean), np.sum(variance)
        return (total / len(self.gaps)).tolist()

    def solve(self):
        """Return the zero of the first derivative, which grows from below 0 to above 0."""
        low = high = 1.0
        while self.at(low)[1] > 0.0:
            low /= 4.0
        while self.at(high)[1] < 0.0:
            high *= 4.0
        beta, last = math.sqrt(low * high), math.inf
        for _ in range(200):
            _, slope, curvature = self.at(beta)
            if slope == 0.0:
                break
            low, high = (beta, high) if slope < 0.0 else (low, beta)
            step = beta - slope / curvature if curvature > 0.0 else math.nan
            # Where the slope falls off exponentially, Newton's steps are short and do not end.
            is_fast = low < step < high and abs(step - beta) <= 0.5 * last
            following = step if is_fast else 0.5 * (low + high)
            last = abs(following - beta)
            if last <= 2.0**-52 * beta:
                break
            beta = following
        return beta


finish(globals())
