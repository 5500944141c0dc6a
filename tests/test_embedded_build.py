"""The rebuild of the embedded critic: every step once, and its parts."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eliq import Scorer
from eliq.packing import PackedRows
from training.embedded.sprites import DEFAULT_FONT

pytestmark = pytest.mark.skipif(
    not Path(DEFAULT_FONT).exists(),
    reason="the scenes are drawn with Debian's fonts-noto-color-emoji, which is not installed",
)


@pytest.fixture(scope="module")
def maker():
    from training.embedded.batches import BatchMaker
    from training.embedded.model import make_backbone
    from training.embedded.pretrain import make_tokenizer

    backbone = make_backbone(make_tokenizer(300))
    return BatchMaker(
        backbone.layout, backbone.patches, seed=0, alignment_rows=4, ladders=2
    ), backbone


def level(share: float):
    from training.embedded.batches import Level

    return Level(0.0, 40, 12, 2, True, share, (96,))


def test_a_batch_is_a_function_of_its_step(maker):
    for share in (0.0, 1.0):
        first, second = (maker[0].make(7, level(share)) for _ in range(2))
        other = maker[0].make(8, level(share))
        for name, value in first.items():
            if isinstance(value, torch.Tensor):
                assert torch.equal(value, second[name]), name
        assert first["pixel_values"].shape != other["pixel_values"].shape or not torch.equal(
            first["pixel_values"], other["pixel_values"]
        )


def test_labels_of_a_batch_are_the_truth(maker):
    make, backbone = maker
    batch = make.make(3, level(0.0))
    assert batch["kind"] == "alignment"
    # One true prompt a row, at least one wrong, and the true one among the row's questions.
    assert ((batch["labels"] == 1).sum(1) == 1).all() and ((batch["labels"] == 0).sum(1) > 0).all()
    rows, _, targets = batch["caption"]
    for index in range(len(batch["labels"])):
        caption = backbone.tokenizer.decode(targets[rows == index][:-1].tolist())
        place = int(batch["labels"][index].argmax())
        end = int(batch["last"][index, place])
        start = int(batch["last"][index, place - 1]) if place else 0
        asked = backbone.tokenizer.decode(
            batch["input_ids"][index, start:end].tolist(), skip_special_tokens=True
        )
        assert f"does it show: {caption}?" in asked


def test_twins_look_the_same_and_are_read_at_the_same_size(maker):
    from eliq.patches import target_size
    from training.embedded.batches import twin
    from training.embedded.pretrain import TWIN_PIXELS

    patches = replace(maker[1].patches, max_pixels=TWIN_PIXELS)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:512, :512] / 512
    smooth = (255 * np.stack([x, y, (x + y) / 2], axis=-1)).astype(np.uint8)
    for image in (smooth, smooth[:96, :96]):
        sides = set()
        for _ in range(12):
            other = twin(image, rng, TWIN_PIXELS)
            sides.add(other.shape[0])
            assert target_size(*other.shape[:2], patches) == target_size(*image.shape[:2], patches)
            again = np.asarray(Image.fromarray(other).resize(image.shape[1::-1])).astype(int)
            errors = [np.abs(again - way).mean() for way in (image, image[:, ::-1])]
            assert min(errors) < 3
        assert (len(sides) > 1) == (len(image) == 512)


def test_across_images_loss_by_hand():
    from training.embedded.auxiliary import across_images_loss

    verdicts, severity = torch.tensor([2.0, 0.5, 1.0, 3.0]), torch.tensor([0, 3, 2, 1])
    # Two apart or more: (0, 3), (0, 2) and (1, 3). 1.2, .8 and .8 are wanted.
    first, second, third = (math.log1p(math.exp(x)) for x in (1.2 - 1.5, 0.8 - 1.0, 0.8 - 2.5))
    loss = across_images_loss(verdicts, severity, torch.tensor([0, 7, 7, 7]))
    assert float(loss) == pytest.approx((first + second + third) / 3, rel=1e-5)
    # Another kind of damage: (1, 3) is not compared.
    loss = across_images_loss(verdicts, severity, torch.tensor([0, 7, 7, 4]))
    assert float(loss) == pytest.approx((first + second) / 2, rel=1e-5)
    nothing = across_images_loss(verdicts[:2], torch.tensor([2, 1]), torch.tensor([7, 7]))
    assert float(nothing) == 0


def test_a_scene_can_be_asked_to_have_a_relation():
    from training.embedded.scenes import SceneConfig, scene_renderer

    renderer = scene_renderer(SceneConfig(max_groups=2, relations=True, size_px=64))
    rng = np.random.default_rng(0)
    assert all(renderer.render(rng, related=True).kind == "relation" for _ in range(5))
    without = scene_renderer(SceneConfig(size_px=64))
    assert without.render(rng, related=True).kind == "single"


def test_the_second_phase_starts_from_given_weights(tmp_path, monkeypatch):
    from training.embedded import pretrain as module
    from training.embedded.model import train_tokenizer
    from training.run_state import StopRequest

    tokenizer = module.make_tokenizer(300)
    monkeypatch.setattr(module, "make_tokenizer", lambda: tokenizer)
    start = module.make_backbone(tokenizer, seed=3)
    kept = {name: value.clone() for name, value in start.model.state_dict().items()}
    small = dict(phase=2, alignment_rows=4, ladders=1, muon_learning_rate=1e-9,
                 adam_learning_rate=1e-9)  # fmt: skip
    config = module.PretrainConfig(**small)
    level = module.Level(0.0, 40, 12, 2, True, 0.5, (96,), ladder_px=(96,))
    monkeypatch.setattr(module, "SECOND_LEVEL", level)
    monkeypatch.setattr(module, "select_alignment", lambda _: {})
    monkeypatch.setattr(module, "select_ladders", lambda _: {})
    with StopRequest() as stop:
        module.pretrain(tmp_path, config, num_steps=1, workers=0, start=start, stop=stop)
    trained = module.load_pretrained(tmp_path, config).model.state_dict()
    for name, value in kept.items():
        assert torch.allclose(trained[name], value, atol=1e-5), name
    other = module.make_backbone(train_tokenizer(["another"] * 9), seed=3)
    with StopRequest() as stop, pytest.raises(module.TrainingError, match="tokenizer"):
        module.pretrain(tmp_path / "x", config, num_steps=1, workers=0, start=other, stop=stop)


def test_the_third_phase_keeps_the_best_average_that_was_seen(tmp_path, monkeypatch):
    from training.embedded import average
    from training.embedded import pretrain as module
    from training.embedded.photographs import Photographs
    from training.run_state import StopRequest

    tokenizer = module.make_tokenizer(300)
    monkeypatch.setattr(module, "make_tokenizer", lambda: tokenizer)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    Image.fromarray(pixels).save(pictures / "a.png")
    seen = []

    def figures(score, **options):
        assert options["folder"] == pictures
        seen.append(score([torch.rand(3, 64, 64)])[0][0])
        return {"within": (0.5, 0.9, 0.7)[len(seen) - 1], "pooled": 0.5, "above": 0, "below": 0}

    monkeypatch.setattr(average, "photograph_figures", figures)
    monkeypatch.setattr(average, "select_alignment", lambda *_, **__: {"object": 0.8, "shuffle": 1})
    level = module.Level(0.0, 40, 12, 2, True, 1.0, (96,), 1.0, ladder_px=(96,), photolike=1.0)
    monkeypatch.setattr(module, "THIRD_LEVEL", level)
    config = replace(module.PretrainConfig.of_phase(3), ladders=1)
    monkeypatch.setattr(module.PretrainConfig, "of_phase", lambda phase: config)
    start = module.make_backbone(tokenizer, seed=3)
    weights = {"start": start.model.state_dict()}
    given = dict(workers=0, check_every=1, photographs=pictures, start=start)
    assert len(Photographs(pictures).paths) == 1
    for num_steps in (2, 3):  # the second call goes on with the average and the best of the first
        with StopRequest() as stop:
            module.pretrain(
                tmp_path / "run", config, num_steps=num_steps, schedule_steps=3, stop=stop,
                selection=pictures, **given,
            )  # fmt: skip
        weights[num_steps] = module.load_pretrained(tmp_path / "run", config).model.state_dict()
    assert len(seen) == 3 and len(set(seen)) == 3
    name = "model.language_model.layers.0.mlp.up_proj.weight"
    assert torch.equal(weights[2][name], weights[3][name])  # .9 was the best, .7 came after it
    moved = (weights[2][name] - weights["start"][name]).abs().max()
    assert 0 < moved < 1e-4  # an average of decay .995 has moved by little
    found = module.load_start(tmp_path / "run").model.state_dict()[name]
    assert torch.equal(found, weights[3][name])
    with StopRequest() as stop, pytest.raises(module.TrainingError, match="--selection"):
        module.pretrain(tmp_path / "x", config, num_steps=1, stop=stop, **given)


def test_prompts_are_judged_only_where_the_image_still_shows_them(maker):
    from training.embedded.batches import KEEPS_CONTENT, TRAINED_DISTORTIONS

    make, _ = maker
    seen = 0
    for step in range(12):
        batch = make.make(step, level(1.0))
        for prompted, severity, kind in zip(
            batch["has_prompt"], batch["severity"], batch["distortion"], strict=True
        ):
            if prompted and severity:
                seen += 1
                assert TRAINED_DISTORTIONS[int(kind) - 1] in KEEPS_CONTENT and severity <= 3
    assert seen


def test_losses_of_both_batches_have_gradients(maker):
    from training.embedded.auxiliary import Auxiliary, batch_losses

    make, backbone = maker
    auxiliary = Auxiliary(192, 192)
    for share in (0.0, 1.0):
        batch = make.make(1, level(share))
        assert set(PackedRows.__dataclass_fields__) <= set(batch)
        loss, figures = batch_losses(backbone, auxiliary, batch)
        loss.backward()
        assert torch.isfinite(loss.detach()) and figures
        gradient = backbone.model.model.visual.patch_embed.proj.weight.grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0
        backbone.zero_grad()


@pytest.mark.slow
def test_every_step_of_the_build_runs(tmp_path, capsys):
    from training.embedded.build import install, main

    assert main(["--out", str(tmp_path / "run"), "--smoke", "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    install(tmp_path / "run" / "critic", tmp_path / "package" / "embedded")
    install(tmp_path / "run" / "critic", tmp_path / "package" / "embedded")
    scorer = Scorer.from_pretrained(tmp_path / "package" / "embedded")
    assert report["stage1"]["steps"] == 2
    assert torch.isfinite(scorer.score(torch.rand(3, 96, 96), "a fox").alignment).all()
    # The same command on a finished run changes nothing.
    before = (tmp_path / "run" / "critic" / "model.safetensors").read_bytes()
    assert main(["--out", str(tmp_path / "run"), "--smoke", "--threads", "1"]) == 0
    assert (tmp_path / "run" / "critic" / "model.safetensors").read_bytes() == before
