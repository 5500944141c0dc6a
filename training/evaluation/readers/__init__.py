"""Readers of the published benchmarks: a folder in, a `RatedSet` out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..rated import RatedSet
from .alignment import evalmuse_40k, genai_bench
from .generated import agiqa_1k, agiqa_3k, aigciqa2023, aigiqa_20k
from .own_csv import own_csv
from .photographs import koniq_10k, spaq

__all__ = [
    "READERS",
    "agiqa_1k",
    "agiqa_3k",
    "aigciqa2023",
    "aigiqa_20k",
    "evalmuse_40k",
    "genai_bench",
    "koniq_10k",
    "own_csv",
    "spaq",
]

#: What the command line calls them; "csv" takes a file, the others a folder.
READERS: dict[str, Callable[[str | Path], RatedSet]] = {
    "agiqa_1k": agiqa_1k,
    "agiqa_3k": agiqa_3k,
    "aigciqa2023": aigciqa2023,
    "aigiqa_20k": aigiqa_20k,
    "koniq_10k": koniq_10k,
    "spaq": spaq,
    "evalmuse_40k": evalmuse_40k,
    "genai_bench": genai_bench,
    "csv": own_csv,
}
