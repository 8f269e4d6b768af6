"""Points and tangent vectors that are objects: several arrays over the same batch axes.

Such a class is a frozen dataclass with two class attributes, both with one entry for each field:
``event_axes``, how many axes at the end of its array are not batch axes, and ``rules``, the gate's
rule for its values. Its constructor takes the fields in that order. Nothing here knows more about
it.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from infogeo import _array
from infogeo._array import REAL, Array, Namespace, Rule, bad_value
from infogeo._names import Named, is_missing, is_nameless, keys, matched_rows


def gate(check: bool, **arguments: tuple[Any, Any]) -> tuple[Any, ...]:
    """Check the arguments of a public function, points and tangent vectors among them.

    Parameters
    ----------
    check : bool
        Whether to look at the values.
    **arguments : (type, object) or (Rule, object)
        For each argument the class that it has to be of, or its rule if it is an array.

    Returns
    -------
    xp, *arguments
        The array namespace, and for each argument the tuple of its arrays, or the array. All
        have one dtype and device.

    Raises
    ------
    TypeError
        As `_array.gate`; an argument that is not of its class.
    ValueError
        As `_array.gate`; points and vectors whose batch axes do not broadcast.
    """
    flat = {}
    for name, (kind, value) in arguments.items():
        if isinstance(kind, Rule):
            flat[name] = kind, value
            continue
        require_kind(name, kind, value)
        for field, rule in kind.rules.items():
            flat[f"{name}.{field}"] = rule, _with_names(value, field)
    xp, *arrays = _array.gate(check, **flat)
    require_broadcast(
        {n: batch_shape(x) for n, (kind, x) in arguments.items() if not isinstance(kind, Rule)}
    )
    given = dict(zip(flat, arrays, strict=True))
    grouped = (
        given[name] if name in given else tuple(given[f"{name}.{field}"] for field in kind.rules)
        for name, (kind, _) in arguments.items()
    )
    return (xp, *grouped)


def gate_mean(
    check: bool, kind: type, points: Any, weights: Any, axis: int
) -> tuple[Namespace, tuple[Array, ...], Array]:
    """Gate the arguments of a mean; the weights come back in batch shape with sum 1 over the axis.

    The axis counts the batch axes only.
    """
    if weights is None:
        xp, arrays = gate(check, points=(kind, points))
    else:
        rule, first = _first_field(kind, points)
        rule = _array.weights_rule(rule, first, weights, axis)
        xp, arrays, weights = gate(check, points=(kind, points), weights=(rule, weights))
    batch = batch_shape(points)
    if not _array.is_axis(axis, len(batch)):
        raise bad_value(
            "axis", "name one of the batch axes of the points", f"got {axis!r} for {points!r}"
        )
    if batch[axis] == 0:
        raise bad_value("points", "hold at least one point", f"got {points!r}")
    if weights is None:
        first_axes = next(iter(kind.event_axes.values()))  # type: ignore[attr-defined]
        weights = xp.ones_like(arrays[0][(..., *(0,) * first_axes)])
    return xp, arrays, _array.normalised_weights(weights, batch, axis, check, xp)


def _first_field(kind: Any, points: Any) -> tuple[Rule, Array]:
    require_kind("points", kind, points)
    field, rule = next(iter(kind.rules.items()))
    return rule, getattr(points, field)


def is_point(value: Any) -> bool:
    """Whether this is an object of such a class."""
    return isinstance(getattr(value, "event_axes", None), dict)


def require_kind(name: str, kind: type, value: Any) -> None:
    """Raise unless the argument is of the class, with the way to make one."""
    if isinstance(value, kind):
        return
    cls = kind.__name__
    if isinstance(value, list | tuple) and value and isinstance(value[0], kind):
        advice = f"Stack them with {cls}.stack({name})."
    else:
        advice = f"Make one with {cls}({', '.join(kind.event_axes)})."  # type: ignore[attr-defined]
    raise TypeError(f"{name} must be a {cls}: got {_described(value)}. {advice}")


def _described(value: Any) -> str:
    cls = type(value)
    return f"{cls.__module__.partition('.')[0]} {cls.__name__}".removeprefix("builtins ")


def require_broadcast(shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise unless the batch shapes of the named arguments broadcast."""
    names = list(shapes)
    for i, name in enumerate(names):
        for other in names[i + 1 :]:
            for length, other_length in zip(shapes[name][::-1], shapes[other][::-1], strict=False):
                is_known = length == length and other_length == other_length  # not NaN, as in dask
                if is_known and length != other_length and 1 not in (length, other_length):
                    raise ValueError(
                        f"{name} and {other} must have batch axes that broadcast: their batch "
                        f"shapes are {shapes[name]} and {shapes[other]}."
                    )


