"""Label-free supervision (section 3.2): positives, aspect-specific negatives, tuples, ladders."""

from __future__ import annotations

from .config import SupervisionConfig
from .distortions import (
    ASPECTS,
    DISTORTIONS,
    FAMILIES,
    SEVERITIES,
    Distortion,
    distort,
    distortion_names,
    ladder,
)
from .generated import GENERATED_KINDS, GeneratedNegative, aspect_of, family_of, read_generated
from .manifest import check_matched, read_ladders, read_manifest
from .prompt_swaps import SWAP_KINDS, bare_prompt, hard_swaps, shuffled_prompt
from .rows import LadderRow, LadderStep, Negative, TupleRow
from .taxonomy import CATEGORIES, categories_of
from .tuples import BuildReport, build_supervision

__all__ = [
    "ASPECTS",
    "BuildReport",
    "CATEGORIES",
    "DISTORTIONS",
    "FAMILIES",
    "GENERATED_KINDS",
    "SEVERITIES",
    "SWAP_KINDS",
    "Distortion",
    "GeneratedNegative",
    "LadderRow",
    "LadderStep",
    "Negative",
    "SupervisionConfig",
    "TupleRow",
    "aspect_of",
    "bare_prompt",
    "build_supervision",
    "categories_of",
    "check_matched",
    "distort",
    "distortion_names",
    "family_of",
    "hard_swaps",
    "ladder",
    "read_generated",
    "read_ladders",
    "read_manifest",
    "shuffled_prompt",
]
