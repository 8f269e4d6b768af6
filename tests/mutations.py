"""Files for the command line, mutated at random: what it says of them, and the search for more.

python tests/mutations.py 20000 7    that many mutations, from the seed 7
"""

import contextlib
import gzip
import io
import json
import os
import re
import struct
import sys
import tempfile
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import torch
from pyarrow import feather, parquet
from safetensors.torch import save_file

from infogeo import cli, pullback

MODEL = """
import torch

def make():
    return torch.nn.Linear(3, 2)
"""

TOML = """
outcomes = ["1", "2", "3"]
prior = [1, 1.5, 1]

[features]
shows = [1, 2, 3]
"is odd" = [1, 0, 1]

[targets]
shows = 1.9
"is odd" = 0.7
"""

CSV = "outcome,prior,shows\none,1,1\ntwo,1.5,2\nthree,1,3\ntarget,,1.9\n"

PULLBACK = ["pullback", "--model", "mutated_model:make", "-o", "out", "--inputs"]

# For each file the commands that read it.
COMMANDS = {
    "p.npy": [["distance", "p.npy", "q.npy"], ["distance", "q.npy", "p.npy", "--nearest", "2"]],
    "columns.npy": [["distance", "columns.npy", "--pairwise"]],
    "z.npy": [["compare", "z.npy", "z.npy", "--logits"]],
    "p.npz": [["distance", "p.npz", "q.npy"]],
    "packed.npz": [["distance", "packed.npz:b", "--pairwise"]],
    "p.csv": [["distance", "p.csv", "q.npy"], ["compare", "q.npy", "p.csv"]],
    "named.csv": [["compare", "named.csv", "named.csv", "--id", "file"]],
    "p.parquet": [["distance", "p.parquet", "q.npy"], ["compare", "p.parquet", "q.npy"]],
    "lists.parquet": [["distance", "lists.parquet:p", "--nearest", "1", "--id", "file"]],
    "p.tsv": [["distance", "p.tsv", "q.npy"]],
    "p.csv.gz": [["compare", "p.csv.gz", "q.npy"]],
    "p.jsonl": [["compare", "p.jsonl", "named.csv", "--id", "file", "--common"]],
    "p.feather": [["distance", "p.feather", "q.npy"]],
    "labels.npy": [["compare", "q.npy", "q.npy", "--labels", "labels.npy"]],
    "labels.csv": [["compare", "q.npy", "q.npy", "--labels", "labels.csv"]],
    "die.toml": [["maxent", "die.toml", "--json"]],
    "die.csv": [["maxent", "die.csv"]],
    "w.safetensors": [[*PULLBACK, "x.npy", "--weights", "w.safetensors"]],
    "w.pt": [[*PULLBACK, "x.npy", "--weights", "w.pt"]],
    "x.npy": [[*PULLBACK, "x.npy", "--untrained"]],
    "x.npz": [[*PULLBACK, "x.npz", "--untrained"]],
}


