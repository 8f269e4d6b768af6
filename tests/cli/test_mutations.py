"""Damaged files: one line that names the file, exit status 2, and never a word of Python's."""

import mutations
import pytest


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mutations.write_files(tmp_path)
    return tmp_path


def test_whole_files_are_read(folder):
    for name, commands in mutations.COMMANDS.items():
        for arguments in commands:
            assert mutations.complaint(arguments, name) is None


def test_mutated_files(folder):
    assert mutations.search(folder, seed=0, count=340) == []


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(1, 7))
def test_many_mutated_files(folder, seed):
    assert mutations.search(folder, seed=seed, count=500) == []
