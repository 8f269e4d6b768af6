"""The time and the memory of large comparisons.

Two files of predictions, 2.4 GB each: every way to compare them runs in a process of its own, whose
start is a part of its time. Its memory is the largest that it held at a time: of pages that are
its own, not of those of a file, which the system takes back when it needs them. Beside the time on
the clock stands that of the processors, which depends less on what else the machine does.
"""

import re
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from infogeo import neighbors, simplex

SHAPE = (3_000_000, 100)
ROWS = 20_000  # 16 MB


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Write the two files, block by block."""
    folder, rng = tmp_path_factory.mktemp("scale"), np.random.default_rng(0)
    for name in ("old.npy", "new.npy"):
        p = np.lib.format.open_memmap(folder / name, "w+", np.float64, SHAPE)
        for first in range(0, len(p), ROWS):
            x = rng.exponential(size=(ROWS, SHAPE[1]))
            p[first : first + ROWS] = x / x.sum(-1, keepdims=True)
        p.flush()
    yield folder
    for name in ("old.npy", "new.npy"):
        (folder / name).unlink()


def block(file, block_info=None):
    (start, stop), _ = block_info[None]["array-location"]
    return np.array(np.load(file, mmap_mode="r")[start:stop])


def lazily():
    """Return both as arrays of dask; dask.array.from_array would copy what is mapped."""
    import dask.array

    chunks = (len(range(0, SHAPE[0], ROWS)) * (ROWS,), SHAPE[1])
    return [
        dask.array.map_blocks(block, name, chunks=chunks, dtype=np.float64)
        for name in ("old.npy", "new.npy")
    ]


def rows_by_dask():
    old, new = lazily()
    return simplex.fisher_rao_distance(old, new).max().compute()


def rows_by_dask_in_blocks():
    import dask.array

    d = dask.array.map_blocks(simplex.fisher_rao_distance, *lazily(), drop_axis=1, dtype=np.float64)
    return d.max().compute()


def rows_by_the_command():
    from infogeo import cli

    cli.main(["distance", "old.npy", "new.npy", "-o", "d.npy"])


def rows_by_numpy():
    return simplex.fisher_rao_distance(np.load("old.npy"), np.load("new.npy")).max()


def nearest_by_dask():
    import dask

    old, new = lazily()
    found = neighbors.nearest(new[:1000], old, num_neighbors=5)
    return dask.compute(found.indices, found.distances)


def means_by_dask():
    import dask

    old, _ = lazily()
    return dask.compute(simplex.m_mean(old), simplex.e_mean(old))


WAYS = {
    "`infogeo distance old.npy new.npy -o d.npy`": ("row by row", rows_by_the_command),
    "dask, `map_blocks`": ("row by row", rows_by_dask_in_blocks),
    "dask, lazy arrays": ("row by row", rows_by_dask),
    "numpy, with both files loaded": ("row by row", rows_by_numpy),
    "dask, `nearest`": ("the 5 nearest of 1,000 rows", nearest_by_dask),
    "dask, both in one pass": ("`m_mean` and `e_mean`", means_by_dask),
}


@pytest.mark.parametrize("who", WAYS)
def test_two_files(benchmark, folder, who):
    pytest.importorskip("dask.array")
    benchmark.group, way = WAYS[who]
    command = [sys.executable, __file__, way.__name__]
    run = benchmark.pedantic(
        subprocess.run,
        args=(command,),
        kwargs={"cwd": folder, "check": True, "capture_output": True, "text": True},
        rounds=1,
    )
    memory, processors = run.stdout.splitlines()[-1].split(", ")
    benchmark.extra_info |= {"memory": memory, "processor time": processors}


CHOICES = {
    "as it is": (np.float64, {}),
    "`check=False`": (np.float64, {"check": False}),
    "`block_size=256`": (np.float64, {"block_size": 256}),
    "float32": (np.float32, {}),
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("who", CHOICES)
@pytest.mark.parametrize("num_classes", [10, 1000])
def test_choices(benchmark, who, num_classes):
    dtype, arguments = CHOICES[who]
    p = np.random.default_rng(0).dirichlet(np.ones(num_classes), 4000).astype(dtype)
    benchmark.group = f"{num_classes:,} classes"
    d = benchmark.pedantic(neighbors.pairwise_distance, (p,), arguments, rounds=5)
    exact = simplex.fisher_rao_distance(p[:100, None].astype(float), p[None].astype(float))
    apart = exact > 0
    error = np.max(abs(d[:100] - exact)[apart] / exact[apart])
    tracemalloc.start()
    neighbors.pairwise_distance(p, **arguments)
    peak = tracemalloc.get_traced_memory()[1] - d.nbytes
    tracemalloc.stop()
    memory = {"result": f"{d.nbytes / 2**20:.0f} MiB", "beside it": f"{peak / 2**20:.0f} MiB"}
    benchmark.extra_info |= {"error": float(error), **memory}


def main(way):
    """Do the work, and print how much memory and processor time it took."""
    peak, done = 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.005):
            status = Path("/proc/self/status").read_text()
            peak = max(peak, int(re.search(r"RssAnon:\s+(\d+) kB", status)[1]))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        globals()[way]()
    finally:
        done.set()
        watcher.join()
    print(f"{peak / 1e6:.2f} GB, {time.process_time():.0f} s")


if __name__ == "__main__":
    main(sys.argv[1])
