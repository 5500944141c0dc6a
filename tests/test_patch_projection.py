"""The patch embedding as a matrix product: the same numbers, the same weights, the same names."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from eliq.patch_projection import PatchProjection, project_by_product


class Tower(nn.Module):
    def __init__(self, **options) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 4, 4), **options)


def test_it_gives_what_the_convolution_gives_and_its_gradients():
    tower = Tower()
    other = copy.deepcopy(tower)
    project_by_product(other)
    patches = torch.rand(5, 3, 2, 4, 4, requires_grad=True)
    wanted, found = (t.patch_embed.proj(patches) for t in (tower, other))
    assert type(other.patch_embed.proj) is PatchProjection and found.shape == (5, 8, 1, 1, 1)
    torch.testing.assert_close(found, wanted)
    grads = [
        torch.autograd.grad(out.square().sum(), (patches, t.patch_embed.proj.weight))
        for out, t in ((wanted, tower), (found, other))
    ]
    for mine, its in zip(*grads, strict=True):
        torch.testing.assert_close(mine, its)
    assert list(other.state_dict()) == list(tower.state_dict())


def test_an_input_of_several_patches_is_convolved():
    tower = Tower()
    image = torch.rand(1, 3, 4, 8, 12)
    wanted = tower.patch_embed.proj(image)
    project_by_product(tower)
    assert torch.equal(tower.patch_embed.proj(image), wanted) and wanted.shape[2:] == (2, 2, 3)


@pytest.mark.parametrize("options", [{"padding": 1}])
def test_what_is_no_plain_product_stays_as_it_is(options):
    tower = Tower(**options)
    tower.other = nn.Conv3d(3, 8, 2)
    project_by_product(tower)
    assert type(tower.patch_embed.proj) is nn.Conv3d and type(tower.other) is nn.Conv3d


def test_a_backbone_uses_it(tiny_scorer):
    proj = tiny_scorer.backbone.model.model.visual.patch_embed.proj
    assert type(proj) is PatchProjection
