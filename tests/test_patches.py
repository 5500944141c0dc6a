"""Preprocessing: the grid and the pixels of the stock processor, without it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eliq.errors import ConfigError, ImageError
from eliq.patches import PatchConfig, patchify, prepare_image, target_size

CONFIG = PatchConfig(min_pixels=56 * 56, max_pixels=512 * 512)


def test_target_size_by_hand():
    assert target_size(512, 512, CONFIG) == (512, 512)
    # 80 / 32 = 2.5 and 112 / 32 = 3.5: Python rounds halves to even.
    assert target_size(80, 112, CONFIG) == (64, 128)
    # 1000 x 500 is above the budget: beta = sqrt(500000 / 262144) = 1.381, 724.1 x 362.04 floored.
    assert target_size(1000, 500, CONFIG) == (704, 352)
    with pytest.raises(ImageError, match="200:1"):
        target_size(20_000, 20, CONFIG)


@pytest.mark.parametrize("size", [(30, 50), (100, 333), (513, 511), (700, 1100), (64, 64)])
def test_target_size_is_the_stock_one(size):
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    expected = module.smart_resize(*size, 32, CONFIG.min_pixels, CONFIG.max_pixels)
    assert target_size(*size, CONFIG) == expected


@pytest.mark.parametrize("size", [(128, 96), (150, 210)])
def test_pixels_are_the_stock_ones(size):
    """Equal without a resize; within a few 8-bit levels with one, as two of PIL's are."""
    module = pytest.importorskip("transformers.models.qwen2_vl.image_processing_pil_qwen2_vl")
    from PIL import Image

    rng = np.random.default_rng(0)
    low = rng.integers(0, 256, (size[0] // 8 + 1, size[1] // 8 + 1, 3), dtype=np.uint8)
    picture = Image.fromarray(low).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    processor = module.Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        size={"shortest_edge": CONFIG.min_pixels, "longest_edge": CONFIG.max_pixels},
    )
    stock = processor(images=picture, return_tensors="pt")
    image = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    pixel_values, grid = patchify([image], CONFIG)
    assert grid.tolist() == stock["image_grid_thw"].tolist()
    levels = (pixel_values - stock["pixel_values"]).abs() * 255 / 2
    if target_size(*size, CONFIG) == size:
        assert levels.max() < 0.01
    else:
        assert levels.max() < 6 and levels.mean() < 0.5


def test_a_tensor_and_its_8_bit_copy_are_the_same_image():
    image = torch.rand(3, 96, 64)
    saved = (image * 255).round().byte().float() / 255
    assert torch.equal(patchify([image], CONFIG)[0], patchify([saved], CONFIG)[0])


@pytest.mark.parametrize("size", [(96, 64), (70, 130)])
def test_8_bits_are_the_image_they_stand_for(size):
    """To the bit, also where the channels of a decoder are interleaved."""
    stored = torch.randint(0, 256, (*size, 3), dtype=torch.uint8).permute(2, 0, 1)
    expected = stored.float().div(255).contiguous()
    assert torch.equal(prepare_image(stored, CONFIG), prepare_image(expected, CONFIG))


def test_rows_do_not_depend_on_the_batch():
    images = [torch.rand(3, 64, 64), torch.rand(3, 100, 200), torch.rand(3, 64, 64)]
    together, grid = patchify(images, CONFIG)
    alone = [patchify([image], CONFIG) for image in images]
    assert torch.equal(together, torch.cat([rows for rows, _ in alone]))
    assert torch.equal(grid, torch.cat([g for _, g in alone]))


def test_second_frame():
    copy, _ = patchify([torch.rand(3, 64, 64)], CONFIG)
    frames = copy.view(-1, 3, 2, 16, 16)
    assert torch.equal(frames[:, :, 0], frames[:, :, 1])
    config = PatchConfig(min_pixels=56 * 56, max_pixels=512 * 512, second_frame="log_gradient")
    flat, _ = patchify([torch.full((3, 64, 64), 0.25)], config)
    # A flat image has no gradient: (log(0.004) + 3.3) / 1.5 everywhere.
    expected = (np.log(0.004) + 3.3) / 1.5
    torch.testing.assert_close(
        flat.view(-1, 3, 2, 256)[:, :, 1], torch.full((16, 3, 256), expected), atol=1e-4, rtol=0
    )
    noisy, _ = patchify([torch.rand(3, 64, 64)], config)
    assert noisy.view(-1, 3, 2, 256)[:, :, 1].mean() > 0.5


def test_input_is_left_alone_and_stays_in_range():
    image = torch.rand(3, 70, 50)
    before = image.clone()
    out = prepare_image(image, CONFIG)
    assert torch.equal(image, before)
    assert out.min() >= 0 and out.max() <= 1 and out.shape[1] % 32 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"patch_px": 0},
        {"min_pixels": 10**9},
        {"min_pixels": 10**11, "max_pixels": 10**11},
        {"max_pixels": (1 << 24) + 1},
        {"max_pixels": 100, "min_pixels": 1},
        {"second_frame": "sobel"},
        {"std": (0.5, 0.5, 0.0)},
        {"temporal": 1, "second_frame": "log_gradient"},
        {"merge": True},
    ],
)
def test_bad_config(change):
    with pytest.raises(ConfigError):
        PatchConfig(**change)


def test_config_round_trip():
    assert PatchConfig.from_json(CONFIG.to_json()) == CONFIG
    with pytest.raises(ConfigError, match="keys among"):
        PatchConfig.from_json({"side": 3})
