"""QLoRA: 4-bit language layers under adapters, merged into plain weights; or a clear refusal."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch

from eliq.errors import TrainingError
from tests.tiny_supervision import write_set
from training.adapters import LORA_LANGUAGE, has_lora, merge_lora
from training.dataset import read_supervision
from training.export import freeze_critic
from training.quantized import is_quantized, quantize_linears, unquantized
from training.stage1 import Stage1Config, train_stage1
from training.tiny_backbone import tiny_backbone
from training.tuning import prepare

CONFIG = Stage1Config(tuning="qlora", lora_rank=4, lora_dropout=0.0, precision="float32")


class StopAfter:
    """A stop request that comes after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture
def split(tmp_path):
    return read_supervision(write_set(tmp_path / "set")).split(0.2)


@pytest.fixture
def images():
    return [torch.rand(3, 64, 96, generator=torch.Generator().manual_seed(0))]


def test_without_bitsandbytes_one_line_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(TrainingError, match=r"needs bitsandbytes.*pip install 'eliq\[qlora\]'"):
        prepare(tiny_backbone(), CONFIG)


def test_four_bits_only_where_adapters_are_and_the_merge_is_what_was_trained(images):
    pytest.importorskip("bitsandbytes")
    pytest.importorskip("peft")
    plain, backbone = tiny_backbone(hidden_size=64), tiny_backbone(hidden_size=64)
    prepare(backbone, CONFIG)
    packed = [n for n, layer in backbone.named_modules() if is_quantized(layer)]
    assert len(packed) == 2 * 7 and all(".language_model.layers." in name for name in packed)
    trained = [name for name, p in backbone.named_parameters() if p.requires_grad]
    assert trained and all(".lora_" in name for name in trained)
    assert any("visual" in name for name in trained), "the vision tower learns in full precision"

    backbone.train()
    backbone(images, ["a fox"]).margins.sum().backward()
    for name, parameter in backbone.named_parameters():
        if ".lora_B." in name:
            assert parameter.grad is not None, name
            with torch.no_grad():
                parameter -= 1e-3 * parameter.grad.sign()
    backbone.eval()
    adapted = backbone.embed(images, ["a fox"])
    assert merge_lora(backbone.model) > 2 * 7 and not has_lora(backbone.model)
    assert not any(is_quantized(layer) for layer in backbone.modules())
    merged = backbone.embed(images, ["a fox"])
    spread = adapted.alignment.abs().max()
    assert (adapted.alignment - merged.alignment).abs().max() < 1e-4 * spread
    assert backbone.state_dict().keys() == plain.state_dict().keys()
    far = (plain.embed(images, ["a fox"]).alignment - merged.alignment).abs().max()
    assert far > 1e-3 * spread, "4 bits and training have moved it"


@pytest.mark.parametrize("evaluated", [False, True])
def test_four_bits_are_near_the_matrix_they_stand_for(evaluated):
    pytest.importorskip("bitsandbytes")
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64, bias=False))
    before = model[0].weight.detach().clone()
    assert quantize_linears(model, "0", compute_dtype=torch.float32) == 1
    if evaluated:  # on a CPU bitsandbytes would change the layout of the 4 bits
        with torch.no_grad():
            model.eval()(torch.ones(2, 64))
    error = (unquantized(model[0]).weight - before).abs().max()
    assert 0 < error < 0.2 * before.abs().max()


def test_a_run_in_four_bits_goes_on_after_a_stop(tmp_path, split):
    pytest.importorskip("bitsandbytes")
    config = replace(CONFIG, num_steps=2, save_every=1, grad_accumulation=1, tuples_per_forward=2)
    whole, resumed = tiny_backbone(), tiny_backbone()
    expected = train_stage1(whole, *split, config, tmp_path / "a", progress=False)
    stop = StopAfter(1)
    train_stage1(tiny_backbone(), *split, config, tmp_path / "b", stop=stop, progress=False)
    assert train_stage1(resumed, *split, config, tmp_path / "b", progress=False) == expected
    for backbone in (whole, resumed):
        freeze_critic(backbone)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_a_backbone_without_such_layers_is_refused():
    pytest.importorskip("bitsandbytes")
    with pytest.raises(TrainingError, match="set tuning to 'full'"):
        quantize_linears(torch.nn.Sequential(torch.nn.Linear(4, 4)), rf".*{LORA_LANGUAGE}")


def test_full_tuning_of_half_precision_weights_is_refused():
    with pytest.raises(TrainingError, match="needs float32 weights, found torch.bfloat16"):
        prepare(tiny_backbone().bfloat16(), Stage1Config(tuning="full"))
