"""Exponential families: both coordinate systems, Legendre duality, geodesics."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _divergence, maxent
from infogeo._array import (
    LOGITS,
    PROBABILITIES,
    UNIT_INTERVAL,
    Array,
    Namespace,
    bad_value,
    gate,
)
from infogeo._names import numbered
from infogeo._result import Result
from infogeo._status import SolveError
from infogeo._system.registry import storable
from infogeo.family._arrays import (
    Span,
    as_integer,
    as_like,
    centred_features,
    combined,
    decompose,
    expectation_of,
    failed_members,
    points_on_host,
    principal_rows,
    roundoff_of,
    to_host,
)
from infogeo.family._held import (
    FEATURES,
    OF_FEATURES,
    check_batches,
    check_features,
    check_last_axis,
    checked_tolerance,
    gated,
    hold,
    is_list_or_number,
)
from infogeo.maxent import Projection
from infogeo.maxent._wording import Message, failure


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
        given = {"features": (FEATURES, self.features)}
        if self.log_base is not None:
            given["log_base"] = LOGITS, self.log_base
            features = numbered(("features", "outcomes"), self.features, self.log_base)
            given["features"] = FEATURES, features
        is_weak = all(is_list_or_number(value) for _, value in given.values())
        xp, F, *base = gate(self.check, **given)
        check_features(F)
        zero = xp.zeros(F.shape[-1], dtype=F.dtype, device=_array.device_of(F))
        C = base[0] if base else zero
        check_last_axis("log_base", C, F.shape[-1], "outcome")
        check_batches(features=F.shape[:-2], log_base=C.shape[:-1])
        names = _array.names_along(**given)
        hold(self, features=F, log_base=C, _is_weak=is_weak, _names=names)

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
        host = points_on_host(P)
        support = host[0] > 0.0
        if ((host > 0.0) != support).any():
            raise bad_value(
                "points",
                "have the same support, as the members of an exponential family do",
                "some are 0 where others are positive",
            )
        logs = np.log(host[:, support])
        logs -= logs.mean(axis=1, keepdims=True)
        rounding = roundoff_of(P, xp) * (1.0 + np.abs(logs))
        rows = principal_rows(logs - logs.mean(axis=0), rounding)
        features = np.zeros((max(1, len(rows)), host.shape[1]))
        features[: len(rows), support] = rows
        base = np.full(host.shape[1], -math.inf)
        base[support] = logs.mean(axis=0)
        base[support] -= np.log(np.exp(base[support]).sum())
        return cls(as_like(features, P, xp), as_like(base, P, xp), check=check)

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
        return as_integer(self._span.rank, self.features)

    @cached_property
    def _span(self) -> Span:
        allowed = to_host("log_base", self.log_base) > -math.inf
        roundoff = roundoff_of(self.features, array_namespace(self.features))
        return decompose(to_host("features", self.features), allowed, roundoff)

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
        xp, F, C, theta = gated(self, theta=(OF_FEATURES, theta))
        return _array.logsumexp(C + combined(theta, F, xp), xp)[..., 0]

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
        xp, F, C, theta = gated(self, theta=(OF_FEATURES, theta))
        return _array.log_softmax(C + combined(theta, F, xp), xp)

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
        xp, F, C, theta = gated(self, theta=(OF_FEATURES, theta))
        return _array.softmax(C + combined(theta, F, xp), xp)

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
        xp, F, C, theta = gated(self, theta=(OF_FEATURES, theta))
        return expectation_of(_array.softmax(C + combined(theta, F, xp), xp), F, xp)

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
        xp, F, C, eta = gated(self, eta=(OF_FEATURES, eta))
        found = solve_for("eta has no natural parameters.", F, eta, C)
        require_full_support(found, C, xp)
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
        _, F, C, eta = gated(self, eta=(OF_FEATURES, eta))
        return -solve_for("phi(eta) is infinite, or not known.", F, eta, C).value

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
        xp, F, C, theta = gated(self, theta=(OF_FEATURES, theta))
        p, above = centred_features(C + combined(theta, F, xp), F, xp)
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
        xp, F, C, eta = gated(self, eta=(OF_FEATURES, eta))
        found = solve_for("eta has no natural parameters.", F, eta, C)
        require_full_support(found, C, xp)
        p, above = centred_features(C + combined(found.theta, F, xp), F, xp)
        directions = as_like(self._span.directions, p, xp)
        roots = xp.matmul(xp.matrix_transpose(directions), above)
        roots = roots * _array.safe_sqrt(p, xp)[..., None, :]
        # One more row for each direction that does not act, or R would be singular there.
        idle = np.eye(directions.shape[-1]) * ~self._span.acts[..., None, :]
        idle = as_like(idle, p, xp) + xp.zeros_like(roots[..., :1])
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
        xp, F, C, theta_1, theta_2 = gated(
            self, theta_1=(OF_FEATURES, theta_1), theta_2=(OF_FEATURES, theta_2)
        )
        log_p = _array.log_softmax(C + combined(theta_1, F, xp), xp)
        p = xp.exp(log_p)
        F = F - xp.mean(F, axis=-1, keepdims=True)
        tilt = combined(theta_2 - theta_1, F, xp) + xp.zeros_like(p)
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
        xp, _, _, theta_1, theta_2, t = gated(
            self,
            theta_1=(OF_FEATURES, theta_1),
            theta_2=(OF_FEATURES, theta_2),
            t=(UNIT_INTERVAL, t),
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
        xp, F, C, theta_1, theta_2, t = gated(
            self,
            theta_1=(OF_FEATURES, theta_1),
            theta_2=(OF_FEATURES, theta_2),
            t=(UNIT_INTERVAL, t),
        )
        ends = [
            expectation_of(_array.softmax(C + combined(theta, F, xp), xp), F, xp)
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
        xp, _, C, p = gated(self, p=(PROBABILITIES, p))
        tol = checked_tolerance(tol, p, xp)
        allowed = xp.isfinite(C)
        has_support = xp.all((p > 0.0) == allowed, axis=-1)
        inside = allowed & (p > 0.0)
        zero = xp.zeros_like(p + xp.where(allowed, C, xp.zeros_like(C)))
        log_p = xp.log(xp.where(inside, p, xp.ones_like(zero)))
        above = log_p - xp.where(inside, C, zero)
        count = xp.sum(xp.astype(inside, zero.dtype), axis=-1, keepdims=True)
        # Where the supports differ the answer is known, and the count may be 0.
        above = above - xp.sum(above, axis=-1, keepdims=True) / _array.clip(count, xp, min=1.0)
        rows = as_like(self._span.rows, p, xp)
        off = above - combined(expectation_of(above, rows, xp), rows, xp)
        off = xp.where(inside, off, zero)
        return has_support & (xp.max(xp.abs(off), axis=-1) <= tol)


def solve_for(what: str, F: Array, eta: Array, C: Array) -> Projection:
    """Return the projection of C onto the targets eta; an error starts with what it means."""
    try:
        return maxent.c_maximize(F, eta, log_base=C, check=False)
    except SolveError as error:
        message = Message(f"{what} {{}}", (error.message,))
        raise failure(message, error.result, error.failed) from None


def require_full_support(found: Projection, C: Array, xp: Namespace) -> None:
    """Raise if a solution is a limit of members only."""
    is_limit = to_host("support", xp.any(found.support != xp.isfinite(C), axis=-1)) > 0.0
    if is_limit.any():
        raise SolveError(
            "eta has no natural parameters: it lies on the boundary of the expectations that "
            "distributions can have, where a distribution with more zeros has it "
            "(result.probabilities) and theta is only a direction's limit.",
            found,
            failed_members(is_limit),
        )
