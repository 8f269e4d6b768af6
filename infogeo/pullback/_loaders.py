"""What yields the inputs of a data set, batch by batch, the same ones in every pass."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    Dataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from infogeo._array import BadValueError, bad_value
from infogeo.pullback._checks import way_to_tensor
from infogeo.pullback._fingerprint import digest_of
from infogeo.pullback._network import SampleInputs


def check_loader(loader: Any, argument: str = "loader") -> int:
    """Return the number of batches; refuse what does not yield the same ones in every pass."""
    if isinstance(loader, torch.Tensor | np.ndarray):
        tensor = "x" if isinstance(loader, torch.Tensor) else "torch.as_tensor(x)"
        raise TypeError(
            f"{argument} must yield batches: got one array of inputs. Use {tensor}.split(64)."
        )
    if isinstance(loader, Mapping):
        raise TypeError(
            f"{argument} must be a tensor or yield batches: got {type(loader).__name__}. "
            f"{way_to_tensor(argument, loader)}"
        )
    if isinstance(loader, Dataset):
        raise TypeError(
            f"{argument} must yield batches: got a {type(loader).__name__}, whose items are "
            "samples. Use DataLoader(dataset, batch_size=64), or batch_size=None if its items are "
            "batches."
        )
    try:
        total = len(loader) if isinstance(loader, Sized) else None
    except TypeError:  # a DataLoader of a data set without a length
        total = None
    if total is None:
        raise TypeError(
            f"{argument} must have a length: got {type(loader).__name__}. Use a list of batches, "
            "or a DataLoader of a data set with a length."
        )
    if total == 0:
        raise bad_value(argument, "yield at least one batch", "its length is 0")
    _check_order(loader, total, argument)
    return total


def _check_order(loader: Any, total: int, argument: str) -> None:
    """Refuse a loader whose batches are in another order, or others, the next time."""
    sampler = _sampler_of(loader)
    if isinstance(sampler, _RANDOM_SAMPLERS):
        raise not_the_same(argument, f"its sampler is a {type(sampler).__name__}")
    if sampler is not None and not isinstance(sampler, SequentialSampler):
        orders = [list(itertools.islice(sampler, total)) for _ in range(2)]
        if str(orders[0]) != str(orders[1]):
            raise not_the_same(
                argument, f"its {type(sampler).__name__} gives another order each time"
            )
    if isinstance(loader, Sequence) or iter(loader) is loader:
        return
    first, second = (next(iter(loader), None) for _ in range(2))
    if not _are_equal(first, second):
        raise not_the_same(argument, "its first batch is another one the second time")


_RANDOM_SAMPLERS = (RandomSampler, SubsetRandomSampler, WeightedRandomSampler, DistributedSampler)


def _sampler_of(loader: Any) -> Iterable[Any] | None:
    """Return what decides the order of a loader: the sampler within its batch samplers."""
    found = getattr(loader, "batch_sampler", None)
    found = getattr(loader, "sampler", None) if found is None else found
    while isinstance(found, BatchSampler):
        found = found.sampler
    return found if isinstance(found, Iterable) else None


def _are_equal(first: Any, second: Any) -> bool:
    """Return whether two batches hold the same numbers."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.shape == second.shape and digest_of(first) == digest_of(second)
    if isinstance(first, tuple | list) and isinstance(second, tuple | list):
        return len(first) == len(second) and all(map(_are_equal, first, second))
    return True


def not_the_same(argument: str, seen: str) -> BadValueError:
    """Return the error of a loader whose batches are other ones the second time."""
    return bad_value(
        argument,
        "yield the same batches in the same order each time",
        seen,
        "Use shuffle=False and no random augmentation; shard divides the work.",
    )


def batches(
    loader: Any,
    numbers: Sequence[int] | range,
    inputs: Callable[[Any], Any] | None,
    argument: str = "loader",
) -> Iterator[tuple[int, torch.Tensor, SampleInputs]]:
    """Yield the number, x and the further inputs of batch 0 and of those asked for."""
    if isinstance(loader, Sequence):
        chosen = ((k, loader[k]) for k in sorted({0, *numbers}))
    else:
        chosen = ((k, batch) for k, batch in enumerate(loader) if k == 0 or k in numbers)
    last = -1
    for last, batch in chosen:
        x = batch[0] if isinstance(batch, tuple | list) and batch else batch
        if not isinstance(x, torch.Tensor):
            raise TypeError(
                f"{argument} must yield tensors, or tuples that begin with one: batch "
                f"{last} is a {type(batch).__name__}. Use for instance "
                "[(batch['x'], batch['mask']) for batch in loader]."
            )
        yield last, x, SampleInputs.of(None if inputs is None else inputs(batch))
    if last != max(numbers, default=0):
        raise bad_value(
            argument,
            f"yield as many batches as its length {len(loader)} says",
            f"batch {max(numbers)} did not come",
        )
