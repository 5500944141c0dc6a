"""A table of repeats beside published rows: table.md for people, table.json for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from training.journal import write_atomically

from .published import references
from .splits import SplitsResult

__all__ = ["table_text", "write_table"]


def table_text(result: SplitsResult, outputs: tuple[str, ...], set_name: str) -> str:
    """Markdown: one table an output, ours first, published rows marked as such."""
    mean, deviation = result.mean(), result.deviation()
    lines = [f"# IP-IQA on {set_name}", ""]
    for output in outputs:
        lines += [f"## {output}", "", "| method | SRCC | PLCC (raw) |", "|---|---|---|"]
        cells = [
            f"{mean[f'{output}_{name}']:.4f} ± {deviation[f'{output}_{name}']:.4f}"
            for name in ("srcc", "plcc")
        ]
        lines.append(f"| IP-IQA, this code, {len(result.rows)} repeats | {cells[0]} | {cells[1]} |")
        lines += [
            f"| {row.method} | {row.srcc:.4f} | {row.plcc:.4f} |"
            for row in references(set_name, output)
        ]
        lines.append("")
    lines.append(
        "Repeats are drawn by prompt; the epoch is chosen on a validation fold of its own, where "
        "the released code of the paper chose it on the test fold. ± is the standard deviation "
        "over repeats.\n"
    )
    return "\n".join(lines)


def write_table(
    out: Path,
    result: SplitsResult,
    outputs: tuple[str, ...],
    set_name: str,
    facts: dict[str, Any],
) -> None:
    """Writes table.md and table.json into `out`."""
    out.mkdir(parents=True, exist_ok=True)
    text = table_text(result, outputs, set_name)
    write_atomically(out / "table.md", text.encode())
    content = {
        **facts,
        "mean": result.mean(),
        "deviation": result.deviation(),
        "repeats": result.rows,
        "published": {o: [row._asdict() for row in references(set_name, o)] for o in outputs},
    }
    write_atomically(out / "table.json", (json.dumps(content, indent=1) + "\n").encode())
