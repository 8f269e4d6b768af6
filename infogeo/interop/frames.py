"""Data frames of pandas and polars: one class to each column, compared by name; columns of labels.

Neither library is imported here: a frame of one of them comes with its library.
"""

import itertools
import sys
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np

from infogeo import neighbors
from infogeo._array import Array, bad_value
from infogeo._docs import finish
from infogeo._names import (
    is_missing,
    is_nameless,
    labels_of,
    listed,
    matched,
    numbers,
    same_names,
)

__all__ = [
    "align",
    "apply",
    "counts",
    "has_names",
    "is_frame",
    "matched_counts",
    "nearest",
    "pairwise_distance",
    "reduce",
]


def is_frame(value: object) -> bool:
    """Tell whether something is a data frame of pandas or polars.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        Whether it is one.

    Examples
    --------
    >>> is_frame(np.eye(2))
    False
    """
    return any(isinstance(value, kind) for kind in _types("DataFrame", "pandas", "polars"))


def has_names(value: object) -> bool:
    """Tell whether something has names that say which class each of its numbers is for.

    Parameters
    ----------
    value : object
        Anything.

    Returns
    -------
    bool
        Whether it is a data frame, whose columns are the classes, or a series of pandas, one
        distribution whose index has them. Series of polars have no names.

    Examples
    --------
    >>> import pandas as pd
    >>> has_names(pd.Series({"cat": 0.5, "dog": 0.5})), has_names([0.5, 0.5])
    (True, False)
    """
    return is_frame(value) or _is_series(value)


def align(*frames: Any, fill_value: float = 0.0) -> tuple[Any, ...]:
    """Return data frames with the same classes: one that a frame lacks is filled in.

    Parameters
    ----------
    *frames : pandas.DataFrame, polars.DataFrame or pandas.Series
        All of one library: frames with one class to each column, series with one in each row.
    fill_value : float
        What stands for a class that is missing: 0 for probabilities and counts, ``-inf`` for
        logits.

    Returns
    -------
    tuple of frames and series
        With the classes of all, in the order in which they were first seen. Rows and types of
        numbers stay as they are.

    Raises
    ------
    TypeError
        Something that is neither; frames of two libraries; a fill value that is no number.
    ValueError
        Classes that repeat.

    Examples
    --------
    >>> import pandas as pd
    >>> from infogeo import simplex
    >>> old = pd.DataFrame({"cat": [1.0, 0.5], "dog": [0.0, 0.5]})
    >>> new = pd.DataFrame({"dog": [1.0, 0.5], "emu": [0.0, 0.5]})
    >>> old, new = align(old, new)
    >>> simplex.fisher_rao_distance(old, new).round(6)
    array([3.141593, 2.094395])
    """
    if not isinstance(fill_value, int | float | np.number):
        raise TypeError(f"fill_value must be a number: got {fill_value!r}.")
    first: Any = next(iter(frames), None)
    classes: dict[Hashable, None] = {}
    for i, frame in enumerate(frames, start=1):
        name = f"frame {i}"
        if not _is_series(frame):
            _require_frame(name, frame)
        _require_library(name, frame, first)
        own = _classes(frame)
        repeated = [label for label, count in Counter(own).items() if count > 1]
        if repeated:
            raise bad_value(name, "have each class once", f"{listed(repeated)} repeat")
        classes |= dict.fromkeys(own)
    return tuple(_with_classes(frame, [*classes], fill_value) for frame in frames)


