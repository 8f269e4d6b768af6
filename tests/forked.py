"""Scripts in processes of their own, which need not import the large libraries again.

The first script starts a process that imports the libraries and does nothing else. It is copied
for each script, so that no script sees what another one did.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

LIBRARIES = [
    *("infogeo", "infogeo.pullback", "matplotlib.figure", "matplotlib.pyplot", "numpy", "pandas"),
    *("pytest", "scipy.optimize", "scipy.sparse", "scipy.stats", "sklearn.datasets"),
    *("sklearn.linear_model", "sklearn.model_selection", "torch"),
]


class Script:
    """A script that runs in a folder, as ``python path arguments`` does."""

    def __init__(self, path, folder, *arguments, **environment):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(LIBRARIES)
        self.written = tempfile.TemporaryDirectory()
        given = [str(x) for x in (folder, self.written.name, path, *arguments)]
        self.process = context.Process(target=_run, args=given, kwargs=environment)
        self.process.start()

    def end(self, *, limit):
        """Return the status and what was written, after the script has ended or is killed."""
        self.process.join(limit)
        self.process.kill()
        self.process.join()
        with self.written as folder:
            stdout, stderr = (
                x.read_text(encoding="utf-8") if x.exists() else ""
                for x in (Path(folder, "stdout"), Path(folder, "stderr"))
            )
        return SimpleNamespace(returncode=self.process.exitcode, stdout=stdout, stderr=stderr)


def _run(folder, written, *arguments, **environment):
    os.chdir(folder)
    os.environ.update(environment)
    for stream, name in ((sys.stdout, "stdout"), (sys.stderr, "stderr")):
        os.dup2(os.open(os.path.join(written, name), os.O_WRONLY | os.O_CREAT), stream.fileno())
        stream.reconfigure(encoding="utf-8")
    sys.argv = list(arguments)
    sys.path.insert(0, os.path.dirname(arguments[0]))
    runpy.run_path(arguments[0], run_name="__main__")
