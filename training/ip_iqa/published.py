"""Published figures of IP-IQA and its rivals, for the tables; none of them was measured here.

IP-IQA: Qu, Li, Gao, "Bringing Textual Prompt to AI-Generated Image Quality Assessment". It chose
the epoch on the test fold; ours does not.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["Reference", "references"]


class Reference(NamedTuple):
    """One published row: SRCC and raw Pearson."""

    method: str
    srcc: float
    plcc: float


_ROWS = {
    ("agiqa_1k", "overall"): (Reference("IP-IQA (published)", 0.8401, 0.8922),),
    ("agiqa_3k", "visual_quality"): (Reference("IP-IQA (published)", 0.8634, 0.9116),),
    ("agiqa_3k", "alignment"): (Reference("IP-IQA (published)", 0.7578, 0.8544),),
}


def references(set_name: str, output: str) -> tuple[Reference, ...]:
    """Published rows for an output on a benchmark; none where nothing was published."""
    return _ROWS.get((set_name, output), ())
