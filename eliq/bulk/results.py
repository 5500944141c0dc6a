"""What a user takes away: one table, a summary, what failed, and metadata that `datasets` loads.

All are views of the part files, made in one pass over them, part after part, and may be removed
and made again.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .arrow import pq
from .atomic import write_file_atomically
from .columns import SCHEMA
from .fingerprint import RUN_NAME
from .metadata import MetadataLines
from .parts import iterate_rows
from .plan import load_plan
from .score_stats import ScoreStats

__all__ = ["finish_run"]

_ERROR_COLUMNS = ("id", "path", "member", "error_class", "error")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def finish_run(out_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Write ``scores.parquet``, ``errors.csv``, ``metadata.jsonl`` and ``summary.json``.

    Returns:
        The summary: counts, the distribution of both scores, what failed, what was flagged.

    Raises:
        BulkError: a part cannot be read, or the disk refuses.
    """
    folder = Path(out_dir).resolve()
    plan = load_plan(folder)
    cwd = _of_run(folder, "cwd") or ""
    summary = _Summary()

    def write_scores(file: BinaryIO) -> None:
        with ExitStack() as files:
            errors = files.enter_context(_beside(folder / "errors.csv"))
            waiting = files.enter_context(tempfile.TemporaryFile(dir=folder))
            metadata = MetadataLines(waiting)
            errors.write(_csv_line(_ERROR_COLUMNS))
            with pq.ParquetWriter(file, SCHEMA, compression="zstd") as writer:
                for batch in iterate_rows(folder):
                    batch = batch.replace_schema_metadata(None)
                    writer.write_batch(batch)
                    rows = batch.to_pylist()
                    summary.add(rows)
                    errors.write(b"".join(map(_error_line, _failed(rows))))
                    _add_metadata(metadata, rows, folder, cwd)
            write_file_atomically(folder / "metadata.jsonl", metadata.write_to)

    write_file_atomically(folder / "scores.parquet", write_scores)
    result = summary.to_json() | {
        "source": plan.source,
        "kind": plan.kind,
        "num_planned": plan.num_items,
        "num_pending_units": len(plan.pending_units(folder)),
        "num_gone_from_source": plan.num_gone,
        "run": _of_run(folder, "fingerprint"),
    }
    text = json.dumps(result, indent=1, ensure_ascii=True, allow_nan=False) + "\n"
    write_file_atomically(folder / "summary.json", text.encode())
    return result


class _Summary:
    """Counts over all rows, in little memory."""

    def __init__(self) -> None:
        self.num_rows = 0
        self.statuses: Counter[str] = Counter()
        self.error_classes: Counter[str] = Counter()
        self.flags: Counter[str] = Counter()
        self.prompt_sources: Counter[str] = Counter()
        self.scores = {name: ScoreStats() for name in ("visual_quality", "alignment")}

    def add(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self.num_rows += 1
            self.statuses[row["status"]] += 1
            self.flags.update(row["flags"] or ())
            self.prompt_sources[row["prompt_source"] or "none"] += 1
            if row["error_class"] is not None:
                self.error_classes[row["error_class"]] += 1
            for name, stats in self.scores.items():
                if row[name] is not None:
                    stats.add(row[name])

    def to_json(self) -> dict[str, Any]:
        return {
            "num_images": self.num_rows,
            "num_scored": self.statuses["ok"],
            "num_failed": self.num_rows - self.statuses["ok"],
            "errors": dict(self.error_classes.most_common()),
            "flags": dict(self.flags.most_common()),
            "prompt_sources": dict(self.prompt_sources.most_common()),
            **{name: stats.to_json() for name, stats in self.scores.items()},
        }


def _failed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["status"] != "ok"]


def _error_line(row: dict[str, Any]) -> bytes:
    return _csv_line([row[name] or "" for name in _ERROR_COLUMNS])


def _csv_line(fields: Any) -> bytes:
    """A line of CSV; what a spreadsheet would take for a formula gets an apostrophe before it."""
    text = io.StringIO()
    safe = [f"'{field}" if field.startswith(_FORMULA_STARTS) else field for field in fields]
    csv.writer(text, lineterminator="\n").writerow(safe)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _add_metadata(lines: MetadataLines, rows: list[dict[str, Any]], folder: Path, cwd: str) -> None:
    """Of each image that is a file of its own and was scored; ``cwd`` is what paths start from."""
    for row in rows:
        if row["status"] == "ok" and row["member"] is None:
            name = os.path.relpath(os.path.abspath(os.path.join(cwd, row["path"])), folder)
            lines.add(Path(name).as_posix(), row)


@contextmanager
def _beside(path: Path) -> Iterator[BinaryIO]:
    """A file that grows while another one is written; it appears when this block ends well."""
    with tempfile.TemporaryFile(dir=path.parent) as file:
        yield file
        file.seek(0)
        write_file_atomically(path, lambda target: shutil.copyfileobj(file, target))


def _of_run(folder: Path, name: str) -> Any:
    try:
        return json.loads((folder / RUN_NAME).read_bytes())[name]
    except (OSError, ValueError, KeyError, TypeError):
        return None
