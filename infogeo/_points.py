"""Containers of points and of tangent vectors: several arrays over the same batch axes.

A space whose points are objects derives the class of its points from `Points` and the class of its
tangent vectors from `Vectors`. Such a class is a frozen dataclass that declares three things: its
fields, each of them an array; ``rules``, which says for each field what the gate requires of it;
and a constructor, which hands the fields to `fill`:

.. code-block:: python

    @dataclass(frozen=True, eq=False, init=False, repr=False)
    class Poisson(Points):
        rate: Array

        rules: ClassVar = {"rate": POSITIVE}

        def __init__(self, rate: Any, *, check: bool = True):
            fill(self, check, rate=rate)

Axes that a rule names (see `infogeo._array.along`) belong to a single point: they are the event
axes, the last axes of the field. All axes before them are batch axes. Shape, length, indexing,
iteration, stacking, representation, copies, and the arithmetic of vectors are inherited. They are
final: no class overrides them.

Fields that a class names in ``constants`` are no coordinates: the number of trials of a binomial
distribution. Points of one call have to agree in them, and tangent vectors have no such field. The
class of the tangent vectors follows from that of the points: `tangents` makes it.

A point that was built from numbers and lists alone is weak, as these are everywhere: beside arrays
of another library, dtype or device it adopts theirs. What is computed from it is not weak.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator, Sequence
from operator import mul, truediv
from typing import Any, ClassVar, Self, TypeVar, final

import numpy as np

from infogeo import _array
from infogeo._array import REAL, Array, Namespace, Rule, bad_value
from infogeo._names import Named, is_missing, is_nameless, is_weak, keys, matched_rows


class Container:
    """What points and tangent vectors have in common: arrays that share their batch axes."""

    rules: ClassVar[dict[str, Rule]]  # by field, in the order of the constructor
    event_axes: ClassVar[dict[str, int]]  # by field: how many axes at the end are not batch axes
    constants: ClassVar[tuple[str, ...]] = ()  # fields in which points of one call have to agree
    __array_ufunc__ = None  # numpy leaves the products of its numbers and a vector to the vector
    _has_events: ClassVar[bool]
    _is_weak = False
    _names: dict[Any, Any] | None = None  # along the axes of the frames that the fields came from
    _num_samples: np.ndarray | None = None  # that points were fitted to, in the shape of the batch

    def __init_subclass__(cls) -> None:
        if "rules" in vars(cls):
            cls.event_axes = {field: len(_events(rule)) for field, rule in cls.rules.items()}
            cls._has_events = any(cls.event_axes.values())

    @property
    @final
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch; () for a single one."""
        field, axes = next(iter(self.event_axes.items()))
        shape = tuple(getattr(self, field).shape)
        return shape[: len(shape) - axes]

    @classmethod
    @final
    def stack(cls, points: Sequence[Self]) -> Self:
        """Stack batches of one shape along a new first axis.

        Parameters
        ----------
        points : list
            Objects of this class, of one library and device.

        Returns
        -------
        object of this class
            Its batch has the shape (len(points), ...).

        Raises
        ------
        TypeError, ValueError
            Objects of another class; arrays of different libraries; an empty list; different
            shapes.

        Examples
        --------
        >>> from infogeo.normal import Normal
        >>> Normal.stack([Normal(0.0, 1.0), Normal(1.0, 2.0)]).shape
        (2,)
        """
        points = list(points)
        if not points:
            raise bad_value("points", "hold at least one point", "the list is empty")
        for i, point in enumerate(points):
            require_kind(f"points[{i}]", cls, point)
            _require_one_shape(i, points[0], point)
        flat = _flat({f"points[{i}]": (cls, point) for i, point in enumerate(points)})
        xp, *arrays = _array.gate(False, **flat)
        num_fields = len(cls.rules)
        made = make(cls, *(xp.stack(arrays[i::num_fields]) for i in range(num_fields)))
        _mark(made, _array.names_along(**flat), all(point._is_weak for point in points))
        sizes = [point._num_samples for point in points if point._num_samples is not None]
        if len(sizes) == len(points):
            mark_fitted(made, np.stack(sizes))
        return made

    @final
    def __len__(self) -> int:
        if not self.shape:
            raise TypeError(f"a single {type(self).__name__} has no length")
        return self.shape[0]

    @final
    def __getitem__(self, key: Any) -> Self:
        """Index the batch axes with anything that the library's arrays understand."""
        key = key if isinstance(key, tuple) else (key,)
        shape = self.shape
        if sum(map(_axes_taken, key)) > len(shape):
            raise IndexError(f"too many indices for the batch shape {shape}")
        has_ellipsis = any(k is Ellipsis for k in key)
        arrays = (
            getattr(self, field)[(*key, *(slice(None),) * axes) if has_ellipsis else key]
            for field, axes in self.event_axes.items()
        )
        made = make(type(self), *arrays)
        _mark(made, _names_of_items(self, key), self._is_weak)
        if self._num_samples is not None:
            key = tuple(_array.on_host(k) if hasattr(k, "shape") else k for k in key)
            mark_fitted(made, self._num_samples[key])
        return made

    @final
    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    @final
    def __repr__(self) -> str:
        """Show the numbers of a single small point, else shape, dtype and library."""
        name, arrays = type(self).__name__, fields(self)
        is_small = all(_array.is_readable(x) and x.shape[-1:] < (5,) for x in arrays)
        if is_small and not self.shape:
            values = (str(np.asarray(_array.on_host(x)).tolist()) for x in arrays)
            listed = ", ".join(f"{f}={v}" for f, v in zip(self.rules, values, strict=True))
            return f"{name}({listed})"
        first = arrays[0]
        library = type(first).__module__.partition(".")[0]
        dtype = str(first.dtype).rpartition(".")[2]
        size = f", dimension {_said(_dimensions(self))}" if self._has_events else ""
        return f"{name}(batch shape {self.shape}{size}, {dtype}, {library})"

    @final
    def __getstate__(self) -> dict[str, Any]:
        """Return what copies and pickles keep: not what is computed again when it is needed."""
        kept = {*self.rules, "_names", "_is_weak", "_num_samples"}
        return {name: value for name, value in vars(self).items() if name in kept}


