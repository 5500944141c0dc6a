"""What each part of the embedded critic's pretraining is worth, in short runs on a CPU.

    python -m training.embedded.ablate --out runs/embedded/ablation --photographs runs/selection
    python -m training.embedded.ablate --out runs/embedded/ablation --variants visual families/jpeg
    python -m training.embedded.ablate --smoke

Trains the small backbone from random weights for a fixed number of steps, as the recipe does and
with one part left out (training/embedded/ablation/variants.py): edge frame, ladders, cameras,
curriculum, multi-task targets, and one family of distortions at a time. Everything is measured on
selection data: rendered scenes that are held out, and photographs that neither training nor a
benchmark uses, six of which scikit-image carries. Stopped or killed, the same command goes on with
the first variant that is not finished; seeds and variants may be added later.

Hardware: one CPU core (AVX-512). Time: about a CPU minute a variant and seed, 26 of them;
--smoke: a minute.
Expect: the tables of docs/training.md, on stdout and with results.json and ablations.png in OUT.
The numbers of --smoke mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from eliq.errors import ConfigError, EliqError, TrainingError

from ..journal import write_atomically
from ..stop_request import StopRequest
from .ablation import SMOKE, Budget, Variant, choose, run_one, write_report

log = logging.getLogger("eliq")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input, 130/143: stopped)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    torch.set_num_threads(options.threads)
    with StopRequest() as stop, tempfile.TemporaryDirectory() as temporary:
        try:
            report = _run(options, stop, options.out or Path(temporary))
        except (EliqError, OSError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 2
    if stop.requested:
        log.warning("stopped; the same command goes on with what is not finished")
    sys.stdout.write(report)
    return stop.exit_code


def _run(options: argparse.Namespace, stop: StopRequest, out: Path) -> str:
    if options.out is None and not options.smoke:
        raise ConfigError("give --out, or --smoke; see --help")
    variants = choose(options.variants)
    budget = SMOKE if options.smoke else Budget()
    for name in ("ladders", "scenes"):
        steps = getattr(options, f"{name}_steps")
        if steps is not None and steps < 1:
            raise ConfigError(f"--{name}-steps must be 1 or more, found {steps}")
        if steps is not None:
            budget = replace(budget, **{name: replace(getattr(budget, name), steps=steps)})
    results: dict[tuple[str, int], dict[str, Any]] = {}
    # All seeds of a variant before the next: what is finished when a run is stopped is comparable.
    order = [(variant, seed) for variant in variants for seed in options.seeds]
    for number, (variant, seed) in enumerate(order, start=1):
        path = out / "results" / f"{variant.name.replace('/', '-')}-seed{seed}.json"
        settings = _settings(variant, budget, options.photographs)
        found = _finished(path, settings)
        if found is None and not stop.requested:
            found = run_one(variant, budget, seed=seed, photographs=options.photographs, stop=stop)
            if found is not None:
                found["settings"] = settings
                write_atomically(path, json.dumps(found, indent=1).encode() + b"\n")
                log.info(
                    "%d of %d, %s, seed %d: %.0f + %.0f CPU s", number, len(order), variant.name,
                    seed, found["training_cpu_s"], found["measuring_cpu_s"],
                )  # fmt: skip
        if found is not None:
            results[variant.name, seed] = found
    return write_report(results, options.seeds, out)


def _settings(variant: Variant, budget: Budget, photographs: Path | None) -> dict[str, Any]:
    """What two results must agree in to be compared, as plain JSON."""
    names = sorted(path.name for path in photographs.glob("*.png")) if photographs else []
    return json.loads(
        json.dumps(
            {"variant": asdict(variant), "budget": asdict(budget.of(variant)), "photographs": names}
        )
    )


def _finished(path: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if found["settings"] != settings:
        raise TrainingError(
            f"{path} must be of the same settings as this run and is not: choose another --out"
        )
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, help="folder of results; needed without --smoke")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument(
        "--variants", nargs="+", default=[], metavar="NAME",
        help="groups (visual, alignment, families) or single variants; default: all",
    )  # fmt: skip
    parser.add_argument("--ladders-steps", type=int, help="of visual and families; default 100")
    parser.add_argument("--scenes-steps", type=int, help="of alignment; default 100")
    parser.add_argument("--photographs", type=Path, help="folder with more of them, as PNG")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--smoke", action="store_true", help="two steps each, on tiny images")
    return parser


if __name__ == "__main__":
    sys.exit(main())
