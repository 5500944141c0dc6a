"""The bytes of images that were scored, from their rows: a file, or a member of a tar."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .items import storable
from .tar_reader import TarMember, iterate_members, read_member

__all__ = ["ImageReader", "read_image_bytes"]


class ImageReader:
    """Reads the files of rows, one row after another.

    Where the rows of a tar follow each other, as they do in a run, its headers are read once for
    all of them: n members cost n headers, not n for each. The places of one tar's members are held,
    no more.
    """

    def __init__(self) -> None:
        self._tar: _Tar | None = None

    def read(self, row: Mapping[str, Any]) -> bytes:
        """The file of ``row`` as it is stored: its ``path``, or there the ``member`` that its
        ``id`` and ``shard`` tell from others of the same name.

        Raises:
            BulkError: it is no longer there.
        """
        path, name = row["path"], row.get("member")
        try:
            if name is None:
                return Path(path).read_bytes()
            if self._tar is None or self._tar.path != path:
                self._tar = _Tar(path)
            member = self._tar.member(name, _ordinal(row, name))
            return read_member(path, member.offset, member.size)
        except OSError as error:
            raise BulkError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error


def read_image_bytes(row: Mapping[str, Any]) -> bytes:
    """The file of one row; for many rows see `ImageReader`.

    Raises:
        BulkError: it is no longer there.
    """
    return ImageReader().read(row)


class _Tar:
    """Where the members of a tar lie, as far as it was asked for them."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._members = iterate_members(path)
        self._places: dict[str, list[TarMember]] = {}
        self._problem: BulkError | None = None

    def member(self, name: str, number: int) -> TarMember:
        """The member ``name``, the ``number``-th of those that are called so, from 1."""
        while len(found := self._places.get(name, [])) < number:
            if self._problem is not None:
                raise self._problem
            try:
                member = next(self._members, None)
            except BulkError as error:  # it is damaged here: nothing behind this can be found
                self._problem = error
                raise
            if member is None:
                raise BulkError(f"{self.path}: expected a member {name}, found none of that name")
            self._places.setdefault(storable(member.name), []).append(member)
        return found[number - 1]


def _ordinal(row: Mapping[str, Any], name: str) -> int:
    """Which of the members of that name it is, counted from 1; see `eliq.bulk.tars`."""
    rest = str(row.get("id") or "").removeprefix(f"{row.get('shard')}/{name}")
    return int(rest[1:]) if re.fullmatch(r"#[1-9]\d{0,8}", rest) else 1
