"""A stand-in for an instruction model in smoke runs: it strings words of the taxonomy together.

It writes some lines that must be rejected as well, so that a smoke run rejects some.
"""

from __future__ import annotations

import random
import re

from .taxonomy import CATEGORIES, CONCEPTS

__all__ = ["SmokeChat"]

_LIGHT = ("at dawn", "in soft light", "after the rain", "at noon", "under grey clouds", "at dusk")
_COLOURS = ("red", "green", "blue", "yellow", "white", "black", "brown", "grey")
_WITH = ("a folded cloth", "two stones", "an old rope", "three feathers", "a broken wheel",
         "a paper boat", "a tin box", "some straw")  # fmt: skip


class SmokeChat:
    """Answers a request of `writing` with six lines: four prompts, a repetition, a bad one."""

    def __call__(self, message: str, *, seed: int) -> str:
        rng = random.Random(seed)
        if "Sub-concept: " not in message:
            return "Objects & Artifacts"
        category = next(c for c in CATEGORIES if f"Category: {c}\n" in message)
        concept = re.search(r"Sub-concept: (.+)", message)[1]
        lines = []
        for _ in range(4):
            word = rng.choice(CONCEPTS[category][concept])
            lines.append(
                f"A {rng.choice(_COLOURS)} {word} beside {rng.choice(_WITH)} and "
                f"{rng.choice(_WITH)} {rng.choice(_LIGHT)}"
            )
        lines += [lines[0], "A stunning masterpiece in 8k"]
        return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, start=1))
