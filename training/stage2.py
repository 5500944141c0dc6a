"""Stage 2: the scoring head on frozen embeddings (Eqs. 9-20), plus the severity ladders.

    result = train_stage2(cache.select(train), cache.select(held_out), Stage2Config(), run_dir)

The backbone is not needed: all embeddings come from the cache, and a small head trains in seconds
on a CPU. The run stops early on held-out tuples and ends with its best weights; it is seeded and
resumable like stage 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from eliq.errors import TrainingError
from eliq.head import HeadConfig, ScoringHead

from .curves import CurveLog
from .embedding_cache import EmbeddingCache
from .head_scores import validate_head
from .optimizers import build_optimizers, cosine_factor, set_learning_rate
from .run_state import RunState, StopRequest
from .stage2_config import Stage2Config
from .stage2_losses import stage2_loss
from .step_lines import StepLines

__all__ = ["Stage2Config", "Stage2Result", "train_stage2"]


@dataclass(frozen=True)
class Stage2Result:
    """The trained head (evaluation mode, CPU) and what it reaches on the held-out rows."""

    head: ScoringHead
    steps: int
    best_step: int
    stopped: bool
    validation: dict[str, float]


def train_stage2(
    train: EmbeddingCache,
    held_out: EmbeddingCache,
    config: Stage2Config,
    run_dir: str | Path,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    device: str | torch.device = "cpu",
    stop: StopRequest | None = None,
    progress: bool = True,
    make_head: Callable[[HeadConfig], ScoringHead] = ScoringHead,
) -> Stage2Result:
    """Trains a head on the cached embeddings.

    `fingerprint` is what the caller knows of where the embeddings come from (plain JSON); a run
    directory of another one is refused. `make_head` makes another head of the same form, which an
    ablation compares (and whose name the caller puts in `fingerprint`).

    Raises:
        TrainingError: the run directory belongs to another run, or the loss is not finite.
    """
    run_dir = Path(run_dir)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = make_head(config.head(train.hidden_size)).to(device)
    optimizers = build_optimizers(
        head,
        kind="adamw",
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
    )
    identity = {
        "stage": 2,
        "config": config.to_json(),
        "data": dict(fingerprint or {}),
        "num_rows": [len(train.tuple_ids), len(train.ladder_ids), len(held_out.tuple_ids)],
    }
    parts = {"modules": {"head": head}, "optimizers": optimizers}
    state = RunState(run_dir, identity, keep=1)
    best_state = RunState(run_dir / "best", identity, keep=2)  # as in stage 1
    curves = CurveLog(run_dir)
    resumed = state.load_latest(**parts)
    track: dict[str, Any] = {"best_loss": None, "best_step": 0, "validation": {}, "bad": 0}
    step = 0
    if resumed is not None:
        step, track = resumed.pop("step"), resumed
    curves.truncate(step)
    best_state.forget_after(step)
    wanted, stopped = config.steps(len(train.tuple_ids)), False
    bar = StepLines("stage 2", wanted, done=step, shown=progress)
    shown: dict[str, str] = {}
    while step < wanted and track["bad"] < config.patience and not stopped:
        head.train()
        set_learning_rate(optimizers, cosine_factor(step, wanted, config.warmup_share))
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        loss, values = stage2_loss(head, train, config, step, generator, device)
        if not torch.isfinite(loss):
            raise TrainingError(
                f"stage 2: the loss at step {step} is not finite; lower stage2.learning_rate"
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), config.max_grad_norm)
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step += 1
        bar.update(1, loss=f"{float(loss.detach()):.3f}", **shown)
        curves.append(step, loss=float(loss.detach()), **values)
        stopped = stop is not None and stop.requested
        improved = False
        if step % config.validate_every == 0 or step == wanted:
            track["validation"] = validate_head(head, held_out, config, device=device)
            curves.append(step, validation=track["validation"])
            now, best = track["validation"]["loss"], track["best_loss"]
            track["bad"] += 1
            improved = best is None or now < best
            if improved:
                track.update(best_loss=now, best_step=step, bad=0)
                best_state.save(step, modules={"head": head}, extra=track)
            shown = {"held_out_loss": f"{now:.3f}"}
        if step % config.save_every == 0 or stopped or improved or step == wanted:
            state.save(step, **parts, extra=track)
    bar.close()
    stopped = stopped and step < wanted
    if not stopped:
        loaded = best_state.load_latest(modules={"head": head})
        track = loaded if loaded is not None else track
    curves.draw("stage 2: the scoring head")
    return Stage2Result(head.cpu().eval(), step, track["best_step"], stopped, track["validation"])
