"""``metadata.jsonl`` of images and their scores, in the form that `datasets` reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any, BinaryIO

__all__ = ["METADATA_COLUMNS", "MetadataLines"]

METADATA_COLUMNS = ("prompt", "visual_quality", "alignment", "flags")


class MetadataLines:
    """Collects one line of JSON an image; what is missing is null, flags are words in one text.

    `datasets` tells the type of a column from the first ten megabytes, and fails over a number
    after so many nulls: an image that has all columns is put first. (Flags are one text because a
    list that is empty so long has no type either.)

    Args:
        file: where lines wait, a temporary one.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._first: bytes | None = None

    def add(self, file_name: str, row: Mapping[str, Any]) -> None:
        """One image, by its path from where the metadata will lie."""
        data = {"file_name": file_name} | {name: row[name] for name in METADATA_COLUMNS}
        data["flags"] = " ".join(data["flags"] or ())
        text = json.dumps(data, ensure_ascii=False, allow_nan=False)
        self.add_line(text.encode(), has_all=None not in data.values())

    def add_line(self, line: bytes, *, has_all: bool) -> None:
        """A line that is there already."""
        if has_all and self._first is None:
            self._first = line
        else:
            self._file.write(line + b"\n")

    def write_to(self, target: BinaryIO) -> None:
        """All of them."""
        if self._first is not None:
            target.write(self._first + b"\n")
        self._file.seek(0)
        shutil.copyfileobj(self._file, target)
