"""The `infogeo` command.

A command is a private module whose function ``add`` adds its parser and names the function that
runs it. What a user can get wrong raises `UsageError`: one line on stderr, exit status 2. Nothing
heavy is imported before a command runs.
"""

import argparse
import errno
import sys
from collections.abc import Sequence
from typing import NoReturn

from infogeo._docs import finish
from infogeo._system.version import __version__
from infogeo.cli import _certify, _compare, _demo, _distance, _maxent, _pullback
from infogeo.cli._common import UsageError, forget_output, open_closed_streams

__all__ = ["main"]

_COMMANDS = (_certify, _compare, _demo, _distance, _maxent, _pullback)


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: {message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str or None
        What follows the command's name; None reads ``sys.argv``.

    Returns
    -------
    int
        The exit status: 0 for success, 1 for a no (a proof of `infogeo maxent`, a threshold of
        `infogeo compare` or `infogeo certify`), 2 for something the user can put right, 3 for too
        few data to decide (`infogeo compare --tolerance`), 130 after an interrupt.

    Examples
    --------
    >>> from infogeo.cli import main
    >>> main(["--version"])
    infogeo ...
    0
    """
    try:
        open_closed_streams()
        if hasattr(sys.stdout, "reconfigure"):  # a name that the terminal cannot show is escaped
            sys.stdout.reconfigure(errors="backslashreplace")
        options = _build_parser().parse_args(arguments)
        status = options.run(options)
        sys.stdout.flush()
        return status
    except UsageError as error:
        print(_in_a_line(str(error)), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("infogeo: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has seen enough, as in: infogeo distance A B | head
        forget_output()
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        print(f"infogeo: cannot write: {error.strerror}", file=sys.stderr)
        forget_output()
        return 2
    except SystemExit as stop:  # --help and --version are done
        return int(stop.code or 0)


_LONGEST_LINE = 1000


def _in_a_line(text: str) -> str:
    """Return a line that terminals show as it is, whatever a file has brought into it."""
    line = " ".join(text.split())
    line = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
    if len(line) <= _LONGEST_LINE:
        return line
    half = _LONGEST_LINE // 2 - 3  # the way out stands at the end
    return f"{line[:half]} ... {line[-half:]}"


def _build_parser() -> _Parser:
    parser = _Parser(
        prog="infogeo",
        description="Information geometry of predictions: Fisher-Rao distances, pullback metrics "
        "of networks, C-maximisation.",
        epilog="'infogeo COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"infogeo {__version__}")

    def show_help(options: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser


finish(globals())
