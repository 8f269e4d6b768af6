"""Four ways from one image to another, as a classifier sees them
==============================================================

The straight line; the leaf path, which moves only where the prediction moves; a path as short as
the distance of the predictions allows; and the kernel walk, which goes as near to the second image
as it can while the prediction stays. Prints how often leaf paths reach the label of their target,
and draws one pair into leaf_paths.png.

Uses scikit-learn's digits (8 x 8 pixels), or with ``--data DIR`` the 10,000 test images of MNIST,
of which 8,000 are trained on and 2,000 held out. DIR holds t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz.
"""

import argparse
import gzip
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits
from torch import nn

from infogeo import plot
from infogeo.pullback import PullbackMetric

INK = (-0.3, 1.3)  # pixels from 0 to 1, and somewhat more: paths leave the range


def read_idx(path):
    """Read an array in MNIST's format: two zeros, type, number of axes, lengths, bytes."""
    content = gzip.decompress(path.read_bytes())
    num_axes = content[3]
    if content[:3] != b"\0\0\x08" or not 1 <= num_axes <= 3:
        raise SystemExit(f"{path} is not in the IDX format with unsigned bytes.")
    shape = np.frombuffer(content, ">u4", num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


def load(folder):
    """Return (images, labels) to train on and those held out, in an order that is fixed."""
    if folder is None:
        bunch = load_digits()
        images, labels, num_held_out = bunch.images / 16.0, bunch.target, 500
    else:
        images = read_idx(folder / "t10k-images-idx3-ubyte.gz") / 255.0
        labels, num_held_out = read_idx(folder / "t10k-labels-idx1-ubyte.gz").copy(), 2000
    order = torch.randperm(len(labels))
    images = torch.as_tensor(images, dtype=torch.float32)[order]
    labels = torch.as_tensor(labels, dtype=torch.int64)[order]
    cut = len(labels) - num_held_out
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def train(images, labels, num_epochs=15):
    """Train a network with two hidden layers."""
    size = images[0].numel()
    net = nn.Sequential(
        nn.Flatten(),
        nn.Linear(size, 96),
        nn.ReLU(),
        nn.Linear(96, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(num_epochs):
        for batch in torch.randperm(len(images)).split(128):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
    return net.double().eval().requires_grad_(False)


def pairs_of_different_digits(net, images, labels, num_pairs):
    """Return two batches of images that are classified right, with different digits."""
    is_right = net(images).argmax(-1) == labels
    images, labels = images[is_right], labels[is_right]
    first, second = (
        torch.arange(len(labels) // 2),
        torch.arange(len(labels) // 2, len(labels) // 2 * 2),
    )
    differ = labels[first] != labels[second]
    first, second = first[differ][:num_pairs], second[differ][:num_pairs]
    return images[first], images[second]


def print_leaf_paths(metric, x0, x1):
    """Print how leaf paths of many pairs end."""
    path = metric.leaf_path(x0, x1, num_steps=40)
    target = metric.model(x1).argmax(-1)
    ends = (path.labels[-1] == target).double().mean()
    passes = (path.labels == target).any(0).double().mean()
    whole = (x1 - x0).flatten(1).norm(dim=-1)
    moved = (path.points[-1] - x0).flatten(1).norm(dim=-1) / whole
    num_labels = [len(set(labels)) for labels in path.labels.T.tolist()]
    print(f"leaf paths of {len(x0)} pairs of different digits")
    print(f"  end with the label of the target         {100 * ends:5.1f} %")
    print(f"  pass through the label of the target     {100 * passes:5.1f} %")
    print(f"  moved, of the straight line to the target {100 * moved.median():4.0f} % (median)")
    print(f"  labels on the way                         {np.mean(num_labels):4.1f} (mean)")
    print(f"  horizontal part left at the end           {(path.remainder / whole).median():.1e}")


def print_lengths(metric, x0, x1, path):
    """Print the bracket of the distance beside the straight line's length."""
    straight = metric.segment_length(x0, x1).value
    print(f"\n{'':6}output distance   distance at most   lift too long by   straight line (rad)")
    numbers = zip(path.lower_bound, path.length, path.arrival_error, straight, strict=True)
    for i, (lower, upper, error, line) in enumerate(numbers):
        print(f"pair {i}{lower:15.4f}{upper:19.4f}{error:19.4f}{line:16.4f}")


def between_corners(points, num_pieces=16):
    """Return points on the segments between the corners of a polygon."""
    steps = (points[1:] - points[:-1])[:, None]
    t = (torch.arange(num_pieces) / num_pieces).to(points).reshape(-1, *(1,) * (points.ndim - 1))
    return torch.cat([(points[:-1, None] + t * steps).flatten(0, 1), points[-1:]])


def draw(metric, x0, x1, shortest):
    """Draw four paths between two images."""
    t = torch.linspace(0.0, 1.0, 33, dtype=x0.dtype).reshape(-1, *(1,) * x0.ndim)
    walk = metric.kernel_walk(x0, x1 - x0, num_steps=32)
    rows = {
        "straight line": (1.0 - t) * x0 + t * x1,
        "leaf path": metric.leaf_path(x0, x1, num_steps=32).points,
        "as short as the\npredictions allow": shortest,
        "kernel walk": walk.points,
    }
    figure, axes = plt.subplots(len(rows), figsize=(9.6, 4.7), layout="constrained")
    for ax, (name, points) in zip(axes, rows.items(), strict=True):
        p = torch.softmax(metric.model(points[:, 0]) / metric.temperature, -1)
        captions = [f"{int(k)}: {100 * float(q):.0f} %" for q, k in zip(*p.max(-1), strict=True)]
        plot.filmstrip(points[:, 0], captions=captions, num_frames=9, limits=INK, ax=ax)
        length = float(metric.length(between_corners(points[:, 0])))
        ax.text(
            -0.02, 0.5, f"{name}\n{length:.2f} rad", transform=ax.transAxes, ha="right", va="center"
        )
    figure.savefig("leaf_paths.png", dpi=110)
    print(f"\nkernel walk: the prediction drifts by {float(walk.drift.max()):.1e} rad")


def main():
    """Train, count, draw."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="a folder with MNIST's test images")
    folder = parser.parse_known_args()[0].data
    torch.manual_seed(0)
    (images, labels), held_out = load(folder)
    net = train(images, labels)
    test_images, test_labels = held_out[0].double(), held_out[1]
    accuracy = (net(test_images).argmax(-1) == test_labels).double().mean()
    source = "scikit-learn's digits" if folder is None else "MNIST's test images"
    print(f"{source}: {100 * accuracy:.1f} % of {len(test_labels)} held-out images right\n")
    x0, x1 = pairs_of_different_digits(net, test_images, test_labels, 100)
    metric = PullbackMetric(net)
    print_leaf_paths(metric, x0, x1)
    path = metric.distance(x0[:4], x1[:4], throw=False)
    print_lengths(metric, x0[:4], x1[:4], path)
    draw(metric, x0[:1], x1[:1], path.points[:, :1])


if __name__ == "__main__":
    main()
