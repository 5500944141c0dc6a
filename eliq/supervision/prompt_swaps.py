"""Prompts that are wrong in one thing (hard swaps), and prompts of another picture (shuffles).

Alignment negatives of section 3.2.3: (I+, p-ali). A hard swap works on any English prompt by word
lists; only the kinds whose words occur apply. A swap is never the prompt itself, keeps a / an right
and keeps capitals. Word lists know no context: a few swaps in a hundred read oddly. In a set,
a swap says nothing that no true prompt of the set says: else its words alone would give it away.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ..errors import SupervisionError
from .prompt_words import (
    COLOUR_TARGETS,
    COLOUR_WORDS,
    FIXED_PHRASES,
    IRREGULAR_PLURALS,
    NEAR_COLOURS,
    NUMBER_WORDS,
    OBJECT_GROUPS,
    PLACES,
    RELATIONS,
    SMALL_WORDS,
)

__all__ = [
    "SWAP_KINDS",
    "bare_prompt",
    "hard_swaps",
    "same_prompt",
    "shuffled_prompt",
    "swap_vocabulary",
]

SWAP_KINDS = ("object", "colour", "count", "relation", "background")


def bare_prompt(prompt: str) -> str:
    """A prompt without capitals, double spaces and closing punctuation."""
    return " ".join(prompt.casefold().split()).rstrip(" .!,;")


def same_prompt(first: str, second: str) -> bool:
    """Whether two prompts differ only in capitals, spaces and closing punctuation."""
    return bare_prompt(first) == bare_prompt(second)


def hard_swaps(
    prompt: str, rng: np.random.Generator | int, *, prefer: Collection[str] = ()
) -> dict[str, str]:
    """One wrong prompt a kind, for the kinds that apply.

    Args:
        prompt: an English text-to-image prompt. Of another language few or no kinds apply.
        rng: a generator (advanced), or a seed.
        prefer: what true prompts of the set say, from `swap_vocabulary`; empty for any words. Swaps
            are made of this alone, and a kind that it leaves no choice does not apply.

    Returns:
        kind -> prompt, kinds of `SWAP_KINDS` in their order; maybe empty.
    """
    rng = np.random.default_rng(rng)
    prefer = frozenset(prefer).union(_words(prompt)) if prefer else frozenset()
    makers = (_object, _colour, _count, _relation, _background)
    swaps = {}
    for kind, maker in zip(SWAP_KINDS, makers, strict=True):
        # Drawn for every kind, so that the kinds do not move one another's choices.
        child = np.random.default_rng(int(rng.integers(2**63)))
        swapped = maker(prompt, child, prefer)
        if swapped is None or same_prompt(prompt, swapped):
            continue
        # Again as a whole: an article may have become one that no true prompt holds.
        if not prefer or _said(swapped, prefer):
            swaps[kind] = swapped
    return swaps


def shuffled_prompt(
    prompt: str, prompts: Sequence[str], rng: np.random.Generator | int
) -> str | None:
    """Another prompt of the set, surely different (`same_prompt`); None where there is none."""
    rng = np.random.default_rng(rng)
    if not prompts:
        raise SupervisionError("there are no prompts to shuffle with")
    start = int(rng.integers(len(prompts)))
    # A few draws find one at once in any real set; a set of near-copies is walked through.
    for index in [start, *(int(i) for i in rng.integers(0, len(prompts), 8))]:
        if not same_prompt(prompt, prompts[index]):
            return prompts[index]
    for step in range(1, len(prompts)):
        other = prompts[(start + step) % len(prompts)]
        if not same_prompt(prompt, other):
            return other
    return None


def swap_vocabulary(prompts: Iterable[str]) -> frozenset[str]:
    """What these prompts say, in lower case: every word, and the phrases of relations and places.

    The `prefer` of a set's `hard_swaps`.
    """
    said: set[str] = set()
    for text in prompts:
        said.update(_words(text))
        said.update(match[0].casefold() for match in _found(_RELATIONS, text))
        said.update(
            " ".join(match[0].casefold().split())
            for match in _places(text)
            if _PLAIN_PLACE.fullmatch(match[0])
        )
    return frozenset(said)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'-]+", text.casefold())


def _said(text: str, prefer: Collection[str]) -> bool:
    """Whether true prompts hold every word of a text."""
    return all(word in prefer for word in _words(text))


# --- finding and replacing words -----------------------------------------------------------------


def _either(words: Collection[str]) -> str:
    return "|".join(sorted(map(re.escape, words), key=lambda word: (-len(word), word)))


def _finder(words: Collection[str]) -> re.Pattern:
    """Whole words, longest first; no part of a hyphenated word."""
    return re.compile(rf"(?<![\w-])(?:{_either(words)})(?![\w-])", re.IGNORECASE)


_FIXED = _finder(FIXED_PHRASES)


def _found(pattern: re.Pattern, prompt: str) -> list[re.Match]:
    """Matches outside fixed phrases."""
    fixed = [match.span() for match in _FIXED.finditer(prompt)]
    return [
        match
        for match in pattern.finditer(prompt)
        if not any(start < match.end() and match.start() < end for start, end in fixed)
    ]


def _replace(prompt: str, start: int, end: int, new: str) -> str:
    """Puts `new` at a place, with the capitals of the old words and the right article before it."""
    old = prompt[start:end]
    if len(old) > 1 and old.isupper():
        new = new.upper()
    elif old[:1].isupper():
        new = new[:1].upper() + new[1:]
    before = prompt[:start]
    article = re.search(r"(?<![\w-])(an?)(\s+)$", before, re.IGNORECASE)
    if article:
        said = _article(new)
        said = said.upper() if article[1].isupper() and len(article[1]) > 1 else said
        said = said[:1].upper() + said[1:] if article[1][0].isupper() else said
        before = before[: article.start()] + said + article[2]
    return before + new + prompt[end:]


def _article(word: str) -> str:
    word = word.casefold()
    if re.match(r"uni|use|u[bk]u|eu|one\b|once\b", word):
        return "a"
    return "an" if re.match(r"[aeiou]|hour|honest|heir", word) else "a"


def _choose(options: Sequence[str], prompt: str, rng: np.random.Generator) -> str | None:
    """One option that the prompt does not name."""
    text = prompt.casefold()
    options = [o for o in options if not re.search(rf"\b{re.escape(o)}", text)]
    return options[int(rng.integers(len(options)))] if options else None


def _pick(matches: Sequence, rng: np.random.Generator):
    return matches[int(rng.integers(len(matches)))]


# --- the kinds -----------------------------------------------------------------------------------


def _plural(word: str) -> str:
    if word in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[word]
    return word + ("es" if re.search(r"(?:s|x|ch|sh)$", word) else "s")


_GROUP_OF = {word: group for group in OBJECT_GROUPS for word in group}
_SINGULAR_OF = {_plural(word): word for word in _GROUP_OF} | {word: word for word in _GROUP_OF}
_OBJECTS = _finder(_SINGULAR_OF)
_PLURALS = frozenset(_SINGULAR_OF) - frozenset(_GROUP_OF)


def _object(prompt: str, rng: np.random.Generator, prefer: frozenset[str]) -> str | None:
    matches = _found(_OBJECTS, prompt)
    if not matches:
        return None
    old = _SINGULAR_OF[_pick(matches, rng)[0].casefold()]
    # Singular or plural or both, as they are to be written.
    said = {match[0].casefold() for match in matches if _SINGULAR_OF[match[0].casefold()] == old}
    options = [
        w
        for w in _GROUP_OF[old]
        if w != old
        and (not prefer or all(_said(_plural(w) if o in _PLURALS else w, prefer) for o in said))
    ]
    new = _choose(options, prompt, rng)
    if new is None:
        return None
    # Every mention of it, from the last: a prompt that names both would be half true.
    for match in reversed(matches):
        word = match[0].casefold()
        if _SINGULAR_OF[word] == old:
            swapped = _plural(new) if word in _PLURALS else new
            prompt = _replace(prompt, match.start(), match.end(), swapped)
    return prompt


_COLOURS = _finder(COLOUR_WORDS)


def _colour(prompt: str, rng: np.random.Generator, prefer: frozenset[str]) -> str | None:
    matches = [
        match
        for match in _found(_COLOURS, prompt)
        # An orange and a rose are things unless a noun follows.
        if match[0].casefold() != "orange" or _next_word(prompt, match.end()) not in SMALL_WORDS
    ]
    if not matches:
        return None
    match = _pick(matches, rng)
    old = COLOUR_WORDS[match[0].casefold()]
    named = {COLOUR_WORDS[other[0].casefold()] for other in matches}
    options = [c for c in COLOUR_TARGETS if c not in named and c not in NEAR_COLOURS[old]]
    new = _choose([c for c in options if not prefer or c in prefer], prompt, rng)
    return None if new is None else _replace(prompt, match.start(), match.end(), new)


def _next_word(prompt: str, end: int) -> str:
    """The word after a place, in lower case; "and" (a small word) where a clause ends there."""
    following = re.match(r"\s+([\w'-]+)", prompt[end:])
    return following[1].casefold() if following else "and"


def _ends_noun(prompt: str, end: int) -> bool:
    """Whether a noun ending here is not the first half of a compound."""
    word = _next_word(prompt, end)
    return word in SMALL_WORDS or word.endswith("ing")


_NUMBERS = re.compile(rf"(?<![\w.,/-])(?:{_either(NUMBER_WORDS)}|[2-9])(?=\s+[a-z])", re.IGNORECASE)
_SINGLE = re.compile(
    r"(?<![\w-])(?:a single|an?|one)\s+((?:[a-z-]+\s+){0,2}?)"
    f"({_either(_GROUP_OF)})(?![\\w'-])",
    re.IGNORECASE,
)


def _count(prompt: str, rng: np.random.Generator, prefer: frozenset[str]) -> str | None:
    numbers = [m for m in _found(_NUMBERS, prompt) if _counts_things(prompt, m.end())]
    singles = [
        m
        for m in _found(_SINGLE, prompt)
        if _ends_noun(prompt, m.end())
        and _next_word(prompt, m.end()) not in ("is", "was", "that", "which", "who")
        and not SMALL_WORDS.intersection(m[1].casefold().split())
    ]
    if not numbers and not singles:
        return None
    match = _pick(numbers + singles, rng)
    old = match[0].casefold()
    if match.re is _NUMBERS:
        options = NUMBER_WORDS[:5] if not old.isdigit() else tuple("23456")
        if old == "2" or old == "two":
            options = options[1:]
        new = _choose([n for n in options if n != old and (not prefer or n in prefer)], prompt, rng)
        return None if new is None else _replace(prompt, match.start(), match.end(), new)
    options = [f"{number} {match[1]}{_plural(match[2].casefold())}" for number in NUMBER_WORDS[1:5]]
    options = [things for things in options if not prefer or _said(things, prefer)]
    return _replace(prompt, match.start(), match.end(), _pick(options, rng)) if options else None


def _counts_things(prompt: str, end: int) -> bool:
    """Whether a plural noun stands within three words after a number."""
    words = re.findall(r"[\w'-]+", prompt[end : end + 60])[:3]
    for word in (w.casefold() for w in words):
        if word in SMALL_WORDS:
            return False
        if word in _PLURALS or word in ("people", "children"):
            return True
        if re.search(r"[^s']s$", word):
            return word not in (
                "meters",
                "metres",
                "inches",
                "hours",
                "minutes",
                "pixels",
                "degrees",
            )
    return False


_RELATIONS = _finder(RELATIONS)


def _relation(prompt: str, rng: np.random.Generator, prefer: frozenset[str]) -> str | None:
    # At the end of a clause "outside" or "below" relates nothing.
    matches = [
        m
        for m in _found(_RELATIONS, prompt)
        if m[0].casefold() in ("on the left", "on the right")
        or re.match(r"\s+[\w'-]+", prompt[m.end() :])
    ]
    if not matches:
        return None
    match = _pick(matches, rng)
    # As phrases: "on top of" may be new where each of its words is not.
    options = [new for new in RELATIONS[match[0].casefold()] if not prefer or new in prefer]
    return _replace(prompt, match.start(), match.end(), _pick(options, rng)) if options else None


_PLACE_CLASS = {
    word: name for name, places in PLACES.items() for words, _ in places for word in words
}
_PLACE_WORDS = _either(_PLACE_CLASS)
_PLACE = re.compile(
    r"(?<![\w-])(?:in|on|at|inside|through|across|near|by|along)\s+"
    r"(?:(?:an?|the|some|his|her|their|its)\s+)?((?:[a-z-]+\s+){0,2}?)"
    # Of "city street" the street: a place word with another behind it only describes.
    rf"({_PLACE_WORDS})(?![\w-])(?!\s+(?:{_PLACE_WORDS})\b)",
    re.IGNORECASE,
)
#: A place that any picture can be put in: nobody stands "through the park" or "by their lake".
_PLAIN_PLACE = re.compile(
    rf"(?:in|on|at)\s+(?:(?:an?|the)\s+)?(?:(?:{_PLACE_WORDS})\s+)?({_PLACE_WORDS})", re.IGNORECASE
)


def _places(prompt: str) -> list[re.Match]:
    return [
        m
        for m in _found(_PLACE, prompt)
        if _ends_noun(prompt, m.end()) and not SMALL_WORDS.intersection(m[1].casefold().split())
    ]


def _background(prompt: str, rng: np.random.Generator, prefer: frozenset[str]) -> str | None:
    matches = _places(prompt)
    under = re.search(r"(?<![\w-])underwater(?![\w-])", prompt, re.IGNORECASE)
    matches += [under] if under and _ends_noun(prompt, under.end()) else []
    if not matches:
        return None
    match = _pick(matches, rng)
    old = _PLACE_CLASS[match[0].casefold() if match is under else match[2].casefold()]
    text = prompt.casefold()
    named = {name for word, name in _PLACE_CLASS.items() if re.search(rf"\b{word}\b", text)} | {old}
    if prefer:
        known = (
            (_PLAIN_PLACE.fullmatch(said), said) for said in sorted(s for s in prefer if " " in s)
        )
        options = [
            phrase
            for place, phrase in known
            if place and _PLACE_CLASS[place[1].casefold()] not in named
        ]
    else:
        options = [
            phrase for name, places in PLACES.items() if name not in named for _, phrase in places
        ]
    return _replace(prompt, match.start(), match.end(), _pick(options, rng)) if options else None
