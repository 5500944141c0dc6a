"""Label-free supervision (section 3.2): positives, aspect-specific negatives, tuples, ladders."""

from __future__ import annotations

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

__all__ = [
    "ASPECTS",
    "DISTORTIONS",
    "FAMILIES",
    "SEVERITIES",
    "Distortion",
    "distort",
    "distortion_names",
    "ladder",
]
