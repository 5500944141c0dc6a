"""One rater on one set, and then all raters of a set measured on the same images.

Scoring and measuring are apart, so that a critic and the bare model of 8B parameters are never in
memory at once: `score_set` keeps numbers alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
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

__all__ = ["ScoredSet", "measure_set", "score_set", "select"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class ScoredSet:
    """The numbers that one rater gave the images of one set.

    Attributes:
        rater: its name. columns: which number is held against which opinion.
        rows: one an image, in the order of the set; `error` is None where it was scored.
        shuffled: {row of the set: numbers with another image's prompt}; empty where the rater reads
            no prompt, the set has none, or the control is off.
        not_shuffled: why that control could not be drawn, if it could not.
    """

    rater: str
    columns: tuple[Column, ...]
    rows: list[dict[str, Any]]
    shuffled: dict[int, dict[str, Any]]
    not_shuffled: str | None = None

    @property
    def failed(self) -> list[int]:
        return [i for i, row in enumerate(self.rows) if row["error"] is not None]


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


def score_set(
    rated: RatedSet,
    rater: Rater,
    config: EvaluationConfig,
    cache: str | Path,
    *,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> ScoredSet:
    """Scores a set, and some of its images again with other prompts; what is cached is not redone.

    Raises:
        Interrupted: `stop` was requested; finished parts are kept.
    """
    images = list(rated.rows)
    options: dict[str, Any] = {"stop": stop, "progress": progress}
    rows = scored(rater, images, cache, rated.name, **options)
    shuffled: dict[int, dict[str, Any]] = {}
    reason = None
    if config.shuffle_images and rater.reads_prompt and any(image.prompt for image in images):
        try:
            chosen, prompts = choose_for_shuffle(images, config.shuffle_images, seed=config.seed)
        except ConfigError as error:
            log.warning("%s: %s", rated.name, error)
            reason = str(error)
        else:
            picked = [images[i] for i in chosen]
            again = scored(rater, picked, cache, rated.name, prompts=prompts, **options)
            shuffled = dict(zip(chosen, again, strict=True))
    return ScoredSet(rater.name, rater.columns, rows, shuffled, reason)


def measure_set(
    rated: RatedSet, found: Sequence[ScoredSet], config: EvaluationConfig
) -> dict[str, Any]:
    """Everything the report says of one set.

    All columns are measured on the same images: those that every rater could score; a rater that
    fails on every image is left out. The others are compared with the first column.

    Returns:
        `name`, `counts`, `num_images`, `failed` (by rater), for each opinion a list of `columns`
        (title, labels, all of `measure`), `oracles`, `published`, and for plots `scores`
        ({title: [K]}), `opinions` [K] and `generators` [K]; `shuffle` by column title, and
        `shuffle_not_run`, why there is none.

    Raises:
        EvaluationError: no image was scored by every rater.
    """
    images = list(rated.rows)
    working = [one for one in found if len(one.failed) < len(images)]
    bad = {i for one in working for i in one.failed}
    usable = [i for i in range(len(images)) if i not in bad] if working else []
    for one in found:
        if one.failed:
            log.warning("%s: %s could not score %d images, first %s", rated.name, one.rater,
                        len(one.failed), images[one.failed[0]].id)  # fmt: skip
    if not usable:
        why = next(one.rows[one.failed[0]]["error"] for one in found if one.failed)
        raise EvaluationError(f"{rated.name}: no image was scored by every rater; {why}")
    return {
        "name": rated.name,
        "counts": rated.counts.to_json(),
        "num_images": len(usable),
        "num_generators": len({images[i].generator for i in usable} - {None}),
        "failed": {
            one.rater: {"num": len(one.failed), "first": [images[i].id for i in one.failed[:20]]}
            for one in found
        },
        "opinions": {
            opinion: _opinion(opinion, rated.name, images, usable, working, config)
            for opinion in rated.opinions()
        },
        "shuffle": {
            column.title: measured
            for one in working
            for column in one.columns
            for measured in [_shuffle(column, one, images, bad)]
            if measured is not None
        },
        "shuffle_not_run": next((one.not_shuffled for one in working if one.not_shuffled), None),
    }


def _opinion(
    opinion: str,
    set_name: str,
    images: list[RatedImage],
    usable: list[int],
    found: Sequence[ScoredSet],
    config: EvaluationConfig,
) -> dict[str, Any]:
    kept = [i for i in usable if getattr(images[i], opinion) is not None]
    if opinion == "alignment":  # without a prompt there is nothing to be aligned with
        kept = [i for i in kept if images[i].prompt]
    some = [images[i] for i in kept]
    opinions = [getattr(image, opinion) for image in some]
    columns: list[dict[str, Any]] = []
    skipped: list[str] = []
    scores: dict[str, list[float]] = {}
    for one in found:
        for column in one.columns:
            if opinion not in column.numbers:
                continue
            values = [one.rows[i].get(column.numbers[opinion]) for i in kept]
            missing = sum(v is None or not math.isfinite(v) for v in values)
            if missing or not values:
                skipped.append(f"{column.title}: {missing} of {len(values)} images without a score")
                continue
            scores[column.title] = values
            measured = measure(values, some, opinion, config, set_name=set_name)
            columns.append({"title": column.title, "labels": column.labels, **measured})
    first = next(iter(scores), None)
    for column in columns[1:]:
        column["first_minus_this"] = compare(
            scores[first], scores[column["title"]], some, opinion, config
        )
    return {
        "num_images": len(some),
        "range": [min(opinions), max(opinions)] if opinions else None,
        "columns": columns,
        "skipped": skipped,
        "oracles": oracles(some, opinion),
        "published": [asdict(row) for row in published(set_name, opinion)],
        "opinions": opinions,
        "generators": [image.generator for image in some],
        "scores": scores,
    }


def _shuffle(
    column: Column, one: ScoredSet, images: list[RatedImage], bad: set[int]
) -> dict[str, Any] | None:
    """None where nothing was scored twice."""
    kept: list[int] = []
    own: dict[str, list[float]] = {opinion: [] for opinion in column.numbers}
    other: dict[str, list[float]] = {opinion: [] for opinion in column.numbers}
    for i, again in one.shuffled.items():
        pairs = {
            opinion: (one.rows[i].get(name), again.get(name))
            for opinion, name in column.numbers.items()
        }
        if i in bad or any(None in pair for pair in pairs.values()):
            continue
        kept.append(i)
        for opinion, (before, after) in pairs.items():
            own[opinion].append(before)
            other[opinion].append(after)
    return shuffle_report(own, other, [images[i] for i in kept]) if kept else None
