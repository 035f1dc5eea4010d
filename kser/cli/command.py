"""What all commands share: how they start, and how they say that something is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from absl import app, flags, logging

from kser.errors import KserError

INTERRUPTED = 130


def run(main: Callable[[list[str]], None], positional: str = "") -> NoReturn:
    """Parses the flags, calls `main` with the positional arguments and exits.

    A `KserError` becomes one line on stderr and status 1. Only commands that name a kind of `positional` argument take any.
    """

    def guarded(argv: Sequence[str]) -> int:
        arguments = list(argv[1:])
        # Below warnings there is only TensorFlow talking to itself.
        logging.set_verbosity(logging.WARNING)
        try:
            if arguments and not positional:
                raise KserError(f"Unexpected argument '{arguments[0]}'; settings are given as --name=value.")
            main(arguments)
        except KserError as error:
            return fail(str(error))
        except KeyboardInterrupt:
            print("Interrupted.", file=sys.stderr)
            return INTERRUPTED
        return 0

    app.run(guarded, flags_parser=_parse_flags)


def fail(message: str) -> int:
    """Prints `message` on stderr; returns the exit status."""
    print(f"Error: {message}", file=sys.stderr)
    return 1


def _parse_flags(argv: list[str]) -> list[str]:
    """A wrong flag is told in a sentence, without absl's usage text."""
    app.define_help_flags()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        reason = str(error).removeprefix("ERROR:: ").rstrip(" .?")
        sys.exit(fail(f"{reason}. --help lists the flags."))
