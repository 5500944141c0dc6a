"""Positives (section 3.2.2): one image of each model for each prompt.

    OUT/positives.json         settings; a later run may add models and prompts, not change them
    OUT/<model>/<prompt>.png   with the record that makes it again (`eliq.diffusion.read_record`)
    OUT/parts/00000.jsonl      what each process made, a line after the file is in its place
    OUT/prompts.jsonl          the images with path, prompt, model, seed and categories, in order

A run that is killed at any moment goes on where it was; the images do not depend on how many
processes make them, nor on what was made before. `training.build_supervision OUT` reads the result.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from eliq.diffusion import generate_image
from eliq.errors import ConfigError, TrainingError

from ..journal import Journal, read_journal, write_atomically, write_lines
from ..prompts.prompt_set import Prompt
from ..stop_request import StopRequest
from .config import PositivesConfig
from .loading import free_memory, load_pipeline
from .models import ModelSettings
from .same_models import check_same_models
from .saving import save_generated, why_unusable
from .seeds import image_seed
from .shards import Shard

__all__ = ["PositivesReport", "make_positives", "read_models", "read_positives"]

log = logging.getLogger("eliq")
LIST_NAME = "prompts.jsonl"
_SETTINGS_NAME = "positives.json"
_FORMAT = {"format": "eliq-positives", "format_version": 1}


@dataclass
class PositivesReport:
    """What a run made and what it left out.

    Attributes:
        num_images: usable positives in the folder now, of all runs and processes.
        num_made: by this process in this run.
        num_expected: models x prompts.
        left_out: prompts without a usable image, as counts by model and reason.
        stopped: a signal came first; the same call goes on.
    """

    num_images: int = 0
    num_made: int = 0
    num_expected: int = 0
    left_out: dict[str, int] = field(default_factory=dict)
    stopped: bool = False

    @property
    def is_complete(self) -> bool:
        """Every image was made or found unusable (other processes may still be at work if not)."""
        return self.num_images + sum(self.left_out.values()) >= self.num_expected

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "is_complete": self.is_complete}


def make_positives(
    prompts: Sequence[Prompt],
    out: str | os.PathLike[str],
    config: PositivesConfig,
    *,
    shard: Shard | None = None,
    load: Callable[[ModelSettings, str], Any] = load_pipeline,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> PositivesReport:
    """Makes the images of this process's share that are not there yet.

    Args:
        shard: this process's part; None = by the environment (`accelerate launch`, `torchrun`).
        load: (settings, device) -> pipeline.
        stop: asked after every image.

    Raises:
        TrainingError: `out` holds positives of other settings, or another text under a prompt's id.
        DiffusionError: a model that does not take its settings, or an image that does not fit into
            memory. Errors of a pipeline itself come through as they are.
        OSError: the disk refuses; what was made before stays.
    """
    out, shard = Path(out), shard or Shard.from_environment()
    _check_settings(out, config)
    done = _check_texts(out, prompts)
    waiting = {
        settings.name: [
            prompt
            for prompt in shard.take(prompts)
            if not _is_done(out, done.get((settings.name, prompt.prompt_id)))
        ]
        for settings in config.models
    }
    report = PositivesReport(num_expected=len(prompts) * len(config.models))
    total = sum(len(some) for some in waiting.values())
    # One bar, of the first process: all have as much to do.
    not_shown = None if progress and shard.rank == 0 else True
    with (
        Journal(out / "parts" / f"{shard.rank:05d}.jsonl") as journal,
        tqdm(total=total, desc="positives", disable=not_shown) as bar,
    ):
        for settings in config.models:
            if report.stopped or not waiting[settings.name]:
                continue
            pipe = load(settings, shard.device)
            for prompt in waiting[settings.name]:
                if stop is not None and stop.requested:
                    report.stopped = True
                    break
                row = _make_one(pipe, settings, prompt, out, config)
                journal.append(row)
                report.num_made += "path" in row
                bar.update()
            del pipe
            free_memory()
    rows = _write_list(out, config, prompts)
    report.num_images = sum("path" in row for row in rows)
    for row in rows:
        if "path" not in row:
            key = f"{row['model']}: {row['left_out']}"
            report.left_out[key] = report.left_out.get(key, 0) + 1
    return report


def read_positives(out: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """The rows of `prompts.jsonl`: path (relative to `out`), prompt, model, seed, category,
    categories, prompt_id, attempt, size [height, width] in px.

    Raises:
        TrainingError: no such list.
    """
    path = Path(out) / LIST_NAME
    if not path.is_file():
        raise TrainingError(
            f"{out}: no positives; make them with python -m training.make_positives"
        )
    return read_journal(path)


def read_models(out: str | os.PathLike[str]) -> tuple[ModelSettings, ...]:
    """The models that made the positives of a folder, by name; none where nothing says it.

    Raises:
        TrainingError: settings that cannot be read.
    """
    path = Path(out) / _SETTINGS_NAME
    if not path.is_file():
        return ()
    try:
        models = json.loads(path.read_text(encoding="utf-8"))["models"]
        return tuple(ModelSettings.from_json(models[name]) for name in sorted(models))
    except (OSError, ValueError, KeyError, TypeError, ConfigError) as error:
        raise TrainingError(f"{path}: expected the settings of positives ({error})") from error


def _make_one(
    pipe: Any, settings: ModelSettings, prompt: Prompt, out: Path, config: PositivesConfig
) -> dict[str, Any]:
    """The row of an image that is in its place, or of a prompt left out."""
    row = {
        "prompt": prompt.text,
        "model": settings.name,
        "category": prompt.category,
        "categories": list(prompt.categories),
        "prompt_id": prompt.prompt_id,
    }
    reason = None
    for attempt in range(config.max_tries):
        seed = image_seed(config.seed, settings.name, prompt.text, attempt)
        made = generate_image(
            pipe,
            prompt.text,
            seed=seed,
            generator_device=config.generator_device,
            facts={"prompt_id": prompt.prompt_id, "attempt": attempt},
            **settings.arguments,
        )
        reason = why_unusable(made)
        if reason is None:
            path = f"{settings.name}/{prompt.prompt_id}.png"
            save_generated(made, out / path)
            size = list(made.image.shape[1:])
            return {"path": path, **row, "seed": seed, "attempt": attempt, "size": size}
        log.warning("%s, %s, seed %d: %s", settings.name, prompt.prompt_id, seed, reason)
    return {**row, "left_out": reason, "num_tries": config.max_tries}


def _is_done(out: Path, row: dict[str, Any] | None) -> bool:
    return row is not None and ("left_out" in row or (out / row["path"]).is_file())


def _rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What all processes have made, the newest row of an image."""
    parts = sorted((out / "parts").glob("*.jsonl"))
    return {(row["model"], row["prompt_id"]): row for part in parts for row in read_journal(part)}


