"""The words of a prompt, in any script, and where they stand."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from ..errors import PromptError

__all__ = ["PromptWord", "find_words", "prompt_words"]

_INNER = "-'’"  # belong to a word between two of its letters
_MOST_LISTED = 12


@dataclass(frozen=True)
class PromptWord:
    """A word, or several that were asked for together: ``prompt[start:end]`` is ``text``."""

    text: str
    start: int
    end: int


def prompt_words(prompt: str) -> list[PromptWord]:
    """The words of a cleaned prompt in order, each once, whatever its case.

    A word is a run of letters, marks and digits, or of pictures such as emoji; scripts that put no
    space between words give longer runs.
    """
    words: list[PromptWord] = []
    start = None
    for position in range(len(prompt) + 1):
        inside = position < len(prompt) and _belongs(prompt, position)
        if inside and start is None:
            start = position
        elif not inside and start is not None:
            words.append(PromptWord(prompt[start:position], start, position))
            start = None
    first: dict[str, PromptWord] = {}
    for word in words:
        first.setdefault(word.text.casefold(), word)
    return list(first.values())


def find_words(prompt: str, wanted: str) -> PromptWord:
    """Where ``wanted``, a word or several that follow one another, first stands in the prompt.

    Case does not matter. A part of a word is not found, except in scripts without spaces and
    without case, where words cannot be told apart.

    Raises:
        PromptError: it is not there, or empty; the message lists the words that are.
    """
    text = unicodedata.normalize("NFC", wanted).strip()
    if not text:
        raise PromptError("expected a word of the prompt, found an empty text")
    folded, places = _folded(prompt)
    key = "".join(_folded(text)[0])
    begin = folded.find(key)
    while key and begin >= 0:
        start, end = places[begin], places[begin + len(key) - 1] + 1
        if _stands_alone(prompt, start) and _stands_alone(prompt, end):
            return PromptWord(prompt[start:end], start, end)
        begin = folded.find(key, begin + 1)
    known = [word.text for word in prompt_words(prompt)]
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    raise PromptError(
        f"expected a word of the prompt, found {text[:80]!r}, which does not stand in it: its "
        f"words are {', '.join(known[:_MOST_LISTED]) or 'none'}{more}"
    )


def _folded(text: str) -> tuple[str, list[int]]:
    """``text`` without case, and for each of its characters the place in ``text``."""
    parts = [(character.casefold(), place) for place, character in enumerate(text)]
    return "".join(p for p, _ in parts), [place for part, place in parts for _ in part]


def _stands_alone(prompt: str, border: int) -> bool:
    """Whether a word may begin or end at ``border``."""
    if not 0 < border < len(prompt):
        return True
    before, after = prompt[border - 1], prompt[border]
    if unicodedata.category(after)[0] == "M":
        return False  # never between a letter and its marks
    if not (_is_letter(before) and _is_letter(after)):
        return True
    return "Lo" in (unicodedata.category(before), unicodedata.category(after))


def _belongs(prompt: str, position: int) -> bool:
    character = prompt[position]
    if _is_letter(character):
        return True
    return (
        character in _INNER
        and 0 < position < len(prompt) - 1
        and _is_letter(prompt[position - 1])
        and _is_letter(prompt[position + 1])
    )


def _is_letter(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LNM" or category in ("So", "Sk", "Cf")
