"""A new era of generators: a larger set, a new critic, anchors that link its scores to the old."""

from __future__ import annotations

from .anchors import Anchor, Anchors, Chain, add_anchors, read_anchors
from .drift import DriftReport, Limits, ScoreDrift, drift_report
from .growing import grow_set, new_era_config
from .linking import ScaleLink, link_scales
from .report import write_drift_report
from .steps import NewEra, compare, prepare, relabel

__all__ = [
    "Anchor",
    "Anchors",
    "Chain",
    "DriftReport",
    "Limits",
    "NewEra",
    "ScaleLink",
    "ScoreDrift",
    "add_anchors",
    "compare",
    "drift_report",
    "grow_set",
    "link_scales",
    "new_era_config",
    "prepare",
    "read_anchors",
    "relabel",
    "write_drift_report",
]
