"""Makes a supervision set with generated negatives (section 3.2.3) from a folder of positives.

    python -m training.make_negatives runs/positives --out runs/set
    python -m training.make_negatives runs/positives --out runs/set --editor Qwen/Qwen-Image-Edit
    accelerate launch --num_processes 8 -m training.make_negatives runs/positives --out runs/set
    python -m training.make_negatives --smoke

AI-specific: degraded prompts and early decodes (technical), Stable Diffusion 1.1 / 1.4 / 1.5 and
prompts for ugly looks (aesthetic), prompt variants drawn by the positive's own model and mismatched
with it (alignment). Conventional: distortions of pixels, edits by an instruction-editing pipeline
(--editor), shuffled and swapped prompts. Every generated negative passes a gate or is dropped, and
stderr says how many of each kind; --gate-scorer names whose opinion it asks: embedded, none,
zero-shot:Qwen/Qwen3-VL-4B-Instruct, pyiqa:topiq_nr, or a critic. All settings: --config, JSON as
in training/negatives/config.py. Killed, it goes on where it stopped.

Hardware: as `training.make_positives`, one GPU a process, and the gate's scorer on the first one.
Time [estimated from FLOP, not run]: by default half the positives get one of each kind, which is
about 1.7 images a positive from their own models, 0.15 for early decodes: for 1,200 positives and
8 GPUs some 1.5 hours. --smoke: half a minute on a CPU, with tiny random pipelines.
Expect: a JSON object on stdout with what was generated, what the gate dropped and why, and which
kinds the tuples of OUT/manifest.jsonl hold; `python -m training.train_critic OUT` reads the set.
With several processes the first to end may say is_complete false: then run it once more, alone.
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

from .negatives import NegativesConfig, make_negatives
from .positives import PositivesConfig, Shard, make_positives
from .prompts import read_prompts
from .stop_request import StopRequest

SMOKE_MODELS = ("tiny-sd", "tiny-flux")
#: Random textures are no worse by anyone's opinion: the gate looks at pixels alone.
SMOKE_SETTINGS: dict[str, Any] = {
    "models": list(SMOKE_MODELS),
    "weak_models": [{"model": "tiny-sd", "name": "tiny-weak", "num_inference_steps": 2}],
    "editor": "tiny-edit",
    "shares": {
        "degraded_prompt": 1.0, "early_decode": 1.0, "weak_generator": 1.0, "degraded_look": 1.0,
        "instruction_edit": 1.0, "prompt_variant": 1.0,
    },
    "early_fractions": [0.5],
    "gate": {"scorer": "none"},
    "supervision": {"max_side_px": 96},
}  # fmt: skip
SMOKE_PROMPTS = 2


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    level = logging.WARNING if options.quiet else logging.INFO
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
            report = _run(options, stop, Path(temporary))
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    for line in report.gate.lines() if report.gate else ():
        sys.stderr.write(f"gate: {line}\n")
    out = str(options.out) if options.out else None
    sys.stdout.write(json.dumps({"out": out, **report.to_json()}) + "\n")
    if report.stopped:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return stop.exit_code or 1
    if not report.is_complete:
        sys.stderr.write("other processes have not ended; run it once more when they have\n")
    return 0


def _run(options: argparse.Namespace, stop: StopRequest, temporary: Path) -> Any:
    settings = _settings(options.config)
    source, out = options.positives, options.out
    if options.shard is None:
        shard = Shard.from_environment(options.device)
    else:
        shard = Shard.from_text(options.shard, options.device)
    if options.smoke:
        settings = SMOKE_SETTINGS | settings
        out = out or temporary / "set"
        if source is None:
            source = temporary / "positives"
            models = PositivesConfig(models=SMOKE_MODELS)
            make_positives(read_prompts()[:SMOKE_PROMPTS], source, models, progress=False)
    elif source is None or out is None:
        raise ConfigError("give a folder of POSITIVES and --out, or --smoke; see --help")
    for key in ("models", "weak_models", "editor", "seed"):
        if getattr(options, key) is not None:
            settings[key] = getattr(options, key)
    if options.gate_scorer is not None:
        settings["gate"] = {**settings.get("gate", {}), "scorer": options.gate_scorer}
    if options.num_tuples is not None:
        changed = {"num_tuples": options.num_tuples}
        settings["supervision"] = {**settings.get("supervision", {}), **changed}
    return make_negatives(
        source,
        out,
        NegativesConfig.from_json(settings),
        prompts_path=options.prompts,
        variants_path=options.variants,
        shard=shard,
        num_workers=options.workers,
        stop=stop,
        progress=not options.quiet,
    )


def _settings(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"--config: expected a JSON file, cannot read {path}") from error
    if not isinstance(data, dict):
        raise ConfigError(f"--config: expected an object of settings, found {path}")
    return data


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.make_negatives",
        description="Generates negatives of positives, gates them and builds a supervision set.",
    )
    add = parser.add_argument
    add("positives", nargs="?", type=Path, metavar="POSITIVES", help="folder of the positives")
    add("--out", type=Path, help="folder of the set; what is generated lies in OUT/generated")
    add("--prompts", type=Path, help="list of prompts, if not in POSITIVES (.jsonl or .csv)")
    add("--variants", type=Path, help="lines of prompt and variant (default: words are swapped)")
    add("--config", type=Path, help="JSON file with the settings of training/negatives/config.py")
    add("--models", nargs="+", metavar="MODEL",
        help="high-quality generators (default: those that made the positives)")  # fmt: skip
    add("--weak-models", nargs="+", metavar="MODEL", help="low-quality generators")
    add("--editor", metavar="MODEL", help="instruction-editing pipeline (default: none)")
    add("--gate-scorer", metavar="NAME", help="whose opinion the gate asks (default: embedded)")
    add("--num-tuples", type=int, help="of the set (default: 3 a positive)")
    add("--seed", type=int, help="all choices and images follow from it (default 0)")
    add("--device", help="cpu, cuda, cuda:1, ... (default: the GPU of this process, if any)")
    add("--shard", metavar="RANK/SIZE", help="this process's part, where no launcher says it")
    add("--workers", type=int, default=0, help="processes that write the set (default: this one)")
    add("--quiet", action="store_true", help="no progress bars, only warnings")
    add("--smoke", action="store_true", help="two prompts, tiny random pipelines")
    return parser


if __name__ == "__main__":
    sys.exit(main())
