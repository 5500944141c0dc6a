"""Texts of files and users, fit to be shown: none of them may steer a terminal or a page."""

from __future__ import annotations

import unicodedata

__all__ = ["counted", "one_line", "printable"]

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    """``text`` with U+FFFD for control characters, line ends among them, and without bidi controls.

    White space stays as it is: a script may read a file name back.
    """
    return "".join(
        "\ufffd" if unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") else char
        for char in text
        if char not in _BIDI_CONTROLS
    )


def counted(number: int, noun: str) -> str:
    """``1 image``, ``2 images``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def one_line(text: str) -> str:
    """`printable`, with a single space for any run of white space and line ends."""
    return printable(" ".join(text.split()))
