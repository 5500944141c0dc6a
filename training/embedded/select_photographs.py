"""Choose between embedded critics on six greyscale photographs, which no benchmark uses.

    python -m training.embedded.select_photographs runs/a/critic runs/b/critic

Needs scikit-image, which carries them. One core, half a minute a critic. Prints, for each critic,
the mean SRCC of visual quality and negative severity within a photograph, by distortion.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eliq import Scorer
from eliq.correlation import srcc
from eliq.errors import TrainingError
from eliq.supervision import ladder

__all__ = ["SELECTION_PHOTOGRAPHS", "select_photographs"]

SELECTION_PHOTOGRAPHS = ("brick", "grass", "gravel", "camera", "coins", "moon")
_DISTORTIONS = (
    "jpeg", "noise", "blur", "low_contrast", "dark", "pixelate", "motion", "posterize",
)  # fmt: skip


def select_photographs(scorer: Scorer, *, side_px: int = 320) -> dict[str, float]:
    """Mean within-photo SRCC over severities 0, 1, 3, 5 of each distortion, and their ``mean``."""
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise TrainingError("scikit-image, which carries the photographs, is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    found = {}
    for name in _DISTORTIONS:
        values = []
        for seed, photograph in enumerate(SELECTION_PHOTOGRAPHS):
            with Image.open(folder / f"{photograph}.png") as opened:
                image = np.array(opened.convert("RGB"))[:side_px, :side_px]
            steps = [image, *(step[0] for step in ladder(image, name, (1, 3, 5), seed))]
            tensors = [torch.from_numpy(np.array(s)).permute(2, 0, 1).float() / 255 for s in steps]
            scores = scorer.score(tensors).raw["visual_quality"].numpy()
            values.append(srcc(scores, -np.arange(4.0)))
        found[name] = float(np.mean(values))
    return found | {"mean": float(np.mean(list(found.values())))}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("critics", nargs="+", help="checkpoint directories")
    args = parser.parse_args(argv)
    for critic in args.critics:
        found = select_photographs(Scorer.from_pretrained(critic, device="cpu"))
        figures = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        sys.stdout.write(f"{critic}: {figures}\n")


if __name__ == "__main__":
    main()
