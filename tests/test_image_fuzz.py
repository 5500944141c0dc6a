"""Damaged files: whatever the bytes, one row comes back, of a class on the closed list."""

from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from PIL import Image

from eliq.images import ERROR_CLASSES, IMAGE_FLAGS, load_image

ALLOWED_CLASSES = {
    "damaged_image",
    "not_an_image",
    "empty_file",
    "too_many_pixels",
    "too_small",
    "extreme_aspect_ratio",
    "unsupported_mode",
    "float_image",
}
NUM_MUTANTS = 80  # an encoding


def encode() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(40), np.arange(48)) * 2
    array = np.stack([smooth, smooth[::-1], rng.integers(0, 256, smooth.shape)], axis=2)
    image = Image.fromarray(array.astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    frames = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    grey16 = Image.fromarray((smooth * 300).astype(np.uint16))
    variants = {
        "png": (image, "PNG", {"exif": exif}),
        "png16": (grey16, "PNG", {}),
        "png_palette": (image.convert("P"), "PNG", {"transparency": 3}),
        "apng": (image, "PNG", frames),
        "jpeg": (image, "JPEG", {"exif": exif}),
        "jpeg_progressive": (image, "JPEG", {"progressive": True}),
        "jpeg_cmyk": (image.convert("CMYK"), "JPEG", {}),
        "webp": (image, "WEBP", {}),
        "webp_animated": (image, "WEBP", frames),
        "gif": (image.convert("P"), "GIF", {}),
        "gif_animated": (image, "GIF", frames),
        "bmp": (image, "BMP", {}),
        "tiff": (image, "TIFF", {"compression": "tiff_lzw", "exif": exif}),
        "ppm": (image, "PPM", {}),
    }
    encoded = {}
    for name, (picture, encoding, options) in variants.items():
        stream = io.BytesIO()
        picture.save(stream, encoding, **options)
        encoded[name] = stream.getvalue()
    return encoded


ENCODED = encode()


def mutate(data: bytes, rng: random.Random) -> bytes:
    mutant = bytearray(data)
    # Half of the damage goes into the header, where the sizes and offsets are.
    reach = min(len(mutant), 200) if rng.random() < 0.5 else len(mutant)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(mutant[: rng.randrange(len(mutant) + 1)])
    if kind == 1:
        for _ in range(rng.choice([1, 1, 4, 32])):
            mutant[rng.randrange(reach)] ^= 1 << rng.randrange(8)
    elif kind == 2:
        start = rng.randrange(reach)
        mutant[start : start + 4] = rng.choice(
            [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff"]
        )
    elif kind == 3:
        start, length = rng.randrange(reach), rng.randrange(1, 40)
        del mutant[start : start + length]
    else:
        start = rng.randrange(reach)
        mutant[start:start] = rng.randbytes(rng.randrange(1, 40))
    return bytes(mutant)


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_a_damaged_file_is_one_row(tmp_path, name):
    rng = random.Random(name)
    path = tmp_path / "mutant"
    num_failed = 0
    for _ in range(NUM_MUTANTS):
        path.write_bytes(mutate(ENCODED[name], rng))
        loaded = load_image(path, max_image_px=4_000_000)
        assert set(loaded.flags) <= IMAGE_FLAGS
        if loaded.pixels is None:
            num_failed += 1
            assert loaded.error and "\n" not in loaded.error
            assert loaded.error_class in ALLOWED_CLASSES <= ERROR_CLASSES
        else:
            assert loaded.error is None and loaded.error_class is None
            assert loaded.pixels.shape[0] == 3 and loaded.pixels.dtype == torch.float32
            assert 0 <= loaded.pixels.min() and loaded.pixels.max() <= 1
    assert num_failed > 0  # the mutants do damage


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_the_undamaged_file_loads(tmp_path, name):
    path = tmp_path / "image"
    path.write_bytes(ENCODED[name])
    assert load_image(path).error is None


@pytest.mark.parametrize("name", sorted(ENCODED))
def test_a_file_cut_short_never_gives_other_pixels(tmp_path, name):
    path = tmp_path / "image"
    data = ENCODED[name]
    path.write_bytes(data)
    whole = load_image(path).pixels
    for length in range(1, len(data), len(data) // 40):
        path.write_bytes(data[:length])
        pixels = load_image(path).pixels
        # what comes after the first frame, such as an end mark, may be missing
        assert pixels is None or torch.equal(pixels, whole)
