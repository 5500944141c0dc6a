"""Asks a gate's scorer about negatives whose truth is known, before it judges generated ones.

    python -m training.audit_gate runs/positives --scorer embedded
    python -m training.audit_gate runs/positives --scorer zero-shot:Qwen/Qwen3-VL-4B-Instruct
    python -m training.audit_gate --smoke

Each picture is damaged by distortions of each aspect at severities 1 to 5 (conventional ones, known
to be worse), and asked about with prompts that are wrong in one thing and with those of other
pictures. For each aspect and margin: `kept`, the share of known negatives that `min_margin` would
let through (higher is better; what it drops is supervision lost), and `reversed`, the share that
would pass with positive and negative exchanged, by mistake (lower is better). Choose the least
margin whose `reversed` you can live with, and a scorer whose `kept` is well above it.

Hardware: that of the scorer. Time: 31 images to score and about 8 prompts a picture; with the
embedded critic about 5 s a picture of 512 px on one core.
Expect: a JSON object on stdout. An aspect in which `kept` is no higher than `reversed` is one that
the scorer does not see. --smoke: six pictures of its own, seconds.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from eliq.errors import ConfigError, EliqError
from eliq.supervision import (
    SEVERITIES,
    SupervisionConfig,
    distort,
    distortion_names,
    hard_swaps,
    shuffled_prompt,
)
from eliq.supervision.making import read_positive
from eliq.supervision.sources import Source, read_sources

from .negatives import GateConfig, Opinion, load_opinion
from .smoke_pictures import write_smoke_pictures

MARGINS = (0.0, 0.25, 0.5, 1.0, 2.0)


@dataclass(frozen=True)
class Margin:
    """By how much a scorer finds a positive better than a known negative; None = no number."""

    aspect: str
    what: str
    value: float | None


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; exit codes as in `eliq` (2: wrong input)."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    try:
        with tempfile.TemporaryDirectory() as temporary:
            source = options.images
            if options.smoke and source is None:
                source = write_smoke_pictures(Path(temporary))
            if source is None:
                raise ConfigError("give a folder of IMAGES, or --smoke; see --help")
            result = _run(source, options)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def audit(
    sources: list[Source],
    opinion: Opinion,
    *,
    supervision: SupervisionConfig,
    per_severity: int = 3,
    seed: int = 0,
) -> Iterator[list[Margin]]:
    """The margins of one picture after the other; pictures that cannot be used are left out.

    Args:
        supervision: the size at which pictures are compared.
        per_severity: distortions drawn for each aspect and severity.
    """
    prompts = sorted({one.prompt for one in sources})
    for number, source in enumerate(sources):
        image = read_positive(source, supervision)
        if isinstance(image, np.ndarray):
            rng = np.random.default_rng([seed, number])
            yield _one(image, source.prompt, prompts, opinion, rng, per_severity)


def summary(margins: list[Margin]) -> dict[str, dict[str, Any]]:
    """By aspect and by what was done: how many, and by margin the shares kept and reversed."""
    groups: dict[str, list[Margin]] = {}
    for margin in margins:
        for name in (margin.aspect, f"{margin.aspect}: {margin.what}"):
            groups.setdefault(name, []).append(margin)
    said = {}
    for name in sorted(groups):
        values = np.array([m.value for m in groups[name] if m.value is not None])
        said[name] = {
            "number": len(groups[name]),
            "without_number": len(groups[name]) - len(values),
        }
        if len(values):
            said[name] |= {
                "kept": {str(m): round(float((values >= m).mean()), 4) for m in MARGINS},
                "reversed": {str(m): round(float((-values >= m).mean()), 4) for m in MARGINS},
            }
    return said


def _one(
    image: np.ndarray,
    prompt: str,
    prompts: list[str],
    opinion: Opinion,
    rng: np.random.Generator,
    per_severity: int,
) -> list[Margin]:
    asked: list[tuple[str, str, np.ndarray, str]] = []
    for aspect in ("technical", "aesthetic"):
        names = distortion_names(aspect=aspect, family="conventional")
        for severity in SEVERITIES:
            for name in rng.choice(names, size=min(per_severity, len(names)), replace=False):
                damaged, _ = distort(image, str(name), severity, int(rng.integers(2**63)))
                asked.append((aspect, f"severity {severity}", damaged, prompt))
    swaps = hard_swaps(prompt, rng)
    other = shuffled_prompt(prompt, prompts, rng)
    wrong = [(f"swapped {kind}", text) for kind, text in swaps.items()]
    wrong += [] if other is None else [("shuffled", other)]
    asked += [("alignment", what, image, text) for what, text in wrong]
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{number}.png" for number in range(len(asked) + 1)]
        for path, pixels in zip(paths, [image, *(one[2] for one in asked)], strict=True):
            Image.fromarray(pixels).save(path, compress_level=1)
        first, *rest = opinion.ask(paths, [prompt, *(one[3] for one in asked)])
    return [
        Margin(aspect, what, _minus(first[aspect], answer[aspect]))
        for (aspect, what, *_), answer in zip(asked, rest, strict=True)
    ]


def _minus(first: float | None, second: float | None) -> float | None:
    return None if first is None or second is None else first - second


def _run(source: Path, options: argparse.Namespace) -> dict[str, Any]:
    for name, least in (("num_images", 1), ("per_severity", 1), ("seed", 0)):
        if getattr(options, name) < least:
            flag = f"--{name.replace('_', '-')}"
            raise ConfigError(f"{flag}: expected {least} or more, found {getattr(options, name)}")
    opinion = load_opinion(options.scorer, device=options.device)
    if opinion is None:
        raise ConfigError("--scorer: expected a scorer to ask, found none")
    sources = [one for one in read_sources(source, options.prompts) if one.prompt]
    rng = np.random.default_rng(options.seed)
    chosen = sorted(rng.permutation(len(sources))[: options.num_images])
    supervision = SupervisionConfig(max_side_px=options.max_side_px)
    found = audit(
        [sources[i] for i in chosen],
        opinion,
        supervision=supervision,
        per_severity=options.per_severity,
        seed=options.seed,
    )
    parts = list(tqdm(found, total=len(chosen), desc="audit", disable=None))
    if not parts:
        raise ConfigError(
            f"{source}: expected pictures with prompts to ask about, found {len(sources)} with one "
            "and none that can be used"
        )
    return {
        "scorer": options.scorer,
        "num_images": len(parts),
        "margins": summary([margin for part in parts for margin in part]),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.audit_gate",
        description="Asks a gate's scorer about negatives whose truth is known.",
    )
    add = parser.add_argument
    add(
        "images", nargs="?", type=Path, metavar="IMAGES", help="folder of good images, with prompts"
    )
    add("--prompts", type=Path, help="list of prompts, if not in IMAGES (.jsonl or .csv)")
    add("--scorer", default=GateConfig().scorer, help="as gate.scorer (default %(default)s)")
    add("--num-images", type=int, default=50, help="drawn at random (default %(default)s)")
    add("--per-severity", type=int, default=3, help="distortions an aspect and severity")
    add("--max-side-px", type=int, default=SupervisionConfig().max_side_px)
    add("--device", help="cpu, cuda, ... (default: cuda where there is one)")
    add("--seed", type=int, default=0)
    add("--smoke", action="store_true", help="six pictures of its own")
    return parser


if __name__ == "__main__":
    sys.exit(main())
