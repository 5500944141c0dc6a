"""Scenes: counted, coloured, placed objects on a background, with a prompt that tells the truth.

Shapes: images uint8 [S, S, 3] (HWC, sRGB), S = `SceneConfig.size_px`; boxes (x0, y0, x1, y1) in
px, of the visible object. A scene depends only on its config and generator.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from eliq.errors import ConfigError

from .backgrounds import BACKGROUNDS, paint_background
from .facts import SWAP_KINDS, Vocabulary, describe, sample_facts, swap_fact, swap_kinds
from .nouns import COLOURS, NOUNS
from .sprites import DEFAULT_FONT, sprite_book

__all__ = [
    "FULL_DIFFICULTY",
    "SWAP_KINDS",
    "Scene",
    "SceneConfig",
    "SceneRenderer",
    "describe",
    "hard_swaps",
    "prompt_variants",
    "scene_renderer",
]


@dataclass(frozen=True)
class SceneConfig:
    """How hard the scenes are; the curriculum widens it."""

    num_objects: int = 25
    num_backgrounds: int = 9
    num_colours: int = 10
    max_count: int = 4
    max_groups: int = 1
    relations: bool = False
    size_px: int = 128
    font_path: str = DEFAULT_FONT

    def __post_init__(self) -> None:
        limits = {
            "num_objects": (4, len(NOUNS)),
            "num_backgrounds": (1, len(BACKGROUNDS)),
            "num_colours": (3, len(COLOURS)),
            "max_count": (1, 4),
            "max_groups": (1, 2),
            "size_px": (64, 1024),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} must be {low}..{high}; found {value}.")
        if self.relations and self.max_groups < 2:
            raise ConfigError("relations need max_groups = 2; found 1.")

    def to_json(self) -> dict:
        """Plain JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict) -> SceneConfig:
        """The config of `to_json`."""
        return cls(**data)


FULL_DIFFICULTY = SceneConfig(
    num_objects=len(NOUNS), num_backgrounds=len(BACKGROUNDS), max_groups=2, relations=True
)


@dataclass
class Scene:
    """A rendered scene. `kind`: "single", "pair" or "relation"; `facts`: see facts.py."""

    image: np.ndarray
    prompt: str
    kind: str
    facts: dict
    boxes: list[list[tuple[int, int, int, int]]]  # one list a group
    config: SceneConfig


