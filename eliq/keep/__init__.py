"""Takes the good images of a run away: listed, linked or copied, by thresholds and filters.

    from eliq.keep import Selection, iterate_kept, take_away

    selection = Selection(min_visual_quality=0.6, min_alignment=0.5)
    counts = take_away("scored/", selection, "kept/", how="link")

What is kept is what the report's page keeps with the same thresholds. Originals are never changed.
Needs ``eliq[bulk]``.
"""

from __future__ import annotations

from .selection import Selection, iterate_kept, run_folder
from .taking import WAYS, TakenCounts, take_away

__all__ = ["WAYS", "Selection", "TakenCounts", "iterate_kept", "run_folder", "take_away"]