# ---------------------------------------------------------------- batches


def make(cls: type, *arrays: Array) -> Any:
    """Build a point or a vector from arrays that are as they have to be."""
    made: Any = object.__new__(cls)
    for field, array in zip(cls.event_axes, arrays, strict=True):  # type: ignore[attr-defined]
        # The scalars that numpy returns for arrays without axes would count as weak.
        is_scalar = isinstance(array, np.generic)
        object.__setattr__(made, field, np.asarray(array) if is_scalar else array)
    return made


def keep_names(made: Any, **arguments: tuple[Rule, Any]) -> None:
    """Let a new object keep the names of the frames and series that it was made from.

    Where it meets another one, the two are matched by them (see `infogeo._names`).
    """
    _set_names(made, _array.names_along(**arguments))


def keep_names_of_fit(
    made: Any, samples: Any, num_axes: int, labels: Any = None, classes: Any = None
) -> None:
    """Let what was fitted keep the names of the columns, and of classes in the place of rows."""
    rule = next(iter(made.rules.values()))
    names = _array.names_along(samples=(rule, samples))
    rows = keys(_array.axes_of(rule), num_axes)[0]
    names.pop(rows, None)
    if labels is not None and not is_nameless(labels):
        names[rows] = list(classes)
    _set_names(made, names)


def _set_names(made: Any, names: dict) -> None:
    if names:
        object.__setattr__(made, "_names", names)


def _with_names(point: Any, field: str) -> Any:
    names = vars(point).get("_names")
    array = getattr(point, field)
    return array if names is None else Named(array, names)


def _names_of_items(point: Any, key: tuple) -> dict:
    """Return the names that stay when the first batch axes are indexed with a key."""
    names = vars(point).get("_names", {})
    is_from_left = not any(k is Ellipsis for k in key[:-1])
    untouched = len(batch_shape(point)) - sum(map(_axes_taken, key)) if is_from_left else 0
    return {axis: n for axis, n in names.items() if isinstance(axis, str) or axis[1] <= untouched}


def fields(point: Any) -> list[Array]:
    """Return the arrays of a point."""
    return [getattr(point, field) for field in point.event_axes]


def batch_shape(point: Any) -> tuple[int, ...]:
    """Return the shape of the batch: () for a single point."""
    field, axes = next(iter(point.event_axes.items()))
    shape = tuple(getattr(point, field).shape)
    return shape[: len(shape) - axes]


def length(point: Any) -> int:
    """Return the number of points along the first batch axis."""
    shape = batch_shape(point)
    if not shape:
        raise TypeError(f"a single {type(point).__name__} has no length")
    return shape[0]


def getitem(point: Any, key: Any) -> Any:
    """Index the batch axes with anything that the library's arrays understand."""
    key = key if isinstance(key, tuple) else (key,)
    shape = batch_shape(point)
    if sum(_axes_taken(k) for k in key) > len(shape):
        raise IndexError(f"too many indices for the batch shape {shape}")
    has_ellipsis = any(k is Ellipsis for k in key)
    arrays = (
        getattr(point, field)[(*key, *(slice(None),) * axes) if has_ellipsis else key]
        for field, axes in point.event_axes.items()
    )
    made = make(type(point), *arrays)
    _set_names(made, _names_of_items(point, key))
    return made


def _axes_taken(key: Any) -> int:
    if key is None or key is Ellipsis:
        return 0
    is_mask = "bool" in str(getattr(key, "dtype", ""))
    return key.ndim if is_mask else 1


def iterate(point: Any) -> Iterator[Any]:
    """Yield the points along the first batch axis."""
    return (getitem(point, i) for i in range(length(point)))


