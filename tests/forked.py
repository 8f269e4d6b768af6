"""Scripts in processes of their own, which need not import the large libraries again.

The first script starts a process that imports the libraries and does nothing else. It is copied
for each script, so that no script sees what another one did.
"""

import multiprocessing
import os
import runpy
import sys
from types import SimpleNamespace

LIBRARIES = [
    *("infogeo", "matplotlib.figure", "matplotlib.pyplot", "numpy", "pandas", "pytest"),
    *("scipy.optimize", "scipy.sparse", "scipy.stats", "sklearn.datasets", "sklearn.linear_model"),
    *("sklearn.model_selection", "torch"),
]


def run_script(path, folder, *, limit):
    """Run a script in a folder, as ``python path`` does; return its status and what it wrote."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    written = [folder / ".stdout", folder / ".stderr"]
    process = context.Process(target=_run, args=(str(path), str(folder), *map(str, written)))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
    stdout, stderr = (x.read_text(encoding="utf-8") if x.exists() else "" for x in written)
    return SimpleNamespace(returncode=process.exitcode, stdout=stdout, stderr=stderr)


def _run(path, folder, *written):
    os.chdir(folder)
    for descriptor, name in enumerate(written, start=1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    runpy.run_path(path, run_name="__main__")
