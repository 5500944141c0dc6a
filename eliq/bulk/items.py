"""One image of a run: where its bytes lie, and what is known of its prompt before it is opened."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "IMAGE_SUFFIXES",
    "PROMPT_SOURCES",
    "Item",
    "SubPart",
    "items_digest",
    "storable",
    "unstorable",
]

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".jp2", ".ppm",
)  # fmt: skip
PROMPT_SOURCES = ("option", "manifest", "sidecar", "png_a1111", "png_comfyui", "tar")


@dataclass(frozen=True)
class Item:
    """One image to score.

    Attributes:
        id: unique in the run; see `eliq.bulk.columns`.
        path: of the file, or of the tar; may hold what is no UTF-8, as `os.fsdecode` gives it.
        prompt: where the source names one.
        prompt_source: one of `PROMPT_SOURCES`, None where ``prompt`` is.
        has_sidecar: a .txt of the same name lies beside it.
        shard, member: names of the tar and within it.
        offset, size: of the member's bytes in the tar; size None for a plain file.
        problem: why there is nothing to open: the tar itself is damaged.
        flags: what is known of its prompt; of members of a tar alone.
        is_gone: the source no longer has it; a row that it gave stays.
    """

    id: str
    path: str
    prompt: str | None = None
    prompt_source: str | None = None
    has_sidecar: bool = False
    shard: str | None = None
    member: str | None = None
    offset: int = 0
    size: int | None = None
    problem: str | None = None
    flags: tuple[str, ...] = ()
    is_gone: bool = False


@dataclass(frozen=True)
class SubPart:
    """What one part file holds: the unit of what a kill can cost.

    Attributes:
        unit, index: its place in the plan.
        items: in order.
        digest: of the items, by which a part made of other items is known.
        is_last: of its unit.
    """

    unit: int
    index: int
    items: tuple[Item, ...]
    digest: str
    is_last: bool = True

    @property
    def name(self) -> str:
        """Stem of its files; they sort in the order of the plan."""
        return part_name(self.unit, self.index)


def part_name(unit: int, index: int) -> str:
    """As `SubPart.name`."""
    return f"part-{unit:06d}-{index:04d}"


def part_numbers(name: str) -> tuple[int, int] | None:
    """(unit, index) of a name that `part_name` made, None of any other."""
    match = re.fullmatch(r"part-(\d{6,})-(\d{4,})", name)
    return (int(match[1]), int(match[2])) if match else None


def items_digest(items: Sequence[Item]) -> str:
    """sha256 of what decides the scores of ``items`` and is known before they are opened.

    Their paths follow from their ids and the source; how they are written, from where the command
    was started.
    """
    digest = hashlib.sha256()
    for item in items:
        fields = (item.id, item.prompt, item.prompt_source, item.has_sidecar)
        digest.update(repr(fields).encode("utf-8", "backslashreplace") + b"\n")
    return digest.hexdigest()


def storable(text: str | None) -> str | None:
    """``text`` as UTF-8 can hold it: bytes of a file name that are no text become escapes."""
    if text is None or text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def unstorable(text: str) -> str:
    """The file name of which `storable` made ``text``, if its escapes are those of odd bytes."""
    return re.sub(r"\\u(dc[89a-f][0-9a-f])", lambda match: chr(int(match[1], 16)), text)
