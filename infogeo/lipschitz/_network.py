"""Bounds of networks from those of their layers: in turn, in branches, and as torch.fx traces them.

Where the size of an input is known, an example of that size goes along.
"""

import math
import operator
from dataclasses import dataclass

import torch
from torch import fx, nn

from infogeo._array import bad_value
from infogeo.lipschitz._checks import check_finite, named
from infogeo.lipschitz._constants import UnboundedError, constant_of, rule_of


def bound_module(module, path, order, example):
    """Return a bound of the constant from lp to lp, and what becomes of the example, or None."""
    if isinstance(module, nn.Sequential) and _runs_in_turn(module):
        bound = 1.0
        for name, child in module._modules.items():  # named_children() leaves out repetitions
            constant, example = bound_module(child, f"{path}.{name}".strip("."), order, example)
            bound *= constant
        return bound, example
    if rule_of(module) is None and example is not None and not _is_of_torch(module):
        return _Tracing(module, path, order).bound(example)
    try:
        if rule_of(module) is not None:
            check_finite(module, path)
        constant = constant_of(module, order, None if example is None else tuple(example.shape))
    except UnboundedError as reason:
        raise _unknown(named(path, module), reason) from None
    return constant, None if example is None else _result(module, path, example)


def _runs_in_turn(module):
    kind = type(module)
    return all(getattr(kind, m) is getattr(nn.Sequential, m) for m in ("forward", "__iter__"))


def _is_of_torch(module):
    return type(module).__module__.startswith("torch.nn.")


def _unknown(what, reason):
    joint = " " if str(reason)[0].islower() else ". "
    return TypeError(
        f"model must be made of modules with a known Lipschitz constant: {what}{joint}{reason}"
    )


def _result(module, path, example):
    result = _run(module, named(path, module), (example,))
    if not isinstance(result, torch.Tensor):
        raise _unknown(named(path, module), f"It returns a {type(result).__name__}.")
    return result


def _run(function, name, args, kwargs=None):
    """Return a result at the example; what fails there is a wrong shape."""
    try:
        return function(*args, **(kwargs or {}))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        shapes = [tuple(x.shape) for x in args if isinstance(x, torch.Tensor)]
        text = (str(error).splitlines() or [""])[0]
        raise bad_value(
            "input_shape",
            "fit the model",
            f"{name} that gets {' and '.join(map(str, shapes))}, with the batch axis: {text}",
        ) from None


# ---------------------------------------------------------------- forward methods of one's own


@dataclass(frozen=True)
class _Dependent:
    """What depends on the input: an example, and a bound of how fast it changes.

    The version of the example, which views share, shows changes in place.
    """

    example: torch.Tensor
    bound: float
    version: int

    @classmethod
    def of(cls, example, bound):
        return cls(example, bound, example._version)


def _in_place(name):
    function = getattr(operator, name)

    def method(self, other):
        return self.tracer.create_proxy("call_function", function, (self, other), {})

    return method


class _Proxy(fx.Proxy):
    """Records x += y as a change in place, where that of torch.fx records x = x + y."""

    __iadd__, __isub__, __imul__, __itruediv__ = map(
        _in_place, ("iadd", "isub", "imul", "itruediv")
    )
    __ifloordiv__, __imod__, __ipow__ = map(_in_place, ("ifloordiv", "imod", "ipow"))
    __imatmul__, __iand__, __ior__, __ixor__ = map(_in_place, ("imatmul", "iand", "ior", "ixor"))


class _Tracer(fx.Tracer):
    """Goes into modules of the user, and into no layer."""

    def proxy(self, node):
        return _Proxy(node, self)

    def is_leaf_module(self, module, path):
        if rule_of(module) is not None:
            return True
        is_container = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        return _is_of_torch(module) and not is_container


