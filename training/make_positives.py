"""Makes the positives (section 3.2.2): one image of each model for each prompt.

    python -m training.make_positives --out runs/positives
    python -m training.make_positives --out runs/positives --models Qwen/Qwen-Image some/dir
    accelerate launch --num_processes 8 -m training.make_positives --out runs/positives
    python -m training.make_positives --smoke

Without --prompts the 400 shipped ones; without --models the paper's three: Qwen/Qwen-Image,
black-forest-labs/FLUX.1-dev (gated) and stabilityai/stable-diffusion-3.5-large (gated). --config
takes a JSON file with models, their steps, guidance, size, dtype and revision, and the seed.
Killed, it goes on where it stopped; more processes, models or prompts change no image.

Several processes need a GPU each; on a CPU, training/runs/accelerate/cpu_ddp.yaml starts two, which
make the same images (tried).

Hardware: one GPU a process. In bfloat16 the defaults need about 60, 35 and 30 GB, less with
offload "model" [estimated from the sizes of the weights; none of them was run here]. Time
[estimated from FLOP at 40 % of an H100's peak]: about 30, 10 and 10 s an image, 6 hours for the
1,200. --smoke: seconds on a CPU, with two tiny random pipelines whose textures show nothing.
Expect: a JSON object on stdout with the number of images; `OUT/prompts.jsonl` beside them is what
`python -m training.build_supervision OUT` and `python -m training.train_critic OUT` read.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

from eliq.errors import ConfigError, EliqError

from .positives import PositivesConfig, Shard, make_positives
from .prompts import read_prompts
from .stop_request import StopRequest

SMOKE_MODELS = ("tiny-sd", "tiny-flux")
SMOKE_PROMPTS = 3


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            result = _run(options, stop, Path(temporary))
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result) + "\n")
    if result["stopped"]:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return stop.exit_code or 1
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> dict[str, Any]:
    settings = _settings(options.config)
    prompts = read_prompts(options.prompts)
    out = options.out
    if options.smoke:
        settings = {"models": SMOKE_MODELS} | settings
        prompts, out = prompts[:SMOKE_PROMPTS], out or temporary / "positives"
    elif out is None:
        raise ConfigError("give --out, or --smoke; see --help")
    if options.models:
        settings["models"] = options.models
    if options.seed is not None:
        settings["seed"] = options.seed
    if options.shard is None:
        shard = Shard.from_environment(options.device)
    else:
        shard = Shard.from_text(options.shard, options.device)
    report = make_positives(
        prompts[: options.max_prompts],
        out,
        PositivesConfig.from_json(settings),
        shard=shard,
        stop=stop,
        progress=not options.quiet,
    )
    return {"out": str(options.out) if options.out else None, **report.to_json()}


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config: expected a JSON file, cannot read {path}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"--config: expected an object with models and seed, found {path}")
    return data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.make_positives",
        description="Makes one image of each diffusers model for each prompt, with records.",
    )
    add = parser.add_argument
    add("--out", type=Path, help="folder of the images")
    add("--prompts", type=Path, help="list of prompts, .jsonl or .txt (default: the shipped 400)")
    add("--max-prompts", type=int, help="only the first so many")
    add("--models", nargs="+", metavar="MODEL", help="hub ids or directories")
    add("--config", type=Path, help='JSON file {"models": [...], "seed": 0, "max_tries": 3}')
    add("--seed", type=int, help="all seeds follow from it (default 0)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: the GPU of this process, if any)")
    add("--shard", metavar="RANK/SIZE", help="this process's part, where no launcher says it")
    add("--quiet", action="store_true", help="no progress bar, only warnings")
    add("--smoke", action="store_true", help="three prompts, two tiny random pipelines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
