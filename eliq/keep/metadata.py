"""``metadata.jsonl`` beside images that were taken away, so that `datasets` loads the folder."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bulk import write_file_atomically
from ..bulk.metadata import MetadataLines
from ..errors import BulkError

__all__ = ["FolderMetadata"]

_NAME = "metadata.jsonl"


class FolderMetadata:
    """The metadata of a folder, gathered while images arrive; `write` replaces the file.

    What the file says of other images of the folder stays. Use as a context manager.

    Args:
        root: the folder.

    Raises:
        BulkError: the file that is there is none that this writes.
    """

    def __init__(self, root: Path) -> None:
        self._path = root / _NAME
        self._old = _lines_of(self._path)
        self._file = tempfile.TemporaryFile(dir=root)
        self._lines = MetadataLines(self._file)

    def __enter__(self) -> FolderMetadata:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, place: Path, row: Mapping[str, Any]) -> None:
        """An image that has arrived at ``place``."""
        name = place.relative_to(self._path.parent).as_posix()
        self._old.pop(name, None)
        self._lines.add(os.fsencode(name).decode("utf-8", "backslashreplace"), row)

    def write(self) -> None:
        """Replace the file."""
        for some in self._old.values():
            for line, has_all in some:
                self._lines.add_line(line, has_all=has_all)
        write_file_atomically(self._path, self._lines.write_to)


def _lines_of(path: Path) -> dict[str, list[tuple[bytes, bool]]]:
    """By file, the lines that are of it, each with whether all of its columns are known."""
    found: dict[str, list[tuple[bytes, bool]]] = {}
    if not path.exists():
        return found
    try:
        for line in path.read_bytes().splitlines():
            data = json.loads(line)
            found.setdefault(data["file_name"], []).append((line, None not in data.values()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BulkError(
            f"{path}: expected lines with file_name, found another file; it stays as it is: choose "
            "another folder, or leave --metadata out"
        ) from error
    return found
