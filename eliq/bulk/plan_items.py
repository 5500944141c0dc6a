"""The listing of a run in ``plan.parquet``: the items of one part a row group.

Where the source has changed since, every image keeps its place, and what is new comes behind: a
part that is finished stays that of the same images.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .arrow import pa, pq
from .atomic import write_file_atomically
from .columns import PLAN_SCHEMA
from .items import Item, items_digest, storable

__all__ = ["ITEMS_NAME", "NEW_ITEMS_NAME", "PlanItems", "write_items"]

ITEMS_NAME = "plan.parquet"
NEW_ITEMS_NAME = "plan.new.parquet"


class PlanItems:
    """The listing, read a unit at a time; picklable.

    The file is opened once in each process, because its footer grows with the number of units: to
    open it for each of ten thousand takes as long as to score a few images for each.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None
        self._digests: dict[int, str] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return PlanItems, (self._path,)

    def read(self, unit: int) -> tuple[Item, ...]:
        """The items of a unit.

        Raises:
            BulkError: the plan cannot be read.
        """
        if self._file is None:
            self._file = _open_items(self._path)
        return tuple(_items_of(self._file.read_row_group(unit)))

    def digest(self, unit: int) -> str:
        """Their `items_digest`, computed once: units are passed over again and again."""
        if unit not in self._digests:
            self._digests[unit] = items_digest(self.read(unit))
        return self._digests[unit]


def write_items(
    path: Path, items: Iterator[Item], part_size: int, *, limit: int | None
) -> tuple[int, int]:
    """Keep the listing; returns how many items it has, and how many of them are gone.

    Args:
        limit: of the items that the source has, those of an earlier plan first.

    Raises:
        BulkError: an earlier plan has more than ``limit``, or cannot be read.
    """
    if not path.exists():
        return _write_groups(path, islice(items, limit), part_size), 0
    with _open_items(path) as file:
        old_ids = {
            _fingerprint(name): position
            for position, name in enumerate(
                name for batch in file.iter_batches(columns=["id"]) for name in batch[0].to_pylist()
            )
        }
    known: dict[int, Item] = {}
    new: list[Item] = []
    num_known = 0
    in_order = True
    kept = path.with_name(NEW_ITEMS_NAME)

    # Mostly the listing is the old one, or begins with it: then nothing need be held in memory.
    def watched() -> Iterator[Item]:
        nonlocal in_order, num_known
        num_new = position = 0
        for item in items:
            old = old_ids.get(_fingerprint(storable(item.id) or ""))
            if old is None and limit is not None and num_new >= limit:
                continue  # only what is planned already is still looked for
            in_order &= (old == position) if position < len(old_ids) else (old is None)
            num_known += old is not None
            num_new += old is None
            position += 1
            yield item
            if limit is not None and num_known == len(old_ids) and num_known + num_new >= limit:
                return

    num_items = _write_groups(kept, watched(), part_size)
    if limit is not None and num_known > limit:
        kept.unlink()
        raise BulkError(
            f"--limit {limit}: this run has planned {len(old_ids)} images already; choose a larger "
            "one, or another --out"
        )
    if in_order and num_items >= len(old_ids):
        os.replace(kept, path)
        return num_items, 0
    with _open_items(kept) as file:
        for batch in file.iter_batches():
            for item in _items_of(batch):
                old = old_ids.get(_fingerprint(item.id))
                if old is None:
                    new.append(item)
                else:
                    known[old] = item
    kept.unlink()
    if limit is not None:
        del new[limit - len(known) :]
    num_gone = len(old_ids) - len(known)

    def merged() -> Iterator[Item]:
        with _open_items(path) as file:
            olds = (item for batch in file.iter_batches() for item in _items_of(batch))
            for position, item in enumerate(olds):
                yield known.get(position) or replace(item, is_gone=True)
        yield from new

    return _write_groups(path, merged(), part_size), num_gone


def _write_groups(path: Path, items: Iterator[Item], part_size: int) -> int:
    num_items = 0

    def write(file: Any) -> None:
        nonlocal num_items
        with pq.ParquetWriter(file, PLAN_SCHEMA) as writer:
            while group := list(islice(items, part_size)):
                rows = [
                    {
                        "id": storable(item.id),
                        "path": os.fsencode(item.path),
                        "prompt": storable(item.prompt),
                        "prompt_source": item.prompt_source,
                        "has_sidecar": item.has_sidecar,
                        "is_gone": item.is_gone,
                    }
                    for item in group
                ]
                table = pa.Table.from_pylist(rows, schema=PLAN_SCHEMA)
                writer.write_table(table, row_group_size=part_size)
                num_items += len(group)

    write_file_atomically(path, write)
    return num_items


def _items_of(rows: Any) -> list[Item]:
    # A plan of an earlier version lacks the columns that came later.
    return [Item(**{**row, "path": os.fsdecode(row["path"])}) for row in rows.to_pylist()]


def _open_items(path: Path) -> Any:
    try:
        return pq.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise BulkError(
            f"{path}: the plan cannot be read ({type(error).__name__}); remove it and run again"
        ) from error


def _fingerprint(text: str) -> int:
    return hash(text)  # within this process only; 64 bits, where the text itself would be 100 bytes
