"""Batches of the pretraining: scenes with many prompts, and severity ladders.

Shapes: B images of one size, K questions a row, C merged cells (32 x 32 px) an image.

Every batch is a function of (seed, step) alone, so that a resumed run sees what an unbroken one
would have seen, however many workers render.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from eliq.errors import ConfigError
from eliq.instructions import ChatLayout
from eliq.packing import pack_rows
from eliq.patches import PatchConfig, patchify
from eliq.supervision.distortions import DISTORTIONS, distortion_names, ladder

from .camera import camera
from .nouns import COLOURS, NOUNS, SHAPES, noun_phrase
from .photographs import Photographs
from .render import render_positive
from .scenes import FULL_DIFFICULTY, Scene, SceneConfig, prompt_variants, scene_renderer

__all__ = ["BatchMaker", "Level", "THINGS", "TRAINED_DISTORTIONS"]

THINGS = {name: index for index, name in enumerate((*SHAPES, *NOUNS))}
_COLOUR_IDS = {name: index for index, name in enumerate(COLOURS)}
TRAINED_DISTORTIONS = distortion_names()
_DISTORTION_IDS = {name: index + 1 for index, name in enumerate(TRAINED_DISTORTIONS)}
# Seeds of the pretraining lie below this; those of the supervision set (6e6), of selection (7e6),
# test (8e6) and examples (9e6) above.
MAX_TRAINING_SEED = 6_000_000
# Damage through which a prompt stays as true as it was, up to this severity. The others add, hide,
# repeat or recolour things: their images say nothing of the prompt (paper 3.3.1).
KEEPS_CONTENT = frozenset(
    "jpeg rejpeg noise noise_luma noise_coarse blur motion resample oversharpen posterize "
    "specks interference "
    "premature_denoise over_exposure dark low_contrast vignette".split()
)
KEEPS_CONTENT_SEVERITY = 3


@dataclass(frozen=True)
class Level:
    """A step of the curriculum, in force from ``start`` (share of the run) on."""

    start: float
    num_objects: int
    num_backgrounds: int
    max_groups: int
    relations: bool
    ladder_share: float
    alignment_px: tuple[int, ...] = (128,)
    photographed: float = 0.0  # share of the photograph-like positives that are photographs
    ladder_px: tuple[int, ...] = (160, 192, 224, 256, 320)
    photolike: float = 0.5  # share of the positives of ladders that are photograph-like
    related: float = 0.0  # share of the scenes with prompts that must have a relation

    def scene(self, size_px: int) -> SceneConfig:
        """The scene config of this level."""
        return replace(
            FULL_DIFFICULTY,
            num_objects=self.num_objects,
            num_backgrounds=self.num_backgrounds,
            max_groups=self.max_groups,
            relations=self.relations,
            size_px=size_px,
        )


class BatchMaker:
    """Makes the batch of any step."""

    def __init__(
        self,
        layout: ChatLayout,
        patches: PatchConfig,
        *,
        seed: int,
        alignment_rows: int = 32,
        num_variants: int = 3,
        ladders: int = 6,
        ladder_steps: int = 3,
        photographs: Photographs | None = None,
        distortions: Sequence[str] = TRAINED_DISTORTIONS,
        cameras: bool = True,
    ) -> None:
        """`distortions`: those of the ladders. `cameras`: False = no rendered image passes one."""
        unknown = set(distortions) - set(TRAINED_DISTORTIONS)
        if unknown or not distortions:
            raise ConfigError(
                f"distortions must be some of the trained ones, found {sorted(unknown) or 'none'}; "
                f"they are: {', '.join(TRAINED_DISTORTIONS)}"
            )
        self.layout, self.patches, self.seed = layout, patches, seed
        self.distortions, self.cameras = tuple(distortions), cameras
        self.alignment_rows, self.num_variants = alignment_rows, num_variants
        self.ladders, self.ladder_steps = ladders, ladder_steps
        self.photographs = photographs
        self.caption = [*layout.encode("what does it show?"), *layout.suffix_tail]

    def make(self, step: int, level: Level) -> dict[str, Tensor | str]:
        """The batch of a step: its ``kind`` is ``alignment`` or ``ladder``."""
        rng = np.random.default_rng((self.seed % MAX_TRAINING_SEED, step))
        if rng.random() < level.ladder_share:
            return self._ladder_batch(rng, level)
        return self._alignment_batch(rng, level)

    def _alignment_batch(self, rng: np.random.Generator, level: Level) -> dict[str, Tensor | str]:
        size = int(rng.choice(level.alignment_px))
        count = max(4, int(self.alignment_rows * (128 / size) ** 1.3))
        renderer = scene_renderer(level.scene(size))
        scenes = [renderer.render(rng, related=rng.random() < level.related) for _ in range(count)]
        images = [
            camera(s.image, rng, rng.uniform(0.3, 1.0))
            if self.cameras and rng.random() < 0.3
            else s.image
            for s in scenes
        ]
        suffixes, captions, places = [], [], []
        labels = torch.zeros(count, self.num_variants + 2)
        for index, scene in enumerate(scenes):
            wrong = self._wrong_prompts(scene, rng)
            other = scenes[(index + 1 + int(rng.integers(count - 1))) % count].prompt
            texts = [scene.prompt, *wrong, *([other] if other != scene.prompt else [])]
            order = rng.permutation(len(texts))
            labels[index] = -1
            labels[index, : len(texts)] = torch.tensor([float(i == 0) for i in order])
            answer = [*self.layout.encode(scene.prompt), self.layout.pad_token_id]
            captions.append((len(texts), len(answer), answer))
            places.append(self._places(scene))
            suffixes.append(
                [*(self.layout.alignment(texts[i]) for i in order), [*self.caption, *answer]]
            )
        batch = self._rows(images, suffixes)
        cells = [self._cells(scene, size) for scene in scenes]
        row, position, target = [], [], []
        named: list[tuple[int, int, float, float]] = []
        for index, (question, length, answer) in enumerate(captions):
            last = int(batch["last"][index, question])
            row += [index] * length
            position += range(last - length, last)
            target += answer
            # The token itself lies one after the position that foretells it.
            named += [(index, last - length + 1 + at, x, y) for at, x, y in places[index]]
        return batch | {
            "kind": "alignment",
            "labels": labels,
            "caption": torch.tensor([row, position, target]),
            "named": torch.tensor([n[:2] for n in named]).T,
            "places": torch.tensor([n[2:] for n in named]),
            "things": torch.cat([c[0] for c in cells]),
            "colours": torch.cat([c[1] for c in cells]),
            "centres": torch.cat([c[2] for c in cells]),
            "background": torch.tensor([_background_id(s) for s in scenes]),
        }

    def _wrong_prompts(self, scene: Scene, rng: np.random.Generator) -> list[str]:
        """Hard swaps, a relation's among them wherever there is one: it is the rarest to learn."""
        wrong = prompt_variants(scene, rng, self.num_variants)
        if scene.facts["relation"] is not None and all(k != "relation" for k, _ in wrong):
            wrong[-1:] = prompt_variants(scene, rng, 1, kinds=("relation",))
        return [text for _, text in wrong]

    def _places(self, scene: Scene) -> list[tuple[int, float, float]]:
        """(index of the token that ends a noun, x, y of its group's centre in 0..1), true prompt.

        The nouns stand in the prompt in the order of the groups.
        """
        size, text, start, found = scene.config.size_px, scene.prompt, 0, []
        ends = self.layout.offsets(text)
        for group, boxes in zip(scene.facts["groups"], scene.boxes, strict=True):
            words = noun_phrase(
                group["noun"],
                group["colour"],
                group["count"],
                digits=scene.facts["wording"]["digits"],
            )
            start = text.find(words, start)
            if start < 0:
                return found
            start += len(words)
            token = next(i for i, (_, end) in enumerate(ends) if end >= start)
            centre = np.mean(boxes, axis=0) / size
            found.append((token, (centre[0] + centre[2]) / 2, (centre[1] + centre[3]) / 2))
        return found

    def _ladder_batch(self, rng: np.random.Generator, level: Level) -> dict[str, Tensor | str]:
        size = int(rng.choice(level.ladder_px))
        # A large picture is read at `max_pixels`: that is what it costs, and what it is worth.
        read_px = min(size, int(self.patches.max_pixels**0.5))
        count = max(3, round(self.ladders * (192 / read_px) ** 2))
        images, suffixes, rows = [], [], []
        twins, twin_of = [], []
        # Two kinds of damage a batch, so that each is seen on several images at once.
        names = [self.distortions[int(i)] for i in rng.integers(len(self.distortions), size=2)]
        for index in range(count):
            seed = int(rng.integers(MAX_TRAINING_SEED))
            image, prompt, scene = render_positive(
                seed,
                level.scene(size),
                photolike=level.photolike,
                cameras=self.cameras,
                photographs=self.photographs,
                photographed=level.photographed,
            )
            name = names[index % 2]
            chosen = np.sort(rng.choice(5, self.ladder_steps, replace=False)) + 1
            chain = ladder(image, name, [int(s) for s in chosen], rng)
            questions = [self.layout.technical, self.layout.aesthetic]
            wrong = prompt_variants(scene, rng, 1) if scene is not None else []
            if wrong:
                questions += [self.layout.alignment(prompt), self.layout.alignment(wrong[0][1])]
            primary = 0 if DISTORTIONS[name].aspect == "technical" else 1
            for out, severity in [(image, 0), *((step[0], int(step[1])) for step in chain)]:
                images.append(out)
                suffixes.append(questions)
                kind = _DISTORTION_IDS[name] if severity else 0
                kept = not severity or (
                    name in KEEPS_CONTENT and severity <= KEEPS_CONTENT_SEVERITY
                )
                rows.append((primary, severity, kind, kept and len(questions) > 2))
            chosen_row = len(images) - 1 - int(rng.integers(len(chain) + 1))
            twins.append(twin(images[chosen_row], rng, self.patches.max_pixels))
            twin_of.append(chosen_row)
        questions = [self.layout.technical, self.layout.aesthetic]
        batch = self._rows(images + twins, suffixes + [questions] * len(twins))
        return batch | {
            "kind": "ladder",
            "twin_of": torch.tensor(twin_of),
            "primary": torch.tensor([r[0] for r in rows]),
            "severity": torch.tensor([r[1] for r in rows]),
            "distortion": torch.tensor([r[2] for r in rows]),
            "has_prompt": torch.tensor([r[3] for r in rows]),
        }

    def _rows(
        self, images: list[np.ndarray], suffixes: list[list[list[int]]]
    ) -> dict[str, Tensor | str]:
        tensors = [torch.from_numpy(np.array(i)).permute(2, 0, 1).float() / 255 for i in images]
        pixel_values, grid_thw = patchify(tensors, self.patches)
        merge = self.patches.merge
        grids = [(r // merge, c // merge) for _, r, c in grid_thw.tolist()]
        rows = pack_rows(self.layout, grids, suffixes)
        return {"pixel_values": pixel_values.bfloat16(), "grid_thw": grid_thw, **vars(rows)}

    def _cells(self, scene: Scene, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """What each cell shows: things [C, T], colours [C, 10], a centre [C, 1], all 0 or 1."""
        factor = self.patches.factor_px
        side = size // factor
        things = np.zeros((side, side, len(THINGS)), np.float32)
        colours = np.zeros((side, side, len(_COLOUR_IDS)), np.float32)
        centres = np.zeros((side, side, 1), np.float32)
        edges = np.arange(side) * factor
        for group, boxes in zip(scene.facts["groups"], scene.boxes, strict=True):
            for x0, y0, x1, y1 in boxes:
                over_x = np.minimum(edges + factor, x1) - np.maximum(edges, x0)
                over_y = np.minimum(edges + factor, y1) - np.maximum(edges, y0)
                area = np.clip(over_y, 0, None)[:, None] * np.clip(over_x, 0, None)[None]
                # A cell shows a thing of which it holds a fair part, small or large.
                part = min(factor**2, (x1 - x0) * (y1 - y0))
                mine = area > 0.3 * part
                cy, cx = (
                    min(side - 1, (y0 + y1) // 2 // factor),
                    min(side - 1, (x0 + x1) // 2 // factor),
                )
                mine[cy, cx] = True
                centres[cy, cx] = 1
                things[mine, THINGS[group["noun"]]] = 1
                if group["colour"] is not None:
                    colours[mine, _COLOUR_IDS[group["colour"]]] = 1
        return tuple(
            torch.from_numpy(a.reshape(side * side, -1)) for a in (things, colours, centres)
        )


def twin(image: np.ndarray, rng: np.random.Generator, max_pixels: int) -> np.ndarray:
    """The same picture as nobody would rate otherwise: mirrored, resized a little, or as JPEG 95.

    uint8 [S,S,3] in and out. Resized, by up to a ninth, only where both are read at the size that
    `max_pixels` allows: below, a resized picture really is softer or coarser.
    """
    side = image.shape[0]
    out = image[:, ::-1] if rng.random() < 0.5 else image
    factor = float(np.exp(rng.uniform(-0.115, 0.115)))
    resized = (0.89 * side) ** 2 > 0.98 * max_pixels
    if resized:
        new = round(side * factor)
        out = np.asarray(Image.fromarray(out).resize((new, new), Image.Resampling.BICUBIC))
    if rng.random() < 0.4 or (out.shape == image.shape and np.shares_memory(out, image)):
        buffer = io.BytesIO()
        picture = Image.fromarray(np.ascontiguousarray(out))
        picture.save(buffer, "JPEG", quality=int(rng.integers(94, 98)))
        out = np.asarray(Image.open(buffer).convert("RGB"))
    return np.ascontiguousarray(out)


def _background_id(scene: Scene) -> int:
    from .backgrounds import BACKGROUNDS

    return list(BACKGROUNDS).index(scene.facts["background"])
