"""What the graph of a forward pass tells of it: its precision, and how large it became."""

import math
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class ForwardPass:
    """What lies between an input and an output.

    Parameters
    ----------
    eps : float
        Of the coarsest dtype that a number on the way had: that of bfloat16 for a float32 model
        under autocast, whatever the dtype of its outputs.
    largest, total : int
        How many numbers the largest tensor on the way has, and all of them together.
    """

    eps: float
    largest: int
    total: int


def read_graph(z, x):
    """Read the graph of outputs z back to the leaf x."""
    eps, largest = max(torch.finfo(tensor.dtype).eps for tensor in (z, x)), x.numel()
    total = 0
    for node in _between(z.grad_fn, x):
        for tensor in getattr(node, "_input_metadata", ()):
            if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
                eps = max(eps, torch.finfo(tensor.dtype).eps)
                largest = max(largest, math.prod(tensor.shape))
                total += math.prod(tensor.shape)
        eps = max(eps, _eps_of_products(node, x.device))
    return ForwardPass(eps, largest, total)


def _between(root, x):
    """Return the nodes that x moves: a weight that is converted does not count."""
    users, stack, leaf = {}, [root], None
    seen = {root}
    while stack:
        node = stack.pop()
        if node is None:
            continue
        if getattr(node, "variable", None) is x:
            leaf = node
        for child, _ in node.next_functions:
            users.setdefault(child, []).append(node)
            if child not in seen:
                seen.add(child)
                stack.append(child)
    found, stack = {leaf}, [leaf]
    while stack:
        for node in users.get(stack.pop(), ()):
            if node not in found:
                found.add(node)
                stack.append(node)
    return found - {None}


def count_uses(z):
    """Return how often each leaf is used on the way to z; what only converts it is no use."""
    edges, leaves, stack, seen = {}, {}, [z.grad_fn], {z.grad_fn, None}
    while stack:
        node = stack.pop()
        if node is None:
            continue
        if getattr(node, "variable", None) is not None:
            leaves[node.variable] = node
        for child, _ in node.next_functions:
            edges.setdefault(child, []).append(node)
            if child not in seen:
                seen.add(child)
                stack.append(child)

    def count(node):
        users = edges.get(node, ())
        return sum(count(u) if u.name().startswith("ToCopyBackward") else 1 for u in users)

    return {leaf: count(node) for leaf, node in leaves.items()}


_TENSOR_FLOAT_EPS = 2.0**-10  # of TF32, in which a GPU may multiply float32 numbers
_MATRIX_PRODUCTS = ("Addmm", "Mm", "Bmm", "Baddbmm", "Linear", "Addbmm", "Addmv", "Mv")


def _eps_of_products(node, device):
    """Return the eps of TF32 for a product of float32 matrices on a GPU that may use it."""
    if device.type != "cuda":
        return 0.0
    name = node.name()
    if name.startswith("Convolution"):
        return _TENSOR_FLOAT_EPS if torch.backends.cudnn.allow_tf32 else 0.0
    is_coarse = torch.get_float32_matmul_precision() != "highest"
    return _TENSOR_FLOAT_EPS if is_coarse and name.startswith(_MATRIX_PRODUCTS) else 0.0
