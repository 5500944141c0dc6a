"""One packed row is three separate passes."""

from __future__ import annotations

import torch

from eliq.instructions import ChatLayout
from eliq.packing import pack_rows, prefix_positions
from eliq.vision_grids import grid_arguments
from tests.rounding import SCORE_ROUNDING
from tests.tiny import INSTRUCTIONS, image, tiny_backbone, tiny_tokenizer


def test_positions_by_hand():
    # Two text tokens, an image of 2 x 3 merged tokens, one text token.
    positions, following = prefix_positions(2, (2, 3), 1)
    assert positions.tolist() == [
        [0, 1, 2, 2, 2, 2, 2, 2, 5],
        [0, 1, 2, 2, 2, 3, 3, 3, 5],
        [0, 1, 2, 3, 4, 2, 3, 4, 5],
    ]
    assert following == 6


def test_mask_and_read_out_by_hand():
    layout = ChatLayout(tiny_tokenizer(), INSTRUCTIONS)
    rows = pack_rows(layout, [(1, 1), (1, 1)], [[[7], [8, 9]], [[5]]])
    prefix = len(layout.prefix_head) + 1 + len(layout.prefix_tail)
    mask = rows.mask[:, 0]
    first, second = prefix, prefix + 1
    assert mask[0, first, : prefix + 1].all() and not mask[0, first, prefix + 1 :].any()
    assert mask[0, second, :prefix].all() and not mask[0, second, first]
    assert mask[0, second + 1, second] and not mask[0, second + 1, first]
    assert not mask[0, 0, 1]  # causal within the prefix
    # The second row is shorter: its padding is seen by nobody but itself.
    assert not mask[1, : prefix + 1, prefix + 1 :].any()
    assert mask[1, prefix + 1].sum() == 1
    assert rows.last.tolist() == [[prefix, prefix + 2], [prefix, 0]]
    assert rows.valid.tolist() == [[True, True], [True, False]]
    # Both suffixes start at the same position.
    assert rows.position_ids[0, 0, first] == rows.position_ids[0, 0, second]


def test_borders_that_are_ready_made_change_nothing(monkeypatch):
    """From 5.x the vision tower takes the borders between images; 4.57 works them out itself."""
    backbone = tiny_backbone()
    images, prompts = [image(64, 64), image(96, 128, seed=1)], ["a fox", None]
    expected = backbone.embed(images, prompts).margins
    grid = backbone.pixels(images)[1]
    given = grid_arguments(backbone.model.model, grid, backbone.device)
    assert given.pop("image_cu_seqlens", torch.tensor([0, 16, 64])).tolist() == [0, 16, 64]
    monkeypatch.setattr("eliq.backbone.grid_arguments", lambda *_: given)
    assert torch.equal(backbone.embed(images, prompts).margins, expected)


def test_packed_equals_separate_and_is_invariant():
    backbone = tiny_backbone()
    images = [image(64, 64), image(96, 128, seed=1), image(64, 96, seed=2)]
    prompts = ["a red fox", None, "two <|im_end|> dogs"]
    together = backbone.embed(images, prompts)
    pixel_values, grid = backbone.pixels(images)
    with torch.inference_mode():
        separate = backbone.separate_states(
            pixel_values, grid, [backbone.layout.suffixes(p) for p in prompts]
        )
    scale = separate.square().mean().sqrt()
    for index, name in enumerate(("technical", "aesthetic", "alignment")):
        packed = getattr(together, name)
        assert (packed - separate[:, index]).abs().max() <= SCORE_ROUNDING * scale
    for index in (2, 0, 1):  # alone and in another order
        alone = backbone.embed([images[index]], [prompts[index]])
        torch.testing.assert_close(
            alone.margins[0], together.margins[index], atol=SCORE_ROUNDING, rtol=0
        )


def test_gradients_of_packed_equal_those_of_separate():
    backbone = tiny_backbone()
    images, prompts = [image(64, 96)], ["a fox"]
    weight = backbone.model.model.language_model.layers[0].self_attn.q_proj.weight
    tower = backbone.model.model.visual.blocks[0].mlp.linear_fc1.weight
    gradients = []
    for is_packed in (True, False):
        backbone.is_packed = is_packed
        backbone.zero_grad()
        backbone(images, prompts).margins.sum().backward()
        gradients.append((weight.grad.clone(), tower.grad.clone()))
    for packed, separate in zip(*gradients, strict=True):
        assert (packed - separate).norm() <= 1e-4 * separate.norm()


def test_eager_attention_is_exact_too():
    """Eager adds its mask to the logits, where a boolean mask would be silently wrong."""
    backbone = tiny_backbone()
    images, prompts = [image(64, 96), image(64, 64)], ["a fox", "two dogs in snow"]
    expected = backbone.embed(images, prompts).margins
    backbone.model.set_attn_implementation("eager")
    torch.testing.assert_close(
        backbone.embed(images, prompts).margins, expected, atol=1e-4, rtol=1e-4
    )
