"""What commands share: errors that a user can put right, folders, optional dependencies."""

from __future__ import annotations

import argparse
import contextlib
import csv
import errno
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

from infogeo._system import files
from infogeo._system.extras import is_installed

# What a command adds its parser to.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")  # files with weights


class UsageError(Exception):
    """Something the user can put right; its text is the one line shown."""


class HelpFormatter(argparse.HelpFormatter):
    """Fits paragraphs to the terminal, and keeps those with indented lines, which are examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = [
            paragraph
            if paragraph.startswith(" ") or "\n " in paragraph
            else super(HelpFormatter, self)._fill_text(paragraph, width, indent)
            for paragraph in text.strip("\n").split("\n\n")
        ]
        return "\n\n".join(paragraphs)


def folder_name(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("the folder's name is empty")
    return Path(text)


def add_columns(group: Any) -> None:
    """Add the options that say which columns of a table hold what."""
    group.add_argument("--id", metavar="COLUMN", help="the column that names the rows")
    group.add_argument(
        "--columns",
        metavar="NAMES",
        type=_names,
        default=(),
        help="the columns with the classes, with commas between them; * stands for any letters",
    )
    group.add_argument(
        "--ignore", metavar="NAMES", type=_names, default=(), help="columns that are no classes"
    )


def add_network(parser: argparse.ArgumentParser, *, is_required: bool) -> None:
    """Add the options that say which network is measured, and at which inputs."""
    parser.add_argument(
        "--model",
        metavar="MODULE:FACTORY",
        required=is_required,
        help="what makes the network; or a file that holds it: TorchScript (.ts, .torchscript, "
        ".pt) or, with onnx2torch, .onnx",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        type=Path,
        help="its state dict: a .safetensors file, or one that torch.save wrote, also inside a "
        "checkpoint of a training or of Lightning; nothing is unpickled but tensors",
    )
    parser.add_argument(
        "--untrained",
        action="store_true",
        help="take the network as the factory makes it: for one that loads its weights by itself, "
        "or to look at a network before it is trained",
    )
    parser.add_argument(
        "--inputs",
        metavar="FILE",
        type=Path,
        required=is_required,
        help="a .npy or a .npz file (FILE.npz:NAME if it holds several arrays)",
    )
    parser.add_argument("--device", default="cpu", help="for instance cuda (default: %(default)s)")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in next(csv.reader([text]), []))


def whole_number(low: int, high: int | None = None) -> Callable[[str], int]:
    """Return what reads a whole number of an option."""

    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if number >= low and (high is None or number <= high):
            return number
        limits = f"from {low}" if high is None else f"from {low} to {high}"
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {limits}")

    return read


def require(command: str, **extras: str) -> None:
    """Check that modules can be found, without importing them; `extras` maps them to extras."""
    missing = [module for module in extras if not is_installed(module)]
    if missing:
        packages = ["scikit-learn" if module == "sklearn" else module for module in missing]
        wanted = ",".join(extras[module] for module in missing)
        raise UsageError(f"{command} needs {_join(packages)}: pip install 'infogeo[{wanted}]'")


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its name."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


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
def writable_folder(path: Path) -> Iterator[Path]:
    """Give a folder that can be written to; take it back if nothing was."""
    made = []
    try:
        made = [folder for folder in (path, *path.parents) if not folder.exists()]
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except FileExistsError:
        raise UsageError(f"infogeo: cannot write to {path}: it is a file, not a folder") from None
    except OSError as error:
        _remove_empty(made)
        raise UsageError(f"infogeo: cannot write to {path}: {error.strerror}") from None
    try:
        yield path
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError) and error.errno in _WRITE_ERRORS:
            raise UsageError(f"infogeo: cannot write to {path}: {error.strerror}") from None
        raise


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file that takes the place of `path` once it is whole."""
    try:
        with files.replacing(path) as partial:
            yield partial
    except OSError as error:
        raise UsageError(f"cannot write to {path}: {error.strerror}") from None


def say(text: str) -> None:
    """Print the answer; if nobody reads it any more, the exit status still tells."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        forget_output()


@contextlib.contextmanager
def warnings_in_a_line(command: str) -> Iterator[None]:
    """Say what the library warns of as people expect it from a command: once, without source."""
    said = set()

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in said:
            print(f"{command}: {message}", file=sys.stderr)
        said.add(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = show
        yield


def forget_output() -> None:
    """Let what is still to be written go nowhere, or Python tries again as it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_closed_streams() -> None:
    """Give what the shell has closed, as >&- does, somewhere to go."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, to the end


def _remove_empty(folders: Iterable[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()
