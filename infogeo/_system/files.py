"""Files that are written whole or not at all.

Until it is whole a file has another name, which tells the process that writes it. What a killed
process has left is removed by the next one that writes into the folder, if it is certain that the
first is dead: both have to see the same process numbers. Files of another machine, of another
container or from before a restart stay, and those of systems without /proc.
"""

import contextlib
import functools
import hashlib
import os
import re
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

_PARTIAL = re.compile(r"\..+\.([0-9a-f]{12})-(\d+)-[0-9a-f]{8}\.partial")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the name of a file beside `path` that takes its place once it is whole."""
    partial = partial_beside(path)
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def partial_beside(path: Path) -> Path:
    """Return the name of a file that this process may write, for what will be at `path`."""
    _clear_up(path.parent.absolute())
    maker = f"{_machine() or 12 * '0'}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.name}.{maker}.partial")


@functools.lru_cache(maxsize=1024)  # once: many files in one folder would be listed for each
def _clear_up(folder: Path) -> None:
    """Remove what processes that are dead have left half-written."""
    machine = _machine()
    with contextlib.suppress(OSError):  # such as a folder that may be written but not be read
        for match in filter(None, map(_PARTIAL.fullmatch, os.listdir(folder))):
            if match[1] == machine and not _is_alive(int(match[2])):
                with contextlib.suppress(OSError):
                    (folder / match[0]).unlink()


def _machine() -> str | None:
    """Return what all processes have in common that see each other's numbers, None if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return None
    return hashlib.sha256(f"{socket.gethostname()} {boot} {namespace}".encode()).hexdigest()[:12]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # of another user; no number of a process
        return True
    return True
