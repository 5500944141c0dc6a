"""The picture of a drift report: old against new, how scores spread, which known orders hold."""

from __future__ import annotations

import io
from typing import Any

from .anchors import Anchors
from .drift import DriftReport

__all__ = ["draw_drift"]

_MOST_KINDS = 16


def draw_drift(report: DriftReport, anchors: Anchors) -> bytes | None:
    """A PNG: old against new score, spreads, and known orders; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    rows = [
        min(len(drift.numbers["known_order"]["by_kind"]), _MOST_KINDS)
        for drift in report.scores.values()
    ]
    heights = [max(3.6, 0.42 * number + 1.2) for number in rows]
    figure = Figure(figsize=(14, sum(heights)), dpi=110, layout="constrained")
    panels = figure.subplots(2, 3, gridspec_kw={"height_ratios": heights})
    for row, (name, drift) in zip(panels, report.scores.items(), strict=True):
        scatter, spread, orders = row
        title = name.replace("_", " ")
        for number, era in enumerate(anchors.eras):
            rows = [i for i, key in enumerate(drift.ids) if anchors.points[key].era == era]
            if rows:
                scatter.scatter(drift.old[rows], drift.new[rows], s=12, alpha=0.6,
                                color=f"C{number}", label=f"anchors of {era}")  # fmt: skip
        scatter.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="old = new")
        scale = "on the old scale" if drift.link else "not linked: its own scale"
        scatter.set(xlim=(0, 1), ylim=(0, 1), xlabel="score by the old critic",
                    ylabel=f"score by the new critic, {scale}")  # fmt: skip
        scatter.set_title(f"{title}\n{_agreement(drift.numbers)}", fontsize=10)
        scatter.legend(fontsize=7, loc="upper left")
        bins = [i / 25 for i in range(26)]
        spread.hist(drift.old, bins, histtype="step", label="old critic")
        spread.hist(drift.new, bins, histtype="step", label=f"new critic, {scale}")
        spread.set(xlabel="score of an anchor", ylabel="number of anchors")
        spread.set_title(f"{title}: how the scores spread", fontsize=10)
        spread.legend(fontsize=7, loc="upper left")
        _draw_orders(orders, title, drift.numbers["known_order"])
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _agreement(numbers: dict[str, Any]) -> str:
    value, interval = numbers["srcc"], numbers["srcc_interval"]
    text = "SRCC -" if value is None else f"SRCC {value:.3f}"
    text += (
        " (too few to trust)" if interval is None else f" [{interval[0]:.3f}, {interval[1]:.3f}]"
    )
    return f"{text}: {numbers['num_anchors']} anchors, {numbers['num_prompts']} prompts"


def _draw_orders(panel: Any, title: str, order: dict[str, Any]) -> None:
    by_kind = order["by_kind"]
    kinds = list(by_kind)[:_MOST_KINDS]
    for shift, key, label in ((-0.2, "old", "old critic"), (0.2, "new", "new critic")):
        places = [place + shift for place in range(len(kinds))]
        panel.barh(places, [by_kind[kind][key] for kind in kinds], 0.36, label=label)
        for place, kind in zip(places, kinds, strict=True):  # a bar of 0 is no bar to see
            share, num = by_kind[kind][key], by_kind[kind]["num"]
            panel.text(share + 0.01, place, f"{by_kind[kind]['num_' + key]} of {num}",
                       va="center", fontsize=7)  # fmt: skip
    names = [_kind(kind, title) for kind in kinds]
    panel.set_yticks(range(len(kinds)), names, fontsize=7)
    panel.invert_yaxis()  # the old critic's bar stands above the new one's
    panel.axvline(0.5, color="0.6", linestyle=":", linewidth=1, label="chance")
    panel.set(xlim=(0, 1.22), xlabel="share of pairs in their known order")
    panel.set_xticks([0, 0.25, 0.5, 0.75, 1])
    left_out = len(by_kind) - len(kinds)
    more = f"\n(first {len(kinds)} of {len(by_kind)} kinds)" if left_out else ""
    panel.set_title(f"{title}: known orders, {order['num']} pairs{more}", fontsize=10)
    if kinds:
        panel.legend(fontsize=7, loc="lower center", bbox_to_anchor=(0.5, -0.32), ncols=3)


def _kind(kind: str, title: str) -> str:
    words = kind.replace("_", " ").replace("$", "")
    if title != "alignment":
        return words
    return "swapped prompt" if kind == "shuffle" else f"changed prompt: {words}"
