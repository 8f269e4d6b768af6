"""The command: one clear line and status 2 for what a user can put right."""

import importlib.util
import json
import math
import os
import subprocess
import sys
import types

import pytest

import infogeo
from infogeo import cli


def demo_module(run):
    """Stand in for infogeo.cli.demo."""
    return types.SimpleNamespace(
        Settings=lambda seed: {"seed": seed},
        run=run,
        summary=lambda found, folder: f"found {found} in {folder}",
    )


@pytest.fixture
def fake_demo(monkeypatch):
    def install(run):
        monkeypatch.setitem(sys.modules, "infogeo.cli.demo", demo_module(run))

    return install


def write_and_return(folder, settings, *, progress):
    progress("stage one", 0.5)
    (folder / "report.html").write_text("hello")
    return settings["seed"]


# ---------------------------------------------------------------- what works


def test_help_and_version(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"infogeo {infogeo.__version__}\n"
    for arguments in ([], ["--help"]):
        assert cli.main(arguments) == 0
        assert "demo" in capsys.readouterr().out
    assert cli.main(["demo", "--help"]) == 0
    assert {"--seed", "--output"} <= set(capsys.readouterr().out.replace(",", " ").split())


def test_help_loads_nothing_heavy():
    code = "import sys; from infogeo.cli import main; main(['demo', '--help']); print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(run.stdout.splitlines()[-1].split())
    assert loaded.isdisjoint({"torch", "numpy", "scipy", "matplotlib", "sklearn", "rich"})


def test_python_m_infogeo():
    run = subprocess.run(
        [sys.executable, "-m", "infogeo", "--nothing"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2
    assert run.stderr == "infogeo: unrecognized arguments: --nothing (see infogeo --help)\n"


def test_demo_prints_what_it_found(fake_demo, tmp_path, capsys):
    fake_demo(write_and_return)
    folder = tmp_path / "new" / "folder"
    assert cli.main(["demo", "-o", str(folder), "--seed", "7"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"found 7 in {folder}\n"
    assert shown.err.splitlines() == ["[  0%] loading", "[ 50%] stage one"]
    assert [path.name for path in folder.iterdir()] == ["report.html"]


@pytest.mark.skipif(importlib.util.find_spec("rich") is None, reason="rich is not installed")
def test_demo_shows_a_bar_to_people(fake_demo, tmp_path, capsys, monkeypatch):
    fake_demo(write_and_return)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"found 0 in {tmp_path}\n"
    assert "stage one" in shown.err
    assert "[ 50%]" not in shown.err


def test_demo_prints_lines_without_rich(fake_demo, tmp_path, capsys, monkeypatch):
    fake_demo(write_and_return)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setitem(sys.modules, "rich", None)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().err.splitlines() == ["[  0%] loading", "[ 50%] stage one"]


def test_quiet_commands_show_no_progress(fake_demo, tmp_path, capsys):
    fake_demo(write_and_return)
    assert cli.main(["demo", "--quiet", "-o", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert (shown.err, bool(shown.out)) == ("", True)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 0
    assert capsys.readouterr().err


@pytest.mark.parametrize(
    "command", ["certify", "compare", "demo", "distance", "maxent", "pullback"]
)
def test_help_fits_the_terminal(command, capsys, monkeypatch):
    """Only examples, which are indented, and the values of a csv file keep their lines."""
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main([command, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(len(line) <= 60 for line in lines if line[:2] != "  ")
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_shells_complete_commands_and_options(shell, capsys):
    pytest.importorskip("shtab")
    assert cli.main(["--print-completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(word in script for word in ("pullback", "--tolerance", "--weights"))


def test_completion_needs_its_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert cli.main(["--print-completion", "bash"]) == 2
    assert "needs shtab: pip install 'infogeo[cli]'" in capsys.readouterr().err


# ---------------------------------------------------------------- what a user can put right


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nothing"], "infogeo: unrecognized arguments: --nothing (see infogeo --help)"),
        (
            ["demo", "--nothing"],
            "infogeo demo: unrecognized arguments: --nothing (see infogeo",
        ),
        (
            ["demo", "extra"],
            "unrecognized arguments: extra (see infogeo demo --help)",
        ),
        (["demo", "--sed=1"], "unrecognized arguments: --sed=1 (did you mean --seed?; see infogeo"),
        (
            ["demmo"],
            "infogeo: there is no command 'demmo' (did you mean demo?; see",
        ),
        (
            ["xyz"],
            "there is no command 'xyz' (they are certify, compare, demo,",
        ),
        (["demo", "-o"], "infogeo demo: argument -o/--output: expected one argument"),
        (["demo", "-o", ""], "the folder's name is empty"),
        (["demo", "--seed", "-1"], "'-1' is not a whole number from 0 to 4294967295"),
        (["demo", "--seed", "1.5"], "'1.5' is not a whole number"),
        (["demo", "--seed", "4294967296"], "'4294967296' is not a whole number"),
        (["demo", "-o", "{file}"], "{file}: it is a file, not a folder"),
        (["demo", "-o", "{file}/below"], "infogeo: cannot write to {file}/below: "),
        (["demo", "-o", "/dev/null/below"], "infogeo: cannot write to /dev/null/below: "),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path, capsys, fake_demo):
    fake_demo(write_and_return)
    file = tmp_path / "file"
    file.write_text("mine")
    assert cli.main([argument.format(file=file) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert message.format(file=file) in shown.err
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_text() == "mine"


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert cli.main(["demo", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("infogeo: cannot write to")
    assert cli.main(["demo", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("infogeo: cannot write to")


def test_folder_that_refuses_files(tmp_path, capsys, monkeypatch):
    """A read-only file system lets folders be seen, and nothing be written."""

    def refuse(**keywords):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert cli.main(["demo", "-o", str(tmp_path / "a" / "b")]) == 2
    assert capsys.readouterr().err == (
        f"infogeo: cannot write to {tmp_path / 'a' / 'b'}: Read-only file system\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["matplotlib"], "infogeo demo needs matplotlib: pip install 'infogeo[plot]'"),
        (["sklearn"], "infogeo demo needs scikit-learn: pip install 'infogeo[sklearn]'"),
        (
            ["torch", "matplotlib", "sklearn"],
            "infogeo demo needs torch, matplotlib and scikit-learn: "
            "pip install 'infogeo[torch,plot,sklearn]'",
        ),
    ],
)
def test_missing_extras_are_named(missing, message, tmp_path, capsys, monkeypatch):
    for module in missing:
        monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["demo", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == message + "\n"
    assert list(tmp_path.iterdir()) == []


def test_missing_extra_in_a_fresh_process(tmp_path):
    blocker = tmp_path / "sitecustomize.py"
    blocker.write_text(
        "import sys\n"
        "class Blocker:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'matplotlib':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Blocker())\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "infogeo", "demo", "-o", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == "infogeo demo needs matplotlib: pip install 'infogeo[plot]'\n"
    assert not (tmp_path / "out").exists()


def test_an_extra_that_does_not_load(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "infogeo.cli.demo", None)
    assert cli.main(["demo", "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("infogeo demo: ")
    assert list(tmp_path.iterdir()) == []


def test_interrupt_leaves_no_empty_folder(fake_demo, tmp_path, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    fake_demo(interrupt)
    assert cli.main(["demo", "-o", str(tmp_path / "a" / "b")]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "infogeo: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_interrupt_keeps_what_was_there(fake_demo, tmp_path):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    fake_demo(interrupt)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 130
    assert tmp_path.exists()


def test_a_full_disk_is_one_line(fake_demo, tmp_path, capsys):
    def fill(*_, **__):
        raise OSError(28, "No space left on device")

    fake_demo(fill)
    assert cli.main(["demo", "-o", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"infogeo: cannot write to {tmp_path}: No space left on device"
    )


# ---------------------------------------------------------------- infogeo maxent

DIE = """
outcomes = ["one", "two", "three", "four", "five", "six"]
[features]
shows = [1, 2, 3, 4, 5, 6]
[targets]
shows = 4.5
"""
DIE_CSV = "outcome,prior,shows\n" + "".join(f"{i},1,{i}\n" for i in range(1, 7)) + "target,,4.5\n"
# E. T. Jaynes, Where do we stand on maximum entropy?, 1979.
PUBLISHED = [0.05435, 0.07877, 0.11416, 0.16545, 0.23977, 0.34749]


def run_maxent(tmp_path, text, *options, name="problem.toml"):
    path = tmp_path / name
    path.write_text(text)
    return cli.main(["maxent", str(path), *options])


@pytest.mark.parametrize(("text", "name"), [(DIE, "die.toml"), (DIE_CSV, "die.csv")])
def test_maxent_solves_a_file(text, name, tmp_path, capsys):
    assert run_maxent(tmp_path, text, "--json", name=name) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "CONVERGED"
    assert list(found["probabilities"].values()) == pytest.approx(PUBLISHED, abs=6e-6)
    assert found["error_bound"] < 1e-11
    assert found["theta"]["shows"] == pytest.approx(0.37105, abs=1e-5)
    assert run_maxent(tmp_path, text, name=name) == 0
    shown = capsys.readouterr().out
    assert "status: converged" in shown
    assert "0.0543" in shown
    assert "shows    0.371" in shown


def test_maxent_uses_the_prior_and_finds_faces(tmp_path, capsys):
    text = DIE.replace("[features]", "prior = [2, 1, 1, 1, 1, 0]\n[features]")
    assert run_maxent(tmp_path, text.replace("4.5", "5"), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "BOUNDARY"
    assert list(found["probabilities"].values()) == [0, 0, 0, 0, 1, 0]
    assert list(found["direction"]) == ["shows"]
    assert run_maxent(tmp_path, text.replace("4.5", "5")) == 0
    assert "probabilities are 0 where -1 (shows) is above" in capsys.readouterr().out


def test_maxent_proves_that_there_is_none(tmp_path, capsys):
    assert run_maxent(tmp_path, DIE.replace("4.5", "7")) == 1
    shown = capsys.readouterr().out
    assert "status: no distribution satisfies the constraints" in shown
    assert "proof: -1 (shows) is above its target" in shown
    assert "the mean of shows is at most 6; 7 was asked" in shown
    assert run_maxent(tmp_path, DIE.replace("4.5", "7"), "--json") == 1
    assert json.loads(capsys.readouterr().out)["certificate"] == {"shows": -1.0}


def test_maxent_says_why_it_could_not_decide(tmp_path, capsys):
    assert run_maxent(tmp_path, DIE.replace("4.5", "5.99999999999999")) == 2
    said = capsys.readouterr().err
    assert "No solution, and no proof that there is none" in said
    assert "range is the target of shows: 9.8e-15 from it" in said
    assert "range is [1, 6]" in said


BOUNDED = DIE.replace("[targets]\nshows = 4.5", "[lower]\nshows = 4.5\n[upper]\nshows = 4.6")
PRICED = DIE + "[penalty]\nshows = 2\n"
ROWS = "outcome,even,shows\n" + "".join(f"{i},{(i + 1) % 2},{i}\n" for i in range(1, 7))


@pytest.mark.parametrize(
    ("text", "name"), [(BOUNDED, "a.toml"), (ROWS + "lower,,4.5\nupper,,\ntarget,0.5,\n", "a.csv")]
)
def test_maxent_with_bounds(text, name, tmp_path, capsys):
    assert run_maxent(tmp_path, text, "--json", name=name) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["expectations"]["shows"] == pytest.approx(4.5, abs=1e-12)  # met: 3.5 is below
    if name == "a.toml":
        assert list(found["probabilities"].values()) == pytest.approx(PUBLISHED, abs=6e-6)
    else:
        assert found["expectations"]["even"] == pytest.approx(0.5, abs=1e-12)
    assert run_maxent(tmp_path, text, name=name) == 0
    assert "shows    4.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "name"),
    [(PRICED, "a.toml"), (DIE_CSV + "Penalty,,2\n", "a.csv")],
)
def test_maxent_with_a_penalty(text, name, tmp_path, capsys):
    assert run_maxent(tmp_path, text, "--json", name=name) == 0
    found = json.loads(capsys.readouterr().out)
    # E[F] = b - theta / rho at the optimum, and p is exp(theta F) as without a price.
    theta, mean = found["theta"]["shows"], found["expectations"]["shows"]
    assert mean == pytest.approx(4.5 - theta / 2.0, abs=1e-12)
    weights = [math.exp(theta * i) for i in range(1, 7)]
    expected = [w / sum(weights) for w in weights]
    assert list(found["probabilities"].values()) == pytest.approx(expected, abs=1e-12)
    assert sum(i * p for i, p in enumerate(expected, 1)) == pytest.approx(mean, abs=1e-12)


def test_maxent_proves_that_bounds_are_out_of_reach(tmp_path, capsys):
    text = BOUNDED.replace("4.5", "6.5").replace("4.6", "7")
    assert run_maxent(tmp_path, text) == 1
    assert "(shows) is above what targets and bounds allow" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (BOUNDED.replace("4.6", "4.4"), "a.toml", "lower bound of shows is above the upper bound"),
        (BOUNDED + "[targets]\nshows = 4\n", "a.toml", "shows has a target and bounds"),
        (BOUNDED + "[penalty]\nshows = 4\n", "a.toml", "shows has bounds: with a penalty"),
        (PRICED.replace("= 2", "= 0"), "a.toml", "shows must have a positive penalty"),
        (BOUNDED.replace("4.6", "inf"), "a.toml", "upper bound of shows must be finite"),
        (BOUNDED + "[penalties]\n", "a.toml", "unknown key penalties: known are outcomes, prior"),
        (ROWS + "lower,,4\npenalty,2,2\n", "a.csv", "even has a penalty, but no target"),
        (ROWS + "lower,,4\n", "a.csv", "the lower bound of even must hold numbers: got ''"),
        (ROWS + "lower,x,4\nupper,,5\n", "a.csv", "lower bound of even must hold numbers"),
        (ROWS + "target,0.5,\nupper,,\n", "a.csv", "shows must be both a feature and a target"),
        (ROWS + "lower,,4\nlower,,5\n", "a.csv", 'it has two rows "lower"'),
    ],
)
def test_maxent_bounds_and_penalties_that_are_wrong(text, name, message, tmp_path, capsys):
    assert run_maxent(tmp_path, text, name=name) == 2
    shown = capsys.readouterr()
    assert len(shown.err.splitlines()) == 1
    assert message in shown.err


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        (DIE, "die.txt", "the name must end in .toml or .csv"),
        ("features = ", "a.toml", "a.toml: "),
        ("a = 1", "a.toml", "unknown key a: known are outcomes, prior, features, targets"),
        ("prior = [1]", "a.toml", "it needs the tables [features] and [targets]"),
        (DIE.replace("4.5", "nan"), "a.toml", "the target of shows must be finite: got nan"),
        (DIE.replace("4.5", "true"), "a.toml", "the target of shows must hold numbers: got True"),
        (DIE.replace("4.5", "1" * 400), "a.toml", "the target of shows must be finite: got 111"),
        (DIE.replace("5, 6", "5"), "a.toml", "has 5 entries for 6 outcomes"),
        (DIE.replace("shows =", "x =", 1), "a.toml", "must be both a feature and a target"),
        (DIE.replace('"two"', '"one"'), "a.toml", "two outcomes have the same name"),
        ("prior = [0,0,0,0,0,0]" + DIE, "a.toml", "not 0 everywhere"),
        (DIE.replace("4.5", "1e308"), "a.toml", "that of shows is 1e+308"),
        ("", "a.csv", 'it needs a first column "outcome"'),
        (DIE_CSV.replace("6,1,6", "6,1"), "a.csv", "row 6 has 2 cells, the header 3"),
        (DIE_CSV.replace("6,1,6", "6,1,x"), "a.csv", "shows must hold numbers: got 'x'"),
        (DIE_CSV.replace("prior,shows", "shows,shows"), "a.csv", "two columns have the same name"),
        ("outcome,prior\na,1\nb,1\ntarget,\n", "a.csv", "it has no features"),
        (DIE_CSV.replace(",", ";"), "a.csv", "its cells must be separated by commas"),
        (DIE_CSV.replace("\n", ",\n"), "a.csv", "column 4 has no name"),
        (DIE_CSV.replace("6,1,6", "x" * 200_000 + ",1,6"), "a.csv", "it is no csv file: field"),
        (DIE_CSV.replace("6,1,6", "6,1," + "6" * 5000), "a.csv", "must be finite: got '666666"),
    ],
)
def test_maxent_bad_files(text, name, message, tmp_path, capsys):
    assert run_maxent(tmp_path, text, name=name) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 1
    assert shown.err.startswith("infogeo maxent: ")
    assert message in shown.err


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\ufeff" + DIE, "marked.toml"),
        ("\ufeff" + DIE_CSV.replace("\n", "\r\n"), "marked.csv"),
        (DIE_CSV.replace("outcome", "Outcome").replace("target", "Target"), "capital.csv"),
    ],
)
def test_maxent_reads_what_spreadsheets_write(text, name, tmp_path, capsys):
    assert run_maxent(tmp_path, text, "--json", name=name) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found["probabilities"].values()) == pytest.approx(PUBLISHED, abs=6e-6)


def test_maxent_names_with_line_breaks_stay_in_their_row(tmp_path, capsys):
    text = DIE_CSV.replace("6,1,6", '"\x1b[31msix\nor so",1,6')
    assert run_maxent(tmp_path, text, name="a.csv") == 0
    assert r"'\x1b[31msix\nor so'" in capsys.readouterr().out


@pytest.mark.parametrize("num_outcomes", [6, 30, 500])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_maxent_draws(num_outcomes, kind, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    rows = "".join(f"a $ in name {i},{1 + i % 3}e300,{i}\n" for i in range(num_outcomes))
    text = f"outcome,prior,shows\n{rows}target,,{0.6 * num_outcomes}\n"
    drawing = tmp_path / f"drawing.{kind}"
    assert run_maxent(tmp_path, text, "--plot", str(drawing), name="a.csv") == 0
    start = drawing.read_bytes()[:5]
    assert start == {"png": b"\x89PNG\r", "svg": b"<?xml"}[kind]
    assert "status: converged" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("names", "is_slanted"),
    [(["</script>", "\u65e5\u672c" * 6, "c"], True), (["a", "b", "c"], False)],
)
def test_maxent_draws_wide_names_and_says_nothing_of_letters(
    names, is_slanted, tmp_path, capsys, monkeypatch
):
    figures = pytest.importorskip("matplotlib.figure")
    drawn, save = [], figures.Figure.savefig

    def saved(figure, *given, **options):
        drawn.append(figure)
        save(figure, *given, **options)

    monkeypatch.setattr(figures.Figure, "savefig", saved)
    rows = "".join(f"{name},{i}\n" for i, name in enumerate(names))
    text = f"outcome,shows\n{rows}target,1.2\n"
    assert run_maxent(tmp_path, text, "--plot", str(tmp_path / "a.png"), name="a.csv") == 0
    labels = drawn[0].axes[0].get_xticklabels()
    assert [label.get_rotation() > 0.0 for label in labels] == 3 * [is_slanted]
    assert capsys.readouterr().err == ""


def test_maxent_says_at_once_what_it_cannot_draw(tmp_path, capsys):
    assert run_maxent(tmp_path, DIE, "--plot", "a.gif") == 2
    assert capsys.readouterr().err.endswith("a.gif: the name must end in .png, .svg or .pdf\n")
    assert run_maxent(tmp_path, DIE, "--plot", str(tmp_path / "none" / "a.png")) == 2
    assert capsys.readouterr().err.count("\n") == 1
    drawing = tmp_path / "a.png"
    assert run_maxent(tmp_path, DIE.replace("4.5", "7"), "--plot", str(drawing)) == 1
    assert not drawing.exists()


def test_maxent_files_that_cannot_be_read(tmp_path, capsys):
    assert cli.main(["maxent", str(tmp_path / "none.toml")]) == 2
    assert capsys.readouterr().err.endswith("none.toml: No such file or directory\n")
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    assert cli.main(["maxent", str(tmp_path / "a.csv")]) == 2
    assert "a.csv: " in capsys.readouterr().err
    (tmp_path / "folder.toml").mkdir()
    assert cli.main(["maxent", str(tmp_path / "folder.toml")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
