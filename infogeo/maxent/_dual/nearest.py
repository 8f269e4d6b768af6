"""The expectations nearest to targets out of reach."""

import numpy as np
import scipy.optimize

from infogeo._status import SolveError


def nearest_expectations(F, b, allowed):
    """Return the point of the convex hull of the F_y nearest to b, for each member of a batch.

    Parameters
    ----------
    F, b, allowed : arrays of shapes (..., m, c), (..., m), (..., c)
        Features, targets, and which outcomes count.

    Returns
    -------
    array, shape (..., m)
        Nearest in units of the range of each feature.
    """
    nearest = np.empty(b.shape)
    for k in np.ndindex(b.shape[:-1]):
        inside = F[k][:, allowed[k]]
        spread = np.ptp(inside, axis=-1)
        unit = np.where(spread > 0.0, spread, 1.0)
        reached = nearest_point(inside, b[k], unit)
        if reached is not None and not is_nearest(reached, inside, b[k], unit):
            raise SolveError(
                "the expectations nearest to the targets were not found: non-negative least "
                f"squares of scipy {scipy.__version__} found others. Another release may do.",
                None,
            )
        nearest[k] = b[k] if reached is None else np.where(spread > 0.0, reached, inside[:, 0])
    return nearest


def nearest_point(F, b, unit):
    """Return the point of the convex hull of the F_y nearest to b in some units; None if it is b.

    F, b, unit : arrays of shapes (m, c), (m,), (m,)
    """
    above = (F - b[:, None]) / unit[:, None]
    # The least of |above u|^2 + (sum u - 1)^2 over u >= 0 is along the nearest point.
    system = np.vstack([above, np.ones(F.shape[1])])
    u, _ = scipy.optimize.nnls(system, np.append(np.zeros(b.size), 1.0))
    u[u <= 1e-13 * u.max()] = 0.0  # rounding: a vertex is to be met exactly
    reached = F @ (u / u.sum())
    violation = (reached - b) / unit
    is_met = np.linalg.norm(violation) <= 1e-12 * (1.0 + np.linalg.norm(b / unit))
    return None if is_met else reached


def is_nearest(reached, F, b, unit):
    """Whether no F_y is on the near side of the plane through the point across the violation."""
    above = (F - b[:, None]) / unit[:, None]
    violation = (reached - b) / unit
    length = np.linalg.norm(violation)
    size = np.linalg.norm(above, axis=0).max()
    behind = violation @ above - length**2
    return bool(behind.min() >= -(1e-9 * length + 1e-13 * size) * size)
