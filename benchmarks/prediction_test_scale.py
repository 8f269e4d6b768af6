"""How long the test of two sets of predictions takes, and how much memory, as a table.

python benchmarks/prediction_test_scale.py             sets of 1,000 to 100,000 rows, some minutes
python benchmarks/prediction_test_scale.py 10000       of 10,000 rows alone

Predictions of 10 classes, in the second set with a little more of one class, 199 divisions. Each
row of the table is measured in a process of its own, on one thread: seconds of the processor, and
how much its largest memory grew beyond Python, its libraries and the predictions.
"""

import os
import resource
import subprocess
import sys
import time

SIZES = (1000, 10_000, 100_000)


def measure(num_rows):
    """Print a row of the table."""
    import numpy as np

    from infogeo.inference import prediction_test

    rng = np.random.default_rng(num_rows)
    p, q = rng.dirichlet(np.full(10, 0.2), size=(2, num_rows))
    q[:, 0] += 4.0 / np.sqrt(num_rows) * q[:, 1]
    q /= q.sum(-1, keepdims=True)
    at_start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    found = prediction_test(p, q, num_draws=199)
    seconds = time.process_time() - start
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - at_start) / 1024
    cells = [
        f"{num_rows:,} and {num_rows:,}",
        f"{found.p_value:.3f}",
        f"{found.confidence_p_value:.3f}",
        f"{seconds:.1f} s",
        f"{memory:,.0f} MiB",
    ]
    print(f"| {' | '.join(cells)} |", flush=True)


def main(arguments):
    print("| rows | p, energy test | p, confidences | time | memory |")
    print("|---|---|---|---|---|", flush=True)
    for size in map(int, arguments or SIZES):
        subprocess.run(
            [sys.executable, __file__, "--measure", str(size)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(int(sys.argv[2]))
    else:
        main(sys.argv[1:])
