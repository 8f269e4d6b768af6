"""Results of a batch, in arrays of the user's library."""

import numpy as np
from array_api_compat import device

from infogeo._result import Projection, Status

_SEVERITY = (
    Status.CONVERGED,
    Status.BOUNDARY,
    Status.MAX_STEPS,
    Status.UNDECIDED,
    Status.INFEASIBLE,
)


def stack(solutions, shape, like, xp):
    """Collect the solutions of a batch in arrays of the user's library, dtype and device."""
    *batch, num_features, num_outcomes = shape

    def collect(values, *axes, dtype=like.dtype):
        values = np.asarray(values).reshape((*batch, *axes))
        with np.errstate(over="ignore"):
            array = xp.asarray(values, dtype=dtype, device=device(like))
        return array if values.ndim else array[()]

    def scalars(name, **options):
        return collect([getattr(solution, name) for solution in solutions], **options)

    # The bound is on the probabilities as they are returned.
    cast = float(xp.finfo(like.dtype).eps) if xp.finfo(like.dtype).bits < 64 else 0.0

    def vectors(name):
        values = [getattr(solution, name) for solution in solutions]
        if all(value is None for value in values):
            return None
        none = np.full(num_features, np.nan)
        return collect([none if value is None else value for value in values], num_features)

    statuses = np.empty(len(solutions), dtype=object)
    statuses[:] = [solution.status for solution in solutions]
    return Projection(
        probabilities=collect([s.probabilities for s in solutions], num_outcomes),
        theta=collect([s.theta for s in solutions], num_features),
        log_partition=scalars("log_partition"),
        value=scalars("value"),
        entropy=scalars("entropy"),
        residual=scalars("residual"),
        error_bound=collect([s.error_bound + cast for s in solutions]),
        dual_gap=scalars("dual_gap"),
        status=max((s.status for s in solutions), key=_SEVERITY.index, default=Status.CONVERGED),
        support=collect([s.support for s in solutions], num_outcomes, dtype=xp.bool),
        rank=scalars("rank", dtype=None),
        steps=scalars("steps", dtype=None),
        certificate=vectors("certificate"),
        direction=vectors("direction"),
        member_status=statuses.reshape(batch),
    )
