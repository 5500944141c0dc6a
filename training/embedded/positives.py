"""Render a folder of positives with prompts, the input of any supervision set.

    python -m training.embedded.positives --out runs/embedded/positives --count 1600

One core renders about 60 a second. The same command gives the same files; a killed one goes on.
`--first-seed 10000000` gives images that no training, selection or test of the critic has seen.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .photographs import Photographs
from .render import render_positive
from .scenes import FULL_DIFFICULTY

__all__ = ["render_positives"]

# Sides in px and how often: of the second phase of the pretraining. The largest are read smaller.
SIDES_PX = ((192, 0.1), (256, 0.35), (320, 0.2), (384, 0.1), (512, 0.25))
PHOTOGRAPHED = 0.95  # share of the photograph-like positives that are photographs, as there
# Above the seeds of the pretraining; below those of selection (7e6), test (8e6), examples (9e6).
FIRST_SEED = 6_000_000


def render_positives(
    out: Path,
    count: int,
    *,
    first_seed: int = FIRST_SEED,
    photographs: Photographs | None = None,
) -> Path:
    """``count`` PNGs and ``prompts.jsonl`` in ``out``, positive k from seed ``first_seed + k``.

    With `photographs`, views of them are among the positives (`render_positive`).
    """
    out.mkdir(parents=True, exist_ok=True)
    sides, shares = zip(*SIDES_PX, strict=True)
    lines = []
    for index in tqdm(range(count), unit="image", desc="positives", disable=None):
        seed = first_seed + index
        side = int(np.random.default_rng((seed, 1)).choice(sides, p=shares))
        path = out / f"{seed}.png"
        image, prompt, _ = render_positive(
            seed,
            replace(FULL_DIFFICULTY, size_px=side),
            photographs=photographs,
            photographed=PHOTOGRAPHED,
        )
        if not path.exists():
            part = path.with_suffix(".part")
            Image.fromarray(image).save(part, format="PNG", compress_level=1)
            os.replace(part, path)
        lines.append(json.dumps({"path": path.name, "prompt": prompt}))
    part = out / "prompts.part"
    part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(part, out / "prompts.jsonl")
    return out


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/embedded/positives"))
    parser.add_argument("--count", type=int, default=1600)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--photographs", type=Path, help="folder of photographs to mix in")
    args = parser.parse_args(argv)
    photographs = Photographs(args.photographs) if args.photographs else None
    render_positives(args.out, args.count, first_seed=args.first_seed, photographs=photographs)


if __name__ == "__main__":
    main()
