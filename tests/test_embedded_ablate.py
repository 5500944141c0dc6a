"""Ablations of the pretraining: every switch switches, and what is done is not done again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eliq.errors import ConfigError
from training.embedded import ablate
from training.embedded.ablation import FAMILIES, GROUPS, SMOKE, choose, summary
from training.embedded.ablation import short_run as module
from training.embedded.ablation.report import markdown
from training.embedded.auxiliary import Auxiliary, LossWeights, batch_losses
from training.embedded.batches import TRAINED_DISTORTIONS, BatchMaker, Level
from training.embedded.pretrain import LEVELS, make_backbone, make_tokenizer
from training.embedded.sprites import DEFAULT_FONT
from training.stop_request import StopRequest

pytestmark = pytest.mark.skipif(
    not Path(DEFAULT_FONT).exists(),
    reason="the scenes are drawn with Debian's fonts-noto-color-emoji, which is not installed",
)
VARIANTS = {variant.name: variant for variant in choose()}


@pytest.fixture(scope="module")
def backbone():
    return make_backbone(make_tokenizer(300))


def batches(monkeypatch, name):
    """The batches and the weights of the losses that a variant trains with."""
    seen = []

    def step(model, optimizers, bases, factor, batch, weights):
        seen.append((batch, weights))
        return 0.0, 0.0, {}

    monkeypatch.setattr(module, "training_step", step)
    with StopRequest() as stop:
        module.train(VARIANTS[name], SMOKE, seed=0, stop=stop, progress=False)
    return seen


def frames(batch):
    """The two frames of all patches, [N, 3, 16, 16] each."""
    return batch["pixel_values"].view(-1, 3, 2, 16, 16).unbind(2)


def test_a_variant_differs_from_its_full_in_one_part_alone(monkeypatch):
    full = batches(monkeypatch, "visual/full")
    plain = batches(monkeypatch, "visual/no_edges")
    clean = batches(monkeypatch, "visual/no_cameras")
    assert len(full) == len(plain) == SMOKE.ladders.steps
    for (whole, weights), (copied, _), (uncaptured, _) in zip(full, plain, clean, strict=True):
        assert weights == LossWeights()
        image, edges = frames(whole)
        same_image, copy = frames(copied)
        assert torch.equal(image, same_image) and torch.equal(same_image, copy)
        assert not torch.equal(image, edges)
        assert not torch.equal(image, frames(uncaptured)[0])
        for key in ("severity", "primary", "distortion"):
            assert torch.equal(whole[key], copied[key]) and torch.equal(whole[key], uncaptured[key])
    for name, off in (
        ("visual/no_ladders", {"order"}),
        ("visual/no_tasks", {"damage"}),
        ("alignment/no_tasks", {"caption", "grounding", "place"}),
    ):
        weights = vars(batches(monkeypatch, name)[0][1])
        assert {key for key, value in weights.items() if value == 0} == off
        assert all(weights[key] == vars(LossWeights())[key] for key in set(weights) - off)


def test_parts_that_are_off_have_no_gradient(backbone):
    torch.manual_seed(0)
    auxiliary = Auxiliary(192, 192)
    maker = BatchMaker(backbone.layout, backbone.patches, seed=0, alignment_rows=4, ladders=1)
    off = LossWeights(order=0.0, damage=0.0, caption=0.0, grounding=0.0, place=0.0)
    loss = {}
    for share in (0.0, 1.0):
        batch = maker.make(2, Level(0.0, 40, 12, 2, True, share, (96,), ladder_px=(96,)))
        for weights in (LossWeights(), off):
            auxiliary.zero_grad()
            backbone.zero_grad()
            loss[share, weights], figures = batch_losses(backbone, auxiliary, batch, weights)
            loss[share, weights].backward()
            moved = [p.grad is not None and bool(p.grad.any()) for p in auxiliary.parameters()]
            assert any(moved) == (weights != off)
            assert backbone.model.model.visual.patch_embed.proj.weight.grad.abs().sum() > 0
    ordered = float((loss[1.0, LossWeights()] - loss[1.0, off]).detach())
    assert ordered >= figures["ladder_loss"] + figures["across_loss"] - 1e-3
    backbone.zero_grad()


def test_a_family_that_is_left_out_is_never_drawn(backbone):
    def drawn(variant):
        maker = BatchMaker(
            backbone.layout, backbone.patches, seed=0, ladders=1, distortions=variant.distortions
        )
        level = module.level_at(variant, SMOKE, 0.0)
        ids = torch.cat([maker.make(step, level)["distortion"] for step in range(40)])
        return {TRAINED_DISTORTIONS[i - 1] for i in ids.tolist() if i}

    assert drawn(VARIANTS["visual/full"]) & set(FAMILIES["blur"])
    without = drawn(VARIANTS["families/blur"])
    assert without and not without & set(FAMILIES["blur"])
    for name in ((), ("blur", "salt_pepper")):  # none; one that is kept for tests
        with pytest.raises(ConfigError, match="distortions must be"):
            BatchMaker(backbone.layout, backbone.patches, seed=0, distortions=name)


def test_the_defaults_are_the_recipe(backbone):
    maker = BatchMaker(backbone.layout, backbone.patches, seed=0, alignment_rows=4, ladders=1)
    spelt = BatchMaker(
        backbone.layout, backbone.patches, seed=0, alignment_rows=4, ladders=1,
        distortions=TRAINED_DISTORTIONS, cameras=True,
    )  # fmt: skip
    for share in (0.0, 1.0):
        level = Level(0.0, 40, 12, 2, True, share, (96,), ladder_px=(96,))
        first, second = (m.make(3, level) for m in (maker, spelt))
        assert all(
            torch.equal(value, second[name])
            for name, value in first.items()
            if isinstance(value, torch.Tensor)
        )
    # What the shipped critic was trained with.
    assert vars(LossWeights()) == {
        "order": 1.0, "damage": 0.3, "caption": 0.5, "grounding": 1.0, "place": 3.0,
    }  # fmt: skip


def test_without_a_curriculum_all_is_hard_from_the_first_step():
    full, flat = VARIANTS["alignment/full"], VARIANTS["alignment/no_curriculum"]
    objects = [module.level_at(full, SMOKE, share).num_objects for share in (0.0, 0.3, 1.0)]
    assert objects == sorted(objects) and objects[0] < objects[-1]
    assert {module.level_at(flat, SMOKE, share) for share in (0.0, 0.3, 1.0)} == {
        module.level_at(full, SMOKE, 1.0)
    }
    assert module.level_at(full, SMOKE, 1.0).num_objects == LEVELS[-1].num_objects


def test_the_smoke_run_goes_through_and_is_not_done_again(tmp_path, capsys, monkeypatch):
    command = ["--out", str(tmp_path), "--smoke", "--seeds", "0", "--variants",
               "families/cast", "alignment/no_tasks"]  # fmt: skip
    assert ablate.main(command) == 0
    text = capsys.readouterr().out
    assert "| cast | colour_cast |" in text and "one seed, nothing to compare" in text
    assert (tmp_path / "report.md").read_text() == text
    stored = sorted(path.name for path in (tmp_path / "results").iterdir())
    assert stored == [
        f"{name}-seed0.json"
        for name in ("alignment-full", "alignment-no_tasks", "families-cast", "visual-full")
    ]
    ran = []

    def run_one(variant, budget, *, seed, **_):
        ran.append((variant.name, seed))
        found = json.loads((tmp_path / "results" / "alignment-full-seed0.json").read_text())
        return {key: value for key, value in found.items() if key != "settings"}

    monkeypatch.setattr(ablate, "run_one", run_one)
    assert ablate.main(command) == 0 and not ran
    (tmp_path / "results" / "alignment-no_tasks-seed0.json").unlink()
    assert ablate.main(command) == 0 and ran == [("alignment/no_tasks", 0)]
    # Other settings are another experiment.
    assert ablate.main([*command, "--ladders-steps", "3"]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_wrong_input_is_refused(tmp_path, capsys):
    assert ablate.main([]) == 2
    assert ablate.main(["--smoke", "--variants", "sharpness"]) == 2
    assert ablate.main(["--smoke", "--scenes-steps", "0"]) == 2
    found = capsys.readouterr().err
    assert "--out" in found and "sharpness" in found and "--scenes-steps" in found


def test_two_seeds_say_no_more_than_they_can():
    def result(**figures):
        return {"steps": 2, "training_cpu_s": 1.0, "figures": figures}

    results = {
        ("alignment/full", 0): result(a=0.80, b=0.80, c=0.80),
        ("alignment/full", 1): result(a=0.82, b=0.90, c=0.80),
        ("alignment/no_tasks", 0): result(a=0.70, b=0.75, c=0.85),
        ("alignment/no_tasks", 1): result(a=0.72, b=0.85, c=0.75),
    }
    report = summary(results, [0, 1])
    full, row = report["groups"]["alignment"]["rows"]
    assert full["figures"]["a"]["minus_full"] == [0.0, 0.0]
    figures = {
        name: (round(min(f["minus_full"]), 6), f["same_side"], f["beyond_seeds"])
        for name, f in row["figures"].items()
    }
    assert figures == {
        "a": (-0.1, True, True),
        "b": (-0.05, True, False),
        "c": (-0.05, False, False),
    }
    text = markdown(report)
    assert "beyond the spread of full: a worse; same side alone: b worse" in text
    one = summary({k: v for k, v in results.items() if k[1] == 0}, [0, 1])
    assert not one["groups"]["alignment"]["rows"][1]["figures"]["a"]["same_side"]
    assert "one seed, nothing to compare" in markdown(one)


def test_every_variant_has_one_name_and_one_part():
    for group in GROUPS.values():
        for variant in group.variants:
            assert variant.name.startswith(f"{group.name}/")
            changed = [
                key
                for key, value in vars(variant).items()
                if key not in ("name", "label") and value != vars(group.full)[key]
            ]
            assert len(changed) == 1, variant.name
    assert [v.name for v in choose(["families/jpeg"])] == ["visual/full", "families/jpeg"]
    assert choose(["visual"]) == (GROUPS["visual"].full, *GROUPS["visual"].variants)
    assert replace(VARIANTS["families/tone"]).measured_families == ("tone",)