class Points(Container):
    """A batch of points of a space."""

    @property
    @final
    def num_samples(self) -> np.ndarray | None:
        """Number of samples that each point is the maximum-likelihood estimate of.

        An int array in the shape of the batch, or None where that is not known: ``fit`` notes it,
        but not of shrunken estimates.
        """
        return self._num_samples


class Vectors(Container):
    """A batch of tangent vectors of a space: they are added and multiplied field by field."""

    @final
    def __add__(self, other: Any) -> Self:
        return _sum(self, other, 1.0) if type(other) is type(self) else NotImplemented

    @final
    def __sub__(self, other: Any) -> Self:
        return _sum(self, other, -1.0) if type(other) is type(self) else NotImplemented

    @final
    def __neg__(self) -> Self:
        made = make(type(self), *(-x for x in fields(self)))
        _mark(made, None, self._is_weak)
        return made

    @final
    def __mul__(self, factor: Any) -> Self:
        return NotImplemented if isinstance(factor, Container) else _scaled(self, factor, mul)

    __rmul__ = __mul__

    @final
    def __truediv__(self, divisor: Any) -> Self:
        return NotImplemented if isinstance(divisor, Container) else _scaled(self, divisor, truediv)


Class = TypeVar("Class", bound=Container)


def _sum(u: Class, v: Class, sign: float) -> Class:
    """Return u + sign * v."""
    xp, first, second = gate(False, u=(type(u), u), v=(type(v), v))
    made = make(type(u), *(x + sign * y for x, y in zip(first, second, strict=True)), xp=xp)
    _mark(made, None, u._is_weak and v._is_weak)
    return made


def _scaled(v: Class, factor: Any, combine: Callable[[Array, Array], Array]) -> Class:
    """Combine each field with a number, or with an array over the batch axes."""
    xp, arrays, given = gate(False, v=(type(v), v), factor=(REAL, factor))
    require_broadcast({"v": v.shape, "factor": tuple(given.shape)})
    columns = (given[(..., *(None,) * axes)] for axes in v.event_axes.values())
    made = make(type(v), *(combine(x, y) for x, y in zip(arrays, columns, strict=True)), xp=xp)
    _mark(made, None, v._is_weak and is_weak(factor))
    return made


# ---------------------------------------------------------------- making them


