"""Tensors: never changed, never moved; a wrong one is told what to write instead."""

from __future__ import annotations

import math

import pytest
import torch

from eliq.errors import ImageError
from eliq.images import load_image, load_images


def make_batch(num_images: int = 4) -> torch.Tensor:
    return torch.rand(num_images, 3, 16, 24, generator=torch.Generator().manual_seed(0))


def test_a_batch_and_its_images_are_the_same():
    batch = make_batch()
    loaded = load_images(batch)
    assert len(loaded) == 4
    for row, image in enumerate(batch):
        assert loaded[row].flags == () and loaded[row].error is None
        assert torch.equal(loaded[row].pixels, image)
        assert torch.equal(load_image(image).pixels, image)


def test_batches_in_a_list_are_spread_out():
    batch = make_batch()
    loaded = load_images([batch[0], batch, batch[:1, :, :8]])
    assert [tuple(row.pixels.shape[1:]) for row in loaded] == [(16, 24)] * 5 + [(8, 24)]
    assert load_images(batch[:0]) == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_become_float32(dtype):
    image = make_batch()[0].to(dtype)
    loaded = load_image(image)
    assert loaded.pixels.dtype == torch.float32
    assert torch.equal(loaded.pixels, image.float())


def test_a_tensor_is_never_changed_and_its_graph_not_kept():
    batch = make_batch()
    batch[1] = batch[1] * 1.002 - 0.001  # overshoot within the tolerance
    batch[2, 0, 0, 0] = math.nan
    batch.requires_grad_(True)
    before = batch.detach().clone()
    loaded = load_images(batch)
    assert torch.equal(batch.detach().nan_to_num(9), before.nan_to_num(9))
    assert not any(row.pixels.requires_grad for row in loaded if row.pixels is not None)


def test_a_tensor_of_another_layout_in_memory():
    image = make_batch()[0]
    strided = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(load_image(strided).pixels, image)


def test_overshoot_of_a_decoder_is_clamped():
    image = make_batch()[0].clone()
    image[0, 0, 0], image[0, 0, 1] = 1.0009, -0.0009
    pixels = load_image(image).pixels
    assert pixels[0, 0, :2].tolist() == [1.0, 0.0]
    assert torch.equal(pixels[:, 1:], image[:, 1:])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_fails_its_own_row_alone(value):
    clean = make_batch()
    batch = clean.clone()
    batch[2, 1, 3, 4] = value
    loaded = load_images(batch)
    assert loaded[2].pixels is None
    assert loaded[2].error_class == "nonfinite_input"
    assert loaded[2].flags == ("nonfinite_input",)
    assert "NaN" in loaded[2].error
    for row in (0, 1, 3):
        assert torch.equal(loaded[row].pixels, clean[row])
    assert load_image(batch[2]).error_class == "nonfinite_input"


def test_a_constant_tensor_is_kept_and_flagged():
    batch = make_batch()
    batch[1] = 0
    batch[2] = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    loaded = load_images(batch)
    assert [row.flags for row in loaded] == [(), ("constant_image",), ("constant_image",), ()]
    assert all(row.pixels is not None for row in loaded)


@pytest.mark.parametrize(
    ("shape", "error_class"),
    [
        ((3, 1, 1), "too_small"),
        ((3, 0, 5), "too_small"),
        ((3, 20, 20_000), "extreme_aspect_ratio"),
        ((2, 3, 4, 4), "too_small"),
    ],
)
def test_sizes_that_cannot_be_judged(shape, error_class):
    for row in load_images(torch.zeros(shape)):
        assert row.error_class == error_class and row.pixels is None


def test_too_many_pixels():
    row = load_image(make_batch()[0], max_image_px=100)
    assert row.error_class == "too_many_pixels"


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.zeros(3, 16, 16, dtype=torch.uint8), "uint8.*divide it by 255"),
        (torch.zeros(3, 16, 16, dtype=torch.int64), "int64"),
        (torch.zeros(3, 16, 16, dtype=torch.bool), "bool"),
        (torch.zeros(3, 16, 16, dtype=torch.complex64), "complex64"),
        (torch.zeros(16, 20, 3), r"\[16, 20, 3\].*permute\(2, 0, 1\)"),
        (torch.zeros(2, 16, 20, 3), r"permute\(0, 3, 1, 2\)"),
        (torch.zeros(1, 16, 16), "1 channels.*repeat"),
        (torch.zeros(4, 16, 16), "4 channels.*background"),
        (torch.zeros(2, 4, 16, 16), "4 channels"),
        (torch.zeros(16, 16), r"found float32 \[16, 16\]"),
        (torch.zeros(1, 1, 3, 16, 16), r"\[1, 1, 3, 16, 16\]"),
        (torch.tensor(0.5), r"\[\]"),
        (torch.zeros(3, 16, 16).to_sparse(), "to_dense"),
    ],
)
def test_a_wrong_tensor_is_an_error_that_says_what_to_write(tensor, words):
    with pytest.raises(ImageError, match=words) as caught:
        load_images(tensor)
    assert "\n" not in str(caught.value)
    if tensor.ndim != 4:
        with pytest.raises(ImageError, match=words):
            load_image(tensor)
    with pytest.raises(ImageError, match=r"images\[1\]"):
        load_images([torch.rand(3, 16, 16), tensor])


@pytest.mark.parametrize(
    ("scale", "shift", "words"),
    [
        (255.0, 0.0, r"found 0 to 255; divide it by 255"),
        (2.0, -1.0, r"found -1 to 1; use \(tensor \+ 1\) / 2"),
        (1.0, 0.5, r"found 0.5 to 1.5; clamp"),
    ],
)
def test_a_wrong_range_names_what_was_found(scale, shift, words):
    image = torch.linspace(0, 1, 3 * 16 * 16).view(3, 16, 16) * scale + shift
    with pytest.raises(ImageError, match=words):
        load_image(image)
    with pytest.raises(ImageError, match=words):  # beside an image that has no range at all
        load_images(torch.stack([image, torch.full_like(image, math.nan)]))


def test_load_image_takes_one_image():
    with pytest.raises(ImageError, match="load_images"):
        load_image(make_batch())


@pytest.mark.gpu
def test_a_tensor_stays_on_its_device():
    batch = make_batch().cuda()
    loaded = load_images(batch)
    assert all(row.pixels.device == batch.device for row in loaded)
    assert loaded[0].pixels.data_ptr() == batch.data_ptr()
