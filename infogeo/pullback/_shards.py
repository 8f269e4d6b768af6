"""Samples that several processes share: sums over all of them."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Shards:
    """The processes of a group of torch.distributed, each with samples of its own.

    Each method is called by all processes in the same order, and all of them get the same result.

    Parameters
    ----------
    group : torch.distributed.ProcessGroup or None
        None: this process has all samples.
    """

    group: Any

    def __post_init__(self) -> None:
        if self.group is None:
            return
        kind = getattr(torch.distributed, "ProcessGroup", None)
        if kind is None or not isinstance(self.group, kind):
            raise TypeError(
                "group must be a process group of torch.distributed, or None: got "
                f"{type(self.group).__name__}. Use torch.distributed.group.WORLD after "
                "init_process_group."
            )

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum over the processes."""
        return self._reduced(tensor, "SUM")

    def largest(self, tensor: Tensor) -> Tensor:
        """Return the largest over the processes, entry by entry."""
        return self._reduced(tensor, "MAX")

    def mean(self, total: Tensor, count: int) -> Tensor:
        """Return the mean over all samples from the sum over those of this process."""
        if self.group is None:
            return total / count
        counts = torch.tensor(float(count), dtype=torch.float64, device=total.device)
        return self.sum(total) / self.sum(counts).to(total.dtype)

    def norm(self, lengths: Tensor) -> Tensor:
        """Return the root of the sum of squares over the processes, however small they are."""
        if self.group is None:
            return lengths
        top = self.largest(lengths)
        scale = torch.where(top > 0.0, top, 1.0)
        return scale * self.sum((lengths / scale).square()).sqrt()

    def rows(self, tensor: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other."""
        if self.group is None:
            return tensor
        size = torch.distributed.get_world_size(self.group)
        counts = [torch.zeros(1, dtype=torch.int64, device=tensor.device) for _ in range(size)]
        own = torch.full_like(counts[0], len(tensor))
        torch.distributed.all_gather(counts, own, group=self.group)
        lengths = [int(count) for count in counts]
        padded = tensor.new_zeros(max(lengths), *tensor.shape[1:])
        padded[: len(tensor)] = tensor
        parts = [torch.empty_like(padded) for _ in lengths]
        torch.distributed.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:length] for part, length in zip(parts, lengths, strict=True)])

    def first(self, tensor: Tensor) -> Tensor:
        """Return what the first of the processes has."""
        if self.group is not None:
            source = torch.distributed.get_global_rank(self.group, 0)
            torch.distributed.broadcast(tensor, source, group=self.group)
        return tensor

    def _reduced(self, tensor: Tensor, kind: str) -> Tensor:
        if self.group is None:
            return tensor
        reduced = tensor.detach().clone().contiguous()
        operation = getattr(torch.distributed.ReduceOp, kind)
        torch.distributed.all_reduce(reduced, operation, group=self.group)
        return reduced
