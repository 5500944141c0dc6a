"""The head: shapes, gates by hand, float32 always, and what the visual query may see."""

from __future__ import annotations

import pytest
import torch

from eliq.errors import ConfigError
from eliq.head import GatedFusion, HeadConfig, ScoringHead

CONFIG = HeadConfig(24, model_dim=16, num_layers=2, num_heads=4, ffn_dim=32)


def embeddings(batch: int = 5):
    return [torch.randn(batch, 24, generator=torch.Generator().manual_seed(s)) for s in range(3)]


def head(**change) -> ScoringHead:
    torch.manual_seed(0)
    return ScoringHead(HeadConfig(**(CONFIG.to_json() | change))).eval()


def test_shapes_and_batch_invariance():
    model, (tec, aes, ali) = head(), embeddings()
    out = model(tec, aes, ali)
    assert out.visual_quality.shape == out.alignment.shape == (5,)
    alone = model(tec[2:3], aes[2:3], ali[2:3])
    torch.testing.assert_close(alone.visual_quality[0], out.visual_quality[2])
    torch.testing.assert_close(alone.alignment[0], out.alignment[2])


def test_gates_by_hand():
    """With gate weights 0 every gate is sigmoid(0) = 1/2, and phi sees half of each embedding."""
    fusion = GatedFusion(2)
    with torch.no_grad():
        for gate in (fusion.gate_technical, fusion.gate_aesthetic):
            gate.weight.zero_()
            gate.bias.zero_()
    tec, aes = torch.tensor([[2.0, 4.0]]), torch.tensor([[6.0, 8.0]])
    expected = fusion.mlp(torch.tensor([[1.0, 2.0, 3.0, 4.0]]))
    assert torch.equal(fusion(tec, aes), expected)


def test_scores_are_float32_whatever_comes_in():
    model, (tec, aes, ali) = head(), embeddings()
    with torch.autocast("cpu", torch.bfloat16):
        out = model(tec.bfloat16(), aes.bfloat16(), ali.bfloat16())
    assert out.visual_quality.dtype == out.alignment.dtype == torch.float32
    exact = model(tec.bfloat16().float(), aes.bfloat16().float(), ali.bfloat16().float())
    assert torch.equal(out.visual_quality, exact.visual_quality)


def test_the_masked_visual_query_cannot_see_the_prompt():
    tec, aes, ali = embeddings()
    paper, masked = head(), head(mask_visual_query=True)
    assert not torch.equal(
        paper(tec, aes, ali).visual_quality, paper(tec, aes, -ali).visual_quality
    )
    assert torch.equal(masked(tec, aes, ali).visual_quality, masked(tec, aes, -ali).visual_quality)
    assert not torch.equal(masked(tec, aes, ali).alignment, masked(tec, aes, -ali).alignment)


@pytest.mark.parametrize("change", [{"hidden_size": 0}, {"num_heads": 3}, {"num_layers": 1.5},
                                    {"mask_visual_query": 1}])  # fmt: skip
def test_bad_config(change):
    with pytest.raises(ConfigError, match="head"):
        HeadConfig(**(CONFIG.to_json() | change))


def test_round_trip():
    assert HeadConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(ConfigError):
        HeadConfig.from_json({"hidden_size": 4, "dropout": 0.1})
