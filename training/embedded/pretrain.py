"""Pretrain the backbone of the embedded critic from scratch, on images that it renders itself.

    python -m training.embedded.pretrain --out runs/embedded/pretrain
    python -m training.embedded.pretrain --out runs/embedded/second --phase 2 --start DIR \
        --photographs runs/photographs
    python -m training.embedded.pretrain --out runs/embedded/third --phase 3 --start DIR \
        --photographs runs/photographs --selection runs/selection

Three phases. The first starts from random weights, on small images and with a curriculum of
prompts. The others start from the weights of the one before (`DIR`: its run directory, or a
finished critic), with optimizers of their own. In the second everything is seen at the sizes that
are scored, ladders are also compared across images, and each has a twin that must score the same.
The third is for photographs: most batches are their ladders, at the size that is read of large
pictures. Its weights are a running average, looked at on other photographs every few hundred steps;
the best are kept in `best/` of the run directory.

Hardware: two CPU cores (AVX-512, with or without bfloat16), 4 GB. Time: about 140 minutes for the
first phase, 75 for the second and 25 for the third. A killed run goes on where it was with the same
command.
Expect: the selection figures that training/LOG.md gives for these runs.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from eliq import Scorer
from eliq.backbone import Backbone
from eliq.errors import TrainingError

from ..curves import CurveLog
from ..muon import Muon
from ..run_state import RunState, StopRequest, latest_complete
from .attention import use_matmul_attention
from .auxiliary import DEFAULT_WEIGHTS, Auxiliary, LossWeights, batch_losses
from .average import Average
from .batches import BatchMaker, Level
from .levels import (
    CHECK_EVERY,
    LEVELS,
    NUM_STEPS,
    SCHEDULE_STEPS,
    SECOND_LEVEL,
    THIRD_LEVEL,
)
from .model import make_backbone, make_tokenizer
from .photographs import Photographs
from .scenes import FULL_DIFFICULTY, scene_renderer
from .selection import select_alignment, select_ladders

log = logging.getLogger("eliq")

# While ladders are made, larger pictures are read at this area, at which a picture that is a little
# larger or smaller is the same picture: the twins of the second phase.
TWIN_PIXELS = 150_000


@dataclass(frozen=True)
class PretrainConfig:
    """What makes two pretraining runs the same."""

    seed: int = 0
    phase: int = 1
    muon_learning_rate: float = 1.5e-3
    adam_learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup_steps: int = 60
    cooldown: float = 0.35
    alignment_rows: int = 32
    ladders: int = 6
    average: float = 0.0  # decay of the running average of the weights, 0 = none

    @classmethod
    def of_phase(cls, phase: int, *, seed: int = 0) -> PretrainConfig:
        """Those that were run; the later phases are gentler."""
        if phase == 1:
            return cls(seed=seed)
        if phase == 3:
            return cls(
                seed=seed, phase=3, muon_learning_rate=4e-4, adam_learning_rate=4e-4,
                warmup_steps=100, cooldown=0.5, ladders=12, average=0.995,
            )  # fmt: skip
        return cls(
            seed=seed, phase=2, muon_learning_rate=1e-3, adam_learning_rate=1e-3, warmup_steps=200,
            cooldown=0.75, ladders=8,
        )  # fmt: skip

    def level(self, share: float) -> Level:
        """What is trained on at a share 0..1 of the run."""
        if self.phase > 1:
            return SECOND_LEVEL if self.phase == 2 else THIRD_LEVEL
        return [level for level in LEVELS if level.start <= share][-1]


def learning_rate_factor(step: int, num_steps: int, config: PretrainConfig) -> float:
    """Warm-up, constant, and a straight cooldown to 2 % over the last share of the run."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    left = (num_steps - step) / max(1, num_steps * config.cooldown)
    return max(0.02, min(1.0, left))


