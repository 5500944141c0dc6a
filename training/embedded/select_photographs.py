"""Choose between embedded critics on photographs that no training and no benchmark uses.

    python -m training.embedded.select_photographs runs/a/critic runs/b/critic
    python -m training.embedded.select_photographs runs/a/critic --photographs runs/selection

The first form takes six greyscale photographs, which scikit-image carries; the second adds those
that `python -m training.embedded.photographs --use selection` made. One core, half a minute to two
a critic. Prints, for each critic, the mean SRCC of visual quality and negative severity within a
photograph, by distortion.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eliq import Scorer
from eliq.correlation import srcc
from eliq.errors import TrainingError
from eliq.supervision import ladder

__all__ = ["SELECTION_DISTORTIONS", "SELECTION_PHOTOGRAPHS", "select_photographs"]

SELECTION_PHOTOGRAPHS = ("brick", "grass", "gravel", "camera", "coins", "moon")
SELECTION_DISTORTIONS = (
    "jpeg", "noise", "blur", "low_contrast", "dark", "pixelate", "motion", "posterize",
)  # fmt: skip


def _photographs(folder: Path | None, side_px: int) -> list[np.ndarray]:
    """Images uint8 [side, side, 3]: the corners of the grey ones, the middles of those in `folder`.

    Raises:
        TrainingError: scikit-image is not installed, or `folder` has no PNG.
    """
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise TrainingError("scikit-image, which carries the photographs, is not installed")
    grey = Path(spec.submodule_search_locations[0]) / "data"
    images = []
    for name in SELECTION_PHOTOGRAPHS:
        with Image.open(grey / f"{name}.png") as opened:
            images.append(np.array(opened.convert("RGB"))[:side_px, :side_px])
    more = sorted(folder.glob("*.png")) if folder else []
    if folder and not more:
        raise TrainingError(f"{folder} must hold photographs as PNG, found none")
    for path in more:
        with Image.open(path) as opened:
            whole = np.array(opened.convert("RGB"))
        y, x = ((size - side_px) // 2 for size in whole.shape[:2])
        images.append(whole[max(y, 0) :, max(x, 0) :][:side_px, :side_px])
    return images


def select_photographs(
    score: Callable[[list[torch.Tensor]], Sequence[float]],
    *,
    folder: Path | None = None,
    side_px: int = 320,
    distortions: Sequence[str] = SELECTION_DISTORTIONS,
) -> dict[str, float]:
    """Mean within-photo SRCC over severities 0, 1, 3, 5 of each distortion, and their ``mean``.

    `score` gives the visual quality of images [3, H, W] in [0, 1].
    """
    images = _photographs(folder, side_px)
    found = {}
    for name in distortions:
        values = []
        for seed, image in enumerate(images):
            steps = [image, *(step[0] for step in ladder(image, name, (1, 3, 5), seed))]
            tensors = [torch.from_numpy(np.array(s)).permute(2, 0, 1).float() / 255 for s in steps]
            values.append(srcc(np.asarray(score(tensors)), -np.arange(4.0)))
        found[name] = float(np.mean(values))
    return found | {"mean": float(np.mean(list(found.values())))}


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("critics", nargs="+", help="checkpoint directories")
    parser.add_argument("--photographs", type=Path, help="folder with more of them, as PNG")
    args = parser.parse_args(argv)
    for critic in args.critics:
        scorer = Scorer.from_pretrained(critic, device="cpu")
        found = select_photographs(
            lambda images, by=scorer: by.score(images).raw["visual_quality"].numpy(),
            folder=args.photographs,
        )
        figures = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        sys.stdout.write(f"{critic}: {figures}\n")


if __name__ == "__main__":
    main()
