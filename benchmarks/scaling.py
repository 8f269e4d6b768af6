"""How the engines of infogeo scale from one core to two, and the memory that they take.

    python benchmarks/scaling.py

prints a table in markdown: the seconds of each work on one core and on two, the efficiency (one if
two cores take half the time), and the most memory that one of its processes held, with the
libraries that it had loaded. Threads are those of numpy's BLAS, of torch or of dask; processes are
workers of a dask cluster, each with a memory limit below the size of the file that they read, or
those that torchrun starts. Each measurement has a process of its own. The results on one core and
on two are compared. ``--size 0.1`` takes a tenth of the data.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROWS, CLASSES, CHUNK = 600_000, 100, 2_000  # 480 MB in chunks of 1.6 MB
LIMIT = 400 * 2**20
HEADER = ("work", "one core", "two cores", "efficiency", "peak memory")


def timed(work, rounds=3):
    """Return the least time of some rounds after one that warms up, and the last result."""
    times = []
    for _ in range(1 + rounds):
        start = time.perf_counter()
        value = work()
        times.append(time.perf_counter() - start)
    return min(times[1:]), float(value)


# ---------------------------------------------------------------- threads of numpy and torch


def all_pairs(cores, folder, size):
    from infogeo import neighbors

    p = np.random.default_rng(0).dirichlet(np.ones(1000), int(5000 * size))
    return timed(lambda: neighbors.pairwise_distance(p)[0].mean())


def rows_of_tensors(cores, folder, size):
    import torch

    from infogeo import simplex

    torch.manual_seed(0)
    p, q = torch.randn(2, int(5_000_000 * size), 10).softmax(-1)
    return timed(lambda: simplex.fisher_rao_distance(p, q).mean())


def network():
    import torch

    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1568, 64), nn.ReLU(), nn.Linear(64, 10)),
    ).eval()


def images(size):
    import torch

    return torch.rand(
        max(int(1024 * size), 2), 1, 28, 28, generator=torch.Generator().manual_seed(1)
    )


def spectra(cores, folder, size):
    from infogeo.pullback import PullbackMetric

    metric, x = PullbackMetric(network()), images(size)
    return timed(lambda: metric.spectrum(x, num_values=2).values.mean(), rounds=2)


def weight_products(cores, folder, size):
    import torch

    from infogeo.pullback import WeightMetric

    net, x = network(), images(size)
    metric = WeightMetric(net, x)
    v = torch.ones(sum(w.numel() for w in net.parameters()))
    return timed(lambda: metric.matvec(v).norm())


# ---------------------------------------------------------------- dask: threads, and a cluster


def write_file(folder, size):
    """Write a file of predictions, chunk by chunk."""
    rng = np.random.default_rng(0)
    with open(Path(folder) / "p.bin", "wb") as file:
        for _ in range(max(int(ROWS * size) // CHUNK, 2)):
            x = rng.exponential(size=(CHUNK, CLASSES))
            file.write((x / x.sum(-1, keepdims=True)).tobytes())


def chunk(path, block_info=None):
    """Return the rows of one chunk. What is read, and not mapped, counts as memory once only."""
    (start, stop), _ = block_info[None]["array-location"]
    values = np.fromfile(path, count=(stop - start) * CLASSES, offset=8 * start * CLASSES)
    return values.reshape(-1, CLASSES)


def lazily(folder):
    import dask.array

    path = Path(folder) / "p.bin"
    num_chunks = path.stat().st_size // (8 * CLASSES * CHUNK)
    chunks = (num_chunks * (CHUNK,), CLASSES)
    return dask.array.map_blocks(chunk, str(path), chunks=chunks, dtype=float)


def first_rows(folder, num_rows):
    return np.fromfile(Path(folder) / "p.bin", count=num_rows * CLASSES).reshape(-1, CLASSES)


def votes(p):
    """Return intervals: how far the classes of 25 rows are from those of the next 25."""
    from infogeo import inference

    classes = p.argmax(-1).reshape(-1, 2, 25, 1)
    counts = (classes == np.arange(CLASSES)).sum(-2)
    return inference.interval(counts[:, 0], counts[:, 1]).upper


def lazy_rows(folder):
    from infogeo import simplex

    reference = first_rows(folder, 1)[0].tolist()
    return simplex.fisher_rao_distance(lazily(folder), reference).mean()


def lazy_pairs(folder):
    """Return the mean over distances, which take five times the bytes of the points."""
    import dask.array

    from infogeo import neighbors

    few = dask.array.from_array(first_rows(folder, 500), chunks=(500, CLASSES))
    return neighbors.pairwise_distance(few, lazily(folder)).mean()


def lazy_neighbors(folder):
    import dask.array

    from infogeo import neighbors

    few = dask.array.from_array(first_rows(folder, 1000) ** 2, chunks=(1000, CLASSES))
    few = few / few.sum(axis=1, keepdims=True)
    return neighbors.nearest(few, lazily(folder), num_neighbors=5).distances.mean()


def lazy_intervals(folder):
    p = lazily(folder)
    chunks = (tuple(num_rows // 50 for num_rows in p.chunks[0]),)
    return p.map_blocks(votes, drop_axis=1, chunks=chunks, dtype=float).mean()


def by_threads(make):
    def work(cores, folder, size):
        import dask

        with dask.config.set(scheduler="threads", num_workers=cores):
            return timed(make(folder).compute, rounds=1)

    return work


def by_workers(make):
    def work(cores, folder, size):
        from dask import distributed

        with (
            distributed.LocalCluster(
                n_workers=cores,
                threads_per_worker=1,
                memory_limit=LIMIT,
                dashboard_address=None,
                processes=True,
            ) as cluster,
            distributed.Client(cluster),
        ):
            return timed(make(folder).compute, rounds=1)

    return work


# ---------------------------------------------------------------- processes of torchrun


class Batches:
    """The batches of a data set, each made when it is asked for."""

    def __init__(self, num_batches):
        self.num_batches = num_batches

    def __len__(self):
        return self.num_batches

    def __getitem__(self, index):
        import torch

        if not 0 <= index < self.num_batches:
            raise IndexError(index)
        return torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(index))


def scan(cores, folder, size):
    from infogeo import pullback

    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(cores)]
    command = [sys.executable, *launch, __file__, "--share", folder, "--size", str(size)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    seconds = [float(line) for line in run.stdout.split()]
    assert len(seconds) == cores
    found = pullback.read_scan(Path(folder) / "scan")
    return max(seconds), float(found.column("trace").mean())


def scan_share(folder, size):
    """Measure the batches of this process, and print how long that took."""
    from infogeo import pullback
    from infogeo.pullback import PullbackMetric

    net = network()
    net(images(0.01))
    shard = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    batches, measure = Batches(max(int(100 * size), 2)), {"trace": PullbackMetric.trace}
    start = time.perf_counter()
    pullback.scan(net, batches, quantities=measure, out=Path(folder) / "scan", shard=shard)
    print(time.perf_counter() - start, flush=True)


# ---------------------------------------------------------------- all

THREADS = "threads of BLAS", "threads of torch"
FILE = "a file of 480 MB"
WORKS = {  # name: (what it is, engine, function)
    "all_pairs": ("all pairs, 5,000 x 1,000 classes", THREADS[0], all_pairs),
    "rows_of_tensors": ("distances, 5,000,000 x 10 classes", THREADS[1], rows_of_tensors),
    "spectra": ("2 eigenvalues, CNN, 1,024 inputs", THREADS[1], spectra),
    "weight_products": (
        "product of `WeightMetric`, CNN",
        THREADS[1],
        weight_products,
    ),
    "rows": (f"distances, {FILE}", "threads of dask", by_threads(lazy_rows)),
    "pairs_by_threads": (f"500 rows to all of {FILE}", "threads of dask", by_threads(lazy_pairs)),
    "pairs": (f"500 rows to all of {FILE}", "workers of dask", by_workers(lazy_pairs)),
    "neighbors": (f"5 nearest of {FILE}", "workers of dask", by_workers(lazy_neighbors)),
    "intervals": (f"12,000 intervals from {FILE}", "workers of dask", by_workers(lazy_intervals)),
    "scan": ("scan, CNN, 6,400 inputs", "processes of torchrun", scan),
}


def measured(name, cores, size):
    """Return the seconds, the result and the memory of a work, in a process of its own."""
    _, engine, _ = WORKS[name]
    num_threads = cores if engine in THREADS else 1
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = {**os.environ, **dict.fromkeys(names, str(num_threads))}
    command = [sys.executable, __file__, "--one", name, str(cores), "--size", str(size)]
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(run.stdout.splitlines()[-1])


def one(name, cores, size):
    """Do a work, and print its seconds, its result and the memory of the largest process."""
    *_, work = WORKS[name]
    with tempfile.TemporaryDirectory() as folder:
        if "dask" in WORKS[name][1]:
            write_file(folder, size)
        found = work(cores, folder, size)
    whose = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    print(json.dumps([*found, max(resource.getrusage(who).ru_maxrss for who in whose)]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--size", type=float, default=1.0, help="of the data, beside the full size")
    parser.add_argument("--only", nargs="+", choices=WORKS, default=list(WORKS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one(options.one[0], int(options.one[1]), options.size)
    if options.share:
        return scan_share(options.share, options.size)
    start = time.perf_counter()
    for line in (HEADER, ("---",) * len(HEADER)):
        print("| " + " | ".join(line) + " |", flush=True)
    for name in options.only:
        (first, value, memory), (second, again, more) = (
            measured(name, cores, options.size) for cores in (1, 2)
        )
        assert np.isclose(value, again, rtol=1e-5), (name, value, again)
        cells = f"{first:.2f} s", f"{second:.2f} s", f"{50.0 * first / second:.0f} %"
        what, engine, _ = WORKS[name]
        memory = f"{max(memory, more) / 1024:,.0f} MiB"
        print("| " + " | ".join((f"{what}: {engine}", *cells, memory)) + " |", flush=True)
    seconds = time.perf_counter() - start
    print(f"\n{platform.machine()}, {os.cpu_count()} cores, {seconds:.0f} s in all")


if __name__ == "__main__":
    main()
