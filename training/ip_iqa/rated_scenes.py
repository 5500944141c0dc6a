"""Rendered scenes with made-up ratings that depend on both the image and its prompt.

A stand-in for AGIQA-3K where there is none: `num_prompts` prompts of one or two named things in a
place, `per_prompt` images each. An image may show another thing or place than its prompt says, and
may be damaged. What an imagined rater says of it:

    match     = 0.8 * share of the named things that are there + 0.2 * (the place is right)
    cleanness = 1 - severity / 5
    quality   = 5 * (0.75 * cleanness + 0.25 * match) + noise        (mixed, as real opinions are)
    alignment = 5 * (0.85 * match + 0.15 * cleanness) + noise

with normal noise of 0.15, cut to 0..5. The prompt alone says nothing of either number; the image
alone says cleanness, and nothing of match.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eliq.supervision import distort
from training.embedded.scenes import SceneConfig, describe, scene_renderer

__all__ = ["PLACES", "RatedScenes", "SceneSettings", "rated_scenes", "true_scenes"]

#: Backgrounds in which the objects stand out, so that small towers can learn in minutes.
PLACES = ("snow", "grass", "sea", "night sky")
_DAMAGE = ("noise", "blur", "jpeg")
_FRAMES = 10  # wordings of training.embedded.facts; the last two leave the place unsaid


@dataclass(frozen=True)
class SceneSettings:
    """How many scenes, and of what.

    Attributes:
        size_px: side of the images.
        num_nouns: the first of the renderer's nouns.
        num_prompts, per_prompt: rated images are their product.
        wrong_thing, wrong_place: how often a named thing, or the place, is another one.
        seed: of everything.
    """

    size_px: int = 96
    num_nouns: int = 8
    num_prompts: int = 300
    per_prompt: int = 6
    wrong_thing: float = 0.4
    wrong_place: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class RatedScenes:
    """N scenes: images uint8 [N,3,S,S], prompts, ratings float32 [N,2] in 0..5 (quality,
    alignment), and the box (x0, y0, x1, y1) in px of each named thing that is there."""

    images: Tensor
    prompts: list[str]
    ratings: Tensor
    boxes: list[dict[str, tuple[int, int, int, int]]]


def rated_scenes(settings: SceneSettings) -> RatedScenes:
    """The rated set; the same settings give the same bytes."""
    rng = np.random.default_rng(settings.seed)
    renderer = _renderer(settings)
    nouns = renderer.vocabulary.nouns
    images, prompts, ratings, boxes, seen = [], [], [], [], set()
    while len(prompts) < settings.num_prompts * settings.per_prompt:
        said = _facts(nouns, rng)
        prompt = describe(said)
        if prompt in seen:
            continue
        seen.add(prompt)
        for _ in range(settings.per_prompt):
            shown, match = _shown(said, nouns, settings, rng)
            scene = renderer.paint(shown, rng)
            severity = int(rng.integers(0, 6))
            image = scene.image
            if severity:
                image, _ = distort(image, _DAMAGE[int(rng.integers(3))], severity, rng)
            cleanness = 1.0 - severity / 5.0
            images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
            prompts.append(prompt)
            ratings.append(
                [5 * (0.75 * cleanness + 0.25 * match), 5 * (0.85 * match + 0.15 * cleanness)]
            )
            boxes.append(_boxes(said, shown, scene.boxes))
    noisy = np.asarray(ratings) + rng.normal(0.0, 0.15, (len(ratings), 2))
    return RatedScenes(
        torch.stack(images),
        prompts,
        torch.from_numpy(noisy.clip(0.0, 5.0)).float(),
        boxes,
    )


def true_scenes(settings: SceneSettings, num: int, *, seed: int) -> RatedScenes:
    """`num` undamaged scenes whose prompts are true, without ratings (NaN)."""
    rng = np.random.default_rng((settings.seed, seed))
    renderer = _renderer(settings)
    images, prompts, boxes = [], [], []
    for _ in range(num):
        facts = _facts(renderer.vocabulary.nouns, rng)
        scene = renderer.paint(facts, rng)
        images.append(torch.from_numpy(scene.image.copy()).permute(2, 0, 1))
        prompts.append(describe(facts))
        boxes.append(_boxes(facts, facts, scene.boxes))
    return RatedScenes(torch.stack(images), prompts, torch.full((num, 2), torch.nan), boxes)


def _renderer(settings: SceneSettings):
    return scene_renderer(
        SceneConfig(num_objects=settings.num_nouns, max_groups=2, size_px=settings.size_px)
    )


def _facts(nouns: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """Two things in two of three, else one; the place is said in four of five."""
    names = rng.permutation(nouns)[: 2 if rng.random() < 0.67 else 1]
    return {
        "groups": [{"noun": str(name), "colour": None, "count": 1} for name in names],
        "relation": None,
        "background": PLACES[int(rng.integers(len(PLACES)))],
        "wording": {
            "frame": int(rng.integers(_FRAMES)),
            "join": int(rng.integers(5)),
            "relation": 0,
            "digits": False,
        },
    }


def _shown(
    said: dict[str, Any],
    nouns: tuple[str, ...],
    settings: SceneSettings,
    rng: np.random.Generator,
) -> tuple[dict[str, Any], float]:
    """What an image shows instead of what its prompt says, and how far it matches, 0..1."""
    named = [group["noun"] for group in said["groups"]]
    groups, right = [], 0
    for group in said["groups"]:
        if rng.random() < settings.wrong_thing:
            taken = {*named, *(g["noun"] for g in groups)}
            free = [noun for noun in nouns if noun not in taken]
            groups.append({**group, "noun": free[int(rng.integers(len(free)))]})
        else:
            groups.append(dict(group))
            right += 1
    place = said["background"]
    if rng.random() < settings.wrong_place:
        others = [p for p in PLACES if p != place]
        place = others[int(rng.integers(len(others)))]
    is_silent = said["wording"]["frame"] >= _FRAMES - 2  # a place that is not said cannot be wrong
    share = right / len(named)
    place_right = is_silent or place == said["background"]
    return {**said, "groups": groups, "background": place}, 0.8 * share + 0.2 * place_right


def _boxes(said: dict[str, Any], shown: dict[str, Any], boxes: list) -> dict:
    found = {g["noun"]: tuple(b[0]) for g, b in zip(shown["groups"], boxes, strict=True)}
    return {g["noun"]: found[g["noun"]] for g in said["groups"] if g["noun"] in found}
