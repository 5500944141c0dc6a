"""Photograph-like positives, fresh grain, and the targets that the renderer gives with a scene."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.embedded.camera import camera
from training.embedded.photolike import _MEAN_COLOURS, _surface, add_relief, render_photolike
from training.embedded.sensor import add_sensor_noise
from training.embedded.sprites import DEFAULT_FONT

needs_font = pytest.mark.skipif(
    not Path(DEFAULT_FONT).is_file(), reason="needs the package fonts-noto-color-emoji"
)
N = 96


def _images(count: int = 40) -> list[tuple[np.ndarray, str]]:
    return [render_photolike(np.random.default_rng(seed), N) for seed in range(count)]


def test_a_seed_gives_the_same_bytes_and_another_seed_does_not():
    for seed in range(5):
        first, prompt = render_photolike(np.random.default_rng(seed), N)
        again, prompt_again = render_photolike(np.random.default_rng(seed), N)
        assert first.shape == (N, N, 3) and first.dtype == np.uint8
        assert np.array_equal(first, again) and prompt == prompt_again
        assert not np.array_equal(first, render_photolike(np.random.default_rng(seed + 50), N)[0])


def test_the_prompt_tells_the_nearest_mean_colour_and_monochrome():
    kinds = set()
    for image, prompt in _images():
        mean = image.reshape(-1, 3).mean(0)
        told = prompt.rsplit("mostly ", 1)[1]
        distance = {n: float(np.square(mean - c).sum()) for n, c in _MEAN_COLOURS.items()}
        assert distance[told] == min(distance.values())
        spread = np.ptp(image.astype(int), axis=2).max()
        grey = prompt.startswith("black and white")
        assert (spread <= 3) if grey else (spread > 3), prompt  # JPEG rounds its colours
        kinds.add(grey)
    assert kinds == {True, False}


def test_most_images_use_most_of_the_tonal_range():
    spans = [np.subtract(*np.quantile(i.mean(axis=2), (0.98, 0.02))) for i, _ in _images()]
    assert np.median(spans) > 130


def test_surfaces_do_not_repeat_and_have_unit_variance():
    rng = np.random.default_rng(3)
    fields = [_surface(rng, N) for _ in range(12)]
    for field in fields:
        assert field.shape == (N, N) and abs(float(field.mean())) < 0.3
        assert 0.3 < float(field.std()) < 1.1  # tanh of a sharp one stays within -1..1
    correlations = np.corrcoef([f.ravel() for f in fields]) - np.eye(12)
    assert np.abs(correlations).max() < 0.5


def test_relief_changes_light_and_keeps_the_mean_colour():
    rng = np.random.default_rng(4)
    flat = np.full((N, N, 3), (120, 60, 30), np.uint8)
    lit = add_relief(flat, rng)
    assert lit.std(axis=(0, 1)).min() > 0.3
    assert np.abs(lit.reshape(-1, 3).mean(0) - (120, 60, 30)).max() < 4


def test_sensor_noise_has_the_amount_it_says_and_never_the_same_grain():
    grey = np.full((200, 200, 3), 128, np.float32)
    first = add_sensor_noise(grey, np.random.default_rng(0), 2.0, colour=0.0) - grey
    second = add_sensor_noise(grey, np.random.default_rng(1), 2.0, colour=0.0) - grey
    assert first.std() == pytest.approx(2.0, rel=0.03)
    assert abs(np.corrcoef(first[..., 0].ravel(), second[..., 0].ravel())[0, 1]) < 0.03
    assert np.array_equal(add_sensor_noise(grey, np.random.default_rng(0), 0.2), grey)
    black = add_sensor_noise(np.zeros_like(grey), np.random.default_rng(0), 2.0, colour=0.0)
    assert black.std() < 0.5 * first.std()  # shot noise grows with the light


def test_the_camera_is_mild():
    image = render_photolike(np.random.default_rng(7), N)[0]
    for seed in range(6):
        out = camera(image, np.random.default_rng(seed))
        assert out.shape == image.shape
        assert np.abs(out.astype(int) - image).mean() < 25


@needs_font
def test_nouns_know_their_place_and_a_relation_is_always_among_the_wrong_prompts():
    from training.embedded.batches import BatchMaker
    from training.embedded.model import make_backbone
    from training.embedded.pretrain import LEVELS, make_tokenizer
    from training.embedded.scenes import scene_renderer

    tokenizer = make_tokenizer(400)
    backbone = make_backbone(tokenizer)
    maker = BatchMaker(backbone.layout, backbone.patches, seed=0, alignment_rows=8)
    renderer, related = scene_renderer(LEVELS[-1].scene(128)), 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        scene = renderer.render(rng)
        places = maker._places(scene)
        assert len(places) == len(scene.facts["groups"])
        ids = backbone.layout.encode(scene.prompt)
        for (token, x, y), boxes in zip(places, scene.boxes, strict=True):
            said = tokenizer.decode(ids[: token + 1])
            assert scene.prompt.startswith(said.strip())
            x0, y0, x1, y1 = np.mean(boxes, axis=0) / 128
            assert (x, y) == pytest.approx(((x0 + x1) / 2, (y0 + y1) / 2))
        relation = scene.facts["relation"]
        if relation in ("left", "right"):
            assert (places[0][1] < places[1][1]) == (relation == "left")
        elif relation is not None:
            assert (places[0][2] < places[1][2]) == (relation == "above")
        if relation is not None:
            related += 1
            wrong = maker._wrong_prompts(scene, np.random.default_rng((seed, 1)))
            true_words = scene.prompt.split()
            assert any(sorted(w.split()) != sorted(true_words) for w in wrong)
            assert scene.prompt not in wrong
    assert related > 5
    for step in range(8):
        batch = maker.make(step, LEVELS[0])
        if batch["kind"] == "alignment":
            break
    row, position = batch["named"]
    assert batch["places"].shape == (len(row), 2)
    captions = {(int(r), int(p)): int(t) for r, p, t in batch["caption"].T}
    for r, p in zip(row.tolist(), position.tolist(), strict=True):
        assert int(batch["input_ids"][r, p]) == captions[r, p - 1]