def make_optimizers(model: nn.Module, config: PretrainConfig) -> dict[str, torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim == 2 and "embed" not in name and "auxiliary" not in name
        (matrices if hidden else rest).append(parameter)
    return {
        "muon": Muon(
            matrices, learning_rate=config.muon_learning_rate, weight_decay=config.weight_decay
        ),
        "adamw": torch.optim.AdamW(
            rest, lr=config.adam_learning_rate, betas=(0.9, 0.98), weight_decay=0.0
        ),
    }


def learning_rates(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, list[float]]:
    """The learning rate of each parameter group, which the schedule of a run then scales."""
    return {name: [g["lr"] for g in o.param_groups] for name, o in optimizers.items()}


def training_step(
    model: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    bases: Mapping[str, Sequence[float]],
    factor: float,
    batch: dict,
    weights: LossWeights = DEFAULT_WEIGHTS,
) -> tuple[float, float, dict[str, float]]:
    """One step on one batch at `factor` times the learning rates `bases`.

    Returns the loss, the norm of the gradient and figures for the log. Where the norm is not
    finite, the weights stay as they were.
    """
    for name, optimizer in optimizers.items():
        for group, base in zip(optimizer.param_groups, bases[name], strict=True):
            group["lr"] = base * factor
    loss, figures = batch_losses(model.backbone, model.auxiliary, batch, weights)
    loss.backward()
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), 2.0))
    if math.isfinite(norm):
        for optimizer in optimizers.values():
            optimizer.step()
    model.zero_grad(set_to_none=True)
    return float(loss.detach()), norm, figures


class _Batches(Dataset):
    def __init__(
        self, maker: BatchMaker, config: PretrainConfig, first: int, num_steps: int, schedule: int
    ) -> None:
        self.maker, self.config, self.first = maker, config, first
        self.num_steps, self.schedule = num_steps, schedule

    def __len__(self) -> int:
        return self.num_steps - self.first

    def __getitem__(self, index: int) -> dict:
        step = self.first + index
        return self.maker.make(step, self.config.level(step / self.schedule))


class _Model(nn.Module):
    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        config = backbone.model.config
        self.backbone = backbone
        self.auxiliary = Auxiliary(config.vision_config.out_hidden_size, backbone.hidden_size)


def _worker(_: int) -> None:
    torch.set_num_threads(1)


def new_model(backbone: Backbone) -> nn.Module:
    """The backbone with the helper heads of the pretraining, as run checkpoints hold them."""
    return _Model(backbone)


def load_pretrained(run_dir: Path, config: PretrainConfig) -> Backbone:
    """The pretrained backbone of a run, its helper heads dropped; of the third phase its best.

    Raises:
        TrainingError: no checkpoint there.
    """
    backbone = make_backbone(make_tokenizer(), seed=config.seed)
    if config.average:
        best = RunState(run_dir / "best", fingerprint_of(config))
        if best.load_latest(modules={"average": backbone.model}) is None:
            raise TrainingError(f"{run_dir}/best must hold weights, but holds none: run pretrain")
        return backbone.eval()
    model = new_model(backbone)
    state = RunState(run_dir, fingerprint_of(config))
    # A run checkpoint is read whole or not at all, its optimizers too.
    optimizers = make_optimizers(model, config)
    if state.load_latest(modules={"model": model}, optimizers=optimizers) is None:
        raise TrainingError(f"{run_dir} must hold a pretraining, but holds none: run pretrain")
    return backbone.eval()


def load_start(path: Path) -> Backbone:
    """The backbone of a finished critic, or of a run directory of phase 1 or 2 with seed 0."""
    if (path / "config.json").is_file():
        return Scorer.from_pretrained(path, device="cpu").backbone
    found = latest_complete(path)
    state = json.loads((found / "state.json").read_bytes()) if found else {}
    phase = state.get("fingerprint", {}).get("phase", 1)
    return load_pretrained(path, PretrainConfig.of_phase(phase))


def fingerprint_of(config: PretrainConfig) -> dict:
    """What a resumed run must agree in; the number of steps may be changed on the way."""
    facts = asdict(config)
    if not config.average:  # runs from before there was one go on
        del facts["average"]
    return facts


