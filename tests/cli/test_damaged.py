"""Empty, damaged and odd files and outputs: one line, the right exit status, nothing unpickled."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from infogeo import cli, simplex

P = np.random.default_rng(0).dirichlet(np.ones(3), 5)
ROWS = "\n".join(",".join(repr(float(x)) for x in row) for row in P) + "\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("p.npy", P)
    return tmp_path


def refused(capsys, *arguments):
    assert cli.main([*arguments]) == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("\n\n", "it is empty"),
        ("0.3,,0.7\n" + ROWS, "column 2 has no name or number in its line 1"),
        ("a,b,c,\n" + ROWS, "column 4 has no name or number in its line 1"),
    ],
)
def test_first_lines_that_are_none(text, words, folder, capsys):
    (folder / "x.csv").write_text(text)
    assert words in refused(capsys, "distance", "x.csv", "--pairwise")


@pytest.mark.parametrize("header", ["\n\na,b,c\n", '"a\nx",b,c\n', "\n", ""])
def test_every_row_is_read_whatever_is_above(header, folder, capsys):
    (folder / "x.csv").write_text(header + ROWS)
    assert cli.main(["distance", "x.csv", "p.npy"]) == 0
    values = [float(line.split(",")[1]) for line in capsys.readouterr().out.splitlines()[1:]]
    np.testing.assert_array_equal(values, np.zeros(5))


def _text_in_a_zip(name):
    with zipfile.ZipFile(name, "w") as archive:
        archive.writestr("note.txt", "no array")


@pytest.mark.parametrize(
    ("make", "name", "words"),
    [
        (lambda: np.savez("x.npz"), "x.npz", "it holds no arrays"),
        (lambda: _text_in_a_zip("x.npz"), "x.npz", "it holds no arrays"),
        (lambda: _text_in_a_zip("x.npy"), "x.npy", "x.npy: it is no npy file"),
    ],
)
def test_archives_without_arrays(make, name, words, capsys):
    make()
    assert words in refused(capsys, "distance", name, "p.npy")


def test_arrays_that_are_no_tables_of_numbers(folder, capsys):
    np.save("x.npy", np.array([[1, "a"]], dtype=object))
    assert "must hold real numbers: its entries are objects" in refused(
        capsys, "distance", "x.npy", "p.npy"
    )
    (folder / "x.npy").write_bytes((folder / "p.npy").read_bytes()[:-1])
    assert "its 5 rows are not all there" in refused(capsys, "distance", "x.npy", "p.npy")


def test_text_in_another_encoding(folder, capsys):
    (folder / "x.csv").write_text("a,b,c\n" + ROWS, encoding="utf-16")
    assert "x.csv: it is no text in UTF-8" in refused(capsys, "distance", "x.csv", "p.npy")
    (folder / "x.toml").write_text("[features]\n", encoding="utf-16")
    assert "x.toml: it is no text in UTF-8" in refused(capsys, "maxent", "x.toml")


def test_errors_are_one_line_that_names_the_command(folder, capsys):
    for command, *arguments in (
        ("distance", "p.npy", "--nearest", "9"),
        ("distance", "p.npy", "x.npy"),
        ("compare", "p.npy", "p.npy", "-o", "p.npy"),
    ):
        assert cli.main([command, *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"infogeo {command}: ")
        assert line.count("infogeo") == 1


def test_labels_that_are_an_archive(capsys):
    _text_in_a_zip("x.npy")
    assert "x.npy: it is no npy file" in refused(
        capsys, "compare", "p.npy", "p.npy", "--labels", "x.npy"
    )


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_damaged_bytes_are_an_error_of_the_file_or_other_numbers(name, folder, capsys):
    with open(name, "wb") as file:
        np.save(file, P) if name == "x.npy" else np.savez_compressed(file, x=np.tile(P, (20, 1)))
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        (folder / name).write_bytes(damaged)
        status = cli.main(["distance", name, name, "--logits"])
        err = capsys.readouterr().err
        assert status == 0 or (status == 2 and name in err)


@pytest.mark.skipif(np.dtype("g").itemsize == 8, reason="no long doubles")
def test_long_doubles_are_rounded(capsys):
    long = P.astype("g")
    np.save("x.npy", long / long.sum(-1, keepdims=True))
    assert cli.main(["compare", "x.npy", "p.npy", "--json"]) == 0


def test_names_no_file_can_have(capsys):
    assert "File name too long" in refused(
        capsys, "distance", "p.npy", "p.npy", "-o", 300 * "x" + ".csv"
    )


def test_class_names_that_are_no_formulas_or_obeyed_by_terminals(folder, capsys, recwarn):
    (folder / "x.csv").write_text(
        f'$a$ \\frac$,"\x1b[31mred",{200 * "y"}\n' + ROWS, encoding="utf-8"
    )
    assert cli.main(["compare", "x.csv", "x.csv", "-o", "drift"]) == 0
    assert "\x1b" not in capsys.readouterr().out
    assert (folder / "drift" / "drift.png").stat().st_size > 1000
    assert not [w for w in recwarn if "layout not applied" in str(w.message)]


def test_output_that_cannot_show_a_name(folder):
    (folder / "x.csv").write_text("\xe9,b,c\n" + ROWS, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "infogeo", "compare", "x.csv", "x.csv"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, "\\xe9" in done.stdout) == (0, True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a full device")
def test_a_full_device_is_one_line():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "infogeo", "distance", "p.npy", "p.npy"],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "infogeo: cannot write: No space left on device"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_closed_streams(closed, folder):
    done = subprocess.run(
        f'"{sys.executable}" -m infogeo distance p.npy p.npy {closed}',
        shell=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_single_precision_in_the_other_byte_order_agrees_with_the_library(capsys):
    q = np.roll(P, 1, axis=-1)
    np.save("x.npy", P.astype(">f4"))
    np.save("y.npy", q.astype(">f4"))
    assert cli.main(["distance", "x.npy", "y.npy"]) == 0
    table = np.loadtxt(io.StringIO(capsys.readouterr().out), delimiter=",", skiprows=1)
    wide = [x.astype(">f4").astype(float) for x in (P, q)]
    np.testing.assert_allclose(table[:, 1], simplex.fisher_rao_distance(*wide), rtol=1e-14)