def apply(function: Callable[..., Array], *frames: Any, **arguments: Any) -> Any:
    """Apply a function of distributions to the rows of data frames.

    Parameters
    ----------
    function : callable
        Takes one array of shape (n, c) for each frame and returns one of shape (n,) or (n, c): the
        distances, divergences and geodesics of `infogeo.simplex` and `infogeo.logits`.
    *frames : pandas.DataFrame, polars.DataFrame, pandas.Series or float
        All of one library, with the same columns (in any order, see `align`) and the same rows:
        those of pandas are matched by their index, those of polars by their position. A series of
        pandas is one distribution, with the classes in its index, beside every row of the frames.
        Numbers, such as the time of a geodesic, go to the function as they are.
    **arguments : object
        Further arguments of the function. Series and frames are matched by name, too: a series
        goes by the rows or by the classes, whichever it names.

    Returns
    -------
    series or data frame
        Of the same library, with the rows (and columns) of the first frame. Of series alone: a
        number, or a series with the index of the first.

    Raises
    ------
    TypeError
        Something that is neither; frames of two libraries; columns that hold no numbers.
    ValueError
        Names of columns or rows that differ or repeat; a function that does not keep the rows;
        no frames.

    Examples
    --------
    >>> import pandas as pd
    >>> from infogeo import simplex
    >>> old = pd.DataFrame({"cat": [1.0, 0.5], "dog": [0.0, 0.5]}, index=["a.png", "b.png"])
    >>> new = pd.DataFrame({"dog": [0.5, 0.5], "cat": [0.5, 0.5]}, index=["b.png", "a.png"])
    >>> apply(simplex.fisher_rao_distance, old, new).round(4)
    a.png    1.5708
    b.png    0.0000
    Name: fisher_rao_distance, dtype: float64
    >>> apply(simplex.fisher_rao_distance, old, new.loc["b.png"]).round(4)
    a.png    1.5708
    b.png    0.0000
    Name: fisher_rao_distance, dtype: float64
    """
    if not frames:
        raise bad_value("frames", "be at least one", "there are none")
    first: Any = next(itertools.chain(filter(is_frame, frames), frames))
    given = {
        f"frame {i}": frame
        for i, frame in enumerate(frames, start=1)
        if isinstance(first, int | float) or not isinstance(frame, int | float | np.number)
    }
    for name, frame in given.items():
        _require_names(name, frame, first)
    arrays, arguments = _matched(first, given, arguments)
    values = dict(zip(given, arrays, strict=True))
    positional = [values.get(f"frame {i}", frame) for i, frame in enumerate(frames, start=1)]
    result = np.asarray(function(*positional, **arguments))
    title = getattr(function, "__name__", None)
    if _is_series(first):
        return _of_series(first, result, title)
    if result.shape == (len(first),):
        return _series(first, result, title)
    if result.shape == (len(first), len(first.columns)):
        return _frame(first, result)
    raise ValueError(
        f"function must return one number or one distribution for each of the {len(first)} rows: "
        f"{title} returned shape {result.shape}. For means of all rows use reduce, "
        "for all pairs pairwise_distance."
    )


def reduce(function: Callable[..., Array], frame: Any, **arguments: Any) -> Any:
    """Apply a function that makes one distribution of all rows, such as a mean.

    Parameters
    ----------
    function : callable
        Takes an array of shape (n, c) and returns one of shape (c,), such as
        `infogeo.simplex.m_mean`.
    frame : pandas.DataFrame or polars.DataFrame
        One class to each column.
    **arguments : object
        Further arguments of the function, such as weights. A series is matched with the rows by
        name.

    Returns
    -------
    pandas.Series or polars.DataFrame
        A series with the columns as its index; a frame of one row in polars, whose series have
        none.

    Raises
    ------
    TypeError
        Something that is no data frame; columns that hold no numbers.
    ValueError
        A function that returns something else than one distribution.

    Examples
    --------
    >>> import pandas as pd
    >>> from infogeo import simplex
    >>> reduce(simplex.m_mean, pd.DataFrame({"cat": [1.0, 0.5], "dog": [0.0, 0.5]}))
    cat    0.75
    dog    0.25
    Name: m_mean, dtype: float64
    """
    _require_frame("frame", frame)
    (values,), arguments = _matched(frame, {"frame": frame}, arguments)
    result = np.asarray(function(values, **arguments))
    name = getattr(function, "__name__", None)
    if result.shape != (len(frame.columns),):
        raise ValueError(
            f"function must return one distribution, shape ({len(frame.columns)},): {name} "
            f"returned shape {result.shape}. For one result of each row use apply."
        )
    if _is_pandas(frame):
        return type(frame[frame.columns[0]])(result, index=frame.columns, name=name)
    return _frame(frame, result[None])


