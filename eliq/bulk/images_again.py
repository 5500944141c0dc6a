"""The bytes of an image that was scored, from its row: a file, or a member of a tar."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .tar_reader import iterate_members, read_member

__all__ = ["read_image_bytes"]


def read_image_bytes(row: Mapping[str, Any]) -> bytes:
    """The file of ``row`` (its ``path`` and ``member``) as it is stored.

    Raises:
        BulkError: it is no longer there.
    """
    path, name = row["path"], row.get("member")
    try:
        if name is None:
            return Path(path).read_bytes()
        for member in iterate_members(path):
            if member.name == name:
                return read_member(path, member.offset, member.size)
    except OSError as error:
        raise BulkError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    raise BulkError(f"{path}: expected a member {name}, found none of that name")
