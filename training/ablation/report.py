"""The result of ablations: Markdown, JSON and a picture, the paper's own rows beside."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..journal import write_atomically
from .plots import dot_plot
from .published import PUBLISHED
from .run import Runner
from .statistics import METRICS, Bootstrap
from .variants import FULL, SETS, Variant

__all__ = ["markdown", "summary", "write_report"]

_COLUMNS = ("visual", "technical", "aesthetic", "alignment", "ladder")
_BY_FAMILY = tuple(name for name in METRICS if "/" in name and not name.startswith("visual"))


def summary(runner: Runner, variants: Sequence[Variant], seeds: Sequence[int]) -> dict[str, Any]:
    """All numbers of the variants that are finished, by set; plain JSON.

    Each metric: {"value", "interval", "minus_full": {"value", "interval"}, "by_seed"}; shares of
    right comparisons of the test rows, 0.5 is chance. "head" are the scores, "answers" the margins
    of the tuned backbone without a head.
    """
    config, test = runner.config, runner.sides.test
    bootstrap = Bootstrap(
        test,
        num_resamples=config.num_resamples,
        confidence=config.confidence,
        seed=config.split_seed,
    )
    found = {v.name: list(runner.results(v, seeds)) for v in variants}
    full = found[FULL.name]
    measured = {
        v.name: _measured(v, v.untrained(config.stage2), found[v.name], full, bootstrap)
        for v in variants
        if found[v.name]
    }
    sides = runner.sides
    report: dict[str, Any] = {
        "backbone": config.backbone,
        "confidence": config.confidence,
        "seeds": list(seeds),
        "num_tuples": [len(s.tuples) for s in (sides.train, sides.validation, sides.test)],
        "num_ladders": [len(s.ladders) for s in (sides.train, sides.validation, sides.test)],
        "num_test_prompts": bootstrap.num_prompts,
        "num_compared": {metric: bootstrap.count(metric) for metric in METRICS},
        "stage1_steps": config.stage1.steps(len(sides.train.tuples)),
        "config": config.to_json(),
        "sets": {},
    }
    for name, one in SETS.items():
        rows = [measured[v.name] for v in (FULL, *one.variants) if v.name in measured]
        if len(rows) > 1:
            report["sets"][name] = {
                "title": one.title,
                "source": one.source,
                "variants": rows,
                "order": {m: _order(rows, m) for m in ("visual", "alignment")},
                "published": [vars(row) for row in PUBLISHED.get(name, ())],
            }
    return report


def write_report(report: Mapping[str, Any], out: str | Path) -> Path:
    """Writes report.md, results.json and ablations.png into `out`; returns report.md."""
    out = Path(out)
    write_atomically(out / "results.json", json.dumps(report, indent=1).encode() + b"\n")
    picture = dot_plot(report)
    if picture is not None:
        write_atomically(out / "ablations.png", picture)
    text = markdown(report) + ("\n![ablations](ablations.png)\n" if picture else "")
    write_atomically(out / "report.md", text.encode())
    return out / "report.md"


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report as text."""
    percent = round(100 * report["confidence"])
    train, validation, test = report["num_tuples"]
    ladders = report["num_ladders"]
    made_of = (
        f"Trained on {train} tuples and {ladders[0]} ladders, steps chosen on {validation} and "
        f"{ladders[1]}, compared on {test} and {ladders[2]} of {report['num_test_prompts']} other "
        f"prompts; {report['stage1_steps']} steps of stage 1; seeds "
        f"{', '.join(map(str, report['seeds']))}."
    )
    lines = [f"# Ablations on the backbone {report['backbone']}", "", made_of, ""]
    for one in report["sets"].values():
        lines += _set_section(one, percent)
    how = (
        "Shares of right comparisons on the test rows, 0.5 is chance. *visual*: s_vis of the "
        "positive above the technical and the aesthetic negative; *alignment*: the right prompt "
        "above the wrong one; *ladder*: neighbouring severities in order. Brackets: "
        f"{percent} % interval of the difference from *full*, bootstrap of test prompts; a "
        "difference whose interval holds 0 is none that this test can tell. It does not hold the "
        "spread of trainings with other seeds. *negatives*: how many each stage trains on. "
        "*untrained*: no loss of stage 2 moves that score, its value means nothing. Published rows "
        "are printed in the paper, of another model on another test (correlation with human "
        "opinion), and were not measured here: only their order can be compared."
    )
    return "\n".join([*lines, "## How to read this", "", how, ""])


