"""Trains and measures variants; what one has finished is never done again.

    OUT/ablation.json                   what is compared; another comparison is refused
    OUT/backbones/NAME/seed-S/..        stage1/, cache/ (embeddings of all rows), done.json
    OUT/variants/SET/VARIANT/seed-S/..  stage2/, result.json

A backbone is tuned once for all variants that share its stage 1, one at a time in memory. In
`untuned` there is no stage 1, and the seed decides nothing.
"""

from __future__ import annotations

import gc
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from eliq.backbone import Backbone
from eliq.errors import TrainingError

from ..dataset import Supervision
from ..embedding_cache import EmbeddingCache, build_cache, load_cache
from ..export import freeze_critic
from ..fingerprints import module_sha256
from ..journal import write_atomically
from ..pipeline import Stopped
from ..placement import Placement
from ..run_state import first_difference
from ..stage1 import train_stage1
from ..stage2 import Stage2Result, train_stage2
from ..stop_request import StopRequest
from .config import AblationConfig
from .heads import HEADS, represented
from .measure import backbone_outcome, head_outcome
from .variants import Variant

__all__ = ["Runner", "Sides", "run_ablations"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class Sides:
    """Training, validation and test rows, with no prompt on two sides."""

    train: Supervision
    validation: Supervision
    test: Supervision

    @classmethod
    def of(cls, rows: Supervision, config: AblationConfig) -> Sides:
        """Raises TrainingError where there are too few prompts."""
        rest, test = rows.split(config.test_share, seed=config.split_seed)
        return cls(*rest.split(config.validation_share, seed=config.split_seed), test)

    @property
    def rows(self) -> Supervision:
        return self.train + self.validation + self.test


def run_ablations(runner: Runner, variants: Sequence[Variant], seeds: Sequence[int]) -> None:
    """Trains and measures what is not finished.

    Raises:
        Stopped: a stop was requested; the same call goes on. EliqError: see the stages.
    """
    wanted = [(v, s) for s in seeds for v in variants if not runner.result_path(v, s).is_file()]
    order = {variant.backbone: place for place, variant in reversed(list(enumerate(variants)))}
    wanted.sort(key=lambda one: (one[1], order[one[0].backbone]))
    for number, (variant, seed) in enumerate(wanted, start=1):
        log.info("%s, seed %d (%d of %d)", variant.name, seed, number, len(wanted))
        runner.measure(variant, seed)


class Runner:
    """The steps of one comparison in one folder.

    Args:
        load: gives the backbone that every variant starts from, anew each time.
        backbone_sha256: its weights' (`module_sha256`), which must not change.

    Raises:
        TrainingError: `out` holds another comparison.
    """

    def __init__(
        self,
        rows: Supervision,
        config: AblationConfig,
        out: Path,
        *,
        load: Callable[[], Backbone],
        backbone_sha256: str,
        placement: Placement | None = None,
        storage_dtype: torch.dtype | None = torch.bfloat16,
        stop: StopRequest | None = None,
        progress: bool = True,
    ) -> None:
        self.sides, self.config, self.out = Sides.of(rows, config), config, Path(out)
        self.load, self.placement = load, placement or Placement()
        self.storage_dtype, self.stop, self.progress = storage_dtype, stop, progress
        self._cache: tuple[Path, EmbeddingCache, dict[str, Any]] | None = None
        self._backbone_sha256 = backbone_sha256
        self._claim()

    def result_path(self, variant: Variant, seed: int) -> Path:
        return self.out / "variants" / variant.name / f"seed-{seed}" / "result.json"

    def results(self, variant: Variant, seeds: Sequence[int]) -> Iterator[dict[str, Any]]:
        """What `measure` wrote for the seeds that are finished."""
        for path in (self.result_path(variant, seed) for seed in seeds):
            if path.is_file():
                yield json.loads(path.read_text(encoding="utf-8"))

    def measure(self, variant: Variant, seed: int) -> None:
        """Trains what is missing and writes result.json. Raises as `run_ablations`."""
        cache, origin = self.embeddings(variant, seed)
        trained = self.train_head(variant, seed, cache, origin)
        test = represented(cache.select(self.sides.test), variant.representation)
        aspects = [row.aspect for row in self.sides.test.ladders]
        num_negatives = [
            sum(len(side.aspects(row)) for row in side.tuples)
            for side in (kept.of(self.sides.train) for kept in (variant.stage1, variant.stage2))
        ]
        content = {
            "variant": variant.to_json(),
            "seed": seed,
            "backbone": variant.backbone,
            "num_negatives": [num_negatives[0] if variant.tuned else 0, num_negatives[1]],
            "stage1": origin["stage1"],
            "stage2": {
                "steps": trained.steps,
                "best_step": trained.best_step,
                "validation": trained.validation,
            },
            "head": head_outcome(trained.head, test),
            "answers": backbone_outcome(cache.select(self.sides.test), aspects),
        }
        write_atomically(self.result_path(variant, seed), json.dumps(content).encode() + b"\n")

    def train_head(
        self, variant: Variant, seed: int, cache: EmbeddingCache, origin: dict[str, Any]
    ) -> Stage2Result:
        """Stage 2 of a variant, or its finished head. Raises Stopped."""
        config = replace(self.config.stage2, seed=seed, **variant.stage2_settings)
        sides = [variant.stage2.of(side) for side in (self.sides.train, self.sides.validation)]
        trained = train_stage2(
            *(represented(cache.select(side), variant.representation) for side in sides),
            config,
            self.result_path(variant, seed).parent / "stage2",
            fingerprint={
                "cache": origin["cache"],
                "variant": variant.to_json(),
                "rows": [side.rows_sha256 for side in sides],
            },
            device=self.placement.device,
            stop=self.stop,
            progress=self.progress,
            make_head=HEADS[variant.head],
        )
        if trained.stopped:
            raise Stopped
        return trained

    def embeddings(self, variant: Variant, seed: int) -> tuple[EmbeddingCache, dict[str, Any]]:
        """Of all rows by the variant's backbone, tuned and cached where it is not yet, and what
        they were made of. Raises Stopped."""
        folder = self._backbone_folder(variant, seed)
        if self._cache is None or self._cache[0] != folder:
            self._cache = None
            if not (folder / "done.json").is_file():
                self._embed(variant, seed, folder)
                gc.collect()
            origin = json.loads((folder / "done.json").read_text(encoding="utf-8"))
            self._cache = (folder, load_cache(folder / "cache", self.sides.rows), origin)
        return self._cache[1:]

    def tuned_backbone(self, variant: Variant, seed: int) -> tuple[Backbone, dict[str, Any]]:
        """The frozen backbone of a variant, and what its stage 1 reached. Raises Stopped."""
        backbone, report = self.load(), {}
        if module_sha256(backbone) != self._backbone_sha256:
            raise TrainingError(
                f"the backbone {self.config.backbone} has changed since {self.out} was begun: "
                "restore it or give another --out"
            )
        if variant.tuned:
            sides = [variant.stage1.of(side) for side in (self.sides.train, self.sides.validation)]
            tuned = train_stage1(
                backbone,
                *sides,
                replace(self.config.stage1, seed=seed, **variant.stage1_settings),
                self._backbone_folder(variant, seed) / "stage1",
                placement=self.placement,
                stop=self.stop,
                progress=self.progress,
            )
            if tuned.stopped:
                raise Stopped
            report = {
                "steps": tuned.steps,
                "best_step": tuned.best_step,
                "validation": tuned.validation,
            }
        freeze_critic(backbone.to(self.placement.device), storage_dtype=self.storage_dtype)
        return backbone, report

    def _embed(self, variant: Variant, seed: int, folder: Path) -> None:
        backbone, report = self.tuned_backbone(variant, seed)
        finished = build_cache(
            backbone, self.sides.rows, folder / "cache", stop=self.stop, progress=self.progress
        )
        if not finished:
            raise Stopped
        fingerprint = (folder / "cache" / "fingerprint.json").read_text(encoding="utf-8")
        content = {"stage1": report, "cache": json.loads(fingerprint)}
        write_atomically(folder / "done.json", json.dumps(content, indent=1).encode() + b"\n")

    def _backbone_folder(self, variant: Variant, seed: int) -> Path:
        seed_name = f"seed-{seed}" if variant.tuned else "any-seed"
        return self.out / "backbones" / variant.backbone / seed_name

    def _claim(self) -> None:
        """Says in the folder what is compared, or checks that it is the same."""
        path = self.out / "ablation.json"
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        free = ("num_resamples", "confidence")  # of the report alone
        config = {k: v for k, v in self.config.to_json().items() if k not in free}
        ours = json.loads(
            json.dumps(
                {
                    "format": "eliq-ablation",
                    "config": config,
                    "rows_sha256": self.sides.rows.rows_sha256,
                    "supervision_sha256": self.sides.rows.sha256,
                    "backbone_sha256": self._backbone_sha256,
                }
            )
        )
        differing = None if found is None else first_difference(found, ours)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"{self.out} holds a comparison whose {field} was {was} and is now {now}: restore "
                "it or give another --out"
            )
        if found is None:
            write_atomically(path, json.dumps(ours, indent=1).encode() + b"\n")
