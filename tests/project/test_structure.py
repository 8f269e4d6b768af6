"""The figures about the package: what counts as what, on a package of a few lines."""

from pathlib import Path

import structure

FRONT = '''"""A package."""

from p._b import shown

_MORE = {}

__all__ = ["shown", "C", *_MORE]


class C:
    """A class."""

    def method(self, x: int) -> int:
        """Return a number.

        Parameters
        ----------
        x : int
            Any.
        """
        return x

    def _helper(self):
        pass
'''
BEHIND = '''
def shown(x):
    """Return a number.

    Some text.
    """
    return x


def hidden():
    from p import C
'''


def test_figures_of_a_small_package(tmp_path):
    package = tmp_path / "p"
    package.mkdir()
    (package / "__init__.py").write_text(FRONT)
    (package / "_b.py").write_text(BEHIND)
    found = structure.of_sources(package)
    assert found["files"] == 2
    assert found["lines"] == (FRONT + BEHIND).count("\n")
    assert found["lines of the largest file"] == f"{FRONT.count(chr(10))} (p)"
    assert found["lines of the longest function, without its docstring"] == 2
    assert found["imports that run up"] == 1
    assert found["public functions and methods"] == 2  # shown, C.method
    assert found["private ones for each public one"] == "1.00"  # hidden, C._helper
    assert found["public ones with all their types"] == "1 (50%)"


def test_repeated_lines_of_docstrings(tmp_path):
    package = tmp_path / "p"
    package.mkdir()
    text = 'def f_{}(): \n    """Return it.\n\n    Parameters\n    ----------\n    """\n'
    (package / "__init__.py").write_text("".join(text.format(i) for i in range(5)))
    repeated = structure.docstring_lines(structure.parsed(package))
    assert repeated == {"Return it.": 5}


def test_figures_of_this_package():
    found = structure.of_sources(Path(__file__).parents[2] / "infogeo")
    assert found["imports that run up"] == 0
