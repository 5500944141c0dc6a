"""What each part of the pretraining is worth: short runs from random weights, one part left out."""

from __future__ import annotations

from .report import summary, write_report
from .short_run import SMOKE, Budget, run_one
from .variants import FAMILIES, GROUPS, Group, Variant, choose

__all__ = [
    "FAMILIES",
    "GROUPS",
    "SMOKE",
    "Budget",
    "Group",
    "Variant",
    "choose",
    "run_one",
    "summary",
    "write_report",
]
