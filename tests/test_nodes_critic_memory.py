"""Weights that ComfyUI moves: fewer of them, and an estimate of what a batch takes beside them."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torch import nn

from tests.comfy_pack import pack_module
from tests.tiny import image, tiny_backbone

memory = pack_module("critic_memory")


def test_two_rows_of_the_head_answer_as_the_whole_one():
    whole, cut = tiny_backbone(), tiny_backbone()
    memory.keep_answer_rows(cut)
    assert cut.model.lm_head.weight.shape[0] == 2
    images, prompts = [image(64, 96)], ["a fox"]
    expected, found = whole.embed(images, prompts), cut.embed(images, prompts)
    assert torch.equal(expected.margins, found.margins)
    assert torch.equal(expected.alignment, found.alignment)
    memory.keep_answer_rows(cut)  # again: nothing happens
    assert torch.equal(expected.margins, cut.embed(images, prompts).margins)
    assert cut.probe().spread > 0


def test_no_weight_belongs_to_two_modules_once_the_head_is_cut():
    """A manager that moves weights one by one would load a shared one twice."""
    backbone = tiny_backbone()
    backbone.model.lm_head.weight = backbone.model.get_input_embeddings().weight
    memory.keep_answer_rows(backbone)
    owners = [id(p) for m in backbone.modules() for p in m.parameters(recurse=False)]
    assert len(owners) == len(set(owners))


def test_a_shared_weight_counts_once():
    a, b = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    assert memory.module_bytes(nn.ModuleList([a, b])) == 2 * 64
    b.weight = a.weight
    assert memory.module_bytes(nn.ModuleList([a, b])) == 64


def test_the_estimate_grows_with_the_images_and_bounds_the_pixels():
    backbone = tiny_backbone()
    tokens = memory.num_tokens(backbone, [(64, 64), (160, 160)])
    assert tokens == backbone.num_tokens(160, 160)
    one, four = (memory.bytes_of_tokens(backbone, n * tokens) for n in (1, 4))
    assert 3.9 < four / one < 4.1
    assert one > tokens * backbone.patches.factor_px**2 * 3 * 4


def test_a_size_that_cannot_be_scored_counts_nothing():
    def num_tokens(height: int, width: int) -> int:
        if width > 200 * height:
            raise memory.ImageError("too wide")
        return height * width

    backbone = SimpleNamespace(num_tokens=num_tokens)
    assert memory.num_tokens(backbone, [(16, 4096)]) == 1
    assert memory.num_tokens(backbone, [(16, 4096), (64, 64)]) == 64 * 64
