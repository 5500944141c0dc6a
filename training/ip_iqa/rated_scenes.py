"""Rendered scenes with made-up ratings that depend on both the image and its prompt.

A stand-in for AGIQA-3K where there is none: `num_prompts` prompts of one or two named things in a
place, `per_prompt` images each. Every image shows two things: of a prompt that names one, the other
is any. It may show another thing or place than its prompt says, and may be damaged: as a whole in
three images of ten, else each thing on its own, every other one of them (`local_damage.py`). What
an imagined rater says of it, where d(part) is severity / 5 of the damage there, 0 = none to 1 = the
worst:

    asked     = mean over the named things of d, and of 1 for one that is not there
    rest      = mean of d over the other things and the background
    match     = 0.8 * share of the named things that are there + 0.2 * (the place is right)
    quality   = 5 * (1 - 0.85 * asked - 0.15 * rest) + noise
    alignment = 5 * (0.85 * match + 0.15 * (1 - 0.85 * asked - 0.15 * rest)) + noise

with normal noise of 0.15, cut to 0..5. The prompt alone says nothing of either number. The image
alone shows what is damaged, and not which of its things counts; of match it says nothing. That
people look at what the prompt named is an assumption of the paper (its Figure 3) that is built in
here, not something that these scenes can show.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.embedded.scenes import SceneConfig, describe, scene_renderer

from .local_damage import Damage, damaged

__all__ = ["PLACES", "RatedScenes", "SceneSettings", "felt", "rated_scenes", "true_scenes"]

#: Backgrounds in which the objects stand out, so that small towers can learn in minutes.
PLACES = ("snow", "grass", "sea", "night sky")
_FRAMES = 10  # wordings of training.embedded.facts; the last two leave the place unsaid

Box = tuple[int, int, int, int]


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
    per_prompt: int = 8
    wrong_thing: float = 0.3
    wrong_place: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class RatedScenes:
    """N scenes.

    Attributes:
        images: uint8 [N,3,S,S].
        prompts: N texts.
        ratings: float32 [N,2] in 0..5 (quality, alignment).
        boxes: of each row, the box (x0, y0, x1, y1) in px of every thing shown, by its noun.
        damage: of each row, that of every thing shown, by its noun, and of the background ("").
    """

    images: Tensor
    prompts: list[str]
    ratings: Tensor
    boxes: list[dict[str, Box]]
    damage: list[dict[str, Damage]]


def rated_scenes(settings: SceneSettings) -> RatedScenes:
    """The rated set; the same settings give the same bytes."""
    rng = np.random.default_rng(settings.seed)
    renderer = _renderer(settings)
    nouns = renderer.vocabulary.nouns
    images, prompts, ratings, boxes, damages, seen = [], [], [], [], [], set()
    while len(prompts) < settings.num_prompts * settings.per_prompt:
        said = _facts(nouns, rng)
        prompt = describe(said)
        if prompt in seen:
            continue
        seen.add(prompt)
        named = [group["noun"] for group in said["groups"]]
        for _ in range(settings.per_prompt):
            shown, match = _shown(said, nouns, settings, rng)
            image, found = _painted(renderer, shown, rng)
            image, damage = damaged(image, found, rng)
            clean = 1.0 - felt(named, damage)
            images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
            prompts.append(prompt)
            ratings.append([5 * clean, 5 * (0.85 * match + 0.15 * clean)])
            boxes.append(found)
            damages.append(damage)
    noisy = np.asarray(ratings) + rng.normal(0.0, 0.15, (len(ratings), 2))
    return RatedScenes(
        torch.stack(images),
        prompts,
        torch.from_numpy(noisy.clip(0.0, 5.0)).float(),
        boxes,
        damages,
    )


def true_scenes(settings: SceneSettings, num: int, *, seed: int) -> RatedScenes:
    """`num` undamaged scenes of two things whose prompts are true, without ratings (NaN)."""
    rng = np.random.default_rng((settings.seed, seed))
    renderer = _renderer(settings)
    nouns = renderer.vocabulary.nouns
    images, prompts, boxes = [], [], []
    for _ in range(num):
        said = _facts(nouns, rng)
        groups = list(said["groups"])
        if len(groups) == 1:
            groups.append(_another({groups[0]["noun"]}, nouns, rng))
        image, found = _painted(renderer, {**said, "groups": groups}, rng)
        images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
        prompts.append(describe(said))
        boxes.append(found)
    none = [dict.fromkeys([*found, ""], Damage()) for found in boxes]
    return RatedScenes(torch.stack(images), prompts, torch.full((num, 2), torch.nan), boxes, none)


def _renderer(settings: SceneSettings):
    return scene_renderer(
        SceneConfig(num_objects=settings.num_nouns, max_groups=2, size_px=settings.size_px)
    )


def _facts(nouns: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    """What a prompt says: one thing in two of three, else two; the place in four of five."""
    names = rng.permutation(nouns)[: 1 if rng.random() < 0.67 else 2]
    return {
        "groups": [_group(str(name)) for name in names],
        "relation": None,
        "background": PLACES[int(rng.integers(len(PLACES)))],
        "wording": {
            "frame": int(rng.integers(_FRAMES)),
            "join": int(rng.integers(5)),
            "relation": 0,
            "digits": False,
        },
    }


def _group(noun: str) -> dict[str, Any]:
    return {"noun": noun, "colour": None, "count": 1}


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
            groups.append(_another({*named, *(g["noun"] for g in groups)}, nouns, rng))
        else:
            groups.append(dict(group))
            right += 1
    if len(groups) == 1:
        groups.append(_another({*named, groups[0]["noun"]}, nouns, rng))
    place = said["background"]
    if rng.random() < settings.wrong_place:
        others = [p for p in PLACES if p != place]
        place = others[int(rng.integers(len(others)))]
    is_silent = said["wording"]["frame"] >= _FRAMES - 2  # a place that is not said cannot be wrong
    share = right / len(named)
    place_right = is_silent or place == said["background"]
    return {**said, "groups": groups, "background": place}, 0.8 * share + 0.2 * place_right


def _another(taken: set[str], nouns: tuple[str, ...], rng: np.random.Generator) -> dict[str, Any]:
    free = [noun for noun in nouns if noun not in taken]
    return _group(free[int(rng.integers(len(free)))])


def _painted(
    renderer, shown: dict[str, Any], rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, Box]]:
    """The things in random order: none is known by being painted first."""
    order = rng.permutation(len(shown["groups"]))
    shown = {**shown, "groups": [shown["groups"][i] for i in order]}
    scene = renderer.paint(shown, rng)
    pairs = zip(shown["groups"], scene.boxes, strict=True)
    return scene.image, {group["noun"]: tuple(found[0]) for group, found in pairs}


def felt(named: list[str], damage: dict[str, Damage]) -> float:
    """How much of the damage counts, 0..1: chiefly that on what the prompt named.

    `damage` is that of every thing shown and of the background (``""``).
    """
    asked = [damage[noun].severity / 5.0 if noun in damage else 1.0 for noun in named]
    rest = [found.severity / 5.0 for noun, found in damage.items() if noun not in named]
    return 0.85 * float(np.mean(asked)) + 0.15 * float(np.mean(rest))
