"""What all commands share: how they start, and how they say that something is wrong."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from kser.errors import KserError, KserWarning

# What a shell reports of a program that a signal ended.
INTERRUPTED, NOBODY_READS = 128 + 2, 128 + 13


def run(main: Callable[[list[str]], None], positional: str = "") -> NoReturn:
    """Parses the flags, calls `main` with the positional arguments and exits.

    A `KserError`, or output that cannot be written, becomes one line on stderr and status 1. Only commands that name a kind
    of `positional` argument take any.
    """

    def guarded(argv: Sequence[str]) -> int:
        arguments = list(argv[1:])
        # Below warnings there is only TensorFlow talking to itself.
        logging.set_verbosity(logging.WARNING)
        # Names of files need not be valid text; they are printed as they are.
        sys.stdout.reconfigure(errors="surrogateescape")
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

    app.run(guarded, flags_parser=_parse_flags)


def _print_warnings_once() -> None:
    """A `KserWarning` is one line on stderr, however often it is given."""
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
    print(f"Error: {message}", file=sys.stderr)
    return 1


def _system_failure(error: OSError) -> int:
    # What is still to be printed must not fail a second time when the interpreter ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return NOBODY_READS
    return fail(f"{error.filename or 'The output'}: {error.strerror or error}.")


def _parse_flags(argv: list[str]) -> list[str]:
    """A wrong flag is told in a sentence, without absl's usage text."""
    app.define_help_flags()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        reason = str(error).removeprefix("ERROR:: ").rstrip(" .?")
        sys.exit(fail(f"{reason}. --help lists the flags."))
    except OSError as error:  # of printing the help
        sys.exit(_system_failure(error))
