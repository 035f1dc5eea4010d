"""What all commands share: start, help and error messages."""

from __future__ import annotations

import codecs
import functools
import os
import pkgutil
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

import kser.cli
from kser.errors import KserError, KserWarning

FLAGS = flags.FLAGS

# The exit status a shell reports for a program ended by a signal.
INTERRUPTED, NOBODY_READS = 128 + 2, 128 + 13


def run(main: Callable[[list[str]], None], positional: str = "") -> NoReturn:
    """Parses the flags, calls `main` with the positional arguments and exits.

    A `KserError`, or output that cannot be written, becomes one line on stderr and status 1. Only commands that name a kind
    of `positional` argument take any.
    """

    def guarded(argv: Sequence[str]) -> int:
        arguments = list(argv[1:])
        # TensorFlow's messages below warnings are of no use to the user.
        logging.set_verbosity(logging.WARNING)
        _print_any_text()
        _print_warnings_once()
        try:
            if arguments and not positional:
                raise KserError(f"Unexpected argument '{arguments[0]}'; settings are given as --name=value.")
            main(arguments)
            sys.stdout.flush()
        except KserError as error:
            return fail(str(error))
        except OSError as error:
            return _system_failure(error)
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        return 0

    # A user's settings for other programs (channels first, float64, another backend) are none of kser's: no directory, and
    # none that Keras could make and write its own into.
    os.environ["KERAS_HOME"] = os.devnull
    usage = functools.partial(_usage, sys.modules[main.__module__], positional)
    app.run(guarded, flags_parser=functools.partial(_parse_flags, usage))


def _print_any_text() -> None:
    """File names need not be valid UTF-8, and are printed unchanged; an ASCII locale is taken for one of UTF-8."""
    if codecs.lookup(sys.stdout.encoding).name == "ascii":
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        sys.stdout.reconfigure(errors="surrogateescape")


def _print_warnings_once() -> None:
    """Prints each different `KserWarning` once, as one line on stderr."""
    show_other, told = warnings.showwarning, set()

    def show(message, category, *place):
        if not issubclass(category, KserWarning):
            show_other(message, category, *place)
        elif str(message) not in told:
            told.add(str(message))  # Python's own memory of them ends with the next change of a filter, as imports make
            print(f"Warning: {message}", file=sys.stderr)

    warnings.showwarning = show


def fail(message: str) -> int:
    """Prints `message` on stderr; returns the exit status."""
    print(f"Error: {as_called(message)}", file=sys.stderr)
    return 1


def as_called(text: str) -> str:
    """`text` with commands named as this one was called: bin/train in a checkout, kser-train where pip installed it."""
    if not _script().startswith("kser-"):
        return text
    return _command_names().sub(lambda found: f"kser-{found[1].replace('_', '-')}", text)


def _script() -> str:
    return os.path.splitext(os.path.basename(sys.argv[0]))[0]


@functools.cache
def _command_names() -> re.Pattern:
    """Matches bin/NAME of a command, but not as part of a file name."""
    names = "|".join(module.name for module in pkgutil.iter_modules(kser.cli.__path__))
    return re.compile(rf"(?<![\w./-])bin/({names})(?![\w/-]|\.\w)")


def _system_failure(error: OSError) -> int:
    # Buffered output must not fail a second time when the interpreter exits.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS
    return fail(f"{error.filename or 'The output'}: {error.strerror or error}.")


class _Help(flags.BooleanFlag):
    """Prints the usage. absl's own --help lists no flags where the main module is a script that pip generated."""

    def __init__(self, usage: Callable[[], str]):
        super().__init__("help", False, "Print this help and exit.", short_name="?", allow_override=True)
        self._usage = usage

    def parse(self, argument: str | bool) -> None:
        super().parse(argument)
        if self.value:
            print(self._usage(), flush=True)
            sys.exit(0)


def _usage(module, positional: str) -> str:
    """The command's description (its module's docstring), usage and flags."""
    name = _script() if _script().startswith("kser-") else f"bin/{_script()}"
    # Without absl's heading, which is the module's name.
    _, *lines = FLAGS.module_help(module).strip().splitlines()
    call = " ".join([name, "[--flag=value ...]", *([f"({positional})"] if positional else [])])
    return as_called("\n".join([module.__doc__.strip(), "", f"Usage: {call}", "", *lines]))


def _parse_flags(usage: Callable[[], str], argv: list[str]) -> list[str]:
    """Reports a wrong flag in one sentence, without absl's usage text."""
    flags.DEFINE_flag(_Help(usage))
    try:
        return FLAGS(argv)
    except flags.Error as error:
        reason = str(error).removeprefix("ERROR:: ").rstrip(" .?")
        sys.exit(fail(f"{reason}. --help lists the flags."))
    except OSError as error:  # of printing the help
        sys.exit(_system_failure(error))