def pairwise_distance(
    a: Any,
    b: Any = None,
    *,
    space: Any = "simplex",
    block_size: int | None = None,
    check: bool = True,
) -> Any:
    """Return the Fisher-Rao distance of every row of one frame and every row of another.

    Parameters
    ----------
    a, b : pandas.DataFrame or polars.DataFrame
        Of one library, with the same columns in any order. b=None: the rows of a among themselves.
    space : module or name
        `infogeo.simplex`, or `infogeo.logits` for columns of logits.
    block_size : int or None
        As `infogeo.neighbors.pairwise_distance` takes it.
    check : bool

    Returns
    -------
    data frame, shape (n, m)
        Of the same library. In pandas the index of a names its rows, that of b its columns; in
        polars columns are named after the positions of the rows of b.

    Raises
    ------
    TypeError
        Something that is no data frame; frames of two libraries; columns that hold no numbers.
    ValueError
        Columns that differ; values that are no distributions.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"cat": [1.0, 0.5], "dog": [0.0, 0.5]}, index=["a.png", "b.png"])
    >>> pairwise_distance(frame).round(4)
            a.png   b.png
    a.png  0.0000  1.5708
    b.png  1.5708  0.0000
    """
    points, other = _points(a, b, "a", "b")
    result = neighbors.pairwise_distance(*points, space=space, block_size=block_size, check=check)
    if _is_pandas(a):
        return type(a)(result, index=a.index, columns=other.index)
    return type(a)({str(j): result[:, j] for j in range(len(other))})


def nearest(
    queries: Any,
    points: Any = None,
    *,
    num_neighbors: int,
    space: Any = "simplex",
    check: bool = True,
) -> Any:
    """Find the rows nearest to each row, in Fisher-Rao distance, by name.

    Parameters
    ----------
    queries : pandas.DataFrame or polars.DataFrame
        One distribution to each row.
    points : data frame or None
        Where to look, of the same library and with the same columns in any order. None: among the
        queries, each without itself.
    num_neighbors : int
        How many for each query.
    space : module or name
        `infogeo.simplex`, or `infogeo.logits` for columns of logits.
    check : bool

    Returns
    -------
    data frame, n * num_neighbors rows
        The columns ``query``, ``rank`` (1 for the nearest), ``neighbor`` and ``distance``. In
        pandas queries and neighbours are the names of the rows, in polars their positions.

    Raises
    ------
    TypeError, ValueError
        As `pairwise_distance`; a number of neighbours out of range.

    Examples
    --------
    >>> import pandas as pd
    >>> frame = pd.DataFrame({"cat": [0.9, 0.2, 0.8], "dog": [0.1, 0.8, 0.2]}, index=list("abc"))
    >>> nearest(frame, num_neighbors=1).round(4)
      query  rank neighbor  distance
    0     a     1        c    0.2838
    1     b     1        c    1.2870
    2     c     1        a    0.2838
    """
    points_of, other = _points(queries, points, "queries", "points")
    found = neighbors.nearest(*points_of, num_neighbors=num_neighbors, space=space, check=check)
    columns = {
        "query": _row_names(queries).repeat(num_neighbors),
        "rank": np.tile(np.arange(1, num_neighbors + 1), len(queries)),
        "neighbor": _row_names(other)[found.indices.ravel()],
        "distance": found.distances.ravel(),
    }
    return type(queries)(columns)