def fill(made: Container, check: bool, **given: Any) -> None:
    """Give a new point or vector its fields, after the gate and broadcast to one batch shape.

    Parameters
    ----------
    made : Points or Vectors
        The object whose constructor calls this.
    check : bool
        Whether to look at the values.
    **given : array
        What the caller gave for each field, in the order of the rules.

    Raises
    ------
    TypeError, ValueError
        As `infogeo._array.gate`; event axes that do not fit together; batch axes that do not
        broadcast.
    """
    cls, weak = type(made), list(map(is_weak, given.values()))
    xp, *arrays = gate_fields(cls, check, **given)
    if isinstance(arrays[0], np.ndarray):
        # The caller may still change theirs. Tensors are shared: gradients flow to them.
        arrays = [x if w else x.copy() for x, w in zip(arrays, weak, strict=True)]
    batches = _batches(cls, arrays)
    if any(batch != batches[0] for batch in batches):
        require_broadcast(dict(zip(given, batches, strict=True)))
        arrays = _broadcast(cls, arrays, xp)
    _set_fields(made, arrays)
    if all(weak):
        object.__setattr__(made, "_is_weak", True)
    elif not all(map(is_nameless, given.values())):
        _mark(made, _array.names_along(**_with_rules(cls, given)), False)


def tangents(kind: type[Points]) -> Any:
    """Return the class of the tangent vectors at points of a class: a velocity of each parameter.

    Parameters
    ----------
    kind : type
        The class of the points. The vectors have its fields, without the constants, as real
        numbers.

    Returns
    -------
    type
        A class derived from `Vectors`, called Tangent, for the module of the points. That module
        registers it with `infogeo.save`, in one line::

            Tangent = storable("poisson.Tangent")(tangents(Poisson))
    """
    rules = {
        field: _array.along(REAL, *_events(rule)) if _events(rule) else REAL
        for field, rule in kind.rules.items()
        if field not in kind.constants
    }
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    known = inspect.Signature(
        [inspect.Parameter(field, either, annotation=Any) for field in rules]
        + [inspect.Parameter("check", inspect.Parameter.KEYWORD_ONLY, default=True)]
    )

    def __init__(self: Vectors, *given: Any, **named: Any) -> None:  # noqa: N807
        bound = known.bind(*given, **named).arguments
        fill(self, bound.pop("check", True), **bound)

    names = ", ".join(rules)
    entries = "".join(
        f"{field} : array, shape (...)\n    Velocities of ``{field}``.\n" for field in rules
    )
    made = dataclasses.make_dataclass(
        "Tangent",
        [(field, Any) for field in rules],
        bases=(Vectors,),
        namespace={
            "rules": rules,
            "__init__": __init__,
            "__signature__": known,
            "__module__": kind.__module__,
            "__doc__": _ABOUT_TANGENTS.format(name=kind.__name__, entries=entries, names=names),
        },
        init=False,
        repr=False,
        eq=False,
        frozen=True,
    )
    return made


_ABOUT_TANGENTS = """A batch of tangent vectors: velocities of points of `{name}`.

They can be added, subtracted, and multiplied or divided by numbers and by arrays over the batch.

Parameters
----------
{entries}check : bool

Attributes
----------
{names} : array, shape (...)
    Of one batch shape, library, dtype and device.

Raises
------
TypeError, ValueError
"""


def recast(point: Any, cls: type[Class]) -> Class:
    """Return the object of another class with the same fields, in the same order."""
    made = make(cls, *fields(point))
    _mark(made, point._names, point._is_weak)
    return made


def gate_fields(cls: type[Container], check: bool, **given: Any) -> tuple[Any, ...]:
    """Check what takes the place of the fields of a class, under names of its own.

    Returns
    -------
    xp, *arrays
        The namespace, and the arrays in the order given, whose batch axes may differ.
    """
    xp, *arrays = _array.gate(check, **_with_rules(cls, given))
    if cls._has_events:
        _require_events(cls, dict(zip(given, arrays, strict=True)))
    return (xp, *arrays)


def _with_rules(cls: type[Container], given: dict[str, Any]) -> dict[str, tuple[Rule, Any]]:
    rules = iter(cls.rules.values())
    return {name: (next(rules), value) for name, value in given.items()}


