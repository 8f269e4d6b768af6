"""Why does w in {-1, 1} change its sign in training? Bjorck's iteration.

w <- w (3 - w²) / 2 takes a number to 1 or -1. From the square root of 3 on it takes a positive
number to -1: until the root of w³ - 3 w - 2 √3 = 0, which lands on -√3 and so on 0. A step of
training that asks for a larger w can go there. Dividing by the size of the number first ends it.

Draws sign_flip.png.
"""

import math

import mpmath
import numpy as np
from common import table
from matplotlib import pyplot as plt

RADIUS = 1.3  # of the outer sphere; the inner one has radius 1
RATES = (0.4, 0.5, 0.6, 0.7, 0.8)


def bjorck(w, num_steps=60):
    """Return what Bjorck's iteration makes of a number: 1 or -1, if it converges."""
    w = np.asarray(w, dtype=float)
    for _ in range(num_steps):
        w = np.clip(w * (3.0 - w * w) / 2.0, -1e6, 1e6)
    return w


def end_of_flip():
    """Return the root of w³ - 3 w - 2 √3 = 0, to thirty digits; check both sides of it."""
    with mpmath.workdps(30):
        root = mpmath.findroot(lambda w: w**3 - 3 * w - 2 * mpmath.sqrt(3), 2.1)
        # Cardano: w = u + 1 / u with u³ = √3 + √2.
        u = mpmath.cbrt(mpmath.sqrt(3) + mpmath.sqrt(2))
        assert abs(root - u - 1 / u) < mpmath.mpf(10) ** -28
    end, first = float(root), math.sqrt(3.0)
    assert (bjorck([1.0, first - 1e-9]) == 1.0).all()
    assert (bjorck([first + 1e-9, 2.0, end - 1e-9]) == -1.0).all()
    assert bjorck(end + 1e-9) == 1.0  # from here on ever shorter intervals alternate
    assert (np.abs(bjorck([2.23, math.sqrt(5.0) + 1e-3])) > 1.0).tolist() == [False, True]
    return end


def sign_flips(learning_rate, *, scale_first, num_steps=200, seed=0):
    """Count sign changes of w in f = w |x| - c, kept at -1 or 1 by Bjorck after each step."""
    rng = np.random.default_rng(seed)
    w, c, flips, largest = 1.0, 1.15, 0, 0.0
    for _ in range(num_steps):
        y = rng.choice([-1.0, 1.0], size=4)
        r = np.where(y > 0.0, RADIUS, 1.0)
        is_short = y * (w * r - c) < 0.5  # hinge of a margin that cannot be reached
        w_new = w + learning_rate * np.mean(np.where(is_short, y * r, 0.0))
        c -= 0.01 * np.mean(np.where(is_short, y, 0.0))
        largest = max(largest, abs(w_new))
        sign = np.sign(bjorck(w_new / max(1.0, abs(w_new)) if scale_first else w_new))
        # A step through 0 is a change that the loss has asked for.
        flips += bool(sign != np.sign(w_new))
        w = float(sign)
    return flips, largest


def main():
    """Find where the sign flips, count flips in training, draw."""
    end = end_of_flip()
    rows = []
    for rate in RATES:
        runs = {
            first: [sign_flips(rate, scale_first=first, seed=seed) for seed in range(10)]
            for first in (False, True)
        }
        for flips, largest in runs[False]:
            assert (flips > 0) == (largest > math.sqrt(3.0))
        assert all(flips == 0 for flips, _ in runs[True])
        largest = max(size for _, size in runs[False])
        counts = [flips for flips, _ in runs[False]]
        rows.append([f"{rate:g}", f"{largest:.2f}", f"{min(counts)} to {max(counts)}", "0"])
    table("| learning rate | largest w before Bjorck | flips in 200 steps | scaled first |", rows)
    figure, ax = plt.subplots(figsize=(5.6, 3.6), layout="constrained")
    w = np.linspace(0.01, 2.23, 8_000)
    ax.plot(w, bjorck(w), ".", color="#0072B2", markersize=2)
    for value, name in ((math.sqrt(3.0), "√3"), (end, f"{end:.5f}")):
        ax.axvline(value, color="0.35", linewidth=1.0)
        ax.annotate(name, (value, 0.0), (-4, 0), textcoords="offset points", ha="right")
    ax.set(xlabel="w before", ylabel="w after Bjorck's iteration", ylim=(-1.3, 1.3))
    ax.spines[["top", "right"]].set_visible(False)
    figure.savefig("sign_flip.png", dpi=110)


if __name__ == "__main__":
    main()
