"""Does the cross-modality pooling look at the thing that a word names? Figure 3, as a number.

Scenes that show two different things; each thing is asked for by its word alone. Chance is
what a map that knows nothing would reach on the very same boxes.

Shapes: maps [B,h,w] that sum to 1; boxes (x0, y0, x1, y1) in px.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from eliq.correlation import bootstrap_interval
from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQAModel, PromptTokenizer

from .rated_scenes import RatedScenes

__all__ = ["Look", "box_weights", "looks", "pointing"]


def box_weights(box: tuple[int, int, int, int], grid: int, size_px: int) -> Tensor:
    """[grid,grid]: the share of each cell that lies inside the box, 0..1."""
    edges = torch.linspace(0, size_px, grid + 1)

    def covered(low: float, high: float) -> Tensor:
        inside = torch.minimum(edges[1:], torch.tensor(float(high))) - torch.maximum(
            edges[:-1], torch.tensor(float(low))
        )
        return inside.clamp_min(0) / (size_px / grid)

    return covered(box[1], box[3])[:, None] * covered(box[0], box[2])[None]


class Look(NamedTuple):
    """Where one word looked in one scene; ``won`` and the like are 0 or 1.

    Attributes:
        scene: row of the scene.
        won: attention per area is higher on the named thing than on the other thing of the scene.
        mass, area: attention inside the named thing's box, and its share of the image.
        peak, centres: whether the strongest cell has its centre in the box; share of cells that do.
        swap: more attention on the thing for its own word than for the other thing's.
    """

    scene: int
    won: float
    mass: float
    area: float
    peak: float
    centres: float
    swap: float


@torch.no_grad()
def looks(model: IPIQAModel, encoder: PromptTokenizer, scenes: RatedScenes) -> list[Look]:
    """One look for each of the two words of every scene with two things.

    Raises:
        TrainingError: no scene with two things.
    """
    grid, size = model.config.grid, model.config.image_size_px
    found = []
    for row, boxes in enumerate(scenes.boxes):
        if len(boxes) != 2:
            continue
        words = list(boxes)
        image = scenes.images[row : row + 1].float() / 255
        maps = model.attention(image.expand(2, -1, -1, -1).contiguous(), encoder(words).ids).map
        insides = [box_weights(boxes[word], grid, size) for word in words]
        for own in (0, 1):
            inside, other = insides[own], insides[1 - own]
            mass = float((maps[own] * inside).sum())
            rival = float((maps[own] * other).sum()) / float(other.sum())
            centre = _centres_inside(boxes[words[own]], grid, size)
            found.append(
                Look(
                    scene=row,
                    won=float(mass / float(inside.sum()) > rival),
                    mass=mass,
                    area=float(inside.mean()),
                    peak=float(centre.flatten()[int(maps[own].argmax())]),
                    centres=float(centre.mean()),
                    swap=float(mass > float((maps[1 - own] * inside).sum())),
                )
            )
    if not found:
        raise TrainingError("pointing: expected scenes with two things, found none")
    return found


def pointing(found: Sequence[Look]) -> dict[str, Any]:
    """How often the attention of a word goes to its thing.

    Looks of several models in the same scenes may be put together: a scene counts as one draw.

    Returns:
        ``num_words``: looks.
        ``named_over_other``: mean of ``won``; chance .5. ``named_interval``: 95 %, by scenes.
        ``mass``, ``mass_chance``: mean attention inside the named thing's box, and the mean area
            of the box: what an even map has there.
        ``peak``, ``peak_chance``: how often the strongest cell is in the box, and the mean share of
            cells that are.
        ``swap``: how often naming the other thing moves attention towards it; chance .5.
    """
    table = np.asarray(found, dtype=float)
    columns = dict(zip(Look._fields, table.T, strict=True))
    interval = bootstrap_interval(
        lambda x: float(np.mean(x)), columns["won"], groups=columns["scene"].tolist()
    )
    names = {"named_over_other": "won", "mass": "mass", "mass_chance": "area", "peak": "peak"}
    names |= {"peak_chance": "centres", "swap": "swap"}
    return {
        "num_words": len(table),
        "named_interval": [float(value) for value in interval],
        **{name: float(columns[column].mean()) for name, column in names.items()},
    }


def _centres_inside(box: tuple[int, int, int, int], grid: int, size_px: int) -> Tensor:
    """float [grid,grid]: 1 where the centre of a cell lies in the box."""
    centres = (torch.arange(grid) + 0.5) * size_px / grid
    across = (centres >= box[0]) & (centres < box[2])
    down = (centres >= box[1]) & (centres < box[3])
    return (down[:, None] & across[None]).float()
