"""The bytes of an image that was scored, from its row: a file, or a member of a tar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .items import storable
from .tar_reader import iterate_members, read_member

__all__ = ["read_image_bytes"]


def read_image_bytes(row: Mapping[str, Any]) -> bytes:
    """The file of ``row`` as it is stored: its ``path``, or there the ``member`` that its ``id``
    and ``shard`` tell from others of the same name.

    Raises:
        BulkError: it is no longer there.
    """
    path, name = row["path"], row.get("member")
    try:
        if name is None:
            return Path(path).read_bytes()
        number = _ordinal(row, name)
        for member in iterate_members(path):
            if storable(member.name) == name:
                number -= 1
                if not number:
                    return read_member(path, member.offset, member.size)
    except OSError as error:
        raise BulkError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    raise BulkError(f"{path}: expected a member {name}, found none of that name")


def _ordinal(row: Mapping[str, Any], name: str) -> int:
    """Which of the members of that name it is, counted from 1; see `eliq.bulk.tars`."""
    rest = str(row.get("id") or "").removeprefix(f"{row.get('shard')}/{name}")
    return int(rest[1:]) if re.fullmatch(r"#\d{1,9}", rest) else 1