def counts(frame: Any, column: Hashable) -> Any:
    """Count how often each class stands in a column of labels.

    Parameters
    ----------
    frame : pandas.DataFrame, polars.DataFrame or pyarrow.Table
        One row for each observation.
    column : name
        The column with the labels: text, whole numbers, yes and no, categories. Categories that
        pandas, arrow or an Enum of polars know of and that no row has are counted, with 0.

    Returns
    -------
    pandas.Series, polars.DataFrame or pyarrow.Table
        A series whose index has the classes; of polars and arrow, whose columns of numbers have no
        names, one row with a column for each class. Classes are in the order of the categories,
        else sorted.

    Raises
    ------
    TypeError
        Something that is no data frame; labels that are lists or other things with parts.
    ValueError
        No such column, or two; rows without a label.

    See Also
    --------
    matched_counts : The counts of several samples, with 0 for classes that one of them lacks.

    Examples
    --------
    >>> import pandas as pd
    >>> counts(pd.DataFrame({"animal": ["dog", "cat", "dog"]}), "animal")
    cat    1
    dog    2
    Name: animal, dtype: int64
    """
    if not is_frame(frame) and not _is_table(frame):
        raise TypeError(
            "frame must be a data frame of pandas or polars or a table of arrow: got "
            f"{type(frame).__name__}. Counts of a list are collections.Counter(labels)."
        )
    names = list(frame.column_names if _is_table(frame) else frame.columns)
    if names.count(column) != 1:
        rule = "name one column of labels"
        seen = f"of {column!r} there are {names.count(column)} among {listed(names)}"
        raise bad_value("column", rule, seen)
    found = _counted(frame, column)
    missing = sum(count for label, count in found if is_missing(label))
    if missing:
        raise bad_value(
            "frame",
            "have a label in each row",
            f"{missing} rows of {column!r} have none",
            "Leave these rows out (dropna, drop_nulls), or give them a class of their own "
            "(fillna or fill_null with 'unknown').",
        )
    if any(isinstance(label, list | dict) for label, _ in found):
        raise TypeError(f"column must hold labels: entries of {column!r} have parts.")
    known = dict.fromkeys(_categories(frame, column) or _sorted(label for label, _ in found), 0)
    return _of_counts(frame, column, known | dict(found))


def matched_counts(*samples: Any) -> tuple[list[Any], np.ndarray]:
    """Return the counts of several samples by the names of their classes, 0 for classes not seen.

    Parameters
    ----------
    *samples : dict, collections.Counter, pandas.Series, or a data frame with one row
        From classes to counts: what `counts` returns, ``value_counts`` of pandas, a Counter.

    Returns
    -------
    classes : list of c names
        Those of the first sample in its order, then what the others have besides.
    counts : array, shape (len(samples), c)
        One row for each sample. ``interval(*counts)`` of `infogeo.inference` takes two of them.

    Raises
    ------
    TypeError
        Something without names, such as a list; counts that are no numbers.
    ValueError
        No samples; classes without a name, or twice in a sample; counts that are missing; frames
        with several rows.

    Examples
    --------
    >>> from collections import Counter
    >>> matched_counts(Counter(["dog", "cat", "dog"]), {"eel": 4, "dog": 1})
    (['dog', 'cat', 'eel'], array([[2, 1, 0], [1, 0, 4]]))
    """
    if not samples:
        raise bad_value("samples", "be at least one", "there are none")
    given = [_counts_by_class(f"sample {i}", x) for i, x in enumerate(samples, start=1)]
    classes = list(dict.fromkeys(itertools.chain.from_iterable(given)))
    return classes, np.array([[sample.get(name, 0) for name in classes] for sample in given])


def _types(name: str, *libraries: str) -> list[type]:
    """Return the classes of that name of the libraries that are loaded."""
    loaded = (sys.modules.get(library) for library in libraries)
    return [getattr(library, name) for library in loaded if hasattr(library, name)]


def _is_series(value: object) -> bool:
    return any(isinstance(value, kind) for kind in _types("Series", "pandas"))


def _is_pandas(frame: object) -> bool:
    return hasattr(frame, "index")


def _require_frame(name: str, value: Any) -> None:
    if not is_frame(value):
        raise TypeError(
            f"{name} must be a data frame of pandas or polars: got {type(value).__name__}. "
            "Make a frame of it, with a name for each class, or arrays of all (to_numpy)."
        )


def _points(first: Any, second: Any, *names: str) -> tuple[list[Array], Any]:
    """Return the numbers of one or two frames of points, and the frame of the second ones."""
    given = dict(zip(names, [first] if second is None else [first, second], strict=False))
    for name, frame in given.items():
        _require_frame(name, frame)
        _require_library(name, frame, first)
    points, _ = matched(list(given), [("classes",)] * len(given), list(given.values()))
    return points, first if second is None else second