def make(cls: type[Class], *arrays: Array, xp: Namespace | None = None) -> Class:
    """Build a point or a vector from arrays that satisfy its rules.

    Parameters
    ----------
    cls : type
        The class of the object.
    *arrays : array
        Its fields, in order, of one library, dtype and device.
    xp : namespace, optional
        That of the arrays, where their batch axes may differ and are to be broadcast.
    """
    made = object.__new__(cls)
    if xp is not None and len(set(_batches(cls, arrays))) > 1:
        _set_fields(made, _broadcast(cls, arrays, xp))
    else:
        _set_fields(made, arrays)
    return made


def _set_fields(made: Container, arrays: Sequence[Array]) -> None:
    for field, array in zip(made.rules, arrays, strict=True):
        # The scalars that numpy returns for arrays without axes would count as weak.
        is_scalar = isinstance(array, np.generic)
        object.__setattr__(made, field, np.asarray(array) if is_scalar else array)


def _mark(made: Container, names: dict[Any, Any] | None, is_weak: bool) -> None:
    """Let an object keep the names of the frames that it was made from, and whether it is weak.

    Where it meets another one, the two are matched by their names (see `infogeo._names`).
    """
    if names:
        object.__setattr__(made, "_names", names)
    if is_weak:
        object.__setattr__(made, "_is_weak", True)


def mark_fitted(made: Container, num_samples: Any) -> None:
    """Let points keep how many samples each of them was fitted to."""
    sizes = np.array(np.broadcast_to(num_samples, made.shape))
    sizes.flags.writeable = False  # points of one batch share it
    object.__setattr__(made, "_num_samples", sizes)


def _broadcast(cls: type[Container], arrays: Sequence[Array], xp: Namespace) -> list[Array]:
    if not cls._has_events:
        return list(xp.broadcast_arrays(*arrays))
    batch = np.broadcast_shapes(*_batches(cls, arrays))
    return [
        xp.broadcast_to(x, (*batch, *x.shape[len(x.shape) - axes :]))
        for x, axes in zip(arrays, cls.event_axes.values(), strict=True)
    ]


def _batches(cls: type[Container], arrays: Sequence[Array]) -> list[tuple[int, ...]]:
    """Return the batch shape of each field."""
    if not cls._has_events:
        return [tuple(x.shape) for x in arrays]
    axes = cls.event_axes.values()
    return [tuple(x.shape[: len(x.shape) - n]) for x, n in zip(arrays, axes, strict=True)]


def _events(rule: Rule) -> list[str]:
    """Return what the event axes of a field hold."""
    return [axis for axis in _array.axes_of(rule) if axis != "..."]


def _require_events(cls: type[Container], given: dict[str, Array]) -> None:
    """Raise unless each field has its event axes, all of one length d."""
    known: dict[str, tuple[str, int]] = {}  # by what an axis holds: the first field, its length
    for (name, x), rule in zip(given.items(), cls.rules.values(), strict=True):
        events, shape = _events(rule), tuple(x.shape)
        if not events:
            continue
        if len(events) == 1 and (not shape or shape[-1] == 0):
            raise bad_value(name, f"have its {events[0]} along the last axis", f"got shape {shape}")
        first, d = known.setdefault(events[0], (name, shape[-1] if shape else 0))
        if len(shape) >= len(events) and set(shape[-len(events) :]) == {d}:
            continue
        what = "d x d matrix" if len(events) == 2 else "vector of d entries"
        seen = f"its shape is {shape}"
        if name != first:
            raise bad_value(
                name,
                f"hold one {what} for each {first} of d entries",
                f"{seen} and that of {first} is {tuple(given[first].shape)}",
            )
        raise bad_value(name, f"hold one {what} for each point", seen)


