"""Texts that lie beside or in an image, as prompts: read as UTF-8, of a bounded length.

Whoever wrote them may have put a gigabyte there, and a run holds the prompts of hundreds of images
at once.
"""

from __future__ import annotations

import codecs

from .items import storable

__all__ = ["MOST_PROMPT_BYTES", "MOST_PROMPT_CHARS", "bounded_prompt", "decoded_beginning"]

MOST_PROMPT_BYTES = 1 << 20  # of a file that are read
MOST_PROMPT_CHARS = 100_000  # many times what a critic reads


def bounded_prompt(text: str) -> tuple[str, tuple[str, ...]]:
    """The first `MOST_PROMPT_CHARS` of a prompt, as UTF-8 can hold them, and the flags of it."""
    text = storable(text[: MOST_PROMPT_CHARS + 1]) or ""
    is_long = len(text) > MOST_PROMPT_CHARS
    return text[:MOST_PROMPT_CHARS], ("prompt_truncated",) if is_long else ()


def decoded_beginning(data: bytes) -> str:
    """The text of a file of which at most `MOST_PROMPT_BYTES` were read, without white space
    around it; a last character that was cut is left out.

    Raises:
        UnicodeDecodeError: no UTF-8.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    return decoder.decode(data, final=len(data) < MOST_PROMPT_BYTES).strip()
