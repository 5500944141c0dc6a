"""Image2Prompt incremental pretraining: generated images are pulled to their prompts' vectors.

    python -m training.ip_iqa.image2prompt --clip DIR --pairs pairs.jsonl --out runs/image2prompt
    python -m training.ip_iqa.image2prompt --smoke                                    # seconds

Each line of `pairs.jsonl` is {"path": ..., "prompt": ...}, paths relative to the file; the paper
takes a subset of DiffusionDB. The loss is 1 - cosine of CLIP's image vector and the frozen vector
of the prompt, and only the visual tower is trained. There are no negatives: one vector for every
image would lower this loss too. So `metrics.jsonl` holds a collapse check on held-out pairs before
the first and after every epoch: the spread of image vectors, and how often an image finds its own
prompt. A check that fails is a warning, and is said in the result. No prompt of a held-out pair is
trained on.

Writes the trained visual tower as checkpoints of `training.run_state`; `train.py --image2prompt`
takes it. Stopped or killed, the same command goes on.

Hardware and time: RN50 at 512 px wants a GPU of 24 GB [computed by memory.py, not run].
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from eliq.errors import EliqError, TrainingError
from eliq.ip_iqa import IPIQAModel, collapse_check, image2prompt_loss
from training.curves import CurveLog
from training.placement import Placement
from training.run_state import RunState, StopRequest

from .data import RatedData
from .fitting import weights_digest
from .settings import Image2PromptSettings, to_json

__all__ = ["Image2PromptResult", "image2prompt", "load_visual"]

log = logging.getLogger("eliq")


@dataclass(frozen=True)
class Image2PromptResult:
    """The checks before the first epoch and after each one, and whether the last one failed."""

    checks: list[dict[str, Any]]
    collapsed: bool
    stopped: bool


class _ImageVectors(nn.Module):
    """The visual tower as a module whose forward is what is trained."""

    def __init__(self, model: IPIQAModel) -> None:
        super().__init__()
        self.visual = model.visual

    def forward(self, images: Tensor) -> Tensor:
        return self.visual(images).embedding


def image2prompt(
    model: IPIQAModel,
    data: RatedData,
    settings: Image2PromptSettings,
    run_dir: str | Path,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> Image2PromptResult:
    """Trains the visual tower of `model` in place on images and prompts of `data` (no ratings).

    Raises:
        TrainingError: too few pairs, a run directory of another run, or a loss that is not finite.
    """
    placement = placement or Placement()
    run_dir = Path(run_dir)
    checked, trained = _held_out(data.groups, settings)
    if len(checked) < 2 or len(trained) < settings.batch_size:
        raise TrainingError(
            f"Image2Prompt: expected {settings.batch_size} pairs or more beside a fifth to check "
            f"on, no prompt in both, found {len(data)} pairs of {len(set(data.groups))} prompts: "
            "give more pairs or a smaller batch"
        )
    device = placement.device
    model.to(device)
    targets = prompt_vectors(model, data, device)
    vectors = _ImageVectors(model)
    wrapped = placement.wrap(vectors)
    optimizer = torch.optim.AdamW(
        model.visual.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    identity = {
        "task": "image2prompt",
        "config": model.config.to_json(),
        "settings": to_json(settings),
        "num_pairs": len(data),
        "world_size": placement.world_size,
        "start": weights_digest(model.visual),
        "data": dict(fingerprint or {}),
    }
    state, curves = RunState(run_dir, identity, keep=1), CurveLog(run_dir)
    parts = {"modules": {"visual": model.visual}, "optimizers": {"adamw": optimizer}}
    resumed = state.load_latest(**parts)
    track: dict[str, Any] = {"epoch": 0, "checks": []}
    per_epoch = len(trained) // settings.batch_size
    if resumed is not None:
        track = {key: resumed[key] for key in track}
    if placement.is_main:
        curves.truncate(-1 if resumed is None else track["epoch"] * per_epoch)
        if resumed is None:
            track["checks"].append(_checked(model, data, checked, targets, curves, 0))
    bar = tqdm(
        total=settings.num_epochs * per_epoch,
        initial=track["epoch"] * per_epoch,
        desc="Image2Prompt",
        disable=None if progress and placement.is_main else True,
    )
    stopped = False
    while track["epoch"] < settings.num_epochs and not stopped:
        epoch = track["epoch"]
        model.visual.train()
        rows_now = np.random.default_rng((settings.seed, 1 + epoch)).permutation(trained)
        losses = []
        for step in range(per_epoch):
            batch = rows_now[step * settings.batch_size : (step + 1) * settings.batch_size]
            rows = batch[placement.rank :: placement.world_size]
            images = data.batch(rows, device=device)[0]
            if settings.flip and (epoch * per_epoch + step) % 2:
                images = images.flip(3)
            loss = image2prompt_loss(wrapped(images), targets[torch.as_tensor(rows)].to(device))
            if not torch.isfinite(loss):
                raise TrainingError("Image2Prompt: the loss is not finite; lower learning_rate")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            losses.append(float(loss.detach()))
            bar.update(1)
            stopped = placement.any(bool(stop is not None and stop.requested))
            if stopped:
                break
        if stopped:
            break
        track["epoch"] = epoch + 1
        number = track["epoch"] * per_epoch
        mean = placement.mean({"loss": float(np.mean(losses))})["loss"]
        if placement.is_main:
            curves.append(number, loss=mean)
            track["checks"].append(_checked(model, data, checked, targets, curves, number))
            state.save(number, **parts, extra=track)
        bar.set_postfix(loss=f"{mean:.3f}")
        placement.wait()
    bar.close()
    model.eval()
    collapsed = bool(track["checks"] and track["checks"][-1]["collapsed"])
    return Image2PromptResult(track["checks"], collapsed, stopped)


def _held_out(
    groups: Sequence[str], settings: Image2PromptSettings
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to check on, ``num_checked`` or a fifth, and rows to train on; no prompt in both."""
    order = np.random.default_rng((settings.seed, 0)).permutation(len(groups))
    wanted = min(settings.num_checked, len(groups) // 5)
    sizes = Counter(groups)
    held: set[str] = set()
    for row in order:
        # Of one prompt alone no image could find its own.
        if sum(sizes[label] for label in held) >= wanted and len(held) > 1:
            break
        held.add(groups[row])
    is_held = np.asarray([groups[row] in held for row in order], dtype=bool)
    return np.sort(order[is_held]), order[~is_held]


@torch.no_grad()
def prompt_vectors(
    model: IPIQAModel, data: RatedData, device: torch.device | str, batch_size: int = 256
) -> Tensor:
    """Frozen vectors [N,E] of all prompts, on the CPU; each distinct row is read once."""
    distinct, own = torch.unique(data.tokens, dim=0, return_inverse=True)
    parts = [
        model.prompt_embedding(distinct[i : i + batch_size].to(device)).cpu()
        for i in range(0, len(distinct), batch_size)
    ]
    return torch.cat(parts)[own]


@torch.no_grad()
def _checked(
    model: IPIQAModel,
    data: RatedData,
    rows: Sequence[int],
    targets: Tensor,
    curves: CurveLog,
    step: int,
) -> dict[str, Any]:
    model.eval()
    device = next(model.visual.parameters()).device
    images = torch.cat(
        [
            model.image_embedding(data.batch(rows[i : i + 64], device=device)[0]).cpu()
            for i in range(0, len(rows), 64)
        ]
    )
    found = collapse_check(images, targets[torch.as_tensor(np.asarray(rows))])
    curves.append(step, validation={k: float(v) for k, v in found.items()})
    text = ", ".join(f"{k} {v:.3f}" for k, v in found.items() if k != "collapsed")
    if found["image_spread"] < 0.1 * found["prompt_spread"]:
        log.warning("Image2Prompt, step %d: the image vectors have collapsed (%s)", step, text)
    elif found["collapsed"]:
        log.warning(
            "Image2Prompt, step %d: images find their own prompts no better than by chance (%s)",
            step,
            text,
        )
    else:
        log.info("Image2Prompt, step %d: no collapse (%s)", step, text)
    return {"step": step, **found}


def load_visual(model: IPIQAModel, run_dir: str | Path) -> None:
    """Gives `model` the visual tower that an Image2Prompt run left in `run_dir`.

    A tower whose last collapse check failed is taken with a warning.

    Raises:
        TrainingError: there is none, the run is not finished, or it is of another model.
    """
    from training.run_state import latest_complete
    from training.tensor_files import read_tensors

    found = latest_complete(run_dir)
    if found is None:
        raise TrainingError(f"expected an Image2Prompt run in {run_dir}, found none")
    try:
        state = json.loads((found / "state.json").read_text(encoding="utf-8"))
        epoch, checks = state["extra"]["epoch"], state["extra"]["checks"]
        of = state["fingerprint"]["settings"]["num_epochs"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"expected an Image2Prompt run in {run_dir}, found another run: name the --out of "
            "training.ip_iqa.image2prompt"
        ) from error
    if epoch < of:
        raise TrainingError(
            f"expected a finished Image2Prompt run in {run_dir}, found epoch {epoch} of {of}: "
            "give its command again, it goes on"
        )
    if checks and checks[-1]["collapsed"]:
        log.warning(
            "%s: its last collapse check failed; this tower may be worse than CLIP's", found
        )
    try:
        model.visual.load_state_dict(read_tensors(found / "module.visual.safetensors"))
    except RuntimeError as error:
        raise TrainingError(
            f"expected a visual tower of this model in {found}, found another: name the run of "
            "the same --clip and --size"
        ) from error


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; 2: wrong input, 130/143: stopped."""
    from .starting import add_start_options, smoke_start, start_from

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_start_options(parser)
    parser.add_argument("--pairs", type=Path, help="JSON lines with path and prompt")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--epochs", type=int, default=Image2PromptSettings.num_epochs)
    parser.add_argument("--batch", type=int, default=Image2PromptSettings.batch_size)
    parser.add_argument("--smoke", action="store_true", help="tiny towers on rendered scenes")
    options = parser.parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    try:
        with StopRequest() as stop, Placement(options.device) as placement:
            placement.check_shared(options.out)
            if options.smoke:
                model, _, data, out = smoke_start(options.out)
                settings = Image2PromptSettings(num_epochs=1, batch_size=8, num_checked=8)
            else:
                if options.pairs is None or options.out is None:
                    raise TrainingError("give --clip, --pairs and --out, or --smoke; see --help")
                model, encoder = start_from(options, outputs=("visual_quality", "alignment"))
                from .data import paired_data

                out, cache = options.out, options.out / "pixels"
                with placement.main_first():  # images are decoded once
                    data = paired_data(options.pairs, encoder, cache, progress=placement.is_main)
                settings = Image2PromptSettings(num_epochs=options.epochs, batch_size=options.batch)
            pairs = {"pairs": data.digest()}
            result = image2prompt(
                model, data, settings, out, fingerprint=pairs, placement=placement, stop=stop
            )
            if result.stopped:
                log.warning("stopped; the same command goes on from the last whole epoch")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if placement.is_main:
        found = {"collapsed": result.collapsed, "last": result.checks[-1]}
        print(json.dumps({**found, "out": str(out)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
