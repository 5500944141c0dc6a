"""Rebuild the embedded critic from nothing: one command, rendered images and free photographs.

    python -m training.embedded.photographs packages/ --out runs/photographs
    python -m training.embedded.photographs packages/ --out runs/selection --use selection
    python -m training.embedded.build --out runs/embedded --photographs runs/photographs \
        --selection runs/selection
    python -m training.embedded.build ... --start eliq/embedded --first-phase 3
    python -m training.embedded.build ... --install             # and ship it: eliq/embedded/
    python -m training.embedded.build --out /tmp/smoke --smoke  # every step once, a minute

Steps: pretrain the backbone in three phases, on rendered images and on ladders of photographs;
make positives of both; build a supervision set from them; and then the same stages 1 and 2,
calibration and export as any critic (`training.train_critic`); at last calibrate visual quality
on photographs. Every step goes on where it was after a kill. Without `--photographs` everything is
rendered, there is no third phase, and the critic orders damage in photographs worse
(training/LOG.md).

Hardware: two CPU cores (AVX-512), 6 GB of memory, 3 GB of disk. Time: about six hours.
Expect: the figures of the newest run in training/LOG.md. Needs Debian's fonts-noto-color-emoji.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from eliq.errors import EliqError
from eliq.supervision import SupervisionConfig, build_supervision

from ..pipeline import Stopped, train_critic
from ..run_state import StopRequest
from ..stage1_config import Stage1Config
from ..stage2_config import Stage2Config
from .photograph_calibration import calibrate_on_photographs
from .photographs import Photographs
from .positives import render_positives
from .pretrain import (
    CHECK_EVERY,
    NUM_STEPS,
    SCHEDULE_STEPS,
    PretrainConfig,
    load_pretrained,
    load_start,
    pretrain,
)

__all__ = ["EMBEDDED_STAGE1", "EMBEDDED_STAGE2", "Scale", "build", "install"]

log = logging.getLogger("eliq")

EMBEDDED_DIR = Path(__file__).parents[2] / "eliq" / "embedded"
CARD = Path(__file__).with_name("model_card.md")
# A short, very gentle tuning: the pretraining asks the same three questions and has seen far more
# ladders than this set holds. At higher rates, what it knows of photographs, counts and relations
# is lost (training/LOG.md, "fifty-two photographs", "the mean of two ends").
EMBEDDED_STAGE1 = Stage1Config(
    num_steps=20,
    tuning="full",
    optimizer="muon",
    learning_rate=5e-6,
    adamw_learning_rate=5e-6,
    tuples_per_forward=4,
    ladders_per_forward=3,
    grad_accumulation=1,
    gradient_checkpointing=False,
    validate_every=20,
    save_every=20,
    max_validation_rows=60,
)
EMBEDDED_STAGE2 = Stage2Config(
    num_steps=1200,
    learning_rate=5e-4,
    model_dim=96,
    num_layers=1,
    num_heads=4,
    ffn_dim=192,
    margin_weight=3.0,
    alignment_margin_weight=0.5,
    mask_visual_query=True,  # docs/decisions, "The visual query of the embedded critic"
    visual_prompts=("own", "negative", "none"),
    validate_every=100,
)


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    first_steps: int = NUM_STEPS[1]
    second_steps: int = NUM_STEPS[2]
    third_steps: int = NUM_STEPS[3]
    check_every: int | None = None  # None = as each phase does it
    num_positives: int = 1400
    stage1_steps: int = EMBEDDED_STAGE1.num_steps
    stage2_steps: int = EMBEDDED_STAGE2.num_steps
    held_out_share: float = 0.1


SMOKE = Scale(2, 2, 2, 2, 6, 2, 20, 0.34)


def build(
    out: Path,
    *,
    scale: Scale,
    seed: int,
    stop: StopRequest,
    photographs: Path | None = None,
    selection: Path | None = None,
    start: Path | None = None,
    first_phase: int = 1,
) -> dict:
    """All steps; returns what was measured on the held-out side.

    `start` is a critic, or the run of a phase, whose weights `first_phase` starts from; without it
    that is the first phase, which starts from nothing. The third phase needs `selection`.
    """
    backbone = load_start(start) if start else None
    phases = {1: scale.first_steps, 2: scale.second_steps}
    if selection is not None:
        phases[3] = scale.third_steps
    phases = {phase: steps for phase, steps in phases.items() if phase >= first_phase}
    for phase, num_steps in phases.items():
        config = PretrainConfig.of_phase(phase, seed=seed)
        pretrain(
            out / f"pretrain-{phase}",
            config,
            num_steps=num_steps,
            schedule_steps=SCHEDULE_STEPS[phase] if num_steps == NUM_STEPS[phase] else None,
            check_every=scale.check_every or CHECK_EVERY[phase],
            photographs=photographs,
            selection=selection if phase == 3 else None,
            start=backbone,
            stop=stop,
        )
        if stop.requested:
            raise Stopped
        backbone = load_pretrained(out / f"pretrain-{phase}", config)
    positives = render_positives(
        out / "positives",
        scale.num_positives,
        photographs=Photographs(photographs) if photographs else None,
    )
    build_supervision(
        positives,
        out / "set",
        SupervisionConfig(
            num_tuples=scale.num_positives, num_ladders=scale.num_positives, seed=seed + 1
        ),
    )
    report = train_critic(
        out / "set",
        out,
        backbone=backbone,
        stage1=replace(EMBEDDED_STAGE1, num_steps=scale.stage1_steps, seed=seed),
        stage2=replace(EMBEDDED_STAGE2, num_steps=scale.stage2_steps, seed=seed),
        supervision=SupervisionConfig(),
        held_out_share=scale.held_out_share,
        storage_dtype=torch.bfloat16,
        facts={
            "name": "ELIQ embedded critic",
            "licence": "Apache-2.0",
            "pretraining": {
                "steps": {str(phase): steps for phase, steps in phases.items()},
                **({"start": f"weights of {start.name}"} if start else {}),
                "seed": seed,
                "images": "rendered"
                + (" and photographs" if photographs else "")
                + ", see README.md",
            },
        },
        stop=stop,
    )
    if selection is not None:
        report["photographs"] = calibrate_on_photographs(out / "critic", selection)
    card = out / "critic" / "README.md"
    card.write_text(CARD.read_text(encoding="utf-8"), encoding="utf-8")
    return report


def install(critic: Path, target: Path = EMBEDDED_DIR) -> None:
    """Put a finished checkpoint in the place of the shipped one, whole or not at all.

    The card is written by hand from the benchmarks' output, so it must be renewed afterwards.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    new, old = target.with_name(".embedded.new"), target.with_name(".embedded.old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(critic, new)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/embedded"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photographs", type=Path, help="folder that photographs.py made")
    parser.add_argument("--selection", type=Path, help="the same, made with --use selection")
    parser.add_argument("--start", type=Path, help="a critic, or the run of a phase, to start from")
    parser.add_argument(
        "--first-phase", type=int, choices=(2, 3), default=2, help="that --start goes on with"
    )
    parser.add_argument("--install", action="store_true", help="replace eliq/embedded/")
    parser.add_argument("--smoke", action="store_true", help="every step once, in a minute")
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    if args.selection and not args.photographs:
        parser.error("--selection chooses among weights trained on photographs: give --photographs")
    if args.first_phase == 3 and not args.selection:
        parser.error("--first-phase 3 chooses its weights on photographs: give --selection")
    torch.set_num_threads(args.threads)
    try:
        with StopRequest() as stop:
            try:
                scale = SMOKE if args.smoke else Scale()
                report = build(
                    args.out,
                    scale=scale,
                    seed=args.seed,
                    stop=stop,
                    photographs=args.photographs,
                    selection=args.selection,
                    start=args.start,
                    first_phase=args.first_phase if args.start else 1,
                )
            except Stopped:
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
        if args.install and not args.smoke:
            install(args.out / "critic")
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
