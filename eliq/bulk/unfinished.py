"""The scored beginning of a part whose scoring was interrupted, kept so that nothing is lost.

Windows follow from the images before them, so a part that goes on behind its last finished window
ends as if it had never been interrupted. A kill without warning leaves no such file, and costs
the part.
"""

from __future__ import annotations

import io
from pathlib import Path

from .arrow import pa, pq
from .atomic import write_file_atomically
from .columns import SCHEMA
from .items import SubPart
from .rows import Columns

__all__ = ["forget_beginning", "keep_beginning", "read_beginning"]

_FOLDER = "unfinished"
_KEY = b"eliq.unfinished"


def keep_beginning(
    folder: Path, subpart: SubPart, columns: Columns, thumbnails: list[bytes | None] | None
) -> None:
    """Keep the rows of the windows that are finished.

    Raises:
        BulkError: the disk refuses.
    """
    schema = SCHEMA.append(pa.field("thumbnail", pa.binary()))
    schema = schema.with_metadata({_KEY: subpart.digest.encode()})
    pictures = [None] * len(columns["id"]) if thumbnails is None else thumbnails
    table = pa.table([*(columns[name] for name in SCHEMA.names), pictures], schema=schema)
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    path = _path(folder, subpart)
    path.parent.mkdir(exist_ok=True)
    write_file_atomically(path, buffer.getbuffer())


def read_beginning(folder: Path, subpart: SubPart) -> tuple[Columns, list[bytes | None]] | None:
    """What `keep_beginning` kept of the same images, or None."""
    path = _path(folder, subpart)
    if not path.exists():
        return None
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError):
        return None
    if (table.schema.metadata or {}).get(_KEY) != subpart.digest.encode():
        return None
    if table.num_rows > len(subpart.items):
        return None
    columns = {name: table[name].to_pylist() for name in SCHEMA.names}
    return columns, table["thumbnail"].to_pylist()


def forget_beginning(folder: Path, subpart: SubPart) -> None:
    """Remove it: the part is whole."""
    _path(folder, subpart).unlink(missing_ok=True)


def _path(folder: Path, subpart: SubPart) -> Path:
    return folder / _FOLDER / f"{subpart.name}.parquet"
