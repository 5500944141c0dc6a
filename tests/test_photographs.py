"""Photographs as undamaged images: how they are made ready, and what a view of one is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eliq.errors import TrainingError
from training.embedded import photographs as module
from training.embedded.photographs import LISTS, TRAINING, Photographs, prepare_photographs
from training.embedded.render import render_positive
from training.embedded.scenes import FULL_DIFFICULTY

LISTED = (("some-package 1.0", "CC0-1.0", "one.jpg here/two.jpg"),)


def _packages(folder: Path) -> Path:
    """Two JPEGs of 800 x 400 px: a plain half and one with fine detail, each its own."""
    (folder / "share" / "here").mkdir(parents=True)
    for index, name in enumerate(("one.jpg", "here/two.jpg")):
        pixels = np.full((400, 800, 3), (120 + index, 100, 80), np.uint8)
        noise = np.random.default_rng(index).integers(0, 255, (400, 400, 3), np.uint8)
        pixels[:, 400:] = np.asarray(Image.fromarray(noise).resize((400, 400)))
        Image.fromarray(pixels).save(folder / "share" / name, quality=95)
    return folder


@pytest.fixture
def bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(module.LISTS, "training", LISTED)
    prepare_photographs(_packages(tmp_path / "packages"), tmp_path / "bank")
    return tmp_path / "bank"


def test_photographs_are_shrunk_by_half_at_least_and_their_licences_stand_beside_them(bank: Path):
    made = sorted(bank.glob("*.png"))
    assert [p.name for p in made] == ["here-two.png", "one.png"]
    assert {Image.open(p).size for p in made} == {(400, 200)}
    sources = json.loads((bank / "sources.json").read_text())
    assert {s["licence"] for s in sources} == {"CC0-1.0"} and len(sources) == 2


def test_pictures_of_the_sky_keep_their_size_and_join_the_others(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(module.LISTS, "sky", (("stars 1.0", "CC-BY-4.0", "m1.png"),))
    pixels = np.random.default_rng(0).integers(0, 255, (900, 1600, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "packages" / "m1.png")
    (made,) = prepare_photographs(tmp_path / "packages", bank, "sky")
    assert np.array_equal(np.asarray(Image.open(made)), pixels)
    sources = {s["file"]: s["licence"] for s in json.loads((bank / "sources.json").read_text())}
    assert sources == {"m1.png": "CC-BY-4.0", "one.png": "CC0-1.0", "here-two.png": "CC0-1.0"}
    assert len(Photographs(bank).paths) == 3


def test_what_selects_and_what_is_trained_on_lie_apart(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(module.LISTS, "selection", (("other 1.0", "GPL-2+", "three.jpg"),))
    Image.new("RGB", (90, 60)).save(tmp_path / "packages" / "three.jpg")
    before = sorted(bank.iterdir())
    with pytest.raises(TrainingError, match="another purpose.*choose another --out"):
        prepare_photographs(tmp_path / "packages", bank, "selection")
    assert sorted(bank.iterdir()) == before
    prepare_photographs(tmp_path / "packages", tmp_path / "apart", "selection")
    with pytest.raises(TrainingError, match="another purpose"):
        prepare_photographs(tmp_path / "packages", tmp_path / "apart", "training")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(module.LISTS, "training", LISTED)
    (tmp_path / "packages").mkdir()
    with pytest.raises(TrainingError, match=r"one\.jpg of some-package 1\.0"):
        prepare_photographs(tmp_path / "packages", tmp_path / "bank")
    with pytest.raises(TrainingError, match="found none"):
        Photographs(tmp_path / "packages")


def test_a_view_is_a_function_of_the_seed_and_prefers_detail(bank: Path):
    photographs = Photographs(bank)
    views = [photographs.view(np.random.default_rng(s), 64) for s in range(30)]
    again = [photographs.view(np.random.default_rng(s), 64) for s in range(30)]
    for (image, prompt), (same, same_prompt) in zip(views, again, strict=True):
        assert image.shape == (64, 64, 3) and image.dtype == np.uint8
        assert np.array_equal(image, same) and prompt == same_prompt
    assert len({image.tobytes() for image, _ in views}) == 30
    detailed = [image.std() > 4 for image, _ in views]
    # A part drawn blindly lies wholly in the plain half almost half of the time.
    assert np.mean(detailed) > 0.75
    grey = [np.ptp(image.astype(int), axis=2).max() == 0 for image, _ in views]
    told = [prompt.startswith("black and white") for _, prompt in views]
    assert told == grey and 0 < sum(grey) < 15


def test_what_would_be_enlarged_is_left_out_where_there_are_larger_ones(bank: Path):
    Image.new("RGB", (60, 60), (250, 0, 0)).save(bank / "small.png")
    photographs = Photographs(bank)
    for size_px, red in ((150, False), (40, True)):
        views = [photographs.view(np.random.default_rng(s), size_px)[0] for s in range(60)]
        assert any((np.ptp(v.astype(int).mean((0, 1))) > 90) for v in views) == red


def test_they_are_mixed_in_only_where_they_are_given(bank: Path):
    photographs = Photographs(bank)
    mixed = [render_positive(s, FULL_DIFFICULTY, photographs=photographs)[1] for s in range(40)]
    plain = [render_positive(s, FULL_DIFFICULTY)[1] for s in range(40)]
    off = [
        render_positive(s, FULL_DIFFICULTY, photographs=photographs, photographed=0.0)[1]
        for s in range(40)
    ]
    assert plain == off
    assert 5 < sum("a photograph" in prompt for prompt in mixed) < 30
    assert not any("a photograph" in prompt for prompt in plain)


def test_no_photograph_is_in_two_lists():
    names = [
        name.rsplit("/", 1)[-1] if "contents" not in name and "package" not in name else name
        for _, _, files in (name for part in LISTS.values() for name in part)
        for name in files.split()
    ]
    assert len(names) == len(set(names))
    assert all("CC" in licence or licence == "MIT" for _, licence, _ in TRAINING)
