"""What reports say of sensitivities: their directions, and what confidence leaves of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from infogeo.pullback import Spectrum


def downhill(
    logits: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, spectrum: Spectrum
) -> Spectrum:
    """Give each direction the sign in which the predicted class becomes less likely.

    Parameters
    ----------
    logits : callable
        The network.
    x : torch.Tensor, shape (batch, ...)
        The inputs.
    spectrum : Spectrum
        Of the inputs.

    Returns
    -------
    Spectrum
        The same, with vectors that begin where more of the input makes the class less likely.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        log_p = torch.log_softmax(logits(x), -1)
        largest = log_p.gather(-1, log_p.argmax(-1, keepdim=True))
        (gradient,) = torch.autograd.grad(largest.sum(), x)
    vectors = spectrum.vectors
    slopes = (vectors * gradient[:, None]).flatten(2).sum(-1)
    signs = torch.where(slopes > 0.0, -1.0, 1.0).to(vectors.dtype)
    shape = (*signs.shape, *(1 for _ in x.shape[1:]))
    return replace(spectrum, vectors=vectors * signs.reshape(shape))


@dataclass(frozen=True)
class Beyond:
    r"""What is left of sensitivities after a line through them by confidence.

    With two outcomes the largest eigenvalue is :math:`p (1 - p) |\nabla m|^2`, m being the
    difference of the logits: of networks whose logits change evenly the sensitivity is that of the
    confidence. So the logarithms get a line in :math:`\log p (1 - p)` by least squares.

    Parameters
    ----------
    explained : float
        The share of the variance of the logarithms that the line explains.
    slope, intercept : float
        Of the line.
    factors : array, shape (n,)
        Sensitivity over that of the line; NaN where one of the two is 0.
    """

    explained: float
    slope: float
    intercept: float
    factors: np.ndarray

    def expected(self, doubt: np.ndarray) -> np.ndarray:
        """Return the sensitivities of the line where these probabilities are left for others."""
        return np.exp(self.intercept + self.slope * _log_variance(doubt))


def beyond_confidence(logs: np.ndarray, doubt: np.ndarray) -> Beyond | None:
    """Return what confidence leaves of the sensitivities; None if there is nothing to tell apart.

    Parameters
    ----------
    logs : array, shape (n,)
        Logarithms of the sensitivities.
    doubt : array, shape (n,)
        Probabilities of all classes but the predicted one.
    """
    x = _log_variance(doubt)
    is_known = np.isfinite(logs) & np.isfinite(x)
    if is_known.sum() < 3 or np.ptp(x[is_known]) == 0.0 or np.ptp(logs[is_known]) == 0.0:
        return None
    slope, intercept = np.polyfit(x[is_known], logs[is_known], 1)
    with np.errstate(invalid="ignore"):
        left = np.where(is_known, logs - intercept - slope * x, np.nan)
    explained = 1.0 - float(np.var(left[is_known]) / np.var(logs[is_known]))
    return Beyond(explained, float(slope), float(intercept), np.exp(left))


def _log_variance(doubt: np.ndarray) -> np.ndarray:
    """Return log p (1 - p), with the digits of doubts that 1 - p would round away."""
    with np.errstate(divide="ignore"):
        return np.log(doubt) + np.log1p(-doubt)


def draw_factors(ax: Axes, doubt: np.ndarray, found: Beyond, **style: Any) -> None:
    """Show what is left by what confidence there was."""
    ax.scatter(doubt, found.factors, linewidths=0.0, **style)
    ax.axhline(1.0, color="0.25", linewidth=1.0, linestyle="--")
    ax.set(
        xlabel="1 − probability of the predicted class",
        ylabel="sensitivity / that of equal confidence",
    )
    log_axis(ax, "x", doubt)
    log_axis(ax, "y", found.factors)


def log_axis(ax: Axes, which: str, values: np.ndarray) -> None:
    """Make an axis logarithmic if there is something to show on it; zeros are left out.

    Numbers of few decades are written out, at places where none runs into its neighbour.
    """
    shown = values[np.isfinite(values) & (values > 0.0)]
    if shown.size == 0:
        return
    getattr(ax, f"set_{which}scale")("log", nonpositive="mask")
    span = shown.max() / shown.min()
    if span < 1e4:
        axis = getattr(ax, f"{which}axis")
        few = LogLocator(subs=(1.0, 2.0, 5.0) if span < 50.0 else (1.0,))
        axis.set_major_locator(MaxNLocator(5) if span < 8.0 else few)
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
