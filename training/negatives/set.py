"""From positives to a supervision set with generated negatives: generate, gate, build.

    OUT/generated/..      what generators made, and what the gate said (see `make.py`, `gating.py`)
    OUT/manifest.jsonl, OUT/ladders.jsonl, OUT/images/..   the set (see `eliq.supervision`)

Every step goes on where it was killed. `training.train_critic OUT` reads the result.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from eliq.supervision import build_supervision, check_matched, read_manifest

from ..positives import ModelSettings, Shard, free_memory, load_pipeline, read_models
from ..stop_request import StopRequest
from .config import NegativesConfig
from .gating import GateReport, run_gate
from .make import GenerationReport, generate_negatives
from .opinions import Opinion, load_opinion
from .plan import plan_jobs, read_positive_images, read_variants

__all__ = ["NegativesReport", "make_negatives"]


@dataclass
class NegativesReport:
    """What was generated, what passed the gate and what the set holds.

    Attributes:
        generation: of all processes so far.
        gate: None where generation is not over, or another process does the rest.
        rows: what `build_supervision` reports, plain; None as above.
        kinds: how many tuples hold each kind of technical, aesthetic and alignment negative.
        num_matched_files: images whose size and codec were compared.
        stopped: a signal came first; the same call goes on.
    """

    generation: GenerationReport
    gate: GateReport | None = None
    rows: dict[str, Any] | None = None
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    num_matched_files: int = 0
    stopped: bool = False

    @property
    def is_complete(self) -> bool:
        """Whether the set is there."""
        return self.rows is not None

    def to_json(self) -> dict[str, Any]:
        return {
            "num_planned": self.generation.num_planned,
            "num_generated": self.generation.num_images,
            "num_made": self.generation.num_made,
            "left_out": dict(sorted(self.generation.left_out.items())),
            "gate": self.gate.to_json() if self.gate else None,
            "set": self.rows,
            "kinds": self.kinds,
            "num_matched_files": self.num_matched_files,
            "is_complete": self.is_complete,
            "stopped": self.stopped,
        }


def make_negatives(
    positives: str | os.PathLike[str],
    out: str | os.PathLike[str],
    config: NegativesConfig,
    *,
    prompts_path: str | os.PathLike[str] | None = None,
    variants_path: str | os.PathLike[str] | None = None,
    shard: Shard | None = None,
    load: Callable[[ModelSettings, str], Any] = load_pipeline,
    opinion: Opinion | None = None,
    num_workers: int = 0,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> NegativesReport:
    """Makes a supervision set with generated negatives from a folder of positives.

    Of several processes each generates its share; the first one goes on with the gate and the set
    once nothing is missing. Where it is the first to be done it reports an incomplete set, and the
    same command, in one process, does the rest.

    Args:
        positives: images with prompts, as `training.make_positives` or a user made them.
        out: made where it does not exist.
        prompts_path: a list of prompts outside `positives`.
        variants_path: prompt variants in place of swapped words; see `read_variants`.
        shard: this process's part; None = by the environment (`accelerate launch`, `torchrun`).
        load: (settings, device) -> pipeline.
        opinion: in place of `config.gate.scorer`, which then only names it.
        num_workers: processes that write the set; 0 writes it in this one.
        stop: asked after every image.

    Raises:
        SupervisionError: no usable positive, or `out` holds a set made of something else.
        TrainingError: `out` holds negatives of other settings, or a model that does not load.
        ConfigError, CheckpointError, BackboneError: a scorer that does not load.
        DiffusionError: a model that does not take its settings, or too little memory.
    """
    shard = shard or Shard.from_environment()
    if config.models is None:
        config = replace(config, models=read_models(positives) or None)
    images = read_positive_images(positives, prompts_path)
    jobs = plan_jobs(images, config, read_variants(variants_path) if variants_path else None)
    generated = Path(out) / "generated"
    made = generate_negatives(
        jobs, generated, config, shard=shard, load=load, stop=stop, progress=progress
    )
    report = NegativesReport(made, stopped=made.stopped)
    if made.stopped or not made.is_complete or shard.rank > 0:
        return report
    if opinion is None and jobs:
        opinion = load_opinion(config.gate.scorer, device=shard.device)
    gate = run_gate(
        jobs, generated, config.gate, config.supervision, opinion, stop=stop, progress=progress
    )
    del opinion
    free_memory()
    report.stopped = gate.stopped
    if gate.stopped:
        return report
    report.gate = gate
    wanted = config.supervision
    supervision = replace(
        wanted,
        num_tuples=wanted.num_tuples or config.tuples_per_positive * len(images),
        num_ladders=wanted.num_ladders or config.ladders_per_positive * len(images),
    )
    built = build_supervision(
        positives,
        out,
        supervision,
        prompts_path=prompts_path,
        generated=generated,
        num_workers=num_workers,
    )
    report.rows = built.to_json()
    report.kinds = _kinds(out)
    report.num_matched_files = check_matched(out)
    return report


def _kinds(out: str | os.PathLike[str]) -> dict[str, dict[str, int]]:
    rows = read_manifest(out)
    counts = {
        "technical": Counter(row.technical.distortion for row in rows),
        "aesthetic": Counter(row.aesthetic.distortion for row in rows),
        "alignment": Counter(row.negative_prompt_kind for row in rows),
        "family": Counter(row.family for row in rows),
    }
    return {name: dict(sorted(count.items())) for name, count in counts.items()}
