"""A handful of pictures with prompts, for a smoke run: coloured shapes on soft gradients."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["write_smoke_pictures"]

_COLOURS = {"red": (210, 45, 40), "green": (40, 180, 60), "blue": (45, 60, 215)}
_PLACES = ("in a garage", "on a beach")


def write_smoke_pictures(folder: Path, *, size_px: int = 96, seed: int = 0) -> Path:
    """Six PNGs and prompts.jsonl; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    lines = []
    for colour, rgb in _COLOURS.items():
        for place in _PLACES:
            ramp = 100 + 80 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))
            image = np.stack([ramp, ramp * 0.95, ramp * 0.9], axis=-1)
            left, top = rng.uniform(0.2, 0.4, size=2)
            inside = (x > left) & (x < left + 0.4) & (y > top) & (y < top + 0.4)
            image[inside] = rgb
            name = f"{len(lines)}.png"
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / name)
            lines.append(json.dumps({"path": name, "prompt": f"a {colour} box {place}"}))
    (folder / "prompts.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
