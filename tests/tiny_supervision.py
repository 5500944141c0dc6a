"""A supervision set of a few small images, written as `eliq.supervision` writes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

NOISE, CONTRAST = "noise", "low_contrast"
COLOURS = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 60, 210)}


def write_set(folder: Path, *, num_sources: int = 10, size_px: int = 64, seed: int = 0) -> Path:
    """One tuple and one ladder for each source image; returns the folder."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    tuples, ladders = [], []
    for i in range(num_sources):
        colour = rng.choice(list(COLOURS))
        image = picture(COLOURS[colour], size_px, rng)
        steps = [noisy(image, strength, rng) for strength in (0.08, 0.2, 0.45)]
        grey = (image.astype(float) * 0.15 + 110).astype(np.uint8)
        files = {"positive": image, "technical": steps[2], "aesthetic": grey}
        files |= {f"step{k}": step for k, step in enumerate(steps)}
        paths = {}
        for name, content in files.items():
            paths[name] = f"{i:03d}_{name}.png"
            Image.fromarray(content).save(folder / paths[name])
        common = {
            "seed": seed,
            "family": "conventional",
            "prompt": f"a {colour} disc {i}",
            "positive": paths["positive"],
            "source": f"source_{i:03d}",
            "size": [size_px, size_px],
            "codec": "png",
        }
        negative = {"severity": 5, "parameters": {}}
        tuples.append(
            common
            | {
                "tuple_id": f"t{i:03d}",
                # Wrong by its words alone: a head on random weights can learn that, and no more.
                "negative_prompt": f"a {colour} cup {i}",
                "negative_prompt_kind": "object",
                "technical": {"path": paths["technical"], "distortion": NOISE, **negative},
                "aesthetic": {"path": paths["aesthetic"], "distortion": CONTRAST, **negative},
            }
        )
        ladders.append(
            common
            | {
                "ladder_id": f"l{i:03d}",
                "aspect": "technical",
                "distortion": NOISE,
                "steps": [
                    {"path": paths[f"step{k}"], "severity": 2 * k + 1, "parameters": {}}
                    for k in range(3)
                ],
            }
        )
    for name, rows in (("manifest.jsonl", tuples), ("ladders.jsonl", ladders)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def picture(colour: tuple[int, int, int], size_px: int, rng: np.random.Generator) -> np.ndarray:
    """A disc on a soft gradient, uint8 HWC."""
    y, x = np.mgrid[0:size_px, 0:size_px] / size_px
    ramp = 90 + 100 * (x * rng.uniform(-1, 1) + y * rng.uniform(-1, 1))
    image = np.stack([ramp, ramp, ramp], axis=-1)
    centre = rng.uniform(0.35, 0.65, size=2)
    disc = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < rng.uniform(0.08, 0.12)
    image[disc] = colour
    return image.clip(0, 255).astype(np.uint8)


def noisy(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    noise = rng.normal(0, 255 * strength, image.shape)
    return (image + noise).clip(0, 255).astype(np.uint8)
