"""Tables 4 and 5 of ELIQ, arXiv 2602.03558, as printed there; none of it was measured here.

SRCC and PLCC with human opinions, of Qwen3-VL-8B-Instruct without labels; the last row of each is
that of AGIQA-3K in Tables 2 and 3. The text of the paper that this was copied from has lost which
column a tick stands in: rows 1 to 3 of both tables and row 4 of Table 5 follow from what the paper
says of them, rows 5 and 6 of Table 5 are taken in the order of the columns [assumed]. Nor does it
say whether the negatives are left out of stage 1 alone or of both stages; a critic "without
alignment negatives" still has an alignment score there. The four supplementary ablations stand in
an appendix that was not at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLISHED", "PublishedRow"]

#: set, table, row, variant, what is kept, then SRCC and PLCC of visual quality and of alignment
_ROWS = """
families 4 1 conventional        Conv         0.796 0.819 0.713 0.725
families 4 2 ai_specific         AI-spec      0.782 0.805 0.702 0.718
families 4 3 full                Conv+AI-spec 0.801 0.827 0.717 0.730
aspects  5 1 technical           Tec          0.773 0.794 0.703 0.712
aspects  5 2 aesthetic           Aes          0.769 0.786 0.700 0.711
aspects  5 3 alignment           Ali          0.751 0.772 0.712 0.723
aspects  5 4 technical_aesthetic Tec+Aes      0.789 0.807 0.710 0.719
aspects  5 5 technical_alignment Tec+Ali      0.787 0.804 0.715 0.727
aspects  5 6 aesthetic_alignment Aes+Ali      0.796 0.818 0.714 0.728
aspects  5 7 full                Tec+Aes+Ali  0.801 0.827 0.717 0.730
"""


@dataclass(frozen=True)
class PublishedRow:
    """One row of a published ablation; `variant` is what it is called in the set here."""

    variant: str
    label: str
    source: str
    visual_srcc: float
    visual_plcc: float
    alignment_srcc: float
    alignment_plcc: float


def _read() -> dict[str, tuple[PublishedRow, ...]]:
    found: dict[str, list[PublishedRow]] = {}
    for line in _ROWS.strip().splitlines():
        of_set, table, number, variant, label, *values = line.split()
        row = PublishedRow(variant, label, f"Table {table}, no. {number}", *map(float, values))
        found.setdefault(of_set, []).append(row)
    return {name: tuple(rows) for name, rows in found.items()}


#: The published rows of each set that has some.
PUBLISHED = _read()
