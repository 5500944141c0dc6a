"""The report of an evaluation: Markdown for people, JSON with every number, scatter plots."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..journal import write_atomically
from .plots import scatter_plots
from .published import LABELS

_FEW = 30  # a curve of 4 parameters follows fewer images wherever they lie
__all__ = ["markdown", "write_report"]

_HEADER = (
    "scorer", "labels", "SRCC", "95 %", "PLCC", "PLCC fit", "KRCC", "within gen.", "splits SRCC",
)  # fmt: skip


def write_report(report: Mapping[str, Any], out: str | Path) -> Path:
    """Writes report.md, report.json and one picture a set and opinion; returns report.md.

    `report`: {"sets": [of `measure_set`], "not_run": {name: why}, "environment", "config"}. The
    JSON leaves out the single scores, which lie in scores/.
    """
    out = Path(out)
    pictures = {}
    for found in report["sets"]:
        for opinion, part in found["opinions"].items():
            name = f"{re.sub(r'[^A-Za-z0-9._-]+', '_', found['name'])}-{opinion}.png"
            picture = scatter_plots(part, f"{found['name']}, {opinion}")
            if picture is not None:
                write_atomically(out / name, picture)
                pictures[found["name"], opinion] = name
    content = json.dumps(_finite(_without_scores(report)), indent=1, allow_nan=False)
    write_atomically(out / "report.json", content.encode() + b"\n")
    path = out / "report.md"
    write_atomically(path, markdown(report, pictures).encode())
    return path


def markdown(report: Mapping[str, Any], pictures: Mapping[tuple[str, str], str]) -> str:
    """The whole report as text; `pictures` (set, opinion) -> file name beside it."""
    percent = round(100 * report["config"]["confidence"])
    lines = [f"# {report['title']}", ""]
    if report.get("note"):
        lines += [f"**{report['note']}**", ""]
    if report["not_run"]:
        lines += ["Not run:", ""]
        lines += [f"- {name}: {_plain(why)}" for name, why in report["not_run"].items()] + [""]
    for found in report["sets"]:
        lines += _set_section(found, pictures, percent)
    how = (
        f"Intervals: {percent} %, bootstrap of whole prompts. *labels*: opinions of the same "
        "benchmark that a method was fitted on. *PLCC* is Pearson's correlation of the raw scores, "
        "*PLCC fit* the same after a fitted 4-parameter logistic curve. *within gen.*: SRCC inside "
        "each generator, weighted by its images; knowing which generator made an image gains "
        "nothing there. *splits SRCC*: mean and standard deviation over the test parts of "
        f"{report['config']['num_splits']} prompt-grouped splits, beside methods that train on the "
        "rest. *given quality*: partial SRCC of alignment, 0 for a scorer that knows quality "
        "alone. *oracle* rows know the answers and no image. Rows marked published are printed in "
        "the paper and were not measured here; it does not say whether its PLCC is raw or fitted."
    )
    lines += ["## How to read this", "", how, ""]
    return "\n".join(lines)


def _set_section(found: Mapping[str, Any], pictures: Mapping, percent: int) -> list[str]:
    counts = found["counts"]
    lines = [f"## {found['name']}", "", f"{found['num_images']} images"]
    left_out = [
        f"{counts[f'num_{name}']} {word}"
        for name, word in (
            ("missing", "files missing"),
            ("conflicting", "rows of images listed with different scores"),
            ("repeated", "repeated rows"),
            ("unrated", "rows without a score"),
        )
        if counts[f"num_{name}"]
    ]
    left_out += [
        f"{failed['num']} not scored by {name}"
        for name, failed in found["failed"].items()
        if failed["num"]
    ]
    lines[-1] += f" of {counts['num_listed']} listed"
    lines[-1] += f"; left out: {', '.join(left_out)}." if left_out else "."
    lines.append("")
    for opinion, part in found["opinions"].items():
        lines += _opinion_section(opinion, part, percent)
        if (found["name"], opinion) in pictures:
            lines += [f"![{found['name']} {opinion}]({pictures[found['name'], opinion]})", ""]
    if found["shuffle"]:
        lines += _shuffle_section(found["shuffle"])
    elif found.get("shuffle_not_run"):
        lines += [f"Prompts of other images were not tried: {_plain(found['shuffle_not_run'])}", ""]
    return lines


def _opinion_section(opinion: str, part: Mapping[str, Any], percent: int) -> list[str]:
    columns = part["columns"]
    lines = [f"### {opinion}: {part['num_images']} images", ""]
    header = [cell.replace("95 %", f"{percent} %") for cell in _HEADER]
    extra = []
    if any(column.get("partial_srcc") is not None for column in columns):
        extra.append(("given quality", "partial_srcc"))
    if any(column.get("pairwise_accuracy") is not None for column in columns):
        extra.append(("pairs", "pairwise_accuracy"))
    rows = []
    for column in columns:
        splits = column["splits"]
        rows.append([
            _plain(column["title"]), column["labels"], _number(column["srcc"]),
            _interval(column["srcc_interval"]), _number(column["plcc"]),
            _number(column["plcc_logistic"]) + (" (few)" if _is_few(column) else ""),
            _number(column["krcc"]),
            _number(column["within_generator_srcc"]),
            f"{_number(splits['srcc_mean'])} ± {_number(splits['srcc_std'])}" if splits else "-",
            *(_number(column.get(key)) for _, key in extra),
        ])  # fmt: skip
    names = {
        "generator_mean": "oracle: mean opinion of the generator",
        "quality": "oracle: the opinions on quality",
    }
    for key, value in part["oracles"].items():
        rows.append([names[key], "answers", _number(value)])
    for row in part["published"]:
        title = f"{row['method']} (published, {row['source']})"
        rows.append([title, LABELS[row["labels"]], _number(row["srcc"]), "-", _number(row["plcc"])])
    lines += [_table([*header, *(name for name, _ in extra)], rows), ""]
    if any(_is_few(column) for column in columns):
        why = f"4 parameters and {part['num_images']} images to follow, fewer than {_FEW}"
        lines += [f"(few): the fitted curve has {why}. This number is too high to mean much.", ""]
    for column in columns:
        against = column.get("first_minus_this")
        if against is not None:
            lines.append(
                f"- {_plain(columns[0]['title'])} minus {_plain(column['title'])}: SRCC "
                f"{against['srcc_difference']:+.3f} {_interval(against['interval'])}"
            )
    lines += [f"- left out: {_plain(why)}" for why in part["skipped"]]
    return [*lines, ""] if lines[-1] else lines


def _is_few(column: Mapping[str, Any]) -> bool:
    return column["plcc_logistic"] is not None and column["num_images"] < _FEW


def _shuffle_section(shuffle: Mapping[str, Any]) -> list[str]:
    lines = ["### prompts of other images", ""]
    header = ["scorer", "images", "alignment falls", "SRCC own prompt", "SRCC shuffled",
              "quality SRCC", "quality shift"]  # fmt: skip
    rows = [
        [
            _plain(title),
            str(found["num_images"]),
            *(
                _number(found.get(key))
                for key in ("alignment_falls", "srcc_own", "srcc_shuffled", "visual_quality_srcc",
                            "visual_quality_shift")
            ),
        ]
        for title, found in shuffle.items()
    ]  # fmt: skip
    words = (
        "*alignment falls*: share of images that score higher with their own prompt, 0.5 is "
        "chance. *quality SRCC* and *shift*: visual quality under both prompts, 1 and 0 where it "
        "is a score of the image alone."
    )
    return [*lines, _table(header, rows), "", words, ""]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    full = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    widths = [max(len(row[i]) for row in (header, *full)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * w if i < 2 else "-" * (w - 1) + ":" for i, w in enumerate(widths)]
    return "\n".join([line(header), "| " + " | ".join(rule) + " |", *map(line, full)])


def _number(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def _interval(pair: Sequence[float] | None) -> str:
    return "-" if pair is None else f"[{pair[0]:.3f}, {pair[1]:.3f}]"


def _plain(text: str) -> str:
    """Text that cannot break a table or become markup."""
    one_line = " ".join(str(text).split())
    return one_line.replace("|", "/").replace("<", "(").replace(">", ")").replace("`", "'")


def _without_scores(report: Mapping[str, Any]) -> dict[str, Any]:
    left_out = {"scores", "opinions", "generators"}
    sets = [
        {
            **found,
            "opinions": {
                name: {key: value for key, value in part.items() if key not in left_out}
                for name, part in found["opinions"].items()
            },
        }
        for found in report["sets"]
    ]
    return {**report, "sets": sets}


def _finite(value: Any) -> Any:
    """A copy in which NaN and infinity are None, as JSON wants it."""
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
