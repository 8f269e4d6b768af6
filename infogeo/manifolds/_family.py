"""What families of distributions have in common, beside their geometry.

A class of points derives from `Family`, which fits them to samples. Its constants (see
`infogeo._points`) are fields like the others, and no coordinates: functions here take points apart
into parameters and constants, and put them together again.
"""

import importlib
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Self, final

import numpy as np
from array_api_compat import array_namespace

from infogeo import _array, _divergence, _names, _points, _spaces
from infogeo._array import Array, Namespace, bad_value
from infogeo._blocks import entry_by_entry
from infogeo._docs import finish
from infogeo._points import Points
from infogeo.manifolds._special import binet

Estimate = Callable[..., tuple[Array, ...]]

# What only exponential families have.
OF_EXPONENTIAL_FAMILIES = (
    *("e_geodesic", "m_geodesic", "e_transport", "m_transport", "e_mean", "m_mean"),
    *("natural_parameters", "expectation_parameters"),
)
# Why most families have no `connect`.
NO_SOLVE = {"connect": "fisher_rao_distance and log_map know the geodesic to the roundoff."}


class Family(Points):
    """A batch of distributions of a family that samples can be fitted with."""

    @classmethod
    @final
    def fit(cls, samples: Any, labels: Any = None, *, check: bool = True, **constants: Any) -> Self:
        """Fit distributions to samples by maximum likelihood, one for each class.

        Parameters
        ----------
        samples : array, shape (n,) or (n, num_components)
            One sample per row; the components are independent.
        labels : array or list, shape (n,), or None
            Numbers or strings: the class of each sample. None: all samples are of one class. A
            series and samples in a frame are matched by the names of their rows.
        check : bool
        **constants : float
            What the family holds fixed, by name: ``total_count``, ``df``.

        Returns
        -------
        point
            Of shape () or (num_components,). With labels one such distribution for each class,
            along a new first axis, in the order of ``numpy.unique(labels)``.

        Raises
        ------
        TypeError, ValueError
            Samples that no distribution of the family has; samples whose likelihood has no maximum
            inside the family, as equal ones have none in a family of scales; constants that are
            missing.

        Examples
        --------
        >>> from infogeo.manifolds import Exponential
        >>> Exponential.fit([1.0, 3.0, 2.0, 6.0], labels=["a", "a", "b", "b"]).rate
        array([0.5 , 0.25])
        """
        space = sys.modules[cls.__module__].SPACE
        missing, unknown = (
            sorted(set(x) - set(y))
            for x, y in ((cls.constants, constants), (constants, cls.constants))
        )
        if missing or unknown:
            raise TypeError(
                f"{cls.__name__}.fit must be told {', '.join(cls.constants) or 'no constants'}: "
                f"got {', '.join(constants) or 'none'}."
            )
        known = {name: (cls.rules[name], value) for name, value in constants.items()}
        given, (xp, samples, *values) = (
            samples,
            _array.gate(check, samples=(space.SAMPLES, samples), **known),
        )
        if samples.ndim not in (1, 2) or samples.shape[0] == 0:
            raise bad_value(
                "samples",
                "have shape (n,) or (n, num_components)",
                f"got shape {tuple(samples.shape)}",
            )

        def fit_rows(name: str, rows: Any) -> tuple[Array, ...]:
            chosen = samples
            if rows is not None:
                index = xp.asarray(rows, device=_array.device_of(samples))
                chosen = xp.take(samples, index, axis=0)
            with np.errstate(all="ignore"):
                found = space.estimate(chosen, xp, *values)
            if check:
                _require_inside(name, cls, found)
            fields = dict(zip(parameters_of(cls), found, strict=True))
            fields |= dict(zip(cls.constants, values, strict=True))
            made = _points.make(cls, *(fields[field] for field in cls.rules), xp=xp)
            return tuple(_points.fields(made))

        return _points.fit(cls, given, labels, tuple(samples.shape), fit_rows, xp)


