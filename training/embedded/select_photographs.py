"""Choose between embedded critics on photographs that no training and no benchmark uses.

    python -m training.embedded.select_photographs runs/a/critic runs/b/critic
    python -m training.embedded.select_photographs runs/a/critic --photographs runs/selection

The first form takes six greyscale photographs, which scikit-image carries; the second adds those
that `python -m training.embedded.photographs --use selection` made. One core, a minute or two a
critic. Prints, for each critic:

within, pooled   SRCC of visual quality and negative severity, within a photograph and over all of
                 them, mean over the distortions, and within by distortion
above, below     share of undamaged photographs above 0.5, of severity 4 and 5 below
changes          mean absolute change of raw visual quality, % of its spread, by a size 10 % larger
                 or smaller, a mirror image, and JPEG 95

Distortions that are held out of training are not looked at: they are the benchmarks'.
"""

from __future__ import annotations

import argparse
import io
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

__all__ = [
    "PHOTOGRAPH_DISTORTIONS",
    "SELECTION_DISTORTIONS",
    "SELECTION_PHOTOGRAPHS",
    "load_photographs",
    "photograph_figures",
    "select_photographs",
]

SELECTION_PHOTOGRAPHS = ("brick", "grass", "gravel", "camera", "coins", "moon")
SELECTION_DISTORTIONS = (
    "jpeg", "noise", "blur", "low_contrast", "dark", "pixelate", "motion", "posterize",
)  # fmt: skip
PHOTOGRAPH_DISTORTIONS = (*SELECTION_DISTORTIONS, "colour_cast", "specks", "interference")


def load_photographs(folder: Path | None, side_px: int | None) -> list[np.ndarray]:
    """Images uint8 [side, side, 3]: the corners of the grey ones, the middles of those in `folder`.

    Whole, [H, W, 3], where `side_px` is None.

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
        y, x = ((size - (side_px or size)) // 2 for size in whole.shape[:2])
        images.append(whole[max(y, 0) :, max(x, 0) :][:side_px, :side_px])
    return images


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


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
    images = load_photographs(folder, side_px)
    found = {}
    for name in distortions:
        values = []
        for seed, image in enumerate(images):
            steps = [image, *(step[0] for step in ladder(image, name, (1, 3, 5), seed))]
            scores = score([_tensor(step) for step in steps])
            values.append(srcc(np.asarray(scores), -np.arange(4.0)))
        found[name] = float(np.mean(values))
    return found | {"mean": float(np.mean(list(found.values())))}


def _changed(image: np.ndarray) -> dict[str, np.ndarray]:
    """What must not move a score: the same photograph otherwise sized, mirrored or compressed."""
    picture, buffer = Image.fromarray(image), io.BytesIO()
    picture.save(buffer, "JPEG", quality=95)

    def resized(factor: float) -> np.ndarray:
        size = (round(picture.width * factor), round(picture.height * factor))
        return np.asarray(picture.resize(size, Image.Resampling.BICUBIC))

    return {
        "larger": resized(1.1),
        "smaller": resized(0.9),
        "mirrored": image[:, ::-1],
        "jpeg 95": np.asarray(Image.open(buffer).convert("RGB")),
    }


def photograph_figures(
    score: Callable[[list[torch.Tensor]], tuple[Sequence[float], Sequence[float]]],
    *,
    folder: Path | None = None,
    side_px: int = 512,
    distortions: Sequence[str] = PHOTOGRAPH_DISTORTIONS,
    severities: Sequence[int] = (1, 2, 3, 4, 5),
    every: int = 1,
) -> dict[str, float]:
    """The figures of the module's head, by name, of every `every`-th photograph.

    `score` gives visual quality, raw and calibrated, of images [3, H, W] in [0, 1].
    """
    images = load_photographs(folder, side_px)[::every]
    raw, calibrated, moved = [], [], []
    for seed, image in enumerate(images):
        steps = [
            step[0]
            for index, name in enumerate(distortions)
            for step in ladder(image, name, severities, rng=1000 * seed + index)
        ]
        changed = _changed(image)
        values, shown = score([_tensor(i) for i in (image, *steps, *changed.values())])
        values, shown = np.asarray(values), np.asarray(shown)
        whole = 1 + len(steps)
        raw.append(values[:whole])
        calibrated.append(shown[:whole])
        moved.append(np.abs(values[whole:] - values[0]))
    undamaged = np.array(raw)[:, :1]  # [P,1]
    damaged = np.array(raw)[:, 1:].reshape(len(images), len(distortions), -1)  # [P,D,5]
    severity = np.array([0.0, *severities])
    within, pooled = {}, []
    for index, name in enumerate(distortions):
        chains = np.concatenate([undamaged, damaged[:, index]], axis=1)
        within[name] = float(np.mean([srcc(chain, -severity) for chain in chains]))
        pooled.append(srcc(chains.ravel(), -np.tile(severity, len(images))))
    spread = float(np.std(np.array(raw)))
    shown = np.array(calibrated)
    severe = shown[:, 1:].reshape(damaged.shape)[:, :, severity[1:] >= 4]
    return {
        "within": float(np.mean(list(within.values()))),
        "pooled": float(np.mean(pooled)),
        **within,
        "above": float((shown[:, 0] > 0.5).mean()),
        "below": float((severe < 0.5).mean()),
        **dict(zip(changed, 100 * np.mean(moved, axis=0) / spread, strict=True)),
    }


def main(argv: list[str] | None = None) -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("critics", nargs="+", help="checkpoint directories")
    parser.add_argument("--photographs", type=Path, help="folder with more of them, as PNG")
    args = parser.parse_args(argv)
    for critic in args.critics:
        scorer = Scorer.from_pretrained(critic, device="cpu")

        def score(images: list[torch.Tensor], by: Scorer = scorer):
            scores = by.score(images)
            return scores.raw["visual_quality"].numpy(), scores.visual_quality.numpy()

        found = photograph_figures(score, folder=args.photographs)
        figures = "  ".join(f"{name} {value:.2f}" for name, value in found.items())
        sys.stdout.write(f"{critic}: {figures}\n")


if __name__ == "__main__":
    main()
