"""The seven categories of prompts (section 3.2.1), matched by keywords, several a prompt.

The paper's sub-concepts and word lists stand in an appendix that is not public: these are ours. A
word of `CONCEPTS` makes a category certain. A word of `HINTS` makes it possible: a table may be an
object, or furniture of a room. Where a category is only possible, or none matches, the paper asks a
language model; so does `training.prompts.assign`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass

from .taxonomy_words import CONCEPTS, HINTS, NEUTRAL_PHRASES

__all__ = ["CATEGORIES", "CONCEPTS", "KeywordMatch", "categories_of", "match_keywords"]

#: Category -> the keywords that make it certain.
CATEGORIES: dict[str, tuple[str, ...]] = {
    name: tuple(word for words in concepts.values() for word in words)
    for name, concepts in CONCEPTS.items()
}


@dataclass(frozen=True)
class KeywordMatch:
    """What the keywords say of a prompt, in the paper's order of categories.

    Attributes:
        certain: categories with a keyword of their own.
        possible: further categories that only a hint points to.
    """

    certain: tuple[str, ...]
    possible: tuple[str, ...]

    @property
    def is_uncertain(self) -> bool:
        """Whether a language model, or a person, should look: a hint alone, or nothing at all."""
        return bool(self.possible) or not self.certain


def match_keywords(prompt: str) -> KeywordMatch:
    """Categories by keywords and by hints; plurals count, a phrase goes before the words in it."""
    found, hinted = set(), set()
    for match in _PATTERN.finditer(prompt.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")):
        word = match[1].lower()
        found |= _CERTAIN[word]
        hinted |= _POSSIBLE[word]
    return KeywordMatch(
        tuple(name for name in CATEGORIES if name in found),
        tuple(name for name in CATEGORIES if name in hinted - found),
    )


def categories_of(prompt: str) -> tuple[str, ...]:
    """Categories with a keyword in the prompt (plurals too), in the paper's order; maybe none."""
    return match_keywords(prompt).certain


def _by_word(lists: dict[str, tuple[str, ...]]) -> defaultdict[str, set[str]]:
    categories: defaultdict[str, set[str]] = defaultdict(set)
    for name, words in lists.items():
        for word in words:
            categories[word].add(name)
    return categories


_CERTAIN, _POSSIBLE = _by_word(CATEGORIES), _by_word(HINTS)
_PATTERN = re.compile(
    r"\b("
    + "|".join(sorted({*_CERTAIN, *_POSSIBLE, *NEUTRAL_PHRASES}, key=len, reverse=True))
    + r")(?:e?s)?\b(?!'s)(?!'\s)",
    re.IGNORECASE,
)
