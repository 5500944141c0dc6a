"""Makes and evaluates a critic with one command and one config.

    python -m training.run_all training/runs/48gb/config.json --out runs/mine
    python -m training.run_all my.toml --images IMAGES --out runs/mine    # positives of one's own
    accelerate launch --config_file training/runs/accelerate/ddp.yaml --num_processes 8 \\
        -m training.run_all training/runs/80gb/config.json --out runs/mine
    python -m training.run_all --smoke

Steps: prompts -> positives -> negatives and supervision set -> stage 1 -> embedding cache -> stage
2 -> calibration -> checkpoint -> evaluation; from `images` in the config it starts at the set.
Stopped or killed, the same command goes on where it was. The config holds the settings of each
step under the step's name (training/whole_run/config.py); relative paths in it are read from where
the command is given.

Hardware, time and memory: README.md of each recipe in training/runs/. --smoke: about a minute of
one core, from nothing: tiny random pipelines, a tiny random backbone, opinions that nobody gave.
Expect: OUT/critic, which `eliq score --checkpoint OUT/critic` takes, and OUT/evaluation/report.md;
a JSON object on stdout with what each step did. The numbers of --smoke mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import sys
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from eliq.errors import ConfigError, EliqError

from .evaluation import Interrupted
from .evaluation.smoke_set import write_smoke_set
from .make_negatives import SMOKE_SETTINGS
from .pipeline import Stopped
from .placement import Placement
from .run_words import in_words
from .stage_settings import read_settings
from .stop_request import StopRequest
from .whole_run import RunConfig, run_all

log = logging.getLogger("eliq")
SMOKE: dict[str, Any] = {
    "max_prompts": 4,
    "positives": {"models": SMOKE_SETTINGS["models"]},
    "negatives": {
        **SMOKE_SETTINGS,
        "supervision": {
            "num_tuples": 12, "num_ladders": 4, "max_side_px": 96, "ai_specific_share": 0.5,
        },
    },
    "backbone": {"name": "tiny"},
    "held_out_share": 0.34,
    "evaluation": {
        "zero_shot": "none",
        "settings": {
            "num_resamples": 50, "num_splits": 3, "test_share": 0.4, "shuffle_images": 12,
        },
    },
}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with (
            StopRequest() as stop,
            Placement(options.device) as placement,
            tempfile.TemporaryDirectory() as temporary,
        ):
            try:
                report = _run(options, placement, stop, Path(temporary))
            except (Stopped, Interrupted):
                log.warning("stopped and saved; the same command goes on from here")
                return stop.exit_code or 1
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if report:
        for line in in_words(report["steps"], smoke=options.smoke):
            log.info(line)
        sys.stdout.write(json.dumps(report, default=str) + "\n")
    return 0


def _run(
    options: argparse.Namespace, placement: Placement, stop: StopRequest, temporary: Path
) -> dict[str, Any]:
    known = [field.name for field in fields(RunConfig)]
    data = read_settings(options.config, known) if options.config else {}
    placement.check_shared(options.out)
    if options.smoke:
        _silence_pipelines()
        out = options.out or temporary / "run"
        if placement.is_main:  # which alone evaluates
            _write_rated(out)
        ratings = {"csv": str(out / "rated" / "ratings.csv")}
        data = {**SMOKE, **data}
        data["evaluation"] = {"sets": ratings, **data["evaluation"]}
    elif options.config is None or options.out is None:
        raise ConfigError("give CONFIG and --out, or --smoke; see --help")
    else:
        out = options.out
    if options.images is not None:
        data["images"] = str(options.images)
    return run_all(
        RunConfig.from_json(data),
        out,
        placement=placement,
        smoke=options.smoke,
        stop=stop,
        progress=not options.quiet,
    )


def _write_rated(out: Path) -> None:
    """The smoke run's pictures with opinions that nobody gave, whole or not there."""
    folder, partial = out / "rated", out / ".rated.partial"
    if not folder.is_dir():
        shutil.rmtree(partial, ignore_errors=True)
        write_smoke_set(partial)
        partial.rename(folder)


def _silence_pipelines() -> None:
    """The tiny tokenizers count bytes: every prompt is too long for them, and each says so."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    diffusers_logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.run_all",
        description="Makes and evaluates a critic: prompts, positives, negatives, both stages, "
        "calibration, checkpoint, evaluation.",
        epilog="What a config may hold: training/whole_run/config.py. Recipes: training/runs/.",
    )
    add = parser.add_argument
    add("config", nargs="?", type=Path, metavar="CONFIG", help="JSON, or TOML from Python 3.11")
    add("--out", type=Path, help="folder of the run")
    add("--images", type=Path, help="positives of one's own, in place of the config's")
    add("--device", help="cpu, cuda, cuda:1, ... (default: cuda where there is one)")
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true", help="every step, from nothing, with tiny models")
    return parser


if __name__ == "__main__":
    sys.exit(main())
