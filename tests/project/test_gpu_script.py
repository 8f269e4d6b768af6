"""The script for a GPU runs on a CPU, at toy sizes, as nobody may waste a GPU's minutes."""

import importlib.util
import math
import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent.parent


def load(name):
    path = ROOT / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def gpu(monkeypatch):
    module = load("gpu")
    monkeypatch.setitem(module.__dict__, "seconds", lambda work, device, rounds=3: (work(), 0.5)[1])
    return module


def toy_parts(gpu):
    resnet = {"depths": (1, 1), "width": 2, "num_outputs": 4}
    gpt = {"depth": 1, "width": 8, "num_heads": 2, "num_outputs": 12}
    return (
        (gpu.distances, {"num_rows": 30, "num_outcomes": 4}),
        (gpu.pairwise, {"num_rows": 30, "num_outcomes": 4}),
        (gpu.nearest, {"num_queries": 30, "num_points": 40, "num_outcomes": 4}),
        (gpu.training, {"widths": (8, 6, 4), "batch_size": 5}),
        (
            gpu.networks,
            {"name": "images", "make": gpu.resnet, "shape": (2, 3, 32, 32), "num_values": 2}
            | {"all_values": True, **resnet},
        ),
        (
            gpu.networks,
            {"name": "words", "make": gpu.gpt, "shape": (2, 5, 8), "num_values": 2}
            | {"all_values": False, **gpt},
        ),
    )


def test_every_part_runs_at_toy_sizes(gpu, capsys):
    parts = toy_parts(gpu)
    for part, sizes in gpu.PARTS:
        assert any(part is toy and sizes.keys() == given.keys() for toy, given in parts)
    limits = gpu.measured_limits("cpu", num_numbers=100, width=4)
    assert limits.bandwidth == 1600.0
    assert set(limits.peaks.values()) == {256.0}
    assert gpu.table("cpu", limits, parts) == 0
    _, _, *rows = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert {len(row) for row in cells} == {len(gpu.HEADER)}
    assert len(rows) == 4 + 2 + 2 + 3 + 5 + 4
    assert all(math.isfinite(float(row[4])) for row in cells)
    for work, _, reached, limit, _, _, error in cells:
        assert float(error or 0.0) < (1e-10 if "float64" in work else 1e-4), work
        if "distances" in work:  # .5 s for 30 rows of 4 + 4 + 1 numbers
            assert reached == "0 GB/s"
            assert limit.startswith("copy")


def test_a_ratio_counts_operations_bytes_and_passes(gpu):
    limits = gpu.Limits(1000.0, dict.fromkeys(gpu.DTYPES, 1e6))
    first, *_ = gpu.distances("cpu", limits, num_rows=30, num_outcomes=4)
    assert first.least == pytest.approx(30 * 9 * 4 / 1000.0)
    first, *_ = gpu.pairwise("cpu", limits, num_rows=30, num_outcomes=4)
    assert (first.least, first.limit) == (900 * 4 / 1000.0, "writing, 0 GB/s")
    limits = gpu.Limits(1e9, dict.fromkeys(gpu.DTYPES, 1e6))
    first, *_ = gpu.pairwise("cpu", limits, num_rows=30, num_outcomes=4)
    assert first.least == pytest.approx(2 * 900 * 4 / 1e6)
    assert first.limit.startswith("product")
    _, sizes = toy_parts(gpu)[4]
    rows = list(gpu.networks("cpu", limits, **sizes))
    assert [row.least for row in rows] == pytest.approx([0.5, 0.5, 0.5, 0.5, 1.5])


def test_networks_have_the_layers_that_they_are_named_after(gpu):
    with torch.device("meta"):
        images, words = gpu.resnet(**gpu.RESNET), gpu.gpt(**gpu.GPT)
        z = images(torch.empty(2, 3, 224, 224)), words(torch.empty(2, 64, 768))
    assert [tuple(part.shape) for part in z] == [(2, 1000), (2, 50257)]
    assert sum(w.numel() for w in images.parameters()) == 25_557_032  # as torchvision's resnet50
    # GPT-2 has 124,439,808, its embedding of tokens tied to the last layer, 1024 x 768 of places
    # among them; this network takes embeddings.
    assert sum(w.numel() for w in words.parameters()) == 124_439_808 - 1024 * 768


def test_a_part_that_fails_does_not_stop_the_others(gpu, capsys):
    def broken(device, limits):
        raise RuntimeError("out of memory\nand more")

    parts = ((broken, {}), toy_parts(gpu)[3])
    limits = gpu.measured_limits("cpu", num_numbers=100, width=4)
    assert gpu.table("cpu", limits, parts) == 1
    rows = capsys.readouterr().out.splitlines()
    assert rows[2] == "| broken failed: RuntimeError: out of memory |"
    assert len(rows) == 6


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert load("gpu").main() == 0
    assert capsys.readouterr().out == "No GPU was found by torch, so nothing was measured.\n"


def test_tests_for_a_gpu_carry_the_mark():
    """Those that ask for one in another way would not be run by `make bench-gpu`."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        text = path.read_text()
        asks = re.search(r"""\.cuda\(\)|["']cuda["'],|skipif\(not torch\.cuda""", text)
        assert "mark.cuda" in text or not asks or path == Path(__file__), path