class _Tracing:
    """The operations of a module in turn, with a bound of each result."""

    def __init__(self, module, path, order):
        self._path, self._order, self._name = path, order, named(path, module)
        before = _held(module)
        try:
            graph = _Tracer().trace(module)
            first = _recorded(module, graph)
            second = _recorded(module, _Tracer().trace(module))
        except Exception as error:  # whatever the user's forward method raises for what it gets
            text = (str(error).splitlines() or [type(error).__name__])[0]
            raise _unknown(
                self._name,
                f"torch.fx cannot trace it ({text}). Write it without branches that depend on "
                "values, or put its parts into nn.Sequential.",
            ) from None
        if not _are_same(first, second):  # as where it changes a list, or a global variable
            raise _unknown(self._name, _CHANGES_ITSELF)
        after = _held(module)  # torch.fx calls what takes constants alone
        for key, (value, version) in before.items():
            if key not in after or after[key][0] is not value or after[key][1] != version:
                raise _unknown(self._name, _CHANGES_ITSELF)
        self._root, self._graph = module, graph

    def bound(self, example):
        values = {}
        inputs = [node for node in self._graph.nodes if node.op == "placeholder"]
        for node in self._graph.nodes:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), values.__getitem__)
            if _is_overwritten((args, kwargs)):
                raise self._refused(
                    node.name, "Part of what it takes was changed in place: use operations that "
                    "return new tensors."
                )  # fmt: skip
            if node.op == "output":
                (result,) = args
                if not isinstance(result, _Dependent):
                    raise self._refused("output", "It has to return one tensor.")
                return result.bound, result.example
            if node.op == "placeholder":
                if node is not inputs[0] and not args:
                    raise self._refused(node.target, "It has to be a function of one input.")
                values[node] = _Dependent.of(example, 1.0) if node is inputs[0] else args[0]
            elif node.op == "get_attr":
                value = operator.attrgetter(node.target)(self._root)
                values[node] = value.double() if value.is_floating_point() else value
            else:
                call = self._of_module if node.op == "call_module" else self._of_operation
                constants = [(x, x._version) for x in _leaves((args, kwargs), torch.Tensor)]
                values[node] = call(node, args, kwargs)
                if any(x._version != version for x, version in constants):
                    raise self._refused(node.name, _CHANGES_ITSELF)
                _follow_in_place(values, values[node])
        raise self._refused("forward", "It returns nothing.")

    def _of_module(self, node, args, kwargs):
        path = f"{self._path}.{node.target}".strip(".")
        module = self._root.get_submodule(node.target)
        inputs = [*args, *kwargs.values()]
        if not any(isinstance(value, _Dependent) for value in inputs):
            return module(*args, **kwargs)
        if len(inputs) != 1:
            try:
                constant_of(module, self._order, None)
                reason = "It is given more than one input."
            except UnboundedError as found:
                reason = found
            raise _unknown(named(path, module), reason)
        constant, example = bound_module(module, path, self._order, inputs[0].example)
        return _Dependent.of(example, inputs[0].bound * constant)

    def _of_operation(self, node, args, kwargs):
        name = node.target if isinstance(node.target, str) else _name_of(node.target)
        if node.target in _OF_SEQUENCES and isinstance(args[0], tuple | list):
            return node.target(*args)
        plain_args, plain_kwargs = _map((args, kwargs), lambda value: value.example)
        is_method = node.op == "call_method"
        function = operator.methodcaller(name, *plain_args[1:], **plain_kwargs)
        if is_method:
            result = _run(function, f"the operation {name}", plain_args[:1])
        else:
            result = _run(node.target, f"the operation {name}", plain_args, plain_kwargs)
        found = _dependents((args, kwargs))
        name = args[1] if node.target is getattr else name
        is_known = is_method or _is_known(node.target)
        if not found or (is_known and name in _SIZES):
            return result
        rule = _OPERATIONS.get(name) if is_known else None
        if rule is None:
            raise self._refused(name, "It has no rule: write it with layers that have one.")
        if isinstance(result, torch.Tensor) and not result.is_floating_point():
            raise self._refused(name, f"Its result has to be real: its dtype is {result.dtype}.")
        try:
            bound = rule(_Call(name, args, kwargs, result, self._order))
        except UnboundedError as reason:
            raise self._refused(name, reason) from None
        if isinstance(result, torch.Tensor):
            return _Dependent.of(result, bound)
        return tuple(_Dependent.of(part, bound) for part in result)

    def _refused(self, operation, reason):
        return _unknown(f"{self._name} with the operation {operation}", reason)


_CHANGES_ITSELF = (
    "Its forward method changes a number or a tensor that the module holds, so that it is another "
    "function at each call: use local variables, and operations that return new tensors."
)


def _recorded(module, graph):
    """Return each operation of a graph with its constants, and copies of the tensors it takes."""
    places = {node: k for k, node in enumerate(graph.nodes)}
    rows = []
    for node in graph.nodes:
        arguments = fx.node.map_arg((node.args, node.kwargs), lambda other: (places[other],))
        tensor = operator.attrgetter(node.target)(module) if node.op == "get_attr" else None
        target = None if node.op == "get_attr" else node.target
        copied = tensor.detach().clone() if isinstance(tensor, torch.Tensor) else tensor
        rows.append((repr((node.op, target, arguments)), copied))
    return rows


def _are_same(first, second):
    return len(first) == len(second) and all(
        one == other
        and (
            a is b
            or (torch.is_tensor(a) and torch.is_tensor(b) and a.equal(b))
            or repr(a) == repr(b)
        )
        for (one, a), (other, b) in zip(first, second, strict=True)
    )


