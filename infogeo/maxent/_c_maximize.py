"""C-maximisation, maximum entropy and the nearest expectations that can be reached."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse
from array_api_compat import device

from infogeo._array import bad_value, gate, matched
from infogeo._docs import finish
from infogeo._names import numbered
from infogeo.maxent._arguments import (
    BOUND,
    FEATURES,
    LOG_BASE,
    OF_FEATURES,
    PENALTY,
    UNREAD_FEATURES,
    broadcast,
    check_controls,
    check_exclusive,
    check_sizes,
    roundoff_of,
    to_host,
)
from infogeo.maxent._dual.diagnosis import solve_error
from infogeo.maxent._dual.nearest import nearest_expectations
from infogeo.maxent._dual.problem import EPS, Controls, Problem
from infogeo.maxent._dual.projection import Projection
from infogeo.maxent._dual.sparse import check_sparse
from infogeo.maxent._dual.stack import solve_all, stack
from infogeo.maxent._gradients import attach, met_bounds, wants_gradient
from infogeo.maxent._wording import names_of
from infogeo.typing import Array


def c_maximize(
    features: Any,
    targets: Array = 0.0,
    *,
    log_base: Array | None = None,
    lower: Array | None = None,
    upper: Array | None = None,
    penalty: Array | None = None,
    initial_theta: Array | None = None,
    callback: Callable[[int, float], object] | None = None,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Projection:
    r"""Find the distribution of given expectations that maximises H(p) + E_p[C].

    .. math:: p^* = \arg\max \{ H(p) + E_p[C] : E_p[F_i] = b_i \} = \exp(C + \theta' F - \psi)

    The same p* is nearest to exp(C) in relative entropy: min KL(p, exp(C) / sum exp(C)).

    Parameters
    ----------
    features : array, shape (..., m, c), or scipy.sparse array, shape (m, c)
        F: one row of c values for each of the m constraints. Redundant rows, constant rows and
        more rows than outcomes are ordinary cases. Sparse features are for c up to millions and m
        up to thousands.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features. They are taken
        as known to the rounding of their dtype.
    log_base : array, shape (..., c), optional
        C: the logarithm of a prior or of a reference measure, normalised or not; -inf rules an
        outcome out. Default 0: maximum entropy.
    lower, upper : float or array, shape (..., m), optional
        Bounds on E_p[F] in the place of targets, -inf or inf where there is none. A feature whose
        bounds are equal has a target.
    penalty : float or array, shape (..., m), optional
        Let the expectations miss the targets at this price, rho: the maximum is of
        H(p) + E_p[C] - sum of rho_i (E_p[F_i] - b_i)^2 / 2. Its dual has theta_i^2 / (2 rho_i)
        added, and E_p[F_i] = b_i - theta_i / rho_i at the optimum. Positive, in nats per squared
        unit of the feature.
    initial_theta : array, shape (..., m), optional
        Natural parameters to start from, of a similar problem. They are used if they are better
        than 0.
    callback : callable, optional
        Called as ``callback(step, decrement)`` in every Newton step, with the Newton decrement (of
        a batch the largest), which falls to 0.
    tol : float
        Stop when the certified error of every log-probability is below this, or when the rounding
        of the data allows no better; `error_bound` says what was reached.
    max_steps : int
    throw : bool
    check : bool

    Returns
    -------
    Projection
        Probabilities, natural parameters, and the numbers that prove them. Leading axes are a
        batch: members that need no special care are solved together, ``member_status`` says how
        each of them ended. Tensors are solved in float64 on the host.

    Raises
    ------
    TypeError, ValueError
        Shapes that do not fit together; values that are not finite.
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

    An optimum on the boundary, where some outcomes get probability 0 (a die of mean 6), is found by
    facial reduction: an eta with eta'(F_y - b) >= 0 for every outcome leaves no mass where it is
    positive, and the problem is solved, and certified, on the outcomes that remain. The status is
    BOUNDARY, `support` is exact, p is exactly 0 off it, ``direction`` is eta, and theta, rank and
    the bound are those of the face: in the whole family theta is only the limit of a direction.
    Whether the targets lie on the face is decided to their rounding, so that masses below about
    1e-13 (float64) cannot be told from 0: what is neither certified nor within rounding of a face
    ends as UNDECIDED.

    For tensors that require a gradient, probabilities, their logarithms, theta, log_partition,
    value and entropy are differentiable with respect to targets (or the bounds that are met),
    log_base and features, by the implicit function theorem. On a face these are the derivatives
    within the face. The outcomes off it do not move. Where features are linearly dependent, they
    are the derivatives along targets that stay consistent.

    Bounds are decided by Newton's method on the dual, whose steps say which of them are met; these
    are then targets of the certified solve.

    Large problems (from 4096 outcomes and 100,000 numbers on) are approached from the optimum of a
    sample of the outcomes, and the Hessian of all outcomes is formed once. That of dense features
    is in single precision, whose rounding is part of the bound; the gradient that the bound rests
    on is in double precision, and S is bounded by the longest row and the smallest eigenvalue.
    What this does not certify is solved with a Hessian in every step.

    The Newton steps of sparse features are found by conjugate gradients, and the m x m covariance
    is formed once, for the same proof with a larger S: the bound is weaker by about the root of the
    entries in a column. Faces are found and proved as for dense features. What stays undecided is
    solved again with dense features if m c is at most two million. theta need not be of minimum
    norm.

    If the features are linearly dependent, theta is the one of minimum norm among those that give
    p*. A feature that others determine up to the rounding of the entries counts as determined by
    them; whole numbers count as exact. Where a feature is neither that nor clearly independent, the
    solve ends as UNDECIDED.

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
    check_controls(tol, max_steps)
    check_exclusive(targets, lower, upper, penalty)
    sparse = None
    if scipy.sparse.issparse(features):
        sparse, features = check_sparse(features, check), np.broadcast_to(0.0, features.shape)
    given = {
        "features": (UNREAD_FEATURES, features),  # `check_sizes` looks at them
        "targets": (OF_FEATURES, targets),
        "log_base": (LOG_BASE, 0.0 if log_base is None else log_base),
    }
    if lower is not None or upper is not None:
        given["lower"] = (BOUND, -math.inf if lower is None else lower)
        given["upper"] = (BOUND, math.inf if upper is None else upper)
    if penalty is not None:
        given["penalty"] = (PENALTY, penalty)
    if initial_theta is not None:
        given["initial_theta"] = (OF_FEATURES, initial_theta)
    controls = Controls(tol, max_steps, callback)
    names = names_of(**given)
    return _maximize(_by_name(given), names, sparse, controls, throw, check)


def _maximize(given, names, sparse, controls, throw, check, *, noise=None):
    """Solve the problem of arguments by name, with their rules, as `c_maximize` does.

    `names` are those of features and outcomes. `noise`, (..., m), says how far the targets may be
    off beyond the rounding of their dtype.
    """
    xp, *arrays = gate(check, **given)
    tensors = dict(zip(given, arrays, strict=True))
    host = {name: to_host(name, x) for name, x in tensors.items()}
    F, b, C = (tensors[name] for name in ("features", "targets", "log_base"))
    roundoff = max(roundoff_of(F), roundoff_of(b), roundoff_of(given["targets"][1]))
    F_host, C_host, b_host, low, high, weights, start = broadcast(
        host["features"],
        host["log_base"],
        targets=host["targets"],
        lower=host.get("lower"),
        upper=host.get("upper"),
        penalty=host.get("penalty"),
        initial_theta=host.get("initial_theta"),
    )
    if low is not None and not (low <= high).all():
        raise bad_value("lower", "be at most upper", f"by {(low - high).max():.6g} it is above")
    problem = Problem(F_host, b_host, C_host, roundoff, start, weights, noise)
    check_sizes(problem if sparse is None else replace(problem, features=sparse), check)
    solutions = solve_all(problem, controls, low, high, sparse)
    result = stack(solutions, F_host.shape, F, xp)
    if wants_gradient(arrays):
        if wants_gradient([tensors.get("penalty")]):
            raise ValueError("penalty has no gradient: pass penalty.detach().")
        if low is not None:
            b = met_bounds(result, tensors["lower"], tensors["upper"])
        result = attach(result, solutions, F, b, C, weights)
    if throw and not result.status.is_solution:
        raise solve_error(solutions, result, names)
    return result


def _by_name(given):
    """Return the arguments in one order of names; features without names are numbered from 0."""
    (rule, features), *others = given.values()
    features = numbered(("features", "outcomes"), features, *(value for _, value in others))
    values = matched(**given | {"features": (rule, features)})
    return {name: (given[name][0], value) for name, value in zip(given, values, strict=True)}


def max_entropy(
    features: Any,
    targets: Array = 0.0,
    *,
    lower: Array | None = None,
    upper: Array | None = None,
    penalty: Array | None = None,
    initial_theta: Array | None = None,
    callback: Callable[[int, float], object] | None = None,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Projection:
    r"""Find the distribution of maximum entropy among those with given expectations.

    .. math:: p^* = \arg\max \{ H(p) : E_p[F_i] = b_i \}

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features.
    lower, upper : float or array, shape (..., m), optional
        Bounds on the expectations in the place of targets.
    penalty : float or array, shape (..., m), optional
        The price of a squared violation of the targets, if they may be missed.
    initial_theta : array, shape (..., m), optional
        Natural parameters to start from.
    callback : callable, optional
        Called as ``callback(step, decrement)`` in every Newton step.
    tol : float
    max_steps : int
    throw : bool
        Whether an unsuccessful solve raises.
    check : bool

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
    return c_maximize(
        features,
        targets,
        lower=lower,
        upper=upper,
        penalty=penalty,
        initial_theta=initial_theta,
        callback=callback,
        tol=tol,
        max_steps=max_steps,
        throw=throw,
        check=check,
    )


def least_violation(
    features: Any,
    targets: Array = 0.0,
    *,
    log_base: Array | None = None,
    tol: float = 1e-10,
    max_steps: int = 100,
    throw: bool = True,
    check: bool = True,
) -> Projection:
    r"""Find the C-maximal distribution among those that violate the constraints the least.

    .. math:: p^* = \arg\max \{ H(p) + E_p[C] : E_p[F] = z \}, \quad
        z = \arg\min_{E_p[F]} \textstyle\sum_i (E_p[F_i] - b_i)^2 / s_i^2

    z is the point nearest to the targets that some distribution has as its expectations, in units
    s_i: the difference of the largest and the smallest value of feature i.

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints.
    targets : float or array, shape (..., m)
        b: the expectations that p* should have, in the units of the features.
    log_base : array, shape (..., c), optional
        C; -inf rules an outcome out. Default 0: maximum entropy.
    tol : float
    max_steps : int
    throw : bool
        Whether an unsuccessful solve raises.
    check : bool

    Returns
    -------
    Projection
        As `c_maximize` for the expectations z; ``residual`` is the largest violation of the targets
        as they were given. Targets that can be met are met.

    Raises
    ------
    TypeError, ValueError, SolveError
        As `c_maximize`, but for targets that no distribution has.

    Notes
    -----
    z is the nearest point of a polytope, by non-negative least squares on the outcomes. Targets out
    of reach of independent features have it on the boundary: p* is exactly 0 off a face.

    References
    ----------
    P. Wolfe, Finding the nearest point in a polytope, Math. Programming 11, 1976.

    Examples
    --------
    A mean of 2 and a second moment of 3 would make a negative variance:

    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> nearest = least_violation([x, x**2], [2.0, 3.0])
    >>> nearest.support
    array([False,  True,  True, False])
    """
    base = 0.0 if log_base is None else log_base
    given = {
        "features": (FEATURES, features),
        "targets": (OF_FEATURES, targets),
        "log_base": (LOG_BASE, base),
    }
    names = names_of(**given)
    xp, F, b, C = gate(check, **_by_name(given))
    host, log_base_host, goals = broadcast(
        to_host("features", F), to_host("log_base", C), targets=to_host("targets", b)
    )
    check_controls(tol, max_steps)
    reached = nearest_expectations(host, goals, ~np.isneginf(log_base_host))
    # The nearest point is a sum over outcomes, and known to the rounding of that.
    noise = 4.0 * EPS * np.abs(host).max(axis=-1)
    where = {"dtype": F.dtype, "device": device(F)}
    given = {
        "features": (FEATURES, F),
        "targets": (OF_FEATURES, xp.asarray(reached, **where)),
        "log_base": (LOG_BASE, C),
    }
    found = _maximize(given, names, None, Controls(tol, max_steps), throw, False, noise=noise)
    violation = np.abs((host @ to_host("", found.probabilities)[..., None])[..., 0] - goals)
    residual = xp.asarray(violation.max(axis=-1), **where)
    return replace(found, residual=residual if residual.ndim else residual[()])


finish(
    globals(),
    {
        "check : bool": (
            "Verify that the values are finite. Shapes and dtypes are always verified."
        ),
    },
)
