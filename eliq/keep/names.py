"""Where a kept image goes: a name inside the target, whatever the image was called."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

__all__ = ["numbered", "relative_name"]

_MOST_BYTES = 200  # of one name: room for a number, and for what a sidecar appends, within 255
_ODD_BYTE = re.compile(r"\\udc[89a-f][0-9a-f]")  # of a file name that is no UTF-8, as rows have it
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)")


def relative_name(row: Mapping[str, Any], *, flat: bool = False) -> Path:
    """A relative path for the image of ``row``, like its id, that stays inside the target.

    Ids come from manifests and archives that nobody vouches for: ``..``, roots, drives and
    characters that a file system refuses do not survive. Letters of all scripts do.

    Args:
        flat: the name alone, without folders.
    """
    ident = str(row["id"])
    duplicate = re.search(r"#\d+$", ident)  # the second row of one file
    suffix = PurePosixPath(str(row["member"] or row["path"])).suffix
    if duplicate and suffix and ident[: duplicate.start()].endswith(suffix):
        ident = ident[: duplicate.start()]
    ident = _ODD_BYTE.sub("_", ident)
    words = [_safe(word) for word in re.split(r"[/\\]", ident)]
    words = [word for word in words if word]
    if not words:
        words = ["image"]
    return Path(words[-1]) if flat else Path(*words)


def numbered(path: Path) -> Iterator[Path]:
    """``a.png``, ``a~2.png``, ``a~3.png`` ...: the first that is free, or right, is used."""
    yield path
    number = 2
    while True:
        yield path.with_name(f"{path.stem}~{number}{path.suffix}")
        number += 1


def _safe(word: str) -> str:
    word = re.sub(r'[\x00-\x1f\x7f<>:"|?*]', "_", word).strip()
    word = word.rstrip(". ")  # Windows drops them; "." and ".." end here too
    if _RESERVED.match(word):
        word = f"_{word}"
    encoded = os.fsencode(word)
    if len(encoded) > _MOST_BYTES:
        stem, suffix = os.path.splitext(word)
        digest = hashlib.sha256(encoded).hexdigest()[:12]
        suffix = suffix if len(os.fsencode(suffix)) <= 16 else ""
        room = _MOST_BYTES - len(os.fsencode(suffix)) - len(digest) - 1
        word = os.fsencode(stem)[:room].decode("utf-8", "ignore") + f"-{digest}{suffix}"
    return word