def _measured(
    variant: Variant,
    untrained: Sequence[str],
    results: list[dict],
    full: list[dict],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": variant.name,
        "label": variant.label,
        "untrained": list(untrained),
        "num_negatives": results[0]["num_negatives"],
        "seeds": [result["seed"] for result in results],
        "best_steps": [[r["stage1"].get("best_step"), r["stage2"]["best_step"]] for r in results],
    }
    for what in ("head", "answers"):
        row[what] = {}
        for metric in METRICS:
            mine = bootstrap.shares([result[what] for result in results], metric)
            same = [r[what] for r in full if r["seed"] in row["seeds"]]
            theirs = bootstrap.shares(same, metric) if same else np.full_like(mine, math.nan)
            by_seed = [bootstrap.shares([result[what]], metric)[0] for result in results]
            row[what][metric] = {
                **bootstrap.value(mine),
                "minus_full": bootstrap.value(mine - theirs),
                "by_seed": [None if math.isnan(value) else float(value) for value in by_seed],
            }
    return row


def _order(rows: Sequence[Mapping[str, Any]], metric: str) -> list[str]:
    """Names from best to worst, those whose score is not trained left out."""
    values = [
        (row["head"][metric]["value"], row["name"])
        for row in rows
        if metric not in row["untrained"]
    ]
    known = [pair for pair in values if pair[0] is not None]
    return [name for _, name in sorted(known, key=lambda pair: -pair[0])]


def _set_section(one: Mapping[str, Any], percent: int) -> list[str]:
    rows = []
    for row in one["variants"]:
        cells = [row["label"], " / ".join(map(str, row["num_negatives"]))]
        for metric in _COLUMNS:
            cells.append(_cell(row, metric, with_interval=metric in ("visual", "alignment")))
        rows.append(cells)
    lines = [f"## {one['title']} ({one['source']})", ""]
    lines += [_table(["variant", "negatives", *_COLUMNS], rows), "", "By family of the negative:"]
    rows = [[r["label"], *(_cell(r, metric) for metric in _BY_FAMILY)] for r in one["variants"]]
    lines += ["", _table(["variant", *(_spoken(name) for name in _BY_FAMILY)], rows), ""]
    lines += ["What the backbone itself answers, without a head:", ""]
    rows = [
        [r["label"], *(_number(r["answers"][metric]["value"]) for metric in _COLUMNS)]
        for r in one["variants"]
    ]
    lines += [_table(["variant", *_COLUMNS], rows), ""]
    labels = {row["name"]: row["label"] for row in one["variants"]}
    for metric, names in one["order"].items():
        lines.append(f"- order by {metric}: {' > '.join(labels[name] for name in names)}")
    lines.append("")
    if one["published"]:
        rows = [
            [f"{r['label']} (published, {r['source']})"]
            + [f"{r[key]:.3f}" for key in ("visual_srcc", "visual_plcc", "alignment_srcc",
                                           "alignment_plcc")]
            for r in one["published"]
        ]  # fmt: skip
        header = ["published, AGIQA-3K", "visual SRCC", "PLCC", "alignment SRCC", "PLCC"]
        lines += [_table(header, rows), ""]
        for metric in ("visual", "alignment"):
            best = sorted(one["published"], key=lambda r: -r[f"{metric}_srcc"])
            lines.append(f"- published order by {metric}: {' > '.join(r['label'] for r in best)}")
        lines.append("")
    return lines


def _cell(row: Mapping[str, Any], metric: str, *, with_interval: bool = False) -> str:
    part = "alignment" if metric.startswith("alignment") else "visual"
    if part in row["untrained"]:
        return "untrained"
    found = row["head"][metric]
    text, between = _number(found["value"]), found["minus_full"]["interval"]
    if with_interval and between is not None and row["name"] != FULL.name:
        text += f" [{between[0]:+.3f}, {between[1]:+.3f}]"
    return text


def _spoken(metric: str) -> str:
    name, which = metric.split("/")
    if name == "alignment":
        return "alignment, " + {"conventional": "shuffled", "ai_specific": "edited"}[which]
    return f"{name}, {which.replace('_', '-').replace('ai-', 'AI-')}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * (w - 1) + ":" if i else "-" * w for i, w in enumerate(widths)]
    return "\n".join([line(header), "| " + " | ".join(rule) + " |", *map(line, rows)])