def _held(module):
    """Return the numbers and the tensors of a module and of its parts, with their versions."""
    held = {}
    for path, part in module.named_modules():
        for name, value in (vars(part) | part._parameters | part._buffers).items():
            if isinstance(value, torch.Tensor):
                held[path, name] = value, value._version
            elif isinstance(value, int | float):
                held[path, name] = value, None
    return held


def _is_overwritten(tree):
    return any(value.version != value.example._version for value in _dependents(tree))


def _follow_in_place(values, result):
    """Let the names of a tensor that was changed in place stand for what it is now.

    Views of it and what it is a view of keep their old version, so that their use is refused.
    """
    if isinstance(result, _Dependent):
        for node, value in values.items():
            if isinstance(value, _Dependent) and value.example is result.example:
                values[node] = result


def _dependents(tree):
    return _leaves(tree, _Dependent)


def _leaves(tree, kind):
    found = []
    fx.node.map_aggregate(tree, lambda leaf: found.append(leaf) if isinstance(leaf, kind) else None)
    return found


def _map(tree, function):
    """Apply a function to what depends on the input, in tuples, lists and mappings."""
    if isinstance(tree, _Dependent):
        return function(tree)
    if isinstance(tree, dict):
        return {key: _map(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(_map(value, function) for value in tree)
    return tree


def _name_of(function):
    name = getattr(function, "__name__", str(function)).strip("_")
    return (
        name[1:]
        if name.startswith("i") and name[1:] in ("add", "sub", "mul", "truediv")
        else (name)
    )


def _is_known(function):
    origin = getattr(function, "__module__", None) or ""
    return function is getattr or origin.partition(".")[0] in ("torch", "_operator", "")


# ---------------------------------------------------------------- rules of operations


@dataclass(frozen=True)
class _Call:
    """An operation, its arguments and its result at the example."""

    name: str
    args: tuple
    kwargs: dict
    result: object
    order: float

    def argument(self, place, name, default=None):
        """Return an argument, by its place or its name."""
        return self.args[place] if len(self.args) > place else self.kwargs.get(name, default)

    @property
    def input(self):
        """Return the argument that has to be the one that depends on the input."""
        first = self.argument(0, "input")
        self._check_all([first], "It may depend on the input by its first argument only.")
        return first

    @property
    def operands(self):
        """Return the two arguments by which alone it may depend on the input."""
        pair = self.argument(0, "input"), self.argument(1, "other")
        self._check_all(pair, "It may depend on the input by its first two arguments only.")
        return pair

    @property
    def parts(self):
        """Return those tensors of a sequence that depend on the input, and no other argument."""
        parts = self.argument(0, "tensors")
        self._check_all(parts, "It may depend on the input by the tensors that it joins only.")
        return [part for part in parts if isinstance(part, _Dependent)]

    def _check_all(self, expected, reason):
        count = sum(isinstance(value, _Dependent) for value in expected)
        if count != len(_dependents((self.args, self.kwargs))):
            raise UnboundedError(reason)

    def spread(self, value):
        """Return how much copying an operand to the shape of the result adds to its norm."""
        return (self.result.numel() / max(value.example.numel(), 1)) ** (1.0 / self.order)


def _same(call):
    if any(isinstance(value, torch.dtype) for value in call.args):
        raise UnboundedError("It takes the bits of the input for those of other numbers.")
    return call.input.bound * max(1.0, call.spread(call.input))


def _parts(call):
    return call.input.bound


def _sum(call):
    scale = abs(float(call.kwargs.get("alpha", 1.0)))
    bounds = [
        call.spread(value) * value.bound * (scale if place == 1 else 1.0)
        for place, value in enumerate(call.operands)
        if isinstance(value, _Dependent)
    ]
    return sum(bounds)


def _product(call):
    one, other = call.operands
    if not isinstance(one, _Dependent):
        one, other = other, one
    if isinstance(other, _Dependent):
        raise UnboundedError("A product of two parts that depend on the input is not Lipschitz.")
    return call.spread(one) * one.bound * _size(other)


def _quotient(call):
    one, other = call.operands
    if isinstance(other, _Dependent) or call.kwargs.get("rounding_mode") is not None:
        raise UnboundedError("It divides by what depends on the input, or rounds.")
    return call.spread(one) * one.bound * _size(1.0 / torch.as_tensor(other).double())


def _size(factor):
    size = float(torch.as_tensor(factor).detach().double().abs().max())
    if not math.isfinite(size):
        raise UnboundedError("Its factor is not finite.")
    return size


def _joined(call):
    return _norm([part.bound for part in call.parts], call.order)


def _larger(call):
    bounds = [call.spread(v) * v.bound for v in call.operands if isinstance(v, _Dependent)]
    return _norm(bounds, call.order)


def _norm(bounds, order):
    return float(torch.linalg.vector_norm(torch.tensor(bounds, dtype=torch.float64), order))


def _mean(call):
    count = call.input.example.numel() / call.result.numel()
    return call.input.bound * count ** (-1.0 / call.order)


def _total(call):
    count = call.input.example.numel() / call.result.numel()
    return call.input.bound * count ** (1.0 - 1.0 / call.order)


def _item(call):
    one, index = call.input, call.args[1]
    index = index if isinstance(index, tuple) else (index,)
    if not all(part is None or part is ... or isinstance(part, int | slice) for part in index):
        raise UnboundedError("An index that is an array may repeat entries: use slices.")
    return one.bound


def _maximum(call):
    if not isinstance(call.result, torch.Tensor):
        raise UnboundedError("It returns indices, too: use amax or amin.")
    return _same(call)


def _dropout(call):
    if call.argument(2, "training", True):
        raise UnboundedError("in training mode. Call model.eval() first, and give training=False.")
    return call.input.bound


def _linear(call):
    one, weight = call.input, call.argument(1, "weight")
    _size(weight)
    rows = torch.atleast_2d(weight.double())  # a vector makes one number
    return one.bound * float(torch.linalg.matrix_norm(rows, call.order))


def _layer(kind, *names):
    """Return the rule of a function, from that of the layer with the same arguments."""

    def rule(call):
        options = dict(zip(names, call.args[1:], strict=False))
        options |= {name: value for name, value in call.kwargs.items() if name != "input"}
        dropped = ("_stacklevel", "dtype", "inplace")
        options = {name: value for name, value in options.items() if name not in dropped}
        one = call.input
        layer = kind(**options)
        return one.bound * constant_of(layer, call.order, tuple(one.example.shape))

    return rule


def _each(rule, names):
    return dict.fromkeys(names.split(), rule)


def _pool(kind, *more):
    return _layer(kind, "kernel_size", "stride", "padding", *more)


_OF_SEQUENCES = (operator.getitem, operator.add, operator.iadd, operator.mul, operator.imul)
_MEAN_POOL = ("ceil_mode", "count_include_pad")
_MAXIMUM_POOL = ("dilation", "ceil_mode", "return_indices")
_SIZES = ("size", "dim", "numel", "ndimension", "shape", "ndim", "dtype", "device", "is_cuda")
_OPERATIONS = {
    **_each(
        _same,
        """
        T mT view reshape flatten unflatten permute transpose t squeeze unsqueeze contiguous clone
        movedim swapaxes swapdims pixel_shuffle pixel_unshuffle flip narrow select
        neg abs relu relu6 tanh clamp hardtanh logsigmoid softsign relu_ clamp_ tanh_ abs_ neg_
        """,
    ),
    **_each(_parts, "chunk split unbind tensor_split"),
    **_each(_maximum, "amax amin max min"),
    **_each(_sum, "add add_ sub sub_"),
    **_each(_product, "mul mul_ multiply"),
    **_each(_quotient, "truediv div div_ divide"),
    **_each(_joined, "cat concat stack"),
    **_each(_larger, "maximum minimum"),
    "mean": _mean,
    "sum": _total,
    "getitem": _item,
    "dropout": _dropout,
    "linear": _linear,
    **_each(lambda call: 0.25 * call.input.bound, "sigmoid sigmoid_"),
    **_each(lambda call: 0.5 * call.input.bound, "softmax softmin"),
    "log_softmax": _layer(nn.LogSoftmax, "dim"),
    "gelu": _layer(nn.GELU, "approximate"),
    "silu": _layer(nn.SiLU),
    "mish": _layer(nn.Mish),
    "hardswish": _layer(nn.Hardswish),
    "selu": _layer(nn.SELU),
    "leaky_relu": _layer(nn.LeakyReLU, "negative_slope"),
    "elu": _layer(nn.ELU, "alpha"),
    "avg_pool1d": _pool(nn.AvgPool1d, *_MEAN_POOL),
    "avg_pool2d": _pool(nn.AvgPool2d, *_MEAN_POOL, "divisor_override"),
    "avg_pool3d": _pool(nn.AvgPool3d, *_MEAN_POOL, "divisor_override"),
    "max_pool1d": _pool(nn.MaxPool1d, *_MAXIMUM_POOL),
    "max_pool2d": _pool(nn.MaxPool2d, *_MAXIMUM_POOL),
    "max_pool3d": _pool(nn.MaxPool3d, *_MAXIMUM_POOL),
    "adaptive_avg_pool1d": _layer(nn.AdaptiveAvgPool1d, "output_size"),
    "adaptive_avg_pool2d": _layer(nn.AdaptiveAvgPool2d, "output_size"),
    "adaptive_avg_pool3d": _layer(nn.AdaptiveAvgPool3d, "output_size"),
}
