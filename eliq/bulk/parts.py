"""Part files: the truth of a run, and its only marker of what is done.

``parts/NAME.parquet`` holds the rows of one sub-part, ``thumbnails/NAME.parquet`` small pictures
of the same rows. The thumbnails are written first, so that a part that is there is whole.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BulkError
from .arrow import pa, pq
from .atomic import write_file_atomically
from .columns import SCHEMA, THUMBNAIL_SCHEMA
from .items import SubPart, part_name, part_numbers
from .tars import tar_digest

if TYPE_CHECKING:
    from .plan import Plan

__all__ = [
    "PARTS",
    "THUMBNAILS",
    "PartDone",
    "all_parts",
    "is_done",
    "iterate_rows",
    "iterate_thumbnails",
    "part_facts",
    "part_paths",
    "read_part",
    "read_thumbnails",
    "remove_strays",
    "units_begun",
    "write_part",
]

PARTS, THUMBNAILS = "parts", "thumbnails"
_KEY = b"eliq.part"


@dataclass(frozen=True)
class PartDone:
    """A finished part: what it holds."""

    name: str
    num_rows: int
    num_failed: int
    digest: str = ""
    is_last: bool = True


def write_part(
    folder: Path,
    subpart: SubPart,
    columns: dict[str, Sequence[Any]],
    thumbnails: Sequence[bytes | None] | None,
) -> PartDone:
    """Write a part, its thumbnails first, both or neither seen by a later run.

    Args:
        columns: of `eliq.bulk.columns.SCHEMA`, each with one value an item.

    Raises:
        BulkError: the disk refuses.
    """
    num_failed = sum(status != "ok" for status in columns["status"])
    done = PartDone(subpart.name, len(columns["id"]), num_failed, subpart.digest, subpart.is_last)
    path = folder / THUMBNAILS / f"{done.name}.parquet"
    if thumbnails is None:
        path.unlink(missing_ok=True)  # of the part that is replaced: pictures of other rows
    else:
        table = pa.table([columns["id"], list(thumbnails)], schema=THUMBNAIL_SCHEMA)
        # The pictures are compressed already.
        _write_table(path, table, compression="none")
    facts = f"{done.num_rows} {done.num_failed} {done.digest} {int(done.is_last)}"
    schema = SCHEMA.with_metadata({_KEY: facts.encode()})
    table = pa.table([columns[name] for name in SCHEMA.names], schema=schema)
    _write_table(folder / PARTS / f"{done.name}.parquet", table, compression="zstd")
    return done


def _write_table(path: Path, table: Any, *, compression: str) -> None:
    # In memory first: a part is small, and what the disk then refuses is an error of Python's own.
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression=compression)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file_atomically(path, buffer.getbuffer())


def part_facts(folder: Path, name: str) -> PartDone | None:
    """What a part says of itself, from its footer; None where there is none that can be read."""
    path = folder / PARTS / f"{name}.parquet"
    if not path.exists():
        return None
    try:
        num_rows, num_failed, digest, is_last = (
            (pq.read_schema(path).metadata or {})[_KEY].decode().split()
        )
        return PartDone(name, int(num_rows), int(num_failed), digest, is_last == "1")
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None  # not ours, or a disk has damaged it: it is made again


def is_done(plan: Plan, unit: int, folder: Path) -> bool:
    """Whether all parts of a unit are there, made of the items that the plan names."""
    return all_parts(plan, unit, folder) is not None


def all_parts(plan: Plan, unit: int, folder: Path) -> list[PartDone] | None:
    """The finished parts of a unit, or None where one is missing or was made of other items."""
    if not plan.tars:
        facts = part_facts(folder, part_name(unit, 0))
        return [facts] if facts is not None and facts.digest == plan.digest(unit) else None
    found: list[PartDone] = []
    tar = plan.tars[unit]
    while not found or not found[-1].is_last:
        facts = part_facts(folder, part_name(unit, len(found)))
        if tar.is_gone and facts is None:
            break  # no more of it can be had
        expected = tar_digest(tar.path, tar.take, len(found), plan.part_size)
        if facts is None or (facts.digest != expected and not tar.is_gone):
            return None
        found.append(facts)
    return found


def remove_strays(plan: Plan) -> None:
    """Remove parts that the plan no longer has: of tars that were longer once."""
    for path in part_paths(plan.folder):
        unit, index = part_numbers(path.stem)
        is_stray = unit >= plan.num_units
        if not is_stray and index > 0:
            before = part_facts(plan.folder, part_name(unit, index - 1))
            is_stray = before is not None and before.is_last
        if is_stray:
            path.unlink(missing_ok=True)
            (plan.folder / THUMBNAILS / path.name).unlink(missing_ok=True)


def part_paths(folder: str | os.PathLike[str]) -> list[Path]:
    """The part files of a run, in the order of its plan."""
    paths = (Path(folder) / PARTS).glob("part-*.parquet")
    return sorted(path for path in paths if part_numbers(path.stem) is not None)


def units_begun(folder: str | os.PathLike[str]) -> set[int]:
    """The units of which a part is there, told by names alone."""
    numbers = (part_numbers(path.stem) for path in part_paths(folder))
    return {pair[0] for pair in numbers if pair is not None}


def read_part(folder: Path, name: str) -> Any:
    """The rows of a part, as a table.

    Raises:
        BulkError: the file cannot be read.
    """
    path = folder / PARTS / f"{name}.parquet"
    try:
        return pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error


def read_thumbnails(folder: Path, name: str) -> list[bytes | None] | None:
    """The small JPEGs of a part, one a row; None where there are none, or a damaged file."""
    path = folder / THUMBNAILS / f"{name}.parquet"
    if not path.exists():
        return None
    try:
        return pq.read_table(path, columns=["thumbnail"])["thumbnail"].to_pylist()
    except (pa.ArrowException, OSError):
        return None  # a page without some pictures is worth more than none


def iterate_rows(
    out_dir: str | os.PathLike[str], columns: Sequence[str] | None = None
) -> Iterator[Any]:
    """Record batches of all parts, part after part: the memory holds one part at a time.

    Raises:
        BulkError: a part cannot be read.
    """
    for path in part_paths(out_dir):
        try:
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(columns=None if columns is None else list(columns))
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error


def iterate_thumbnails(
    out_dir: str | os.PathLike[str],
) -> Iterator[tuple[str, list[bytes | None]]]:
    """(name of the part, one JPEG or None a row), in the order of `iterate_rows`.

    Raises:
        BulkError: a part cannot be read.
    """
    folder = Path(out_dir)
    for path in part_paths(folder):
        try:
            num_rows = pq.read_metadata(path).num_rows
        except (pa.ArrowException, OSError) as error:
            raise _unreadable(path, error) from error
        thumbnails = read_thumbnails(folder, path.stem)
        # A kill may fall between a part's new thumbnails and its new rows.
        is_of_part = thumbnails is not None and len(thumbnails) == num_rows
        yield path.stem, thumbnails if is_of_part else [None] * num_rows


def _unreadable(path: Path, error: Exception) -> BulkError:
    return BulkError(
        f"{path}: expected a part of a run, found a damaged file ({type(error).__name__}): "
        "remove it and run the same command again"
    )
