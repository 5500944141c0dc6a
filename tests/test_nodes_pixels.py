"""ComfyUI's channels-last images and ELIQ's: nothing but the layout changes, unless it must."""

from __future__ import annotations

import pytest
import torch

from eliq_nodes.pixels import to_bchw, to_bhwc


def test_a_pixel_keeps_its_place():
    images = torch.zeros(2, 5, 7, 3)
    images[1, 4, 6, 2] = 1.0
    found = to_bchw(images)
    assert found.shape == (2, 3, 5, 7)
    assert found[1, 2, 4, 6] == 1.0 and found.sum() == 1.0


def test_there_and_back_is_the_same():
    images = torch.rand(3, 8, 6, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_bhwc(to_bchw(images)), images)


def test_a_sound_batch_is_not_copied():
    images = torch.rand(2, 4, 4, 3)
    assert to_bchw(images).data_ptr() == images.data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_keep_their_type(dtype):
    assert to_bchw(torch.ones(1, 2, 2, 3, dtype=dtype)).dtype == dtype


def test_overshoot_is_cut_and_nan_stays():
    images = torch.tensor([-0.25, 0.5, 1.5, float("nan"), float("inf"), 1.0]).view(1, 1, 2, 3)
    found = to_bchw(images).permute(0, 2, 3, 1).flatten()
    assert found[:3].tolist() == [0.0, 0.5, 1.0]
    assert found[3].isnan() and found[4].isinf() and found[5] == 1.0


def test_alpha_goes_on_white_and_grey_is_three_channels():
    rgba = torch.tensor([0.2, 0.4, 0.6, 0.5]).view(1, 1, 1, 4)
    assert torch.allclose(to_bchw(rgba).flatten(), torch.tensor([0.6, 0.7, 0.8]))
    grey = torch.full((1, 2, 2, 1), 0.3)
    assert to_bchw(grey).shape == (1, 3, 2, 2) and to_bchw(grey).unique().numel() == 1


def test_an_empty_batch_stays_empty():
    assert to_bchw(torch.zeros(0, 4, 4, 3)).shape == (0, 3, 4, 4)


@pytest.mark.parametrize(
    "wrong",
    [torch.zeros(4, 4, 3), torch.zeros(1, 4, 4, 16), torch.zeros(1, 4, 4, 3).long(), None, {}],
)
def test_what_is_no_image_is_refused_in_one_line(wrong):
    with pytest.raises(ValueError, match="^images: expected .*, found .*: link an IMAGE") as error:
        to_bchw(wrong)
    assert "\n" not in str(error.value)
