"""One short pretraining from random weights, and what it measures on selection data.

Nothing here sees a test set of benchmarks/: scenes and ladders are of the seeds of selection.py,
photographs those of select_photographs.py.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from eliq.backbone import Backbone
from eliq.errors import TrainingError

from ...precision import bf16_autocast
from ...stop_request import StopRequest
from ..attention import use_matmul_attention
from ..batches import BatchMaker, Level
from ..model import EMBEDDED_PATCHES, make_backbone
from ..pretrain import (
    LEVELS,
    PretrainConfig,
    learning_rate_factor,
    learning_rates,
    make_optimizers,
    make_tokenizer,
    new_model,
    training_step,
)
from ..scenes import FULL_DIFFICULTY, SceneConfig
from ..select_photographs import SELECTION_DISTORTIONS, select_photographs
from ..selection import select_alignment, select_ladders
from .variants import FAMILIES, Variant

__all__ = ["SMOKE", "Budget", "level_at", "measure", "run_one", "train"]

_DIFFICULTIES = {"easy": SceneConfig(), "full": FULL_DIFFICULTY}


@dataclass(frozen=True)
class LadderBudget:
    """How long variants train on ladders, of what sizes, and on how much they are measured."""

    steps: int = 100
    warmup_steps: int = 20
    ladders: int = 2
    sizes_px: tuple[int, ...] = (128, 160)
    selection_ladders: int = 84
    family_ladders: int = 24
    selection_px: int = 128
    photograph_px: int = 128


@dataclass(frozen=True)
class SceneBudget:
    """The same for scenes with prompts; `rows` scenes a step."""

    steps: int = 100
    warmup_steps: int = 20
    rows: int = 16
    size_px: int = 128
    selection_scenes: int = 144


@dataclass(frozen=True)
class Budget:
    """Equal for all variants that are compared."""

    ladders: LadderBudget = LadderBudget()
    scenes: SceneBudget = SceneBudget()

    def of(self, variant: Variant) -> LadderBudget | SceneBudget:
        """That of a variant's kind of batches."""
        return self.ladders if variant.ladders else self.scenes


SMOKE = Budget(
    LadderBudget(
        steps=2, warmup_steps=1, ladders=1, sizes_px=(96,), selection_ladders=2, family_ladders=1,
        selection_px=96, photograph_px=96,
    ),
    SceneBudget(steps=2, warmup_steps=1, rows=4, size_px=96, selection_scenes=4),
)  # fmt: skip


def level_at(variant: Variant, budget: Budget, share: float) -> Level:
    """What is trained on at a share 0..1 of the run: the recipe's levels, on small images."""
    levels = [level for level in LEVELS if level.start <= share]
    level = levels[-1] if variant.curriculum and not variant.ladders else LEVELS[-1]
    return replace(
        level,
        ladder_share=float(variant.ladders),
        ladder_px=budget.ladders.sizes_px,
        alignment_px=(budget.scenes.size_px,),
        photographed=0.0,
    )


def train(
    variant: Variant, budget: Budget, *, seed: int, stop: StopRequest, progress: bool = True
) -> Backbone | None:
    """The trained backbone; None where `stop` was requested on the way."""
    steps = budget.of(variant).steps
    config = PretrainConfig(seed=seed, warmup_steps=budget.of(variant).warmup_steps)
    patches = replace(EMBEDDED_PATCHES, second_frame=variant.second_frame)
    backbone = make_backbone(make_tokenizer(), seed=seed, patches=patches)
    torch.manual_seed(seed)
    model = new_model(backbone).train()
    use_matmul_attention(backbone.model)
    optimizers = make_optimizers(model, config)
    bases = learning_rates(optimizers)
    maker = BatchMaker(
        backbone.layout,
        backbone.patches,
        seed=seed,
        alignment_rows=budget.scenes.rows,
        ladders=budget.ladders.ladders,
        distortions=variant.distortions,
        cameras=variant.cameras,
    )
    label = f"{variant.name}, seed {seed}"
    for step in tqdm(range(steps), desc=label, unit="step", disable=None if progress else True):
        if stop.requested:
            return None
        batch = maker.make(step, level_at(variant, budget, step / steps))
        factor = learning_rate_factor(step, steps, config)
        training_step(model, optimizers, bases, factor, batch, variant.weights)
    return backbone.eval()


def measure(
    backbone: Backbone, variant: Variant, budget: Budget, photographs: Path | None
) -> dict[str, float]:
    """Figures 0..1 (SRCC -1..1), higher is better, named `part/what`."""
    if not variant.ladders:
        return {
            f"{name}/{kind}": value
            for name, difficulty in _DIFFICULTIES.items()
            for kind, value in select_alignment(
                backbone,
                num_scenes=budget.scenes.selection_scenes,
                size_px=budget.scenes.size_px,
                difficulty=difficulty,
            ).items()
        }
    figures: dict[str, float] = {}
    if variant.left_out is None:
        ladders = select_ladders(
            backbone,
            num_ladders=budget.ladders.selection_ladders,
            size_px=budget.ladders.selection_px,
        )
        figures |= {f"ladders/{name}": value for name, value in ladders.items()}
        figures |= {
            f"photographs/{name}": value
            for name, value in _photographs(
                backbone, SELECTION_DISTORTIONS, budget, photographs
            ).items()
        }
    for family in variant.measured_families:
        ladders = select_ladders(
            backbone,
            num_ladders=budget.ladders.family_ladders,
            size_px=budget.ladders.selection_px,
            distortions=FAMILIES[family],
        )
        # All of a family damage one aspect.
        (figures[f"{family}/order"],) = (v for k, v in ladders.items() if k.endswith("order"))
        found = _photographs(backbone, FAMILIES[family], budget, photographs)
        figures[f"{family}/photographs"] = found["mean"]
    return figures


def run_one(
    variant: Variant,
    budget: Budget,
    *,
    seed: int,
    photographs: Path | None,
    stop: StopRequest,
    progress: bool = True,
) -> dict[str, Any] | None:
    """Trains and measures; a plain JSON result, or None where `stop` was requested.

    Raises:
        TrainingError: a figure that is not finite: the run has failed.
    """
    started = time.process_time()
    backbone = train(variant, budget, seed=seed, stop=stop, progress=progress)
    if backbone is None:
        return None
    trained = time.process_time()
    figures = measure(backbone, variant, budget, photographs)
    if not all(-1 <= value <= 1 for value in figures.values()):
        raise TrainingError(f"{variant.name}, seed {seed}: figures must be finite, found {figures}")
    return {
        "steps": budget.of(variant).steps,
        "training_cpu_s": round(trained - started, 1),
        "measuring_cpu_s": round(time.process_time() - trained, 1),
        "figures": figures,
    }


def _photographs(
    backbone: Backbone, distortions: tuple[str, ...], budget: Budget, folder: Path | None
) -> dict[str, float]:
    """Within-photograph SRCC of the mean of the technical and the aesthetic margin."""

    @torch.inference_mode()
    def score(images: list[Tensor]) -> list[float]:
        pixels, grid = backbone.pixels(images)
        questions = [backbone.layout.technical, backbone.layout.aesthetic]
        rows = backbone.pack(grid, [questions] * len(images))
        with bf16_autocast():
            hidden = backbone.hidden_states(rows, pixels, grid)
        return backbone.margins(backbone.read(hidden, rows)).mean(1).tolist()

    return select_photographs(
        score, folder=folder, side_px=budget.ladders.photograph_px, distortions=distortions
    )
