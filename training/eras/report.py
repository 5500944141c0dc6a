"""A drift report on disk: numbers, a picture, a page of the images that the critics differ on.

OUT/drift.json   all numbers        OUT/drift.png   the picture (needs matplotlib)
OUT/drift.html   images, no network
"""

from __future__ import annotations

import io
import json
from pathlib import Path

from eliq.contact_sheet import SheetEntry, write_contact_sheet

from ..journal import write_atomically
from .anchors import Anchors
from .drift import DriftReport

__all__ = ["draw_drift", "write_drift_report"]

_SHORT = {"visual_quality": "quality", "alignment": "alignment"}


def write_drift_report(report: DriftReport, anchors: Anchors, out: str | Path) -> dict[str, str]:
    """Writes what can be written; returns paths by name ("numbers", "picture", "page")."""
    out = Path(out)
    written = {"numbers": str(out / "drift.json"), "page": str(out / "drift.html")}
    write_atomically(out / "drift.json", json.dumps(report.to_json(), indent=1).encode())
    picture = draw_drift(report, anchors)
    if picture is not None:
        write_atomically(out / "drift.png", picture)
        written["picture"] = str(out / "drift.png")
    entries = [
        SheetEntry(
            str(anchors.folder / row["file"]),
            row["prompt"],
            row.get("visual_quality", {}).get("new"),
            row.get("alignment", {}).get("new"),
            tuple(
                f"{short} was {row[name]['old']:.2f}"
                for name, short in _SHORT.items()
                if name in row
            )
            + (row["era"],),
        )
        for row in report.disagreements
    ]
    write_contact_sheet(
        entries,
        out / "drift.html",
        title="Anchors on which the old and the new critic differ most",
        sorted_by="how far they differ, largest first; bars show the new critic on the old scale",
    )
    return written


def draw_drift(report: DriftReport, anchors: Anchors) -> bytes | None:
    """A PNG: old against new score, spreads, and known orders; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(12, 7), dpi=110, layout="constrained")
    panels = figure.subplots(2, 3)
    for row, (name, drift) in zip(panels, report.scores.items(), strict=True):
        scatter, spread, orders = row
        for number, era in enumerate(anchors.eras):
            rows = [i for i, key in enumerate(drift.ids) if anchors.points[key].era == era]
            if rows:
                scatter.scatter(drift.old[rows], drift.new[rows], s=9, alpha=0.6,
                                color=f"C{number}", label=era)  # fmt: skip
        scatter.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        value = drift.numbers["srcc"]
        scatter.set(xlim=(0, 1), ylim=(0, 1), xlabel="old critic", ylabel="new critic, linked",
                    title=f"{name}, SRCC {'-' if value is None else f'{value:.3f}'}")  # fmt: skip
        scatter.legend(fontsize=7, loc="upper left")
        bins = [i / 25 for i in range(26)]
        spread.hist(drift.old, bins, histtype="step", label="old")
        spread.hist(drift.new, bins, histtype="step", label="new, linked")
        spread.set(xlabel="score of an anchor", ylabel="anchors", title="spread")
        spread.legend(fontsize=7)
        _draw_orders(orders, drift.numbers["known_order"]["by_kind"])
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _draw_orders(panel, by_kind: dict) -> None:
    kinds = list(by_kind)[:16]
    places = range(len(kinds))
    for shift, key in ((0.2, "old"), (-0.2, "new")):
        panel.barh([p + shift for p in places], [by_kind[k][key] for k in kinds], 0.36)
    panel.set_yticks(
        list(places), [k.replace("_", " ").replace("$", "") for k in kinds], fontsize=7
    )
    panel.axvline(0.5, color="0.6", linestyle=":", linewidth=1)
    panel.set(xlim=(0, 1), xlabel="share in known order", title="known orders, old above new")
