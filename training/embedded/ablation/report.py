"""The comparison of all variants with their full: as JSON, as Markdown, as a picture."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...journal import write_atomically
from .variants import FAMILIES, GROUPS, Group, Variant

__all__ = ["markdown", "summary", "write_report"]

Results = Mapping[tuple[str, int], Mapping[str, Any]]  # (name of the variant, seed) -> its result

_HOW = (
    "Every cell: the mean over seeds, and in brackets the difference from *full* of each seed, in "
    "the order of the seeds; a pair of a variant and its full shares seed, initial weights and, as "
    "far as the part allows, images. `*`: all seeds differ to the same side. `**`: and each by "
    "more than the seeds of *full* differ among themselves. A part that is worth nothing gives two "
    "seeds the same side in half of the cells, so `*` alone is no finding, and of many cells some "
    "get `**` by chance. Short runs say what a part does at the start of training, not at its end."
)


def summary(results: Results, seeds: Sequence[int]) -> dict[str, Any]:
    """Plain JSON: for each group, of each variant and figure the values and differences by seed.

    Only seeds that a variant and its full both have are compared.
    """
    groups = {}
    for group in GROUPS.values():
        rows = [
            _row(variant, group.full, results, seeds)
            for variant in (group.full, *group.variants)
            if any((variant.name, seed) in results for seed in seeds)
        ]
        if any(row["name"] != group.full.name for row in rows):
            groups[group.name] = {"title": group.title, "rows": rows}
    return {"seeds": list(seeds), "groups": groups}


def _row(variant: Variant, full: Variant, results: Results, seeds: Sequence[int]) -> dict[str, Any]:
    mine = {s: results[variant.name, s] for s in seeds if (variant.name, s) in results}
    theirs = {s: results[full.name, s] for s in mine if (full.name, s) in results}
    figures = {}
    for name in next(iter(mine.values()))["figures"]:
        values = [result["figures"][name] for result in mine.values()]
        whole = [result["figures"][name] for result in theirs.values()]
        apart = [mine[s]["figures"][name] - theirs[s]["figures"][name] for s in theirs]
        same = len(apart) > 1 and (min(apart) > 0 or max(apart) < 0)
        clear = same and min(map(abs, apart)) > max(whole) - min(whole)
        figures[name] = {
            "values": values,
            "minus_full": apart,
            "same_side": same,
            "beyond_seeds": clear,
        }
    return {
        "name": variant.name,
        "label": variant.label,
        "seeds": list(mine),
        "steps": next(iter(mine.values()))["steps"],
        "training_cpu_s": [result["training_cpu_s"] for result in mine.values()],
        "figures": figures,
    }


def write_report(results: Results, seeds: Sequence[int], out: Path) -> str:
    """Writes results.json, report.md and, with matplotlib, ablations.png into `out`.

    Returns the text of report.md.
    """
    report = summary(results, seeds)
    write_atomically(out / "results.json", json.dumps(report, indent=1).encode() + b"\n")
    text = markdown(report)
    picture = _picture(report)
    if picture is not None:
        write_atomically(out / "ablations.png", picture)
        text += "\n![differences from full](ablations.png)\n"
    write_atomically(out / "report.md", text.encode())
    return text


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report as text."""
    lines = ["# Ablations of the pretraining of the embedded critic", ""]
    lines += [f"Seeds {', '.join(map(str, report['seeds']))}. {_HOW}", ""]
    for name, group in report["groups"].items():
        lines += [f"## {group['title']}", ""]
        lines += _families(group) if name == "families" else _group(group)
        lines += _sentences(group, GROUPS[name])
    return "\n".join(lines)


