"""The wheel, in an environment that has nothing else, does what the README says first."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(*command, folder):
    environment = {name: x for name, x in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(x) for x in command], cwd=folder, env=environment, capture_output=True, text=True
    )


@pytest.mark.campaign
def test_a_wheel_in_an_empty_environment_runs_the_readme(tmp_path):
    """Without torch: the blocks that need it say which extra to install."""
    built = run(
        *(sys.executable, "-m", "pip", "wheel", "--no-deps", "-w", tmp_path, ROOT), folder=tmp_path
    )
    if built.returncode and "hatchling" in built.stderr:
        pytest.skip("there is no index of packages to get hatchling from")
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("infogeo-*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    (python,) = (tmp_path / "empty").glob("[bS]*/python*[3e]")
    installed = run(python, "-m", "pip", "install", wheel, folder=tmp_path)
    if installed.returncode and re.search("No matching distribution|Connection", installed.stderr):
        pytest.skip("there is no index of packages to get numpy and scipy from")
    assert installed.returncode == 0, installed.stderr
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pairs = re.findall("```python\n(.*?)```\n\n```text\n(.*?)```", text, re.DOTALL)
    plain = [(code, shown) for code, shown in pairs if "torch" not in code]
    assert len(plain) >= 2
    for code, shown in plain:
        (tmp_path / "readme.py").write_text(code)
        done = run(python, "readme.py", folder=tmp_path)
        assert (done.stdout, done.stderr) == (shown, "")
    for command in ("import infogeo; print(infogeo.__version__)", "import infogeo.pullback"):
        done = run(python, "-c", command, folder=tmp_path)
        assert done.returncode == 0 or "infogeo[torch]" in done.stderr, done.stderr
    assert run(python, "-m", "infogeo", "--help", folder=tmp_path).returncode == 0