def _row_names(frame: Any) -> Any:
    """Return an array of the names of the rows: of polars, which has none, their positions."""
    return frame.index.to_numpy() if _is_pandas(frame) else np.arange(len(frame))


def _classes(frame: Any) -> list[Hashable]:
    return list(frame.index if _is_series(frame) else frame.columns)


def _with_classes(frame: Any, classes: list[Any], fill_value: float) -> Any:
    """Return a frame or a series with these classes; NaN that it has stays."""
    if _is_series(frame):
        return frame.reindex(classes, fill_value=fill_value)
    missing = [name for name in classes if name not in frame.columns]
    # Numbers of one type keep it: a column of float64 would make those of float32 wider.
    kinds = list(set(frame.dtypes))
    kind = kinds[0] if len(kinds) == 1 and "loat" in str(kinds[0]) else None
    if _is_pandas(frame):
        made = frame.reindex(columns=classes, fill_value=fill_value)
        return made if kind is None else made.astype(dict.fromkeys(missing, kind))
    column = type(frame)({"": [fill_value]}).to_series().new_from_index(0, len(frame))
    column = column if kind is None else column.cast(kind)
    return frame.with_columns(column.alias(name) for name in missing).select(classes)


def _require_library(name: str, frame: Any, first: Any) -> None:
    if _is_pandas(frame) != _is_pandas(first):
        raise TypeError(
            f"{name} must be a frame of the library of the first: got both pandas and polars. "
            "Convert one of them: frame.to_pandas() or polars.from_pandas(frame)."
        )


def _require_names(name: str, frame: Any, first: Any) -> None:
    """Check that something is a frame, or a series of pandas, that can be beside the first."""
    if not _is_series(frame):
        _require_frame(name, frame)
    _require_library(name, frame, first)
    if not _is_pandas(frame) and len(frame) != len(first):
        raise ValueError(
            f"{name} must have the rows of the first frame: got {len(frame)} rows, "
            f"the first has {len(first)}."
        )


def _matched(
    first: Any, frames: dict[str, Any], arguments: dict[str, Any]
) -> tuple[list[Array], dict[str, Any]]:
    """Return the numbers of frames and of further arguments, in the order of the first's names."""
    named = {name: value for name, value in arguments.items() if not is_nameless(value)}
    axes = [_axes(frame) for frame in (first, *frames.values())]
    axes += [_axes_of_argument(name, value, first) for name, value in named.items()]
    names = [_name_of(first, frames), *frames, *named]
    (_, *arrays), _ = matched(names, axes, [first, *frames.values(), *named.values()])
    further = dict(zip(named, arrays[len(frames) :], strict=True))
    return arrays[: len(frames)], arguments | further


def _name_of(first: Any, frames: dict[str, Any]) -> str:
    return next(name for name, frame in frames.items() if frame is first)


def _axes(value: Any) -> tuple[str, ...]:
    return ("classes",) if _is_series(value) else ("...", "classes")


def _axes_of_argument(name: str, value: Any, first: Any) -> tuple[Any, ...]:
    """Return what a further argument is matched by: a series tells by its names."""
    labels = labels_of(value)
    if labels is None or len(labels) != 1:
        return ("...", "classes")
    ours: Any = labels_of(first)
    axes = ["classes"] if _is_series(first) else [("rows", 1), "classes"]
    known: dict[Any, Any] = dict(zip(axes, ours, strict=True))
    fitting = {key: [*ours] for key, ours in known.items() if same_names(ours, labels[0])}
    orders = list(fitting.values())
    if not fitting or orders[0] != orders[-1]:
        rule = "have the names of the rows or of the classes of the first frame"
        seen = f"it has {listed(labels[0])}" + (", and both have these" if fitting else "")
        advice = "Rename them, or pass an array (to_numpy) to go by position."
        raise bad_value(name, rule, seen, advice)
    return (next(iter(fitting)),)


