r"""Randomised smoothing: any classifier made a 1/std-Lipschitz map into the Fisher-Rao metric.

The smoothed classifier adds a normal perturbation to the input and asks the classifier: x goes to
the normal distribution N(x, std^2), and that to the distribution of the answers. Inputs at a
distance of r become normals at a distance of at most r / std, and the second step is a Markov map,
under which no Fisher-Rao distance grows (Chentsov).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from infogeo._array import NON_NEGATIVE, POSITIVE, Array, Rule, bad_value, finite_number, gate
from infogeo._docs import finish
from infogeo._result import Table
from infogeo._system.extras import missing
from infogeo._system.registry import storable

try:
    import torch
    from torch import Tensor
except ModuleNotFoundError as error:
    raise missing(error, "infogeo.lipschitz.smoothing") from None

from infogeo.lipschitz._checks import check_size
from infogeo.pullback._checks import check_input
from infogeo.pullback._network import Inputs, SampleInputs, call_model, check_samples_once

__all__ = ["Smoothed", "certify", "drift_bound", "sampling_bound", "votes"]


@storable("Smoothed")
@dataclass(frozen=True, eq=False, repr=False)
class Smoothed(Table):
    """What votes prove about a smoothed classifier.

    Parameters
    ----------
    predicted : int array, shape (...)
        The class with the most votes.
    probability : array, shape (...)
        Lower bound of its probability, at the confidence asked for.
    radius : array, shape (...)
        The l2 radius within which the smoothed classifier predicts that class: 0 abstains.
    """

    axes: ClassVar = {"sample": None}

    predicted: Array
    probability: Array
    radius: Array


def votes(
    model: Callable[..., Tensor],
    x: Tensor,
    *,
    std: float,
    num_samples: int,
    inputs: Inputs = None,
    generator: torch.Generator | None = None,
    chunk_size: int = 4096,
) -> Tensor:
    """Count the classes that a classifier predicts around each input.

    Parameters
    ----------
    model : callable
        Maps inputs of shape (batch, ...) to logits of shape (batch, c).
    x : torch.Tensor, shape (batch, ...)
    std : float
        Standard deviation of the normal perturbation of each feature, positive.
    num_samples : int
        Perturbations of each input.
    inputs : torch.Tensor, tuple or mapping of torch.Tensor, optional
        What the model takes beside x, with a row for each input or one for all: ``model(x,
        *inputs)``, or ``model(x, **inputs)`` if they have names. They are not perturbed.
    generator : torch.Generator, optional
        Source of the perturbations, on the device of x; torch's global one by default.
    chunk_size : int
        Perturbed inputs that the model sees at a time, about.

    Returns
    -------
    int64 torch.Tensor, shape (batch, c)
        The rows add up to num_samples.

    Raises
    ------
    TypeError, ValueError
        Something else than a floating-point tensor; NaN or infinite inputs; std or a size that is
        not positive; a network in training mode, or one that does not return logits of at least
        two classes for each input.

    Examples
    --------
    >>> import torch
    >>> from infogeo.lipschitz import smoothing
    >>> x = torch.tensor([[3.0, 0.0]])
    >>> smoothing.votes(lambda x: x, x, std=0.1, num_samples=100)
    tensor([[100,   0]])
    """
    check_input(x, check=True)
    if x.numel() == 0:
        raise bad_value("x", "be a batch of inputs", f"got shape {tuple(x.shape)}")
    std = _positive_number("std", std)
    check_size("num_samples", num_samples, 1)
    check_size("chunk_size", chunk_size, 1)
    further = SampleInputs.of(inputs, len(x))
    check_samples_once(model, x, further)
    parts = []
    with torch.no_grad():
        for start in range(0, len(x), chunk_size):
            part = slice(start, start + chunk_size)
            own = further.select(part)
            parts.append(
                _votes(model, x[part].detach(), own, std, num_samples, generator, chunk_size)
            )
    return torch.cat(parts)


def _votes(model, x, inputs, std, num_samples, generator, chunk_size):
    counts = 0
    step = max(1, chunk_size // len(x))
    for start in range(0, num_samples, step):
        num_copies = min(step, num_samples - start)
        noise = torch.randn(
            (num_copies, *x.shape), dtype=x.dtype, device=x.device, generator=generator
        )
        samples = torch.arange(len(x), device=x.device).repeat(num_copies)
        z = call_model(model, (x + std * noise).flatten(0, 1), inputs, samples)
        _check_outputs(z, num_copies * len(x))
        classes = z.argmax(-1).reshape(num_copies, len(x)).mT
        ones = torch.ones_like(classes)
        counts = counts + classes.new_zeros(len(x), z.shape[-1]).scatter_add(-1, classes, ones)
    return counts


def _check_outputs(z, num_inputs):
    if not isinstance(z, torch.Tensor):
        raise TypeError(f"model must return a tensor of logits: it returned {type(z).__name__}.")
    if z.ndim != 2 or len(z) != num_inputs or z.shape[1] < 2:
        raise bad_value(
            "model",
            f"return logits of shape (batch, c), with batch = {num_inputs} here and c at least 2",
            f"it returned shape {tuple(z.shape)}",
            "A classifier with one output z has the logits torch.stack((-z, z), dim=-1).",
        )
    if bool(z.isnan().any()):  # argmax takes NaN for the largest
        raise bad_value("model", "return logits", "it returned NaN")


def certify(
    counts: Array, *, std: float, confidence: float = 0.999, check: bool = True
) -> Smoothed:
    r"""Certify the class with the most votes.

    .. math:: r = s \, \Phi^{-1}(\underline p), \qquad
              \underline p = \text{Beta}^{-1}\bigl((1 - \gamma)/c;\ k,\ n - k + 1\bigr)

    with k of n votes for the class, standard deviation s and confidence :math:`\gamma`.

    Parameters
    ----------
    counts : array, shape (..., c)
        Votes along the last axis.
    std : float
        Standard deviation of the perturbation that the votes were cast under, positive.
    confidence : float
        Between 0 and 1: for each input, how probable it is at least that the bounds hold.
    check : bool

    Returns
    -------
    Smoothed
        Class, probability and radius for each input; a radius of 0 abstains.

    Raises
    ------
    TypeError, ValueError
        Counts that are not; numbers out of range.

    Notes
    -----
    The lower bounds of Clopper and Pearson hold for all c classes together, so that the same votes
    may choose the class and certify it.

    References
    ----------
    J. Cohen, E. Rosenfeld and J. Z. Kolter, Certified adversarial robustness via randomized
    smoothing, ICML 2019.

    Examples
    --------
    >>> from infogeo.lipschitz import smoothing
    >>> found = smoothing.certify([[990, 10], [520, 480]], std=0.5)
    >>> found.radius.round(4)
    array([0.9794, 0.    ])
    """
    given = counts
    xp, counts = gate(check, counts=(COUNTS, counts))
    if hasattr(given, "detach"):
        given = given.detach().cpu().double()
    exact = np.asarray(given, dtype=float)  # float32 holds no more than 2^24 votes
    std = _positive_number("std", std)
    alpha = (1.0 - _confidence(confidence)) / counts.shape[-1]
    k, n = exact.max(-1), exact.sum(-1)
    lower = special.betaincinv(k, n - k + 1.0, alpha)
    radius = std * np.maximum(special.ndtri(lower), 0.0)

    def back(value, dtype):
        device = counts.device if hasattr(counts, "detach") else None
        return xp.asarray(value, dtype=dtype, device=device)

    predicted = back(exact.argmax(-1), xp.argmax(counts, axis=-1).dtype)
    return Smoothed(predicted, back(lower, counts.dtype), back(radius, counts.dtype))


def drift_bound(radius: Array, *, std: Array, check: bool = True) -> Array:
    r"""Return how far a perturbation can move a smoothed prediction, in Fisher-Rao distance.

    .. math:: \delta(r) = 2 \arccos e^{-r^2 / (8 s^2)} \le r / s

    Parameters
    ----------
    radius : float or array, shape (...)
    std : float or array, shape (...)
        s, the standard deviation of the smoothing, positive.
    check : bool

    Returns
    -------
    array, shape (...)
        In radians of the sphere of radius 2: from 0 to pi.

    Raises
    ------
    TypeError, ValueError
        Arrays of different libraries; a negative radius; a std that is not positive.

    Notes
    -----
    It is the distance of the two normals among all distributions of inputs, where geodesics are
    shorter than among normals. It holds for every classifier, with any number of classes. For two
    classes `certify` is sharper, since it knows how probable they are.

    References
    ----------
    N. N. Chentsov, Statistical decision rules and optimal inference, AMS 1982, chapter 11.

    Examples
    --------
    >>> from infogeo.lipschitz import smoothing
    >>> smoothing.drift_bound([0.0, 0.1, 1.0, 100.0], std=0.5).round(6)
    array([0.      , 0.199833, 1.838213, 3.141593])
    """
    xp, radius, std = gate(check, radius=(NON_NEGATIVE, radius), std=(POSITIVE, std))
    ratio = radius / std
    exponent = 0.125 * ratio * ratio
    is_near = exponent < 1e-18  # or 0: the square of a small ratio underflows
    safe = xp.where(is_near, xp.ones_like(exponent), exponent)
    near = 4.0 * xp.asin(0.25 * xp.where(is_near, ratio, xp.zeros_like(ratio)))
    return xp.where(is_near, near, 4.0 * xp.asin(xp.sqrt(-0.5 * xp.expm1(-safe))))


def sampling_bound(num_samples: int, num_outcomes: int, *, confidence: float = 0.999) -> float:
    r"""Return how far frequencies lie from the probabilities behind them, in Fisher-Rao distance.

    .. math:: d(\hat p, p) \le 2 \arccos e^{-\varepsilon / 2}, \qquad
              e^{-n \varepsilon} \Bigl(\frac{e n \varepsilon}{c - 1}\Bigr)^{c - 1} = 1 - \gamma

    Parameters
    ----------
    num_samples : int
        n, the independent samples.
    num_outcomes : int
        c, at least 2.
    confidence : float
        :math:`\gamma`, between 0 and 1.

    Returns
    -------
    float
        In radians of the sphere of radius 2, for every n and whatever the probabilities.

    Raises
    ------
    ValueError
        Numbers out of range.

    Notes
    -----
    The Kullback-Leibler divergence of the frequencies exceeds :math:`\varepsilon` with probability
    :math:`1 - \gamma` at most, and the distance is at most 2 arccos exp(-KL / 2). With
    `drift_bound` it makes a statement from samples: all predictions within r of x are within the
    sum of the two bounds of the frequencies seen at x.

    References
    ----------
    R. Agrawal, Finite-sample concentration of the multinomial in relative entropy, IEEE Trans.
    Inf. Theory 66, 2020.

    Examples
    --------
    >>> from infogeo.lipschitz import smoothing
    >>> round(smoothing.sampling_bound(1000, 10), 3)
    0.317
    """
    check_size("num_samples", num_samples, 1)
    check_size("num_outcomes", num_outcomes, 2)
    target = -math.log1p(-_confidence(confidence)) / (num_outcomes - 1)
    u = 1.0 + target + math.sqrt(2.0 * target)  # above the root of u - log u = 1 + target
    for _ in range(50):
        if u <= 1.0:  # where the root is to rounding, and the slope 0
            break
        u -= (u - math.log(u) - 1.0 - target) / (1.0 - 1.0 / u)  # a convex function: from above
    divergence = u * (num_outcomes - 1) / num_samples
    return 4.0 * math.asin(math.sqrt(-0.5 * math.expm1(-0.5 * divergence)))


def _positive_number(name, value):
    value = finite_number(name, value)
    if value <= 0.0:
        raise bad_value(name, "be positive", f"got {value!r}")
    return value


def _confidence(confidence):
    confidence = finite_number("confidence", confidence)
    if not 0.0 < confidence < 1.0:
        raise bad_value("confidence", "be between 0 and 1", f"got {confidence!r}")
    return confidence


def _are_counts(counts, coarseness):
    return (
        bool(_are_whole(counts).all())
        and bool((counts.sum(-1) > 0.0).all())
        and float(counts.max()) * coarseness <= 2.0
    )


def _are_whole(counts):
    with np.errstate(invalid="ignore"):  # of infinite entries
        return (counts >= 0.0) & (counts % 1.0 == 0.0)


def _explain_counts(name, counts, coarseness):
    wrong = ~_are_whole(counts)
    if wrong.any():
        raise bad_value(name, "hold numbers of votes", f"it has the entry {counts[wrong][0]:.6g}")
    if (counts.sum(-1) == 0.0).any():
        raise bad_value(name, "have votes in each row", "a row has none")
    if counts.max() * coarseness > 2.0:
        raise bad_value(
            name,
            "be exact",
            f"in half precision, the entry {counts.max():.6g} may have been rounded",
            "Count in int64.",
        )


COUNTS = Rule("outcomes", _are_counts, _explain_counts)


finish(globals())
