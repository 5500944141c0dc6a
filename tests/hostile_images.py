"""Image files made to break a reader: bombs, lies in headers, odd modes, slow decodes, wrong kinds.

Each function takes a `random.Random` and gives the bytes of one file. `CRAFTED` holds those that
cost a reader little; `HEAVY` those that cost memory or time, of which a set needs only a few.
Nothing here is from elsewhere: every file is put together from its format's description.
"""

from __future__ import annotations

import functools
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, features

from tests.image_samples import make_png, png_chunk

__all__ = ["CRAFTED", "HEAVY", "picture", "save"]

Maker = Callable[[random.Random], bytes]
_PNG = b"\x89PNG\r\n\x1a\n"
_SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)> ' \" & \u202e evil"


def picture(rng: random.Random, width: int = 48, height: int = 40) -> Image.Image:
    """A small picture in RGB that is not one colour."""
    smooth = np.add.outer(np.arange(height), np.arange(width)) * 2
    noise = np.random.default_rng(rng.randrange(1 << 30)).integers(0, 256, smooth.shape)
    return Image.fromarray(np.stack([smooth, smooth[::-1], noise], axis=2).astype(np.uint8))


def save(image: Image.Image, encoding: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, encoding, **options)
    return stream.getvalue()


def png_with(rng: random.Random, *chunks: bytes) -> bytes:
    """A good PNG with chunks put before its pixels."""
    whole = save(picture(rng), "PNG")
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(chunks) + whole[at:]


def text_chunk(key: str, text: str) -> bytes:
    return png_chunk(b"tEXt", key.encode() + b"\0" + text.encode("latin-1", "replace"))


