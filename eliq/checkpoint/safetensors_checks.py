"""Checks of a safetensors file that read its header only: nothing is allocated, nothing executed.

A safetensors file is 8 bytes (little-endian length of the header), the header (JSON: tensor name
-> dtype, shape, data_offsets) and the bytes of the tensors. The format is legal with a header of
100 MB, which costs half a minute and gigabytes to parse, and says nothing about which tensors a
model expects. So the length is capped before the header is read, the offsets must tile the file
exactly, and names, shapes and dtypes must equal a closed table that the caller derives from the
configuration.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from ..errors import CheckpointError

__all__ = [
    "TensorEntry",
    "check_table",
    "contained_file",
    "header_cap_bytes",
    "read_header",
    "read_json",
    "refuse_pickles",
]

SMALL_HEADER_BYTES = 1 << 20
LARGE_HEADER_BYTES = 16 << 20
DTYPE_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
MAX_DIMENSIONS = 8


@dataclass(frozen=True)
class TensorEntry:
    """Shape and dtypes of one tensor: as found (one dtype), or as expected (those allowed)."""

    shape: tuple[int, ...]
    dtypes: tuple[str, ...]


def header_cap_bytes(num_tensors: int) -> int:
    """Largest header accepted for a file of `num_tensors` tensors: 1 MiB, for giants up to 16."""
    return min(max(SMALL_HEADER_BYTES, 512 * num_tensors), LARGE_HEADER_BYTES)


def contained_file(directory: Path, name: str, *, root: Path | None = None) -> Path:
    """The regular file `name` directly inside `directory`, links resolved.

    `root` (default: `directory`) is the folder that the file must still lie in after links are
    resolved; the hub's cache links its snapshots to blobs two folders up.

    Raises:
        CheckpointError: the name has a path in it, or the file is missing, is not a regular
            file, or is a link that leaves `root`.
    """
    if not name or name in (".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise CheckpointError(
            f"expected the plain name of a file inside {directory}, found {name!r}, which reaches "
            "elsewhere: do not use this checkpoint, or correct its config.json"
        )
    path = directory / name
    try:
        resolved = path.resolve(strict=True)
        is_regular = stat.S_ISREG(os.stat(resolved).st_mode)
    except (OSError, RuntimeError):
        raise CheckpointError(
            f"expected the file {name} in {directory}, found none that can be read: "
            "the checkpoint is incomplete, copy or download it again"
        ) from None
    if not resolved.is_relative_to((root or directory).resolve()):
        raise CheckpointError(
            f"expected {path} to lie inside the checkpoint, found a link that leaves it: "
            "replace the link by the file itself"
        )
    if not is_regular:
        raise CheckpointError(f"expected a regular file at {path}, found something else: remove it")
    return resolved


def refuse_pickles(directory: Path) -> None:
    """Raise CheckpointError where `directory` holds a file of a pickled kind, used or not."""
    found = sorted(p.name for p in directory.iterdir() if p.suffix.lower() in PICKLE_SUFFIXES)
    if found:
        raise CheckpointError(
            f"expected safetensors only in {directory}, found {found[0]}, a pickled format that "
            "can run code when loaded: convert it to safetensors, or remove it"
        )


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key occurs twice")
    return members


def _refuse_constant(word: str) -> float:
    raise ValueError("NaN and infinity are not JSON")


def _parse_object(text: bytes, what: str) -> dict[str, Any]:
    try:
        parsed = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_object_without_duplicates,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError):
        parsed = None
    if not isinstance(parsed, dict):
        raise CheckpointError(
            f"expected {what} to be one JSON object with keys that occur once, found something "
            "else: the file is damaged, copy or download it again"
        )
    return parsed


def read_json(path: Path, *, max_bytes: int = SMALL_HEADER_BYTES) -> dict[str, Any]:
    """The JSON object in `path`, refused above `max_bytes`, with duplicate keys, or nested madly.

    Raises:
        CheckpointError: as above.
    """
    try:
        with path.open("rb") as file:
            text = file.read(max_bytes + 1)
    except OSError:
        raise CheckpointError(f"expected to read {path}, found it unreadable") from None
    if len(text) > max_bytes:
        raise CheckpointError(
            f"expected at most {max_bytes} bytes in {path}, found more: this is no file of ours"
        )
    return _parse_object(text, str(path))


def read_header(path: Path, *, max_header_bytes: int) -> dict[str, TensorEntry]:
    """Tensor name -> shape and dtype of a safetensors file, its header and size fully checked.

    Raises:
        CheckpointError: not a safetensors file, a header longer than `max_header_bytes`, entries
            of a wrong form, or offsets that overlap, leave holes or end elsewhere than the file.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(8)
        if first[:4] == b"PK\x03\x04" or (first[:1] == b"\x80" and first[1:2] in b"\2\3\4\5"):
            raise CheckpointError(
                f"expected safetensors in {path}, found a pickle or a zip archive, which can run "
                "code when loaded: convert it to safetensors"
            )
        length = int.from_bytes(first, "little")
        if len(first) < 8 or length > size - 8:
            raise CheckpointError(
                f"expected a whole safetensors file at {path}, found {size} bytes, which its "
                "header does not fit in: the file is cut off or of another format, get it again"
            )
        if length > max_header_bytes:
            raise CheckpointError(
                f"expected a header of at most {max_header_bytes} bytes in {path}, found {length}: "
                "no checkpoint of this kind needs that, do not use it"
            )
        header = _parse_object(file.read(length), f"the header of {path}")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise CheckpointError(
            f"expected __metadata__ of {path} to be an object: damaged, get it again"
        )
    spans: list[tuple[int, int]] = []
    table: dict[str, TensorEntry] = {}
    for name, entry in header.items():
        table[name], span = _entry(path, name, entry)
        spans.append(span)
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise CheckpointError(
                f"expected the tensors of {path} to follow one another, found data_offsets that "
                f"overlap or leave a hole at byte {min(begin, position)}: do not use this file"
            )
        position = end
    if position != size - 8 - length:
        raise CheckpointError(
            f"expected {position} bytes of tensors in {path}, found {size - 8 - length}: "
            "the file is cut off or has something appended, get it again"
        )
    return table


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0  # bool is an int to isinstance


