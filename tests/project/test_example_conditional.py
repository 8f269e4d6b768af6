"""The example on conditional maximum entropy shows what its page says."""

import re
from pathlib import Path

import pytest
from forked import Script

ROOT = Path(__file__).parent.parent.parent


def numbers(text, pattern):
    """Return the numbers that follow the lines' common beginning."""
    return [float(x) for x in re.findall(pattern, text)]


def test_the_example_shows_what_it_claims(tmp_path):
    for module in ("torch", "matplotlib"):
        pytest.importorskip(module)
    path = ROOT / "examples" / "maximum_entropy" / "conditional_max_entropy.py"
    run = Script(path, tmp_path, "--figure", "paths.png").end(limit=240)
    assert run.returncode == 0, run.stderr
    text = run.stdout
    assert (tmp_path / "paths.png").stat().st_size > 10_000
    # Gradient descent on classes that overlap: the error falls to rounding.
    errors = numbers(text, r",?\d+ steps +(\S+e[-+]\d+) +\S+e")
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-10
    # The last layer of a network, as training goes on.
    distances = numbers(text, r"more rounds +(\S+) \(median\)")
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3
    # On separable classes the norm grows and the angle closes.
    norms = numbers(text, r"fast +\S+ steps +(\S+)")
    angles = numbers(text, r"fast .* (\S+) degrees")
    assert norms == sorted(norms)
    assert norms[-1] > 1000.0
    assert angles == sorted(angles, reverse=True)
    assert angles[-1] < 0.1
    # A linear C changes nothing, another one moves no moments, the others do.
    changes = re.findall(r"moments move by +(\S+), probabilities by +(\S+)", text)
    linear, prior, decay, smoothing = [tuple(map(float, change)) for change in changes]
    assert max(linear) < 1e-13
    assert prior[0] < 1e-13
    assert prior[1] > 0.05
    assert min(*decay, *smoothing) > 0.01
    left = numbers(text, r"KL\(labels, prior\) = (\S+)")
    right = numbers(text, r"^ += (\S+)$") or numbers(text, r"\n +=\s(\S+)\n")
    assert left == right
    assert "theta = 0.050000 0.050000 0.050000 0.050000" in text
