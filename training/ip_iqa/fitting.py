"""The regression on ratings: one model, rows to train on, rows that choose the epoch.

    result = fit(model, data, train_rows, validation_rows, RatingSettings(), "runs/split-00")

Seeded by epoch and step, so a run that was stopped or killed ends with the weights of one that was
not. On several processes (accelerate) every process takes its slice of each batch.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from eliq.correlation import plcc, srcc
from eliq.errors import ConfigError, TrainingError
from eliq.ip_iqa import IPIQAModel, rating_loss
from training.curves import CurveLog
from training.placement import Placement
from training.run_state import RunState, StopRequest

from .data import RatedData
from .settings import RatingSettings, to_json

__all__ = ["FitResult", "correlations", "fit", "predict", "weights_digest"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class FitResult:
    """The trained model (eval mode, at its best epoch) and what it reaches on validation rows.

    ``stopped``: a stop was asked for before the end; the model is then not at its best epoch.
    """

    model: IPIQAModel
    best_epoch: int
    validation: dict[str, float]
    stopped: bool


def fit(
    model: IPIQAModel,
    data: RatedData,
    train_rows: Sequence[int],
    validation_rows: Sequence[int],
    settings: RatingSettings,
    run_dir: str | Path,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> FitResult:
    """Trains `model` in place; the epoch is chosen on `validation_rows`, never on a test fold.

    The last rows of an epoch that do not fill a batch are left to the next one's order.

    Raises:
        TrainingError: rows that overlap, fewer rows than a batch, a run directory of another run,
            or a loss that is not finite.
    """
    placement = placement or Placement()
    run_dir, train_rows = Path(run_dir), np.asarray(train_rows)
    _check_rows(data, train_rows, np.asarray(validation_rows), settings, placement)
    freeze_unused(model)
    wrapped = placement.wrap(model)
    optimizer = make_optimizer(model, settings)
    identity = {
        "task": "ip_iqa ratings",
        "config": model.config.to_json(),
        "settings": to_json(settings),
        "rows": [_digest(train_rows), _digest(np.asarray(validation_rows))],
        "world_size": placement.world_size,
        "start": weights_digest(model),
        "data": dict(fingerprint or {}),
    }
    state = RunState(run_dir, identity, keep=1)
    # Two: a kill between the two saves takes the newer one back.
    best_state = RunState(run_dir / "best", identity, keep=2)
    curves = CurveLog(run_dir)
    per_epoch = len(train_rows) // settings.batch_size
    parts = {"modules": {"model": model}, "optimizers": {"adamw": optimizer}}
    resumed = state.load_latest(**parts)
    track: dict[str, Any] = {"epoch": 0, "best": None, "best_epoch": 0, "validation": {}}
    if resumed is not None:
        track = {key: resumed[key] for key in track}
    if placement.is_main:
        curves.truncate(track["epoch"] * per_epoch)
        best_state.forget_after(track["epoch"] * per_epoch)
    bar = tqdm(
        total=settings.num_epochs * per_epoch,
        initial=track["epoch"] * per_epoch,
        desc="ratings",
        disable=None if progress and placement.is_main else True,
    )
    stopped = False
    while track["epoch"] < settings.num_epochs and not stopped:
        epoch = track["epoch"]
        model.train()
        order = np.random.default_rng((settings.seed, epoch)).permutation(train_rows)
        losses = []
        for step in range(per_epoch):
            batch = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            rows = batch[placement.rank :: placement.world_size]
            number = epoch * per_epoch + step
            # Dropout and flips depend on the step alone, so that a resumed run repeats them.
            torch.manual_seed(
                (settings.seed << 32) + number * placement.world_size + placement.rank
            )
            loss = _step(wrapped, data, rows, settings, placement, optimizer)
            losses.append(loss)
            bar.update(1)
            stopped = placement.any(bool(stop is not None and stop.requested))
            if stopped:
                break
        if stopped:
            break  # this epoch is taken again
        track["epoch"] = epoch + 1
        step = track["epoch"] * per_epoch
        mean_loss = placement.mean({"loss": float(np.mean(losses))})["loss"]
        if not np.isfinite(mean_loss):
            raise TrainingError(
                f"the loss of epoch {track['epoch']} is not finite: lower learning_rate"
            )
        last = track["epoch"] == settings.num_epochs
        improved = False
        if track["epoch"] % settings.validate_every == 0 or last:
            found = _validate(model, data, validation_rows, placement)
            improved = track["best"] is None or found["mean"] > track["best"]
            if improved:
                track.update(best=found["mean"], best_epoch=track["epoch"], validation=found)
            if placement.is_main:
                curves.append(step, loss=mean_loss, validation=found)
            bar.set_postfix(loss=f"{mean_loss:.3f}", srcc=f"{found['mean']:.3f}")
        if placement.is_main and improved:
            best_state.save(step, modules={"model": model}, extra=track)
        if placement.is_main and (track["epoch"] % settings.save_every == 0 or last or improved):
            state.save(step, **parts, extra=track)
        placement.wait()
    bar.close()
    if not stopped:
        loaded = best_state.load_latest(modules={"model": model})
        track = track if loaded is None else {**track, "best_epoch": loaded["best_epoch"]}
        if placement.is_main:
            curves.draw("IP-IQA on ratings")
    return FitResult(model.eval(), track["best_epoch"], dict(track["validation"]), stopped)


@torch.no_grad()
def predict(
    model: IPIQAModel,
    data: RatedData,
    rows: Sequence[int],
    *,
    batch_size: int = 64,
    device: torch.device | str | None = None,
) -> Tensor:
    """Raw scores float32 [len(rows),K] on the CPU, in the order of `rows`."""
    device = device or next(model.parameters()).device
    was_training = model.training
    model.eval()
    out = []
    for start in range(0, len(rows), batch_size):
        images, tokens, _ = data.batch(rows[start : start + batch_size], device=device)
        out.append(model(images, tokens).float().cpu())
    model.train(was_training)
    return torch.cat(out)


def correlations(model: IPIQAModel, scores: Tensor, ratings: Tensor) -> dict[str, float]:
    """SRCC and PLCC (raw Pearson) of each output, and ``mean`` of all of them.

    A model that says the same of every image has none of either, and counts as 0.
    """
    found: dict[str, float] = {}
    for column, output in enumerate(model.config.outputs):
        rated = ~ratings[:, column].isnan()
        pair = scores[rated, column].tolist(), ratings[rated, column].tolist()
        for name, measure in (("srcc", srcc), ("plcc", plcc)):
            try:
                found[f"{output}_{name}"] = measure(*pair)
            except ConfigError:
                found[f"{output}_{name}"] = 0.0
    return {**found, "mean": float(np.mean(list(found.values())))}


def make_optimizer(model: IPIQAModel, settings: RatingSettings) -> torch.optim.AdamW:
    """AdamW (.9, .999) with a group for CLIP, one for what is new, one for the head."""
    groups: dict[float, list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        is_new = name.startswith("cross.") or name.endswith(".qa")
        factor = settings.head_factor if name.startswith("head.") else 1.0
        factor = settings.new_factor if is_new else factor
        groups.setdefault(factor, []).append(parameter)
    return torch.optim.AdamW(
        [{"params": p, "lr": f * settings.learning_rate} for f, p in sorted(groups.items())],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )


def freeze_unused(model: IPIQAModel) -> None:
    """No gradient for what no output depends on: processes would wait for it for ever."""
    if model.config.streams == "prompt":
        model.visual.requires_grad_(False)


def weights_digest(model: nn.Module) -> str:
    """16 hex digits that differ where any tensor of the model does."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _step(
    wrapped: nn.Module,
    data: RatedData,
    rows: np.ndarray,
    settings: RatingSettings,
    placement: Placement,
    optimizer: torch.optim.Optimizer,
) -> float:
    images, tokens, ratings = data.batch(rows, device=placement.device)
    if settings.flip:
        is_flipped = (torch.rand(len(images)) < 0.5).to(images.device)
        images = torch.where(is_flipped[:, None, None, None], images.flip(3), images)
    loss = rating_loss(wrapped(images, tokens), ratings)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def _validate(
    model: IPIQAModel, data: RatedData, rows: Sequence[int], placement: Placement
) -> dict[str, float]:
    """On the first process over all rows, the same numbers in every process."""
    names = [f"{o}_{m}" for o in model.config.outputs for m in ("srcc", "plcc")] + ["mean"]
    found = dict.fromkeys(names, 0.0)
    if placement.is_main:
        scores = predict(model, data, rows)
        found = correlations(model, scores, data.ratings[torch.as_tensor(np.asarray(rows))])
    means = placement.mean({name: found[name] for name in names})
    return {name: value * placement.world_size for name, value in means.items()}


def _check_rows(
    data: RatedData,
    train: np.ndarray,
    validation: np.ndarray,
    settings: RatingSettings,
    placement: Placement,
) -> None:
    shared = {data.groups[i] for i in train} & {data.groups[i] for i in validation}
    if shared:
        raise TrainingError(
            f"expected no prompt on both sides of a split, found {min(shared)[:80]!r}"
        )
    if len(train) < settings.batch_size:
        raise TrainingError(
            f"expected at least one batch of {settings.batch_size} training rows, "
            f"found {len(train)}: lower batch_size"
        )
    if settings.batch_size % placement.world_size:
        raise TrainingError(
            f"batch_size: expected a multiple of the {placement.world_size} processes, "
            f"found {settings.batch_size}"
        )


def _digest(rows: np.ndarray) -> str:
    return hashlib.sha256(np.sort(rows).astype(np.int64).tobytes()).hexdigest()[:16]
