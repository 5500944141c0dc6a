"""Calibrate the visual quality of the embedded critic on photographs.

    python -m training.embedded.photograph_calibration runs/embedded/critic \
        --photographs runs/selection

`training.calibrate` fits 0..1 to the constructed pairs of the supervision set, most of whose images
are rendered: photographs then lie anywhere. Here 0.5 is the raw score at which an undamaged
photograph and one with damage of severity 4 or 5 are equally likely. The photographs are those that
choose between critics (`training.embedded.select_photographs`): neither trained on nor in a
benchmark. No opinion is used.

A minute or two on one core. Rewrites `calibration` in the critic's config.json; the order of
images does not change.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from eliq import Scorer
from eliq.calibration import fit_calibration
from eliq.errors import EliqError
from eliq.supervision import ladder

from ..journal import write_atomically
from .select_photographs import PHOTOGRAPH_DISTORTIONS, load_photographs

__all__ = ["calibrate_on_photographs"]

_SIDE_PX = 512
_SEVERE = (4, 5)


def calibrate_on_photographs(critic: Path, folder: Path) -> dict[str, float]:
    """Fit and store it; returns the share of undamaged images above 0.5, and of severe ones below.

    Undamaged are a square of 512 px of each photograph and the whole of it, made as small.

    Raises:
        EliqError: no critic, no photographs, or a critic that puts damaged ones above.
    """
    scorer = Scorer.from_pretrained(critic, device="cpu")
    squares = load_photographs(folder, _SIDE_PX)
    wholes = [_shrunk(image) for image in load_photographs(folder, None)]
    damaged = [
        step[0]
        for seed, image in enumerate(squares)
        for index, name in enumerate(PHOTOGRAPH_DISTORTIONS)
        for step in ladder(image, name, _SEVERE, 1000 * seed + index)
    ]
    positive, negative = (
        scorer.score([_tensor(i) for i in images], progress=True).raw["visual_quality"].numpy()
        for images in ([*squares, *wholes], damaged)
    )
    curve = fit_calibration(positive, negative)
    path = critic / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["calibration"]["visual_quality"] = curve.to_json()
    found = {
        "undamaged_above_half": round(float((positive > curve.midpoint).mean()), 4),
        "severe_below_half": round(float((negative < curve.midpoint).mean()), 4),
    }
    config.setdefault("training", {})["photograph_calibration"] = found | {
        "num_undamaged": len(positive),
        "num_severe": len(negative),
    }
    write_atomically(path, json.dumps(config, indent=2).encode() + b"\n")
    return found


def _shrunk(image: np.ndarray) -> np.ndarray:
    """A square from the middle of a whole photograph, made `_SIDE_PX` wide."""
    side = min(image.shape[:2])
    y, x = ((size - side) // 2 for size in image.shape[:2])
    square = Image.fromarray(image[y : y + side, x : x + side])
    return np.asarray(square.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS))


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("critic", type=Path, help="checkpoint directory, rewritten")
    parser.add_argument("--photographs", type=Path, required=True, help="folder of PNG")
    args = parser.parse_args(argv)
    try:
        found = calibrate_on_photographs(args.critic, args.photographs)
    except (EliqError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(json.dumps(found) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
