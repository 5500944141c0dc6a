"""The thumbnails of the rows shown: inside the page while that stays small, else beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

__all__ = ["MAX_INLINE_BYTES", "PER_CHUNK", "Thumbnails", "collect_thumbnails"]

MAX_INLINE_BYTES = 16 * 2**20  # of JPEG: some 3,000 images, and the page still opens at once
PER_CHUNK = 100  # thumbnails in one block of the page
_PER_FOLDER = 1000


@dataclass
class Thumbnails:
    """Where the page finds the thumbnail of a row.

    Attributes:
        mode: "inline", "files" or "none".
        missing: rows of the page that have none.
        inline: a JPEG a row, for "inline".
    """

    mode: str = "none"
    missing: list[int] = field(default_factory=list)
    inline: list[bytes | None] = field(default_factory=list)

    def blocks(self) -> Iterator[str]:
        """Blocks of the page with PER_CHUNK thumbnails each, a line of base64 a row."""
        for number, start in enumerate(range(0, len(self.inline), PER_CHUNK)):
            some = self.inline[start : start + PER_CHUNK]
            lines = "\n".join(base64.b64encode(jpeg or b"").decode("ascii") for jpeg in some)
            yield f'<script type="text/plain" id="thumbnails-{number}">{lines}</script>\n'


def collect_thumbnails(
    parts: Iterable[list[bytes | None]], rows: np.ndarray, folder: Path, *, max_inline_bytes: int
) -> Thumbnails:
    """The thumbnails at the positions ``rows`` (ascending) of all ``parts``.

    As soon as they are more than ``max_inline_bytes`` they are written into ``folder``, as
    ``<row // 1000>/<row>.jpg``; nothing is written before.
    """
    found = Thumbnails(mode="inline")
    size = 0
    for row, jpeg in enumerate(_chosen(parts, rows)):
        if not jpeg:
            found.missing.append(row)
        size += len(jpeg or b"")
        if found.mode == "inline":
            found.inline.append(jpeg)
            if size > max_inline_bytes:
                found.mode = "files"
                for earlier, one in enumerate(found.inline):
                    _write(folder, earlier, one)
                found.inline = []
        else:
            _write(folder, row, jpeg)
    if size == 0:
        return Thumbnails()
    return found


def _chosen(parts: Iterable[list[bytes | None]], rows: np.ndarray) -> Iterator[bytes | None]:
    start = 0
    given = 0
    for part in parts:
        after = int(np.searchsorted(rows, start + len(part)))
        for position in rows[given:after]:
            yield part[position - start]
        start, given = start + len(part), after
    yield from [None] * (len(rows) - given)


def _write(folder: Path, row: int, jpeg: bytes | None) -> None:
    if not jpeg:
        return
    path = folder / str(row // _PER_FOLDER) / f"{row}.jpg"
    if row % _PER_FOLDER == 0 or not path.parent.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg)
