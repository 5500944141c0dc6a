"""Made-up ratings of rendered scenes: what they depend on, and damage on a part of a picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eliq.correlation import srcc
from training.embedded.nouns import NOUNS
from training.ip_iqa import attention_check
from training.ip_iqa.local_damage import KINDS, Damage, damaged, soft_box
from training.ip_iqa.rated_scenes import SceneSettings, felt, rated_scenes


def named_things(prompt: str, nouns) -> list[str]:
    """Those of `nouns` that a prompt names; none of the small set is part of another word."""
    return [noun for noun in nouns if noun in prompt]


def test_made_up_ratings_depend_on_the_image_and_on_the_prompt():
    settings = SceneSettings(size_px=64, num_prompts=60, per_prompt=6)
    scenes, again = rated_scenes(settings), rated_scenes(settings)
    assert torch.equal(scenes.images, again.images) and torch.equal(scenes.ratings, again.ratings)
    assert scenes.images.shape == (360, 3, 64, 64) and len(set(scenes.prompts)) == 60
    assert 0 <= scenes.ratings.min() and scenes.ratings.max() <= 5
    quality, alignment = scenes.ratings.T.tolist()
    # The length of a prompt, or which prompt it is among the first, tells nothing of its images.
    lengths = [len(p) for p in scenes.prompts]
    assert max(abs(srcc(lengths, quality)), abs(srcc(lengths, alignment))) < 0.2
    pairs = list(zip(scenes.prompts, scenes.boxes, strict=True))
    there = [len(named_things(prompt, boxes)) for prompt, boxes in pairs]
    assert all(len(boxes) == 2 for boxes in scenes.boxes)
    assert srcc(there, alignment) > 0.3
    # alignment = 4.25 match + .15 quality
    match = (scenes.ratings[:, 1] - 0.15 * scenes.ratings[:, 0]) / 4.25
    assert match.min() > -0.15 and match.max() < 1.15


def test_damage_counts_on_what_the_prompt_names_and_little_elsewhere():
    scenes = rated_scenes(SceneSettings(size_px=64, num_prompts=60, per_prompt=6, seed=3))
    on_named, on_other, behind, quality = [], [], [], []
    for row, (prompt, damage) in enumerate(zip(scenes.prompts, scenes.damage, strict=True)):
        named = named_things(prompt, NOUNS[:8])
        if len(named) != 1 or named[0] not in damage:
            continue
        on_named.append(damage[named[0]].severity)
        on_other.append(next(d.severity for noun, d in damage.items() if noun not in ("", *named)))
        behind.append(damage[""].severity)
        quality.append(float(scenes.ratings[row, 0]))
    # quality = 5 * (1 - .85 asked - .15 rest), rest = mean of the other thing and the background
    design = np.stack([on_named, on_other, behind, np.full(len(quality), 5.0)], axis=1)
    weights = np.linalg.lstsq(design, np.asarray(quality), rcond=None)[0]
    assert len(quality) > 100
    assert weights == pytest.approx([-0.85, -0.075, -0.075, 1.0], abs=0.04)


def test_damage_by_a_formula():
    worst, none = Damage(5, "dark"), Damage()
    assert felt(["cat"], {"cat": worst, "dog": none, "": none}) == pytest.approx(0.85)
    assert felt(["cat"], {"cat": none, "dog": worst, "": worst}) == pytest.approx(0.15)
    assert felt(["cat", "dog"], {"cat": worst, "dog": none, "": none}) == pytest.approx(0.425)
    # What was named is not there: as bad as it can be.
    assert felt(["cow"], {"cat": none, "dog": none, "": none}) == pytest.approx(0.85)
    assert felt(["cow", "cat"], {"cat": none, "dog": none, "": none}) == pytest.approx(0.425)
    assert felt(["cow"], {"cat": worst, "dog": worst, "": worst}) == pytest.approx(1.0)


def test_damage_stays_on_its_part():
    rng, boxes = np.random.default_rng(0), {"cat": (4, 4, 24, 24), "dog": (36, 30, 60, 54)}
    image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    rows = [damaged(image, boxes, rng) for _ in range(60)]
    for out, damage in rows:
        changed = (out != image).any(axis=2)
        assert all(d.severity in range(6) for d in damage.values())
        assert all((d.severity > 0) == (d.kind in KINDS) for d in damage.values())
        assert changed[6:22, 6:22].any() == (damage["cat"].severity > 0)
        assert changed[32:52, 38:58].any() == (damage["dog"].severity > 0)
        assert changed[:20, 40:].any() == (damage[""].severity > 0)
    parts = {tuple(d.severity > 0 for d in damage.values()) for _, damage in rows}
    sure = {(a, b, False) for a in (True, False) for b in (True, False)} | {(True, True, True)}
    assert parts == sure  # each thing or both, or the whole
    mask = soft_box((10, 20, 30, 40), 64)[..., 0]
    assert (mask[20:40, 10:30] == 1).all() and mask[:15].max() == 0
    assert 0 < mask[30, 31] < 1


def test_boxes_by_hand():
    found = attention_check.box_weights((0, 0, 48, 16), grid=2, size_px=64)
    assert torch.allclose(found, torch.tensor([[0.5, 0.25], [0.0, 0.0]]))
