"""Supervision sets end to end: deterministic, resumable, matched, validated."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eliq.errors import ConfigError, SupervisionError
from eliq.supervision import (
    DISTORTIONS,
    SupervisionConfig,
    build_supervision,
    check_matched,
    read_ladders,
    read_manifest,
)
from training.build_supervision import main

PROMPTS = {
    "a.png": "a red box in a kitchen",
    "b.jpg": "two owls behind a green box",
    "c.png": "a castle in the snow",
    "sub/d.png": "three cats on a sofa",
}
CONFIG = SupervisionConfig(num_tuples=9, num_ladders=3, seed=5, max_side_px=80)


def write_image(path: Path, seed: int, height: int = 72, width: int = 90) -> None:
    rng = np.random.default_rng(seed)
    image = np.linspace(40, 200, width)[None, :, None] + np.zeros((height, width, 3))
    for _ in range(9):
        y, x = rng.integers(0, height - 12), rng.integers(0, width - 12)
        image[y : y + 25, x : x + 25] = rng.integers(0, 255, 3)
    image += rng.normal(0, 4, image.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(PROMPTS):
        write_image(folder / name, number)
    lines = [json.dumps({"path": name, "prompt": prompt}) for name, prompt in PROMPTS.items()]
    (folder / "prompts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def built(images, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set")
    report = build_supervision(images, out, CONFIG)
    assert (report.num_tuples, report.num_ladders, report.skipped) == (9, 3, [])
    return out


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_rows_say_what_the_images_are(built, images):
    rows = read_manifest(built)
    assert {row.source for row in rows} == set(PROMPTS)
    assert {row.family for row in rows} == {"conventional", "ai_specific"}
    for row in rows:
        assert row.prompt == PROMPTS[row.source] != row.negative_prompt
        positive = np.asarray(Image.open(row.positive))
        assert positive.shape[:2] == row.size and max(row.size) == 80
        for aspect, negative in (("technical", row.technical), ("aesthetic", row.aesthetic)):
            distortion = DISTORTIONS[negative.distortion]
            assert (distortion.aspect, distortion.family) == (aspect, row.family)
            assert not distortion.held_out
            damaged = np.asarray(Image.open(negative.path))
            assert damaged.shape == positive.shape and not np.array_equal(damaged, positive)
    for row in read_ladders(built):
        assert [step.severity for step in row.steps] == [1, 2, 3, 4, 5]
        assert row.family == DISTORTIONS[row.distortion].family


def test_same_seed_same_bytes_whatever_the_workers_and_the_kill(built, images, tmp_path):
    """A run stopped after some rows, with a torn line and a half-written image, ends the same."""
    kept = (built / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    build_supervision(images, tmp_path, SupervisionConfig(**vars(CONFIG) | {"num_tuples": 4}))
    (tmp_path / "ladders.jsonl").unlink()
    shard = next((tmp_path / "images").iterdir())
    (shard / ".x.png.1.partial").write_bytes(b"half")
    assert (tmp_path / "manifest.jsonl").read_bytes() == b"".join(kept[:4])
    (tmp_path / "manifest.jsonl").write_bytes(b"".join(kept[:3]) + kept[3][:40])
    assert len(read_manifest(tmp_path)) == 3
    report = build_supervision(images, tmp_path, CONFIG)
    assert report.num_resumed == 3
    assert contents(tmp_path) == contents(built)
    again = build_supervision(images, tmp_path, CONFIG)
    assert again.num_resumed == 12 and contents(tmp_path) == contents(built)


@pytest.mark.slow
def test_workers_change_nothing(built, images, tmp_path):
    build_supervision(images, tmp_path, CONFIG, num_workers=2)
    with pytest.raises(ConfigError, match="num_workers: expected 0 or more, found -1"):
        build_supervision(images, tmp_path, CONFIG, num_workers=-1)
    assert contents(tmp_path) == contents(built)


def test_another_seed_is_another_set_and_does_not_mix(images, built, tmp_path):
    other = SupervisionConfig(**vars(CONFIG) | {"seed": 6})
    build_supervision(images, tmp_path, other)
    ids = {row.tuple_id for row in read_manifest(tmp_path)}
    assert not ids & {row.tuple_id for row in read_manifest(built)}
    with pytest.raises(SupervisionError, match="seed 6"):
        build_supervision(images, tmp_path, CONFIG)


def test_damaged_images_are_skipped_counted_and_named(images, tmp_path):
    folder = tmp_path / "in"
    write_image(folder / "good.png", 1)
    (folder / "torn.png").write_bytes((images / "a.png").read_bytes()[:300])
    Image.new("RGB", (64, 64), (9, 9, 9)).save(folder / "flat.png")
    write_image(folder / "narrow.png", 2, 20, 90)
    write_image(folder / "wordless.png", 3)
    for name in ("good", "torn", "flat", "narrow", "missing"):
        (folder / f"{name}.txt").write_text(f"a {name} box in a kitchen\n", encoding="utf-8")
    report = build_supervision(folder, tmp_path / "out", SupervisionConfig(4, 0))
    reasons = {skipped.source: skipped.reason for skipped in report.skipped}
    assert report.num_tuples == 1 and set(reasons) == {
        "torn.png",
        "flat.png",
        "narrow.png",
        "wordless.png",
    }
    assert reasons["flat.png"] == "constant_image" and reasons["narrow.png"] == "too_small"
    assert reasons["wordless.png"] == "no_prompt"
    assert report.to_json()["num_skipped"] == 4


def test_jpeg_sets_are_matched_too(images, tmp_path):
    config = SupervisionConfig(3, 1, codec="jpeg-q90")
    build_supervision(images, tmp_path, config)
    assert check_matched(tmp_path) > 8


def test_matched_check_finds_a_cue(built, images, tmp_path):
    assert check_matched(built) == len(list((built / "images").rglob("*.png")))
    build_supervision(images, tmp_path, SupervisionConfig(2, 0))
    row = read_manifest(tmp_path)[0]
    image = Image.open(row.technical.path).convert("RGB")
    for change, said in (
        (lambda p: image.save(p, "JPEG"), "JPEG"),
        (lambda p: image.resize((40, 40)).save(p, "PNG"), "40x40"),
        (lambda p: image.convert("L").save(p, "PNG"), "PNG L"),
        (lambda p: p.unlink(), "missing"),
    ):
        change(Path(row.technical.path))
        with pytest.raises(SupervisionError, match=said):
            check_matched(tmp_path)


def test_matched_check_finds_another_jpeg_quality(images, tmp_path):
    build_supervision(images, tmp_path, SupervisionConfig(1, 0, codec="jpeg-q90"))
    path = read_manifest(tmp_path)[0].aesthetic.path
    Image.open(path).save(path, "JPEG", quality=40)
    with pytest.raises(SupervisionError, match="quality"):
        check_matched(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"family": "natural"}, "family"),
        ({"prompt": 3}, "'prompt' must be a str"),
        ({"size": [1, 2, 3]}, "size"),
        ({"positive": "../x.png"}, "inside"),
        ({"extra": 1}, "unknown"),
        ({"negative_prompt_kind": "typo"}, "negative_prompt_kind"),
        ({"technical": None}, "technical"),
        ({"codec": "webp"}, "codec"),
    ],
)
def test_a_wrong_line_is_named(built, tmp_path, change, said):
    lines = (built / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(SupervisionError, match=f"line 2: .*{said}"):
        read_manifest(tmp_path)


def test_wrong_sources_and_configs_are_named(tmp_path):
    for value in ({"seed": -1}, {"severities": (3, 1)}, {"hard_swap_share": 2}, {"codec": "gif"}):
        with pytest.raises(ConfigError):
            SupervisionConfig(**value)
    assert SupervisionConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(SupervisionError, match="no such folder"):
        build_supervision(tmp_path / "none", tmp_path / "out")
    write_image(tmp_path / "a.png", 0)
    with pytest.raises(SupervisionError, match="not one prompt"):
        build_supervision(tmp_path, tmp_path / "out")
    for text, said in (("{", "line 1"), ('{"path": "../a.png", "prompt": "x"}', "inside")):
        (tmp_path / "prompts.jsonl").write_text(text, encoding="utf-8")
        with pytest.raises(SupervisionError, match=said):
            build_supervision(tmp_path, tmp_path / "out")
    with pytest.raises(SupervisionError, match="no such manifest"):
        read_manifest(tmp_path / "out")


def test_the_script(capsys):
    assert main(["--smoke"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["num_tuples"], said["num_ladders"]) == (6, 2)
    assert main([]) == 2
    assert "IMAGES" in capsys.readouterr().err
