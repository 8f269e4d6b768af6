"""Spectral attacks beside gradient and PGD attacks
================================================

A convolutional network is trained on scikit-learn's digits or, with --data DIR, on MNIST's test
images (8,000 of them for training, 2,000 held out), as t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz in that folder. All attacks know the predicted class only, keep the
pixels in [0, 1] and spend the same l2 budget in that box. With --penalties two more networks are
trained, with the trace and the isometry penalty. Writes spectral_attacks.png into the current
folder.
"""

import argparse
import functools
import gzip
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from scipy.stats import kendalltau
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from infogeo import robustness

BOX = (0.0, 1.0)
COLOURS = ("0.55", "#E69F00", "#56B4E9", "#0072B2", "#003A5C", "#D55E00")
LINES = ((0, (1, 1)), "--", "-", "-", "-", "-.")


def read_idx(path):
    """Read an array of bytes in the format of MNIST."""
    content = gzip.decompress(path.read_bytes())
    num_axes = content[3]
    shape = np.frombuffer(content, ">i4", num_axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * num_axes).reshape(shape)


def load(folder):
    """Return training and held-out images, shape (n, 1, height, width), with their labels."""
    if folder is None:
        bunch = load_digits()
        images, labels, num_held = bunch.images / 16.0, bunch.target, 500
    else:
        images = read_idx(folder / "t10k-images-idx3-ubyte.gz") / 255.0
        labels, num_held = read_idx(folder / "t10k-labels-idx1-ubyte.gz"), 2000
    parts = train_test_split(
        images[:, None], labels, test_size=num_held, random_state=0, stratify=labels
    )
    images, held_images, labels, held_labels = (torch.from_numpy(part) for part in parts)
    return images.float(), labels.long(), held_images.float(), held_labels.long()


