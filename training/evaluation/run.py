"""Scores the sets with every rater and measures all of it: one JSON-ready dict a set."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from eliq.errors import ConfigError, EvaluationError

from ..stop_request import StopRequest
from .config import EvaluationConfig
from .measure import compare, measure, oracles
from .published import published
from .rated import RatedImage, RatedSet
from .raters import Column, Rater
from .score_cache import scored
from .shuffle import choose_for_shuffle, shuffle_report

__all__ = ["evaluate_set", "select"]

log = logging.getLogger("eliq")


def select(rated: RatedSet, config: EvaluationConfig) -> RatedSet:
    """The rows of the chosen split, and of these at most about `max_images` in whole groups.

    Raises:
        EvaluationError: the benchmark has no such split.
    """
    if config.split is not None:
        splits = sorted({row.split for row in rated.rows if row.split})
        rated = rated.only(lambda row: row.split == config.split)
        if not rated.rows:
            raise EvaluationError(
                f"{rated.name}: expected rows of the split {config.split!r}, found {splits}"
            )
    if config.max_images is not None and len(rated) > config.max_images:
        sizes: dict[str, int] = {}
        for row in rated.rows:
            sizes[row.group_key] = sizes.get(row.group_key, 0) + 1
        order = sorted(sizes)
        np.random.default_rng(config.seed).shuffle(order)
        total = np.cumsum([sizes[group] for group in order])
        number = max(2, int(np.searchsorted(total, config.max_images, side="right")))
        chosen = set(order[:number])
        rated = rated.only(lambda row: row.group_key in chosen)
    return rated


def evaluate_set(
    rated: RatedSet,
    raters: Sequence[Rater],
    config: EvaluationConfig,
    out: str | Path,
    *,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Everything the report says of one set; scores are cached under `out`/scores.

    All columns are measured on the same images: those that every rater could score. The first
    rater is the one that the others are compared with.

    Returns:
        `name`, `counts`, `num_images`, `failed` (by rater), for each opinion a list of `columns`
        (title, labels, all of `measure`), `oracles`, `published`; `shuffle` by column title; and
        `scores` for plots: {opinion: {title: [K]}}, {opinion: "opinions": [K]}.

    Raises:
        Interrupted: `stop` was requested. EvaluationError: nothing could be scored.
    """
    cache = Path(out) / "scores"
    rated = select(rated, config)
    images = list(rated.rows)
    rows = {
        rater.name: scored(rater, images, cache, rated.name, stop=stop, progress=progress)
        for rater in raters
    }
    failed = {
        name: [images[i].id for i, row in enumerate(found) if row["error"] is not None]
        for name, found in rows.items()
    }
    # A rater that fails on every image is left out; one that fails on some costs all of them those.
    working = [rater for rater in raters if len(failed[rater.name]) < len(images)]
    usable = [
        i
        for i in range(len(images))
        if all(rows[rater.name][i]["error"] is None for rater in working)
    ]
    for name, ids in failed.items():
        if ids:
            log.warning("%s: %s could not score %d images, first %s",
                        rated.name, name, len(ids), ids[0])  # fmt: skip
    if not usable or not working:
        first = next((row["error"] for found in rows.values() for row in found if row["error"]), "")
        raise EvaluationError(f"{rated.name}: no image was scored by every rater; {first}")
    raters = working
    report: dict[str, Any] = {
        "name": rated.name,
        "counts": rated.counts.to_json(),
        "num_images": len(usable),
        "num_generators": len({images[i].generator for i in usable} - {None}),
        "failed": {name: {"num": len(ids), "first": ids[:20]} for name, ids in failed.items()},
        "opinions": {},
        "shuffle": {},
    }
    for opinion in rated.opinions():
        report["opinions"][opinion] = _opinion(
            opinion, rated.name, images, usable, rows, raters, config
        )
    if config.shuffle_images:
        report["shuffle"] = _shuffle(rated.name, images, usable, rows, raters, config, cache, stop,
                                     progress)  # fmt: skip
    return report


def _opinion(
    opinion: str,
    set_name: str,
    images: list[RatedImage],
    usable: list[int],
    rows: Mapping[str, list[dict[str, Any]]],
    raters: Sequence[Rater],
    config: EvaluationConfig,
) -> dict[str, Any]:
    kept = [i for i in usable if getattr(images[i], opinion) is not None]
    if opinion == "alignment":  # without a prompt there is nothing to be aligned with
        kept = [i for i in kept if images[i].prompt]
    some = [images[i] for i in kept]
    columns: list[dict[str, Any]] = []
    skipped: list[str] = []
    scores: dict[str, list[float]] = {}
    for rater in raters:
        for column in rater.columns:
            if opinion not in column.numbers:
                continue
            values = [rows[rater.name][i].get(column.numbers[opinion]) for i in kept]
            if any(v is None or not math.isfinite(v) for v in values):
                skipped.append(f"{column.title}: {sum(v is None for v in values)} images without")
                continue
            scores[column.title] = values
            found = measure(values, some, opinion, config, set_name=set_name)
            columns.append({"title": column.title, "labels": column.labels, **found})
    first = next(iter(scores), None)
    for column in columns[1:]:
        column["first_minus_this"] = compare(
            scores[first], scores[column["title"]], some, opinion, config
        )
    return {
        "num_images": len(some),
        "range": [min(y := [getattr(image, opinion) for image in some]), max(y)],
        "columns": columns,
        "skipped": skipped,
        "oracles": oracles(some, opinion),
        "published": [asdict(row) for row in published(set_name, opinion)],
        "opinions": y,
        "generators": [image.generator for image in some],
        "scores": scores,
    }


def _shuffle(
    set_name: str,
    images: list[RatedImage],
    usable: list[int],
    rows: Mapping[str, list[dict[str, Any]]],
    raters: Sequence[Rater],
    config: EvaluationConfig,
    cache: Path,
    stop: StopRequest | None,
    progress: bool,
) -> dict[str, Any]:
    """By column title; empty for a set without prompts."""
    readers = [rater for rater in raters if rater.reads_prompt]
    some = [images[i] for i in usable]
    if not readers or not any(image.prompt for image in some):
        return {}
    try:
        chosen, prompts = choose_for_shuffle(some, config.shuffle_images, seed=config.seed)
    except ConfigError as error:
        return {"not_defined": str(error)}
    picked = [some[i] for i in chosen]
    out = {}
    for rater in readers:
        again = scored(
            rater, picked, cache, set_name, prompts=prompts, stop=stop, progress=progress
        )
        before = [rows[rater.name][usable[i]] for i in chosen]
        for column in rater.columns:
            whole = [_pair(column, a, b) for a, b in zip(before, again, strict=True)]
            rows_ok = [i for i, pair in enumerate(whole) if pair is not None]
            if not rows_ok:
                continue
            own, other = (
                {name: [whole[i][side][name] for i in rows_ok] for name in column.numbers}
                for side in (0, 1)
            )
            out[column.title] = shuffle_report(own, other, [picked[i] for i in rows_ok])
    return out


def _pair(
    column: Column, own: dict[str, Any], shuffled: dict[str, Any]
) -> tuple[dict[str, float], dict[str, float]] | None:
    """Both rows by opinion; None where a number is missing in either."""
    sides = tuple(
        {opinion: row.get(name) for opinion, name in column.numbers.items()}
        for row in (own, shuffled)
    )
    return None if any(None in side.values() for side in sides) else sides
