"""Figure 3 of the paper on rendered scenes: an image, and where the words of its two things look.

The scenes are the first of those that the measure is taken on, not chosen by how they look.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image

from eliq.contact_sheet.text import Lettering
from eliq.ip_iqa import IPIQAModel, PromptTokenizer
from eliq.ip_iqa.heat import heat_over, heat_scale

from .rated_scenes import RatedScenes

__all__ = ["attention_figure"]

_PANEL_PX = 192
_GAP_PX = 10
_LABEL_PX = 26
_INK = (28, 33, 40)


@torch.no_grad()
def attention_figure(
    model: IPIQAModel,
    encoder: PromptTokenizer,
    scenes: RatedScenes,
    path: Path,
    *,
    num_rows: int = 4,
    num_columns: int = 2,
) -> None:
    """Writes a PNG of the first `num_rows` x `num_columns` scenes.

    A scene is three panels: the image, the map of the word of one thing, and that of the other.
    Both maps of a scene share a scale of colours: dark = less than an even map has there, light =
    more.
    """
    group = 3 * (_PANEL_PX + _GAP_PX)
    step = _PANEL_PX + _LABEL_PX
    size = (num_columns * (group + _GAP_PX), num_rows * step + _GAP_PX)
    picture = Image.new("RGB", size, (255, 255, 255))
    label = Lettering(15)
    for index in range(min(num_rows * num_columns, len(scenes.images))):
        row, column = divmod(index, num_columns)
        x, y = _GAP_PX + column * (group + _GAP_PX), _GAP_PX + row * step
        words = list(scenes.boxes[index])[:2]
        pixels = scenes.images[index : index + 1].float() / 255
        maps = model.attention(pixels.expand(2, -1, -1, -1).contiguous(), encoder(words).ids).map
        cells = maps * maps[0].numel()  # multiples of the even share
        scale = heat_scale(list(cells))
        image = Image.fromarray(scenes.images[index].permute(1, 2, 0).numpy())
        image = image.resize((_PANEL_PX, _PANEL_PX), Image.Resampling.LANCZOS)
        panels = [image, *(heat_over(image, one, scale) for one in cells)]
        for number, (panel, text) in enumerate(zip(panels, ["image", *words], strict=True)):
            at = x + number * (_PANEL_PX + _GAP_PX)
            picture.paste(panel, (at, y))
            label.draw(picture, (at, y + _PANEL_PX + 17), label.fit(text, _PANEL_PX), _INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, optimize=True)
