"""What a killed process leaves half-written is removed; what a living one writes is not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from infogeo._system import files

pytestmark = pytest.mark.skipif(files._machine() is None, reason="no numbers of processes in /proc")

WRITE = """
import sys, time
from pathlib import Path
from infogeo._system.files import replacing

with replacing(Path(sys.argv[1])) as partial:
    partial.write_text("half")
    print("written", flush=True)
    if sys.argv[2] == "wait":
        time.sleep(120)
"""


def writer(path, *, waits):
    """Start a process that has written half of a file when this returns."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path), "wait" if waits else "go on"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "written\n"
    return process


def kill(process):
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)


def partials(folder):
    return sorted(folder.glob(".*.partial"))


def test_the_next_write_clears_up_after_a_kill_and_spares_the_living(tmp_path):
    target = tmp_path / "report.html"
    living = writer(target, waits=True)
    try:
        (of_living,) = partials(tmp_path)
        kill(writer(target, waits=True))
        assert len(partials(tmp_path)) == 2
        writer(target, waits=False).communicate(timeout=60)
        assert partials(tmp_path) == [of_living]
        assert target.read_text() == "half"
    finally:
        kill(living)
    writer(tmp_path / "other", waits=False).communicate(timeout=60)
    assert partials(tmp_path) == []


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait(timeout=60)
    return process.pid


def names(machine, process):
    return f".d.csv.{machine}-{process}-01234567.partial"


def test_files_that_may_be_at_work_elsewhere_stay(tmp_path, dead):
    here = files._machine()
    kept = [
        names("0123456789ab", dead),  # of another machine, or container
        names(12 * "0", dead),  # of a system that does not tell
        names(here, os.getpid()),
        names(here, 10**30),
        f".d.csv.{here}-{dead}-0123456.partial",  # not one of ours
        f"d.csv.{here}-{dead}-01234567.partial",
    ]
    for name in [*kept, names(here, dead)]:
        (tmp_path / name).touch()
    with files.replacing(tmp_path / "d.csv") as partial:
        partial.touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "d.csv"])


def test_nothing_is_removed_where_numbers_of_processes_are_unknown(tmp_path, dead, monkeypatch):
    (tmp_path / names(12 * "0", dead)).touch()
    monkeypatch.setattr(files, "_machine", lambda: None)
    with files.replacing(tmp_path / "d.csv") as partial:
        partial.touch()
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path):
    target = tmp_path / "d.csv"
    target.write_text("old")

    def fail():
        with files.replacing(target) as partial:
            partial.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["d.csv"]
    assert target.read_text() == "old"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError), files.replacing(tmp_path / "none" / "d") as partial:
        partial.touch()
    assert not Path(tmp_path / "none").exists()