def _require_inside(name: str, cls: type[Points], found: tuple[Array, ...]) -> None:
    """Raise unless the parameters that samples led to are those of a distribution."""
    for field, value in zip(parameters_of(cls), found, strict=True):
        try:
            _array.gate(True, **{field: (cls.rules[field], value)})
        except ValueError:
            host = np.asarray(_array.on_host(value))
            worst = np.ravel(host)[np.argmin(np.ravel(np.where(host > 0.0, np.inf, host)))]
            raise bad_value(
                name,
                f"have a distribution of {cls.__name__} that is the most likely one",
                f"their likelihood grows without end or towards the edge: {field} {worst:.6g}",
                "Do they vary? Leave out components that do not.",
            ) from None


# ---------------------------------------------------------------- points in parts


def parameters_of(kind: Any) -> tuple[str, ...]:
    """Return the fields of a class of points that are coordinates."""
    return tuple(field for field in kind.rules if field not in kind.constants)


def _parted(kind: Any, arrays: Any) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
    """Return parameters and constants."""
    fields = dict(zip(kind.rules, arrays, strict=True))
    constants = tuple(fields[name] for name in kind.constants)
    return tuple(fields[name] for name in parameters_of(kind)), constants


def gated(space: Any, check: bool, **arguments: Any) -> tuple[Any, ...]:
    """Check the arguments of a verb, which are points but for ``u`` and ``v``, and rules.

    Returns
    -------
    xp, constants, *arguments
        The namespace, the constants, and for each argument the tuple of its parameters, or its
        array if it was given with a rule.
    """
    kinds = {
        name: (space.TANGENTS if name in ("u", "v") else space.POINTS, value)
        for name, value in arguments.items()
        if not isinstance(value, tuple)
    }
    xp, *fields = _points.gate(check, **(arguments | kinds))
    constants: tuple[Array, ...] = ()
    parted = []
    for name, arrays in zip(arguments, fields, strict=True):
        if name in kinds and kinds[name][0] is space.POINTS:
            parameters, constants = _parted(space.POINTS, arrays)
            parted.append(parameters)
        else:
            parted.append(arrays)
    return (xp, constants, *parted)


def each_pair(space: Any, formula: Callable[..., Array], check: bool, a: Any, b: Any) -> Array:
    """Return formula(p, q, xp, *constants), one number for the parameters of each two points."""
    xp, constants, p, q = gated(space, check, a=a, b=b)
    n = len(p)
    made = entry_by_entry(
        lambda *arrays: formula(arrays[:n], arrays[n : 2 * n], xp, *arrays[2 * n :]),
        *p,
        *q,
        *constants,
    )
    return _array.as_number(made)


def gated_mean(
    space: Any, check: bool, points: Any, weights: Any, axis: int
) -> tuple[Namespace, tuple[Array, ...], tuple[Array, ...], Array]:
    """Check the arguments of a mean.

    Returns
    -------
    xp, constants, parameters, weights
        The constants without the axis.
    """
    xp, arrays, weights = _points.gate_mean(check, space.POINTS, points, weights, axis)
    parameters, constants = _parted(space.POINTS, arrays)
    first = (*(slice(None),) * int(axis), 0)
    return xp, tuple(x[first] for x in constants), parameters, weights


def point_of(space: Any, parameters: Any, constants: Any, xp: Namespace) -> Any:
    """Return the point of parameters and constants."""
    fields = dict(zip(parameters_of(space.POINTS), parameters, strict=True))
    fields |= dict(zip(space.POINTS.constants, constants, strict=True))
    return _points.make(space.POINTS, *(fields[name] for name in space.POINTS.rules), xp=xp)


def require_inside(is_inside: Array, check: bool, xp: Namespace) -> None:
    """Raise if a velocity leads out of the family."""
    if check and _array.is_readable(is_inside) and not bool(xp.all(is_inside)):
        raise bad_value(
            "v",
            "keep the geodesic inside the family up to time 1",
            "one leaves it before",
            "Scale v down.",
        )