# ---------------------------------------------------------------- the gate


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
        As `_array.gate`; points and vectors of different dimensions, or whose batch axes do not
        broadcast.
    """
    points = {}
    for name, (kind, value) in arguments.items():
        if not isinstance(kind, Rule):
            require_kind(name, kind, value)
            points[name] = value
    flat = _flat(arguments)
    xp, *arrays = _array.gate(check, **flat)
    if len(points) > 1:
        require_broadcast({name: point.shape for name, point in points.items()})
        _require_one_dimension(points)
    given = iter(arrays)
    grouped = (
        tuple(next(given) for _ in kind.rules) if name in points else next(given)
        for name, (kind, _) in arguments.items()
    )
    fields = dict(zip(arguments, grouped, strict=True))
    if check:
        _require_one_family({name: (type(x), fields[name]) for name, x in points.items()}, xp)
    return (xp, *fields.values())


def _flat(arguments: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Rule, Any]]:
    """Return rules and values of all arrays; those of weak points as lists where these adapt."""
    flat, weak, has_others = {}, {}, False
    for name, (kind, value) in arguments.items():
        if isinstance(kind, Rule):
            flat[name] = kind, value
            has_others = has_others or not (is_weak(value) or _is_float64(value))
            continue
        names = value._names
        for field, rule in kind.rules.items():
            array = getattr(value, field)
            flat[f"{name}.{field}"] = rule, array if names is None else Named(array, names)
            if value._is_weak:
                weak[f"{name}.{field}"] = rule, array
        has_others = has_others or not _is_float64(array)
    if weak and has_others:
        flat.update({name: (rule, array.tolist()) for name, (rule, array) in weak.items()})
    return flat


def _require_one_family(points: dict[str, tuple[Any, tuple[Array, ...]]], xp: Namespace) -> None:
    """Raise unless all points have the constants of the first."""
    first, known = "", {}
    for name, (kind, arrays) in points.items():
        for field, array in zip(kind.rules, arrays, strict=True) if kind.constants else ():
            if field not in kind.constants or not _array.is_readable(array):
                continue
            if field not in known:
                first, known[field] = name, array
            elif not bool(xp.all(known[field] == array)):
                raise bad_value(
                    name,
                    f"have the {field} of {first}",
                    "it has another one",
                    f"Distributions of different {field} are no points of one family.",
                )


def _is_float64(value: Any) -> bool:
    """Whether this is an array as weak points have it, so that none of them has to adapt."""
    return type(value) is np.ndarray and value.dtype == np.float64


def gate_mean(
    check: bool, kind: Any, points: Any, weights: Any, axis: int
) -> tuple[Namespace, tuple[Array, ...], Array]:
    """Gate the arguments of a mean; the weights come back in batch shape with sum 1 over the axis.

    The axis counts the batch axes only.
    """
    if weights is None:
        xp, arrays = gate(check, points=(kind, points))
    else:
        require_kind("points", kind, points)
        field, rule = next(iter(points.rules.items()))
        rule = _array.weights_rule(rule, getattr(points, field), weights, axis)
        xp, arrays, weights = gate(check, points=(kind, points), weights=(rule, weights))
    batch = points.shape
    if not _array.is_axis(axis, len(batch)):
        raise bad_value(
            "axis", "name one of the batch axes of the points", f"got {axis!r} for {points!r}"
        )
    if batch[axis] == 0:
        raise bad_value("points", "hold at least one point", f"got {points!r}")
    if weights is None:
        first_axes = next(iter(points.event_axes.values()))
        weights = xp.ones_like(arrays[0][(..., *(0,) * first_axes)])
    if check and kind.constants:
        others = [xp.take(x, xp.asarray([0]), axis=int(axis)) for x in arrays]
        of_first, of_all = ((kind, tuple(x)) for x in (others, arrays))
        _require_one_family({"the first of the points": of_first, "points": of_all}, xp)
    return xp, arrays, _array.normalised_weights(weights, batch, axis, check, xp)


def require_kind(name: str, kind: Any, value: Any) -> None:
    """Raise unless the argument is of the class, with the way to make one."""
    if isinstance(value, kind):
        return
    cls = kind.__name__
    if isinstance(value, list | tuple) and value and isinstance(value[0], kind):
        advice = f"Stack them with {cls}.stack({name})."
    else:
        advice = f"Make one with {cls}({', '.join(kind.rules)})."
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


def _require_one_dimension(points: dict[str, Any]) -> None:
    """Raise unless the event axes of all points and vectors are as long as those of the first."""
    (first, point), *others = points.items()
    if not point._has_events:
        return
    expected = _dimensions(point)
    for name, other in others:
        if _dimensions(other) != expected:
            raise ValueError(
                f"{first} and {name} must have the same dimension: {first} has {_said(expected)} "
                f"and {name} has {_said(_dimensions(other))}."
            )


def _dimensions(point: Any) -> dict[str, int]:
    """Return how many there are of what event axes hold."""
    return {
        events[0]: int(getattr(point, field).shape[-1])
        for field, rule in point.rules.items()
        if (events := _events(rule))
    }


def _said(dimensions: dict[str, int]) -> str:
    return " x ".join(map(str, dimensions.values()))


def _require_one_shape(i: int, first: Any, point: Any) -> None:
    for field in first.rules:
        seen, expected = (tuple(getattr(x, field).shape) for x in (point, first))
        if seen != expected:
            raise ValueError(
                f"points must have one shape: points[0].{field} has shape {expected} and "
                f"points[{i}].{field} has {seen}."
            )


def _axes_taken(key: Any) -> int:
    if key is None or key is Ellipsis:
        return 0
    is_mask = "bool" in str(getattr(key, "dtype", ""))
    return key.ndim if is_mask else 1


def _names_of_items(point: Any, key: tuple[Any, ...]) -> dict[Any, Any]:
    """Return the names that stay when the first batch axes are indexed with a key."""
    if point._names is None:
        return {}
    is_from_left = not any(k is Ellipsis for k in key[:-1])
    untouched = len(point.shape) - sum(map(_axes_taken, key)) if is_from_left else 0
    return {a: n for a, n in point._names.items() if isinstance(a, str) or a[1] <= untouched}


# ---------------------------------------------------------------- one array for all fields


def fields(point: Any) -> list[Array]:
    """Return the arrays of a point."""
    return [getattr(point, field) for field in point.rules]


def pack(point: Any, xp: Namespace) -> Array:
    """Return all fields of a point along one last axis."""
    sizes = [int(np.prod(shape, dtype=int)) for shape in event_shapes(point)]
    columns = zip(fields(point), sizes, strict=True)
    return xp.concat([xp.reshape(x, (*point.shape, size)) for x, size in columns], axis=-1)


def unpack(
    cls: type[Class], packed: Array, event_shapes: list[tuple[int, ...]], xp: Namespace
) -> Class:
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


def fit(
    cls: type[Class],
    samples: Any,
    labels: Any,
    shape: tuple[int, ...],
    fit_rows: Callable[[str, Any], Sequence[Array]],
    xp: Namespace,
    *,
    is_likeliest: bool = True,
) -> Class:
    """Return the point that is fitted to samples, or a batch of one point for each class.

    Parameters
    ----------
    cls : type
        The class of the points.
    samples : array or frame
        As the caller gave them, with their names.
    labels : array, list or None
        The class of each sample; None if all are of one class.
    shape : tuple
        That of the samples: (n,) or (n, d).
    fit_rows : callable
        ``fit_rows(name, rows)`` returns the fields of the point fitted to some rows: their
        numbers, or all if these are None. The name is that of the samples in error messages.
    xp : namespace
        That of the fields.
    is_likeliest : bool
        Whether the estimates are those of maximum likelihood, whose law depends on the number of
        samples alone: the points then keep that number.
    """
    classes, sizes = None, np.asarray(shape[0])
    if labels is None:
        made = make(cls, *fit_rows("samples", None))
    else:
        found, members = _rows_of_classes(labels, samples, shape[0])
        classes = found.tolist()
        if not classes:
            raise bad_value("samples", "hold at least 2 rows", "there are none")
        parts = [
            fit_rows(f"samples of class {name!r}", rows)
            for name, rows in zip(classes, members, strict=True)
        ]
        made = make(cls, *(xp.stack(arrays) for arrays in zip(*parts, strict=True)))
        sizes = np.array([len(rows) for rows in members])
        sizes = sizes.reshape(-1, *(1,) * (len(made.shape) - 1))
    # The names of the columns stay. Those of the rows give way to those of the classes.
    rule = next(iter(cls.rules.values()))
    names = _array.names_along(samples=(rule, samples))
    rows = keys(_array.axes_of(rule), len(shape))[0]
    names.pop(rows, None)
    if labels is not None and not is_nameless(labels):
        names[rows] = classes
    _mark(made, names, False)
    if is_likeliest:
        mark_fitted(made, sizes)
    return made


def _rows_of_classes(
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
