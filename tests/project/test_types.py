"""Type checkers are content with what users write: a file of it, the README and the pages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.fixture(scope="module")
def user_code(tmp_path_factory):
    """Return a folder with a file of users' code, and one of the code of each page."""
    folder = tmp_path_factory.mktemp("user_code")
    source = Path(__file__).with_name("user_code.py")
    (folder / source.name).write_text(source.read_text())
    (folder / "pages").mkdir()
    (folder / "pages" / "__init__.py").touch()
    for page in PAGES:
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
        if blocks:
            (folder / "pages" / f"{page.stem}.py").write_text("\n".join(blocks))
    assert len(list((folder / "pages").iterdir())) > 10
    return folder


# Pages define functions as one does in a session, without types, and go on after a loop. A gradient
# of torch may be None, a layer of a Sequential a tensor, an optional field of a result None.
MYPY = """
[mypy]
strict = true
implicit_reexport = true
allow_redefinition = true
disable_error_code = import-untyped
untyped_calls_exclude = torch
[mypy-pages.*]
disallow_untyped_calls = false
disallow_untyped_defs = false
disable_error_code = union-attr, operator, index, misc
"""
PYRIGHT = """
{"typeCheckingMode": "standard", "reportUnnecessaryTypeIgnoreComment": true,
 "executionEnvironments": [{"root": "pages", "reportOptionalMemberAccess": false,
 "reportOptionalCall": false, "reportOptionalSubscript": false,
 "reportPrivateImportUsage": false, "reportPossiblyUnboundVariable": false,
 "reportCallIssue": false, "reportIndexIssue": false, "reportAttributeAccessIssue": false}]}
"""


def test_mypy_accepts_users_code(user_code):
    (user_code / "mypy.ini").write_text(MYPY)
    cache = str(ROOT / ".mypy_cache" / "user_code")
    run = checked([sys.executable, "-m", "mypy", "--cache-dir", cache, "."], user_code)
    assert run.returncode == 0, run.stdout


def test_pyright_accepts_users_code(user_code):
    pytest.importorskip("basedpyright", reason="a second type checker, not needed by the package")
    (user_code / "pyrightconfig.json").write_text(PYRIGHT)
    run = checked(
        [sys.executable, "-m", "basedpyright", "--pythonpath", sys.executable, "."], user_code
    )
    assert run.returncode == 0, run.stdout


def checked(command, folder):
    """Run a checker in a folder, with this package to be found."""
    environment = {"PYTHONPATH": str(ROOT), "MYPYPATH": str(ROOT), "HOME": str(folder), "PATH": ""}
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=environment
    )
