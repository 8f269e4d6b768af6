"""Distributions of torch and of scipy as points of infogeo's spaces.

Neither library is imported here: a distribution of one of them comes with its library.
"""

import sys

import numpy as np

from infogeo._array import PROBABILITIES, REAL, gate
from infogeo.multivariate_normal import MultivariateNormal
from infogeo.normal import Normal

__all__ = ["from_distribution"]

_KNOWN = (
    "torch.distributions: Normal, Independent(Normal(...), n), MultivariateNormal, "
    "LowRankMultivariateNormal, Categorical, Bernoulli",
    "scipy.stats, with their parameters: norm(...), multivariate_normal(...), bernoulli(...)",
)


def from_distribution(distribution, *, check=True):
    """Point of infogeo that is the given distribution of torch or scipy.

    Parameters
    ----------
    distribution : torch.distributions.Distribution or frozen scipy.stats distribution
        A normal one of one or more dimensions, a categorical one, or a Bernoulli one.
    check : bool
        Verify the values.

    Returns
    -------
    Normal, MultivariateNormal or array
        Univariate normals become an `infogeo.normal.Normal`, batches of independent ones too, with
        the components along the last axis (several axes of components become one). Multivariate
        normals become an `infogeo.multivariate_normal.MultivariateNormal`, in whatever way
        torch was given the covariance. Categorical and Bernoulli distributions become
        probabilities for `infogeo.simplex`, shape (..., c); those of a Bernoulli distribution are
        of failure and success. Tensors of torch pass their gradients on.

    Raises
    ------
    TypeError
        Any other distribution; the message lists those above.
    ValueError
        Parameters that no distribution has, such as a singular covariance.

    Examples
    --------
    >>> import scipy.stats
    >>> from_distribution(scipy.stats.norm(1.0, 2.0))
    Normal(mean=1.0, std=2.0)
    >>> from_distribution(scipy.stats.bernoulli(0.25))
    array([0.75, 0.25])
    """
    for library, convert in (("torch.distributions", _from_torch), ("scipy.stats", _from_scipy)):
        module = sys.modules.get(library)
        point = None if module is None else convert(distribution, module, check)
        if point is not None:
            return point
    cls = type(distribution)
    raise TypeError(
        f"distribution must be one of these: {'; '.join(_KNOWN)}. Got {cls.__module__}."
        f"{cls.__qualname__}: {distribution!r}."
    )


def _from_torch(distribution, distributions, check):
    if isinstance(distribution, distributions.Independent):
        return _from_independent(distribution, distributions, check)
    if isinstance(distribution, distributions.Normal):
        return Normal(distribution.loc, distribution.scale, check=check)
    if isinstance(
        distribution, distributions.MultivariateNormal | distributions.LowRankMultivariateNormal
    ):
        return MultivariateNormal(distribution.loc, distribution.covariance_matrix, check=check)
    if isinstance(distribution, distributions.Categorical):
        return _probabilities(distribution.probs, check)
    if isinstance(distribution, distributions.Bernoulli):
        return _probabilities(_torch_outcomes(distribution), check)
    return None


def _from_independent(distribution, distributions, check):
    base, num_axes = distribution.base_dist, distribution.reinterpreted_batch_ndims
    if num_axes == 0:
        return _from_torch(base, distributions, check)
    if not isinstance(base, distributions.Normal):
        return None
    return Normal(base.loc.flatten(-num_axes), base.scale.flatten(-num_axes), check=check)


def _torch_outcomes(bernoulli):
    import torch

    # The parameter it was made with: 1 - p has lost what small probabilities logits know.
    if bernoulli._param is bernoulli.probs:
        return torch.stack([1.0 - bernoulli.probs, bernoulli.probs], dim=-1)
    return torch.stack([torch.sigmoid(-bernoulli.logits), torch.sigmoid(bernoulli.logits)], dim=-1)


def _from_scipy(distribution, stats, check):
    if isinstance(distribution, type(stats.multivariate_normal())):
        return MultivariateNormal(distribution.mean, distribution.cov, check=check)
    family = getattr(distribution, "dist", None)  # of frozen univariate distributions only
    if isinstance(family, type(stats.norm)):
        given = _named(distribution, loc=0.0, scale=1.0)
        return Normal(given["loc"], given["scale"], check=check)
    if isinstance(family, type(stats.bernoulli)):
        _, p = gate(False, p=(REAL, _named(distribution, p=None)["p"]))
        return _probabilities(np.stack([1.0 - p, p], axis=-1), check)
    return None


def _named(frozen, **defaults):
    """Return the parameters that a frozen distribution was given by position or by name."""
    return defaults | dict(zip(defaults, frozen.args, strict=False)) | frozen.kwds


def _probabilities(p, check):
    _, p = gate(check, distribution=(PROBABILITIES, p))
    return p
