"""Every distortion: same size, from the seed alone, never a no-op, worse with severity."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eliq.errors import SupervisionError
from eliq.supervision import DISTORTIONS, distort, distortion_names, ladder

# Where content moves, the distance from the original depends on the content.
MOVES_CONTENT = {"bad_crop", "tilt", "patch_warp", "twinned"}


def textured(height: int = 96, width: int = 128, seed: int = 0) -> np.ndarray:
    """Gradients, edges, colours and grain: something for every distortion to damage."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    image = np.stack([80 + y, 60 + 0.9 * x, 190 - 0.7 * (x + y)], axis=-1)
    for _ in range(14):
        top, left = rng.integers(0, height - 20), rng.integers(0, width - 20)
        h, w = rng.integers(6, 30, 2)
        image[top : top + h, left : left + w] = rng.integers(20, 235, 3)
    image += 14 * np.sin(x / 2.3)[..., None] + rng.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


IMAGE = textured()


def mean_square(image: np.ndarray) -> float:
    return float(((image.astype(np.float64) - IMAGE) ** 2).mean())


@pytest.mark.parametrize("name", DISTORTIONS)
def test_keeps_size_and_original_and_always_shows(name):
    before = IMAGE.copy()
    for severity in (1, 2.5, 5):
        out, parameters = distort(IMAGE, name, severity, 7)
        assert out.shape == IMAGE.shape and out.dtype == np.uint8
        assert mean_square(out) > 0.5
        assert json.loads(json.dumps(parameters)) == parameters
    assert np.array_equal(IMAGE, before)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_follows_from_the_seed_alone(name):
    first, said = distort(IMAGE, name, 3, 11)
    np.random.default_rng(5).random(3)
    again, said_again = distort(IMAGE, name, 3, np.random.default_rng(11))
    assert np.array_equal(first, again) and said == said_again


@pytest.mark.parametrize("name", [n for n in DISTORTIONS if n not in MOVES_CONTENT])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_ladders_move_away_from_the_original(name, seed):
    errors = [mean_square(out) for out, _, _ in ladder(IMAGE, name, rng=seed)]
    assert all(b > a for a, b in zip(errors, errors[1:], strict=False)), errors


@pytest.mark.parametrize("name", sorted(MOVES_CONTENT))
def test_ladders_that_move_content_end_worse_than_they_begin(name):
    errors = [
        [mean_square(out) for out, _, _ in ladder(IMAGE, name, rng=seed)] for seed in range(6)
    ]
    mild, severe = np.mean(errors, axis=0)[[0, 4]]
    assert severe > 1.2 * mild


def test_a_ladder_reuses_its_random_choices():
    angles = {parameters["angle_deg"] for _, _, parameters in ladder(IMAGE, "motion", rng=4)}
    assert len(angles) == 1
    fields = [out.astype(int) - 128 for out, _, _ in ladder(np.full_like(IMAGE, 128), "noise")]
    assert np.corrcoef(fields[0].ravel(), fields[4].ravel())[0, 1] > 0.98
    rng = np.random.default_rng(0)
    assert ladder(IMAGE, "motion", rng=rng)[0][2] != ladder(IMAGE, "motion", rng=rng)[0][2]


def test_known_answers():
    grey = np.full((64, 64, 3), 128, np.uint8)
    # 3.5 stops: 128 * 2^(-3.5/2.2) = 42.5; noise of deviation 16; 22 levels: 128 -> 11/21 of 255.
    assert abs(int(distort(grey, "dark", 4, 0)[0][0, 0, 0]) - 42.5) <= 0.5
    assert abs(distort(grey, "noise", 3, 0)[0].astype(float).std() - 16) < 0.5
    assert distort(grey, "posterize", 1, 0)[0][0, 0, 0] == round(11 / 21 * 255)
    out, said = distort(IMAGE, "block", 5, 0)
    changed = (out != IMAGE).any(axis=-1).mean()
    assert abs(changed - said["share"]) < 0.08


@pytest.mark.parametrize("shape", [(32, 32), (37, 201), (150, 33)])
def test_odd_and_small_sizes(shape):
    image = textured(*shape) if min(shape) > 40 else textured(256, 256)[: shape[0], : shape[1]]
    for name in DISTORTIONS:
        for severity in (1, 5):
            assert distort(image, name, severity, 3)[0].shape == image.shape, name


def test_names_by_aspect_family_and_without_what_is_held_out():
    for name in ("salt_pepper", "ringing", "stripes", "misregistration"):
        assert name not in distortion_names()
    assert set(distortion_names(held_out=True)) == set(DISTORTIONS)
    assert set(distortion_names(aspect="aesthetic", family="ai_specific")) == {
        "overguided",
        "twinned",
    }
    for aspect in ("technical", "aesthetic"):
        for family in ("conventional", "ai_specific"):
            assert distortion_names(aspect=aspect, family=family)


@pytest.mark.parametrize(
    ("image", "name", "severity", "said"),
    [
        (IMAGE, "jpg", 3, "unknown distortion 'jpg'"),
        (IMAGE, "jpeg", 0, "1..5"),
        (IMAGE, "jpeg", float("nan"), "1..5"),
        (IMAGE / 255, "jpeg", 3, "uint8"),
        (IMAGE[..., 0], "jpeg", 3, r"\[H,W,3\]"),
        (IMAGE[:16], "jpeg", 3, "32 px"),
    ],
)
def test_wrong_input_is_named(image, name, severity, said):
    with pytest.raises(SupervisionError, match=said):
        distort(image, name, severity, 0)


def test_a_ladder_must_rise():
    for severities in ((), (2, 1), (1, 1, 2)):
        with pytest.raises(SupervisionError, match="rise"):
            ladder(IMAGE, "jpeg", severities)
