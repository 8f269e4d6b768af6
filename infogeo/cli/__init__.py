"""The `infogeo` command.

A command is a private module whose function ``add`` adds its parser and names the function that
runs it. What a user can get wrong raises `UsageError`: one line on stderr, exit status 2. Nothing
heavy is imported before a command runs.
"""

import argparse
import contextlib
import difflib
import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from infogeo._docs import finish
from infogeo._system.progress import silenced
from infogeo._system.version import __version__
from infogeo.cli import _certify, _compare, _demo, _distance, _maxent, _pullback
from infogeo.cli._common import UsageError, forget_output, open_closed_streams, require

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
        options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
        with silenced() if options.quiet else contextlib.nullcontext():
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


def _parsed(arguments: list[str]) -> argparse.Namespace:
    """Return the options; what is none of them is named beside what may have been meant."""
    parser, commands = _build_parser()
    first = arguments[0] if arguments else "-"
    if not (first.startswith("-") or first in commands.choices):
        hint = _meant(first, commands.choices) or f"they are {', '.join(commands.choices)}"
        raise UsageError(f"infogeo: there is no command {first!r} ({hint}; see infogeo --help)")
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        used = commands.choices.get(first, parser)
        known = [name for action in used._actions for name in action.option_strings]
        hint = _meant(unknown[0].partition("=")[0], known)
        raise UsageError(
            f"{used.prog}: unrecognized arguments: {' '.join(unknown)} "
            f"({f'{hint}; ' if hint else ''}see {used.prog} --help)"
        )
    return options


def _meant(word: str, known: Any) -> str:
    """Return what was probably meant, as words; nothing if no word is close."""
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]}?" if close else ""


class _Completion(argparse.Action):
    """Prints what a shell has to know to complete the command."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> NoReturn:
        require(f"infogeo {option}", shtab="cli")
        import shtab

        whole, commands = _build_parser()
        for action in (a for command in commands.choices.values() for a in command._actions):
            if action.nargs != 0 and action.choices is None:
                action.complete = shtab.FILE
        print(shtab.complete(whole, shell=values))
        parser.exit()


def _build_parser() -> tuple[_Parser, Any]:
    parser = _Parser(
        prog="infogeo",
        description="Information geometry of predictions: Fisher-Rao distances, pullback metrics "
        "of networks, C-maximisation.",
        epilog="'infogeo COMMAND --help' explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"infogeo {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_Completion,
        choices=("bash", "zsh", "tcsh"),
        help='print what completes this command in a shell: eval "$(infogeo --print-completion '
        'bash)"',
    )

    def show_help(options: argparse.Namespace) -> int:
        parser.print_help()
        return 0

    parser.set_defaults(run=show_help, quiet=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    for used in commands.choices.values():
        used.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    return parser, commands


finish(globals())
