"""Which images a run scores, and how they are cut into part files.

A folder or a manifest is listed once and kept in ``plan.parquet``, ``part_size`` images a row
group: the group is the unit of work, read again by whoever scores it. Of tars the plan names only
the files: a unit is a tar, cut into parts as its headers are read, so that a plan of ten thousand
tars opens none of them.

Where the source has grown since, what is new is planned after what was there, so that finished
parts stay finished.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import astuple, dataclass, field, replace
from pathlib import Path
from typing import Any

from ..errors import BulkError
from .atomic import write_file_atomically
from .config import DEFAULT_PART_SIZE, RunConfig
from .fingerprint import RUN_NAME
from .items import SubPart, items_digest
from .parts import is_done, part_paths, remove_strays
from .plan_items import ITEMS_NAME, PlanItems, write_items
from .sources import find_source, nothing_found
from .tar_units import TarUnit, limited_tars, merged_tars
from .tars import tar_subparts

__all__ = ["PLAN_NAME", "Plan", "load_plan", "plan_run"]

PLAN_NAME = "plan.json"


@dataclass(frozen=True)
class Plan:
    """The units of a run; picklable, and small however many images there are.

    Attributes:
        folder: where the plan's files and ``parts/`` are.
        kind: folder, imagefolder, manifest or tars.
        prompt: of every image of tars.
        num_items: None for tars, which are not opened.
        num_gone: images, or tars, of the plan that the source no longer has.
        num_without_prompt: images that the file of prompts, where there is one, says nothing of.
    """

    folder: Path
    source: str
    kind: str
    part_size: int
    num_units: int
    num_items: int | None
    prompt: str | None = None
    tars: tuple[TarUnit, ...] = ()
    num_gone: int = 0
    num_without_prompt: int = 0
    _items: PlanItems = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_items", PlanItems(self.folder / ITEMS_NAME))

    def subparts(self, unit: int) -> Iterator[SubPart]:
        """The parts of a unit, each with its items.

        Raises:
            BulkError: the plan, or a tar, cannot be read.
        """
        if self.tars:
            tar = self.tars[unit]
            if tar.is_gone:
                return
            yield from tar_subparts(
                tar.path,
                unit,
                shard=tar.shard,
                part_size=self.part_size,
                take=tar.take,
                prompt=self.prompt,
            )
            return
        items = self._items.read(unit)
        yield SubPart(unit, 0, items, items_digest(items))

    def digest(self, unit: int) -> str:
        """Of the one part of a unit that is no tar, as in its `SubPart`."""
        return self._items.digest(unit)

    def units(self, rank: int = 0, world_size: int = 1) -> range:
        """The units of one of several processes."""
        return range(rank, self.num_units, world_size)

    def pending_units(self, out_dir: str | os.PathLike[str] | None = None) -> list[int]:
        """Units of which a part is missing, or was made of other images."""
        folder = Path(out_dir) if out_dir is not None else self.folder
        return [unit for unit in range(self.num_units) if not self.unit_is_done(unit, folder)]

    def unit_is_done(self, unit: int, folder: Path | None = None) -> bool:
        """Whether every part of a unit is there."""
        return is_done(self, unit, folder or self.folder)


def plan_run(config: RunConfig, *, folder: Path | None = None) -> Plan:
    """List the source, and keep the plan in ``config.out_dir`` (or in ``folder``).

    Raises:
        BulkError: a source that is not there or has no images, or another one than that of the
            run which is in the directory already: the fields that differ are named.
    """
    folder = Path(folder or config.out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    source = find_source(replace(config, source=_named_from_here(config)))
    old = _plan_there(folder / PLAN_NAME)
    part_size = config.part_size or _part_size_of(old) or DEFAULT_PART_SIZE
    facts: dict[str, Any] = {
        "source": os.path.abspath(config.source),
        "kind": source.kind,
        "part_size": part_size,
        "prompt": config.prompt,
        "prompts": config.prompts_path and os.path.abspath(config.prompts_path),
    }
    if (names := _differing(old, facts)) and _is_begun(config.out_dir):
        raise BulkError(_refusal(names, old, facts, out_dir=config.out_dir))
    if names:  # a plan that no critic was loaded for: a device that is not there, a mistyped option
        for name in (PLAN_NAME, ITEMS_NAME):
            (folder / name).unlink(missing_ok=True)
        old = {}
        facts["part_size"] = part_size = config.part_size or DEFAULT_PART_SIZE
    num_gone = 0
    tars: tuple[TarUnit, ...] = ()
    if source.tars:
        tars = merged_tars(
            [TarUnit(*fields) for fields in old.get("tars", ())],
            limited_tars(source.tars, config.limit),
            cwd=old.get("cwd", ""),
            limit=config.limit,
        )
        num_units, num_items = len(tars), None
        num_gone = sum(tar.is_gone for tar in tars)
    else:
        num_items, num_gone = write_items(
            folder / ITEMS_NAME, source.items(), part_size, limit=config.limit
        )
        if not num_items:
            raise BulkError(nothing_found(config.source))
        num_units = -(-num_items // part_size)
    stored = facts | {
        "num_units": num_units,
        "num_items": num_items,
        "num_gone": num_gone,
        "num_without_prompt": source.prompt_file.num_without if source.prompt_file else 0,
        "tars": [astuple(tar) for tar in tars],
        "cwd": os.getcwd(),
    }
    write_file_atomically(folder / PLAN_NAME, _json_bytes(stored))
    plan = load_plan(folder)
    remove_strays(plan)
    return plan


def load_plan(folder: str | os.PathLike[str]) -> Plan:
    """The plan that a directory holds.

    Raises:
        BulkError: there is none, or it cannot be read.
    """
    path = Path(folder) / PLAN_NAME
    try:
        data = json.loads(path.read_bytes())
        return Plan(
            folder=Path(folder),
            source=data["source"],
            kind=data["kind"],
            part_size=data["part_size"],
            num_units=data["num_units"],
            num_items=data["num_items"],
            prompt=data["prompt"],
            tars=tuple(TarUnit(*fields) for fields in data["tars"]),
            num_gone=data["num_gone"],
            num_without_prompt=data.get("num_without_prompt", 0),  # plans before it was counted
        )
    except FileNotFoundError:
        raise BulkError(f"{folder}: expected the directory of a run, found no plan in it") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BulkError(
            f"{path}: the plan cannot be read ({type(error).__name__}); remove it and run again"
        ) from error


def _named_from_here(config: RunConfig) -> str:
    """The source by a name that gives rows which stay right: from another directory than that
    which the run was begun in, and which its rows are relative to, its whole path."""
    try:
        cwd = json.loads((Path(config.out_dir) / RUN_NAME).read_bytes())["cwd"]
    except (OSError, ValueError, KeyError, TypeError):
        return config.source
    return config.source if cwd == os.getcwd() else os.path.abspath(config.source)


def _plan_there(path: Path) -> dict[str, Any]:
    """The facts of the plan that is there; an empty dict where there is none to be read."""
    try:
        old = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}  # written anew
    return old if isinstance(old, dict) else {}


def _part_size_of(old: dict[str, Any]) -> int | None:
    size = old.get("part_size")
    return size if type(size) is int and size >= 1 else None


def _differing(old: dict[str, Any], facts: dict[str, Any]) -> list[str]:
    """Fields in which a plan that is there is another one than that which is asked for."""
    return [
        name
        for name, value in facts.items()
        # A folder whose metadata came later is the same folder.
        if old and old.get(name) != value and {old.get(name), value} != {"folder", "imagefolder"}
    ]


def _is_begun(out_dir: Path) -> bool:
    """Whether a critic was ever loaded for the plan in a directory."""
    return (out_dir / RUN_NAME).exists() or bool(part_paths(out_dir))


def _refusal(names: list[str], old: dict[str, Any], facts: dict[str, Any], *, out_dir: Path) -> str:
    made = ", ".join(f"{name} {old.get(name)!r}" for name in names)
    asked = ", ".join(f"{name} {facts[name]!r}" for name in names)
    return (
        f"{out_dir} was made with {made}; you asked for {asked}: choose another --out, or "
        "--overwrite"
    )


def _json_bytes(data: dict[str, Any]) -> bytes:
    return (json.dumps(data, indent=1) + "\n").encode()
