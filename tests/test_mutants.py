"""The search for changes that tests do not notice: what it changes, and what it leaves alone."""

import re
import subprocess
import sys
from pathlib import Path

import mutants
import pytest


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("x = a + b", {"x = a - b", "x = (a)", "x = (b)"}),
        ("x = a - b", {"x = a + b", "x = (a)", "x = (-(b))"}),
        ("x = -a", {"x = (a)"}),
        ("x = 3", {"x = 4"}),
        ("x = 0.5", {"x = 1.0", "x = 0.25"}),
        ("x = a < b", {"x = a <= b", "x = a >= b"}),
        ("x = np.exp(a)", {"x = (a)"}),
        ("x = max(a, b)", {"x = min(a, b)", "x = (a)", "x = (b)"}),
        ("x = np.where(c, a, b)", {"x = (a)", "x = (b)"}),
        ("x = a and b", {"x = (a) or (b)", "x = (a)", "x = (b)"}),
        ("x *= a", {"x /= a", "pass"}),
        ("check(a)", {"pass"}),
        ("x = p.all()", {"x = p.any()"}),
        ("import a", set()),
        ("'a text'", set()),
        ("raise bad_value('p', -1, a + b)", set()),
    ],
)
def test_changes_of_a_line(line, changed):
    found = mutants.mutants(line)
    assert {mutant.text for mutant in found} == changed


def test_lines_and_places_beside_letters_of_several_bytes():
    found = mutants.mutants('x = "Größe"  # µ\ny = f("ü", a + b)\n')
    assert [mutant.line for mutant in found] == [2, 2, 2]
    assert found[0].text.splitlines()[1] in {'y = f("ü", (a))', 'y = f("ü", (b))'}


# In a process of its own: it forks, which libraries with threads of this process do not stand.
SEARCH = """
import pathlib, sys
sys.path.insert(0, {tests!r})
import mutants

mutants.IMPORTED_ONCE = ("pytest",)
mutants.ROOT = pathlib.Path.cwd()
chosen = mutants.mutants((mutants.ROOT / "sums.py").read_text())
assert len(chosen) == 3
for mutant in mutants.search("sums.py", ["test_sums.py"], chosen, limit=60.0):
    print("survivor:", mutant.text.splitlines()[1].strip())
"""


def test_a_change_that_no_test_notices_survives(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "sums.py").write_text("def total(a, b):\n    return a - b\n")
    (tmp_path / "test_sums.py").write_text(
        "from sums import total\n\ndef test_total():\n    assert total(1, 0) == 1\n"
    )
    code = SEARCH.format(tests=str(Path(__file__).parent))
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    survivors = re.findall("^survivor: (.+)$", run.stdout, re.MULTILINE)
    assert set(survivors) == {"return a + b", "return (a)"}
    assert "->" in run.stdout
