"""Properties of the rendered scenes: deterministic, truthful, and wrong in exactly one fact."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from eliq.errors import ConfigError, SupervisionError
from training.embedded.camera import camera
from training.embedded.facts import (
    SWAP_KINDS,
    Vocabulary,
    describe,
    sample_facts,
    swap_fact,
    swap_kinds,
)
from training.embedded.nouns import COLOURS, NOUNS, TINTABLE, noun_phrase
from training.embedded.render import render_positive
from training.embedded.scenes import (
    FULL_DIFFICULTY,
    SceneConfig,
    hard_swaps,
    prompt_variants,
    scene_renderer,
)
from training.embedded.sprites import DEFAULT_FONT, require_font
from training.embedded.textures import render_dead_leaves, render_texture

needs_font = pytest.mark.skipif(
    not Path(DEFAULT_FONT).is_file(), reason="needs the package fonts-noto-color-emoji"
)
_WORDS = Vocabulary(25, 9, 6)
_KEYS = {"max_count": 4, "max_groups": 2, "relations": True}


def _facts(seed: int, vocabulary: Vocabulary = _WORDS) -> dict:
    return sample_facts(vocabulary, np.random.default_rng(seed), **_KEYS)


@pytest.mark.parametrize(
    ("noun", "colour", "count", "words"),
    [
        ("apple", None, 1, "an apple"),
        ("star", "red", 2, "two red stars"),
        ("star", "orange", 1, "an orange star"),
        ("unicorn", None, 1, "a unicorn"),
        ("mouse", None, 3, "three mice"),
        ("grapes", None, 1, "a bunch of grapes"),
        ("scissors", None, 4, "four pairs of scissors"),
        ("butterfly", "pink", 2, "two pink butterflies"),
        ("cross", "black", 2, "two black crosses"),
        ("sheep", None, 2, "two sheep"),
    ],
)
def test_noun_phrases(noun, colour, count, words):
    assert noun_phrase(noun, colour, count) == words


def test_vocabulary_is_unique():
    assert len(set(NOUNS)) == len(NOUNS) >= 160
    assert TINTABLE <= set(NOUNS)


def _differences(a: dict, b: dict) -> list[str]:
    changed = []
    for g, h in zip(a["groups"], b["groups"], strict=True):
        changed += [key for key in g if g[key] != h[key]]
    return changed + [k for k in ("relation", "background", "wording") if a[k] != b[k]]


def test_a_swap_changes_exactly_one_fact():
    rng = np.random.default_rng(0)
    seen = Counter()
    for seed in range(300):
        facts = _facts(seed)
        for kind in swap_kinds(facts, _WORDS, max_count=4):
            wrong = swap_fact(facts, kind, _WORDS, rng, max_count=4)
            key = "noun" if kind == "object" else kind
            changed = _differences(facts, wrong)
            assert set(changed) == {key}
            assert len(changed) == 1 or kind == "colour"  # two colours may change places
            assert describe(facts) != describe(wrong)
            seen[kind] += 1
    assert set(seen) == set(SWAP_KINDS) and min(seen.values()) > 30


@pytest.mark.parametrize("kind", SWAP_KINDS)
def test_the_text_alone_does_not_tell_true_from_swapped(kind):
    """Every fact is as frequent in true prompts as in swapped ones, given the kind of scene."""
    rng = np.random.default_rng(1)
    true, wrong = Counter(), Counter()
    total = 4000
    for seed in range(total):
        facts = _facts(seed)
        if kind not in swap_kinds(facts, _WORDS, max_count=4):
            continue
        swapped = swap_fact(facts, kind, _WORDS, rng, max_count=4)
        for counter, f in ((true, facts), (wrong, swapped)):
            shape = (len(f["groups"]), f["relation"] is not None)
            for g in f["groups"]:
                counter["noun", g["noun"], g["colour"] is None] += 1
                counter["colour", g["colour"]] += 1
                counter["count", shape, g["count"]] += 1
            counter["relation", f["relation"]] += 1
            counter["background", f["background"]] += 1
    for fact in set(true) | set(wrong):
        n, m = true[fact], wrong[fact]
        # Paired draws have less spread than independent ones: 4.5 sigma of a difference of counts.
        assert abs(n - m) < 4.5 * np.sqrt(n + m), (fact, n, m)


@needs_font
def test_a_seed_gives_the_same_bytes():
    for seed in range(12):
        first, prompt, _ = render_positive(seed, FULL_DIFFICULTY)
        again, prompt_again, _ = render_positive(seed, FULL_DIFFICULTY)
        assert first.shape == (128, 128, 3) and first.dtype == np.uint8
        assert prompt == prompt_again and np.array_equal(first, again)
    assert not np.array_equal(first, render_positive(99, FULL_DIFFICULTY)[0])


@needs_font
def test_relations_counts_and_sizes_are_true_of_the_boxes():
    renderer, related = scene_renderer(FULL_DIFFICULTY), 0
    for seed in range(250):
        scene = renderer.render(np.random.default_rng(seed))
        assert [len(b) for b in scene.boxes] == [g["count"] for g in scene.facts["groups"]]
        sides = [x1 - x0 for group in scene.boxes for x0, _, x1, _ in group]
        assert min(sides) >= 27
        flat = np.array([box for group in scene.boxes for box in group])
        assert flat.min() >= -1 and flat.max() <= 129
        relation = scene.facts["relation"]
        if relation is None:
            continue
        related += 1
        a, b = (np.array(group) for group in scene.boxes)
        if relation in ("right", "below"):
            a, b = b, a
        axis = 0 if relation in ("left", "right") else 1
        assert a[:, 2 + axis].max() <= b[:, axis].min() + 1
        other = 1 - axis  # and level with one another across it
        middle = [(g[:, other] + g[:, 2 + other]).mean() / 2 for g in (a, b)]
        assert abs(middle[0] - middle[1]) < 0.2 * 128
    assert related > 30


@needs_font
def test_the_colour_of_a_shape_is_on_the_canvas():
    renderer = scene_renderer(SceneConfig())
    facts = {
        "groups": [{"noun": "square", "colour": "blue", "count": 1}],
        "relation": None,
        "background": "snow",
        "wording": {"frame": 0, "join": 0, "relation": 0, "digits": False},
    }
    scene = renderer.paint(facts, np.random.default_rng(3))
    assert scene.prompt == "a blue square in the snow"
    x0, y0, x1, y1 = scene.boxes[0][0]
    centre = scene.image[(y0 + y1) // 2, (x0 + x1) // 2].astype(int)
    assert np.abs(centre - np.array(COLOURS["blue"])).max() <= 3


@needs_font
def test_hard_swaps_and_variants_are_wrong_and_distinct():
    renderer = scene_renderer(FULL_DIFFICULTY)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        scene = renderer.render(rng)
        swaps = hard_swaps(scene, rng)
        assert set(swaps) <= set(SWAP_KINDS) and {"object", "count"} <= set(swaps)
        assert scene.prompt not in swaps.values()
        prompts = [p for _, p in prompt_variants(scene, rng, 7)]
        assert len(set(prompts)) == len(prompts) == 7 and scene.prompt not in prompts
    kinds = {k for k, _ in prompt_variants(scene, rng, 3, kinds=("count",))}
    assert kinds == {"count"}


def test_textures_and_the_camera_stay_in_shape():
    rng = np.random.default_rng(0)
    for make in (render_texture, render_dead_leaves):
        for _ in range(25):
            image, prompt = make(rng, 96)
            assert image.shape == (96, 96, 3) and image.dtype == np.uint8
            assert prompt and "{" not in prompt
    seen = camera(image, rng)
    assert seen.shape == image.shape and seen.dtype == np.uint8
    assert np.abs(seen.astype(int) - image).mean() < 30  # still the same picture
    smooth = np.broadcast_to(np.arange(96, dtype=np.uint8)[:, None, None] * 2, (96, 96, 3)).copy()
    first = camera(smooth, np.random.default_rng(5))
    assert np.array_equal(first, camera(smooth, np.random.default_rng(5)))


def test_bad_settings_say_what_is_wrong(tmp_path):
    with pytest.raises(ConfigError, match="num_objects"):
        SceneConfig(num_objects=1000)
    with pytest.raises(ConfigError, match="max_groups"):
        SceneConfig(relations=True)
    with pytest.raises(SupervisionError, match="fonts-noto-color-emoji"):
        require_font(tmp_path / "none.ttf")
    assert SceneConfig.from_json(FULL_DIFFICULTY.to_json()) == FULL_DIFFICULTY