def require_exponentials(logs: Array, lowest: float, xp: Namespace) -> None:
    """Raise if concentrations whose logarithms a network puts out are no numbers of float64."""
    if _array.is_readable(logs) and not bool(xp.all((logs >= lowest) & (logs <= 700.0))):
        low, high = (float(_array.on_host(x)) for x in (xp.min(logs), xp.max(logs)))
        raise bad_value(
            "model",
            f"return logarithms of concentrations between {lowest:.0f} and 700",
            f"they are between {low:.6g} and {high:.6g}",
            "The metric takes others, distances do not.",
        )


# ---------------------------------------------------------------- distributions of libraries


def to_distribution(space: Any, a: Any, check: bool) -> Any:
    """Return a distribution of torch for tensors, if it has the family, else one of scipy."""
    _, arrays = _points.gate(check, a=(space.POINTS, a))
    library = "torch.distributions" if _names.is_tensor(arrays[0]) else "scipy.stats"
    known = {k: v for k, v in space.DISTRIBUTIONS.items() if k.startswith(f"{library}.")}
    if not known:
        raise TypeError(
            f"a must be of a family that {library} has: {type(a).__name__} is none that infogeo "
            "can hand over to it. Use the fields of the point; scipy.stats has more families, for "
            "points of numpy."
        )
    name, declared = next(iter(known.items()))
    foreign = _spaces.foreign(declared)
    if library == "scipy.stats":
        arrays = tuple(x[()] for x in arrays)  # some of its distributions require scalars
    given = dict(zip(foreign.names, foreign.from_fields(*arrays), strict=True))
    shift = {key: value for key, value in foreign.neutral.items() if value != 0.0}
    make = getattr(importlib.import_module(library), name.rpartition(".")[2])
    try:
        return make(**given, **shift)
    except ValueError as error:
        if not a.shape:
            raise
        raise bad_value(
            "a",
            f"be a single point: {name} holds one distribution",
            f"its batch shape is {a.shape}",
            "Take to_distribution(point) for each point of a, or tensors if torch has the family.",
        ) from error


def mirrored(name: str) -> Callable[[Any], tuple[Any, Any, float]]:
    """Return what ``REFLECTED`` is where -X is of a space, at the same scale."""

    def reflected(point: Any) -> tuple[Any, Any, float]:
        space = _spaces.resolve(name)
        values = {field: getattr(point, field) for field in point.rules}
        return space, space.POINTS(**values | {"loc": -point.loc}), 0.0

    return reflected


def moved(space: Any, a: Any, shift: Any, factor: Any, check: bool) -> tuple[Any, Any] | None:
    """Return the space and the point of shift + factor X of numpy; None if there is none."""
    if np.all(np.asarray(factor) < 0.0) and getattr(space, "REFLECTED", None) is not None:
        space, a, centre = space.REFLECTED(a)
        return moved(space, a, shift + factor * centre, -factor, check)
    if np.all(np.asarray(factor) == 1.0) and not np.any(np.asarray(shift) != 0.0):
        return space, a
    known = (v for k, v in space.DISTRIBUTIONS.items() if k.startswith("scipy.stats."))
    foreign = next((_spaces.foreign(x) for x in known), None)
    is_shifted = bool(np.any(np.asarray(shift) != 0.0))
    if foreign is None or not np.all(np.asarray(factor) > 0.0):
        return None
    values = dict(zip(foreign.names, foreign.from_fields(*_points.fields(a)), strict=True))
    if "scale" not in values or (is_shifted and "loc" not in values):
        return None
    values["scale"] = values["scale"] * factor
    if "loc" in values:
        values["loc"] = values["loc"] * factor + shift
    return space, space.POINTS(*foreign.to_fields(*values.values()), check=check)


