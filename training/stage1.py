"""Stage 1, quality-aware instruction tuning (Eq. 5): low or high for each aspect of each tuple.

The same loop tunes a backbone of 5M parameters in full and one of 8B by LoRA; only
`Stage1Config` differs. Beside Eq. 5 it ranks the margins logit(high) - logit(low) of severity
ladders, because labels alone do not teach an order that holds on photographs.

    train, held_out = read_supervision("runs/set").split(0.1)
    result = train_stage1(backbone, train, held_out, Stage1Config(), "runs/critic/stage1")

Run again with the same arguments after a stop or a kill, it goes on where the last complete
checkpoint is, with bit-equal results on one device. W processes that accumulate A micro-batches
take the very micro-batches and dropout masks of one process that accumulates W x A, so their
results differ by the order of additions alone.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from eliq.backbone import Backbone
from eliq.errors import TrainingError
from eliq.losses import instruction_tuning_loss, ladder_ranking_loss

from .asking import Answers
from .curves import CurveLog
from .dataset import Supervision
from .fingerprints import module_sha256
from .optimizers import build_optimizers, cosine_factor, set_learning_rate
from .placement import Placement
from .run_state import RunState, StopRequest
from .sharding import fill_outline, outline, whole
from .stage1_batches import IGNORED, MicroBatch, MicroBatches
from .stage1_config import Stage1Config
from .stage1_validation import validate
from .step_lines import StepLines
from .tuning import prepare, set_checkpointing

__all__ = ["Stage1Config", "Stage1Result", "prepare", "stage1_loss", "train_stage1"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class Stage1Result:
    """Steps taken, held-out values, and whether a signal stopped the run before its end.

    `best_step` is the step whose weights the backbone now has; a finished run gives their values,
    a stopped one those of its last validation.
    """

    steps: int
    stopped: bool
    validation: dict[str, float]
    best_step: int


def stage1_loss(
    answers: Answers, batch: MicroBatch, answer_ids: Tensor, config: Stage1Config
) -> tuple[Tensor, dict[str, Tensor]]:
    """Eq. 5 on the labelled answers plus the ladder ranking of the margins.

    `answer_ids` int64 [2] are the tokens of low and high. Returns the loss and its parts.
    """
    labels = batch.labels[batch.labels != IGNORED].to(answer_ids.device)
    instruction = instruction_tuning_loss(answers.logits, answer_ids[labels])
    ladder = answers.margins.new_zeros(())
    if len(batch.ladders) and config.ladder_weight:
        places = batch.ladders.to(answers.margins.device)
        scores = answers.margins[places.clamp(min=0)]
        scores = torch.where(places >= 0, scores, torch.nan)
        ladder = ladder_ranking_loss(
            scores[:, 0],
            scores[:, 1:],
            margin_step=config.ladder_margin_step,
            margin_total=config.ladder_margin_total,
        )
    loss = instruction + config.ladder_weight * ladder
    return loss, {"instruction_loss": instruction.detach(), "ladder_loss": ladder.detach()}


def train_stage1(
    backbone: Backbone,
    train: Supervision,
    held_out: Supervision,
    config: Stage1Config,
    run_dir: str | Path,
    *,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> Stage1Result:
    """Tunes `backbone` in place and leaves it in evaluation mode, adapters unmerged.

    Writes checkpoints, metrics.jsonl and curves.png to `run_dir`. `stop` asks for a save and an
    early end (see `StopRequest`); call again to go on. After a sharded run the first process holds
    the tuned model, on the CPU; in the others `backbone` is in slices and of no further use.

    Raises:
        TrainingError: the run directory belongs to another run, the loss is not finite, or the
            disk is full (the last checkpoint is whole).
    """
    placement = placement or Placement()
    run_dir = Path(run_dir)
    num_steps = config.steps(len(train.tuples), placement.world_size)
    fingerprint = {
        "stage": 1,
        "config": {k: v for k, v in config.to_json().items() if k != "num_workers"},
        "num_steps": num_steps,
        "manifest_sha256": train.sha256,
        "rows_sha256": [train.rows_sha256, held_out.rows_sha256],
        "num_train": [len(train.tuples), len(train.ladders)],
        "backbone_sha256": module_sha256(backbone),
        "instructions": backbone.instructions.to_json(),
        "patches": backbone.patches.to_json(),
        "world_size": placement.world_size,
    }
    asking = prepare(backbone, config)
    empty = outline(backbone.model) if placement.is_sharded else None
    wrapped = placement.wrap(asking)
    optimizers = build_optimizers(
        asking,
        kind=config.optimizer,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        adamw_learning_rate=config.adamw_learning_rate,
    )
    saved_parts = {"modules": {"asking": asking}, "optimizers": optimizers}
    state = RunState(run_dir, fingerprint, keep=2, trainable_only=("asking",))
    # Two: a kill may come between saving the best and saving the run, and what it resumes with is
    # then the one before.
    best_state = RunState(run_dir / "best", fingerprint, keep=2, trainable_only=("asking",))
    curves = CurveLog(run_dir)
    resumed = state.load_latest(**saved_parts)
    progress_state: dict[str, Any] = {"best_score": -1.0, "best_step": 0, "validation": {}}
    first = 0
    if resumed is not None:
        first = resumed.pop("step")
        progress_state = resumed
        log.info("stage 1 goes on from step %d of %d", first, num_steps)
    if placement.is_main:
        curves.truncate(first)
        best_state.forget_after(first)

    ids = backbone.layout
    answer_ids = torch.tensor([ids.low_id, ids.high_id], device=placement.device)
    batches = _loader(train, config, placement, first, num_steps)
    bar = StepLines("stage 1", num_steps, done=first, shown=progress and placement.is_main)
    step, stopped = first, False
    saves = placement.is_main or placement.is_sharded  # slices are gathered by all together
    while step < num_steps and not stopped:
        wrapped.train()
        set_learning_rate(optimizers, cosine_factor(step, num_steps, config.warmup_share))
        total, parts_sum = 0.0, {}
        for accumulated in range(config.grad_accumulation):
            number, batch = next(batches)
            # Dropout is a function of (seed, micro-batch): resuming needs no random state of other
            # processes, and the number of processes changes nothing.
            torch.manual_seed(config.seed * 1_000_000_007 + number)
            last = accumulated == config.grad_accumulation - 1
            with placement.accumulate(wrapped, last=last):
                images = [image.to(placement.device) for image in batch.images]
                answers = wrapped(images, batch.questions, batch.labels != IGNORED)
                loss, parts = stage1_loss(answers, batch, answer_ids, config)
                (loss / config.grad_accumulation).backward()
            total += float(loss.detach()) / config.grad_accumulation
            for name, value in parts.items():
                parts_sum[name] = parts_sum.get(name, 0.0) + float(value) / config.grad_accumulation
        means = placement.mean({"loss": total, **parts_sum})
        if not math.isfinite(means["loss"]):
            raise TrainingError(
                f"stage 1: the loss at step {step} is {means['loss']}; lower learning_rate or set "
                "precision to float32, and resume from the last checkpoint"
            )
        norm = float(
            whole(torch.nn.utils.clip_grad_norm_(_trainable(asking), config.max_grad_norm))
        )
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        stopped = placement.any(bool(stop is not None and stop.requested))
        bar.update(1, loss=f"{means['loss']:.3f}")
        if placement.is_main:
            curves.append(
                step,
                **means,
                grad_norm=norm,
                learning_rate=config.learning_rate
                * cosine_factor(step - 1, num_steps, config.warmup_share),
            )
        improved = False
        if step % config.validate_every == 0 or step == num_steps:
            values = validate(asking, held_out, max_rows=config.max_validation_rows)
            values = placement.mean(values)  # all must agree on what is the best
            progress_state["validation"] = values
            improved = values["score"] >= progress_state["best_score"]
            if improved:
                progress_state.update(best_score=values["score"], best_step=step)
                if saves and config.select == "best":
                    best_state.save(
                        step,
                        modules={"asking": asking},
                        extra=progress_state,
                        write=placement.is_main,
                    )
            if placement.is_main:
                curves.append(step, validation=values)
                curves.draw("stage 1: quality-aware instruction tuning")
        due = step % config.save_every == 0 or stopped or step == num_steps
        if saves and (due or (improved and config.select == "best")):
            state.save(step, **saved_parts, extra=progress_state, write=placement.is_main)
    bar.close()
    placement.wait()
    best_step = step
    if not stopped and config.select == "best" and progress_state["best_step"] not in (0, step):
        loaded = best_state.load_latest(modules={"asking": asking})
        if loaded is not None:  # the values reported belong to the weights that are kept
            best_step, progress_state = loaded["step"], loaded
    if empty is not None:
        empty = fill_outline(empty, backbone.model, keep=placement.is_main)
        if placement.is_main:
            backbone.model = empty
    if config.gradient_checkpointing:
        set_checkpointing(backbone.model, False)
    backbone.eval()
    return Stage1Result(step, stopped and step < num_steps, progress_state["validation"], best_step)


def _loader(
    train: Supervision, config: Stage1Config, placement: Placement, first: int, num_steps: int
) -> Iterator[tuple[int, MicroBatch]]:
    """The micro-batches of this process and their numbers in the whole run."""
    batches = MicroBatches(
        train,
        num_tuples=config.tuples_per_forward,
        num_ladders=config.ladders_per_forward,
        seed=config.seed,
    )
    per_step = config.grad_accumulation
    numbers = [
        k * placement.world_size + placement.rank
        for k in range(first * per_step, num_steps * per_step)
    ]
    loader = DataLoader(batches, batch_size=None, sampler=numbers, num_workers=config.num_workers)
    return zip(numbers, loader, strict=True)


def _trainable(module: torch.nn.Module) -> list[Tensor]:
    return [p for p in module.parameters() if p.requires_grad]
