"""The backbone's parts belong together, and its probe finds a broken one."""

from __future__ import annotations

import pytest
import torch

from eliq.backbone import Backbone
from eliq.errors import BackboneError
from eliq.patches import PatchConfig
from tests.rounding import SCORE_ROUNDING
from tests.tiny import INSTRUCTIONS, image, tiny_backbone, tiny_config, tiny_tokenizer


def test_probe_passes_and_reports():
    report = tiny_backbone().probe()
    assert report.packed and report.max_difference <= SCORE_ROUNDING and report.spread > 0


def test_probe_finds_wrong_packing(monkeypatch):
    backbone = tiny_backbone()
    monkeypatch.setattr(
        "eliq.packing._mask",
        lambda segment: torch.ones(
            segment.shape[0], 1, segment.shape[1], segment.shape[1], dtype=torch.bool
        ).tril(),
    )
    with pytest.raises(BackboneError, match="must equal three separate"):
        backbone.probe()


def test_probe_finds_constant_and_broken_answers():
    backbone = tiny_backbone()
    with torch.no_grad():
        backbone.model.model.language_model.norm.weight.zero_()
    with pytest.raises(BackboneError):
        backbone.probe()
    backbone = tiny_backbone()
    with torch.no_grad():
        backbone.model.model.language_model.norm.weight.fill_(float("nan"))
    with pytest.raises(BackboneError, match="finite"):
        backbone.probe()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_outlier_channels_and_half_precision_pass_the_probe(dtype):
    """Real models have a few channels of huge weight; rounding in them is not a broken mask."""
    backbone = tiny_backbone()
    with torch.no_grad():
        backbone.model.model.language_model.norm.weight[:3] = 30.0
    report = backbone.to(dtype).probe()
    assert report.max_difference <= (1e-5 if dtype == torch.float32 else 0.1)


def test_margins_are_the_difference_of_two_logits():
    backbone = tiny_backbone()
    states = torch.randn(4, backbone.hidden_size)
    logits = backbone.label_logits(states)
    expected = logits[:, backbone.layout.high_id] - logits[:, backbone.layout.low_id]
    torch.testing.assert_close(backbone.margins(states), expected)


def test_other_architectures_take_the_slow_path():
    backbone = tiny_backbone()
    expected = backbone.embed([image(64, 64)], ["a fox"]).margins
    backbone.model.config.model_type = "qwen_of_tomorrow"
    slow = Backbone(
        backbone.model,
        backbone.tokenizer,
        instructions=INSTRUCTIONS,
        patches=backbone.patches,
        max_prompt_tokens=64,
    )
    assert not slow.is_packed
    torch.testing.assert_close(
        slow.embed([image(64, 64)], ["a fox"]).margins, expected, atol=1e-4, rtol=1e-4
    )
    assert slow.probe().packed is False


def test_parts_that_do_not_belong_together():
    with pytest.raises(BackboneError, match="preprocessing"):
        Backbone.from_config(
            tiny_config(), tiny_tokenizer(), instructions=INSTRUCTIONS,
            patches=PatchConfig(patch_px=14),
        )  # fmt: skip
    with pytest.raises(BackboneError, match="image_pad"):
        Backbone.from_config(
            tiny_config() | {"image_token_id": 5}, tiny_tokenizer(), instructions=INSTRUCTIONS
        )


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = Backbone.from_config(tiny_config(), tiny_tokenizer(), instructions=INSTRUCTIONS)
    state = torch.random.get_rng_state()
    second = Backbone.from_config(tiny_config(), tiny_tokenizer(), instructions=INSTRUCTIONS)
    assert torch.equal(torch.random.get_rng_state(), state)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_from_pretrained_reads_the_hub_layout(tmp_path):
    """The real loading code, on a tiny model saved as the hub stores the real ones."""
    backbone = tiny_backbone()
    backbone.model.save_pretrained(tmp_path)
    backbone.tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "preprocessor_config.json").write_text(
        '{"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}'
    )
    loaded = Backbone.from_pretrained(
        str(tmp_path), dtype=torch.float32, instructions=INSTRUCTIONS, patches=backbone.patches,
        max_prompt_tokens=64,
    )  # fmt: skip
    images, prompts = [image(64, 96)], ["a fox"]
    assert torch.equal(
        loaded.embed(images, prompts).margins, backbone.embed(images, prompts).margins
    )


def test_preprocessing_in_the_file_of_transformers_5(tmp_path):
    backbone = tiny_backbone()
    backbone.model.save_pretrained(tmp_path)
    backbone.tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(BackboneError, match="preprocessor_config"):
        Backbone.from_pretrained(str(tmp_path), instructions=INSTRUCTIONS)
    path = tmp_path / "processor_config.json"
    path.write_text('{"image_processor": {"image_mean": [0.4, 0.5, 0.6], "image_std": [1, 1, 1]}}')
    loaded = Backbone.from_pretrained(str(tmp_path), instructions=INSTRUCTIONS)
    assert loaded.patches.mean == (0.4, 0.5, 0.6) and loaded.patches.std == (1.0, 1.0, 1.0)
    path.write_text('{"image_processor": 3}')
    with pytest.raises(BackboneError, match="image_mean"):
        Backbone.from_pretrained(str(tmp_path), instructions=INSTRUCTIONS)


def test_missing_backbone_is_one_clear_line(tmp_path):
    with pytest.raises(BackboneError, match="offline.*hf download") as caught:
        Backbone.from_pretrained("nobody/no-such-model", local_files_only=True)
    assert "\n" not in str(caught.value)
    with pytest.raises(BackboneError, match="check the directory"):
        Backbone.from_pretrained(str(tmp_path))


def test_mixture_of_experts_is_packed_too():
    config = tiny_config() | {"model_type": "qwen3_vl_moe"}
    config["text_config"] = config["text_config"] | {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 32,
        "decoder_sparse_step": 1,
    }
    backbone = Backbone.from_config(
        config,
        tiny_tokenizer(),
        instructions=INSTRUCTIONS,
        patches=PatchConfig(min_pixels=64 * 64, max_pixels=160 * 160),
    )
    assert backbone.is_packed and backbone.probe().max_difference <= SCORE_ROUNDING
    with pytest.raises(BackboneError, match="model_type"):
        Backbone.from_config({"model_type": "llava"}, tiny_tokenizer())
