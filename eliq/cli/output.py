"""How rows leave the program: JSON lines, a table for people, or bare fields for a script.

Rows go to standard output and nothing else does; messages and progress go to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..shown_text import printable

__all__ = [
    "HumanWriter",
    "JsonWriter",
    "OutputClosed",
    "QuietWriter",
    "RowWriter",
    "emit",
    "message",
]

_BAR_CELLS = 10
_ROW_KEYS = (
    "rank", "path", "visual_quality", "alignment", "aspects", "flags", "status", "error",
    "error_class", "raw", "prompt",
)  # fmt: skip


class OutputClosed(Exception):
    """Whoever read standard output has gone, as ``head`` does: not an error, but the end."""


class RowWriter(Protocol):
    """Takes rows as they are finished; ``finish`` writes what had to wait for all of them."""

    def write(self, row: Mapping[str, Any]) -> None: ...

    def finish(self) -> None: ...


def emit(text: str) -> None:
    """Write ``text`` to standard output at once.

    Raises:
        OutputClosed: nobody reads it any more.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise OutputClosed from error


def message(text: str) -> None:
    """One line to the user, on standard error."""
    sys.stderr.write(f"eliq: {printable(text)}\n")
    sys.stderr.flush()


class JsonWriter:
    """One JSON object a line, flushed at once; a missing number is null, never NaN."""

    def write(self, row: Mapping[str, Any]) -> None:
        ordered = {key: row[key] for key in _ROW_KEYS if key in row}
        text = json.dumps(ordered, ensure_ascii=False, allow_nan=False)
        try:
            text.encode(sys.stdout.encoding or "ascii")
        except UnicodeEncodeError:  # an ASCII terminal, or a file name that is not UTF-8
            text = json.dumps(ordered, ensure_ascii=True, allow_nan=False)
        emit(text + "\n")

    def finish(self) -> None:
        pass


class QuietWriter:
    """Visual quality, alignment and path between tabs; a score that is missing is left empty."""

    def write(self, row: Mapping[str, Any]) -> None:
        fields = [_number(row[name], "") for name in ("visual_quality", "alignment")]
        emit("\t".join([*fields, printable(row["path"])]) + "\n")

    def finish(self) -> None:
        pass


class HumanWriter:
    """A table, drawn when all rows are there."""

    def __init__(self) -> None:
        self._rows: list[Mapping[str, Any]] = []

    def write(self, row: Mapping[str, Any]) -> None:
        self._rows.append(row)

    def finish(self) -> None:
        from rich.console import Console

        if not self._rows:
            return
        # A pipe has no width: wide enough then that paths stay on one line.
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        plain = not (sys.stdout.encoding or "").lower().startswith("utf")
        with console.capture() as capture:
            console.print(_table(self._rows, width=console.width, plain=plain))
        encoding = sys.stdout.encoding or "ascii"
        emit(capture.get().encode(encoding, "replace").decode(encoding))


def _table(rows: Sequence[Mapping[str, Any]], *, width: int, plain: bool) -> Any:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    bars = width >= 76
    notes = any(row["flags"] or row["error"] for row in rows)
    prompts = {row.get("prompt") for row in rows}
    show_prompts = len(prompts - {None}) > 1 and width >= 112
    table = Table(box=None if plain else box.SIMPLE_HEAD, pad_edge=False)
    if "rank" in rows[0]:
        table.add_column("", justify="right", style="dim")
    folder = _common_folder([row["path"] for row in rows])
    table.add_column(Text(printable(folder) or "image"), overflow="fold")
    table.add_column("visual quality", no_wrap=True)
    table.add_column("alignment", no_wrap=True)
    if show_prompts:
        table.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=width // 3)
    if notes:
        table.add_column("notes", overflow="fold")
    for row in rows:
        failed = row["status"] != "ok"
        cells = [Text(str(row["rank"]))] if "rank" in row else []
        path = row["path"][len(folder) :]
        cells.append(Text(printable(path), style="red" if failed else ""))
        cells += [
            _score(row[name], bars=bars, plain=plain) for name in ("visual_quality", "alignment")
        ]
        if show_prompts:
            cells.append(Text(printable(row.get("prompt") or ""), style="dim"))
        if notes:
            note = row["error"] if failed else ", ".join(row["flags"])
            cells.append(Text(printable(note or ""), style="red" if failed else "dim"))
        table.add_row(*cells)
    return table


def _common_folder(paths: Sequence[str]) -> str:
    """The folder that all ``paths`` begin with, with its separator; said once, in the heading."""
    first, last = min(paths), max(paths)
    common = os.path.commonprefix([first, last])
    return common[: common.rfind(os.sep) + 1] if len(paths) > 1 else ""


def _score(score: float | None, *, bars: bool, plain: bool) -> Any:
    from rich.text import Text

    text = Text(_number(score, "-" if plain else "–").ljust(5))
    if score is None or not bars:
        return text
    style = "green" if score >= 0.6 else "yellow" if score >= 0.4 else "red"
    num_full = round(max(0.0, min(1.0, score)) * _BAR_CELLS)
    full, empty = ("#", ".") if plain else ("━", "─")
    return (
        text.append(" ")
        .append(full * num_full, style)
        .append(empty * (_BAR_CELLS - num_full), "bright_black")
    )


def _number(score: float | None, missing: str) -> str:
    return missing if score is None else f"{score:.3f}"
