"""The script that measures how engines scale does what its rows say, and its page has its rows."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from infogeo import inference, neighbors, simplex

dask = pytest.importorskip("dask")
torch = pytest.importorskip("torch")

ROOT = Path(__file__).parent.parent.parent
TOY = 1 / 500


@pytest.fixture(scope="module")
def scaling():
    path = ROOT / "benchmarks" / "scaling.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lazy_works_give_what_numpy_gives(scaling, tmp_path):
    scaling.write_file(tmp_path, TOY)
    p = np.fromfile(tmp_path / "p.bin").reshape(-1, scaling.CLASSES)
    assert len(p) == 2 * scaling.CHUNK
    squares = p[:1000] ** 2
    squares /= squares.sum(1, keepdims=True)
    votes = p.argmax(1).reshape(-1, 2, 25)
    counts = np.array([[np.bincount(x, minlength=len(p[0])) for x in pair] for pair in votes])
    expected = {
        "lazy_rows": simplex.fisher_rao_distance(p, p[0]).mean(),
        "lazy_pairs": neighbors.pairwise_distance(p[:500], p).mean(),
        "lazy_neighbors": neighbors.nearest(squares, p, num_neighbors=5).distances.mean(),
        "lazy_intervals": inference.interval(counts[:, 0], counts[:, 1]).upper.mean(),
    }
    for name, value in expected.items():
        with dask.config.set(scheduler="synchronous"):
            seen = getattr(scaling, name)(tmp_path).compute()
        np.testing.assert_allclose(seen, value, rtol=1e-9, err_msg=name)


@pytest.mark.parametrize("name", ["all_pairs", "rows_of_tensors", "weight_products", "rows"])
def test_works_with_threads_run_at_toy_sizes(scaling, name, capsys):
    scaling.one(name, 1, TOY)
    seconds, value, memory = json.loads(capsys.readouterr().out)
    assert seconds > 0.0
    assert np.isfinite(value)
    assert memory > 10_000  # kB


def test_efficiency_and_memory_of_a_row(scaling, monkeypatch, capsys):
    found = {1: (6.0, 0.5, 2048), 2: (4.0, 0.5 + 1e-9, 4096)}
    monkeypatch.setattr(scaling, "measured", lambda name, cores, size: found[cores])
    monkeypatch.setattr("sys.argv", ["scaling.py", "--only", "scan"])
    scaling.main()
    row = capsys.readouterr().out.splitlines()[2]
    assert row.endswith("processes of torchrun | 6.00 s | 4.00 s | 75 % | 4 MiB |")
    found[2] = 4.0, 0.6, 4096
    with pytest.raises(AssertionError, match="scan"):
        scaling.main()


def test_the_page_has_the_rows_of_the_script(scaling):
    text = (ROOT / "docs" / "scale.md").read_text()
    table = text.partition(f"| {' | '.join(scaling.HEADER)} |\n")[2].partition("\n\n")[0]
    rows = [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()[1:]]
    assert rows == [f"{what}: {engine}" for what, engine, _ in scaling.WORKS.values()]


@pytest.mark.slow
@pytest.mark.campaign
def test_processes_take_a_small_file(scaling, monkeypatch, capfd):
    names = "spectra", "neighbors", "scan"
    monkeypatch.setattr("sys.argv", ["scaling.py", "--size", "0.01", "--only", *names])
    scaling.main()
    assert capfd.readouterr().out.count(" % | ") == 3
