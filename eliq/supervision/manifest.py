"""Manifests: JSON lines of tuples (`manifest.jsonl`) and of ladders (`ladders.jsonl`).

A line is written after the images that it names exist, and in one write: a killed run leaves at
most one torn last line, which readers drop and the next run mends.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import SupervisionError
from .rows import LadderRow, TupleRow

__all__ = [
    "LADDERS_NAME",
    "MANIFEST_NAME",
    "ManifestWriter",
    "check_matched",
    "read_ladders",
    "read_manifest",
]

MANIFEST_NAME = "manifest.jsonl"
LADDERS_NAME = "ladders.jsonl"
_log = logging.getLogger("eliq")


def read_manifest(path: str | os.PathLike) -> list[TupleRow]:
    """Reads the tuples of a manifest, image paths joined with its folder.

    Args:
        path: a `manifest.jsonl`, or the folder that holds one.

    Raises:
        SupervisionError: no such file, or a line that is no valid tuple, by its number. A torn last
            line, as a killed run leaves it, is dropped with a warning.
    """
    path = _inside(path, MANIFEST_NAME)
    rows = []
    for row in _read(path, TupleRow):
        rows.append(
            replace(
                row,
                positive=_joined(path, row.positive),
                technical=replace(row.technical, path=_joined(path, row.technical.path)),
                aesthetic=replace(row.aesthetic, path=_joined(path, row.aesthetic.path)),
            )
        )
    return rows


def read_ladders(path: str | os.PathLike) -> list[LadderRow]:
    """Reads the ladders of a `ladders.jsonl` (or of its folder); as `read_manifest`."""
    path = _inside(path, LADDERS_NAME)
    rows = []
    for row in _read(path, LadderRow):
        steps = tuple(replace(step, path=_joined(path, step.path)) for step in row.steps)
        rows.append(replace(row, positive=_joined(path, row.positive), steps=steps))
    return rows


def check_matched(path: str | os.PathLike) -> int:
    """Proves that positives and negatives differ neither in size nor in codec.

    Opens every image that the manifest (and the ladders beside it) names and compares its format,
    mode, size and, for JPEG, quantisation tables with those of its row and of its positive.

    Args:
        path: a `manifest.jsonl`, a `ladders.jsonl`, or the folder that holds them.

    Returns:
        The number of different image files compared.

    Raises:
        SupervisionError: the first row that is not matched, with what differs.
    """
    path = Path(path)
    rows: list[TupleRow | LadderRow] = []
    if path.name == LADDERS_NAME or (path.is_dir() and (path / LADDERS_NAME).exists()):
        rows += read_ladders(path)
    if path.name != LADDERS_NAME and (path.is_file() or (path / MANIFEST_NAME).exists()):
        rows += read_manifest(path)
    if not rows:
        raise SupervisionError(f"{path}: no tuples and no ladders to check")
    seen: dict[str, tuple] = {}
    for row in rows:
        row_id = row.tuple_id if isinstance(row, TupleRow) else row.ladder_id
        codec = "JPEG" if row.codec.startswith("jpeg") else "PNG"
        expected = (codec, "RGB", row.size)
        for image_path in row.paths:
            if image_path not in seen:
                seen[image_path] = _header(image_path)
            found = seen[image_path]
            if found[:3] != expected:
                raise SupervisionError(
                    f"{row_id}: {image_path} is {_said(found)}, its row says {_said(expected)}"
                )
            if found[3] != seen[row.positive][3]:
                raise SupervisionError(
                    f"{row_id}: {image_path} is coded at another JPEG quality than its positive"
                )
    return len(seen)


class ManifestWriter:
    """Appends rows to one JSON lines file; knows the ids that an earlier run left there.

    Raises:
        SupervisionError: on opening, where the file holds a line that is no valid row.
    """

    def __init__(self, path: Path, row_type: type[TupleRow] | type[LadderRow]) -> None:
        self.path = path
        self.ids: set[str] = set()
        if path.exists():
            self.ids = {_row_id(row) for row in _read(path, row_type)}
            _drop_torn_line(path)
        self._file = open(path, "ab")

    def append(self, row: TupleRow | LadderRow) -> None:
        """One row, in one write; its images must already exist."""
        self._file.write(json.dumps(row.to_json(), ensure_ascii=False).encode() + b"\n")
        self._file.flush()
        self.ids.add(_row_id(row))

    def close(self) -> None:
        self._file.close()


def _row_id(row: TupleRow | LadderRow) -> str:
    return row.tuple_id if isinstance(row, TupleRow) else row.ladder_id


def _inside(path: str | os.PathLike, name: str) -> Path:
    path = Path(path)
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise SupervisionError(
            f"{path}: no such manifest; make one with python -m training.build_supervision"
        )
    return path


def _joined(manifest: Path, relative: str) -> str:
    return str(manifest.parent / relative)


def _read(path: Path, row_type: type) -> Iterator[Any]:
    lines = path.read_bytes().split(b"\n")
    torn = len(lines) if lines[-1] else None
    seen: set[str] = set()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
        except ValueError:
            if number == torn:
                _log.warning("%s: line %d is torn, left out", path, number)
                return
            raise SupervisionError(f"{path}, line {number}: not JSON") from None
        try:
            row = row_type.from_json(data)
        except SupervisionError as error:
            raise SupervisionError(f"{path}, line {number}: {error}") from None
        if _row_id(row) in seen:
            raise SupervisionError(f"{path}, line {number}: {_row_id(row)!r} occurs twice")
        seen.add(_row_id(row))
        yield row


def _drop_torn_line(path: Path) -> None:
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        tail = content[content.rfind(b"\n") + 1 :]
        try:
            json.loads(tail)
        except ValueError:
            os.truncate(path, len(content) - len(tail))
        else:
            with open(path, "ab") as file:
                file.write(b"\n")


def _header(path: str) -> tuple:
    """(format, mode, (height, width), JPEG tables or None)."""
    try:
        with Image.open(path) as image:
            tables = getattr(image, "quantization", None)
            return (image.format, image.mode, (image.height, image.width), tables)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise SupervisionError(f"{path}: missing or no readable image") from None


def _said(header: tuple) -> str:
    codec, mode, (height, width) = header[:3]
    return f"{codec} {mode} of {height}x{width} px"