def _check_settings(out: Path, config: PositivesConfig) -> None:
    """Models may be added to a folder; what made its images may not change."""
    path = out / _SETTINGS_NAME
    now = json.loads(json.dumps(config.to_json()))
    models = {one["name"]: one for one in now.pop("models")}
    settings = {**_FORMAT, **now, "models": models}
    if path.is_file():
        try:
            saved = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: cannot be read as JSON; choose another folder") from error
        for key in (*_FORMAT, "seed", "generator_device"):
            if saved.get(key) != settings[key]:
                raise TrainingError(
                    f"{out} holds positives of {key} {saved.get(key)!r}, found {settings[key]!r}: "
                    "restore it or choose another folder"
                )
        check_same_models(out, saved["models"], models)
        settings["models"] = {**saved["models"], **models}
        if settings == saved:
            return
    write_atomically(path, (json.dumps(settings, indent=2) + "\n").encode())


def _check_texts(out: Path, prompts: Sequence[Prompt]) -> dict[tuple[str, str], dict[str, Any]]:
    """What is done, if it was made for the texts that the prompts' ids have now."""
    texts = {prompt.prompt_id: prompt.text for prompt in prompts}
    done = _rows(out)
    for (_, prompt_id), row in done.items():
        if texts.get(prompt_id, row["prompt"]) != row["prompt"]:
            raise TrainingError(
                f"{out}: prompt {prompt_id} was {row['prompt'][:60]!r} and is now "
                f"{texts[prompt_id][:60]!r}: give it another id, or choose another folder"
            )
    return done


def _write_list(
    out: Path, config: PositivesConfig, prompts: Iterable[Prompt]
) -> list[dict[str, Any]]:
    """`prompts.jsonl` from all parts; the rows of this run's models and prompts.

    Processes end at different times and each writes the list. The one that renames last has seen
    every row: whoever finds the parts grown since it read them writes again.
    """
    while True:
        sizes = _part_sizes(out)
        rows = _rows(out)
        listed = [rows[key] for key in sorted(rows) if "path" in rows[key]]
        write_lines(out / LIST_NAME, listed)
        if _part_sizes(out) == sizes:
            break
    ids = [prompt.prompt_id for prompt in prompts]
    wanted = [(settings.name, prompt_id) for settings in config.models for prompt_id in ids]
    return [rows[key] for key in wanted if key in rows]


def _part_sizes(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_size for path in (out / "parts").glob("*.jsonl")}
