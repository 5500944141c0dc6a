"""A supervision set that holds the rows of an older one and those of a new era.

    OUT/manifest.jsonl, ladders.jsonl    the rows of all eras
    OUT/images/..                        images of the first era, where they were
    OUT/eras/<era>/images/..             images of a later one
    OUT/supervision.json                 which eras, and the settings of their rows

Images are hard links to those of the parts where the file system has them, else copies. Rows whose
prompt is an anchor's are left out, of every era; where it is the wrong prompt of another row, that
row gets another, or the critic would learn that the anchor's words are wrong.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eliq.errors import SupervisionError
from eliq.supervision import SupervisionConfig, bare_prompt, shuffled_prompt

from ..journal import write_atomically, write_lines
from .anchors import Anchors

__all__ = ["eras_of", "grow_set", "new_era_config", "rows_of"]

_SETTINGS_NAME = "supervision.json"
_FORMAT = "eliq-supervision-of-eras"


def new_era_config(old_set: Path, num_sources: int, *, seed: int = 0) -> SupervisionConfig:
    """Settings of a new era's rows: those of the old set, as many rows a picture as there.

    Raises:
        SupervisionError: the old set does not say how it was made.
    """
    path = old_set / _SETTINGS_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SupervisionError(
            f"{path}: expected the settings of a supervision set, found none; make it with "
            "python -m training.build_supervision"
        ) from error
    tuples, ladders = rows_of(old_set, "manifest.jsonl"), rows_of(old_set, "ladders.jsonl")
    sources = max(1, len({row["source"] for row in tuples}))

    def scaled(rows: list) -> int:
        return round(len(rows) * num_sources / sources)

    return SupervisionConfig.from_json(
        {
            **config,
            "num_tuples": max(2, scaled(tuples)),
            "num_ladders": scaled(ladders),
            "seed": seed,
        }
    )


def grow_set(old_set: Path, new_set: Path, out: Path, era: str, anchors: Anchors) -> dict[str, Any]:
    """Writes the grown set; returns counts of its rows by era.

    The same call gives the same set. An era's rows carry its name in id and source.

    Raises:
        SupervisionError: the era is already part of the old set, or an image is missing.
        OSError: the disk refuses.
    """
    before, forbidden = eras_of(old_set), anchors.prompts
    if era in before:
        raise SupervisionError(f"{old_set} already holds an era {era!r}: give another name")
    kept: dict[str, Counter] = {"tuples": Counter(), "ladders": Counter()}
    num_anchor_rows = 0
    for name, key, kind in (
        ("manifest.jsonl", "tuple_id", "tuples"),
        ("ladders.jsonl", "ladder_id", "ladders"),
    ):
        found = [
            (row, folder, label)
            for folder, label in ((old_set, None), (new_set, era))
            for row in rows_of(folder, name)
        ]
        others = [one for one in found if not _is_of_anchors(one[0], forbidden)]
        num_anchor_rows += len(found) - len(others)
        prompts, rows = sorted({row["prompt"] for row, *_ in others}), []
        for row, folder, label in others:
            row, prefix = _relabelled(row, key, label)
            if not _without_anchor_words(row, forbidden, prompts):
                num_anchor_rows += 1
                continue
            _with_paths(row, lambda path, f=folder, p=prefix: _place(f / path, out, p + path))
            kept[kind][_era_of(row, before)] += 1
            rows.append(row)
        write_lines(out / name, rows)
    if not kept["tuples"][era]:
        raise SupervisionError(
            f"{new_set}: every tuple is of an anchor's prompt, so that nothing of {era} is left to "
            "train on: give images of other prompts too, or freeze fewer anchors"
        )
    counts: dict[str, Any] = {kind: dict(found) for kind, found in kept.items()}
    counts["num_anchor_rows"] = num_anchor_rows
    config = _settings_of(new_set).get("config")
    content = {"format": _FORMAT, "config": config, "eras": [*before, era], "rows": counts}
    write_atomically(out / _SETTINGS_NAME, json.dumps(content, indent=1).encode())
    return counts


def rows_of(folder: Path, name: str) -> list[dict[str, Any]]:
    """Rows of a manifest as plain JSON, paths relative to the folder; none where it is missing.

    Raises:
        SupervisionError: a line that is not JSON.
    """
    path = folder / name
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
    except ValueError as error:
        raise SupervisionError(f"{path}: a line is not JSON; build the set to its end") from error


def eras_of(folder: Path) -> list[str]:
    """Names of the eras of a set, oldest first; "era-1" alone for a set that was never grown."""
    data = _settings_of(folder)
    return list(data.get("eras") or ["era-1"])


def _settings_of(folder: Path) -> dict[str, Any]:
    """What a set says of itself; nothing where it was made by other means."""
    try:
        data = json.loads((folder / _SETTINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _is_of_anchors(row: dict[str, Any], prompts: set[str]) -> bool:
    return any(bare_prompt(row.get(key, "")) in prompts for key in ("prompt", "prompt_group"))


def _without_anchor_words(row: dict[str, Any], forbidden: set[str], prompts: list[str]) -> bool:
    """Draws another wrong prompt in place of an anchor's; False where there is none."""
    if bare_prompt(row.get("negative_prompt", "")) not in forbidden:
        return True
    draw = int(hashlib.sha256(row["tuple_id"].encode()).hexdigest()[:16], 16)
    other = shuffled_prompt(row["prompt"], prompts, draw)
    if other is not None:
        row.update(negative_prompt=other, negative_prompt_kind="shuffle")
    return other is not None


def _era_of(row: dict[str, Any], eras: list[str]) -> str:
    era, found, _ = row["source"].partition("::")
    return era if found else eras[0]


def _relabelled(row: dict[str, Any], key: str, era: str | None) -> tuple[dict[str, Any], str]:
    if era is None:
        return dict(row), ""
    return {**row, key: f"{era}-{row[key]}", "source": f"{era}::{row['source']}"}, f"eras/{era}/"


def _with_paths(row: dict[str, Any], place: Callable[[str], str]) -> None:
    row["positive"] = place(row["positive"])
    for aspect in ("technical", "aesthetic"):
        if aspect in row:
            row[aspect] = {**row[aspect], "path": place(row[aspect]["path"])}
    if "steps" in row:
        row["steps"] = [{**step, "path": place(step["path"])} for step in row["steps"]]


def _place(source: Path, out: Path, relative: str) -> str:
    target = out / relative
    if target.exists():
        return relative
    if not source.is_file():
        raise SupervisionError(f"{source}: expected an image of the set, found none")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        os.replace(partial, target)
    return relative
