"""Renders the scenes of the example images: seeds that no training or selection run draws from.

    python -m training.embedded.example_scenes runs/example_scenes

Needs the Noto Color Emoji font; a second on one core. Writes PNG files at 512 px and scenes.jsonl,
one object a scene: path, seed, prompt, and a wrong prompt for each kind of swap that applies.
`examples/make_example_images.py` takes the folder from there.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from .scenes import FULL_DIFFICULTY, SceneRenderer, hard_swaps

__all__ = ["EXAMPLE_SEEDS", "write_example_scenes"]

# Chosen by eye for variety, before any critic had scored them. From 9,000,000 on seeds are held
# out: training counts up from 0.
EXAMPLE_SEEDS = (9_000_000, 9_000_005, 9_000_010, 9_000_019, 9_000_027, 9_000_029)


def write_example_scenes(out_dir: Path) -> None:
    """Write one PNG a seed, and scenes.jsonl beside them."""
    out_dir.mkdir(parents=True, exist_ok=True)
    renderer = SceneRenderer(replace(FULL_DIFFICULTY, size_px=512))
    lines = []
    for seed in EXAMPLE_SEEDS:
        rng = np.random.default_rng(seed)
        scene = renderer.render(rng)
        name = f"{seed}.png"
        Image.fromarray(scene.image).save(out_dir / name)
        swaps = dict(sorted(hard_swaps(scene, rng).items()))
        row = {"path": name, "seed": seed, "prompt": scene.prompt, "swaps": swaps}
        lines.append(json.dumps(row) + "\n")
    (out_dir / "scenes.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out_dir", type=Path)
    write_example_scenes(parser.parse_args().out_dir)
