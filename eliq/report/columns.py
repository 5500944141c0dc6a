"""The rows of the page as columns of plain JSON, each stored in the shortest of three ways."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..bulk.arrow import pa
from ..shown_text import printable

__all__ = ["page_columns"]

_EXACT = ("visual_quality", "alignment")  # compared with thresholds: not rounded
_MAX_TEXT_CHARS = 4000
_OWN = ("path", "member", "flags", "error_class")  # shown in another form


def page_columns(table: pa.Table, *, run_dir: Path, out_dir: Path) -> dict[str, Any]:
    """Every column of ``table``, and ``folder`` and ``name`` instead of paths, JSON-ready.

    Args:
        table: rows of the run, with the columns of `eliq.bulk.columns.SCHEMA`.
        run_dir: what relative paths are relative to.
        out_dir: where the page will lie; links to images are relative to it.
    """
    columns = {
        name: _shortest([_plain(name, value) for value in table.column(name).to_pylist()])
        for name in table.column_names
        if name not in _OWN
    }
    paths = table.column("path").to_pylist()
    members = table.column("member").to_pylist()
    folders: dict[tuple[str, bool], dict[str, str | None]] = {}
    rows, names = [], []
    for path, member in zip(paths, members, strict=True):
        folder, name = (path + "/", member) if member is not None else _split(path)
        key = (folder, member is not None)
        if key not in folders:
            href = None if member is not None else _href(folder, run_dir, out_dir)
            folders[key] = {"path": folder, "href": href}
        rows.append(key)
        names.append(name)
    order = {key: index for index, key in enumerate(folders)}
    columns["folder"] = {"table": list(folders.values()), "index": [order[key] for key in rows]}
    columns["name"] = _shortest(names)  # as they are: what is taken away must open again
    reasons = table.column("error_class").to_pylist()
    flags = table.column("flags").to_pylist()
    words = [
        (*(some or ()), *([reason] if reason and reason not in (some or ()) else ()))
        for some, reason in zip(flags, reasons, strict=True)
    ]
    columns["flags"] = _shortest(words)
    columns["error_class"] = _shortest(reasons)
    return columns


def _split(path: str) -> tuple[str, str]:
    """The folder with its separator, and the name."""
    name = os.path.basename(path)
    return path[: len(path) - len(name)], name


def _href(folder: str, run_dir: Path, out_dir: Path) -> str:
    """The folder's address, relative to the page where that is possible, percent-encoded."""
    # As the browser will see it: by the names that were used, without following links.
    absolute = os.path.abspath(run_dir / folder)
    try:
        relative = os.path.relpath(absolute, os.path.abspath(out_dir))
    except ValueError:  # another drive
        return Path(absolute).as_uri() + "/"
    # A leading ./ and no unquoted colon: no name can pass for a scheme or a host.
    return "./" + quote(os.fsencode(relative.replace(os.sep, "/"))) + "/"


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if name in _EXACT:
            return value
        # Nine digits give a float32 back, and are what the CSV of `eliq export` has.
        return float(f"{value:.9g}" if name.startswith("aspect_") else f"{value:.4g}")
    if isinstance(value, str):
        return _shown(value)
    return value


def _shown(text: str) -> str:
    """A text without what would steer the direction of a line; lines of a prompt stay."""
    if len(text) > _MAX_TEXT_CHARS:
        more = f" … ({len(text)} characters; all of them are in scores.parquet)"
        text = text[:_MAX_TEXT_CHARS] + more
    if text.isprintable():
        return printable(text)  # some controls of direction count as printable
    return "\n".join(printable(line) for line in text.replace("\r\n", "\n").split("\n"))


def _shortest(values: Sequence[Any]) -> dict[str, Any]:
    """One constant, a table of what occurs with an index a row, or the values themselves."""
    places: dict[Any, int] = {}
    index = [places.setdefault(value, len(places)) for value in values]
    if len(places) == 1:
        return {"constant": _jsonable(values[0])}
    if len(places) <= len(values) * 0.6:
        return {"table": [_jsonable(value) for value in places], "index": index}
    return {"values": [_jsonable(value) for value in values]}


def _jsonable(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
