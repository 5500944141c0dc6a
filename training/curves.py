"""The course of a run: one JSON object a line, and the picture of it.

`metrics.jsonl` holds rows such as {"step": 120, "loss": 0.41, "learning_rate": 1e-4} and, after a
validation, {"step": 500, "validation": {"technical": 0.91, ...}}. A line torn by a kill is left
out on reading; rows of steps that a resumed run will take again are cut off before it goes on.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["CurveLog"]

_LOSS_KEYS = ("loss", "instruction_loss", "ladder_loss", "visual_loss", "alignment_loss")


class CurveLog:
    """Appends rows to `<run_dir>/metrics.jsonl` and draws them to `<run_dir>/curves.png`."""

    def __init__(self, run_dir: str | Path) -> None:
        self.path = Path(run_dir) / "metrics.jsonl"
        self.picture = Path(run_dir) / "curves.png"

    def append(self, step: int, **values: Any) -> None:
        """One row: numbers, or `validation=` a dict of numbers. NaN and infinity become null."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"step": step, **_finite(values)}, allow_nan=False)
        with open(self.path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    line = "\n" + line  # after a torn line, or the new row would be lost with it
            file.write(line.encode() + b"\n")

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows, in the order of writing."""
        if not self.path.exists():
            return []
        rows = []
        for line in self.path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue  # torn by a kill
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                rows.append(row)
        return rows

    def truncate(self, step: int) -> None:
        """Drops the rows after `step` (call it with the step that a run resumes from)."""
        rows = self.rows()
        if not rows:
            return
        temporary = self.path.with_suffix(".part")
        with open(temporary, "w", encoding="utf-8") as file:
            for row in rows:
                if row["step"] <= step:
                    file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def draw(self, title: str = "") -> Path | None:
        """Loss above, validation accuracies below, as `curves.png`; None without matplotlib."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            return None
        rows = self.rows()
        figure = Figure(figsize=(8, 7), dpi=110, layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for key in _LOSS_KEYS:
            points = [(r["step"], r[key]) for r in rows if isinstance(r.get(key), (int, float))]
            if points:
                steps, values = zip(*points, strict=True)
                main = key == "loss"
                if main and len(values) > 40:
                    above.plot(steps, values, color="0.8", linewidth=0.8)
                    values = _smooth(values)
                label = key.replace("_loss", "")
                above.plot(steps, values, label=label, linewidth=2 if main else 1)
        checks = [r for r in rows if isinstance(r.get("validation"), dict)]
        for key in sorted({key for row in checks for key in row["validation"]}):
            if "/" in key:  # one kind of negative: in the log, too many for a picture
                continue
            points = [(r["step"], r["validation"].get(key)) for r in checks]
            points = [p for p in points if isinstance(p[1], (int, float))]
            if points:
                panel = above if key.endswith("loss") else below
                steps, values = zip(*points, strict=True)
                panel.plot(steps, values, marker="o", markersize=3, label=f"held-out {key}")
        above.set(ylabel="loss", title=title)
        below.set(xlabel="step", ylabel="held-out accuracy", ylim=(0, 1.02))
        below.axhline(0.5, color="0.7", linestyle=":", linewidth=1)
        for panel in (above, below):
            panel.grid(alpha=0.3)
            if panel.get_legend_handles_labels()[0]:
                panel.legend(fontsize=8, ncols=2)
        temporary = self.picture.with_suffix(".part.png")
        FigureCanvasAgg(figure).print_png(str(temporary))
        os.replace(temporary, self.picture)
        return self.picture


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            out[key] = _finite(value)
        elif isinstance(value, float) and not math.isfinite(value):
            out[key] = None
        else:
            out[key] = value
    return out


def _smooth(values: tuple[float, ...], share: float = 0.03) -> list[float]:
    """A running mean over a share of the run, shorter at its beginning."""
    width = max(5, int(len(values) * share))
    means = []
    for i in range(len(values)):
        window = values[max(0, i - width + 1) : i + 1]
        means.append(sum(window) / len(window))
    return means
