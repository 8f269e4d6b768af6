"""Mixture families: membership, dimension, and the member of largest entropy."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, maxent
from infogeo._array import (
    PROBABILITIES,
    Array,
    gate,
)
from infogeo._names import numbered
from infogeo._result import Result
from infogeo._status import SolveError
from infogeo._system.registry import storable
from infogeo.family._arrays import (
    as_integer,
    as_like,
    complement_of,
    decompose,
    expectation_of,
    failed_members,
    normalised,
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
        is_weak = is_list_or_number(self.features) and is_list_or_number(self.targets)
        features = numbered(("features", "outcomes"), self.features, self.targets)
        given = {"features": (FEATURES, features), "targets": (OF_FEATURES, self.targets)}
        xp, F, b = gate(self.check, **given)
        check_features(F)
        if len(b.shape) == 0:
            b = b + xp.zeros_like(F[..., 0])
        check_last_axis("targets", b, F.shape[-2], "feature")
        check_batches(features=F.shape[:-2], targets=b.shape[:-1])
        names = _array.names_along(**given)
        hold(self, features=F, targets=b, _is_weak=is_weak, _names=names)

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
        host = points_on_host(P)
        has_outcome = (host > 0.0).any(axis=0)
        seen = host[:, has_outcome]
        centre = seen.mean(axis=0)
        complement = complement_of(principal_rows(seen - centre, roundoff_of(P, xp) * seen))
        excluded = np.eye(host.shape[1])[~has_outcome]
        num_rows = len(excluded) + len(complement)
        features = np.zeros((max(1, num_rows), host.shape[1]))
        features[: len(excluded)] = excluded
        features[len(excluded) : num_rows, has_outcome] = complement
        targets = np.zeros(len(features))
        targets[len(excluded) : num_rows] = complement @ centre
        return cls(as_like(features, P, xp), as_like(targets, P, xp), check=check)

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
        support = to_host("support", self.center.support) > 0.0
        roundoff = roundoff_of(self.features, array_namespace(self.features))
        rank = decompose(to_host("features", self.features), support, roundoff).rank
        return as_integer(np.where(is_empty, -1, support.sum(axis=-1) - 1 - rank), self.features)

    @cached_property
    def _emptiness(self) -> np.ndarray:
        """Bool array on the host, of the shape of the batch."""
        found = self.center
        bound = to_host("error_bound", found.error_bound)
        is_empty = np.zeros(bound.shape, dtype=bool)
        if found.certificate is not None:
            is_empty |= ~np.isnan(to_host("certificate", found.certificate)).any(axis=-1)
        is_open = ~(is_empty | np.isfinite(bound))
        if is_open.any() and not found.status.is_solution:
            which = "" if is_open.ndim == 0 else f" for {int(is_open.sum())} of {is_open.size}"
            raise SolveError(
                f"Whether the family is empty is not known{which}: {found.status.value}. The "
                "targets lie very near the edge of what the features allow; see center.",
                found,
                failed_members(is_open),
            )
        return is_empty

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
        xp, F, b, p = gated(self, p=(PROBABILITIES, p))
        return expectation_of(normalised(p, xp), F - b[..., None], xp)

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
        xp, F, b, p = gated(self, p=(PROBABILITIES, p))
        above = F - b[..., None]
        size = xp.max(xp.abs(above), axis=-1)
        violation = xp.abs(expectation_of(normalised(p, xp), above, xp))
        return xp.all(violation <= checked_tolerance(tol, p, xp) * size, axis=-1)
