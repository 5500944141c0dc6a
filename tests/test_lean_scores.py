"""training.lean_scores: the head's own scores and gradients, without what nothing reads."""

from __future__ import annotations

import pytest
import torch

from eliq.head import HeadConfig
from training.ablation.heads import HEADS
from training.head_scores import score_rows
from training.lean_scores import lean_alignment, lean_fusion, lean_visual

CONFIG = HeadConfig(12, model_dim=16, num_layers=2, num_heads=4, ffn_dim=32)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_they_are_the_heads_own(name, mask, num_layers):
    torch.manual_seed(0)
    config = HeadConfig.from_json(
        CONFIG.to_json() | {"mask_visual_query": mask, "num_layers": num_layers}
    )
    head = HEADS[name](config)
    technical, aesthetic, alignment = torch.randn(3, 5, 2, 12)

    def gradients(score):
        head.zero_grad()
        score.square().sum().backward()
        return {key: p.grad.clone() for key, p in head.named_parameters() if p.grad is not None}

    z_vis = lean_fusion(head, technical, aesthetic)
    for lean, own in ((lean_visual, "visual_quality"), (lean_alignment, "alignment")):
        expected = getattr(score_rows(head, technical, aesthetic, alignment), own)
        found = lean(head, lean_fusion(head, technical, aesthetic), alignment)
        assert found.shape == (5, 2)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
        wanted = gradients(expected)
        for key, gradient in gradients(found).items():
            torch.testing.assert_close(gradient, wanted.pop(key), rtol=1e-3, atol=1e-3)
        assert not any(gradient.any() for gradient in wanted.values()), "moved by nothing else"
    assert z_vis.shape == (5, 2, 12)
