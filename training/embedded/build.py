"""Rebuild the embedded critic from nothing: one command, no data from anywhere.

    python -m training.embedded.build --out runs/embedded            # then look at the figures
    python -m training.embedded.build --out runs/embedded --install  # and ship it: eliq/embedded/

Steps: pretrain the backbone on rendered images, render positives, build a supervision set from
them, and then the same stages 1 and 2, calibration and export as any critic
(`training.train_critic`). Every step goes on where it was after a kill.

Hardware: two CPU cores with bfloat16, 6 GB of memory, 3 GB of disk. Time: about two hours.
Expect: the figures in eliq/embedded/README.md. Needs Debian's fonts-noto-color-emoji.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from pathlib import Path

import torch

from eliq.backbone import Backbone
from eliq.errors import EliqError, TrainingError
from eliq.supervision import SupervisionConfig, build_supervision

from ..pipeline import Stopped, train_critic
from ..run_state import RunState, StopRequest
from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config
from .model import make_backbone
from .positives import render_positives
from .pretrain import (
    PretrainConfig,
    fingerprint_of,
    make_optimizers,
    make_tokenizer,
    new_model,
    pretrain,
)

__all__ = ["EMBEDDED_STAGE1", "EMBEDDED_STAGE2", "load_pretrained"]

log = logging.getLogger("eliq")

EMBEDDED_DIR = Path(__file__).parents[2] / "eliq" / "embedded"
CARD = Path(__file__).with_name("model_card.md")
NUM_POSITIVES = 1800
# A short, gentle tuning: the pretraining has seen far more ladders than this set holds, and what
# it learnt of prompts must not be lost to half-shuffled negatives.
EMBEDDED_STAGE1 = Stage1Config(
    num_steps=160,
    tuning="full",
    optimizer="muon",
    learning_rate=2e-4,
    adamw_learning_rate=2e-4,
    tuples_per_forward=8,
    ladders_per_forward=6,
    grad_accumulation=1,
    gradient_checkpointing=False,
    validate_every=40,
    save_every=40,
    max_validation_rows=120,
)
EMBEDDED_STAGE2 = Stage2Config(
    num_steps=3000,
    learning_rate=5e-4,
    model_dim=192,
    num_layers=2,
    num_heads=6,
    ffn_dim=768,
    visual_prompts=("own", "negative", "none"),
    validate_every=100,
)


def load_pretrained(run_dir: Path, config: PretrainConfig) -> Backbone:
    """The pretrained backbone of a finished run, its helper heads dropped.

    Raises:
        TrainingError: no checkpoint there.
    """
    backbone = make_backbone(make_tokenizer(), seed=config.seed)
    model = new_model(backbone)
    state = RunState(run_dir, fingerprint_of(config))
    optimizers = make_optimizers(model, config)
    if state.load_latest(modules={"model": model}, optimizers=optimizers) is None:
        raise TrainingError(f"{run_dir} must hold a pretraining, but holds none: run pretrain")
    return backbone.eval()


def build(out: Path, *, steps: int, seed: int, stop: StopRequest) -> dict:
    """All steps; returns what was measured on the held-out side."""
    config = PretrainConfig(seed=seed)
    pretrain(out / "pretrain", config, num_steps=steps, stop=stop)
    if stop.requested:
        raise Stopped
    backbone = load_pretrained(out / "pretrain", config)
    positives = render_positives(out / "positives", NUM_POSITIVES)
    build_supervision(
        positives,
        out / "set",
        SupervisionConfig(num_tuples=NUM_POSITIVES, num_ladders=NUM_POSITIVES, seed=seed + 1),
    )
    card = CARD.read_text(encoding="utf-8") if CARD.is_file() else None
    report = train_critic(
        out / "set",
        out,
        backbone=backbone,
        stage1=EMBEDDED_STAGE1,
        stage2=EMBEDDED_STAGE2,
        supervision=SupervisionConfig(),
        storage_dtype=torch.bfloat16,
        facts={
            "name": "ELIQ embedded critic",
            "licence": "Apache-2.0",
            "pretraining": {"steps": steps, "seed": seed, "images": "rendered, see README.md"},
        },
        stop=stop,
    )
    if card:
        (out / "critic" / "README.md").write_text(card, encoding="utf-8")
    return report


def install(critic: Path) -> None:
    """Put a finished checkpoint in the place of the shipped one."""
    for path in critic.iterdir():
        if path.is_file():
            shutil.copyfile(path, EMBEDDED_DIR / path.name)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--steps", type=int, default=5000, help="of the pretraining")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--install", action="store_true", help="replace eliq/embedded/")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    torch.set_num_threads(args.threads)
    try:
        with StopRequest() as stop:
            try:
                report = build(args.out, steps=args.steps, seed=args.seed, stop=stop)
            except Stopped:
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
        if args.install:
            install(args.out / "critic")
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
