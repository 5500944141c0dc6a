"""The critic that is shipped: what it is, and that its scores do not drift."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from eliq import Scorer
from eliq.checkpoint import embedded_checkpoint_dir

EXAMPLES = Path(__file__).parents[1] / "examples" / "images"
# Printed by `eliq score examples/images --prompts examples/images/prompts.jsonl --json` with this
# checkpoint on an x86-64 CPU, torch 2.13.0, transformers 5.23.0. A change of more than rounding
# means that another version of something scores images differently.
GOLDEN = {
    "photo_astronaut.jpg": (0.9233, 0.6390),
    "photo_astronaut_noise.jpg": (0.0377, 0.8017),
    "photo_cat.jpg": (0.9720, 0.0745),
    "photo_cat_blur.jpg": (0.0462, 0.6346),
    "photo_coffee.jpg": (0.9908, 0.3590),
    "photo_coffee_jpeg.jpg": (0.0115, 0.2478),
    "photo_dahlia.jpg": (0.8980, 0.5597),
    "photo_dahlia_motion.jpg": (0.1525, 0.8320),
    "photo_pagoda.jpg": (0.9851, 0.8631),
    "photo_pagoda_dark.jpg": (0.0369, 0.6956),
    "photo_rocket.jpg": (0.9846, 0.8681),
    "photo_rocket_posterize.jpg": (0.3907, 0.4579),
    "scene_bell.jpg": (0.9825, 0.9295),
    "scene_bell_duplicate.jpg": (0.9418, 0.8006),
    "scene_bicycles.jpg": (0.9487, 0.9579),
    "scene_bicycles_premature_denoise.jpg": (0.1357, 0.8941),
    "scene_butterflies.jpg": (0.9863, 0.9022),
    "scene_butterflies_noise.jpg": (0.0100, 0.9030),
    "scene_eagles.jpg": (0.9913, 0.8860),
    "scene_eagles_wrong_background.jpg": (0.9913, 0.1651),
    "scene_tulips.jpg": (0.9695, 0.9569),
    "scene_tulips_wrong_count.jpg": (0.9695, 0.4954),
    "scene_umbrellas.jpg": (0.9838, 0.9299),
    "scene_umbrellas_wrong_object.jpg": (0.9838, 0.0500),
}
TOLERANCE = 0.005


@pytest.fixture(scope="module")
def scorer():
    return Scorer.from_pretrained(device="cpu")


@pytest.fixture(scope="module")
def rows(scorer):
    lines = (EXAMPLES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    listed = [json.loads(line) for line in lines]
    scores = scorer.score(
        [str(EXAMPLES / row["path"]) for row in listed], [row["prompt"] for row in listed]
    )
    return {row["path"]: result for row, result in zip(listed, scores.to_rows(), strict=True)}


def test_it_is_small_and_complete():
    directory = embedded_checkpoint_dir()
    names = {path.name for path in directory.iterdir() if path.is_file()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= names
    assert sum(path.stat().st_size for path in directory.iterdir()) <= 25_000_000
    card = (directory / "README.md").read_text(encoding="utf-8")
    assert "FIGURES" not in card
    for word in ("SIL Open Font License", "Apache-2.0", "Training", "Selection", "Test"):
        assert word in card


def test_golden_scores(rows):
    assert len(GOLDEN) == len(rows)
    for path, expected in GOLDEN.items():
        found = (rows[path]["visual_quality"], rows[path]["alignment"])
        assert found == pytest.approx(expected, abs=TOLERANCE), path


def test_the_same_score_in_any_batch_and_order(scorer, rows):
    paths = sorted(rows)[:8]
    prompts = {
        row["path"]: row["prompt"]
        for row in map(json.loads, (EXAMPLES / "prompts.jsonl").read_text("utf-8").splitlines())
    }
    for path in paths:
        alone = scorer.score(str(EXAMPLES / path), prompts[path])
        assert float(alone.visual_quality) == pytest.approx(rows[path]["visual_quality"], abs=1e-3)
        assert float(alone.alignment) == pytest.approx(rows[path]["alignment"], abs=1e-3)


def test_save_and_load_is_bit_exact(scorer, tmp_path):
    again = Scorer.from_pretrained(scorer.save_pretrained(tmp_path / "critic"), device="cpu")
    image = torch.rand(3, 200, 300, generator=torch.Generator().manual_seed(0))
    first, second = (s.score(image, "two red circles") for s in (scorer, again))
    assert torch.equal(first.visual_quality, second.visual_quality)
    assert torch.equal(first.alignment, second.alignment)


def test_damage_lowers_quality_and_wrong_prompts_lower_alignment(rows):
    """On the example scenes, which neither training nor any benchmark draws."""
    listed = [
        json.loads(line)
        for line in (EXAMPLES / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    clean = {r["source"]: r["path"] for r in listed if r["degradation"] is None}
    pairs = 0
    for row in listed:
        if not row["source"].startswith("scene:") or row["degradation"] is None:
            continue
        wrong = "wrong_prompt" in row["degradation"]
        name = "alignment" if wrong else "visual_quality"
        assert rows[row["path"]][name] < rows[clean[row["source"]]][name], row["path"]
        pairs += 1
    assert pairs == 6
