"""A file of JSON lines that grows, and is whole whenever the run is killed.

A line is one write and is synced before `append` returns. A kill leaves at most one torn last line:
`read_journal` leaves it out, and `Journal` cuts it off before it goes on.

    with Journal(folder / "made.jsonl") as made:
        done = {row["id"] for row in made.rows}
        made.append({"id": "a", "path": "a.png"})      # after a.png is in its place
"""

from __future__ import annotations

import json
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from eliq.errors import TrainingError

__all__ = ["Journal", "read_journal", "write_atomically", "write_lines"]

log = logging.getLogger("eliq")


class Journal:
    """Appends rows to `path`; `rows` are those that an earlier run left there.

    Raises:
        TrainingError: on opening, where a line before the last is no JSON object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows: list[dict[str, Any]] = []
        if self.path.exists():
            self.rows, size = _read(self.path)
            if size < self.path.stat().st_size:
                os.truncate(self.path, size)
        # Unbuffered: what a failed write left in a buffer would come back with the next one.
        self._file = open(self.path, "ab", buffering=0)

    def append(self, row: dict[str, Any]) -> None:
        """One row, in one write, on the disk when this returns; files that it names come first.

        Raises:
            OSError: the disk refuses; what a failed write left of the line is cut off again.
        """
        line = _line(row)
        size = self.path.stat().st_size
        try:
            while line:
                line = line[self._file.write(line) :]
            os.fsync(self._file.fileno())
        except OSError:
            os.truncate(self.path, size)
            raise
        self.rows.append(row)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def read_journal(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of a journal, none where there is no such file; a torn last line is left out.

    Raises:
        TrainingError: a line before the last that is no JSON object, by its number.
    """
    path = Path(path)
    return _read(path)[0] if path.exists() else []


def write_lines(path: str | os.PathLike[str], rows: Iterable[dict[str, Any]]) -> None:
    """A whole file of JSON lines at once: the old one, or the new one, never a part."""
    write_atomically(path, b"".join(_line(row) for row in rows))


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Writes beside, syncs, renames: a kill or a full disk leaves the old file as it was.

    Raises:
        OSError: the disk refuses; nothing is left behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(6)}.partial")
    try:
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _line(row: dict[str, Any]) -> bytes:
    # A lone surrogate in a prompt is fine in JSON's own escapes, but not in UTF-8.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The rows, and how many bytes of the file they are."""
    rows, size = [], 0
    content = path.read_bytes()
    for number, line in enumerate(content.splitlines(keepends=True), start=1):
        # A line without its end was torn, even where what is left of it is JSON.
        if not line.endswith(b"\n"):
            log.warning("%s: line %d is torn, left out", path, number)
            break
        try:
            row = json.loads(line) if line.strip() else None
        except ValueError:
            row = line
        if row is not None and not isinstance(row, dict):
            raise TrainingError(f"{path}, line {number}: expected a JSON object, found other text")
        if row is not None:
            rows.append(row)
        size += len(line)
    return rows, size
