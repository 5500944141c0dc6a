"""Files and PIL images: exact pixels, a flag for what was changed, one row for what is damaged."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eliq.errors import ImageError
from eliq.images import describe_source, load_image, load_images
from tests.image_samples import assert_failed, expected, make_array, make_png

# --- pixels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".webp", ".ppm"])
def test_a_lossless_file_gives_its_exact_pixels(tmp_path, suffix):
    array = make_array()
    path = tmp_path / f"image{suffix}"
    Image.fromarray(array).save(path, **({"lossless": True} if suffix == ".webp" else {}))
    loaded = load_image(path)
    assert (loaded.error, loaded.error_class, loaded.flags) == (None, None, ())
    assert loaded.pixels.dtype == torch.float32 and loaded.pixels.is_contiguous()
    assert torch.equal(loaded.pixels, expected(array))
    assert torch.equal(load_image(str(path)).pixels, loaded.pixels)
    with Image.open(path) as image:
        assert torch.equal(load_image(image).pixels, loaded.pixels)


def test_every_byte_value_is_exactly_v_over_255():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert torch.equal(
        load_image(Image.fromarray(ramp)).pixels[0].flatten(), torch.arange(256) / 255
    )


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBX", "YCbCr", "HSV"])
def test_modes_that_convert_need_no_flag(mode):
    image = Image.fromarray(make_array()).convert(mode)
    loaded = load_image(image)
    assert loaded.flags == () and loaded.error is None
    assert torch.equal(loaded.pixels, expected(np.array(image.convert("RGB"))))


def test_cmyk_is_converted_and_flagged(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(make_array()).convert("CMYK").save(path)
    loaded = load_image(path)
    assert loaded.flags == ("cmyk_converted",)
    assert loaded.pixels.shape == (3, 24, 36)


def test_a_mode_without_conversion_is_a_failed_row(monkeypatch):
    def refuse(self, mode):
        raise ValueError("no")

    monkeypatch.setattr(Image.Image, "convert", refuse)
    assert_failed(load_image(Image.new("HSV", (16, 16))), "unsupported_mode", "HSV", "RGB")


@pytest.mark.parametrize("suffix", [".tiff", ".pfm", None])
def test_float_is_rejected(tmp_path, suffix):
    image = Image.fromarray(np.linspace(0, 4, 400, dtype=np.float32).reshape(20, 20))
    if suffix:
        image.save(tmp_path / f"image{suffix}")
        image = tmp_path / f"image{suffix}"
    loaded = load_image(image)
    assert_failed(loaded, "float_image", "white")
    assert loaded.flags == ("float_image_rejected",)


# --- 16 bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".tiff", None])
def test_grey_of_16_bits_is_rescaled_not_clipped(tmp_path, suffix):
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 164
    image = Image.fromarray(values)
    if suffix:
        image.save(tmp_path / f"image{suffix}")
        image = tmp_path / f"image{suffix}"
    loaded = load_image(image)
    assert loaded.flags == ("rescaled_16bit",)
    grey = torch.from_numpy(values.astype(np.float32)) / 65535
    assert torch.equal(loaded.pixels, grey.expand(3, -1, -1))


def test_colour_of_16_bits_keeps_its_brightness(tmp_path):
    values = np.linspace(0, 65535, 20 * 20 * 3).astype(np.uint16).reshape(20, 20, 3)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path = tmp_path / "image.png"
    path.write_bytes(make_png(20, 20, 16, 2, rows))
    loaded = load_image(path)
    assert loaded.flags == ("rescaled_16bit",)
    wanted = torch.from_numpy(values.astype(np.float32) / 65535).permute(2, 0, 1)
    assert (loaded.pixels - wanted).abs().max() < 1 / 255


def test_mode_i_is_read_by_its_depth():
    ramp = np.arange(400, dtype=np.int32).reshape(20, 20)
    deep = load_image(Image.fromarray(ramp * 160))
    assert deep.flags == ("rescaled_16bit",)
    assert deep.pixels.max().item() == pytest.approx(399 * 160 / 65535)
    shallow = load_image(Image.fromarray(make_array()).convert("L").convert("I"))
    assert shallow.flags == () and shallow.pixels.max() > 0.9
    assert_failed(load_image(Image.fromarray(ramp - 1)), "unsupported_mode", "-1 to 398")
    assert_failed(load_image(Image.fromarray(ramp * 1000)), "unsupported_mode")


def test_transparent_grey_of_16_bits_becomes_white(tmp_path):
    values = np.arange(400, dtype=np.uint16).reshape(20, 20) * 100
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    path = tmp_path / "image.png"
    path.write_bytes(make_png(20, 20, 16, 0, rows, trns=struct.pack(">H", 100)))
    loaded = load_image(path)
    assert set(loaded.flags) == {"rescaled_16bit", "alpha_composited"}
    assert loaded.pixels[:, 0, 1].tolist() == [1.0, 1.0, 1.0]
    assert loaded.pixels[0, 0, 2].item() == pytest.approx(200 / 65535)


# --- transparency ---------------------------------------------------------------------------


def test_transparency_is_composited_on_white():
    array = np.zeros((8, 8, 4), np.uint8)
    array[:4] = (255, 0, 0, 0)  # red that nobody sees
    array[4:] = (255, 0, 0, 51)  # a fifth of red
    loaded = load_image(Image.fromarray(array))
    assert loaded.flags == ("alpha_composited",)
    assert loaded.pixels[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert loaded.pixels[:, 7, 7].tolist() == pytest.approx([1.0, 0.8, 0.8])


def test_an_opaque_alpha_channel_changes_nothing():
    rgb = Image.fromarray(make_array())
    loaded = load_image(rgb.convert("RGBA"))
    assert loaded.flags == ()
    assert torch.equal(loaded.pixels, load_image(rgb).pixels)


@pytest.mark.parametrize("mode", ["LA", "PA", "La", "RGBa"])
def test_other_modes_with_alpha(mode):
    array = np.full((8, 8, 4), 100, np.uint8)
    array[:4, :, 3] = 0
    array[4:, :, 3] = 255
    image = Image.fromarray(array)
    image = image.convert("LA").convert(mode) if mode == "La" else image.convert(mode)
    loaded = load_image(image)
    assert loaded.flags == ("alpha_composited",)
    assert loaded.pixels[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert loaded.pixels[:, 7, 7].tolist() == pytest.approx([100 / 255] * 3)


@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_a_palette_with_transparency(tmp_path, suffix):
    image = Image.new("P", (16, 16), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (0, 0, 8, 16))
    path = tmp_path / f"image{suffix}"
    image.save(path, transparency=0)
    loaded = load_image(path)
    assert loaded.flags == ("alpha_composited",)
    assert loaded.pixels[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert loaded.pixels[:, 0, 15].tolist() == [0.0, 0.0, 1.0]


def test_a_transparent_colour_of_rgb(tmp_path):
    array = make_array()
    array[0, 0] = (1, 2, 3)
    Image.fromarray(array).save(tmp_path / "image.png", transparency=(1, 2, 3))
    loaded = load_image(tmp_path / "image.png")
    assert loaded.flags == ("alpha_composited",)
    assert loaded.pixels[:, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert torch.equal(loaded.pixels[:, 1:], expected(array)[:, 1:])


# --- frames and rotation --------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".tiff"])
def test_of_several_frames_the_first_is_scored(tmp_path, suffix):
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200)]
    frames = [Image.new("RGB", (20, 16), colour) for colour in colours]
    for frame in frames:
        frame.paste((0, 0, 0), (0, 0, 10, 8))
    path = tmp_path / f"image{suffix}"
    lossless = {"lossless": True} if suffix == ".webp" else {}
    frames[0].save(path, save_all=True, append_images=frames[1:], **lossless)
    loaded = load_image(path)
    assert loaded.flags == ("first_frame_only",)
    assert torch.equal(loaded.pixels, load_image(frames[0]).pixels)
    with Image.open(path) as image:
        assert load_image(image).flags == ("first_frame_only",)
        image.seek(2)  # the caller has chosen
        chosen = load_image(image)
        assert chosen.flags == () and image.tell() == 2
        assert chosen.pixels[:, 15, 19].argmax() == 2


def test_a_single_frame_loaded_before_needs_no_file(tmp_path):
    Image.fromarray(make_array()).convert("P").save(tmp_path / "image.gif")
    with Image.open(tmp_path / "image.gif") as image:
        image.load()
        inside = load_image(image)
    assert inside.error is None and inside.flags == ()
    assert torch.equal(load_image(image).pixels, inside.pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff"])
def test_the_rotation_in_the_metadata_is_applied(tmp_path, orientation, suffix):
    upright = Image.new("RGB", (32, 16), (10, 10, 10))
    upright.paste((250, 250, 250), (0, 0, 8, 8))  # a light corner at the top left
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image{suffix}"
    stored.save(path, exif=exif)
    loaded = load_image(path)
    assert loaded.flags == (("exif_rotated",) if orientation != 1 else ())
    assert loaded.pixels.shape == (3, 16, 32)
    assert loaded.pixels[0, 2, 2] > 0.9 and loaded.pixels[0, 13, 29] < 0.1
    with Image.open(path) as image:
        assert torch.equal(load_image(image).pixels, loaded.pixels)


def test_unreadable_exif_is_flagged_not_fatal(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(make_array()).save(path, exif=b"Exif\0\0MM\0\x2a\0\0\xff\xffgarbage")
    loaded = load_image(path)
    assert loaded.error is None and set(loaded.flags) <= {"exif_unreadable"}


# --- the rest -------------------------------------------------------------------------------


def test_a_constant_image_is_kept_and_flagged():
    for colour in [(0, 0, 0), (255, 255, 255), (10, 20, 30)]:
        loaded = load_image(Image.new("RGB", (16, 16), colour))
        assert loaded.flags == ("constant_image",) and loaded.pixels is not None
    almost = Image.new("RGB", (16, 16))
    almost.putpixel((15, 15), (0, 0, 1))
    assert load_image(almost).flags == ()


def test_a_list_keeps_its_order_and_goes_on_after_a_failure(tmp_path):
    image = Image.fromarray(make_array())
    loaded = load_images([image, tmp_path / "none.png", Path("/"), image])
    assert [row.error_class for row in loaded] == [None, "missing_file", "not_a_file", None]
    assert torch.equal(loaded[0].pixels, loaded[3].pixels)
    assert len(load_images(image)) == 1 and load_images([]) == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (None, "NoneType"),
        (7, "int"),
        (b"\x89PNG", "PIL.Image.open"),
        (np.zeros((8, 8, 3), np.uint8), "fromarray"),
        ({"image": 1}, "dict"),
        ((path for path in "ab"), "generator"),
    ],
)
def test_what_is_no_image_at_all_is_an_error(source, words):
    with pytest.raises(ImageError, match=words):
        load_image(source)
    with pytest.raises(ImageError, match=words):
        load_images(source)
    with pytest.raises(ImageError, match=r"images\[1\].*" + words):
        load_images([Image.new("RGB", (16, 16)), source])


def test_a_list_inside_a_list_is_an_error():
    with pytest.raises(ImageError, match=r"images\[0\].*list inside"):
        load_images([["a.png"]])


@pytest.mark.parametrize("limits", [{"max_image_px": 0}, {"max_aspect_ratio": 0.5}])
def test_limits_must_let_something_through(limits):
    with pytest.raises(ImageError, match=next(iter(limits))):
        load_image(Image.new("RGB", (16, 16)), **limits)


def test_a_source_is_described_in_one_printable_line():
    assert describe_source(Path("a/b.png")) == "a/b.png"
    assert describe_source("füchse.png") == "füchse.png"
    assert describe_source("a\n\x1b[31m\udc80.png") == "a\\n\\x1b[31m\\udc80.png"
    assert describe_source(Image.new("L", (20, 10))) == "PIL image L 20x10"
    assert describe_source(torch.zeros(3, 8, 9)) == "tensor float32 [3, 8, 9] on cpu"
    assert describe_source(7) == "int"
