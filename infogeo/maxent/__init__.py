r"""The distribution that expectations single out: C-maximisation, with proofs.

Given features F, targets b and a base C, `c_maximize` finds the point p* where the mixture family
:math:`\{p : E_p[F_i] = b_i\}` meets the exponential family :math:`p \propto \exp(C + \theta' F)`.
It returns a certified error of every log-probability, or a vector that proves that no
distribution satisfies the constraints. Logs are natural, outcomes lie along the last axis.
"""

from infogeo._array import REAL, gate
from infogeo.maxent._arguments import LOG_BASE, broadcast, check_controls, roundoff_of, to_host
from infogeo.maxent._diagnosis import solve_error
from infogeo.maxent._frequencies import FrequencyMatch, match_frequencies
from infogeo.maxent._gradients import attach, wants_gradient
from infogeo.maxent._stack import solve_all, stack

__all__ = ["FrequencyMatch", "c_maximize", "match_frequencies", "max_entropy"]


def c_maximize(
    features, targets=0.0, *, log_base=None, tol=1e-10, max_steps=100, throw=True, check=True
):
    r"""Distribution that maximises H(p) + E_p[C] among those with given expectations.

    .. math:: p^* = \arg\max \{ H(p) + E_p[C] : E_p[F_i] = b_i \} = \exp(C + \theta' F - \psi)

    The same p* is nearest to exp(C) in relative entropy: min KL(p, exp(C) / sum exp(C)).

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints. Redundant rows, constant rows and
        more rows than outcomes are ordinary cases.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features. They are taken
        as known to the rounding of their dtype.
    log_base : array, shape (..., c), optional
        C: the logarithm of a prior or of a reference measure, normalised or not; -inf rules an
        outcome out. Default 0: maximum entropy.
    tol : float
        Stop when the certified error of every log-probability is below this, or when the rounding
        of the data allows no better; `error_bound` says what was reached.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises. If not, see `status`.
    check : bool
        Verify that the values are finite. Shapes and dtypes are always verified.

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

    For tensors that require a gradient, probabilities, theta, log_partition, value and entropy are
    differentiable with respect to targets, log_base and features, by the implicit function
    theorem. On a face these are the derivatives within the face. The outcomes off it do not move.
    Where features are linearly dependent, they are the derivatives along targets that stay
    consistent.

    If the features are linearly dependent, theta is the one of minimum norm among those that give
    p*.

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
    base = 0.0 if log_base is None else log_base
    xp, F, b, C = gate(
        check, features=(REAL, features), targets=(REAL, targets), log_base=(LOG_BASE, base)
    )
    check_controls(tol, max_steps)
    roundoff = max(roundoff_of(F), roundoff_of(b), roundoff_of(targets))
    F_host, b_host, C_host = broadcast(
        to_host("features", F), to_host("targets", b), to_host("log_base", C)
    )
    solutions = solve_all(F_host, b_host, C_host, roundoff, tol, max_steps)
    result = stack(solutions, F_host.shape, F, xp)
    if wants_gradient((F, b, C)):
        result = attach(result, solutions, F, b, C)
    if throw and not result.status.is_solution:
        raise solve_error(solutions, result)
    return result


def max_entropy(features, targets, *, tol=1e-10, max_steps=100, throw=True, check=True):
    r"""Distribution of maximum entropy among those with given expectations.

    .. math:: p^* = \arg\max \{ H(p) : E_p[F_i] = b_i \}

    Parameters
    ----------
    features : array, shape (..., m, c)
        F: one row of c values for each of the m constraints.
    targets : float or array, shape (..., m)
        b: the expectations that p* has to have, in the units of the features.
    tol : float
        As in `c_maximize`.
    max_steps : int
        The most Newton steps.
    throw : bool
        Whether an unsuccessful solve raises.
    check : bool
        Verify that the values are finite. Shapes and dtypes are always verified.

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
    return c_maximize(features, targets, tol=tol, max_steps=max_steps, throw=throw, check=check)
