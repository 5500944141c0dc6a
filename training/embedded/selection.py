"""Selection set of the pretraining: rendered, held out, never trained on and never reported.

Seeds 7,000,000 to 7,999,999 belong to it; those of the test (benchmarks/scenes.py) lie above.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from eliq.backbone import Backbone
from eliq.supervision.distortions import DISTORTIONS, ladder

from ..precision import bf16_autocast
from .batches import TRAINED_DISTORTIONS
from .render import render_positive
from .scenes import FULL_DIFFICULTY, SceneConfig, hard_swaps, scene_renderer

__all__ = ["SELECTION_SEED", "select_alignment", "select_ladders"]

SELECTION_SEED = 7_000_000


def _tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


@torch.inference_mode()
def select_alignment(
    backbone: Backbone,
    *,
    num_scenes: int = 96,
    size_px: int = 192,
    difficulty: SceneConfig = FULL_DIFFICULTY,
) -> dict[str, float]:
    """Share of hard swaps and shuffles ranked below the true prompt, by kind."""
    renderer = scene_renderer(replace(difficulty, size_px=size_px))
    scenes = [renderer.render(np.random.default_rng(SELECTION_SEED + i)) for i in range(num_scenes)]
    hits: dict[str, list[float]] = defaultdict(list)
    for start in range(0, num_scenes, 16):
        part = scenes[start : start + 16]
        pixels, grid = backbone.pixels([_tensor(s.image) for s in part])
        prompts = []
        for index, scene in enumerate(part):
            # A stream of its own: the scene's would tie the choice of the swap to the scene.
            swaps = hard_swaps(scene, np.random.default_rng((SELECTION_SEED + start + index, 1)))
            swaps["shuffle"] = part[(index + 1) % len(part)].prompt
            prompts.append({"true": scene.prompt, **swaps})
        rows = backbone.pack(
            grid, [[backbone.layout.alignment(t) for t in row.values()] for row in prompts]
        )
        with bf16_autocast():
            hidden = backbone.hidden_states(rows, pixels, grid)
        margins = backbone.margins(backbone.read(hidden, rows)).tolist()
        for row, values in zip(prompts, margins, strict=True):
            for kind, value in list(zip(row, values, strict=False))[1:]:
                hits[kind].append(float(values[0] > value))
    return {kind: float(np.mean(values)) for kind, values in sorted(hits.items())}


@torch.inference_mode()
def select_ladders(
    backbone: Backbone,
    *,
    num_ladders: int = 56,
    size_px: int = 256,
    distortions: Sequence[str] = TRAINED_DISTORTIONS,
) -> dict[str, float]:
    """Order accuracy (neighbouring severities) and positive-above-damaged accuracy, by aspect."""
    hits: dict[str, list[float]] = defaultdict(list)
    for index in range(num_ladders):
        name = distortions[index % len(distortions)]
        seed = SELECTION_SEED + 500_000 + index
        image, prompt, _ = render_positive(seed, replace(FULL_DIFFICULTY, size_px=size_px))
        images = [image, *(s[0] for s in ladder(image, name, (1, 3, 5), seed))]
        with bf16_autocast():
            margins = backbone.embed([_tensor(i) for i in images], [prompt] * 4).margins
        aspect = DISTORTIONS[name].aspect
        own = margins[:, 0 if aspect == "technical" else 1].tolist()
        hits[f"{aspect}_order"] += [float(a > b) for a, b in zip(own, own[1:], strict=False)]
        hits[f"{aspect}_pair"] += [float(own[0] > own[2]), float(own[0] > own[3])]
    return {kind: float(np.mean(values)) for kind, values in sorted(hits.items())}
