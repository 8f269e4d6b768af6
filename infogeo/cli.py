"""The `infogeo` command.

A command is one function ``_add_<name>`` that adds its parser and names the function that runs
it. What a user can get wrong raises `_UsageError`: one line on stderr, exit status 2. Nothing
heavy is imported before a command runs.
"""

import argparse
import contextlib
import errno
import importlib
import importlib.util
import sys
import tempfile
from pathlib import Path

from infogeo import __version__

__all__ = ["main"]


class _UsageError(Exception):
    """Something the user can put right; its text is the one line shown."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        raise _UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def main(arguments=None):
    """Run the command line.

    Parameters
    ----------
    arguments : list of str or None
        What follows the command's name; None reads ``sys.argv``.

    Returns
    -------
    int
        The exit status: 0 for success, 2 for something the user can put right, 130 after an
        interrupt.

    Examples
    --------
    >>> from infogeo.cli import main
    >>> main(["--version"])
    infogeo ...
    0
    """
    try:
        options = _build_parser().parse_args(arguments)
        return options.run(options)
    except _UsageError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("infogeo: interrupted", file=sys.stderr)
        return 130
    except SystemExit as stop:  # --help and --version are done
        return int(stop.code or 0)


def _build_parser():
    parser = _Parser(
        prog="infogeo",
        description="Information geometry of predictions: Fisher-Rao distances, pullback metrics "
        "of networks, C-maximisation.",
        epilog="'infogeo COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"infogeo {__version__}")
    parser.set_defaults(run=lambda options: parser.print_help() or 0)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_demo(commands)
    return parser


# ---------------------------------------------------------------- infogeo demo


def _add_demo(commands):
    parser = commands.add_parser(
        "demo",
        help="train two classifiers on handwritten digits and look at them geometrically",
        description="Trains a 1-Lipschitz network and an ordinary one on scikit-learn's "
        "handwritten digits (nothing is downloaded), measures the Fisher-Rao distances between "
        "their predictions, the directions their inputs are most sensitive to, and solves "
        "C-maximisation problems. Takes about a minute; writes report.html, results.json and "
        "the figures.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        default="out",
        type=_path,
        help="where to write; made if it does not exist (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        default=0,
        type=_seed,
        help="same seed, same numbers (default: %(default)s)",
    )
    parser.set_defaults(run=_run_demo)


def _run_demo(options):
    _require("infogeo demo", torch="torch", matplotlib="plot", sklearn="sklearn")
    with _folder(options.output) as folder, _progress() as progress:
        progress("loading", 0.0)
        try:
            demo = importlib.import_module("infogeo.demo")
        except ImportError as error:
            raise _UsageError(f"infogeo demo: {error}") from None
        found = demo.run(folder, demo.Settings(seed=options.seed), progress=progress)
    print(demo.summary(found, folder))
    return 0


def _path(text):
    if not text:
        raise argparse.ArgumentTypeError("the folder's name is empty")
    return Path(text)


def _seed(text):
    if text.isascii() and text.isdigit() and int(text) < 2**32:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 to {2**32 - 1}")


# ---------------------------------------------------------------- checks that commands share


def _require(command, **extras):
    """Check that modules can be found, without importing them; `extras` maps them to extras."""
    missing = [module for module in extras if not _is_installed(module)]
    if missing:
        packages = ["scikit-learn" if module == "sklearn" else module for module in missing]
        wanted = ",".join(extras[module] for module in missing)
        raise _UsageError(f"{command} needs {_join(packages)}: pip install 'infogeo[{wanted}]'")


def _is_installed(module):
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _join(words):
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


_WRITE_ERRORS = (
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
)


@contextlib.contextmanager
def _folder(path):
    """Give a folder that can be written to; take it back if nothing was."""
    made = []
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise _UsageError(f"infogeo: cannot write to {path}: it is a file, not a folder") from None
    except OSError as error:
        _remove_empty(made)
        raise _UsageError(f"infogeo: cannot write to {path}: {error.strerror}") from None
    try:
        yield path
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            raise _UsageError(f"infogeo: cannot write to {path}: {error.strerror}") from None
        raise


def _remove_empty(folders):
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


# ---------------------------------------------------------------- progress


@contextlib.contextmanager
def _progress():
    """Give ``progress(stage, fraction)``: a bar for people, a line for each stage elsewhere."""
    if not (sys.stderr.isatty() and _is_installed("rich")):
        yield _StageLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)


class _StageLines:
    """Prints a stage's name when it begins."""

    def __init__(self):
        self._stage = None

    def __call__(self, stage, fraction):
        if stage != self._stage:
            self._stage = stage
            print(f"[{fraction:4.0%}] {stage}", file=sys.stderr, flush=True)