@functools.lru_cache
def zipped_rows(row: bytes, count: int) -> bytes:
    """Many equal rows, compressed without ever lying in memory as a whole."""
    packer, parts = zlib.compressobj(9), []
    for _ in range(count // 500):
        parts.append(packer.compress(row * 500))
    parts += [packer.compress(row * (count % 500)), packer.flush()]
    return b"".join(parts)


def large_png(width: int, height: int, depth: int, colour: int, channels: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    row = b"\0" + b"\x5a" * ((width * depth * channels + 7) // 8)
    pixels = png_chunk(b"IDAT", zipped_rows(row, height))
    return _PNG + png_chunk(b"IHDR", header) + pixels + png_chunk(b"IEND", b"")


def sized(width: int, height: int) -> Maker:
    return lambda rng: make_png(width, height, 8, 2, b"")


def in_mode(mode: str, encoding: str, **options) -> Maker:
    def make(rng: random.Random) -> bytes:
        image = picture(rng)
        if mode in ("PA", "La", "LA"):
            image = image.convert("LA" if mode != "PA" else "PA")
        elif mode == "F":
            image = Image.fromarray(np.asarray(image)[:, :, 0].astype(np.float32) / 255)
        elif mode.startswith("I"):
            values = np.asarray(image)[:, :, 0].astype(np.uint16 if mode == "I;16" else np.int32)
            image = Image.fromarray(values * 257)
        else:
            image = image.convert(mode)
            image.info.pop("icc_profile", None)  # that of LAB has the time in it
        return save(image, encoding, **options)

    return make


def rotated(orientation: int, encoding: str) -> Maker:
    def make(rng: random.Random) -> bytes:
        exif = Image.Exif()
        exif[0x0112] = orientation
        return save(picture(rng), encoding, exif=exif)

    return make


def frames(encoding: str, count: int) -> Maker:
    def make(rng: random.Random) -> bytes:
        small = [picture(rng, 16, 16) for _ in range(4)]
        rest = [small[i % 4] for i in range(1, count)]
        return save(small[0], encoding, save_all=True, append_images=rest)

    return make


def many_frames(rng: random.Random) -> bytes:
    """A GIF of 20,000 frames, each the same bytes; making them with Pillow takes minutes."""
    whole = save(picture(rng, 16, 16).convert("P"), "GIF", duration=20)
    start = whole.index(b"!\xf9")
    return whole[:start] + whole[start:-1] * 20_000 + whole[-1:]


def polyglot(rng: random.Random) -> bytes:
    """A picture in front, a zip archive behind, a page in a comment."""
    tail = io.BytesIO()
    with zipfile.ZipFile(tail, "w") as archive:
        archive.writestr(zipfile.ZipInfo("index.html"), _SCRIPT)  # without the time
    gif = save(picture(rng).convert("P"), "GIF", comment=_SCRIPT.encode("utf-8"))
    return gif + tail.getvalue()


def deep_json(rng: random.Random) -> bytes:
    depth = 100_000
    return png_with(rng, text_chunk("prompt", "[" * depth + "]" * depth))


def looped_tiff(rng: random.Random) -> bytes:
    """A TIFF whose directory names itself as the next one."""
    whole = bytearray(save(picture(rng), "TIFF"))
    first = struct.unpack_from("<I", whole, 4)[0]
    entries = struct.unpack_from("<H", whole, first)[0]
    struct.pack_into("<I", whole, first + 2 + 12 * entries, first)
    return bytes(whole)


def deflate_bomb_tiff(rng: random.Random) -> bytes:
    """A small TIFF that calls itself 40,000 px wide."""
    whole = bytearray(save(picture(rng), "TIFF", compression="tiff_lzw"))
    first = struct.unpack_from("<I", whole, 4)[0]
    for entry in range(struct.unpack_from("<H", whole, first)[0]):
        at = first + 2 + 12 * entry
        if struct.unpack_from("<H", whole, at)[0] in (256, 257):  # width, length
            struct.pack_into("<HII", whole, at + 2, 4, 1, 40_000)
    return bytes(whole)


def scans(side: int, copies: int) -> Maker:
    """A progressive JPEG whose last scan comes again and again: each one is a whole pass."""

    def make(rng: random.Random) -> bytes:
        whole = save(Image.new("L", (side, side), 90), "JPEG", progressive=True)
        last = whole.rindex(b"\xff\xda")
        return whole[:-2] + whole[last:-2] * copies + whole[-2:]

    return make


def ascii_ppm(rng: random.Random) -> bytes:
    return b"P3\n2600 2600\n255\n" + b"7 " * (2600 * 2600 * 3)


def page(text: str) -> Maker:
    return lambda rng: text.encode()


CRAFTED: dict[str, Maker] = {
    "zero_bytes": lambda rng: b"",
    "one_byte": lambda rng: bytes([rng.randrange(256)]),
    "noise": lambda rng: rng.randbytes(rng.randrange(1, 5000)),
    "magic_and_noise": lambda rng: (
        rng.choice([_PNG, b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\xff\xff\xff\x7fWEBP", b"II*\0"])
        + rng.randbytes(rng.randrange(1, 3000))
    ),
    "huge_header": sized(60_000, 60_000),
    "largest_header": sized(0x7FFFFFFF, 0x7FFFFFFF),
    "over_the_cap": sized(8001, 8001),
    "no_width": sized(0, 10),
    "one_pixel": lambda rng: save(Image.new("RGB", (1, 1)), "PNG"),
    "too_small": lambda rng: save(Image.new("RGB", (7, 64)), "PNG"),
    "ribbon": lambda rng: save(Image.new("L", (9, 2000)), "PNG"),
    "ribbon_that_passes": lambda rng: save(picture(rng, 1600, 8), "PNG"),
    "header_without_pixels": sized(512, 512),
    "black": lambda rng: save(Image.new("RGB", (64, 64)), "PNG"),
    "bomb_in_a_small_file": lambda rng: large_png(13_000, 13_000, 1, 0, 1),
    "text_bomb": lambda rng: png_with(
        rng, png_chunk(b"zTXt", b"parameters\0\0" + zipped_rows(b"A" * 1000, 100_000))
    ),
    "international_text_bomb": lambda rng: png_with(
        rng, png_chunk(b"iTXt", b"prompt\0\1\0\0\0" + zipped_rows(b"[" * 1000, 100_000))
    ),
    "profile_bomb": lambda rng: png_with(
        rng, png_chunk(b"iCCP", b"icc\0\0" + zipped_rows(b"\0" * 1000, 100_000))
    ),
    "long_text": lambda rng: png_with(rng, text_chunk("parameters", "word " * 1_000_000)),
    "many_chunks": lambda rng: png_with(rng, *[text_chunk("a", "b")] * 50_000),
    "deep_json": deep_json,
    "long_number": lambda rng: png_with(rng, text_chunk("prompt", '{"1": ' + "9" * 90_000 + "}")),
    "graph_in_a_circle": lambda rng: png_with(
        rng,
        text_chunk(
            "prompt",
            json.dumps(
                {
                    "1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0]}},
                    "2": {"class_type": "CLIPTextEncode", "inputs": {"text": ["2", 0]}},
                }
            ),
        ),
    ),
    "graph_of_wrong_types": lambda rng: png_with(
        rng, text_chunk("prompt", json.dumps({"1": [], "2": {"inputs": 5, "class_type": None}}))
    ),
    "script_in_text": lambda rng: png_with(
        rng, text_chunk("parameters", f"{_SCRIPT}\nNegative prompt: x\nSteps: 20, Sampler: a")
    ),
    "end_of_line_in_text": lambda rng: png_with(rng, text_chunk("parameters", "a\0b\r\n\x1b[31m")),
    "wrong_checksum": lambda rng: save(picture(rng), "PNG").replace(b"IDAT", b"IDAU"),
    "exif_of_noise": lambda rng: save(picture(rng), "JPEG", exif=b"Exif\0\0" + rng.randbytes(900)),
    "palette_alpha": in_mode("P", "PNG", transparency=3),
    "palette_and_alpha": lambda rng: save(
        picture(rng).convert("P"), "PNG", transparency=bytes(range(256))
    ),
    "rgba": in_mode("RGBA", "PNG"),
    "grey_alpha": in_mode("LA", "PNG"),
    "one_bit": in_mode("1", "PNG"),
    "grey_16": in_mode("I;16", "PNG"),
    "tiff_16": in_mode("I;16", "TIFF"),
    "tiff_32": in_mode("I", "TIFF"),
    "tiff_float": in_mode("F", "TIFF"),
    "tiff_lab": in_mode("LAB", "TIFF"),
    "tiff_cmyk": in_mode("CMYK", "TIFF"),
    "tiff_ycbcr": in_mode("YCbCr", "TIFF"),
    "jpeg_cmyk": in_mode("CMYK", "JPEG"),
    "tiff_loop": looped_tiff,
    "tiff_liar": deflate_bomb_tiff,
    "apng": frames("PNG", 5),
    "webp_animated": frames("WEBP", 5),
    "gif_animated": frames("GIF", 40),
    "polyglot": polyglot,
    "jpeg_with_a_page": lambda rng: save(picture(rng), "JPEG", comment=_SCRIPT.encode()),
    "svg": page(f"<svg xmlns='http://www.w3.org/2000/svg'>{_SCRIPT}</svg>"),
    "html": page(f"<!doctype html>{_SCRIPT}"),
    "xml_bomb": page('<!DOCTYPE a [<!ENTITY b "bb">]>' + "<svg>&b;</svg>"),
    "text": page("not a picture\n"),
    "pdf": page("%PDF-1.7\n1 0 obj << /Type /Catalog >> endobj"),
    "eps": page("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(touch x) system"),
    "program": lambda rng: b"\x7fELF" + rng.randbytes(500),
    "ico": lambda rng: save(picture(rng, 32, 32), "ICO"),
    "tga": lambda rng: save(picture(rng), "TGA"),
    "pfm": lambda rng: b"Pf\n8 8\n-1.0\n" + struct.pack("<64f", *[float("nan")] * 64),
    "ppm_without_end": lambda rng: b"P6\n#" + b"a" * 300_000,
    "ppm_16": lambda rng: b"P6\n20 20\n65535\n" + rng.randbytes(2400),
    "bmp_upside_down": lambda rng: (lambda bmp: bmp[:22] + struct.pack("<i", -40) + bmp[26:])(
        save(picture(rng), "BMP")
    ),
    **{f"turned_{i}_{kind}": rotated(i, kind) for i in (0, 3, 6, 9) for kind in ("JPEG", "PNG")},
}
if features.check("avif"):
    CRAFTED["avif"] = lambda rng: save(picture(rng), "AVIF")
if features.check("jpg_2000"):
    CRAFTED["jpeg_2000"] = lambda rng: save(picture(rng), "JPEG2000")

HEAVY: dict[str, Maker] = {
    "just_under_the_cap": lambda rng: large_png(7990, 7990, 8, 2, 3),
    "deep_just_under_the_cap": lambda rng: large_png(7990, 7990, 16, 0, 1),
    "clear_just_under_the_cap": lambda rng: large_png(7990, 7990, 8, 6, 4),
    "many_frames": many_frames,
    "many_scans": scans(4000, 3000),
    "slow_text_pixels": ascii_ppm,
}