def train(images, labels, num_epochs, penalty=None):
    """Train a small convolutional network; return it with its seconds of CPU time."""
    torch.manual_seed(0)
    stride = 2 if images.shape[-1] > 16 else 1
    size = -(-images.shape[-1] // (2 * stride))
    model = nn.Sequential(
        nn.Conv2d(1, 16, 5, stride=stride, padding=2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ReLU(),
        nn.Flatten(), nn.Linear(32 * size * size, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    start = time.process_time()
    for _ in range(num_epochs):
        for batch in torch.randperm(len(images)).split(64):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[batch]), labels[batch])
            if penalty is not None:
                loss = loss + penalty(model, images[batch])
            loss.backward()
            optimizer.step()
    return model.eval().requires_grad_(False), time.process_time() - start


# ---------------------------------------------------------------- attacks


def size(v):
    """Return the l2 norm of each member of a batch, with axes to divide the batch by."""
    return torch.linalg.vector_norm(v.flatten(1), dim=1)[:, None, None, None]


def spend(x, direction, radius):
    """Go along a direction, held in the box, until the l2 distance from x is the radius."""
    direction = direction / size(direction)
    low = torch.zeros(len(x), 1, 1, 1)
    high = torch.full_like(low, 100.0 * radius)
    for _ in range(40):
        t = 0.5 * (low + high)
        is_inside = size((x + t * direction).clamp(*BOX) - x) <= radius
        low, high = torch.where(is_inside, t, low), torch.where(is_inside, high, t)
    return (x + low * direction).clamp(*BOX)


def uphill(model, x, label):
    """Return the gradient of the cross-entropy of the predicted class."""
    x = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(model(x), label, reduction="sum")
    return torch.autograd.grad(loss, x)[0]


def random_attack(model, x, radius):
    """Go along a random direction."""
    return spend(x, torch.randn(x.shape, generator=torch.Generator().manual_seed(0)), radius)


def gradient_attack(model, x, radius):
    """Go along the gradient (the fast gradient method, l2)."""
    return spend(x, uphill(model, x, model(x).argmax(1)), radius)


def pgd_attack(model, x, radius, num_steps=20):
    """Follow the gradient in steps of 2.5 radius / num_steps, projected on the box and the ball."""
    label, y = model(x).argmax(1), x
    for _ in range(num_steps):
        gradient = uphill(model, y, label)
        y = (y + 2.5 * radius / num_steps * gradient / size(gradient).clamp_min(1e-30)).clamp(*BOX)
        y = x + (y - x) * (radius / size(y - x)).clamp_max(1.0)
    return y


def spectral_attack(model, x, radius, num_steps):
    """Go along the top eigenvector of the pullback metric."""
    attack = robustness.spectral_attack(model, x, radius=radius, num_steps=num_steps, clip=BOX)
    return attack.points


ATTACKS = {
    "random": random_attack,
    "gradient": gradient_attack,
    "spectral, 1 step": functools.partial(spectral_attack, num_steps=1),
    "spectral, 2 steps": functools.partial(spectral_attack, num_steps=2),
    "spectral, 5 steps": functools.partial(spectral_attack, num_steps=5),
    "PGD, 20 steps": pgd_attack,
}


def fooled(model, x, points):
    """Return for each input whether its predicted class has changed."""
    return model(points).argmax(1) != model(x).argmax(1)


# ---------------------------------------------------------------- what is shown


def compare(model, x, radii):
    """Return by attack the share of inputs fooled at each radius, PGD's for each input."""
    shares = {}
    for name, attack in ATTACKS.items():
        each = torch.stack([fooled(model, x, attack(model, x, radius)) for radius in radii])
        shares[name] = each.double().mean(1)
    return shares, each


def print_table(model, x, shares, radii, chosen):
    """Print the shares at some radii, and the CPU time of an attack at the middle one."""
    columns = [int(np.argmin(np.abs(radii - radius))) for radius in chosen]
    print(
        "share of predictions changed" + "".join(f"  l2 {radii[j]:4.2f}" for j in columns), end=""
    )
    print("  CPU ms per image")
    for name, attack in ATTACKS.items():
        start = time.process_time()
        attack(model, x, chosen[1])
        cost = 1e3 * (time.process_time() - start) / len(x)
        row = "".join(f"{100 * shares[name][j]:7.1f} %" for j in columns)
        print(f"{name:28}{row}{cost:18.2f}")


def print_indicator(model, x, radii, each):
    """Print how the robustness indicator goes with the smallest radius at which PGD succeeds."""
    reach = np.where(each.any(0), radii[each.double().argmax(0)], np.inf)
    indicator = robustness.robustness_indicator(model, x).numpy()
    tau = kendalltau(indicator, reach).statistic
    print(
        f"\nrobustness indicator against the smallest radius at which PGD succeeds: tau = {tau:.2f}"
    )
    share = np.mean(indicator > reach)
    print(f"the indicator is larger than that radius for {share:.0%} of the images")


def draw_curves(ax, radii, shares):
    """Draw the share of predictions changed over the radius."""
    for (name, share), colour, line in zip(shares.items(), COLOURS, LINES, strict=True):
        ax.plot(radii, 100.0 * share, color=colour, linestyle=line, label=name)
    ax.set(xlabel="l2 size of the change (pixels from 0 to 1)", ylabel="predictions changed (%)")
    ax.set(xlim=(0.0, radii[-1]), ylim=(0.0, 100.0))
    ax.grid(color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)


def draw_images(axes, model, x, radius):
    """Draw some inputs and what three attacks make of them, with the predicted classes."""
    shown = ("spectral, 2 steps", "gradient", "PGD, 20 steps")
    points = {name: ATTACKS[name](model, x, radius) for name in shown}
    for row, image in zip(range(len(x)), x, strict=True):
        classes = {name: int(model(p[row : row + 1]).argmax()) for name, p in points.items()}
        draw_image(axes[row, 0], image, f"input: {int(model(image[None]).argmax())}")
        change = points[shown[0]][row, 0] - image[0]
        limit = float(change.abs().max())
        axes[row, 1].imshow(change, cmap="PuOr_r", vmin=-limit, vmax=limit)
        axes[row, 1].set_title(f"spectral change\nup to {limit:.2f}", fontsize=9)
        for ax, name in zip(axes[row, 2:], shown, strict=True):
            draw_image(ax, points[name][row], f"{name.split(',')[0]}: {classes[name]}")
    for ax in axes.flat:
        ax.set(xticks=[], yticks=[])


def draw_image(ax, image, title):
    """Draw an image as ink on paper."""
    ax.imshow(image[0], cmap="Greys", vmin=0.0, vmax=1.0)
    ax.set_title(title, fontsize=9)


def draw(model, x, radii, shares, radius):
    """Draw the figure."""
    figure = plt.figure(figsize=(12.4, 5.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.25), wspace=0.04)
    draw_curves(left.subplots(), radii, shares)
    is_near = fooled(model, x, ATTACKS["spectral, 2 steps"](model, x, radius))
    draw_images(right.subplots(3, 5), model, x[is_near][:3], radius)
    right.suptitle(f"l2 size {radius:g}; titles give the predicted class", fontsize=10)
    figure.savefig("spectral_attacks.png", dpi=110)


def compare_penalties(data, num_epochs, radius):
    """Train with each penalty; print accuracy, predictions changed and the cost of training."""
    images, labels, held_images, held_labels = data
    penalties = {
        "none": None,
        "trace": lambda model, x: 0.1 * robustness.trace_penalty(model, x, check=False),
        "isometry": lambda model, x: (
            0.01 * robustness.isometry_penalty(model, x, radius=radius, check=False)
        ),
    }
    print(f"\npenalty      accuracy  changed by PGD, l2 {radius:g}   CPU s of training")
    for name, penalty in penalties.items():
        model, seconds = train(images, labels, num_epochs, penalty)
        is_right = model(held_images).argmax(1) == held_labels
        x = held_images[is_right][:500]
        share = fooled(model, x, pgd_attack(model, x, radius)).double().mean()
        accuracy = is_right.double().mean()
        print(f"{name:12}{100 * accuracy:7.1f} %{100 * share:21.1f} %{seconds:20.1f}")


def main():
    """Train, attack, draw the figure and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="folder with the test images of MNIST")
    parser.add_argument("--penalties", action="store_true", help="train with penalties, too")
    options = parser.parse_known_args()[0]
    is_mnist = options.data is not None
    num_epochs, num_images = (8, 500) if is_mnist else (6, 60)
    chosen = (1.0, 1.5, 2.0) if is_mnist else (0.5, 0.75, 1.0)
    radii = np.linspace(0.25, 3.0, 12) if is_mnist else np.linspace(0.25, 1.5, 6)
    data = load(options.data)
    images, labels, held_images, held_labels = data
    model, _ = train(images, labels, num_epochs)
    is_right = model(held_images).argmax(1) == held_labels
    x = held_images[is_right][:num_images]
    print(f"accuracy {is_right.double().mean():.1%} of {len(is_right)}; {len(x)} images attacked\n")
    shares, each = compare(model, x, radii)
    print_table(model, x, shares, radii, chosen)
    print_indicator(model, x, radii, each)
    draw(model, x, radii, shares, chosen[1])
    if options.penalties:
        compare_penalties(data, num_epochs, chosen[1])


if __name__ == "__main__":
    main()
