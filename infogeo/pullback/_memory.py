"""What several quantities need of the same inputs, computed once while a scan measures them."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, TypeVar

_Function = TypeVar("_Function", bound=Callable)
_KNOWN: ContextVar[dict[Callable, tuple] | None] = ContextVar("known", default=None)


@contextlib.contextmanager
def remembering() -> Iterator[None]:
    """Keep the last result of each function that is `remembered`, until the end of the block."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def is_remembering() -> bool:
    """Return whether what is returned may be returned again, and is not to be changed."""
    return _KNOWN.get() is not None


def remembered(function: _Function) -> _Function:
    """Let a function return its last result where it is called again with the same objects."""

    @functools.wraps(function)
    def known(*arguments: Any) -> Any:
        memory = _KNOWN.get()
        if memory is None:
            return function(*arguments)
        last, result = memory.get(function, ((), None))
        if [*map(id, last)] != [*map(id, arguments)]:
            result = function(*arguments)
            memory[function] = arguments, result
        return result

    return known  # type: ignore[return-value]
