"""The command line: ``eliq score``, ``eliq rank``, ``eliq info``.

Data goes to standard output, progress and messages to standard error. Exit codes: 0 all images
scored, 1 the run failed, 2 wrong usage, 3 finished with failed images, 4 a ``--fail-under`` score
was missed (also where images failed), 130 and 143 interrupted and terminated after the finished
rows were written, 141 the reader of standard output went away.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["main"]

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
EXIT_TERMINATED = 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on ``argv`` (default: the program's arguments); returns the exit code.

    Errors become one line on standard error; ``--debug`` or the variable ELIQ_DEBUG adds the
    traceback.
    """
    from typer import Abort, BadParameter

    from ..errors import EliqError
    from .app import app
    from .job import Terminated
    from .output import OutputClosed, message

    # typer exposes no name for the base of its usage errors, under click and without it.
    usage_error, command_error = BadParameter.__mro__[1:3]
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments or os.environ.get("ELIQ_DEBUG", "0") not in ("", "0")
    previous = _raise_on_sigterm(Terminated)
    log = contextlib.ExitStack()
    log.enter_context(_log_to_stderr(debug))
    try:
        return int(app(arguments, prog_name="eliq", standalone_mode=False) or 0)
    except command_error as error:
        # What our own checks say needs no help text; what the parser says may.
        is_ours = type(error) is BadParameter or not isinstance(error, usage_error)
        hint = "" if is_ours else " (see eliq --help)"
        message(f"{_usage_text(error)}{hint}")
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        return EXIT_INTERRUPTED
    except Terminated:
        return EXIT_TERMINATED
    except OutputClosed:
        # The interpreter flushes stdout once more at exit: let it do so into nothing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if debug:
            logging.getLogger("eliq").exception("the run failed")
        expected = isinstance(error, (EliqError, OSError))
        text = str(error) if expected else f"{type(error).__name__}: {error}"
        hint = "" if debug or expected else " (ELIQ_DEBUG=1 shows the traceback)"
        message(f"error: {' '.join(text.split())}{hint}")
        return EXIT_FAILED
    finally:
        log.close()
        if previous is not None:
            signal.signal(signal.SIGTERM, previous)


def _raise_on_sigterm(exception: type[BaseException]) -> Any:
    """Let SIGTERM unwind like Ctrl-C does; returns the handler that was there before."""
    if threading.current_thread() is not threading.main_thread():
        return None  # only the main thread may set handlers, and only it receives signals

    def handle(signum: int, frame: object) -> None:
        raise exception

    return signal.signal(signal.SIGTERM, handle)


@contextlib.contextmanager
def _log_to_stderr(debug: bool) -> Iterator[None]:
    """What the library logs goes to the standard error of this run, and to no later one's.

    A program that calls ``main`` more than once, as tests do, may have put another stream in the
    place of ``sys.stderr`` in between; handlers that the program set up itself stay.
    """
    logger = logging.getLogger("eliq")
    level = logger.level
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    handler = logging.StreamHandler() if not logger.handlers else None
    if handler is not None:
        handler.setFormatter(logging.Formatter("eliq: %(levelname)s: %(message)s"))
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        if handler is not None:
            logger.removeHandler(handler)


def _usage_text(error: Any) -> str:
    """The message of a usage error, on one line and without a prefix of the framework."""
    return " ".join(error.format_message().split()).removeprefix("Invalid value: ")
