"""Doctests: numpy is there as np, and figures are drawn without a display.

A module is imported by its name before pytest collects its file. Pytest would import its package
first and then execute the file again, and examples would meet two classes of the same name.
"""

import contextlib
import importlib
import os
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
PACKAGE = Path(__file__).parent / "infogeo"


def pytest_collect_file(file_path):
    """Import the module of a file of the package; pytest tells what cannot be imported."""
    if file_path.suffix == ".py" and file_path.is_relative_to(PACKAGE):
        parts = file_path.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        with contextlib.suppress(Exception):
            importlib.import_module(name)


@pytest.fixture(autouse=True)
def _doctest_namespace(doctest_namespace):
    doctest_namespace["np"] = np
