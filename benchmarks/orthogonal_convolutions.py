"""Orthogonal convolutions beside those of orthogonium: how exact, how fast, what of torch.func.

    python benchmarks/orthogonal_convolutions.py

The error is the largest distance of a singular value from 1 of the convolution as a matrix, on
images of 8 x 8 pixels with circular padding, after some steps. Times are those of a step of
training with two such layers, 32 images of 16 x 16 pixels; the last column has them over those
without a constraint.
"""

import time
import warnings

import torch
from orthogonium.layers.conv.AOC import AdaptiveOrthoConv2d
from torch import nn

from infogeo.lipschitz import layers

CASES = ((8, 8, 3), (8, 16, 3), (32, 16, 3), (16, 16, 5))  # channels in, out, taps


def padded(kind):
    """Return what makes a layer of some kind with circular padding."""
    return lambda c_in, c_out, kernel: kind(
        c_in, c_out, kernel, padding=kernel // 2, padding_mode="circular"
    )


MAKERS = {
    "infogeo": layers.OrthogonalConv2d,
    "orthogonium": padded(AdaptiveOrthoConv2d),
    "no constraint": padded(nn.Conv2d),
}


def pair(make, sizes):
    """Return two layers, the second one between as many channels as come out of the first."""
    return nn.Sequential(make(*sizes), make(sizes[1], *sizes[1:]))


def step_time(net, channels):
    """Return the least processor time of ten steps, in seconds."""
    images, times = torch.randn(32, channels, 16, 16), []
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(15):
        start = time.process_time()
        optimizer.zero_grad()
        net(images).square().mean().backward()
        optimizer.step()
        times.append(time.process_time() - start)
    return min(times[5:])


def transforms(layer, channels):
    """Return the names of what torch.func computes of a layer in training mode, and what fails."""
    weights = {name: value.detach() for name, value in layer.named_parameters()}
    image = torch.randn(1, channels, 8, 8)

    def loss(weights):
        return torch.func.functional_call(layer, weights, (image,)).square().sum()

    found = {}
    for name, call in {
        "gradient": lambda: torch.func.grad(loss)(weights),
        "forward mode": lambda: torch.func.jvp(loss, (weights,), (weights,)),
        "Hessian": lambda: torch.func.hessian(loss)(weights),
        "Jacobian of inputs": lambda: torch.func.jacrev(layer)(image),
    }.items():
        try:
            call()
        except (RuntimeError, NotImplementedError):
            found[name] = "no"
        else:
            found[name] = "yes"
    return found


def main():
    """Print a row for each size, and what of torch.func works."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| channels, taps | layers | error | bound | step | over no constraint |")
    for sizes in CASES:
        nets = {who: pair(make, sizes) for who, make in MAKERS.items()}
        times = {who: step_time(net, sizes[0]) for who, net in nets.items()}
        for who in ("infogeo", "orthogonium"):
            layer, shape = nets[who].eval()[0], (sizes[0], 8, 8)
            matrix = layers.as_linear(layer, shape).weight.detach().double()
            error = float((torch.linalg.svdvals(matrix) - 1.0).abs().max())
            bound = layers.lipschitz_bound(layer, input_shape=shape)
            ratio = times[who] / times["no constraint"]
            name = f"{sizes[0]} to {sizes[1]}, {sizes[2]} x {sizes[2]}"
            cells = f"{error:.1e} | {bound:.7f} | {1e3 * times[who]:.1f} ms | {ratio:.1f}"
            print(f"| {name} | {who} | {cells} |", flush=True)
    for who in ("infogeo", "orthogonium"):
        print(who, transforms(MAKERS[who](4, 4, 3), 4))


if __name__ == "__main__":
    main()
