"""Known orders in place of opinions, for smoke runs of what compares with opinions.

Nobody rated these images: a step of a ladder counts as much less as it was damaged more, and a
wrong prompt counts as less than the right one. Correlations with that prove that a script runs.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

from .dataset import Supervision
from .journal import write_atomically

__all__ = ["write_known_orders"]


def write_known_orders(supervision: Supervision, path: Path) -> Path:
    """A CSV in the form that `training.evaluation` reads; returns its path.

    Columns: path, prompt, group, generator, quality (5 minus the severity; 5 for a positive),
    alignment (1 for a positive with its prompt, 0 for one with its wrong prompt).
    """
    rows: dict[tuple[str, str], dict[str, object]] = {}

    def add(image: str, prompt: str, group: str, quality: object, alignment: object) -> None:
        row = rows.setdefault(
            (image, prompt),
            {"path": str(Path(image).resolve()), "prompt": prompt, "group": group,
             "generator": "constructed", "quality": "", "alignment": ""},
        )  # fmt: skip
        row["quality"] = quality if quality != "" else row["quality"]
        row["alignment"] = alignment if alignment != "" else row["alignment"]

    for ladder in supervision.ladders:
        add(ladder.positive, ladder.prompt, ladder.prompt, 5, "")
        for step in ladder.steps:
            add(step.path, ladder.prompt, ladder.prompt, 5 - step.severity, "")
    for row in supervision.tuples:
        add(row.positive, row.prompt, row.prompt, 5, 1)
        add(row.positive, row.negative_prompt, row.prompt, "", 0)
        for negative in (row.technical, row.aesthetic):
            if negative.severity is not None:
                add(negative.path, row.prompt, row.prompt, 5 - negative.severity, "")
    text = io.StringIO()
    writer = csv.DictWriter(text, list(next(iter(rows.values()))))
    writer.writeheader()
    writer.writerows(rows.values())
    write_atomically(path, text.getvalue().encode())
    return path
