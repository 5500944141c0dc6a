"""The tars of a run, each a unit of work, in an order that outlasts what comes and goes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..errors import BulkError
from .tars import count_images

__all__ = ["TarUnit", "limited_tars", "merged_tars"]


@dataclass(frozen=True)
class TarUnit:
    """A tar: where it is, its name in the result, and how many of its images are wanted.

    Attributes:
        take: only the first so many images; None = all.
        is_gone: the source no longer has it; the rows that it gave stay.
    """

    path: str
    shard: str
    take: int | None = None
    is_gone: bool = False


def limited_tars(tars: Iterable[TarUnit], limit: int | None) -> list[TarUnit]:
    """The tars that hold the first ``limit`` images; only these are opened."""
    found: list[TarUnit] = []
    for tar in tars:
        if limit is not None:
            if limit <= 0:
                break
            count = count_images(tar.path, at_most=limit + 1)
            tar = replace(tar, take=limit if count > limit else None)
            limit -= count
        found.append(tar)
    return found


def merged_tars(
    old: Sequence[TarUnit], found: Sequence[TarUnit], *, cwd: str, limit: int | None
) -> tuple[TarUnit, ...]:
    """Every tar of an earlier plan in its old place, new ones behind: finished parts stay theirs.

    Args:
        cwd: what the paths of ``old`` are relative to.

    Raises:
        BulkError: ``limit`` is below what is planned already.
    """
    by_path = {os.path.abspath(tar.path): tar for tar in found}
    merged: list[TarUnit] = []
    for tar in old:
        new = by_path.pop(os.path.abspath(os.path.join(cwd, tar.path)), None)
        if limit is not None and not tar.is_gone and _takes_less(new, tar):
            raise BulkError(
                f"--limit {limit}: this run has planned more of {tar.shard} already; choose a "
                "larger one, or another --out"
            )
        merged.append(replace(tar, is_gone=True) if new is None else replace(new, shard=tar.shard))
    names = {tar.shard for tar in merged}
    for tar in by_path.values():
        shard, number = tar.shard, 2
        while shard in names:  # what all tars have in common may have changed
            shard, number = f"{tar.shard}~{number}", number + 1
        names.add(shard)
        merged.append(replace(tar, shard=shard))
    return tuple(merged)


def _takes_less(new: TarUnit | None, old: TarUnit) -> bool:
    if new is None or new.take is None:
        return new is None
    return old.take is None or new.take < old.take
