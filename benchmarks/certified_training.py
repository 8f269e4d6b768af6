"""Certified accuracy of infogeo's orthogonal layers beside peers': same images, loss and time.

    python benchmarks/certified_training.py --data DIR --seconds 6 --seeds 3

trains a 784-256-256-10 network with the layers of each on 8,000 of MNIST's 10,000 test images for
as many CPU seconds, and measures on the other 2,000. With --textures DIR in place of --data, the
folder skimage/data of scikit-image, it tells photographs of bricks, grass and gravel from each
other by patches of 16 x 16 pixels, 8,000 from the left three quarters of the photographs and 2,000
from the rest. What counts is the bound that
`layers.lipschitz_bound` computes for the trained network, whoever made it; rows of a peer that
is not installed are left out.
"""

import argparse
import gzip
import itertools
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from matplotlib.image import imread
from torch import nn

from infogeo.lipschitz import certificates, layers, losses

RADII = (0.0, 0.141, 1.0)  # l2, pixels from 0 to 1
TEXTURES, PATCH = ("brick", "grass", "gravel"), 16


def mnist(folder):
    """Return what draws images as rows and their classes, for learning and for testing."""
    parts = []
    for name, offset in (("t10k-images-idx3-ubyte.gz", 16), ("t10k-labels-idx1-ubyte.gz", 8)):
        content = gzip.decompress((Path(folder) / name).read_bytes())
        parts.append(np.frombuffer(content, np.uint8, offset=offset))
    images = torch.from_numpy(parts[0].reshape(-1, 784) / 255.0).float()
    labels = torch.from_numpy(parts[1].astype(np.int64))

    def draw(seed):
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(images)))
        learn, test = order[:8000], order[8000:]
        return images[learn], labels[learn], images[test], labels[test]

    return draw


def textures(folder):
    """Return what draws patches of photographs as rows and their classes, in the same way."""
    photographs = [imread(Path(folder) / f"{name}.png") for name in TEXTURES]

    def patches(rng, count, first, last):
        labels, rows = rng.integers(len(TEXTURES), size=count), []
        for label in labels:
            i, j = rng.integers(512 - PATCH), rng.integers(first, last - PATCH)
            rows.append(photographs[label][i : i + PATCH, j : j + PATCH].ravel())
        return torch.from_numpy(np.stack(rows)).float(), torch.from_numpy(labels)

    def draw(seed):
        rng = np.random.default_rng(seed)
        return *patches(rng, 8000, 0, 384), *patches(rng, 2000, 384, 512)

    return draw


def makers():
    """Return what makes a linear layer, by name."""
    found = {
        "infogeo, QR": layers.OrthogonalLinear,
        "infogeo, Cayley": lambda i, o: layers.OrthogonalLinear(
            i, o, parametrization=layers.Cayley
        ),
    }
    try:
        from deel import torchlip

        found["deel-torchlip"] = torchlip.SpectralLinear
    except ImportError:
        pass
    try:
        from orthogonium.layers.linear import OrthoLinear

        found["orthogonium"] = OrthoLinear
    except ImportError:
        pass
    return found


def train(make, x, y, seconds, seed):
    """Return a network trained for so many CPU seconds, and its steps."""
    torch.manual_seed(seed)
    modules = []
    for i, o in itertools.pairwise((x.shape[1], 256, 256, int(y.max()) + 1)):
        modules += [make(i, o), layers.GroupSort()]
    net = nn.Sequential(*modules[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    steps, start = 0, time.process_time()
    while (share := (time.process_time() - start) / seconds) < 1.0:
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1.0 - share)
        rows = torch.randint(len(x), (128,))
        optimizer.zero_grad()
        losses.offset_cross_entropy(net(x[rows]), y[rows], offset=1.2, tau=5.0).backward()
        optimizer.step()
        steps += 1
    return net.eval(), steps


def main():
    """Print a row for each kind of layer."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data")
    source.add_argument("--textures")
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    draw = mnist(options.data) if options.data else textures(options.textures)
    print(f"{'layers':18}{'steps':>6}{'bound':>12}", *(f"{f'at {r:g}':>24}" for r in RADII))
    for name, make in makers().items():
        runs = []
        for seed in range(options.seeds):
            *learn, x, y = draw(seed)
            net, steps = train(make, *learn, options.seconds, seed)
            bound = layers.lipschitz_bound(net)
            with torch.no_grad():
                z = net(x).double()
            found = certificates.coverage(z, y, RADII, lipschitz_constant=bound)
            runs.append((found.certified_accuracy.numpy(), steps, bound))
        accuracies = np.array([run[0] for run in runs])
        cells = (
            f"{m:9.3f} ({a:.3f} to {b:.3f})"
            for m, a, b in zip(
                accuracies.mean(0), accuracies.min(0), accuracies.max(0), strict=True
            )
        )
        steps, bound = int(np.mean([run[1] for run in runs])), max(run[2] for run in runs)
        print(f"{name:18}{steps:6}{bound:12.7f}", *cells, flush=True)


if __name__ == "__main__":
    main()
