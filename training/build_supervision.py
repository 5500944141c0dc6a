"""Makes a supervision set (tuples of Eq. 1 and severity ladders) from a folder with prompts.

    python -m training.build_supervision IMAGES --out runs/set --num-tuples 4000 --num-ladders 800

IMAGES holds the positives and `prompts.jsonl` with lines {"path": "a.png", "prompt": "a red fox"},
or a .txt beside each image. Killed, it goes on where it stopped. One core makes about 9 tuples of
512 px a second. Prints one JSON object: what was made and what was left out.
`--smoke` makes 6 tuples and 2 ladders from pictures of its own and checks them, in seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from eliq.errors import EliqError
from eliq.supervision import SupervisionConfig, build_supervision, check_matched

from .smoke_pictures import write_smoke_pictures


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; returns the exit code (2: wrong input, as in `eliq`)."""
    options = _parser().parse_args(arguments)
    level = logging.INFO if options.verbose else logging.WARNING
    logging.basicConfig(stream=sys.stderr, level=level, format="%(message)s")
    try:
        if options.smoke:
            with tempfile.TemporaryDirectory() as folder:
                write_smoke_pictures(Path(folder))
                options.num_tuples, options.num_ladders = 6, 2
                result = _build(folder, Path(folder, "set"), options)
        elif options.images is None or options.out is None:
            raise EliqError("give a folder of IMAGES and --out, or --smoke; see --help")
        else:
            result = _build(options.images, options.out, options)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on from here\n")
        return 130
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def _build(images: str, out: Path, options: argparse.Namespace) -> dict:
    config = SupervisionConfig(
        num_tuples=options.num_tuples,
        num_ladders=options.num_ladders,
        seed=options.seed,
        ai_specific_share=options.ai_specific_share,
        hard_swap_share=options.hard_swap_share,
        max_side_px=options.max_side_px,
        codec=options.codec,
        held_out=options.held_out,
    )
    report = build_supervision(
        images,
        out,
        config,
        prompts_path=options.prompts,
        generated=options.generated,
        num_workers=options.workers,
    )
    reasons = ", ".join(
        f"{count} {reason}" for reason, count in report.to_json()["skipped"].items()
    )
    if reasons:
        sys.stderr.write(f"left out: {reasons} (which: --verbose)\n")
    if not report.num_tuples + report.num_ladders:
        raise EliqError(f"nothing could be made from {images}")
    return {"out": str(out), **report.to_json(), "num_matched_files": check_matched(out)}


def _parser() -> argparse.ArgumentParser:
    default = SupervisionConfig()
    parser = argparse.ArgumentParser(
        prog="python -m training.build_supervision",
        description="Makes tuples and severity ladders from a folder of images with prompts.",
    )
    parser.add_argument("images", nargs="?", metavar="IMAGES", help="folder of positives")
    parser.add_argument("--out", type=Path, help="folder of the set")
    parser.add_argument("--prompts", type=Path, help="list of prompts (.jsonl or .csv)")
    parser.add_argument(
        "--generated", type=Path, help="generated negatives of IMAGES (training.make_negatives)"
    )
    parser.add_argument("--num-tuples", type=int, default=default.num_tuples)
    parser.add_argument("--num-ladders", type=int, default=default.num_ladders)
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument(
        "--ai-specific-share",
        type=float,
        default=default.ai_specific_share,
        help="share of tuples with AI-specific negatives, simulated unless --generated has them "
        "(default %(default)s)",
    )
    parser.add_argument(
        "--hard-swap-share",
        type=float,
        default=default.hard_swap_share,
        help="share of prompts wrong in one thing, the rest shuffled (default %(default)s)",
    )
    parser.add_argument("--max-side-px", type=int, default=default.max_side_px)
    parser.add_argument("--codec", default=default.codec, help='"png" or e.g. "jpeg-q95"')
    parser.add_argument(
        "--held-out", action="store_true", help="use distortions marked held out as well"
    )
    parser.add_argument("--workers", type=int, default=0, help="processes (default: this one)")
    parser.add_argument("--verbose", action="store_true", help="name every image left out")
    parser.add_argument("--smoke", action="store_true", help="a tiny set of its own pictures")
    return parser


if __name__ == "__main__":
    sys.exit(main())
