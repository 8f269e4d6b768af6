"""Types for annotations: what the functions take for an array, and what they return.

Most functions return an array of the library of their arguments::

    def fisher_rao_distance(p: ArrayLike[A], q: ArrayLike[A], *, check: bool = True) -> A: ...

A type checker then knows the result for a tensor of torch where tensors went in, for an array of
numpy where arrays of numpy, lists or data frames did, and refuses a tensor beside an array of
numpy. Arrays of other libraries come back as `OtherArray`. Where the arguments do not tell the
library, the result is an `Array`: of any type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from infogeo._docs import finish

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from typing_extensions import TypeVar
else:
    from typing import TypeVar

__all__ = ["A", "Array", "ArrayLike"]


class OtherArray(Protocol):
    """An array of a library beside numpy and torch that keeps the array API standard: jax, dask."""

    @property
    def shape(self) -> Any:
        """The lengths of the axes."""

    @property
    def dtype(self) -> Any:
        """The type of the entries."""

    def __array_namespace__(self, /, *, api_version: Any = None) -> Any: ...
    def __len__(self) -> int: ...
    def __getitem__(self, key: Any, /) -> Any: ...
    def __float__(self) -> float: ...
    def __neg__(self) -> Any: ...
    def __abs__(self) -> Any: ...
    def __add__(self, other: Any, /) -> Any: ...
    def __radd__(self, other: Any, /) -> Any: ...
    def __sub__(self, other: Any, /) -> Any: ...
    def __rsub__(self, other: Any, /) -> Any: ...
    def __mul__(self, other: Any, /) -> Any: ...
    def __rmul__(self, other: Any, /) -> Any: ...
    def __truediv__(self, other: Any, /) -> Any: ...
    def __rtruediv__(self, other: Any, /) -> Any: ...
    def __pow__(self, other: Any, /) -> Any: ...
    def __matmul__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Any: ...
    def __le__(self, other: Any, /) -> Any: ...
    def __gt__(self, other: Any, /) -> Any: ...
    def __ge__(self, other: Any, /) -> Any: ...


class Frame(Protocol):
    """A data frame or series of pandas or polars, or an array of xarray: numbers with names."""

    def to_numpy(self) -> Any:
        """Return the numbers without the names."""


Array: TypeAlias = Any
"""An array of any library."""

if TYPE_CHECKING:  # the default is what lists and numbers alone become
    A = TypeVar("A", NDArray[Any], torch.Tensor, OtherArray, default=NDArray[Any])
else:
    A = TypeVar("A")

ArrayLike: TypeAlias = A | Sequence[Any] | float | Frame
"""What an argument may be: an array, or what becomes an array of the others' library."""


finish(globals())