def _group(group: Mapping[str, Any]) -> list[str]:
    lines = []
    names = [n for n in group["rows"][0]["figures"] if not n.startswith(tuple(FAMILIES))]
    for part in dict.fromkeys(name.split("/")[0] for name in names):
        columns = [name for name in names if name.startswith(f"{part}/")]
        header = [part, *(c.split("/")[1].replace("_", " ") for c in columns)]
        rows = [
            [row["label"], *(_cell(row["figures"].get(c)) for c in columns)]
            for row in group["rows"]
        ]
        lines += [*_table(header, rows), ""]
    steps = group["rows"][0]["steps"]
    spent = (
        f"{row['label']} {' / '.join(f'{s:.0f}' for s in row['training_cpu_s'])}"
        for row in group["rows"]
    )
    return [*lines, f"{steps} steps each; CPU seconds of training: {', '.join(spent)}.", ""]


def _families(group: Mapping[str, Any]) -> list[str]:
    full, rows = group["rows"][0], []
    for row in group["rows"][1:]:
        family = row["label"]
        cells = [family, ", ".join(FAMILIES[family])]
        for what in ("order", "photographs"):
            name = f"{family}/{what}"
            values = full["figures"].get(name, {"values": []})["values"]
            cells += [" / ".join(f"{value:.3f}" for value in values) or "-"]
            cells += [_cell(row["figures"][name])]
        rows.append(cells)
    header = [
        "family", "distortions", "order, trained on", "order, left out", "photographs, trained on",
        "photographs, left out",
    ]  # fmt: skip
    return [*_table(header, rows), ""]


def _sentences(group: Mapping[str, Any], known: Group) -> list[str]:
    """Which differences have the same side in all seeds, in words."""
    lines = []
    for row in group["rows"]:
        if row["name"] == known.full.name:
            continue
        if len(row["figures"]) and len(next(iter(row["figures"].values()))["minus_full"]) < 2:
            lines.append(f"- {row['label']}: one seed, nothing to compare.")
            continue
        found = {True: [], False: []}
        for name, figure in row["figures"].items():
            if figure["same_side"]:
                way = "worse" if figure["minus_full"][0] < 0 else "better"
                found[figure["beyond_seeds"]].append(f"{name} {way}")
        text = "; ".join(
            f"{what}: {', '.join(names)}"
            for what, names in (
                ("beyond the spread of full", found[True]),
                ("same side alone", found[False]),
            )
            if names
        )
        lines.append(f"- {row['label']}: {text or 'no figure has the same side in all seeds'}.")
    return [*lines, ""]


def _cell(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    mean = f"{sum(figure['values']) / len(figure['values']):.3f}"
    if not any(figure["minus_full"]):
        return mean
    apart = ", ".join(f"{value:+.3f}" for value in figure["minus_full"])
    return f"{mean} ({apart}){'*' * (figure['same_side'] + figure['beyond_seeds'])}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def _picture(report: Mapping[str, Any]) -> bytes | None:
    """A PNG: one panel a group, differences from full, a dot a seed; None without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    groups = report["groups"]
    if not groups:
        return None
    figure = Figure(figsize=(7 * len(groups), 9), dpi=90, layout="constrained")
    panels = figure.subplots(1, len(groups), squeeze=False)[0]
    for panel, group in zip(panels, groups.values(), strict=True):
        rows = [row for row in group["rows"][1:] if row["figures"]]
        names = list(dict.fromkeys(name for row in rows for name in row["figures"]))
        for index, row in enumerate(rows):
            at = [names.index(n) + 0.12 * (index - len(rows) / 2) for n in row["figures"]]
            for seed in range(len(row["seeds"])):
                apart = [f["minus_full"][seed : seed + 1] for f in row["figures"].values()]
                known = [(d[0], y) for d, y in zip(apart, at, strict=True) if d]
                panel.plot(
                    [x for x, _ in known], [y for _, y in known], "o", color=f"C{index}",
                    markersize=4, label=None if seed else row["label"],
                )  # fmt: skip
        panel.axvline(0, color="0.5", linewidth=0.8)
        panel.set_yticks(range(len(names)), names, fontsize=8)
        panel.invert_yaxis()
        panel.set_title(group["title"], fontsize=10)
        panel.set_xlabel("difference from full, a dot a seed", fontsize=8)
        panel.legend(fontsize=7)
        panel.grid(alpha=0.3)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()
