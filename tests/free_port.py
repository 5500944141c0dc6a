"""A port for processes that meet, which the system gives to nobody else meanwhile."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

_BELOW_WHAT_IS_GIVEN = range(20_000, 32_000)  # Linux gives 32768 to 60999 to whoever asks for any


def free_port() -> int:
    """One of 12,000 on 127.0.0.1, drawn: two runs of the tests at once choose others.

    Raises:
        OSError: a hundred of them were taken.
    """
    taken = OSError("no port was tried")
    for port in random.SystemRandom().sample(_BELOW_WHAT_IS_GIVEN, 100):
        try:
            with socket.socket() as one:
                one.bind(("127.0.0.1", port))
            return port
        except OSError as error:
            taken = error
    raise taken
