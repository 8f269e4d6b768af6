"""What a module shows of itself: public names only, and docstrings in full.

In the source an entry that many docstrings share is its first line alone, ``check : bool``, where
the reader sees name, type and shape. What the entry says stands once in a table: in `SHARED` if
several modules use it, else in the last line of the module, which calls `finish`. That call writes
it into the docstrings, so that ``help()``, Sphinx and every other tool show the full text. The
front of a folder does so for its private files, too, and what it exports from these is its own:
pickles and messages name the module from which it is imported.

Every public function but those that answer a question with a bool checks its arguments, so that it
raises TypeError and ValueError. The section "Raises" that says so is written by `finish`, too: it
stands in the source only where there is more to say.
"""

import types
from collections.abc import Mapping
from typing import Any

SHARED = {
    "check : bool": "Verify the values. Shapes and dtypes are always verified.",
    "x : torch.Tensor, shape (batch, ...)": "The inputs.",
    "loc : array, shape (...)": "Locations, finite.",
    "scale : array, shape (...)": "Scales, positive and finite.",
    "loc, scale : array, shape (...)": "Of one shape, library, dtype and device.",
    "p : array, shape (..., c)": "Probabilities along the last axis.",
    "a, b : MultivariateNormal": "Of one dimension; batches broadcast.",
    "a : MultivariateNormal": "The point, or a batch.",
    "t : float or array": "Parameter in [0, 1]. Its axes come first in the result.",
    "axis : int": "The batch axis to average over.",
    "base : float, optional": "The base of the logarithms: 2 gives bits. Default: nats.",
    "ax : matplotlib.axes.Axes or None": "Where to draw; None makes a new figure.",
    "max_steps : int": "The most Newton steps.",
    "inputs : torch.Tensor, tuple or mapping of torch.Tensor, or None": (
        "What the model takes beside x for each input, as for `PullbackMetric`."
    ),
    "radius : float or array, shape (...)": "The l2 size of the perturbation, not negative.",
    "weights : array or None": (
        "Not negative, of shape (n,) or one that broadcasts to the leading axes of the points;\n"
        "divided by their sum. None: equal weights."
    ),
    "throw : bool": "Whether an unsuccessful solve raises. If not, see `status`.",
    "tol : float": "As in `c_maximize`.",
    "v : torch.Tensor, shape (batch, ...)": "One tangent vector at each input.",
    "TypeError, ValueError": (
        "Arguments that are not as described above; arrays of different libraries."
    ),
}

RAISED = "TypeError, ValueError"
# The sections of numpydoc that follow "Raises".
_AFTER_RAISES = ("Warns", "See Also", "Notes", "References", "Examples")


def finish(
    module: dict[str, Any], entries: Mapping[str, str] | None = None, *, checks: bool = True
) -> None:
    """Finish the docstrings of a module and of its private files; `dir` shows its public names.

    Parameters
    ----------
    module : dict
        The module's ``globals()``, when everything in it is defined.
    entries : mapping, optional
        What entries of this module say, by their first lines. It goes before `SHARED`.
    checks : bool
        Whether the public functions of the module check their arguments.
    """
    table, home = SHARED | dict(entries or {}), module["__name__"]
    public = module.get("__all__", ())
    for name, value in list(module.items()):
        source = getattr(value, "__module__", None) or ""
        is_inside = source.startswith(f"{home}._") and isinstance(value, type | types.FunctionType)
        if source == home or is_inside:
            if checks and name in public and isinstance(value, types.FunctionType):
                _add_raises(value)
            _write_out(value, table)
            if isinstance(value, type):
                for member in vars(value).values():
                    _write_out(getattr(member, "__func__", member), table)  # of class methods
        if is_inside and name in public:
            value.__module__ = home
    if "__all__" in module:
        module["__dir__"] = lambda: sorted(module["__all__"])


def _add_raises(function: types.FunctionType) -> None:
    """Add the section of what checked arguments raise, if a function has arguments and no such."""
    lines = (function.__doc__ or "").split("\n")
    titles = {lines[i - 1].strip(): i - 1 for i, x in enumerate(lines) if set(x.strip()) == {"-"}}
    answers = function.__annotations__.get("return") in (bool, "bool")
    if answers or "Parameters" not in titles or "Raises" in titles:
        return
    place = min((titles[name] for name in _AFTER_RAISES if name in titles), default=len(lines) - 1)
    indent = " " * _indentation(lines[titles["Parameters"]])
    section = ["Raises", "------", RAISED]
    before = [""] if lines[place - 1].strip() else []
    lines[place:place] = [*before, *(indent + line for line in section), ""]
    function.__doc__ = "\n".join(lines)


def _write_out(documented: Any, table: Mapping[str, str]) -> None:
    """Add the text of the table below each entry of a docstring that is a first line alone."""
    lines = (documented.__doc__ or "").split("\n")
    bare = [i for i, line in enumerate(lines) if line.lstrip() in table and _is_bare(lines, i)]
    for i in reversed(bare):
        indent = " " * (_indentation(lines[i]) + 4)
        lines[i + 1 : i + 1] = [indent + line for line in table[lines[i].lstrip()].split("\n")]
    if bare:
        documented.__doc__ = "\n".join(lines)


def _is_bare(lines: list[str], i: int) -> bool:
    following = lines[i + 1] if i + 1 < len(lines) else ""
    return not following.strip() or _indentation(following) <= _indentation(lines[i])


def _indentation(line: str) -> int:
    return len(line) - len(line.lstrip())
