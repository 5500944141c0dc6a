"""What each part of the method is worth: Tables 4 and 5 of the paper and its four other ablations.

    python -m training.build_supervision IMAGES --out runs/set --ai-specific-share 0.5
    python -m training.ablate runs/set --backbone embedded --out runs/ablation --seeds 3
    python -m training.ablate runs/set --out runs/ablation --only families qqt losses/paper
    python -m training.ablate --list
    python -m training.ablate --smoke

Trains the method as it is and each variant (training/ablation/variants.py), with the same rows,
split and steps, and compares them on test prompts that no training and no choice of a step has
seen. Variants that share their stage 1 share its backbone and embeddings. Stopped or killed, the
same command goes on; more seeds, sets or benchmarks may be added later.

Hardware: that of `training.train_critic`. Time: eleven times stage 1 and the embedding of the
whole set, a seed; then seconds to minutes a variant for stage 2. --smoke: about half a minute of
one core. Disk: every stage keeps its last checkpoints.
Expect: OUT/report.md, results.json and ablations.png, and a JSON object on stdout with the order of
each set's variants. A few hundred test rows tell differences of some hundredths at best; the report
gives intervals. The numbers of --smoke mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch

from eliq.errors import ConfigError, EliqError
from eliq.supervision import SupervisionConfig, build_supervision

from .ablation import SETS, AblationConfig, choose, run_ablations, summary, write_report
from .ablation.raters import variant_raters
from .ablation.run import Runner
from .backbones import load_backbone
from .dataset import read_supervision
from .evaluate import evaluate
from .evaluation import READERS, EvaluationConfig, Interrupted, RatedSet
from .fingerprints import module_sha256
from .pipeline import Stopped
from .placement import Placement
from .smoke_pictures import write_smoke_pictures
from .stage_settings import key_values, stage_configs
from .stop_request import StopRequest

log = logging.getLogger("eliq")
_SMOKE_STAGE1 = {"num_steps": 2, "validate_every": 2, "tuples_per_forward": 2}
_SMOKE_STAGE2 = {"num_steps": 8, "validate_every": 4}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    if options.list:
        sys.stdout.write("".join(f"{v.name}\t{v.label}\n" for v in choose()))
        return 0
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            try:
                report = _run(options, stop, Path(temporary))
            except (Stopped, Interrupted):
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(report) + "\n")
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict[str, Any]:
    variants = choose(options.only)
    if options.seeds < 1:
        raise ConfigError(f"--seeds: expected 1 or more, found {options.seeds}")
    source, out, name = options.set, options.out, options.backbone
    if options.smoke:
        source, out, name = source or _smoke_set(temporary), out or temporary / "run", "tiny"
    elif source is None or out is None:
        raise ConfigError("give SET and --out, or --smoke; see --help")
    sets = [_read(text) for text in options.evaluate]  # before anything is trained
    rows = read_supervision(source)
    placement = Placement(options.device)
    if placement.world_size > 1:
        raise ConfigError("ablations run in one process: start without accelerate launch")
    given1, given2 = key_values(options.stage1), key_values(options.stage2)
    load = partial(
        load_backbone,
        name,
        revision=options.revision,
        dtype=getattr(torch, options.dtype),
        device=placement.loading_device(given1.get("tuning", "")),
        max_pixels=options.max_pixels,
    )
    if options.smoke:
        given1, given2 = _SMOKE_STAGE1 | given1, _SMOKE_STAGE2 | given2
    backbone = load()
    number = sum(parameter.numel() for parameter in backbone.parameters())
    backbone_sha256 = module_sha256(backbone)
    del backbone
    stage1, stage2 = stage_configs(number, given1, given2, smoke=options.smoke)
    config = AblationConfig(
        name, stage1, stage2, test_share=options.test_share, split_seed=options.split_seed
    )
    runner = Runner(
        rows,
        config,
        out,
        load=load,
        backbone_sha256=backbone_sha256,
        placement=placement,
        stop=stop,
        progress=not options.quiet,
    )
    seeds = range(options.seeds)
    run_ablations(runner, variants, seeds)
    # What earlier calls have trained is reported too.
    report = summary(runner, choose(), seeds)
    path = write_report(report, out)
    result: dict[str, Any] = {
        "report": None if out.is_relative_to(temporary) else str(path),
        "order": {name: one["order"] for name, one in report["sets"].items()},
    }
    if sets:
        fewer = {"num_resamples": 50, "num_splits": 3} if options.smoke else {}
        result["evaluation"] = evaluate(
            sets,
            variant_raters(runner, choose(), 0),
            EvaluationConfig(shuffle_images=0, **fewer),
            out / "evaluation",
            stop=stop,
            progress=not options.quiet,
        )
    return result


def _read(text: str) -> RatedSet:
    name, found, path = text.partition("=")
    if not found or name not in READERS:
        raise ConfigError(
            f"--evaluate: expected NAME=PATH with a name of {', '.join(READERS)}, found {text!r}"
        )
    return READERS[name](Path(path).expanduser())


def _smoke_set(temporary: Path) -> Path:
    images = write_smoke_pictures(temporary / "images")
    config = SupervisionConfig(
        num_tuples=24, num_ladders=12, max_side_px=96, ai_specific_share=0.5, severities=(2, 4)
    )
    build_supervision(images, temporary / "set", config)
    return temporary / "set"


def _parser() -> argparse.ArgumentParser:
    default = AblationConfig()
    parser = argparse.ArgumentParser(
        prog="python -m training.ablate",
        description="Trains variants of the method with one part left out or replaced, and "
        "compares them on test prompts.",
        epilog=f"Sets of variants: {', '.join(SETS)}; --list names every variant.",
    )
    add = parser.add_argument
    add("set", nargs="?", type=Path, metavar="SET", help="folder of a supervision set")
    add("--out", type=Path, help="folder of the comparison")
    add("--backbone", default="embedded", help="as of training.train_critic (default %(default)s)")
    add("--revision", help="commit or tag of a hub id")
    add("--only", nargs="+", metavar="NAME", help="sets or single variants (default: all)")
    add("--seeds", type=int, default=1, help="trainings of each variant (default %(default)s)")
    add("--stage1", nargs="+", default=[], metavar="KEY=VALUE", help="settings of stage 1")
    add("--stage2", nargs="+", default=[], metavar="KEY=VALUE", help="settings of stage 2")
    add("--test-share", type=float, default=default.test_share,
        help="share of prompts to compare on (default %(default)s)")  # fmt: skip
    add("--split-seed", type=int, default=default.split_seed)
    add("--evaluate", action="append", default=[], metavar="NAME=PATH",
        help="a benchmark of human opinions, as --set of training.evaluate; first seed alone",
        )  # fmt: skip
    add("--max-pixels", type=int, help="largest image area that the critic sees, in px")
    add("--dtype", choices=("float32", "bfloat16"), default="float32",
        help="weights in memory (default %(default)s)")  # fmt: skip
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--list", action="store_true", help="name the variants and do nothing")
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true", help="every variant on a tiny random backbone")
    return parser


if __name__ == "__main__":
    sys.exit(main())