def write_files(folder):
    """Write a whole file of each kind."""
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(3), (2, 5))
    names = [f"im{i}" for i in range(5)]
    np.save(folder / "p.npy", p)
    np.save(folder / "q.npy", q)
    np.save(folder / "columns.npy", np.asfortranarray(p))
    np.save(folder / "z.npy", np.log(p).astype(np.float32))
    np.savez(folder / "p.npz", p)
    np.savez_compressed(folder / "packed.npz", a=q, b=p)
    rows = [",".join(map(repr, row)) for row in p.tolist()]
    (folder / "p.csv").write_text("\n".join(["a,b,c", *rows]) + "\n")
    (folder / "p.csv.gz").write_bytes(gzip.compress((folder / "p.csv").read_bytes(), mtime=0))
    (folder / "p.tsv").write_text((folder / "p.csv").read_text().replace(",", "\t"))
    of_rows = zip(names, p.tolist(), strict=True)
    lines = [{"file": name, **dict(zip("abc", row, strict=True))} for name, row in of_rows]
    (folder / "p.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    table = pa.table(dict(zip("abc", p.T, strict=True)))
    feather.write_feather(table, folder / "p.feather", compression="lz4")
    named = [f'"{name}",{row}' for name, row in zip(names, rows, strict=True)]
    (folder / "named.csv").write_text("\n".join(["file,a,b,c", *named]) + "\n")
    columns = {"file": names, **dict(zip("abc", p.T, strict=True))}
    parquet.write_table(pa.table({name: columns[name] for name in "abc"}), folder / "p.parquet")
    lists = pa.table({"file": names, "p": pa.array(p.tolist())})
    parquet.write_table(lists, folder / "lists.parquet", compression="none")
    np.save(folder / "labels.npy", np.array([0, 1, 2, 0, 1]))
    (folder / "labels.csv").write_text("label\n0\n1\n2\n0\n1\n")
    (folder / "die.toml").write_text(TOML)
    (folder / "die.csv").write_text(CSV)
    net = torch.nn.Linear(3, 2)
    save_file(net.state_dict(), folder / "w.safetensors")
    torch.save(net.state_dict(), folder / "w.pt")
    np.save(folder / "x.npy", p.astype(np.float32))
    np.savez_compressed(folder / "x.npz", p)
    (folder / "mutated_model.py").write_text(MODEL)


# ---------------------------------------------------------------- mutations

# What parsers stumble over: nesting, long numbers, names of types, lengths.
PIECES = (
    b"(" * 300,
    b"[" * 3000,
    b"{'a':" * 200,
    b"-" * 5000,
    b"9" * 5000,
    b"0x",
    b"1_0",
    b"1L",
    b"'",
    b'"""',
    b"\\",
    b"\n",
    b"\r",
    b"\x00",
    b"\xff\xfe",
    b",",
    b";",
    b"nan",
    b"inf",
    b"-1",
    b"1e400",
    b"True",
    b"None",
    b"'|O'",
    b"'<M8[ns]'",
    b"'<U3'",
    b"'<c16'",
    b"'<f2'",
    b"'<f16'",
    b"[('a', '<f8')]",
    b"F64",
    b"BF16",
    b"(0, 3)",
    b"(-5, 3)",
    b"(99999999999, 3)",
    b"(5, 99999999999999999999)",
    struct.pack("<I", 2**31),
    struct.pack("<Q", 2**63),
)


def mutated(whole, rng):
    """Return some bytes, changed at one to three places, more often near an end than between."""
    data = bytearray(whole)
    for _ in range(rng.integers(1, 4)):
        length = max(1, len(data))
        header = min(length, 200)
        at = int((rng.integers(length), rng.integers(header), -rng.integers(1, header + 1))[
            rng.integers(3)
        ]) % length  # fmt: skip
        kind = rng.integers(7)
        if kind == 0 and data:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1 and data:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            del data[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            piece = PIECES[rng.integers(len(PIECES))]
            data[at : at + int(rng.integers(2)) * len(piece)] = piece
        elif kind == 5:
            data[at:at] = data[at : at + int(rng.integers(1, 40))]
        else:
            digit = re.search(rb"[0-9]+", data[at:])
            if digit:
                text = (b"0", b"1", b"7", b"-3", b"1e999", b"10000000000000")[rng.integers(6)]
                data[at + digit.start() : at + digit.end()] = text
    return bytes(data)


# ---------------------------------------------------------------- what the command says


def _all_batches(metric, inputs, **_):
    """Stand for a scan: read every input, then stop as one that is refused."""
    for k in range(len(inputs)):
        metric.model(inputs[k])
    raise ValueError("read w.safetensors w.pt x.npy x.npz")


_PYTHON = re.compile(
    r"Traceback|\w+Error\b|\w+Exception\b|NoneType|object has no|unexpected keyword|ndarray|"
    r"\bdtype\(|<class|(?<!['\"])\bb'(?=.*')|np\.|numpy|max_header_size|allow_pickle|literal|subscriptable|"
    r"mmap|codec|unpack|byte string|\bint\(\)|\bstr\b|\bkwarg"
)


def complaint(arguments, name):
    """Return what is wrong with what a command says of a damaged file, None if it is good."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            mock.patch.object(pullback, "scan", _all_batches),
        ):
            warnings.simplefilter("error")
            status = cli.main(arguments)
    except BaseException as error:  # whatever a parser raises is what is looked for
        return f"{type(error).__name__}: {str(error)[:300]}"
    lines = [line for line in err.getvalue().splitlines() if not line.startswith("[")]
    if status == 0 or (status == 1 and arguments[0] == "maxent"):
        return None if out.getvalue() else "it said nothing"
    if status != 2 or len(lines) != 1:
        return f"status {status}: {lines}"
    (line,) = lines
    if name not in line or len(line) > 1000 or not line.isprintable() or _PYTHON.search(line):
        return f"it said {line!r}"
    return None


def search(folder, seed, count):
    """Return complaints about so many mutations in a folder of whole files, by their numbers."""
    found = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        name = tuple(COMMANDS)[number % len(COMMANDS)]
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(mutated(whole, rng))
        commands = COMMANDS[name]
        arguments = commands[rng.integers(len(commands))]
        said = complaint(arguments, name)
        if said is not None:
            found.append({"seed": seed, "number": number, "command": arguments, "said": said})
        (folder / name).write_bytes(whole)
    return found


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        os.chdir(name)
        write_files(Path(name))
        total, first, step = int(sys.argv[1]), int(sys.argv[2]), 500
        for start in range(0, total, step):
            for entry in search(Path(name), first + start // step, step):
                print(json.dumps(entry), flush=True)
            print(f"{start + step} done", file=sys.stderr, flush=True)
