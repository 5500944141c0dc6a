"""All steps from images with prompts to a checkpoint, each of them resumable."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import torch

from eliq.backbone import Backbone
from eliq.calibration import Calibration
from eliq.errors import ConfigError
from eliq.supervision import SupervisionConfig, build_supervision

from .calibrate import calibrate
from .dataset import Supervision, read_supervision
from .embedding_cache import build_cache, load_cache
from .export import export_critic, freeze_critic
from .placement import Placement
from .run_state import StopRequest
from .stage1 import Stage1Config, train_stage1
from .stage2 import Stage2Config, train_stage2

__all__ = ["Stopped", "train_critic"]

log = logging.getLogger("eliq")


class Stopped(Exception):
    """A signal asked the run to stop; everything is saved."""


def train_critic(
    source: Path,
    out: Path,
    *,
    backbone: Backbone,
    stage1: Stage1Config,
    stage2: Stage2Config,
    supervision: SupervisionConfig,
    prompts_path: Path | None = None,
    generated: Path | None = None,
    num_workers: int = 0,
    held_out_share: float = 0.1,
    split_seed: int = 0,
    storage_dtype: torch.dtype | None = torch.bfloat16,
    facts: dict[str, Any] | None = None,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """All steps, as `python -m training.train_critic` runs them; returns what it prints.

    `generated` is a folder of generated negatives of these images (`training.make_negatives`).
    `num_workers` processes make the supervision set where `source` is images; 0 makes it in this
    one. Several processes of a distributed run wait while the first makes it, six hours at most:
    build a large set beforehand (`python -m training.build_supervision`).

    Raises:
        Stopped: `stop` was requested; the same call goes on.
        EliqError: see the steps.
    """
    if not 0 < held_out_share < 1:  # before the set is made
        raise ConfigError(
            f"held_out_share: expected a number between 0 and 1, found {held_out_share}"
        )
    placement = placement or Placement()
    given = {"prompts_path": prompts_path, "generated": generated, "num_workers": num_workers}
    rows = _supervision(source, out, supervision, placement, **given)
    train, held_out = rows.split(held_out_share, seed=split_seed)
    rows = train + held_out  # as split: shuffled prompts that crossed were drawn anew
    log.info("%d tuples and %d ladders to train on, %d and %d held out", len(train.tuples),
             len(train.ladders), len(held_out.tuples), len(held_out.ladders))  # fmt: skip
    tuned = train_stage1(
        backbone,
        train,
        held_out,
        stage1,
        out / "stage1",
        placement=placement,
        stop=stop,
        progress=progress,
    )
    if tuned.stopped:
        raise Stopped
    if placement.is_main or not placement.is_sharded:  # after slices, the first alone has a whole
        freeze_critic(backbone.to(placement.device), storage_dtype=storage_dtype)
        share = (0, 1) if placement.is_sharded else (placement.rank, placement.world_size)
        cached = build_cache(
            backbone, rows, out / "cache", rank=share[0], world_size=share[1], stop=stop,
            progress=progress and placement.is_main,
        )  # fmt: skip
    else:
        cached = True
    if placement.any(not cached):
        raise Stopped
    if not placement.is_main:
        return {}
    cache = load_cache(out / "cache", rows)
    origin = json.loads((out / "cache" / "fingerprint.json").read_text(encoding="utf-8"))
    origin |= {"held_out_share": held_out_share, "split_seed": split_seed}
    trained = train_stage2(
        cache.select(train),
        cache.select(held_out),
        stage2,
        out / "stage2",
        fingerprint=origin,
        device=placement.device,
        stop=stop,
        progress=progress,
    )
    if trained.stopped:
        raise Stopped
    try:
        calibration, fitted = calibrate(trained.head, cache.select(held_out))
    except ConfigError as error:
        # A critic that does not separate its held-out pairs is still worth looking at, but its
        # 0..1 scores must not pass for calibrated ones.
        log.warning("not calibrated: %s", error)
        calibration = {"visual_quality": Calibration(), "alignment": Calibration()}
        fitted = {"not_calibrated": str(error)}
    report = {
        "stage1": {"steps": tuned.steps, "best_step": tuned.best_step, **tuned.validation},
        "stage2": {"steps": trained.steps, "best_step": trained.best_step, **trained.validation},
        "calibration": fitted,
    }
    card = {
        "method": "ELIQ, arXiv 2602.03558, without human labels",
        "supervision_sha256": rows.sha256,
        "num_tuples": [len(train.tuples), len(held_out.tuples)],
        "num_ladders": [len(train.ladders), len(held_out.ladders)],
        "split": {"held_out_share": held_out_share, "seed": split_seed},
        "stage1_config": stage1.to_json(),
        "stage2_config": stage2.to_json(),
        "held_out": report,
        **(facts or {}),
    }
    directory = export_critic(
        out / "critic", backbone, trained.head, calibration, card, storage_dtype=storage_dtype
    )
    return {"checkpoint": str(directory), **report}


def _supervision(
    source: Path, out: Path, config: SupervisionConfig, placement: Placement, **given: Any
) -> Supervision:
    """The set that `source` is, or one built from the images in it."""
    if source.is_file() or (source / "manifest.jsonl").is_file():
        return read_supervision(source)
    if placement.is_main:
        build_supervision(source, out / "set", config, **given)
    placement.wait()
    return read_supervision(out / "set")
