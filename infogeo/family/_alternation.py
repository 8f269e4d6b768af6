"""EM as alternating projections between an exponential and a mixture family."""

from __future__ import annotations

import math
from dataclasses import dataclass

from array_api_compat import array_namespace

from infogeo import _array, simplex
from infogeo._array import (
    Array,
    bad_value,
)
from infogeo._result import Result
from infogeo._status import SolveError, Status
from infogeo._system.registry import storable
from infogeo.family._exponential import ExponentialFamily
from infogeo.family._held import (
    require_family,
)
from infogeo.family._mixture import MixtureFamily
from infogeo.family._projections import e_projection, m_projection
from infogeo.maxent._arguments import check_controls


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
    require_family("E", E, ExponentialFamily)
    require_family("M", M, MixtureFamily)
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
