"""Trains a critic without labels, from a folder of images with prompts to a checkpoint directory.

    python -m training.train_critic IMAGES --backbone Qwen/Qwen3-VL-8B-Instruct --out runs/critic
    python -m training.train_critic IMAGES --backbone embedded --out runs/critic     # small, CPU
    python -m training.train_critic --smoke                                          # seconds

Steps: supervision set (unless IMAGES is one), stage 1 (instruction tuning, Eq. 5), embedding cache,
stage 2 (head, Eqs. 9-20), calibration, export. Stopped or killed, the same command goes on where it
was. Several GPUs: build the set first (`python -m training.build_supervision`), then
`accelerate launch --config_file training/runs/accelerate/ddp.yaml -m training.train_critic SET ...`
(stage 1 uses them all; fsdp.yaml beside it puts slices of the model on each).

Hardware: an 8B backbone needs one GPU of 24 GB with `--stage1 tuning=qlora`, of 48 GB with LoRA on
bfloat16 weights [estimated, not run]; the embedded one runs on a CPU. Time: --smoke about 10 s on
one core.
Expect: a JSON object on stdout, with the held-out pair accuracies of both stages (0.5 is chance)
and the checkpoint's directory; `eliq score --checkpoint DIR` then scores with it. The numbers of
--smoke mean nothing but that every step ran.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from eliq.errors import ConfigError, EliqError
from eliq.supervision import SupervisionConfig

from .backbones import load_backbone, origin_of
from .pipeline import Stopped, train_critic
from .placement import Placement
from .run_state import StopRequest
from .run_words import held_out_in_words
from .smoke_pictures import write_smoke_pictures
from .stage_settings import key_values, read_settings, stage_configs

log = logging.getLogger("eliq")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING if options.quiet else logging.INFO,
        format="%(message)s",
    )
    try:
        with (
            StopRequest() as stop,
            Placement(options.device) as placement,
            tempfile.TemporaryDirectory() as temporary,
        ):
            try:
                report = _run(options, placement, stop, Path(temporary))
            except Stopped:
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if report and options.smoke and options.out is None:
        report["checkpoint"] = None  # it lay in a temporary folder
    if report:
        for line in held_out_in_words(report):
            log.info(line)
        sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _run(
    options: argparse.Namespace, placement: Placement, stop: StopRequest, temporary: Path
) -> dict[str, Any]:
    placement.check_shared(options.out)
    settings = {}
    if options.config is not None:
        settings = read_settings(options.config, ("stage1", "stage2"))
    if options.smoke:
        name, out = "tiny", options.out or temporary / "run"
        source = options.source or write_smoke_pictures(temporary / "images")
        supervision = SupervisionConfig(num_tuples=8, num_ladders=4, max_side_px=96)
    else:
        if options.source is None or options.out is None:
            raise ConfigError("give IMAGES and --out, or --smoke; see --help")
        name, out, source = options.backbone, options.out, options.source
        supervision = SupervisionConfig(
            num_tuples=options.num_tuples, num_ladders=options.num_ladders, seed=options.seed
        )
    given1 = settings.get("stage1", {}) | key_values(options.stage1)
    given2 = settings.get("stage2", {}) | key_values(options.stage2)
    backbone = load_backbone(
        name,
        revision=options.revision,
        dtype=getattr(torch, options.dtype),
        device=placement.loading_device(given1.get("tuning", "")),
        max_pixels=options.max_pixels,
    )
    num_parameters = sum(p.numel() for p in backbone.parameters())
    stage1, stage2 = stage_configs(
        num_parameters, given1, given2, seed=options.seed, smoke=options.smoke
    )
    return train_critic(
        Path(source),
        Path(out),
        backbone=backbone,
        stage1=stage1,
        stage2=stage2,
        supervision=supervision,
        prompts_path=options.prompts,
        generated=options.negatives,
        num_workers=options.workers,
        held_out_share=0.34 if options.smoke else options.held_out_share,
        split_seed=options.seed,
        storage_dtype=torch.bfloat16,
        facts=origin_of(name, options.revision) | {"num_parameters": num_parameters},
        placement=placement,
        stop=stop,
        progress=not options.quiet,
    )


def _parser() -> argparse.ArgumentParser:
    default = SupervisionConfig()
    parser = argparse.ArgumentParser(
        prog="python -m training.train_critic",
        description="Trains a critic without labels: supervision set, stage 1, embedding cache, "
        "stage 2, calibration, checkpoint. The same command goes on after a stop or a kill.",
        epilog="Settings of the stages: training/stage1_config.py and training/stage2_config.py.",
    )
    add = parser.add_argument
    add("source", nargs="?", type=Path, metavar="IMAGES",
        help="folder of images with prompts (prompts.jsonl, or a .txt beside each image), or the "
        "folder of a supervision set (manifest.jsonl, ladders.jsonl)")  # fmt: skip
    add("--out", type=Path, help="folder of the run; the checkpoint will be OUT/critic")
    add("--backbone", default="embedded",
        help="embedded, tiny, the directory of an eliq checkpoint, or a Qwen-VL as a directory "
        "or hub id (default %(default)s)")  # fmt: skip
    add("--revision", help="commit or tag of a hub id")
    add("--prompts", type=Path, help="list of prompts, if not in IMAGES (.jsonl or .csv)")
    add("--negatives", type=Path, metavar="FOLDER",
        help="negatives that training.make_negatives made of IMAGES; what they do not cover is "
        "made by distortions")  # fmt: skip
    add("--num-tuples", type=int, default=default.num_tuples, help="default %(default)s")
    add("--num-ladders", type=int, default=default.num_ladders, help="default %(default)s")
    add(
        "--workers",
        type=int,
        default=0,
        help="processes that make the supervision set (default: this one)",
    )
    add("--held-out-share", type=float, default=0.1,
        help="share of prompts kept, with all their images, for validation and calibration "
        "(default %(default)s)")  # fmt: skip
    add("--config", type=Path, help='JSON or TOML file {"stage1": {...}, "stage2": {...}}')
    add("--stage1", nargs="+", default=[], metavar="KEY=VALUE",
        help="settings of stage 1, e.g. tuning=lora num_steps=2000 learning_rate=1e-4")  # fmt: skip
    add("--stage2", nargs="+", default=[], metavar="KEY=VALUE",
        help='settings of stage 2, e.g. \'visual_prompts=["own","negative","none"]\'')  # fmt: skip
    add("--max-pixels", type=int, help="largest image area that the critic sees, in px")
    add("--dtype", choices=("float32", "bfloat16"), default="float32",
        help="weights in memory; bfloat16 for a large backbone with LoRA "
        "(default %(default)s)")  # fmt: skip
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--seed", type=int, default=0)
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true",
        help="every step on a few pictures of its own and a tiny random backbone")  # fmt: skip
    return parser


if __name__ == "__main__":
    sys.exit(main())
