"""Categories of a prompt, several a prompt: keywords first, a language model where they do not do.

Section 3.2.1: "rule-based keyword matching followed by an LLM refinement for uncertain cases". A
refiner is any function of a prompt and of what its keywords say; `chat_refiner` makes one of a chat
model. What keywords make certain stays, whatever the model says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from eliq.supervision.taxonomy import KeywordMatch, match_keywords

from .chat import Chat
from .taxonomy import CATEGORIES, CATEGORY_RULES

__all__ = ["Labels", "Refiner", "assign_categories", "chat_refiner"]

#: (prompt, what the keywords say) -> categories, or none where it cannot tell.
Refiner = Callable[[str, KeywordMatch], Sequence[str]]


@dataclass(frozen=True)
class Labels:
    """Categories in the paper's order, and how they came about.

    Attributes:
        categories: maybe none.
        source: "keywords" (nothing was uncertain), "refined" (the refiner answered), or "hints"
            (nobody was asked, or the answer was none: keywords, and hints where there are none).
    """

    categories: tuple[str, ...]
    source: str


def assign_categories(prompt: str, refiner: Refiner | None = None) -> Labels:
    """The categories of a prompt; the refiner is asked about uncertain ones only."""
    match = match_keywords(prompt)
    if not match.is_uncertain:
        return Labels(match.certain, "keywords")
    answered = [name for name in (refiner(prompt, match) if refiner else ()) if name in CATEGORIES]
    if not answered:
        return Labels(match.certain or match.possible, "hints")
    chosen = {*match.certain, *answered}
    return Labels(tuple(name for name in CATEGORIES if name in chosen), "refined")


def chat_refiner(chat: Chat, *, seed: int = 0) -> Refiner:
    """A refiner that asks a chat model; an answer that names no category counts as none."""

    def refine(prompt: str, match: KeywordMatch) -> tuple[str, ...]:
        return _named(chat(_question(prompt, match), seed=seed))

    return refine


def _question(prompt: str, match: KeywordMatch) -> str:
    rules = "\n".join(f"- {name}: {' '.join(rules)}" for name, rules in CATEGORY_RULES.items())
    sure = f"It surely belongs to: {', '.join(match.certain)}.\n" if match.certain else ""
    likely = f"It may belong to: {', '.join(match.possible)}.\n" if match.possible else ""
    return (
        "A picture is described below. Which of these categories does it show? Name every one that "
        "a viewer would name at once, and none for a thing that merely stands in the background.\n"
        f"{rules}\n{sure}{likely}"
        f"Description: {prompt}\n"
        "Answer with names of categories alone, separated by semicolons."
    )


def _named(reply: str) -> tuple[str, ...]:
    # What a model thinks aloud may name categories that it then rejects.
    reply = re.sub(r"<think>.*?(</think>|$)", " ", reply, flags=re.DOTALL).replace(" and ", " & ")
    return tuple(
        name for name in CATEGORIES if re.search(rf"\b{re.escape(name)}\b", reply, re.IGNORECASE)
    )
