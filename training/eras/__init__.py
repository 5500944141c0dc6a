"""A new era of generators: a larger set, a new critic, anchors that link its scores to the old."""

from __future__ import annotations

from .alarms import Limits, agreement_in_words
from .anchors import Anchor, Anchors, Chain, add_anchors, read_anchors
from .drift import DriftReport, ScoreDrift, drift_report
from .growing import grow_set, new_era_config
from .linking import ScaleLink, link_scales
from .report import write_drift_report
from .settings import old_settings, settings_in_words
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
    "agreement_in_words",
    "compare",
    "drift_report",
    "grow_set",
    "link_scales",
    "new_era_config",
    "old_settings",
    "prepare",
    "read_anchors",
    "relabel",
    "settings_in_words",
    "write_drift_report",
]
