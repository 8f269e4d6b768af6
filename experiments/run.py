"""Run the experiments and write docs/experiments.md anew: `make experiments`.

    python experiments/run.py                all of them, two at a time
    python experiments/run.py spheres depth  these
    python experiments/run.py --data DIR     those that need MNIST's test images, too

A table on the page belongs to the script that its section names last above it, and has the rows
that the script prints below the same header. The figures of the page are those that the scripts
draw. If a script fails, nothing is written.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "experiments.md"
FIGURES = ROOT / "docs" / "figures"
COMMAND = re.compile(r"`(?:python )?(experiments/\w+\.py[^`]*)`")
TABLE = re.compile(r"(?:^\|.*\n)+", flags=re.MULTILINE)


def commands(text):
    """Return the commands that a page names, each once."""
    return list(dict.fromkeys(COMMAND.findall(text)))


def tables(text):
    """Return the tables of a text, by their headers."""
    return {found[0].partition("\n")[0]: found[0] for found in TABLE.finditer(text)}


def owner(text, table):
    """Return the command that a table, a match in the text, belongs to, or None."""
    section = text[: table.start()].rpartition("\n## ")[2]
    return (COMMAND.findall(section) or [None])[-1]


def rewrite(text, printed):
    """Return a page with the tables that commands have printed."""

    def renew(match):
        command = owner(text, match)
        if command not in printed:
            return match[0]
        header = match[0].partition("\n")[0]
        found = tables(printed[command])
        if header not in found:
            raise SystemExit(f"{command} prints no table with the header\n{header}")
        return found[header]

    return TABLE.sub(renew, text)


def run(command, folder, data):
    """Run a script in a folder of its own; return what it prints."""
    name, *arguments = command.replace("DIR", data).split()
    folder.mkdir()
    environment = {**os.environ, "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, str(ROOT / name), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - start
    print(f"{command}: {'done' if done.returncode == 0 else 'FAILED'}, {seconds:.0f} s", flush=True)
    if done.returncode:
        print(done.stdout, done.stderr, sep="\n")
        raise RuntimeError(f"{command} failed")
    (folder / "printed.txt").write_text(done.stdout)
    return done.stdout


def main():
    """Run what the page names, and write its tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="scripts, without .py; all of them if none")
    parser.add_argument("--data", default="", help="folder with MNIST's test images")
    arguments = parser.parse_args()
    data = str(Path(arguments.data).resolve()) if arguments.data else ""
    text = PAGE.read_text()
    chosen = []
    for command in commands(text):
        if arguments.names and Path(command.split()[0]).stem not in arguments.names:
            continue
        if "DIR" in command and not data:
            print(f"{command}: left out, needs --data")
        else:
            chosen.append(command)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(2) as pool:
        folders = [Path(temporary) / str(i) for i in range(len(chosen))]
        printed = list(pool.map(run, chosen, folders, [data] * len(chosen)))
        new = rewrite(text, dict(zip(chosen, printed, strict=True)))
        for figure in Path(temporary).glob("*/*.png"):
            if f"figures/{figure.name}" in text:
                shutil.copy(figure, FIGURES / figure.name)
        PAGE.write_text(new)
    print(f"{len(chosen)} experiments in {time.monotonic() - start:.0f} s: {PAGE} is written anew")


if __name__ == "__main__":
    main()
