"""A run as plain CSV, one line an image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

__all__ = ["CSV_COLUMNS", "export_csv"]

CSV_COLUMNS = (
    "path", "member", "visual_quality", "alignment", "aspect_technical", "aspect_aesthetic",
    "aspect_alignment", "flags", "status", "error_class", "error", "width", "height", "prompt",
    "model_id", "dtype",
)  # fmt: skip


def export_csv(rows: Iterable[Mapping[str, Any]], file: TextIO) -> int:
    """Write ``rows`` of a run to ``file`` (opened with ``newline=""``); returns how many.

    What is missing is empty. A spreadsheet would run a text that begins with ``=``, ``+``, ``-`` or
    ``@`` as a formula: such a prompt gets an apostrophe before it, such a path ``./``. What is
    exact to the letter is in ``scores.parquet``.
    """
    writer = csv.writer(file)
    writer.writerow(CSV_COLUMNS)
    number = 0
    for row in rows:
        writer.writerow([_cell(name, row[name]) for name in CSV_COLUMNS])
        number += 1
    return number


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name == "flags":
        return " ".join(value)
    if isinstance(value, float):
        return f"{value:.9g}"  # nine digits give a float32 back
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return ("./" if name == "path" else "'") + value
    return value