def sample(space: Any, a: Any, shape: tuple[int, ...], rng: Any, check: bool) -> Array:
    """Return samples of shape (*shape, *batch), drawn by the library of the distribution."""
    _points.require_kind("a", space.POINTS, a)
    first = _points.fields(a)[0]
    is_of_torch = any(name.startswith("torch.") for name in space.DISTRIBUTIONS)
    if _names.is_tensor(first) and is_of_torch:
        if rng is not None:
            raise TypeError(
                "rng must be None for tensors: torch.distributions draws from torch's own "
                "generator. Call torch.manual_seed."
            )
        return to_distribution(space, a, check).sample(shape)
    arrays = (np.asarray(_array.on_host(x), dtype=np.float64) for x in _points.fields(a))
    on_host = _points.make(space.POINTS, *arrays)
    rng = np.random.default_rng(rng)
    draw = getattr(space, "draw", None)
    size = (*shape, *a.shape)
    if draw is not None:
        drawn = draw(on_host, size, rng)
    else:
        drawn = to_distribution(space, on_host, check).rvs(size=size, random_state=rng)
    xp = array_namespace(first)
    device = {"device": first.device} if _names.is_tensor(first) else {}
    return xp.asarray(np.asarray(drawn, dtype=float), dtype=first.dtype, **device)


# ---------------------------------------------------------------- formulas that families share


def excess(y: Array, xp: Namespace) -> Array:
    """Return exp(y) - 1 - y to full relative precision, inf where it overflows."""
    is_near, zero = xp.abs(y) < 1.0, xp.zeros_like(y)
    far = xp.where(is_near, zero, y)
    near = _divergence.expm1_minus(xp.where(is_near, y, zero), xp)
    grown = _array.expm1(far, xp)
    return xp.where(is_near, near, xp.where(far == math.inf, grown, grown - far))


def quotient(x: Array, unit: Array, xp: Namespace) -> Array:
    """Return x / unit, or a quarter of the largest number where that is smaller."""
    largest = 0.25 * float(xp.finfo(x.dtype).max)
    bound = largest * xp.minimum(unit, xp.ones_like(unit))
    return xp.maximum(xp.minimum(x, bound), -bound) / unit


def log_gamma(x: Array, xp: Namespace) -> Array:
    """Return the logarithm of the gamma function of positive numbers, by Stirling's formula."""
    return (x - 0.5) * xp.log(x) - x + 0.5 * math.log(2.0 * math.pi) + binet(x, xp)


def on_diagonal(blocks: Sequence[Array], rank: int, xp: Namespace) -> Array:
    """Return the array whose last axes, as many as the rank, have blocks on their diagonal."""
    total, start, end = 0.0, 0, sum(block.shape[-1] for block in blocks)
    for block in blocks:
        size = block.shape[-1]
        for axis in range(-rank, 0):
            shapes = [
                (*block.shape[:axis], length, *block.shape[axis:][1:])
                for length in (start, end - start - size)
            ]
            kind = {"dtype": block.dtype, "device": _array.device_of(block)}
            before, after = (xp.zeros(shape, **kind) for shape in shapes)
            block = xp.concat([before, block, after], axis=axis)
        total, start = total + block, start + size
    return total


def root_mean_square(x: Array, xp: Namespace) -> Array:
    """Return the root of the mean of squares along the first axis, which do not overflow."""
    unit = xp.max(xp.abs(x), axis=0)
    unit = xp.where(unit > 0.0, unit, xp.ones_like(unit))
    return unit * xp.sqrt(xp.mean((x / unit) ** 2, axis=0))


def log_cosh(y: Array, xp: Namespace) -> Array:
    """Return log cosh y to full relative precision."""
    is_near, zero = xp.abs(y) < 1.0, xp.zeros_like(y)
    near = 0.5 * xp.log1p(xp.sinh(xp.where(is_near, y, zero)) ** 2)
    size = xp.abs(xp.where(is_near, zero + 1.0, y))
    return xp.where(is_near, near, size + xp.log1p(xp.exp(-2.0 * size)) - math.log(2.0))


finish(globals())
