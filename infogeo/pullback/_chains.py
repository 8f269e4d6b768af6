"""Networks that are one chain of layers, and their hidden units, which may change places."""

import operator
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from infogeo._array import BadValueError, bad_value

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_BY_UNIT = (
    nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm1d, nn.InstanceNorm2d,
    nn.InstanceNorm3d, nn.LayerNorm, nn.PReLU,
)  # fmt: skip
# What treats all units alike, as modules, functions and methods: names without _ and in one case.
_ALIKE = """
    adaptiveavgpool1d adaptiveavgpool2d adaptiveavgpool3d adaptivemaxpool1d adaptivemaxpool2d
    adaptivemaxpool3d alphadropout avgpool1d avgpool2d avgpool3d celu contiguous dropout dropout1d
    dropout2d dropout3d elu erf exp featurealphadropout flatten gelu hardshrink hardsigmoid
    hardswish hardtanh identity leakyrelu logsigmoid lppool1d lppool2d lppool3d maxpool1d maxpool2d
    maxpool3d mish relu relu6 reshape selu sigmoid silu sin softplus softshrink softsign square
    tanh tanhshrink threshold view
    """.split()  # noqa: SIM905, one word a line is 60 lines


@dataclass(frozen=True)
class Hidden:
    """The units between two layers of a chain.

    Parameters
    ----------
    source, target : str
        The layer that makes the units, and the next one, which takes them.
    between : tuple of str
        Layers with entries for each unit, such as norms.
    num_units : int
        How many units there are.
    spread : int
        How many inputs of the target each unit has: flattened pixels of a channel.
    """

    source: str
    target: str
    between: tuple[str, ...]
    num_units: int
    spread: int

    def matrix(self, state: Mapping[str, Tensor], names: set[str]) -> Tensor:
        """Return the weights that belong to each unit, among some names, shape (units, k)."""
        parts = [
            tensor.detach().cpu().double()
            for name in state
            if name in names and (tensor := self._by_unit(name, state[name])) is not None
        ]
        return torch.cat(parts, dim=1)

    def permuted(self, state: Mapping[str, Tensor], order: Tensor) -> dict[str, Tensor]:
        """Return weights whose unit i is unit order[i] of those given."""
        found = dict(state)
        for name, tensor in state.items():
            units = self._by_unit(name, tensor)
            if units is None:
                continue
            chosen = units[order.to(units.device)]
            if name == f"{self.target}.weight":
                rest = tensor.shape[2:]
                columns = chosen.unflatten(1, (tensor.shape[0], self.spread, *rest))
                found[name] = columns.transpose(0, 1).reshape(tensor.shape)
            else:
                found[name] = chosen.reshape(tensor.shape)
        return found

    def _by_unit(self, name: str, tensor: Tensor) -> Tensor | None:
        """Return the entries of each unit as rows, None for a tensor that has none."""
        prefix, _, kind = name.rpartition(".")
        if prefix == self.target and kind == "weight":
            columns = tensor.unflatten(1, (self.num_units, self.spread))
            return columns.transpose(0, 1).flatten(1)
        has_units = prefix == self.source or prefix in self.between
        if has_units and tensor.ndim > 0 and len(tensor) == self.num_units:
            return tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
        return None


def hidden_units(model: nn.Module) -> list[Hidden]:
    """Return the hidden units of a chain of layers, in their order; refuse other networks."""
    _refuse_ties(model)
    found: list[Hidden] = []
    between: list[str] = []
    source, odd = "", ""
    for name, part, kind in _chain(model):
        if type(part) is nn.Linear or type(part) in _CONVOLUTIONS:
            if getattr(part, "groups", 1) != 1:
                raise _refused(f"{name!r} has {part.groups} groups of channels")
            if odd:
                raise _refused(f"after {source!r} there is {odd}, which may tell units apart")
            if source:
                found.append(_between(model.get_submodule(source), source, between, part, name))
            source, between = name, []
        elif source and type(part) in _BY_UNIT:
            between.append(name)
        elif source and (kind not in _ALIKE or _has_tensors(part)):
            odd = f"{name!r} ({kind})"  # wrong only if another layer follows
    if not found:
        raise _refused("it has no hidden units")
    return found


def _between(first: Any, source: str, between: list[str], second: Any, target: str) -> Hidden:
    num_units, num_inputs = len(first.weight), second.weight.shape[1]
    if num_inputs % num_units:
        raise _refused(f"{target!r} takes {num_inputs} inputs from the {num_units} of {source!r}")
    return Hidden(source, target, tuple(between), num_units, num_inputs // num_units)


def _chain(model: nn.Module) -> list[tuple[str, Any, str]]:
    """Return name, module and kind of what a network does, one after the other."""
    if not any(True for _ in model.children()):
        return []
    try:
        nodes = list(torch.fx.Tracer().trace(model).nodes)
    except Exception as error:  # whatever a forward method does with what is no tensor
        lines = str(error).splitlines() or [type(error).__name__]
        raise _refused(f"its layers cannot be read: {lines[0][:80]}") from None
    steps: list[tuple[str, Any, str]] = []
    sizes: set[Any] = set()
    before = None
    for node in nodes:
        if node.op == "placeholder" and (before is None or not node.users):
            before = node if before is None else before
            continue
        inputs = [other for other in node.all_input_nodes if other not in sizes]
        if _is_size(node, sizes):
            sizes.add(node)
            continue
        if inputs != [before]:
            raise _refused(f"{node.name!r} takes more, or other things, than what comes before it")
        before, name = node, str(node.target)
        if node.op == "output":
            break
        is_module = node.op == "call_module"
        part = model.get_submodule(name) if is_module else None
        kind = type(part).__name__ if is_module else getattr(node.target, "__name__", name)
        steps.append((name if is_module else node.name, part, kind.lower().replace("_", "")))
    twice = [
        name for name, n in Counter(s[0] for s in steps if _has_tensors(s[1])).items() if n > 1
    ]
    if twice:
        raise _refused(f"{twice[0]!r} is used more than once")
    return steps


def _is_size(node: Any, sizes: set[Any]) -> bool:
    """Return whether a step of a network reads the shape of a tensor."""
    if node.target == "size" or (node.target is getattr and node.args[1] == "shape"):
        return True
    return node.target is operator.getitem and node.args[0] in sizes


def _has_tensors(part: Any) -> bool:
    return part is not None and any(
        True for tensors in (part.parameters(), part.buffers()) for _ in tensors
    )


def _refuse_ties(model: nn.Module) -> None:
    known = {p: name for name, p in model.named_parameters()}
    for name, p in model.named_parameters(remove_duplicate=False):
        if known[p] != name:
            raise _refused(f"{name!r} is tied to {known[p]!r}")


def _refused(seen: str) -> BadValueError:
    return bad_value(
        "model",
        "be one chain of linear layers and convolutions, with what treats all units alike between "
        "them, where hidden units are to be matched",
        seen,
        "Match the units of its parts that are chains, or give its weights in matched order.",
    )
