"""Members of a tar, one header at a time: nothing is unpacked, run, followed or written.

Understood are the ustar, GNU and pax forms of long names and sizes; links, devices and folders
are passed over, sparse and compressed archives refused. Layout: POSIX.1-2017, pax, "ustar
Interchange Format".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ..errors import BulkError

__all__ = ["TarMember", "compression_of", "iterate_members", "read_member"]

_BLOCK = 512
_MOST_HEADER_BYTES = 1 << 20  # of a long name or of pax records
_FILE_TYPES = (b"0", b"\0", b"7")
_PASSED_TYPES = (b"1", b"2", b"3", b"4", b"5", b"6", b"g")
_MAGICS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True)
class TarMember:
    """A regular file in a tar: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def iterate_members(path: str | os.PathLike[str]) -> Iterator[TarMember]:
    """Regular files of a tar, in order.

    Raises:
        BulkError: the archive cannot be read, is cut short, damaged, sparse or compressed.
    """
    try:
        with open(path, "rb") as file:
            yield from _members(file, os.fspath(path), os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise BulkError(
            f"{path}: expected a tar, {(error.strerror or str(error)).lower()}"
        ) from error


def read_member(path: str | os.PathLike[str], offset: int, size: int) -> bytes:
    """The bytes of a member.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(offset)
        return file.read(size)


def compression_of(path: str | os.PathLike[str]) -> str | None:
    """What a file is compressed with, "gzip" for instance; None for one that is not, or cannot be
    read."""
    try:
        with open(path, "rb") as file:
            return _compression(file.read(_BLOCK))
    except OSError:
        return None


def _compression(header: bytes) -> str | None:
    return next((name for magic, name in _MAGICS.items() if header.startswith(magic)), None)


def _members(file: BinaryIO, name: str, file_size: int) -> Iterator[TarMember]:
    position = 0
    long_name: str | None = None
    pax_size: int | None = None
    while True:
        file.seek(position)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):
            return  # the end mark, or an archive that lacks it
        if position == 0 and (compression := _compression(header)):
            raise BulkError(f"{name}: expected a plain tar, found {compression}: unpack it")
        where = f"{name}, byte {position}"
        if len(header) < _BLOCK or not _checksum_fits(header):
            raise BulkError(f"{where}: no tar header: the archive is damaged or cut short")
        kind = header[156:157]
        size = _number(header[124:136], where) if pax_size is None else pax_size
        position += _BLOCK
        if size < 0 or position + size > file_size:
            raise BulkError(f"{where}: a member of {size} bytes reaches past the end: cut short")
        if kind in (b"L", b"x", b"K"):
            if size > _MOST_HEADER_BYTES:
                raise BulkError(f"{where}: a header of {size} bytes: the archive is damaged")
            extra = file.read(size)
            if kind == b"L":
                long_name = _text(extra)
            elif kind == b"x":
                records = _pax_records(extra, where)
                long_name = records.get("path", long_name)
                if "size" in records:
                    pax_size = _decimal(records["size"], where)
                if any(key.startswith("GNU.sparse") for key in records):
                    raise BulkError(f"{where}: sparse members are not supported: pack them plainly")
        else:
            if kind == b"S":
                raise BulkError(f"{where}: sparse members are not supported: pack them plainly")
            if kind in _FILE_TYPES and not (long_name or _text(header[:100])).endswith("/"):
                yield TarMember(long_name or _short_name(header), position, size)
            elif kind not in (*_FILE_TYPES, *_PASSED_TYPES):
                raise BulkError(f"{where}: a member of unknown type {kind!r}")
            long_name = pax_size = None
            if kind in (b"1", b"2", b"3", b"4", b"5", b"6"):
                size = 0  # some writers name the size of what a link points at
        position += -(-size // _BLOCK) * _BLOCK


def _checksum_fits(header: bytes) -> bool:
    stored = header[148:156].strip(b"\0 ")
    try:
        expected = int(stored, 8)
    except ValueError:
        return False
    return expected == sum(header) - sum(header[148:156]) + 8 * 32


def _number(field: bytes, where: str) -> int:
    """Octal text, or GNU's base 256 where the first bit is set."""
    if field[0] & 0x80:
        if field[0] & 0x40:
            raise BulkError(f"{where}: a negative size: the archive is damaged")
        return int.from_bytes(bytes([field[0] & 0x3F]) + field[1:], "big")
    text = field.strip(b"\0 ")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise BulkError(f"{where}: no size: the archive is damaged") from None


def _decimal(text: str, where: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 20:
        raise BulkError(f"{where}: no size: the archive is damaged")
    return int(text)


def _pax_records(extra: bytes, where: str) -> dict[str, str]:
    """``length key=value\\n`` over and over; the length counts itself."""
    records: dict[str, str] = {}
    while extra.strip(b"\0"):
        digits, separator, _ = extra.partition(b" ")
        length = _decimal(_text(digits), where) if separator else 0
        if not len(digits) + 1 < length <= len(extra):
            raise BulkError(f"{where}: damaged pax records")
        key, _, value = extra[len(digits) + 1 : length - 1].partition(b"=")
        records[_text(key)] = _text(value)
        extra = extra[length:]
    return records


def _short_name(header: bytes) -> str:
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    name = _text(header[:100])
    return f"{prefix}/{name}" if prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
