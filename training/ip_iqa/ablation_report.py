"""The figures of the ablation: means by variant, margins of the full model, and the page."""

from __future__ import annotations

from typing import Any

import numpy as np

from .attention_check import Look, pointing

__all__ = ["margins", "means", "pooled", "report_text"]

_FIGURES = ("visual_quality_srcc", "visual_quality_plcc", "alignment_srcc", "alignment_plcc")


def means(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Mean over repeats of each figure, by variant, in the order of the rows."""
    names = list(dict.fromkeys(row["variant"] for row in rows))
    return {
        name: {
            figure: float(np.mean([r["test"][figure] for r in rows if r["variant"] == name]))
            for figure in _FIGURES
        }
        for name in names
    }


def margins(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """SRCC of the full model minus that of each variant, and in how many repeats it is above.

    Repeats are paired: both models saw the same folds. ``alignment_worst`` is the smallest of the
    differences.
    """
    found: dict[str, dict[str, float]] = {}
    by_key = {(row["split"], row["variant"]): row["test"] for row in rows}
    splits = sorted({row["split"] for row in rows})
    for name in dict.fromkeys(row["variant"] for row in rows):
        if name == "full":
            continue
        entry: dict[str, float] = {}
        for output in ("visual_quality", "alignment"):
            figure = f"{output}_srcc"
            gaps = [by_key[s, "full"][figure] - by_key[s, name][figure] for s in splits]
            entry[output] = float(np.mean(gaps))
            entry[f"{output}_worst"] = float(np.min(gaps))
            entry[f"{output}_won"] = sum(gap > 0 for gap in gaps)
        found[name] = {**entry, "num_splits": len(splits)}
    return found


def pooled(before: list[list[Look]], after: list[list[Look]]) -> dict[str, dict[str, Any]]:
    """`pointing` before and after the regression, of every repeat and of all of them together."""
    found: dict[str, dict[str, Any]] = {}
    for when, repeats in (("before", before), ("after", after)):
        each = {f"repeat {n + 1}": pointing(one) for n, one in enumerate(repeats)}
        found[when] = {**each, "all repeats": pointing([look for one in repeats for look in one])}
    return found


def _said(at: dict[str, Any]) -> str:
    low, high = at["named_interval"]
    return (
        f"{at['num_words']} words, more on the named thing than on the other "
        f"{at['named_over_other']:.3f} [{low:.3f}, {high:.3f}] (chance .5); its own word moves "
        f"attention to it {at['swap']:.3f} (chance .5); mass in its box {at['mass']:.3f} (even map "
        f"{at['mass_chance']:.3f}); peak in its box {at['peak']:.3f} (even map "
        f"{at['peak_chance']:.3f})"
    )


def report_text(found: dict[str, Any]) -> str:
    """Markdown of an ablation's result; pairs of figures are quality, alignment."""
    table = means(found["rows"])
    head = ("variant", "quality SRCC", "PLCC", "alignment SRCC", "PLCC", "full minus it", "won")
    lines = [
        "# IP-IQA on rendered scenes with made-up ratings",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for name, row in table.items():
        cells = [f"{row[figure]:.3f}" for figure in _FIGURES]
        margin = found["margins"].get(name)
        gap, won = "", ""
        if margin:
            gap = f"{margin['visual_quality']:+.3f}, {margin['alignment']:+.3f}"
            won = (
                f"{margin['visual_quality_won']}, {margin['alignment_won']} of "
                f"{margin['num_splits']}"
            )
        lines.append(f"| {name} | {' | '.join(cells)} | {gap} | {won} |")
    lines += ["", "## Where a word looks", ""]
    for name, at in found["pointing"].items():
        for when, repeats in at.items():
            for what, one in repeats.items():
                lines.append(f"- {name}, {when} the regression, {what}: {_said(one)}")
    if found["image2prompt"]:
        last = found["image2prompt"][-1]
        lines.append(
            f"\nImage2Prompt, last check: image spread {last['image_spread']:.3f} (prompts "
            f"{last['prompt_spread']:.3f}), own prompt found {last['retrieval']:.3f} (chance "
            f"{last['chance']:.3f}), collapsed: {last['collapsed']}"
        )
    return "\n".join(lines) + "\n"
