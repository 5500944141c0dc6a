"""What each part of the method is worth: the same training with one part left out or replaced."""

from __future__ import annotations

from .config import AblationConfig
from .report import summary, write_report
from .run import run_ablations
from .variants import SETS, AblationSet, Variant, choose

__all__ = [
    "SETS",
    "AblationConfig",
    "AblationSet",
    "Variant",
    "choose",
    "run_ablations",
    "summary",
    "write_report",
]
