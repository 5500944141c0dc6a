"""A rated set for smoke runs: pictures of our own at known strengths of noise and blur.

The "opinions" are computed from the strength, not asked of anybody: they prove that the steps run.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from ..smoke_pictures import write_smoke_pictures

__all__ = ["write_smoke_set"]

_WRONG = {"red": "green", "green": "blue", "blue": "red"}


def write_smoke_set(folder: Path, *, seed: int = 0) -> Path:
    """24 PNGs of 6 prompts and 2 made-up generators, and `ratings.csv`; returns the CSV."""
    write_smoke_pictures(folder, seed=seed)
    rng = np.random.default_rng(seed)
    pictures = sorted(folder.glob("[0-9].png"))
    prompts = [f"a {colour} box {place}" for colour in ("red", "green", "blue")
               for place in ("in a garage", "on a beach")]  # fmt: skip
    rows = []
    for path, prompt in zip(pictures, prompts, strict=True):
        clean = Image.open(path).convert("RGB")
        for strength in range(4):
            noise = rng.normal(0, 18 * strength, (clean.height, clean.width, 3))
            blurred = np.asarray(clean.filter(ImageFilter.GaussianBlur(strength)), dtype=float)
            name = f"{path.stem}_{strength}.png"
            Image.fromarray((blurred + noise).clip(0, 255).astype(np.uint8)).save(folder / name)
            is_right = rng.random() < 0.7
            colour = prompt.split()[1]
            shown = prompt if is_right else prompt.replace(colour, _WRONG[colour])
            rows.append(
                {
                    "path": name,
                    "prompt": shown,
                    "quality": round(5 - strength + rng.normal(0, 0.2), 3),
                    "alignment": round((4 if is_right else 2) - 0.2 * strength, 3),
                    "generator": ("plain", "noisy")[strength > 1],
                    "group": prompt,
                }
            )
    ratings = folder / "ratings.csv"
    with open(ratings, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return ratings
