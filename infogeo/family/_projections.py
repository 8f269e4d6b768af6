"""The m- and the e-projection, and where an exponential family meets a mixture family."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from infogeo import _array, maxent
from infogeo._array import (
    PROBABILITIES,
    Array,
    Namespace,
    bad_value,
    gate,
)
from infogeo._names import Named
from infogeo.family._arrays import (
    Span,
    as_like,
    combined,
    decompose,
    expectation_of,
    normalised,
    roundoff_of,
    to_host,
)
from infogeo.family._exponential import ExponentialFamily
from infogeo.family._held import (
    HELD,
    RULES_HELD,
    check_batches,
    check_last_axis,
    gated,
    held_by,
    require_family,
)
from infogeo.family._mixture import MixtureFamily
from infogeo.maxent import Projection


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
    require_family("E", E, ExponentialFamily)
    xp, F, C, p = gated(E, p=(PROBABILITIES, p))
    p = normalised(p, xp)
    outside = xp.any((p > 0.0) & ~xp.isfinite(C), axis=-1)
    if E.check and _array.is_readable(outside) and bool(xp.any(outside)):
        raise bad_value(
            "p",
            "be 0 where the members of E are",
            "it is positive where log_base is -inf, and KL(p, q) is infinite for every member q",
        )
    return maxent.c_maximize(F, expectation_of(p, F, xp), log_base=C, check=False)


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
    require_family("M", M, MixtureFamily)
    xp, F, b, q = gated(M, q=(PROBABILITIES, q))
    C = _array.safe_log(normalised(q, xp), xp)
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
    require_family("E", E, ExponentialFamily)
    require_family("M", M, MixtureFamily)
    of_E = held_by(E, {"M": (HELD, M.features)})
    of_M = held_by(M, {"E": (HELD, E.features)})
    of_M = {f"{name} of M": _with_names_of_m(value) for name, (_, value) in of_M.items()}
    of_M = {name: (RULES_HELD[name], value) for name, value in of_M.items()}
    xp, F, C, F_M, b = gate(True, **of_E, **of_M)
    check_last_axis("features of M", F_M, F.shape[-1], "outcome")
    check_batches(E=F.shape[:-2], log_base=C.shape[:-1], M=F_M.shape[:-2], targets=b.shape[:-1])
    if F_M is F or (F.shape == F_M.shape and bool(xp.all(F == F_M))):
        return maxent.c_maximize(F, b, log_base=C, check=False)
    span = _common_span(F, F_M, C, xp)
    found = maxent.c_maximize(F_M, b, log_base=C, check=False)
    return _in_other_features(found, F, F_M, C, span, xp)


def _with_names_of_m(held: Any) -> Any:
    """Return what M holds, with its features under names of their own: E may name others."""
    if not isinstance(held, Named):
        return held
    names = {f"{key} of M" if key == "features" else key: x for key, x in held.names.items()}
    return Named(held.array, names)


def _common_span(F: Array, F_M: Array, C: Array, xp: Namespace) -> Span:
    """Return the decomposition of F; raise unless F spans what F_M does, up to constants."""
    first, second = to_host("features", F), to_host("features", F_M)
    allowed, roundoff = to_host("log_base", C) > -math.inf, roundoff_of(F, xp)
    batch = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    first, second = (np.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (first, second))
    spans = [
        decompose(x, allowed, roundoff)
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
    found: Projection, F: Array, F_M: Array, C: Array, span: Span, xp: Namespace
) -> Projection:
    """Return the projection with theta for the features F in the place of F_M."""
    allowed = xp.isfinite(C)
    tilt = combined(found.theta, F_M, xp)
    tilt = xp.where(allowed, tilt, xp.zeros_like(tilt))
    theta = expectation_of(tilt, as_like(span.inverse @ span.rows, tilt, xp), xp)
    change = xp.where(allowed, combined(theta, F, xp) - tilt, xp.zeros_like(tilt))
    count = xp.sum(xp.astype(allowed, tilt.dtype), axis=-1)
    log_partition = found.log_partition + xp.sum(change, axis=-1) / count
    return replace(found, theta=theta, log_partition=log_partition)
