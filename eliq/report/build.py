"""Builds ``report.html`` from what a run has written so far."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..bulk import iterate_rows, iterate_thumbnails, write_file_atomically
from ..bulk.arrow import pa
from ..bulk.columns import SCHEMA
from ..errors import BulkError, ConfigError
from ..shown_text import one_line
from .columns import page_columns
from .flag_words import FLAG_WORDS
from .page import page_pieces
from .survey import SURVEY_COLUMNS, Survey, survey_rows
from .thumbnails import MAX_INLINE_BYTES, PER_CHUNK, Thumbnails, collect_thumbnails

__all__ = ["build_report"]

MAX_ROWS = 20_000
# By how much a score may change with the batch that it is computed in (measured: docs/report.md).
_NOISE = {"float16": 6e-4, "bfloat16": 4.5e-3}
_FILES = "report_files"


def build_report(
    out_dir: str | os.PathLike[str],
    *,
    max_rows: int = MAX_ROWS,
    max_inline_bytes: int = MAX_INLINE_BYTES,
) -> Path:
    """Write ``out_dir/report.html`` from the finished parts of a run; returns its path.

    The page appears whole or not at all. Images are never read: thumbnails come from the run, and
    originals are linked by relative path.

    Args:
        out_dir: the directory of the run.
        max_rows: of a larger run a random sample of this many rows is shown, with the extremes of
            both scores; histograms and counts stay those of the whole run.
        max_inline_bytes: up to this size all thumbnails lie inside the page; more of them lie
            beside it, in ``report_files/``, and move with it.

    Raises:
        BulkError: no run, or no finished part of one; the disk refuses.
        ConfigError: ``max_rows`` below 1.
    """
    if max_rows < 1:
        raise ConfigError(f"max_rows: expected 1 or more, found {max_rows}")
    folder = Path(out_dir)
    run = _run_of(folder)
    survey = survey_rows(iterate_rows(folder, list(SURVEY_COLUMNS)), max_rows)
    if survey.num_images == 0:
        raise BulkError(f"{folder} has no finished part yet: let eliq run finish one first")
    table = _take(folder, survey.rows)
    columns = page_columns(table, run_dir=Path(run.get("cwd") or "."), out_dir=folder)
    digest = hashlib.sha256(json.dumps(columns).encode("utf-8", "replace")).hexdigest()[:12]
    thumbnails = collect_thumbnails(
        (part for _, part in iterate_thumbnails(folder)),
        survey.rows,
        folder / _FILES / digest,
        max_inline_bytes=max_inline_bytes,
    )
    data = _page_data(folder, survey, columns, thumbnails, f"{_FILES}/{digest}")
    title = f"ELIQ report: {one_line(folder.resolve().name)}"
    target = folder / "report.html"

    def write(file: BinaryIO) -> None:
        for piece in page_pieces(title, data, thumbnails.blocks()):
            file.write(piece.encode("utf-8", "replace"))

    write_file_atomically(target, write)
    _remove_others(folder / _FILES, digest if thumbnails.mode == "files" else None)
    return target


def _run_of(folder: Path) -> dict[str, Any]:
    path = folder / "run.json"
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BulkError(f"{folder} is not the directory of a run: it has no run.json") from error
    except (OSError, ValueError) as error:
        raise BulkError(f"{path} cannot be read: expected the JSON that eliq run wrote") from error
    if not isinstance(run, dict):
        raise BulkError(f"{path}: expected the JSON object that eliq run wrote")
    return run


def _source_of(folder: Path) -> str | None:
    """What was scored, as the run's plan names it; a page without that is a page all the same."""
    try:
        source = json.loads((folder / "plan.json").read_text(encoding="utf-8"))["source"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Its name only: a page is given to others, and they need not know one's folders.
    return os.path.basename(source.rstrip("/\\")) or None if isinstance(source, str) else None


def _take(folder: Path, rows: np.ndarray) -> pa.Table:
    """The rows at these positions, with all columns."""
    start = given = 0
    chosen = []
    for batch in iterate_rows(folder):
        after = int(np.searchsorted(rows, start + batch.num_rows))
        if after > given:
            chosen.append(batch.take(pa.array(rows[given:after] - start)))
        start, given = start + batch.num_rows, after
    return pa.Table.from_batches(chosen, schema=chosen[0].schema if chosen else SCHEMA)


def _page_data(
    folder: Path,
    survey: Survey,
    columns: dict[str, Any],
    thumbnails: Thumbnails,
    files: str,
) -> dict[str, Any]:
    dtype = columns["dtype"].get("constant")
    is_sample = len(survey.rows) < survey.num_images
    return {
        "format": "eliq-report",
        "version": 1,
        "num_rows": len(survey.rows),
        "about": {
            "line": _about(_source_of(folder), columns, survey),
            "directory": shlex.quote(one_line(os.fspath(folder))),
            "dtype": dtype or "several number formats",
            "noise": _NOISE.get(str(dtype), 0.0),
        },
        "totals": {
            "images": survey.num_images,
            "failed": survey.num_failed,
            "flags": dict(survey.words),
        },
        "histograms": {name: survey.histogram(name) for name in ("visual_quality", "alignment")},
        "joint": survey.joint_cells() if is_sample else [],
        "words": {word: FLAG_WORDS[word] for word in survey.words if word in FLAG_WORDS},
        "thumbnails": {
            "mode": thumbnails.mode,
            "folder": files,
            "per_chunk": PER_CHUNK,
            "missing": thumbnails.missing,
        },
        "columns": columns,
    }


def _about(source: str | None, columns: dict[str, Any], survey: Survey) -> str:
    """One line under the heading: what was scored, by what, in what numbers."""
    number = survey.num_images
    parts = [f"{number:,} image{'' if number == 1 else 's'}"]
    if source:
        parts[0] += f" from {one_line(source)}"
    for name, words in (("model_id", "scored by {}"), ("dtype", "{}"), ("lib_version", "eliq {}")):
        value = columns[name].get("constant")
        if value:
            parts.append(words.format(one_line(str(value))))
    return " · ".join(parts)


def _remove_others(folder: Path, keep: str | None) -> None:
    """Remove thumbnails of earlier pages; what else lies there is not ours."""
    if not folder.is_dir():
        return
    for other in folder.iterdir():
        if re.fullmatch(r"[0-9a-f]{12}", other.name) and other.name != keep:
            shutil.rmtree(other, ignore_errors=True)
    if keep is None and not any(folder.iterdir()):
        folder.rmdir()
