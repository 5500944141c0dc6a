"""Arrays and files that the tests of images are made of."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import torch

from eliq.images import ERROR_CLASSES, IMAGE_FLAGS


def make_array(height: int = 24, width: int = 36, channels: int = 3) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)


def expected(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.astype(np.float32) / np.float32(255)).permute(2, 0, 1)


def assert_failed(loaded, error_class: str, *words: str) -> None:
    assert loaded.pixels is None
    assert loaded.error_class == error_class and error_class in ERROR_CLASSES
    assert "\n" not in loaded.error
    for word in words:
        assert word in loaded.error
    assert set(loaded.flags) <= IMAGE_FLAGS


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def make_png(width: int, height: int, depth: int, colour: int, rows: bytes, *, trns=b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + (png_chunk(b"tRNS", trns) if trns else b"")
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )
