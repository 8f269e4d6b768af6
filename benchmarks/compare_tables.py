"""What ``infogeo compare`` costs on files of a million predictions, beside pandas and numpy.

The peer reads both files with pandas, takes the plain formula 2 arccos of the sum of root products,
and prints the same figures. Seconds of the processors, the least of three runs of a process each:

    python benchmarks/compare_tables.py
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

ROWS, CLASSES = 1_000_000, 10
PEER = """
import sys
import numpy as np
import pandas as pd

read = pd.read_csv if sys.argv[1].endswith("csv") else pd.read_parquet
a, b = (read(name).to_numpy() for name in sys.argv[1:])
d = 2.0 * np.arccos(np.minimum(np.sqrt(a * b).sum(1), 1.0))
rows = pd.DataFrame({"d": d, "old": a.argmax(1), "new": b.argmax(1)})
print(d.mean(), d.std(), np.quantile(d, [0.5, 0.9, 0.99, 1.0]), (rows.old != rows.new).mean())
print(rows.groupby("old").d.agg(["count", "mean", "max"]), rows.nlargest(10, "d"))
"""


def seconds(*arguments):
    """Return the least processor time of three runs."""
    times = []
    for _ in range(3):
        process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        times.append(used.ru_utime + used.ru_stime)
    return min(times)


def main():
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("peer.py").write_text(PEER)
        for name in ("old", "new"):
            p = rng.dirichlet(np.ones(CLASSES), ROWS)
            frame = pd.DataFrame(p, columns=[f"c{i}" for i in range(CLASSES)])
            frame.to_csv(f"{name}.csv", index=False)
            frame.to_parquet(f"{name}.parquet")
        print("| files | infogeo compare | pandas and numpy |\n|---|---|---|")
        for kind in ("csv", "parquet"):
            files = f"old.{kind}", f"new.{kind}"
            ours = seconds("-m", "infogeo", "compare", *files)
            print(f"| {kind} | {ours:.1f} s | {seconds('peer.py', *files):.1f} s |", flush=True)


if __name__ == "__main__":
    main()
