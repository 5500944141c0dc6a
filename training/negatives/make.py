"""Generates the planned negatives of a folder of positives.

    OUT/negatives.json        settings; a later run may not change what makes an image
    OUT/images/<kind>/..      one PNG a negative, with its record (early decodes have none)
    OUT/parts/00000.jsonl     what each process made, a line after the file is in its place

A run that is killed at any moment goes on where it was. The images do not depend on how many
processes make them.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eliq.errors import TrainingError

from ..journal import Journal, read_journal, write_atomically
from ..positives import (
    ModelSettings,
    Shard,
    check_same_models,
    free_memory,
    load_pipeline,
    save_generated,
)
from ..stop_request import StopRequest
from .config import NegativesConfig
from .generate import generate_negative
from .plan import Job

__all__ = ["GenerationReport", "generate_negatives", "made_rows"]

log = logging.getLogger("eliq")
_SETTINGS_NAME = "negatives.json"
_FORMAT = {"format": "eliq-negatives", "format_version": 1}
#: What decides which image is made; the gate and the set are decided afterwards.
_DECIDING = ("shares", "early_fractions", "seed", "generator_device")


@dataclass
class GenerationReport:
    """What there is of a plan.

    Attributes:
        num_planned: images of the plan.
        num_images: that lie in the folder now, of all runs and processes.
        num_made: by this process in this run.
        left_out: no usable image, by kind and reason.
        stopped: a signal came first; the same call goes on.
    """

    num_planned: int = 0
    num_images: int = 0
    num_made: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def is_complete(self) -> bool:
        """Nothing of the plan is missing (other processes may be at work where it is)."""
        return self.num_images + sum(self.left_out.values()) >= self.num_planned


def generate_negatives(
    jobs: Sequence[Job],
    out: str | os.PathLike[str],
    config: NegativesConfig,
    *,
    shard: Shard | None = None,
    load: Callable[[ModelSettings, str], Any] = load_pipeline,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> GenerationReport:
    """Makes the images of this process's share that are not there yet, one model after the other.

    Args:
        jobs: the whole plan, as `plan_jobs` gives it.
        shard: this process's part; None = by the environment (`accelerate launch`, `torchrun`).
        load: (settings, device) -> pipeline.
        stop: asked after every image.

    Raises:
        TrainingError: `out` holds negatives of other settings or positives.
        DiffusionError: a model that does not take its settings, or too little memory.
        OSError: the disk refuses; what was made before stays.
    """
    out, shard = Path(out), shard or Shard.from_environment()
    _check_settings(out, config)
    done = made_rows(out)
    by_model = {
        settings.name: shard.take([job for job in jobs if job.model == settings.name])
        for settings in config.all_models
    }
    waiting = {
        name: [job for job in some if not _is_done(out, job, done.get(job.negative_id))]
        for name, some in by_model.items()
    }
    report = GenerationReport(num_planned=len(jobs))
    total = sum(len(some) for some in waiting.values())
    # One bar, of the first process: all have as much to do.
    not_shown = None if progress and shard.rank == 0 else True
    with (
        Journal(out / "parts" / f"{shard.rank:05d}.jsonl") as journal,
        tqdm(total=total, desc="negatives", disable=not_shown) as bar,
    ):
        for settings in config.all_models:
            if report.stopped or not waiting[settings.name]:
                continue
            pipe = load(settings, shard.device)
            for job in waiting[settings.name]:
                if stop is not None and stop.requested:
                    report.stopped = True
                    break
                made, facts = generate_negative(pipe, settings, job, config)
                if made is not None:
                    save_generated(made, out / job.path)
                    report.num_made += 1
                journal.append({**_facts(job), **facts})
                bar.update()
            del pipe
            free_memory()
    rows = made_rows(out)
    for job in jobs:
        row = rows.get(job.negative_id)
        if row is not None and "left_out" in row:
            key = f"{job.kind}: {row['left_out']}"
            report.left_out[key] = report.left_out.get(key, 0) + 1
        report.num_images += row is not None and "left_out" not in row
    return report


def made_rows(out: str | os.PathLike[str]) -> dict[str, dict[str, Any]]:
    """What all processes have made or given up, by id; the newest row of an image."""
    parts = sorted((Path(out) / "parts").glob("*.jsonl"))
    return {row["negative_id"]: row for part in parts for row in read_journal(part)}


def _facts(job: Job) -> dict[str, Any]:
    return {
        "negative_id": job.negative_id,
        "kind": job.kind,
        "source": job.positive.name,
        "prompt": job.positive.prompt,
        "path": job.path,
        "generation_prompt": job.generation_prompt,
        "severity": job.severity,
    }


def _is_done(out: Path, job: Job, row: dict[str, Any] | None) -> bool:
    if row is None:
        return False
    if any(row.get(key) != value for key, value in _facts(job).items()):
        raise TrainingError(
            f"{out}: {job.negative_id} was made with other words or of another positive "
            f"({row.get('generation_prompt')!r}): choose another folder"
        )
    return "left_out" in row or (out / job.path).is_file()


def _check_settings(out: Path, config: NegativesConfig) -> None:
    """A folder may get further models and kinds; what made its images may not change."""
    now = json.loads(json.dumps(config.to_json()))
    models = {one.name: json.loads(json.dumps(one.to_json())) for one in config.all_models}
    ours = {**_FORMAT, **{key: now[key] for key in _DECIDING}, "models": models}
    path = out / _SETTINGS_NAME
    if path.is_file():
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read as JSON; choose another folder") from error
        for key in (*_FORMAT, *_DECIDING):
            if saved.get(key) != ours[key]:
                raise TrainingError(
                    f"{out} holds negatives of {key} {saved.get(key)!r}, found {ours[key]!r}: "
                    "restore it or choose another folder"
                )
        check_same_models(out, saved["models"], models)
        ours["models"] = {**saved["models"], **models}
        if ours == saved:
            return
    write_atomically(path, (json.dumps(ours, indent=2) + "\n").encode())
