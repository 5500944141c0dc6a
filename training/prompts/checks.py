"""What a prompt, and a set of prompts, must pass: rules that a program can check.

A prompt: length, plain text, realistic content, no talk of quality, labels that agree with the
keywords. A set: no duplicates and near-duplicates, balance over categories, variety of lengths.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eliq.supervision.taxonomy import match_keywords

from .prompt_set import Prompt
from .taxonomy import CATEGORIES, CONCEPTS, LENGTHS

__all__ = ["Rules", "content_words", "prompt_faults", "set_faults", "similarity"]

# A positive's prompt that asks for quality, or for the lack of it, would tie quality to words.
_QUALITY = re.compile(
    r"\b(?:4k|8k|uhd|hdr|hd|masterpiece|best quality|high(?:est)? quality|low quality|worst quality"
    r"|highly detailed|ultra[- ]?detailed|hyper-?realistic|photo-?realistic|award[- ]winning"
    r"|trending|artstation|unreal engine|octane|stunning|breathtaking|blurry|pixelated|jpeg"
    r"|low[- ]res(?:olution)?|high[- ]res(?:olution)?|poorly drawn|deformed|watermark|grainy|noisy"
    r"|blur(?:red|s)?|out of focus|(?:over|under)exposed|expired film)\b",
    re.IGNORECASE,
)
_FANTASTIC = re.compile(
    r"\b(?:alien|cyberpunk|cyborg|demon|elf|elves|fairy|floating island|ghost|goblin|hologram"
    r"|levitating|magic|mermaid|monster|portal|sorcerer|spaceship|steampunk|superhero|surreal"
    r"|unicorn|vampire|wizard|zombie)s?\b",
    re.IGNORECASE,
)
_MARKUP = re.compile(r"https?://|www\.|[<>{}\[\]|\\*#_=~`^]|--\w|\(\(|:\d")
_WORD = re.compile(r"[\w'-]+")
_SMALL = frozenset(
    "a an the and or but with without in on at by of for from to into onto over under above below "
    "behind beside between near next around across against along through during while as that "
    "which who is are was were being its his her their this these those it he she they one each "
    "other another all out up down off front".split()
)


@dataclass(frozen=True)
class Rules:
    """Limits.

    Attributes:
        min_words, max_words: of a prompt.
        max_similarity: of two prompts, share of content words in common (Jaccard), 0..1.
        max_imbalance: largest minus smallest category, as a share of their mean.
        min_length_share: of short, medium and long prompts each.
    """

    min_words: int = LENGTHS["short"][0]
    max_words: int = LENGTHS["long"][1]
    max_similarity: float = 0.5
    max_imbalance: float = 0.1
    min_length_share: float = 0.1


def prompt_faults(prompt: Prompt, rules: Rules | None = None) -> list[str]:
    """What is wrong with one prompt, a line each; none if it passes."""
    rules = rules or Rules()
    faults = []
    num_words = len(_WORD.findall(prompt.text))
    if not rules.min_words <= num_words <= rules.max_words:
        faults.append(f"{num_words} words, expected {rules.min_words} to {rules.max_words}")
    for pattern, what in (
        (_QUALITY, "speaks of quality"),
        (_FANTASTIC, "shows what does not exist"),
        (_MARKUP, "holds markup"),
    ):
        match = pattern.search(prompt.text)
        if match:
            faults.append(f"{what}: {match[0]!r}")
    if not re.match(r"\w", prompt.text) or prompt.text.endswith((":", ",", ";", "-")):
        faults.append("does not begin or end as a phrase does")
    matched = match_keywords(prompt.text)
    lacking = [name for name in matched.certain if name not in prompt.categories]
    if lacking:
        faults.append(f"its words say {lacking[0]}, its labels do not")
    if prompt.concept and prompt.concept not in CONCEPTS.get(prompt.category, {}):
        faults.append(f"{prompt.concept!r} is no sub-concept of {prompt.category or 'nothing'}")
    return faults


def set_faults(prompts: Sequence[Prompt], rules: Rules | None = None) -> list[str]:
    """What is wrong with a set as a whole, a line each; none if it passes."""
    rules = rules or Rules()
    faults = []
    for first, second, alike in _near_duplicates(prompts, rules.max_similarity):
        faults.append(f"{first.prompt_id} and {second.prompt_id} are alike ({alike:.2f})")
    counts = {name: sum(one.category == name for one in prompts) for name in CATEGORIES}
    spread = max(counts.values()) - min(counts.values())
    # One prompt more or less is no imbalance, however few there are.
    if spread > max(1, rules.max_imbalance * len(prompts) / len(counts)):
        most, least = max(counts, key=counts.get), min(counts, key=counts.get)
        faults.append(f"not balanced: {counts[most]} of {most}, {counts[least]} of {least}")
    lengths = length_counts(prompts)
    for name, count in lengths.items():
        if count < rules.min_length_share * len(prompts):
            faults.append(f"too few {name} prompts: {count} of {len(prompts)}")
    return faults


def length_counts(prompts: Iterable[Prompt]) -> dict[str, int]:
    """How many are short, medium and long."""
    counted = Counter(
        next(
            (name for name, (_, most) in LENGTHS.items() if len(_WORD.findall(p.text)) <= most),
            "long",
        )
        for p in prompts
    )
    return {name: counted[name] for name in LENGTHS}


def content_words(text: str) -> frozenset[str]:
    """The words that carry the meaning, in small letters, plural endings dropped."""
    words = (word.strip("'-").lower() for word in _WORD.findall(text))
    stems = (word[:-1] if len(word) > 3 and word.endswith("s") else word for word in words)
    return frozenset(stem for stem in stems if stem and stem not in _SMALL)


def similarity(first: frozenset[str], second: frozenset[str]) -> float:
    """Share of content words in common (Jaccard), 0..1; 1 for two empty texts."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def _near_duplicates(
    prompts: Sequence[Prompt], max_similarity: float
) -> Iterable[tuple[Prompt, Prompt, float]]:
    words = [content_words(prompt.text) for prompt in prompts]
    for later in range(len(prompts)):
        for earlier in range(later):
            alike = similarity(words[earlier], words[later])
            if alike > max_similarity:
                yield prompts[earlier], prompts[later], alike
