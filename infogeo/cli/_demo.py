"""The command ``infogeo demo``."""

import argparse
import importlib

from infogeo._system.progress import progress_bar
from infogeo.cli._common import (
    Commands,
    UsageError,
    folder_name,
    require,
    whole_number,
    writable_folder,
)


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "demo",
        help="train two classifiers on handwritten digits and look at them geometrically",
        description="Trains a 1-Lipschitz network and an ordinary one on scikit-learn's "
        "handwritten digits (nothing is downloaded), measures the Fisher-Rao distances between "
        "their predictions, the directions their inputs are most sensitive to, and solves "
        "C-maximisation problems. Takes about a minute; writes report.html, results.json and "
        "the figures.",
    )
    parser.add_argument(
        "-o",
        "--output",
        metavar="FOLDER",
        default="out",
        type=folder_name,
        help="where to write; made if it does not exist (default: %(default)s)",
    )
    parser.add_argument(
        "--seed",
        metavar="N",
        default=0,
        type=whole_number(0, 2**32 - 1),
        help="same seed, same numbers (default: %(default)s)",
    )
    parser.set_defaults(run=_run_demo)


def _run_demo(options: argparse.Namespace) -> int:
    require("infogeo demo", torch="torch", matplotlib="plot", sklearn="sklearn")
    with writable_folder(options.output) as output, progress_bar() as progress:
        progress("loading", 0.0)
        try:
            demo = importlib.import_module("infogeo.cli.demo")
        except ImportError as error:
            raise UsageError(f"infogeo demo: {error}") from None
        found = demo.run(output, demo.Settings(seed=options.seed), progress=progress)
    print(demo.summary(found, output))
    return 0
