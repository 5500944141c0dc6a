"""A drift report on disk: numbers, a picture, a page of the images that the critics differ on.

OUT/drift.json   all numbers        OUT/drift.png   the picture (needs matplotlib)
OUT/drift.html   all of it and the images, no network
"""

from __future__ import annotations

import json
from pathlib import Path

from ..journal import write_atomically
from .anchors import Anchors
from .drift import DriftReport
from .page import drift_page
from .picture import draw_drift

__all__ = ["draw_drift", "write_drift_report"]


def write_drift_report(report: DriftReport, anchors: Anchors, out: str | Path) -> dict[str, str]:
    """Writes what can be written; returns paths by name ("numbers", "picture", "page")."""
    out = Path(out)
    written = {"numbers": str(out / "drift.json"), "page": str(out / "drift.html")}
    write_atomically(out / "drift.json", json.dumps(report.to_json(), indent=1).encode())
    picture = draw_drift(report, anchors)
    if picture is not None:
        write_atomically(out / "drift.png", picture)
        written["picture"] = str(out / "drift.png")
    write_atomically(out / "drift.html", drift_page(report, anchors, picture).encode())
    return written
