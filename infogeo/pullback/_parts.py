"""The folder of a scan: what it depends on (scan.json), and one npz file for each batch.

A file is written under another name and renamed when it is whole, so that a part either exists
with all its numbers or not at all, whenever a process is killed.
"""

import contextlib
import json
import os
import re
import zipfile
from pathlib import Path

import numpy as np

from infogeo._system.files import partial_beside

DIGEST = "_digest"  # the entry of a part that says of which inputs it is
_MANIFEST = "scan.json"
_PART = re.compile(r"part-(\d{8})\.npz")
_PARTIAL = re.compile(r"\.part-(\d{8})\.npz\..*\.partial")


def part_path(folder, number):
    return folder / f"part-{number:08}.npz"


def existing_parts(folder):
    """Return the numbers of the batches that have a part, in order."""
    names = os.listdir(folder) if folder.is_dir() else ()
    return sorted(int(match[1]) for match in map(_PART.fullmatch, names) if match)


def write_part(folder, number, columns, digest):
    with _whole_file(part_path(folder, number)) as file:
        np.savez(file, **columns, **{DIGEST: np.array(digest)})


def clear_up(folder, numbers):
    """Remove what processes that were killed have left of batches that are there now."""
    for name in os.listdir(folder):
        match = _PARTIAL.fullmatch(name)
        if match and int(match[1]) in numbers and part_path(folder, int(match[1])).exists():
            (folder / name).unlink(missing_ok=True)


def read_part(folder, number):
    """Return the columns of one batch and the digest of its inputs."""
    path = part_path(folder, number)
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as content:
            columns = {name: content[name] for name in content.files}
        return columns, str(columns.pop(DIGEST))
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path} is damaged: {error}. Delete it and run the scan again: only what is missing "
            "is computed."
        ) from None


def read_digest(folder, number):
    """Return the digest of the inputs of one batch, None if there is no readable part."""
    try:
        with (
            open(part_path(folder, number), "rb") as file,
            np.load(file, allow_pickle=False) as content,
        ):
            return str(content[DIGEST])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def copy_part(source, target, number):
    with _whole_file(part_path(target, number)) as file:
        file.write(part_path(source, number).read_bytes())


# ---------------------------------------------------------------- the manifest


def read_settings(folder):
    """Return what a scan depends on, None if the folder holds no scan."""
    try:
        text = (folder / _MANIFEST).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        settings = json.loads(text)
        if not isinstance(settings["batches"], int):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"{folder / _MANIFEST} must be the manifest of a scan: it is something else. "
            "Take another folder."
        ) from None
    return settings


def write_settings(folder, settings):
    """Write what a scan depends on, unless it is there."""
    if (folder / _MANIFEST).exists():
        return
    with (  # of several processes at once the first one wins
        contextlib.suppress(FileExistsError),
        _whole_file(folder / _MANIFEST, may_replace=False) as file,
    ):
        file.write((json.dumps(settings, indent=2) + "\n").encode())


def check_settings(folder, settings, keys=None):
    """Refuse to mix results: the folder's scan must depend on the same settings, if it has any."""
    there = read_settings(folder)
    if there is None:
        return
    for key in keys or {**settings, **there}:
        difference = _difference(key, there.get(key), settings.get(key))
        if difference:
            raise ValueError(
                f"{folder} holds a scan with other settings: {difference}. Take another folder "
                "for this scan."
            )


def _difference(key, before, now):
    """Say what has changed, in one part of the settings; nothing if all is the same."""
    if before == now:
        return ""
    if isinstance(before, dict) and isinstance(now, dict):
        if list(before) != list(now):  # the columns, and their order
            return f"{key} were {', '.join(before)} and are now {', '.join(now)}"
        return next(filter(None, (_difference(f"{key}: {k}", before[k], now[k]) for k in now)))
    return f"{key} was {_short(before)} and is now {_short(now)}"


def _short(value):
    text = json.dumps(value)
    return text if len(text) <= 200 else text[:200] + "..."


# ---------------------------------------------------------------- whole or not at all


@contextlib.contextmanager
def _whole_file(path, *, may_replace=True):
    """Give a file to write that gets its name when it is whole."""
    Path(path.parent).mkdir(parents=True, exist_ok=True)
    partial = partial_beside(path)
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _rename(partial, path, may_replace)
    finally:
        partial.unlink(missing_ok=True)


def _rename(partial, path, may_replace):
    if not may_replace:
        try:
            os.link(partial, path)
            return
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if path.exists():
                raise FileExistsError(path) from None
    try:
        partial.replace(path)
    except FileNotFoundError:  # another process made the same part and cleared up
        if not path.exists():
            raise