class SceneRenderer:
    """Renders scenes of one config."""

    def __init__(self, config: SceneConfig) -> None:
        self.config = config
        self.vocabulary = Vocabulary(config.num_objects, config.num_backgrounds, config.num_colours)
        self.sprites = sprite_book(config.font_path)

    def render(self, rng: np.random.Generator, *, related: bool = False) -> Scene:
        """Draw facts and paint them; `related` asks for a relation, where the config has any."""
        config = self.config
        while True:
            facts = sample_facts(
                self.vocabulary,
                rng,
                max_count=config.max_count,
                max_groups=config.max_groups,
                relations=config.relations,
            )
            if facts["relation"] is not None or not (related and config.relations):
                return self.paint(facts, rng)

    def paint(self, facts: dict, rng: np.random.Generator) -> Scene:
        """Paint given facts: a new layout, light and background each time."""
        size = self.config.size_px
        canvas = paint_background(facts["background"], rng, size)
        if not canvas.flags.writeable or not canvas.flags.c_contiguous:
            canvas = canvas.copy()
        counts = [g["count"] for g in facts["groups"]]
        if facts["relation"] is not None:
            places = _related_layout(counts, facts["relation"], rng)
        else:
            places = _free_layout(sum(counts), rng)
        light = rng.uniform(-0.12, 0.12), rng.uniform(0.03, 0.14)
        darkness = rng.uniform(0.25, 0.6)
        boxes, at = [], 0
        for group in facts["groups"]:
            sprite = self.sprites.get(group["noun"], group["colour"])
            mine = []
            for cx, cy, s in places[at : at + group["count"]]:
                angle, flip = rng.uniform(-0.22, 0.22), rng.random() < 0.5
                mine.append((int(cx * size), int(cy * size), int(s * size), angle, flip))
            at += group["count"]
            boxes.append([(x - s // 2, y - s // 2, x + s - s // 2, y + s - s // 2)
                          for x, y, s, _, _ in mine])  # fmt: skip
            for x, y, s, _, flip in mine:
                _drop_shadow(canvas, sprite.shadow, x, y, s, light, darkness, flip)
            for x, y, s, angle, flip in mine:
                _paste(canvas, sprite.at(s, angle, flip), x, y)
        kind = "relation" if facts["relation"] else ("single", "pair")[len(counts) - 1]
        return Scene(canvas, describe(facts), kind, facts, boxes, self.config)


@lru_cache(maxsize=16)
def scene_renderer(config: SceneConfig) -> SceneRenderer:
    """The renderer of a config, kept in this process."""
    return SceneRenderer(config)


def hard_swaps(scene: Scene, rng: np.random.Generator) -> dict[str, str]:
    """One wrong prompt for each kind of `SWAP_KINDS` that applies: the same words, one fact off."""
    vocabulary, top = scene_renderer(scene.config).vocabulary, scene.config.max_count
    return {
        kind: describe(swap_fact(scene.facts, kind, vocabulary, rng, max_count=top))
        for kind in swap_kinds(scene.facts, vocabulary, max_count=top)
    }


def prompt_variants(
    scene: Scene, rng: np.random.Generator, num: int, *, kinds: tuple[str, ...] = SWAP_KINDS
) -> list[tuple[str, str]]:
    """Up to `num` different wrong prompts as (kind, prompt), the kinds in turn.

    Fewer come back only where the facts do not admit as many (e.g. a related count has two values).
    """
    vocabulary, top = scene_renderer(scene.config).vocabulary, scene.config.max_count
    open_kinds = [k for k in swap_kinds(scene.facts, vocabulary, max_count=top) if k in kinds]
    if not open_kinds:
        return []
    open_kinds = [open_kinds[i] for i in rng.permutation(len(open_kinds))]
    seen, variants = {scene.prompt}, []
    for turn in range(4 * num):
        kind = open_kinds[turn % len(open_kinds)]
        prompt = describe(swap_fact(scene.facts, kind, vocabulary, rng, max_count=top))
        if prompt not in seen:
            seen.add(prompt)
            variants.append((kind, prompt))
        if len(variants) == num:
            break
    return variants


# Size range of an object by the number of objects, as a part of the image's side.
_SIZES = {1: (0.36, 0.68), 2: (0.32, 0.44), 3: (0.28, 0.38), 4: (0.26, 0.34),
          5: (0.24, 0.3), 6: (0.225, 0.27)}  # fmt: skip


def _free_layout(total: int, rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Centres and sizes (parts of the side) of objects that hardly overlap."""
    low, high = _SIZES[total]
    base = rng.uniform(low, high)
    for attempt in range(12):
        placed: list[tuple[float, float, float]] = []
        draws = rng.random((total * 12, 3))
        slack = 0.98 if attempt < 8 else 0.9
        for u, v, w in draws.tolist():
            s = base * (0.9 + 0.2 * w)
            x, y = s / 2 + u * (1 - s), s / 2 + v * (1 - s)
            if all(max(abs(x - a), abs(y - b)) > slack * (s + t) / 2 for a, b, t in placed):
                placed.append((x, y, s))
                if len(placed) == total:
                    return placed
        base = max(low, base * 0.94)
    columns = math.ceil(math.sqrt(total))
    rows = math.ceil(total / columns)
    cells = rng.permutation(columns * rows)[:total].tolist()
    return [((c % columns + 0.5) / columns, (c // columns + 0.5) / rows, low) for c in cells]


def _related_layout(
    counts: list[int], relation: str, rng: np.random.Generator
) -> list[tuple[float, float, float]]:
    """Both groups on their side of a line, level with one another across it."""
    line = rng.uniform(0.46, 0.54)
    level = rng.uniform(0.42, 0.58) if max(counts) > 1 else rng.uniform(0.25, 0.75)
    places = []
    for index, count in enumerate(counts):
        first = (index == 0) == (relation in ("left", "above"))
        low, high = (0.0, line) if first else (line, 1.0)
        s = rng.uniform(0.32, 0.42) if count == 1 else rng.uniform(0.28, 0.36)
        s = min(s, (high - low) * 0.96)
        across = min(max(level + rng.uniform(-0.05, 0.05), s / 2), 1 - s / 2)
        spread = 0.0 if count == 1 else s * rng.uniform(1.02, 1.25)
        for k in range(count):
            along = low + s / 2 + rng.random() * (high - low - s)
            side = across + (k - (count - 1) / 2) * spread
            side = min(max(side, s / 2), 1 - s / 2)
            places.append((along, side, s) if relation in ("left", "right") else (side, along, s))
    return places


def _window(n: int, x: int, y: int, m: int) -> tuple[slice, slice, slice, slice]:
    x0, y0 = x - m // 2, y - m // 2
    ax, ay = max(x0, 0), max(y0, 0)
    bx, by = min(x0 + m, n), min(y0 + m, n)
    return slice(ay, by), slice(ax, bx), slice(ay - y0, by - y0), slice(ax - x0, bx - x0)


def _paste(canvas: np.ndarray, sprite: np.ndarray, x: int, y: int) -> None:
    """Composite a premultiplied sprite over the canvas, centred at (x, y)."""
    rows, columns, srows, scolumns = _window(canvas.shape[0], x, y, sprite.shape[0])
    over = sprite[srows, scolumns]
    under = canvas[rows, columns].astype(np.uint16)
    under *= 255 - over[..., 3:].astype(np.uint16)
    under += 127
    under //= 255
    under += over[..., :3]
    canvas[rows, columns] = np.minimum(under, 255)


def _drop_shadow(canvas, shadow: Image.Image, x, y, s, light, darkness, flip) -> None:
    """Darken the canvas by the blurred silhouette, shifted away from the light."""
    m = int(s * 1.5)
    x, y = x + int(light[0] * s), y + int(light[1] * s)
    rows, columns, srows, scolumns = _window(canvas.shape[0], x, y, m)
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    mask = np.asarray(shadow.resize((m, m), Image.Resampling.BILINEAR))
    mask = mask[:, ::-1] if flip else mask
    keep = 255 - (mask[srows, scolumns, None] * np.float32(darkness)).astype(np.uint16)
    canvas[rows, columns] = canvas[rows, columns] * keep // 255