def _of_series(first: Any, values: np.ndarray, name: str | None) -> Any:
    """Return what a function has made of series: a number, or a distribution like the first."""
    if values.shape == ():
        return values[()]
    if values.shape == first.shape:
        return type(first)(values, index=first.index, name=name)
    raise ValueError(
        f"function must return one number or one distribution of {len(first)} classes for series: "
        f"{name} returned shape {values.shape}. Pass arrays (to_numpy)."
    )


def _series(first: Any, values: np.ndarray, name: str | None) -> Any:
    column = type(first[first.columns[0]])
    if _is_pandas(first):
        return column(values, index=first.index, name=name)
    return column(name, values)


def _frame(first: Any, values: np.ndarray) -> Any:
    if _is_pandas(first):
        return type(first)(values, index=first.index, columns=first.columns)
    return type(first)(dict(zip(first.columns, values.T, strict=True)))


# ---------------------------------------------------------------- counts


def _is_table(value: object) -> bool:
    return any(isinstance(value, kind) for kind in _types("Table", "pyarrow"))


def _counted(frame: Any, column: Any) -> list[tuple[Any, int]]:
    """Return the labels of a column, missing ones too, and how often each stands in it."""
    try:
        if _is_pandas(frame):
            return list(frame[column].value_counts(sort=False, dropna=False).items())
        if _is_table(frame):
            found = frame.column(column).value_counts().to_pylist()
            return [(pair["values"], pair["counts"]) for pair in found]
        return list(frame.get_column(column).value_counts().iter_rows())
    except TypeError:  # lists cannot be counted
        raise TypeError(f"column must hold labels: entries of {column!r} have parts.") from None


def _categories(frame: Any, column: Any) -> list[Any] | None:
    """Return the classes that a column knows of, in their order; None if it knows none."""
    if _is_table(frame):
        chunks = frame.column(column).unify_dictionaries().chunks
        return (
            chunks[0].dictionary.to_pylist()
            if chunks and hasattr(chunks[0], "dictionary")
            else None
        )
    dtype = frame[column].dtype
    is_open = str(dtype).startswith("Categorical") and not _is_pandas(frame)
    names = None if is_open else getattr(dtype, "categories", None)
    return None if names is None else list(names)


def _sorted(labels: Iterable[Any]) -> list[Any]:
    labels = list(labels)
    try:
        return sorted(labels)
    except TypeError:  # of several kinds
        return sorted(labels, key=lambda label: (type(label).__name__, str(label)))


def _of_counts(frame: Any, column: Any, found: dict[Any, int]) -> Any:
    if _is_pandas(frame):
        classes = type(frame.columns)(list(found))
        return type(frame[column])(list(found.values()), index=classes, name=column, dtype="int64")
    row = {str(label): [count] for label, count in found.items()}
    return type(frame).from_pydict(row) if _is_table(frame) else type(frame)(row)


def _counts_by_class(name: str, sample: Any) -> dict[Any, Any]:
    """Return the counts of a sample by class."""
    if isinstance(sample, Mapping):
        classes, values = list(sample), np.asarray(list(sample.values()))
    else:
        labels = None if is_nameless(sample) else labels_of(sample)
        if labels is None:
            raise TypeError(
                f"{name} must say which class each count is of: got {type(sample).__name__}. "
                "Pass a dict from classes to counts, or a series."
            )
        classes, values = list(labels[-1]), np.asarray(numbers(name, sample))
        if values.ndim == 2 and len(values) != 1:
            seen = f"it has {len(values)} rows"
            raise bad_value(name, "be the counts of one sample", seen, "Pass each as a series.")
        values = values.ravel()
    if values.size and values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold counts: got {values.dtype}. Count labels with Counter.")
    if any(map(is_missing, classes)):
        advice = "Count without missing labels (dropna=True), or give them a name."
        raise bad_value(name, "have a name for each class", "that of one is missing", advice)
    repeated = [label for label, count in Counter(classes).items() if count > 1]
    if repeated:
        raise bad_value(name, "have each class once", f"{listed(repeated)} repeats")
    if np.isnan(values.astype(float)).any():
        advice = "A class that was not seen has the count 0 (fillna(0))."
        raise bad_value(name, "have a count for each class", "one is missing", advice)
    return dict(zip(classes, values.tolist(), strict=True))


finish(globals())
