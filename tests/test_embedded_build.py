"""The rebuild of the embedded critic: every step once, and its parts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

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
        backbone.layout, backbone.patches, seed=0, alignment_rows=4, ladders=2, ladder_px=(96,)
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
