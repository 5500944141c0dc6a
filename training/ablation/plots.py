"""Ablations as a dot plot: one row of panels a set, one line a variant, intervals as bars."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

__all__ = ["dot_plot"]

_PANELS = ("visual", "alignment", "ladder")


def dot_plot(report: Mapping[str, Any]) -> bytes | None:
    """A PNG of `summary`'s result; None without matplotlib or without a set.

    Dots are shares of right comparisons with their intervals, small marks single seeds; the dashed
    line is the full method. A fourth panel has the published SRCC, on an axis of its own.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    sets = list(report["sets"].values())
    if not sets:
        return None
    heights = [1.2 + 0.26 * len(one["variants"]) for one in sets]
    figure = Figure(figsize=(15, sum(heights)), dpi=100, layout="constrained")
    grid = figure.subplots(
        len(sets), 4, squeeze=False, height_ratios=heights,
        gridspec_kw={"width_ratios": [1, 1, 1, 0.8]},
    )  # fmt: skip
    for panels, one in zip(grid, sets, strict=True):
        for metric, panel in zip(_PANELS, panels, strict=False):
            _draw(panel, one["variants"], metric)
        panels[0].set_title(f"{one['title']} ({one['source']}): visual quality", fontsize=9)
        panels[1].set_title("alignment", fontsize=9)
        panels[2].set_title("ladders", fontsize=9)
        _draw_published(panels[3], one["published"])
    for panel in grid[-1][:3]:
        panel.set_xlabel("share right on test prompts", fontsize=8)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _draw(panel: Any, rows: list[Mapping[str, Any]], metric: str) -> None:
    part = "visual" if metric == "ladder" else metric
    for place, row in enumerate(rows):
        found = row["head"][metric]
        if found["value"] is None or part in row["untrained"]:
            continue
        low, high = found["interval"]
        colour = "black" if row["name"] == "full" else "C0"
        panel.plot([low, high], [place, place], color=colour, linewidth=1.2)
        panel.plot(found["value"], place, "o", color=colour, markersize=5)
        if len(found["by_seed"]) > 1:
            panel.plot(found["by_seed"], [place] * len(found["by_seed"]), "|", color="0.4")
        if row["name"] == "full":
            panel.axvline(found["value"], color="0.5", linestyle="--", linewidth=0.8)
    named = metric == _PANELS[0]
    panel.set_yticks(range(len(rows)), [row["label"] if named else "" for row in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", alpha=0.3)


def _draw_published(panel: Any, rows: list[Mapping[str, Any]]) -> None:
    if not rows:
        panel.set_visible(False)
        return
    for key, marker in (("visual_srcc", "D"), ("alignment_srcc", "s")):
        panel.plot([row[key] for row in rows], range(len(rows)), marker, markersize=5,
                   markerfacecolor="none", color="C3", label=key.split("_")[0])  # fmt: skip
    panel.set_yticks(range(len(rows)), [row["label"] for row in rows], fontsize=8)
    panel.set_ylim(len(rows) - 0.5, -0.5)
    panel.set_title("published: SRCC with opinions", fontsize=9)
    panel.tick_params(axis="x", labelsize=8)
    panel.legend(fontsize=7)
    panel.grid(axis="x", alpha=0.3)
