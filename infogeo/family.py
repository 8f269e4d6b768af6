r"""Exponential families E_C and mixture families M_D of distributions over finitely many outcomes.

Features F, shape (m, c), give both kinds: :math:`p \propto \exp(C + \theta' F)` is flat in
log-probabilities, :math:`\{p : E_p[F_i] = b_i\}` in probabilities. For the same F each of the first
meets each of the second in one point at most, at a right angle. What needs a solve goes through
`infogeo.maxent`, and its proofs come along.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_dask_array

from infogeo import _array, _divergence, maxent, simplex
from infogeo._array import (
    LOGITS,
    PROBABILITIES,
    REAL,
    UNIT_INTERVAL,
    Array,
    Namespace,
    Rule,
    along,
    bad_value,
    gate,
)
from infogeo._docs import finish
from infogeo._names import Named, numbered
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.maxent import Projection
from infogeo.maxent._arguments import check_controls
from infogeo.maxent._wording import Message, failure

__all__ = [
    "Alternation",
    "ExponentialFamily",
    "MixtureFamily",
    "e_projection",
    "em",
    "intersection",
    "m_projection",
]

# How often over its rounding errors a combination of features has to vary to count as varying.
_CAUTION = 8.0
# What a family holds was looked at when the family was made.
_HELD = Rule("", lambda array, coarseness: True, REAL.explain)
_FEATURES = along(REAL, "features", "outcomes")
_OF_FEATURES = along(REAL, "features")  # theta, eta, targets
_RULES_HELD = {
    "features": along(_HELD, "features", "outcomes"),
    "log_base": along(_HELD, "outcomes"),
    "targets": along(_HELD, "features"),
    "features of M": along(_HELD, "features of M", "outcomes"),
    "targets of M": along(_HELD, "features of M"),
}


# ---------------------------------------------------------------- exponential families


@storable("ExponentialFamily")
@dataclass(frozen=True, eq=False, repr=False)
class ExponentialFamily(Result):
    r"""The exponential family E_C: straight lines and planes in log-probabilities.

    .. math:: p_\theta(y) = \exp(C_y + \theta' F_y - \psi(\theta)), \qquad
              \psi(\theta) = \log \textstyle\sum_y \exp(C_y + \theta' F_y)

    Its two coordinates are the natural parameters theta and the expectation parameters
    eta = E[F] = grad psi(theta). They are dual: theta = grad phi(eta), where phi is the Legendre
    transform of psi, and the Hessians of psi and phi are the Fisher information in each of them.

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m features. Redundant rows, constant rows and more
        rows than outcomes are ordinary cases: theta is then not unique, and functions that
        return one return that of minimum norm.
    log_base : array, shape (..., c), optional
        C: the logarithm of a member or of any multiple of it; -inf rules an outcome out for all
        members. Default 0.
    check : bool
        Verify the values given here and to the methods. Shapes and dtypes are always verified.

    Attributes
    ----------
    num_features : int
        m.
    num_outcomes : int
        c.
    dimension : int, or int array of shape (...)
        The number of independent features.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; values that are not finite.

    Notes
    -----
    Leading axes are a batch of families; those of theta, eta and p broadcast with them.
    The closed forms (all but what starts from eta) are differentiable with torch and jax.

    Two combinations of features count as the same if they differ by a constant, over the outcomes
    that C allows and up to the rounding of the features' dtype.

    References
    ----------
    L. D. Brown, Fundamentals of Statistical Exponential Families, IMS 1986.
    S. Amari, Information Geometry and Its Applications, Springer 2016, chapter 2.

    Examples
    --------
    Binomial distributions over 0, 1, 2 successes:

    >>> from infogeo.family import ExponentialFamily
    >>> binomial = ExponentialFamily([[0, 1, 2]], np.log([1, 2, 1]))
    >>> theta = binomial.natural_parameters([0.5])
    >>> binomial.probabilities(theta).round(12)
    array([0.5625, 0.375 , 0.0625])
    >>> binomial.fisher_information(theta).round(12)
    array([[0.375]])
    """

    features: _array.Array
    log_base: _array.Array | None = None
    check: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        given = {"features": (_FEATURES, self.features)}
        if self.log_base is not None:
            given["log_base"] = LOGITS, self.log_base
            features = numbered(("features", "outcomes"), self.features, self.log_base)
            given["features"] = _FEATURES, features
        is_weak = all(_is_weak(value) for _, value in given.values())
        xp, F, *base = gate(self.check, **given)
        _check_features(F)
        zero = xp.zeros(F.shape[-1], dtype=F.dtype, device=_array.device_of(F))
        C = base[0] if base else zero
        _check_last_axis("log_base", C, F.shape[-1], "outcome")
        _check_batches(features=F.shape[:-2], log_base=C.shape[:-1])
        names = _array.names_along(**given)
        _hold(self, features=F, log_base=C, _is_weak=is_weak, _names=names)

    @classmethod
    def through(cls, points: Array, *, check: bool = True) -> ExponentialFamily:
        r"""Return the smallest exponential family that contains given distributions.

        .. math:: \log p = \textstyle\sum_k w_k \log p_k - \psi, \qquad \sum_k w_k = 1

        Parameters
        ----------
        points : array, shape (k, c)
            Probabilities along the last axis, all with the same support.
        check : bool

        Returns
        -------
        ExponentialFamily
            With orthonormal feature rows that sum to 0 over the support, and the e-mean of the
            points as base. A single point makes a family of dimension 0, with one row of zeros.

        Raises
        ------
        TypeError, ValueError
            Entries that are not probabilities; supports that differ.

        Examples
        --------
        >>> line = ExponentialFamily.through([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
        >>> line.dimension
        1
        >>> bool(line.contains([0.3, 0.3, 0.4]))
        False
        """
        xp, P = gate(check, points=(PROBABILITIES, points))
        host = _points_on_host(P)
        support = host[0] > 0.0
        if ((host > 0.0) != support).any():
            raise bad_value(
                "points",
                "have the same support, as the members of an exponential family do",
                "some are 0 where others are positive",
            )
        logs = np.log(host[:, support])
        logs -= logs.mean(axis=1, keepdims=True)
        rounding = _roundoff(P, xp) * (1.0 + np.abs(logs))
        rows = _principal_rows(logs - logs.mean(axis=0), rounding)
        features = np.zeros((max(1, len(rows)), host.shape[1]))
        features[: len(rows), support] = rows
        base = np.full(host.shape[1], -math.inf)
        base[support] = logs.mean(axis=0)
        base[support] -= np.log(np.exp(base[support]).sum())
        return cls(_like(features, P, xp), _like(base, P, xp), check=check)

    @property
    def num_features(self) -> int:
        """The number m of rows of the features."""
        return self.features.shape[-2]

    @property
    def num_outcomes(self) -> int:
        """The number c of outcomes."""
        return self.features.shape[-1]

    @property
    def dimension(self) -> Array:
        """The number of independent features: the dimension of the family."""
        return _integer(self._span.rank, self.features)

    @cached_property
    def _span(self) -> _Span:
        allowed = _to_host("log_base", self.log_base) > -math.inf
        roundoff = _roundoff(self.features, array_namespace(self.features))
        return _decompose(_to_host("features", self.features), allowed, roundoff)

    def _gate(self, **arguments: tuple[Rule, Any]) -> tuple[Any, ...]:
        """Return the namespace, F, C and the arguments, all of one library, dtype and device."""
        held = _held(self, ("features", "log_base"), arguments)
        xp, F, C, *given = gate(self.check, **held, **arguments)
        batches = {"features": F.shape[:-2], "log_base": C.shape[:-1]}
        for (name, (rule, _)), x in zip(arguments.items(), given, strict=True):
            if rule is _OF_FEATURES:
                _check_last_axis(name, x, F.shape[-2], "feature")
            elif rule is PROBABILITIES:
                _check_last_axis(name, x, F.shape[-1], "outcome")
            else:
                continue
            batches[name] = x.shape[:-1]
        _check_batches(**batches)
        return xp, F, C, *given

    def log_partition(self, theta: Array) -> Array:
        r"""Return the logarithm of the partition function.

        .. math:: \psi(\theta) = \log \textstyle\sum_y \exp(C_y + \theta' F_y)

        Parameters
        ----------
        theta : array, shape (..., m)

        Returns
        -------
        array, shape (...)
            In nats. Its gradient is eta, its Hessian the Fisher information.

        Raises
        ------
        TypeError, ValueError
            Arrays of different libraries; shapes that do not fit; values that are not finite.

        Examples
        --------
        >>> round(float(ExponentialFamily([[0.0, 1.0]]).log_partition([0.0])), 12)
        0.69314718056
        """
        xp, F, C, theta = self._gate(theta=(_OF_FEATURES, theta))
        return _array.logsumexp(C + _combined(theta, F, xp), xp)[..., 0]

    def log_probabilities(self, theta: Array) -> Array:
        r"""Return the log-probabilities of a member.

        .. math:: \log p_\theta(y) = C_y + \theta' F_y - \psi(\theta)

        Parameters
        ----------
        theta : array, shape (..., m)

        Returns
        -------
        array, shape (..., c)
            In nats, -inf where the base is.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0]]).log_probabilities([1000.0])
        array([-1000.,     0.])
        """
        xp, F, C, theta = self._gate(theta=(_OF_FEATURES, theta))
        return _array.log_softmax(C + _combined(theta, F, xp), xp)

    def probabilities(self, theta: Array) -> Array:
        r"""Return the probabilities of a member.

        .. math:: p_\theta(y) = \exp(C_y + \theta' F_y - \psi(\theta))

        Parameters
        ----------
        theta : array, shape (..., m)

        Returns
        -------
        array, shape (..., c)
            Probabilities along the last axis.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0]]).probabilities([np.log(3.0)]).round(12)
        array([0.25, 0.75])
        """
        xp, F, C, theta = self._gate(theta=(_OF_FEATURES, theta))
        return _array.softmax(C + _combined(theta, F, xp), xp)

    def expectation_parameters(self, theta: Array) -> Array:
        r"""Return the expectation parameters of a member.

        .. math:: \eta = E_\theta[F] = \nabla \psi(\theta)

        Parameters
        ----------
        theta : array, shape (..., m)

        Returns
        -------
        array, shape (..., m)
            In the units of the features.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0, 2.0]]).expectation_parameters([0.0])
        array([1.])
        """
        xp, F, C, theta = self._gate(theta=(_OF_FEATURES, theta))
        return _expectation(_array.softmax(C + _combined(theta, F, xp), xp), F, xp)

    def natural_parameters(self, eta: Array) -> Array:
        r"""Return the natural parameters of the member with given expectations.

        .. math:: \theta = \nabla \phi(\eta): \qquad E_\theta[F] = \eta

        Parameters
        ----------
        eta : array, shape (..., m)
            Expectation parameters.

        Returns
        -------
        array, shape (..., m)
            The one of minimum norm, if the features are dependent.

        Raises
        ------
        TypeError, ValueError
        SolveError
            No member has these expectations: either no distribution has, which
            ``error.result.certificate`` proves, or only one on the boundary, which theta
            approaches without end (then `negative_entropy` is finite).

        Notes
        -----
        Solved by `infogeo.maxent.c_maximize`, whose ``error_bound`` says how well eta determines
        the probabilities: near the boundary it is theta that has the digits, not eta.

        Examples
        --------
        >>> float(ExponentialFamily([[0.0, 1.0]]).natural_parameters([0.75])[0].round(12))
        1.098612288668
        """
        xp, F, C, eta = self._gate(eta=(_OF_FEATURES, eta))
        found = _solve("eta has no natural parameters.", F, eta, C)
        _require_full_support(found, C, xp)
        return found.theta

    def negative_entropy(self, eta: Array) -> Array:
        r"""Return the negative entropy relative to the base, the Legendre transform of psi.

        .. math:: \phi(\eta) = \max_\theta \{\theta' \eta - \psi(\theta)\}
                  = E_p[\log p - C] = -\max \{H(p) + E_p[C] : E_p[F] = \eta\}

        Parameters
        ----------
        eta : array, shape (..., m)
            Expectation parameters; on the boundary of what distributions can have, phi is finite
            too, although no member has them.

        Returns
        -------
        array, shape (...)
            In nats: minus the entropy for C = 0, KL(p, exp(C)) if exp(C) is normalised. Its
            gradient is theta, its Hessian `expectation_fisher_information`.

        Raises
        ------
        TypeError, ValueError
        SolveError
            No distribution has these expectations: phi is infinite, and
            ``error.result.certificate`` proves it.

        References
        ----------
        R. T. Rockafellar, Convex Analysis, 1970, section 26.

        Examples
        --------
        >>> coin = ExponentialFamily([[0.0, 1.0]])
        >>> round(float(coin.negative_entropy([0.5])), 12)
        -0.69314718056
        """
        _, F, C, eta = self._gate(eta=(_OF_FEATURES, eta))
        return -_solve("phi(eta) is infinite, or not known.", F, eta, C).value

    def fisher_information(self, theta: Array) -> Array:
        r"""Return the Fisher information matrix in natural coordinates: the features' covariance.

        .. math:: g(\theta) = \nabla^2 \psi(\theta) = \mathrm{Cov}_\theta[F]

        Parameters
        ----------
        theta : array, shape (..., m)

        Returns
        -------
        array, shape (..., m, m)
            Of rank `dimension`.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0]]).fisher_information([0.0])
        array([[0.25]])
        """
        xp, F, C, theta = self._gate(theta=(_OF_FEATURES, theta))
        p, above = _centred_features(C + _combined(theta, F, xp), F, xp)
        return xp.matmul(above * p[..., None, :], xp.matrix_transpose(above))

    def expectation_fisher_information(self, eta: Array) -> Array:
        r"""Return the Fisher information matrix in expectation coordinates, the inverse covariance.

        .. math:: g(\eta) = \nabla^2 \phi(\eta) = \mathrm{Cov}[F]^+

        Parameters
        ----------
        eta : array, shape (..., m)
            Expectation parameters.

        Returns
        -------
        array, shape (..., m, m)
            The inverse, or the pseudo-inverse if features are dependent: the metric of those
            changes of eta that stay inside the family.

        Raises
        ------
        TypeError, ValueError, SolveError
            As `natural_parameters`.

        Notes
        -----
        From a QR decomposition of the features under p, so that the condition is not squared.

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0]]).expectation_fisher_information([0.5]).round(12)
        array([[4.]])
        """
        xp, F, C, eta = self._gate(eta=(_OF_FEATURES, eta))
        found = _solve("eta has no natural parameters.", F, eta, C)
        _require_full_support(found, C, xp)
        p, above = _centred_features(C + _combined(found.theta, F, xp), F, xp)
        directions = _like(self._span.directions, p, xp)
        roots = xp.matmul(xp.matrix_transpose(directions), above)
        roots = roots * _array.safe_sqrt(p, xp)[..., None, :]
        # One more row for each direction that does not act, or R would be singular there.
        idle = np.eye(directions.shape[-1]) * ~self._span.acts[..., None, :]
        idle = _like(idle, p, xp) + xp.zeros_like(roots[..., :1])
        tall = xp.concat([xp.matrix_transpose(roots), idle], axis=-2)
        _, upper = xp.linalg.qr(tall)
        half = xp.matmul(directions, xp.linalg.inv(upper))
        return xp.matmul(half, xp.matrix_transpose(half))

    def kl_divergence(self, theta_1: Array, theta_2: Array) -> Array:
        r"""Return the Kullback-Leibler divergence of two members, the Bregman divergence of psi.

        .. math:: \mathrm{KL}(p_{\theta_1}, p_{\theta_2}) = \psi(\theta_2) - \psi(\theta_1)
                  - (\theta_2 - \theta_1)' \eta_1

        Parameters
        ----------
        theta_1, theta_2 : array, shape (..., m)
            Natural parameters; leading axes broadcast.

        Returns
        -------
        array, shape (...)
            In nats.

        Raises
        ------
        TypeError, ValueError

        Notes
        -----
        With e = (theta_2 - theta_1)'(F - eta_1) the divergence is the logarithm of 1 plus
        E_1[exp(e) - 1 - e], whose terms are not negative: near members keep their digits.

        Examples
        --------
        >>> coin = ExponentialFamily([[0.0, 1.0]])
        >>> f"{coin.kl_divergence([0.0], [1e-10]):.10e}"
        '1.2500000000e-21'
        """
        xp, F, C, theta_1, theta_2 = self._gate(
            theta_1=(_OF_FEATURES, theta_1), theta_2=(_OF_FEATURES, theta_2)
        )
        log_p = _array.log_softmax(C + _combined(theta_1, F, xp), xp)
        p = xp.exp(log_p)
        F = F - xp.mean(F, axis=-1, keepdims=True)
        tilt = _combined(theta_2 - theta_1, F, xp) + xp.zeros_like(p)
        # Relative to the mode, whose own distance from the mean is a sum of small numbers.
        is_mode = log_p == xp.max(log_p, axis=-1, keepdims=True)
        tilt = tilt - xp.max(
            xp.where(is_mode, tilt, xp.full_like(tilt, -xp.inf)), axis=-1, keepdims=True
        )
        e = tilt - xp.sum(p * tilt, axis=-1, keepdims=True)
        exponent = log_p + e
        far = _array.logsumexp(exponent, xp)[..., 0]
        is_near = far < 1.0
        growth = xp.exp(_array.clip(exponent, xp, max=40.0))
        excess = _divergence.kullback_leibler(p, growth, -e, xp)
        near = xp.log1p(xp.where(is_near, excess, xp.zeros_like(excess)))
        return xp.where(is_near, near, far)

    def e_geodesic(self, theta_1: Array, theta_2: Array, t: Array) -> Array:
        r"""Return the natural parameters of a point of the e-geodesic between two members.

        .. math:: \theta(t) = (1 - t) \theta_1 + t \theta_2

        Parameters
        ----------
        theta_1, theta_2 : array, shape (..., m)
            Natural parameters of the ends; leading axes broadcast.
        t : float or array

        Returns
        -------
        array, shape t.shape + (..., m)
            Natural parameters. The curve is the e-geodesic of the simplex: the family is flat.

        Raises
        ------
        TypeError, ValueError
            As `log_partition`; t outside [0, 1].

        Examples
        --------
        >>> ExponentialFamily([[0.0, 1.0]]).e_geodesic([0.0], [4.0], 0.25)
        array([1.])
        """
        xp, _, _, theta_1, theta_2, t = self._gate(
            theta_1=(_OF_FEATURES, theta_1), theta_2=(_OF_FEATURES, theta_2), t=(UNIT_INTERVAL, t)
        )
        t = _array.as_leading(t, theta_1 + theta_2, xp)
        return (1.0 - t) * theta_1 + t * theta_2

    def m_geodesic(self, theta_1: Array, theta_2: Array, t: Array) -> Array:
        r"""Return the natural parameters of a point of the family's m-geodesic between two members.

        .. math:: \eta(t) = (1 - t) \eta_1 + t \eta_2

        Parameters
        ----------
        theta_1, theta_2 : array, shape (..., m)
            Natural parameters of the ends; leading axes broadcast.
        t : float or array

        Returns
        -------
        array, shape t.shape + (..., m)
            Natural parameters, of minimum norm if the features are dependent. The mixtures
            (1 - t) p_1 + t p_2 leave the family in general; this curve is their m-projection.

        Raises
        ------
        TypeError, ValueError
            As `log_partition`; t outside [0, 1].
        SolveError
            Members so close to the boundary that eta does not tell them from it.

        Examples
        --------
        >>> coin = ExponentialFamily([[0.0, 1.0]])
        >>> middle = coin.m_geodesic([-1.0], [2.0], 0.5)
        >>> coin.expectation_parameters([[-1.0], [2.0]]).round(6)
        array([[0.268941], [0.880797]])
        >>> coin.expectation_parameters(middle).round(6)
        array([0.574869])
        """
        xp, F, C, theta_1, theta_2, t = self._gate(
            theta_1=(_OF_FEATURES, theta_1), theta_2=(_OF_FEATURES, theta_2), t=(UNIT_INTERVAL, t)
        )
        ends = [
            _expectation(_array.softmax(C + _combined(theta, F, xp), xp), F, xp)
            for theta in (theta_1, theta_2)
        ]
        t = _array.as_leading(t, ends[0] + ends[1], xp)
        return self.natural_parameters((1.0 - t) * ends[0] + t * ends[1])

    def contains(self, p: Array, *, tol: float | None = None) -> Array:
        r"""Tell whether distributions are members.

        .. math:: \log p - C \in \mathrm{span}(F_1, \ldots, F_m, 1)

        Parameters
        ----------
        p : array, shape (..., c)
        tol : float or None
            How far log p may be from C + theta'F - psi, in nats at the worst outcome, for the
            theta of least squares. None: the root of the dtype's rounding, 1.5e-8 in float64.

        Returns
        -------
        bool array, shape (...)
            The members are positive where exp(C) is and nowhere else: limits of members with
            more zeros are not members.

        Raises
        ------
        TypeError, ValueError
            Entries that are not probabilities; a negative tolerance.

        Examples
        --------
        >>> binomial = ExponentialFamily([[0, 1, 2]], np.log([1, 2, 1]))
        >>> binomial.contains([[0.25, 0.5, 0.25], [0.4, 0.2, 0.4], [1.0, 0.0, 0.0]])
        array([ True, False, False])
        """
        xp, _, C, p = self._gate(p=(PROBABILITIES, p))
        tol = _checked_tolerance(tol, p, xp)
        allowed = xp.isfinite(C)
        has_support = xp.all((p > 0.0) == allowed, axis=-1)
        inside = allowed & (p > 0.0)
        zero = xp.zeros_like(p + xp.where(allowed, C, xp.zeros_like(C)))
        log_p = xp.log(xp.where(inside, p, xp.ones_like(zero)))
        above = log_p - xp.where(inside, C, zero)
        count = xp.sum(xp.astype(inside, zero.dtype), axis=-1, keepdims=True)
        # Where the supports differ the answer is known, and the count may be 0.
        above = above - xp.sum(above, axis=-1, keepdims=True) / _array.clip(count, xp, min=1.0)
        rows = _like(self._span.rows, p, xp)
        off = above - _combined(_expectation(above, rows, xp), rows, xp)
        off = xp.where(inside, off, zero)
        return has_support & (xp.max(xp.abs(off), axis=-1) <= tol)


# ---------------------------------------------------------------- mixture families


@storable("MixtureFamily")
@dataclass(frozen=True, eq=False, repr=False)
class MixtureFamily(Result):
    r"""The mixture family M_D: all distributions with given expectations.

    .. math:: M = \{p : p_y \ge 0, \; \textstyle\sum_y p_y = 1, \; E_p[F_i] = b_i\}

    A convex polytope, faces included; it may be empty.

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints. Redundant, constant and
        inconsistent rows, and more rows than outcomes, are ordinary cases.
    targets : float or array, shape (..., m)
        b: the expectations, in the units of the features.
    check : bool
        Verify the values given here and to the methods. Shapes and dtypes are always verified.

    Attributes
    ----------
    num_features : int
        m.
    num_outcomes : int
        c.
    center : Projection
        The member of maximum entropy, or the proof that there is no member.
    is_empty : bool, or bool array of shape (...)
        Whether no distribution satisfies the constraints.
    dimension : int, or int array of shape (...)
        Of the polytope; 0 for a single point, -1 if it is empty.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; values that are not finite.

    References
    ----------
    S. Amari, Information Geometry and Its Applications, Springer 2016, chapter 2.
    I. Csiszar, I-divergence geometry of probability distributions, Ann. Probab. 3, 1975.

    Examples
    --------
    Dice that show 4.5 on average, and a condition too many:

    >>> from infogeo.family import MixtureFamily
    >>> dice = MixtureFamily([[1, 2, 3, 4, 5, 6]], 4.5)
    >>> dice.dimension
    4
    >>> bool(dice.contains([0.0, 0.0, 0.0, 0.5, 0.5, 0.0]))
    True
    >>> impossible = MixtureFamily([[1, 2, 3, 4, 5, 6], [1, 0, 1, 0, 1, 0]], [5.5, 0.8])
    >>> impossible.is_empty, impossible.dimension
    (True, -1)
    """

    features: _array.Array
    targets: _array.Array = 0.0
    check: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        is_weak = _is_weak(self.features) and _is_weak(self.targets)
        features = numbered(("features", "outcomes"), self.features, self.targets)
        given = {"features": (_FEATURES, features), "targets": (_OF_FEATURES, self.targets)}
        xp, F, b = gate(self.check, **given)
        _check_features(F)
        if len(b.shape) == 0:
            b = b + xp.zeros_like(F[..., 0])
        _check_last_axis("targets", b, F.shape[-2], "feature")
        _check_batches(features=F.shape[:-2], targets=b.shape[:-1])
        names = _array.names_along(**given)
        _hold(self, features=F, targets=b, _is_weak=is_weak, _names=names)

    @classmethod
    def through(cls, points: Array, *, check: bool = True) -> MixtureFamily:
        r"""Return the smallest mixture family that contains given distributions.

        .. math:: M = \{p : p = \textstyle\sum_k w_k p_k, \; \sum_k w_k = 1, \; p_y \ge 0\}

        the affine hull of the points, as far as it lies in the simplex.

        Parameters
        ----------
        points : array, shape (k, c)
            Probabilities along the last axis.
        check : bool

        Returns
        -------
        MixtureFamily
            With orthonormal feature rows: one for each outcome that no point has, with target 0,
            and rows that sum to 0 over the others. One row of zeros if the hull is everything.

        Raises
        ------
        TypeError, ValueError
            Entries that are not probabilities; not one list of points.

        Examples
        --------
        >>> line = MixtureFamily.through([[0.2, 0.3, 0.5], [0.4, 0.3, 0.3]])
        >>> line.dimension
        1
        >>> bool(line.contains([0.7, 0.3, 0.0]))
        True
        """
        xp, P = gate(check, points=(PROBABILITIES, points))
        host = _points_on_host(P)
        has_outcome = (host > 0.0).any(axis=0)
        seen = host[:, has_outcome]
        centre = seen.mean(axis=0)
        complement = _complement(_principal_rows(seen - centre, _roundoff(P, xp) * seen))
        excluded = np.eye(host.shape[1])[~has_outcome]
        num_rows = len(excluded) + len(complement)
        features = np.zeros((max(1, num_rows), host.shape[1]))
        features[: len(excluded)] = excluded
        features[len(excluded) : num_rows, has_outcome] = complement
        targets = np.zeros(len(features))
        targets[len(excluded) : num_rows] = complement @ centre
        return cls(_like(features, P, xp), _like(targets, P, xp), check=check)

    @property
    def num_features(self) -> int:
        """The number m of rows of the features."""
        return self.features.shape[-2]

    @property
    def num_outcomes(self) -> int:
        """The number c of outcomes."""
        return self.features.shape[-1]

    @cached_property
    def center(self) -> Projection:
        """The member of maximum entropy: a point inside, with all outcomes that members have.

        A `Projection` that is never raised: for an empty family its status is INFEASIBLE, and its
        certificate is the proof.
        """
        return maxent.c_maximize(self.features, self.targets, throw=False, check=False)

    @property
    def is_empty(self) -> Array:
        """Whether no distribution satisfies the constraints; proved by ``center.certificate``."""
        is_empty = self._emptiness
        if is_empty.ndim == 0:
            return bool(is_empty)
        xp = array_namespace(self.features)
        return xp.asarray(is_empty, device=_array.device_of(self.features))

    @property
    def dimension(self) -> Array:
        """The dimension of the family: 0 for a single point, -1 if it is empty."""
        is_empty = self._emptiness
        support = _to_host("support", self.center.support) > 0.0
        roundoff = _roundoff(self.features, array_namespace(self.features))
        rank = _decompose(_to_host("features", self.features), support, roundoff).rank
        return _integer(np.where(is_empty, -1, support.sum(axis=-1) - 1 - rank), self.features)

    @cached_property
    def _emptiness(self) -> np.ndarray:
        """Bool array on the host, of the shape of the batch."""
        found = self.center
        bound = _to_host("error_bound", found.error_bound)
        is_empty = np.zeros(bound.shape, dtype=bool)
        if found.certificate is not None:
            is_empty |= ~np.isnan(_to_host("certificate", found.certificate)).any(axis=-1)
        is_open = ~(is_empty | np.isfinite(bound))
        if is_open.any() and not found.status.is_solution:
            which = "" if is_open.ndim == 0 else f" for {int(is_open.sum())} of {is_open.size}"
            raise SolveError(
                f"Whether the family is empty is not known{which}: {found.status.value}. The "
                "targets lie very near the edge of what the features allow; see center.",
                found,
                _failed(is_open),
            )
        return is_empty

    def _gate(self, **arguments: tuple[Rule, Any]) -> tuple[Any, ...]:
        """Return the namespace, F, b and the arguments, all of one library, dtype and device."""
        held = _held(self, ("features", "targets"), arguments)
        xp, F, b, *given = gate(self.check, **held, **arguments)
        batches = {"features": F.shape[:-2], "targets": b.shape[:-1]}
        for name, x in zip(arguments, given, strict=True):
            _check_last_axis(name, x, F.shape[-1], "outcome")
            batches[name] = x.shape[:-1]
        _check_batches(**batches)
        return xp, F, b, *given

    def residual(self, p: Array) -> Array:
        r"""Return the violation of each constraint.

        .. math:: E_p[F_i] - b_i

        Parameters
        ----------
        p : array, shape (..., c)

        Returns
        -------
        array, shape (..., m)
            With its sign, in the units of the features.

        Raises
        ------
        TypeError, ValueError

        Examples
        --------
        >>> MixtureFamily([[1, 2, 3]], 2.5).residual([0.0, 0.0, 1.0])
        array([0.5])
        """
        xp, F, b, p = self._gate(p=(PROBABILITIES, p))
        return _expectation(_normalised(p, xp), F - b[..., None], xp)

    def contains(self, p: Array, *, tol: float | None = None) -> Array:
        r"""Tell whether distributions are members.

        .. math:: |E_p[F_i] - b_i| \le \mathrm{tol} \cdot \max_y |F_{iy} - b_i|

        Parameters
        ----------
        p : array, shape (..., c)
        tol : float or None
            Relative to the largest deviation of each feature from its target, so that units do
            not matter. None: the root of the dtype's rounding, 1.5e-8 in float64.

        Returns
        -------
        bool array, shape (...)
            Points of faces included.

        Raises
        ------
        TypeError, ValueError
            Entries that are not probabilities; a negative tolerance.

        Examples
        --------
        >>> MixtureFamily([[1, 2, 3]], 2.5).contains([[0.0, 0.5, 0.5], [0.0, 0.0, 1.0]])
        array([ True, False])
        """
        xp, F, b, p = self._gate(p=(PROBABILITIES, p))
        above = F - b[..., None]
        size = xp.max(xp.abs(above), axis=-1)
        violation = xp.abs(_expectation(_normalised(p, xp), above, xp))
        return xp.all(violation <= _checked_tolerance(tol, p, xp) * size, axis=-1)


# ---------------------------------------------------------------- projections


def m_projection(p: Array, E: ExponentialFamily) -> Projection:
    r"""Find the member of an exponential family that is nearest to p, by maximum likelihood.

    .. math:: \arg\min_{q \in E} \mathrm{KL}(p, q): \qquad E_q[F] = E_p[F]

    Parameters
    ----------
    p : array, shape (..., c)
        Probabilities along the last axis, for instance relative frequencies; zeros allowed.
    E : ExponentialFamily
        The family to project onto.

    Returns
    -------
    Projection
        The point q, its natural parameters and the proof of its accuracy. If the minimum is not
        attained inside E (the status is BOUNDARY), q is the limit at which KL(p, q) is least.

    Raises
    ------
    TypeError, ValueError
        Entries that are not probabilities; p positive where no member is.
    SolveError
        As `infogeo.maxent.c_maximize`.

    Notes
    -----
    The m-geodesic from p to q meets E at a right angle, so that for every member r of E

    .. math:: \mathrm{KL}(p, r) = \mathrm{KL}(p, q) + \mathrm{KL}(q, r)

    References
    ----------
    S. Amari, Information Geometry and Its Applications, Springer 2016, section 1.6.

    Examples
    --------
    Independent bits with the margins of a table of counts:

    >>> from infogeo.family import ExponentialFamily, m_projection
    >>> independent = ExponentialFamily([[0, 0, 1, 1], [0, 1, 0, 1]])
    >>> m_projection([0.4, 0.1, 0.2, 0.3], independent).probabilities.round(12)
    array([0.3, 0.2, 0.3, 0.2])
    """
    _require_family("E", E, ExponentialFamily)
    xp, F, C, p = E._gate(p=(PROBABILITIES, p))
    p = _normalised(p, xp)
    outside = xp.any((p > 0.0) & ~xp.isfinite(C), axis=-1)
    if E.check and _array.is_readable(outside) and bool(xp.any(outside)):
        raise bad_value(
            "p",
            "be 0 where the members of E are",
            "it is positive where log_base is -inf, and KL(p, q) is infinite for every member q",
        )
    return maxent.c_maximize(F, _expectation(p, F, xp), log_base=C, check=False)


def e_projection(q: Array, M: MixtureFamily) -> Projection:
    r"""Find the member of a mixture family that is nearest to q, its I-projection.

    .. math:: \arg\min_{p \in M} \mathrm{KL}(p, q): \qquad p \propto q \exp(\theta' F)

    Parameters
    ----------
    q : array, shape (..., c)
        Probabilities along the last axis; where q is 0, so is p.
    M : MixtureFamily
        The family to project onto.

    Returns
    -------
    Projection
        The point p, theta, and the proof of its accuracy; the least divergence is minus its
        `value`. If p has more zeros than q the status is BOUNDARY.

    Raises
    ------
    TypeError, ValueError
    SolveError
        As `infogeo.maxent.c_maximize`: M is empty, or all its members are positive somewhere
        where q is 0.

    Notes
    -----
    The e-geodesic from q to p meets M at a right angle, so that for every member r of M

    .. math:: \mathrm{KL}(r, q) = \mathrm{KL}(r, p) + \mathrm{KL}(p, q)

    References
    ----------
    I. Csiszar, I-divergence geometry of probability distributions, Ann. Probab. 3, 1975.

    Examples
    --------
    A forecast, corrected so that rain and snow have a third each:

    >>> from infogeo.family import MixtureFamily, e_projection
    >>> corrected = MixtureFamily([[1, 0, 0, 0], [0, 1, 0, 0]], [1 / 3, 1 / 3])
    >>> e_projection([0.1, 0.5, 0.1, 0.3], corrected).probabilities.round(6)
    array([0.333333, 0.333333, 0.083333, 0.25    ])
    """
    _require_family("M", M, MixtureFamily)
    xp, F, b, q = M._gate(q=(PROBABILITIES, q))
    C = _array.safe_log(_normalised(q, xp), xp)
    return maxent.c_maximize(F, b, log_base=C, check=False)


def intersection(E: ExponentialFamily, M: MixtureFamily) -> Projection:
    r"""Find the point where an exponential and a mixture family of the same features meet.

    .. math:: E_C \cap M_D = \{p : p \propto \exp(C + \theta' F), \; E_p[F] = b\}

    Parameters
    ----------
    E : ExponentialFamily
        The exponential family.
    M : MixtureFamily
        The mixture family. Its features span the same functions as those of E, up to constants.

    Returns
    -------
    Projection
        The one point of M in the closure of E; for every C and b there is one, unless M is empty
        on the outcomes that C allows. `theta` and `log_partition` are those of E; a `certificate`
        is about the features of M. The status is BOUNDARY if the point is a limit of members of E.

    Raises
    ------
    TypeError, ValueError
        Features that span different functions: the families may then meet in many points or none.
    SolveError
        As `infogeo.maxent.c_maximize`.

    Examples
    --------
    >>> from infogeo.family import ExponentialFamily, MixtureFamily, intersection
    >>> F = [[1, 2, 3, 4, 5, 6]]
    >>> intersection(ExponentialFamily(F), MixtureFamily(F, 4.5)).probabilities.round(4)
    array([0.0544, 0.0788, 0.1142, 0.1654, 0.2398, 0.3475])
    """
    _require_family("E", E, ExponentialFamily)
    _require_family("M", M, MixtureFamily)
    of_E = _held(E, ("features", "log_base"), {"M": (_HELD, M.features)})
    of_M = _held(M, ("features", "targets"), {"E": (_HELD, E.features)})
    of_M = {f"{name} of M": _with_names_of_m(value) for name, (_, value) in of_M.items()}
    of_M = {name: (_RULES_HELD[name], value) for name, value in of_M.items()}
    xp, F, C, F_M, b = gate(True, **of_E, **of_M)
    _check_last_axis("features of M", F_M, F.shape[-1], "outcome")
    _check_batches(E=F.shape[:-2], log_base=C.shape[:-1], M=F_M.shape[:-2], targets=b.shape[:-1])
    if F_M is F or (F.shape == F_M.shape and bool(xp.all(F == F_M))):
        return maxent.c_maximize(F, b, log_base=C, check=False)
    span = _common_span(F, F_M, C, xp)
    found = maxent.c_maximize(F_M, b, log_base=C, check=False)
    return _in_other_features(found, F, F_M, C, span, xp)


@storable("Alternation")
@dataclass(frozen=True, eq=False, repr=False)
class Alternation(Result):
    """What the em algorithm ends at: a pair of members, each of which is nearest to the other.

    Parameters
    ----------
    theta : array, shape (m,)
        Natural parameters of q.
    q : array, shape (c,)
        The member of the exponential family.
    p : array, shape (c,)
        The member of the mixture family that is nearest to q.
    divergences : array, shape (steps + 1,)
        KL(p, q) at the start and after each step, in nats. They never increase.
    remaining_gain : float
        What further steps would take off it, in nats, if their gains were a geometric series.
    status : Status
        CONVERGED; BOUNDARY if q is a limit of members only; MAX_STEPS.
    steps : int
        How often both projections were done.
    """

    theta: _array.Array
    q: _array.Array
    p: _array.Array
    divergences: _array.Array
    remaining_gain: float
    status: Status
    steps: int


def em(
    E: ExponentialFamily,
    M: MixtureFamily,
    theta: Array,
    *,
    tol: float = 1e-10,
    max_steps: int = 1000,
    throw: bool = True,
) -> Alternation:
    r"""Approach the members of two families that are nearest to each other, from a start.

    .. math:: p_t = \arg\min_{p \in M} \mathrm{KL}(p, q_t), \qquad
              q_{t+1} = \arg\min_{q \in E} \mathrm{KL}(p_t, q)

    The e-projection is the E-step of the EM algorithm and the m-projection its M-step, where the
    outcomes are pairs of something seen and something hidden, E the model of the pairs, and M the
    pairs whose first part has the frequencies that were seen. KL(p, q) is then the
    log-likelihood of q with its sign changed, less the entropy of the frequencies.

    Parameters
    ----------
    E : ExponentialFamily
        The exponential family: one, no batch.
    M : MixtureFamily
        The mixture family, over the same outcomes.
    theta : array, shape (m,)
        Natural parameters of the start.
    tol : float
        The gain that further steps may still have, in nats; it is extrapolated.
    max_steps : int
        How often to project on both.
    throw : bool
        Raise if the steps run out.

    Returns
    -------
    Alternation
        Where it ends. That is a point from which no projection leads away: one of several in
        general, and from a symmetric start a saddle.

    Raises
    ------
    TypeError, ValueError
        Other families, batches of them; controls that are not positive numbers.
    SolveError
        The steps ran out; a projection that fails, as of an empty M.

    Notes
    -----
    By the theorems of Pythagoras for both projections the gain of a step is exactly
    :math:`\mathrm{KL}(p_t, p_{t+1}) + \mathrm{KL}(q_{t+1}, q_t)`: the likelihood never falls.

    References
    ----------
    I. Csiszar and G. Tusnady, Information geometry and alternating minimization procedures,
    Statistics and Decisions, supplement 1, 1984.
    S. Amari, Information geometry of the EM and em algorithms for neural networks, Neural Networks
    8, 1995.

    Examples
    --------
    How often each of two coins was thrown, if half of all throws show heads:

    >>> from infogeo.family import ExponentialFamily, MixtureFamily, em
    >>> coins = np.array([[0.2, 0.8], [0.7, 0.3]])  # probabilities of heads and tails
    >>> pairs = ExponentialFamily([[1, 1, 0, 0]], np.log(coins.ravel()))
    >>> seen = MixtureFamily([[1, 0, 1, 0]], 0.5)
    >>> found = em(pairs, seen, [0.0])
    >>> found.q.reshape(2, 2).sum(1).round(4)
    array([0.4, 0.6])
    """
    _require_family("E", E, ExponentialFamily)
    _require_family("M", M, MixtureFamily)
    check_controls(tol, max_steps)
    q = E.probabilities(theta)
    p = e_projection(q, M).probabilities
    if len(p.shape) != 1:
        raise bad_value(
            "E, M and theta", "be one family each and one start", "they are batches", "Use a loop."
        )
    divergences, gain, remaining = [simplex.kl_divergence(p, q, check=False)], math.inf, math.inf
    while remaining > tol and len(divergences) <= max_steps:
        before, p_before, q_before = gain, p, q
        found = m_projection(p, E)
        theta, q = found.theta, found.probabilities
        p = e_projection(q, M).probabilities
        pairs = (p_before, p), (q, q_before)
        gain = sum(float(simplex.kl_divergence(*pair, check=False)) for pair in pairs)
        remaining = _gains_to_come(gain, before)
        divergences.append(simplex.kl_divergence(p, q, check=False))
    status = Status.MAX_STEPS if remaining > tol else found.status
    values = array_namespace(p).stack(divergences)
    result = Alternation(theta, q, p, values, remaining, status, len(divergences) - 1)
    if throw and not status.is_solution:
        raise SolveError(
            f"The {max_steps} steps ran out: the last one gained {gain:.3g} nats. Take more steps, "
            "a larger tol, or throw=False for what was reached.",
            result,
        )
    return result


def _gains_to_come(gain: float, before: float) -> float:
    """Return the sum of the geometric series that two gains begin."""
    if gain == 0.0:
        return 0.0
    return gain * gain / (before - gain) if gain < before < math.inf else math.inf


def _with_names_of_m(held: Any) -> Any:
    """Return what M holds, with its features under names of their own: E may name others."""
    if not isinstance(held, Named):
        return held
    names = {f"{key} of M" if key == "features" else key: x for key, x in held.names.items()}
    return Named(held.array, names)


def _common_span(F: Array, F_M: Array, C: Array, xp: Namespace) -> _Span:
    """Return the decomposition of F; raise unless F spans what F_M does, up to constants."""
    first, second = _to_host("features", F), _to_host("features", F_M)
    allowed, roundoff = _to_host("log_base", C) > -math.inf, _roundoff(F, xp)
    batch = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    first, second = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (first, second))
    spans = [
        _decompose(x, allowed, roundoff)
        for x in (first, second, np.concatenate([first, second], axis=-2))
    ]
    ranks = [span.rank for span in spans]
    if (ranks[0] != ranks[2]).any() or (ranks[1] != ranks[2]).any():
        raise bad_value(
            "E and M",
            "have features that span the same functions, up to constants",
            f"those of E have rank {ranks[0]}, those of M {ranks[1]}, both together {ranks[2]}",
            "Use e_projection or m_projection for the point of one that is nearest to a point.",
        )
    return spans[0]


def _in_other_features(
    found: Projection, F: Array, F_M: Array, C: Array, span: _Span, xp: Namespace
) -> Projection:
    """Return the projection with theta for the features F in the place of F_M."""
    allowed = xp.isfinite(C)
    tilt = _combined(found.theta, F_M, xp)
    tilt = xp.where(allowed, tilt, xp.zeros_like(tilt))
    theta = _expectation(tilt, _like(span.inverse @ span.rows, tilt, xp), xp)
    change = xp.where(allowed, _combined(theta, F, xp) - tilt, xp.zeros_like(tilt))
    count = xp.sum(xp.astype(allowed, tilt.dtype), axis=-1)
    log_partition = found.log_partition + xp.sum(change, axis=-1) / count
    return replace(found, theta=theta, log_partition=log_partition)


def _solve(what: str, F: Array, eta: Array, C: Array) -> Projection:
    """Return the projection of C onto the targets eta; an error starts with what it means."""
    try:
        return maxent.c_maximize(F, eta, log_base=C, check=False)
    except SolveError as error:
        message = Message(f"{what} {{}}", (error.message,))
        raise failure(message, error.result, error.failed) from None


def _require_full_support(found: Projection, C: Array, xp: Namespace) -> None:
    """Raise if a solution is a limit of members only."""
    is_limit = _to_host("support", xp.any(found.support != xp.isfinite(C), axis=-1)) > 0.0
    if is_limit.any():
        raise SolveError(
            "eta has no natural parameters: it lies on the boundary of the expectations that "
            "distributions can have, where a distribution with more zeros has it "
            "(result.probabilities) and theta is only a direction's limit.",
            found,
            _failed(is_limit),
        )


# ---------------------------------------------------------------- what families hold


def _is_weak(value: Any) -> bool:
    return isinstance(value, bool | int | float | list | tuple)


def _is_double(value: Any) -> bool:
    return type(value) is np.ndarray and value.dtype == np.float64


def _hold(family: ExponentialFamily | MixtureFamily, **values: Any) -> None:
    """Set attributes of a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(family, name, value)


def _held(
    family: Any, names: tuple[str, ...], arguments: dict[str, tuple[Rule, Any]]
) -> dict[str, tuple[Rule, Any]]:
    """Return what the family holds for the gate: as lists, if it was made of lists only.

    Lists adopt the library, dtype and device of the arrays that they meet.
    """
    values = [getattr(family, name) for name in names]
    if family._is_weak and not all(_is_double(x) or _is_weak(x) for _, x in arguments.values()):
        values = [x.tolist() for x in values]
    if family._names:
        values = [Named(x, family._names) for x in values]
    return {name: (_RULES_HELD[name], x) for name, x in zip(names, values, strict=True)}


def _require_family(name: str, value: Any, kind: type) -> None:
    if not isinstance(value, kind):
        noun = "an" if kind is ExponentialFamily else "a"
        raise TypeError(f"{name} must be {noun} {kind.__name__}: got {type(value).__name__}.")


def _check_features(F: Array) -> None:
    rule = "have shape (..., m, c), one row of c outcome values for each of m features"
    if len(F.shape) < 2:
        advice = "Write features[None, :] for a single feature." if F.shape else ""
        raise bad_value("features", rule, f"got shape {tuple(F.shape)}", advice)
    if 0 in F.shape[-2:]:
        raise bad_value("features", rule, f"got shape {tuple(F.shape)}, which is empty")


def _check_last_axis(name: str, x: Array, size: int, noun: str) -> None:
    if len(x.shape) == 0 or x.shape[-1] != size:
        raise bad_value(
            name,
            f"have one entry for each {noun} in the last axis",
            f"there are {size}, and its shape is {tuple(x.shape)}",
        )


def _check_batches(**batches: tuple[int, ...]) -> None:
    try:
        np.broadcast_shapes(*batches.values())
    except ValueError:
        listed = ", ".join(f"{name} {tuple(batch)}" for name, batch in batches.items())
        raise ValueError(f"The leading axes must broadcast: they are {listed}.") from None


def _checked_tolerance(tol: float | None, like: Array, xp: Namespace) -> float:
    if tol is None:
        return math.sqrt(float(xp.finfo(like.dtype).eps))
    tol = _array.finite_number("tol", tol)
    if tol < 0.0:
        raise bad_value("tol", "not be negative", f"got {tol}")
    return tol


# ---------------------------------------------------------------- linear algebra


def _normalised(p: Array, xp: Namespace) -> Array:
    return p / xp.sum(p, axis=-1, keepdims=True)


def _combined(theta: Array, F: Array, xp: Namespace) -> Array:
    """Return theta'F, shape (..., c)."""
    if len(F.shape) == 2:
        return xp.matmul(theta, F)
    return xp.matmul(theta[..., None, :], F)[..., 0, :]


def _expectation(p: Array, F: Array, xp: Namespace) -> Array:
    """Return E_p[F], shape (..., m)."""
    if len(F.shape) == 2:
        return xp.matmul(p, xp.matrix_transpose(F))
    return xp.matmul(F, p[..., None])[..., 0]


def _centred_features(z: Array, F: Array, xp: Namespace) -> tuple[Array, Array]:
    """Return the probabilities of logits, and the features less their expectations."""
    p = _array.softmax(z, xp)
    # The rounding error of the expectation enters the covariance by its square only.
    return p, F - _expectation(p, F, xp)[..., None]


@dataclass(frozen=True)
class _Span:
    """The span of features modulo constants, for a batch: what is not there is zero.

    Parameters
    ----------
    rank : int array, shape (...)
        How many directions act on distributions.
    acts : bool array, shape (..., k)
        Which of the k = min(m, c) directions act: the first `rank`.
    directions : array, shape (..., m, k)
        Orthonormal combinations that act; those orthogonal to them give constants.
    rows : array, shape (..., k, c)
        Orthonormal basis of the features less their means.
    inverse : array, shape (..., m, k)
        theta = inverse @ rows @ g is the theta of minimum norm with theta'F = g + constant,
        for g in the span.
    """

    rank: np.ndarray
    acts: np.ndarray
    directions: np.ndarray
    rows: np.ndarray
    inverse: np.ndarray


def _decompose(F: np.ndarray, allowed: np.ndarray, roundoff: float) -> _Span:
    """Decompose features (..., m, c) over the allowed outcomes (..., c), in float64.

    Rows count in units of their own rounding errors: what is below them all is a constant.
    """
    num_features, num_outcomes = F.shape[-2:]
    weight = allowed[..., None, :] * 1.0
    centred = F * weight
    blur = roundoff * np.abs(centred).max(axis=-1, keepdims=True)
    blur = np.where(blur > 0.0, blur, 1.0)
    for _ in range(2):  # the first mean leaves a rounding error
        mean = centred.sum(axis=-1, keepdims=True) / weight.sum(axis=-1, keepdims=True)
        centred = (centred - mean) * weight
    # QR first: a third of the time for many outcomes.
    basis, factor = np.linalg.qr(np.swapaxes(centred / blur, -1, -2))
    left, size, rows = np.linalg.svd(np.swapaxes(factor, -1, -2), full_matrices=False)
    rows = rows @ np.swapaxes(basis, -1, -2)
    acts = size > _CAUTION * math.sqrt(num_features * num_outcomes)
    rank = acts.sum(axis=-1)
    left, rows = left * acts[..., None, :], rows * acts[..., :, None]
    directions, _ = np.linalg.qr(blur * left)
    directions = directions * acts[..., None, :]
    is_full = (rank == num_features)[..., None, None]
    if is_full.any():  # any basis will do, and this one does not mix the units of features
        directions = np.where(is_full, np.eye(num_features), directions)
    # Products first: a blur alone may be too small to divide by.
    inverse = left / (blur * np.where(acts, size, 1.0 / roundoff)[..., None, :])
    inverse = directions @ (np.swapaxes(directions, -1, -2) @ inverse)
    return _Span(rank, acts, directions, rows, inverse)


def _principal_rows(centred: np.ndarray, rounding: np.ndarray) -> np.ndarray:
    """Return orthonormal rows that span those of `centred`, beyond the rounding of its entries."""
    _, size, rows = np.linalg.svd(centred, full_matrices=False)
    return rows[size > _CAUTION * np.linalg.norm(rounding)]


def _complement(rows: np.ndarray) -> np.ndarray:
    """Return an orthonormal basis of the vectors orthogonal to the rows and to the constants."""
    basis = np.concatenate([np.ones((1, rows.shape[1])), rows])
    complete, _ = np.linalg.qr(basis.T, mode="complete")
    return complete[:, len(basis) :].T


# ---------------------------------------------------------------- between host and device


def _to_host(name: str, x: Array) -> np.ndarray:
    """Return the values as float64 of numpy, by which ranks are decided."""
    if not (_array.is_readable(x) or is_dask_array(x)):
        raise TypeError(
            f"{name} must have values that can be read: ranks are not found inside jax.jit, "
            "torch.func or torch.compile. Make the family outside."
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    return np.asarray(x).astype(np.float64, copy=False)


def _points_on_host(points: Array) -> np.ndarray:
    """Return the normalised points, shape (k, c), in float64."""
    if len(points.shape) != 2 or points.shape[0] == 0:
        raise bad_value(
            "points",
            "have shape (k, c), one distribution in each of k rows",
            f"got shape {tuple(points.shape)}",
        )
    host = _to_host("points", points)
    return host / host.sum(axis=-1, keepdims=True)


def _like(x: Array, array: Array, xp: Namespace) -> Array:
    return xp.asarray(x, dtype=array.dtype, device=_array.device_of(array))


def _roundoff(x: Array, xp: Namespace) -> float:
    return float(xp.finfo(x.dtype).eps)


def _integer(counts: np.ndarray, like: Array) -> Any:
    """Return a Python int, or for a batch an int array of the library of `like`."""
    if counts.ndim == 0:
        return int(counts)
    xp = array_namespace(like)
    return xp.asarray(counts, device=_array.device_of(like))


def _failed(flags: np.ndarray) -> tuple[int, ...] | None:
    """Return the numbers of the flagged members of a batch, None if it is no batch."""
    return tuple(int(i) for i in np.flatnonzero(flags)) if flags.ndim else None


finish(
    globals(),
    {
        "theta : array, shape (..., m)": "Natural parameters.",
    },
)