def pretrain(
    out: Path,
    config: PretrainConfig,
    *,
    num_steps: int,
    schedule_steps: int | None = None,
    workers: int = 1,
    check_every: int = 500,
    photographs: Path | None = None,
    selection: Path | None = None,
    start: Backbone | None = None,
    stop: StopRequest,
) -> None:
    """Run or resume the pretraining; it ends early, and saved, where `stop` is requested.

    `start` gives the weights of a new run; without it they are random. The learning rate and the
    curriculum are those of a run of `schedule_steps`, by default `num_steps`. `selection` is a
    folder of the photographs on which a running average of the weights is looked at.
    """
    if config.average and selection is None:
        raise TrainingError(
            "the third phase chooses its weights on photographs: give --selection, a folder that "
            "photographs.py --use selection made"
        )
    out.mkdir(parents=True, exist_ok=True)
    scene_renderer(FULL_DIFFICULTY)  # fails at once where the font is missing
    tokenizer = make_tokenizer()
    backbone = make_backbone(tokenizer, seed=config.seed)
    if start is not None:
        if start.tokenizer.to_str() != tokenizer.to_str():
            raise TrainingError(
                "start must have the tokenizer that the renderer's prompts give, and has another"
            )
        backbone.model.load_state_dict(start.model.state_dict())
    torch.manual_seed(config.seed)
    model = _Model(backbone).train()
    use_matmul_attention(backbone.model)
    optimizers = make_optimizers(model, config)
    state = RunState(out, fingerprint_of(config))
    curves = CurveLog(out)
    schedule = schedule_steps or num_steps
    modules: dict[str, nn.Module] = {"model": model}
    average = (
        Average(backbone, fingerprint_of(config), config.average, out, selection)
        if config.average and selection
        else None
    )
    if average is not None:
        modules["average"] = average.backbone.model
    resumed = state.load_latest(modules=modules, optimizers=optimizers)
    if average is not None and resumed:
        average.best_score = resumed["best_score"]
    step = resumed["step"] if resumed else 0
    curves.truncate(step)
    if step >= num_steps:
        return
    maker = BatchMaker(
        backbone.layout,
        replace(backbone.patches, max_pixels=TWIN_PIXELS)
        if config.phase == 2
        else backbone.patches,
        seed=config.seed,
        alignment_rows=config.alignment_rows,
        ladders=config.ladders,
        photographs=Photographs(photographs) if photographs else None,
    )
    loader = DataLoader(
        _Batches(maker, config, step, num_steps, schedule),
        batch_size=None,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_worker,
    )
    bases = resumed["bases"] if resumed else learning_rates(optimizers)
    progress = tqdm(total=num_steps, initial=step, unit="step", dynamic_ncols=True, disable=None)
    started = time.monotonic()
    for batch in loader:
        factor = learning_rate_factor(step, schedule, config)
        loss, norm, figures = training_step(model, optimizers, bases, factor, batch)
        if not math.isfinite(norm):
            log.warning("step %d: gradient is not finite, step left out", step)
        step += 1
        if average is not None:
            average.update(backbone.model)
        progress.update()
        if step % 10 == 0:
            curves.append(
                step,
                loss=loss,
                grad_norm=norm,
                elapsed_s=round(time.monotonic() - started, 1),
                **figures,
            )
        if step % check_every == 0 or step == num_steps:
            model.eval()
            if average is not None:
                checks = average.check(step)
            else:
                checks = select_alignment(backbone) | select_ladders(backbone)
            model.train()
            curves.append(step, validation=checks)
            curves.draw("Pretraining of the embedded critic")
            log.info("step %d: %s", step, {k: round(v, 3) for k, v in checks.items()})
        if stop.requested or step % check_every == 0 or step == num_steps:
            state.save(
                step,
                modules=modules,
                optimizers=optimizers,
                extra={"bases": bases} | ({"best_score": average.best_score} if average else {}),
            )
        if stop.requested:
            break
    progress.close()


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/embedded/pretrain"))
    parser.add_argument("--phase", type=int, choices=(1, 2, 3), default=1)
    parser.add_argument("--start", type=Path, help="run directory of the phase before, or a critic")
    parser.add_argument("--steps", type=int, help="default: those of the phase")
    parser.add_argument("--workers", type=int, default=1, help="processes that render")
    parser.add_argument("--threads", type=int, default=2, help="that train")
    parser.add_argument("--check-every", type=int, help="steps; default: those of the phase")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", type=Path, help="folder that photographs.py made")
    parser.add_argument("--selection", type=Path, help="the same with --use selection, for phase 3")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(args.threads)
    if (args.phase > 1) != (args.start is not None):
        parser.error("phase 1 starts from nothing, the others from weights: give --start with them")
    if (args.phase == 3) != (args.selection is not None):
        parser.error("phase 3 chooses its weights on photographs: give --selection with it alone")
    with StopRequest() as stop:
        pretrain(
            args.out,
            PretrainConfig.of_phase(args.phase, seed=args.seed),
            num_steps=args.steps or NUM_STEPS[args.phase],
            schedule_steps=None if args.steps else SCHEDULE_STEPS[args.phase],
            start=load_start(args.start) if args.start else None,
            workers=args.workers,
            check_every=args.check_every or CHECK_EVERY[args.phase],
            photographs=args.photographs,
            selection=args.selection,
            stop=stop,
        )
    return stop.exit_code


if __name__ == "__main__":
    sys.exit(main())
