"""The arguments: what they have to be, and how they become float64 arrays of one batch."""

import math
import sys
from dataclasses import replace

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj, is_dask_array

from infogeo._array import POSITIVE, REAL, Rule, along, bad_value, is_readable
from infogeo.maxent._wording import Message, features


def _is_log_base(C, coarseness):
    return float(C.min()) > -math.inf and float(C.max()) < math.inf


def _explain_log_base(name, C, coarseness):
    rule = "be finite, or -inf for an outcome that is ruled out"
    if (np.isnan(C) | np.isposinf(C)).any():
        raise bad_value(name, rule, "it has NaN or +inf entries")
    if np.isneginf(C).all(-1).any():
        raise bad_value(name, rule, "all outcomes are ruled out")


FEATURES = along(REAL, "features", "outcomes")
# A stand-in of the shape of sparse features, which are looked at elsewhere, has no values to read.
UNREAD_FEATURES = replace(FEATURES, is_plausible=lambda x, coarseness: True)
OF_FEATURES = along(REAL, "features")
LOG_BASE = along(Rule("", _is_log_base, _explain_log_base), "outcomes")


def _is_bound(x, coarseness):
    return not bool((x != x).any())


def _explain_bound(name, x, coarseness):
    raise bad_value(name, "hold numbers, or -inf or inf for no bound", "it has NaN entries")


BOUND = along(Rule("", _is_bound, _explain_bound), "features")
PENALTY = along(POSITIVE, "features")


def check_exclusive(targets, lower, upper, penalty):
    """Refuse arguments that contradict each other."""
    if lower is None and upper is None:
        return
    if penalty is not None:
        raise ValueError(
            "penalty must not be given with lower or upper: a penalty relaxes targets, bounds "
            "replace them. Give one of the two."
        )
    if not (isinstance(targets, int | float) and targets == 0.0):
        raise ValueError(
            "targets must not be given with lower or upper, which take their place. For a feature "
            "with a target give it as both bounds."
        )


def check_controls(tol, max_steps):
    if not (isinstance(tol, int | float | np.number) and 0.0 < tol < math.inf):
        raise bad_value("tol", "be a positive number", f"got {tol!r}")
    if isinstance(max_steps, bool) or not isinstance(max_steps, int | np.integer) or max_steps < 1:
        raise bad_value("max_steps", "be a positive integer", f"got {max_steps!r}")


def check_sizes(problem, check):
    """Refuse features that are not finite, or whose differences or reciprocals may overflow."""
    low, high = problem.ranges
    if check and not (np.isfinite(low) & np.isfinite(high)).all():
        FEATURES.explain("features", problem.features, 0.0)
    size = np.maximum(np.maximum(np.abs(low), np.abs(high)), np.abs(problem.targets))
    wrong = (size > _LARGEST) | ((size < _SMALLEST) & (size > 0.0))
    if check and wrong.any():
        index = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise bad_value(
            "features",
            f"be of sizes between {_SMALLEST:g} and {_LARGEST:g}, with their targets",
            Message(f"that of {{}} is {size[index]:.6g}", (features(index[-1:]),)),
            "Use other units for it and its target.",
        )


_SMALLEST, _LARGEST = 1e-304, 1e306


def roundoff_of(x):
    """Return the relative rounding error that x may carry from its dtype; 0 if it has none."""
    if not is_array_api_obj(x):
        return 0.0
    xp = array_namespace(x)
    return float(xp.finfo(x.dtype).eps) if xp.isdtype(x.dtype, "real floating") else 0.0


def to_host(name, x):
    """Return the values as float64 numpy: the solve is a sequence of decisions on them."""
    if not (is_readable(x) or is_dask_array(x)):
        raise TypeError(
            f"{name} must have values that can be read: the solve does not run inside jax.jit, "
            "torch.func or torch.compile. Call it outside."
        )
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(x, torch.Tensor):
        x = x.detach().cpu().numpy()
    return np.asarray(x).astype(np.float64, copy=False)


def broadcast(F, C, **of_features):
    """Check the shapes against each other; return the arrays with the same batch axes.

    The last are those with one entry for each feature, or None.
    """
    rule = "have shape (..., m, c), one row of c outcome values for each of m features"
    if F.ndim < 2:
        advice = "Write features[None, :] for a single feature." if F.ndim else ""
        raise bad_value("features", rule, f"got shape {F.shape}", advice)
    num_features, num_outcomes = F.shape[-2:]
    if num_features == 0 or num_outcomes == 0:
        raise bad_value("features", rule, f"got shape {F.shape}, which is empty")
    for name, x in of_features.items():
        if x is not None and x.ndim and x.shape[-1] != num_features:
            raise bad_value(
                name,
                "be a number or have one entry for each feature in the last axis",
                f"features has {num_features} (shape {F.shape}) and {name} has shape {x.shape}",
            )
    if C.ndim and C.shape[-1] != num_outcomes:
        raise bad_value(
            "log_base",
            "have one entry for each outcome in the last axis",
            f"features has {num_outcomes} (shape {F.shape}) and log_base has shape {C.shape}",
        )
    shapes = {"features": F.shape[:-2], "log_base": C.shape[:-1]}
    shapes |= {name: x.shape[:-1] for name, x in of_features.items() if x is not None}
    try:
        batch = np.broadcast_shapes(*shapes.values())
    except ValueError:
        seen = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(
            f"{', '.join(shapes)} must have leading axes that broadcast: they are {seen}."
        ) from None
    F = np.broadcast_to(F, (*batch, num_features, num_outcomes))
    others = (
        None if x is None else np.broadcast_to(x, (*batch, num_features))
        for x in of_features.values()
    )
    return F, np.broadcast_to(C, (*batch, num_outcomes)), *others