def stack(cls: type, points: Any) -> Any:
    """Stack points of one batch shape along a new first axis."""
    points = list(points)
    if not points:
        raise bad_value("points", "hold at least one point", "the list is empty")
    flat = {}
    for i, point in enumerate(points):
        require_kind(f"points[{i}]", cls, point)
        for field, array in zip(point.event_axes, fields(point), strict=True):
            seen, first = tuple(array.shape), tuple(getattr(points[0], field).shape)
            if seen != first:
                raise ValueError(
                    f"points must have one shape: points[0].{field} has shape {first} and "
                    f"points[{i}].{field} has {seen}."
                )
            rule = cls.rules[field]  # type: ignore[attr-defined]
            flat[f"points[{i}].{field}"] = rule, _with_names(point, field)
    xp, *arrays = _array.gate(False, **flat)
    num_fields = len(cls.event_axes)  # type: ignore[attr-defined]
    made = make(cls, *(xp.stack(arrays[i::num_fields]) for i in range(num_fields)))
    keep_names(made, **flat)
    return made


def describe(point: Any) -> str:
    """Return the representation: the numbers of a single small point, else shape and dtype."""
    name, shape, arrays = type(point).__name__, batch_shape(point), fields(point)
    is_small = not shape and all(_array.is_readable(x) and x.shape[-1:] < (5,) for x in arrays)
    if is_small:
        values = (str(np.asarray(_array.on_host(x)).tolist()) for x in arrays)
        listed = ", ".join(f"{f}={v}" for f, v in zip(point.event_axes, values, strict=True))
        return f"{name}({listed})"
    first = arrays[0]
    library = type(first).__module__.partition(".")[0]
    return f"{name}(batch shape {shape}, {str(first.dtype).rpartition('.')[2]}, {library})"


# ---------------------------------------------------------------- tangent vectors


def add(u: Any, v: Any, sign: float) -> Any:
    """Return u + v or u - v, broadcast."""
    if type(v) is not type(u):
        return NotImplemented
    _, first, second = gate(False, u=(type(u), u), v=(type(u), v))
    return make(type(u), *(x + sign * y for x, y in zip(first, second, strict=True)))


def scale(v: Any, factor: Any, *, invert: bool = False) -> Any:
    """Return v times a number, or times an array over the batch axes; or divided by it."""
    if is_point(factor):
        return NotImplemented
    _, arrays, factor = gate(False, v=(type(v), v), factor=(REAL, factor))
    require_broadcast({"v": batch_shape(v), "factor": tuple(factor.shape)})
    scaled = []
    for array, axes in zip(arrays, v.event_axes.values(), strict=True):
        beside = factor[(..., *(None,) * axes)]
        scaled.append(array / beside if invert else array * beside)
    return make(type(v), *scaled)


# ---------------------------------------------------------------- one array for all fields


def pack(point: Any, xp: Namespace) -> Array:
    """Return all fields of a point along one last axis."""
    batch = batch_shape(point)
    return xp.concat([xp.reshape(x, (*batch, -1)) for x in fields(point)], axis=-1)


def unpack(cls: type, packed: Array, event_shapes: list[tuple[int, ...]], xp: Namespace) -> Any:
    """Return the point whose fields `pack` has put into one array."""
    arrays, start = [], 0
    for shape in event_shapes:
        stop = start + int(np.prod(shape, dtype=int))
        arrays.append(xp.reshape(packed[..., start:stop], (*packed.shape[:-1], *shape)))
        start = stop
    return make(cls, *arrays)


def event_shapes(point: Any) -> list[tuple[int, ...]]:
    """Return the shape of each field of a single point."""
    return [
        tuple(x.shape[len(x.shape) - axes :])
        for x, axes in zip(fields(point), point.event_axes.values(), strict=True)
    ]


# ---------------------------------------------------------------- classes of samples


def rows_of_classes(
    labels: Any, samples: Any, num_samples: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the labels that occur, in the order of `numpy.unique`, and the rows of each.

    Labels and samples with names for their rows are matched by them.
    """
    labels = np.asarray(_array.on_host(matched_rows("samples", samples, "labels", labels)))
    if labels.shape != (num_samples,):
        raise bad_value(
            "labels",
            f"have one entry for each of the {num_samples} samples",
            f"got shape {labels.shape}",
        )
    if labels.dtype.kind in "Of":
        gaps = [i for i, label in enumerate(labels.tolist()) if is_missing(label)]
        if gaps:
            seen = f"that of sample {gaps[0]} is missing"
            raise bad_value("labels", "name a class for each sample", seen, "Leave it out.")
    try:
        names, members, counts = np.unique(labels, return_inverse=True, return_counts=True)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in labels.tolist()})
        seen = f"they are of {', '.join(kinds)}"
        raise bad_value("labels", "be of one kind, such as text", seen) from None
    rows = np.argsort(members, kind="stable")
    return names, np.split(rows, np.cumsum(counts))[:-1]
