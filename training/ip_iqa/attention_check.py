"""Does the cross-modality pooling look at the thing that a word names? Figure 3, as a number.

Scenes that show two different things; each thing is asked for by its word alone. Chance is
what a map that knows nothing would reach on the very same boxes.

Shapes: maps [B,h,w] that sum to 1; boxes (x0, y0, x1, y1) in px.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from eliq.correlation import bootstrap_interval
from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQAModel, PromptTokenizer

from .rated_scenes import RatedScenes

__all__ = ["box_weights", "pointing"]


def box_weights(box: tuple[int, int, int, int], grid: int, size_px: int) -> Tensor:
    """[grid,grid]: the share of each cell that lies inside the box, 0..1."""
    edges = torch.linspace(0, size_px, grid + 1)

    def covered(low: float, high: float) -> Tensor:
        inside = torch.minimum(edges[1:], torch.tensor(float(high))) - torch.maximum(
            edges[:-1], torch.tensor(float(low))
        )
        return inside.clamp_min(0) / (size_px / grid)

    return covered(box[1], box[3])[:, None] * covered(box[0], box[2])[None]


@torch.no_grad()
def pointing(model: IPIQAModel, encoder: PromptTokenizer, scenes: RatedScenes) -> dict[str, Any]:
    """How often the attention of a word goes to its thing, over all scenes with two things.

    Returns:
        ``num_words``: words asked.
        ``named_over_other``: share of words whose attention per area is higher on the named thing
            than on the other thing of the scene; chance .5. ``named_interval``: 95 %, by scenes.
        ``mass``, ``mass_chance``: mean attention inside the named thing's box, and the mean area
            of the box: what an even map has there.
        ``peak``, ``peak_chance``: share of words whose strongest cell has its centre in the box,
            and the mean share of cells that do.
        ``swap``: share of scenes in which naming the other thing moves attention towards it: mass
            on a thing is higher for its own word than for the other's; chance .5.

    Raises:
        TrainingError: no scene with two things.
    """
    grid, size = model.config.grid, model.config.image_size_px
    rows = [row for row, boxes in enumerate(scenes.boxes) if len(boxes) == 2]
    if not rows:
        raise TrainingError("pointing: expected scenes with two things, found none")
    wins, masses, areas, peaks, cells, swaps, by_scene = [], [], [], [], [], [], []
    for row in rows:
        words = list(scenes.boxes[row])
        image = scenes.images[row : row + 1].float() / 255
        maps = model.attention(image.expand(2, -1, -1, -1).contiguous(), encoder(words).ids).map
        insides = [box_weights(scenes.boxes[row][word], grid, size) for word in words]
        for own in (0, 1):
            inside, other = insides[own], insides[1 - own]
            mass = float((maps[own] * inside).sum())
            density = mass / float(inside.sum())
            rival = float((maps[own] * other).sum()) / float(other.sum())
            wins.append(float(density > rival))
            by_scene.append(row)
            masses.append(mass)
            areas.append(float(inside.mean()))
            centre = _centres_inside(scenes.boxes[row][words[own]], grid, size)
            peaks.append(float(centre.flatten()[int(maps[own].argmax())]))
            cells.append(float(centre.mean()))
            swaps.append(float(mass > float((maps[1 - own] * inside).sum())))
    won = np.asarray(wins)
    interval = bootstrap_interval(lambda x: float(np.mean(x)), won, groups=by_scene)
    return {
        "num_words": len(wins),
        "named_over_other": float(won.mean()),
        "named_interval": [float(value) for value in interval],
        "mass": float(np.mean(masses)),
        "mass_chance": float(np.mean(areas)),
        "peak": float(np.mean(peaks)),
        "peak_chance": float(np.mean(cells)),
        "swap": float(np.mean(swaps)),
    }


def _centres_inside(box: tuple[int, int, int, int], grid: int, size_px: int) -> Tensor:
    """float [grid,grid]: 1 where the centre of a cell lies in the box."""
    centres = (torch.arange(grid) + 0.5) * size_px / grid
    across = (centres >= box[0]) & (centres < box[2])
    down = (centres >= box[1]) & (centres < box[3])
    return (down[:, None] & across[None]).float()