def _entry(path: Path, name: str, entry: Any) -> tuple[TensorEntry, tuple[int, int]]:
    """One checked header entry and its byte span."""
    if isinstance(entry, dict) and set(entry) == {"dtype", "shape", "data_offsets"}:
        dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
        well_formed = (
            isinstance(dtype, str)
            and isinstance(shape, list)
            and len(shape) <= MAX_DIMENSIONS
            and all(_is_count(n) for n in shape)
            and isinstance(offsets, list)
            and len(offsets) == 2
            and all(_is_count(n) for n in offsets)
        )
        if well_formed and dtype not in DTYPE_BYTES:
            raise CheckpointError(
                f"expected tensors of {', '.join(DTYPE_BYTES)} in {path}, found {dtype[:20]!r}: "
                "export the checkpoint in one of these"
            )
        if well_formed and offsets[1] - offsets[0] == prod(shape) * DTYPE_BYTES[dtype]:
            return TensorEntry(tuple(shape), (dtype,)), (offsets[0], offsets[1])
    raise CheckpointError(
        f"expected tensor {name[:80]!r} of {path} to have a dtype, a shape and data_offsets that "
        "agree, found otherwise: do not use this file"
    )


def check_table(
    found: Mapping[str, TensorEntry], expected: Mapping[str, TensorEntry], *, where: str
) -> None:
    """Raise CheckpointError unless `found` has exactly the tensors of `expected`."""

    def some(names: Collection[str]) -> str:
        first = ", ".join(name[:80] for name in sorted(names)[:3])
        return f"{first} and {len(names) - 3} more" if len(names) > 3 else first

    what_to_do = "the weights do not belong to this config.json, get both again"
    if missing := expected.keys() - found.keys():
        raise CheckpointError(
            f"expected tensor {some(missing)} in {where}, found none: {what_to_do}"
        )
    if unknown := found.keys() - expected.keys():
        raise CheckpointError(
            f"expected the {len(expected)} tensors of the configuration in {where}, found also "
            f"{some(unknown)}: {what_to_do}"
        )
    for name, entry in found.items():
        wanted = expected[name]
        if entry.shape != wanted.shape:
            raise CheckpointError(
                f"expected shape {list(wanted.shape)} of {name} in {where}, found "
                f"{list(entry.shape)}: {what_to_do}"
            )
        if entry.dtypes[0] not in wanted.dtypes:
            raise CheckpointError(
                f"expected {' or '.join(wanted.dtypes)} for {name} in {where}, found "
                f"{entry.dtypes[0]}: export the checkpoint again"
            )
