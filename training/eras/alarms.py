"""When a drift report raises an alarm, and the words that say so to somebody who was not there.

Each alarm gives the number, what it is out of, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .linking import ScaleLink

__all__ = ["EDGE", "Limits", "alarms_of", "agreement_in_words", "too_few"]

EDGE = 0.02  # a score this near to 0 or 1 is saturated


@dataclass(frozen=True)
class Limits:
    """When a report raises an alarm; below `min_prompts` prompts no interval is given, since a
    bootstrap of so few says nothing."""

    min_srcc: float = 0.8
    max_order_loss: float = 0.05
    spread_ratio: float = 1.5
    max_saturated: float = 0.25
    max_bend: float = 0.1
    min_prompts: int = 10


def too_few(num_prompts: int, limits: Limits) -> str | None:
    """Why a correlation on anchors of so many prompts is not to be trusted; None where it is."""
    if num_prompts >= limits.min_prompts:
        return None
    noun = "prompt" if num_prompts == 1 else "prompts"
    return f"too few to trust: {num_prompts} {noun}, where {limits.min_prompts} are the least"


def agreement_in_words(numbers: Mapping[str, Any]) -> str:
    """ "SRCC 0.912, 95 % [0.870, 0.940], on 40 anchors of 12 prompts (36 images)"."""
    value, interval = numbers["srcc"], numbers["srcc_interval"]
    text = "SRCC not defined" if value is None else f"SRCC {value:.3f}"
    if interval is not None:
        text += f", 95 % [{interval[0]:.3f}, {interval[1]:.3f}]"
    text += f", on {numbers['num_anchors']} anchors of {numbers['num_prompts']} prompts"
    text += f" ({numbers['num_images']} images)"
    return text if interval is not None else f"{text}; {numbers['too_few']}"


def alarms_of(numbers: Mapping[str, Any], link: ScaleLink | None, limits: Limits) -> list[str]:
    """The alarms of one score, each a sentence with its counts."""
    found = []
    if numbers["srcc"] is not None and numbers["srcc"] < limits.min_srcc:
        found.append(
            f"old and new order the anchors differently: {agreement_in_words(numbers)}; scores "
            "before and after should not be compared"
        )
    order = numbers["known_order"]
    if order["old"] is not None and order["old"] - order["new"] > limits.max_order_loss:
        found.append(
            f"known orders kept fell from {order['num_old']} of {order['num']} pairs to "
            f"{order['num_new']} of {order['num']}"
        )
    found += _spread(numbers, limits)
    if link is not None and link.bend > limits.max_bend:
        found.append(
            "the new scale is bent against the old one, and a shift and a stretch do not undo "
            f"that: a linked score may be up to {link.bend:.2f} (of 0..1) off; choose thresholds "
            "anew, or take them from link.knots in drift.json, which pairs new raw scores with "
            "old ones"
        )
    return found


def _spread(numbers: Mapping[str, Any], limits: Limits) -> list[str]:
    spread, found = numbers["spread"], []
    old, new = spread["old"]["std"], spread["new_own_scale"]["std"]
    ratio = new / max(old, 1e-9)
    if not 1 / limits.spread_ratio <= ratio <= limits.spread_ratio:
        moved = "shrank" if ratio < 1 else "grew"
        found.append(
            f"the spread on the critic's own scale {moved} to {ratio:.2f} of what it was "
            f"({old:.3f} -> {new:.3f})"
        )
    for key, scale in (("new", "linked scale"), ("new_own_scale", "own scale")):
        share = spread[key]["saturated"]
        if share > limits.max_saturated:
            number = round(share * numbers["num_anchors"])
            found.append(
                f"{number} of {numbers['num_anchors']} anchors score within {EDGE} of 0 or 1 on "
                f"the new critic's {scale}: it hardly tells these apart"
            )
    return found
