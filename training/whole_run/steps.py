"""The steps of a whole run, in order, each of them resumable by itself.

    OUT/config.json    what the run is of; another config is refused
    OUT/positives/..   generated positives, unless the images are the user's
    OUT/set/..         the supervision set (and what generators made for it, in set/generated)
    OUT/stage1, cache, stage2, critic     as `training.train_critic` writes them
    OUT/evaluation/..  report.md, report.json, plots
    OUT/run.json       what each step did, and how long it took

Started by `accelerate launch`, every process generates its share and trains in stage 1; the rest
is the first one's.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from eliq.errors import TrainingError
from eliq.supervision import build_supervision

from ..backbones import load_backbone, origin_of
from ..evaluate import evaluate
from ..evaluation import RatedSet, load_raters
from ..journal import write_atomically
from ..negatives import make_negatives
from ..pipeline import Stopped, train_critic
from ..placement import Placement
from ..positives import Shard, free_memory, make_positives
from ..prompts import read_prompts
from ..run_state import first_difference
from ..stage_settings import stage_configs
from ..stop_request import StopRequest
from .checks import check_libraries, read_rated
from .config import RunConfig
from .model_checks import check_models

__all__ = ["run_all"]

log = logging.getLogger("eliq")
_CONFIG_NAME = "config.json"
_FREE = ("evaluation", "num_workers")  # may differ when a run goes on


def run_all(
    config: RunConfig,
    out: Path,
    *,
    placement: Placement | None = None,
    smoke: bool = False,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Runs every step; returns what each did (nothing in processes other than the first).

    `smoke` takes the stages' settings for a model of no size. Benchmarks are read, and libraries
    and models looked for, before the first step.

    Raises:
        Stopped, Interrupted: `stop` was requested; the same call goes on.
        EliqError: see the steps.
    """
    placement = placement or Placement()
    run = _Run(config, out, placement, stop, progress)
    check_libraries(config)
    if placement.is_main:
        run.rated = read_rated(config)
        if not (out / _CONFIG_NAME).is_file():  # a run that goes on may be past some of them
            check_models(config)
        _claim(config, out)
    images = run.step("positives", run.positives)
    run.step("set", lambda: run.supervision(images))
    run.step("critic", lambda: run.train(smoke))
    placement.close()  # a long evaluation would outlast the patience of the others
    if not placement.is_main:
        return {}
    run.step("evaluation", lambda: run.evaluate(smoke))
    return run.report


class _Run:
    """What the steps share."""

    def __init__(
        self,
        config: RunConfig,
        out: Path,
        placement: Placement,
        stop: StopRequest | None,
        progress: bool,
    ) -> None:
        self.config, self.out, self.placement = config, out, placement
        self.stop, self.progress = stop, progress
        self.shard = Shard(placement.rank, placement.world_size, str(placement.device))
        self.rated: list[RatedSet] = []
        self.report: dict[str, Any] = {"out": str(out), "steps": {}}

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """Does one step, then waits for the other processes; keeps its report and its time."""
        log.info("step: %s", name)
        start = time.perf_counter()
        result, report = work()
        self.placement.wait()
        report["seconds"] = round(time.perf_counter() - start, 1)
        self.report["steps"][name] = report
        if self.placement.is_main:
            text = json.dumps(self.report, indent=1, default=str)
            write_atomically(self.out / "run.json", text.encode())
        return result

    def positives(self) -> tuple[Path, dict[str, Any]]:
        config = self.config
        if config.images is not None:
            return Path(config.images), {"images": config.images}
        folder = self.out / "positives"
        prompts = read_prompts(config.prompts)[: config.max_prompts]
        made = make_positives(
            prompts, folder, config.positives, shard=self.shard, stop=self.stop,
            progress=self.progress,
        )  # fmt: skip
        self._stop_together(made.stopped)
        if self.placement.is_main and self.placement.world_size > 1:  # the list, now with all parts
            made = make_positives(
                prompts, folder, config.positives, shard=self._alone(), progress=False
            )
        if self.placement.is_main and not made.num_images:
            raise TrainingError(f"{folder}: no usable positive was generated: {made.left_out}")
        return folder, made.to_json()

    def supervision(self, images: Path) -> tuple[None, dict[str, Any]]:
        config, folder = self.config, self.out / "set"
        prompts = config.prompts if config.images is not None else None
        if config.negatives is None:
            report: dict[str, Any] = {}
            if self.placement.is_main:
                report = build_supervision(
                    images, folder, config.supervision, prompts_path=prompts,
                    num_workers=config.num_workers,
                ).to_json()  # fmt: skip
            return None, report
        arguments = {
            "prompts_path": prompts,
            "num_workers": config.num_workers,
            "stop": self.stop,
            "progress": self.progress,
        }
        made = make_negatives(images, folder, config.negatives, shard=self.shard, **arguments)
        self._stop_together(made.stopped)
        if self.placement.is_main and not made.is_complete:  # the others were still at work
            made = make_negatives(
                images, folder, config.negatives, shard=self._alone(), **arguments
            )
            if made.stopped:
                raise Stopped
        return None, made.to_json()

    def train(self, smoke: bool) -> tuple[None, dict[str, Any]]:
        config, choice = self.config, self.config.backbone
        backbone = load_backbone(
            choice.name,
            revision=choice.revision,
            dtype=getattr(torch, choice.dtype),
            device=self.placement.loading_device(config.stage1.get("tuning", "")),
            max_pixels=choice.max_pixels,
        )
        number = sum(p.numel() for p in backbone.parameters())
        stage1, stage2 = stage_configs(
            number, config.stage1, config.stage2, seed=config.seed, smoke=smoke
        )
        report = train_critic(
            self.out / "set",
            self.out,
            backbone=backbone,
            stage1=stage1,
            stage2=stage2,
            supervision=config.supervision,
            held_out_share=config.held_out_share,
            split_seed=config.seed,
            facts=origin_of(choice.name, choice.revision) | {"num_parameters": number},
            placement=self.placement,
            stop=self.stop,
            progress=self.progress,
        )
        del backbone
        free_memory()
        return None, report

    def evaluate(self, smoke: bool) -> tuple[None, dict[str, Any]]:
        """Against the benchmarks, if any."""
        choice, device = self.config.evaluation, str(self.placement.device)
        if not choice.sets:
            return None, {"not_run": "no benchmark is named in evaluation.sets"}
        not_run: dict[str, str] = {}
        raters = load_raters(
            self.out / "critic",
            not_run=not_run,
            name="critic",
            zero_shot=choice.zero_shot,
            pyiqa=choice.pyiqa,
            device=device,
        )
        report = evaluate(
            self.rated,
            raters,
            choice.settings,
            self.out / "evaluation",
            not_run=not_run,
            note="Smoke run: these numbers mean nothing." if smoke else None,
            stop=self.stop,
            progress=self.progress,
        )
        return None, report

    def _alone(self) -> Shard:
        return Shard(0, 1, str(self.placement.device))

    def _stop_together(self, stopped: bool) -> None:
        if self.placement.any(stopped):
            raise Stopped


def _claim(config: RunConfig, out: Path) -> None:
    """Says in the folder what its run is of, or checks that this run is of the same."""
    path = out / _CONFIG_NAME
    ours = json.loads(json.dumps(config.to_json()))
    if path.is_file():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        decides = [{k: v for k, v in one.items() if k not in _FREE} for one in (theirs, ours)]
        differing = first_difference(*decides)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"{out} holds a run whose {field} was {was} and is now {now}: restore it or give "
                "another --out"
            )
    write_atomically(path, json.dumps(ours, indent=1).encode() + b"\n")
