"""Images that are not scored: one row with a closed class and one line in our own words."""

from __future__ import annotations

import os
import struct
import threading
import warnings

import pytest
from PIL import Image, ImageFile

from eliq.images import load_image, load_images
from tests.image_samples import assert_failed, make_array, make_png

# --- sizes ----------------------------------------------------------------------------------


def test_sizes_that_cannot_be_judged():
    assert_failed(load_image(Image.new("RGB", (1, 1))), "too_small", "1x1", "8 px")
    assert_failed(load_image(Image.new("RGB", (7, 64))), "too_small")
    assert_failed(load_image(Image.new("RGB", (0, 10))), "too_small")
    assert_failed(load_image(Image.new("RGB", (20_000, 20))), "extreme_aspect_ratio", "200")
    assert load_image(Image.new("RGB", (2_000, 10))).error is None
    assert_failed(
        load_image(Image.new("RGB", (64, 16)), max_aspect_ratio=3), "extreme_aspect_ratio"
    )
    assert_failed(load_image(Image.new("RGB", (64, 16)), max_image_px=1000), "too_many_pixels")


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    def fail(self):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    for side in (8_001, 13_000, 60_000):  # the last one is more than Pillow itself will open
        path = tmp_path / f"{side}.png"
        path.write_bytes(make_png(side, side, 8, 2, b""))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = load_image(path)
        assert_failed(loaded, "too_many_pixels")
        assert caught == []
    assert_failed(load_image(tmp_path / "8001.png"), "too_many_pixels", "8001x8001", "64000000")


# --- what is not an image -------------------------------------------------------------------


def test_paths_without_an_image(tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("I am a PNG, believe me")
    (tmp_path / "page.html").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (tmp_path / "post.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert_failed(load_image(tmp_path / "none.png"), "missing_file")
    assert_failed(load_image("https://example.org/a.png"), "missing_file", "not downloaded")
    assert_failed(load_image(tmp_path), "not_a_file", "directory")
    assert_failed(load_image(tmp_path / "empty.png"), "empty_file")
    assert_failed(load_image(""), "missing_file")
    for name in ("text.png", "page.html", "post.eps"):
        assert_failed(load_image(tmp_path / name), "not_an_image", "PNG")
    for name in ("a\0b.png", "x" * 5000, str(tmp_path / "loop")):
        assert_failed(load_image(name), "unreadable_file")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert_failed(load_image(tmp_path / "pipe"), "not_a_file", "regular")


def test_a_transparent_colour_of_16_bits_does_not_hide_its_neighbours(tmp_path):
    rows = b"".join(b"\0" + bytes([200, 200]) * 3 * 16 for _ in range(16))
    path = tmp_path / "image.png"
    path.write_bytes(make_png(16, 16, 16, 2, rows, trns=struct.pack(">HHH", 200, 200, 200)))
    loaded = load_image(path)
    assert loaded.flags == ("rescaled_16bit", "constant_image")
    assert loaded.pixels[0, 0, 0].item() == pytest.approx(200 / 255)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff"])
@pytest.mark.parametrize("is_tolerant", [False, True])
def test_a_file_cut_short_is_a_failed_row(tmp_path, suffix, is_tolerant, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", is_tolerant)
    path = tmp_path / f"image{suffix}"
    image = Image.fromarray(make_array(200, 200))
    image.save(path)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.95):
        path.write_bytes(whole[: int(len(whole) * share)])
        loaded = load_image(path)
        assert loaded.pixels is None
        assert loaded.error_class in {"damaged_image", "not_an_image"}
    assert ImageFile.LOAD_TRUNCATED_IMAGES is is_tolerant  # put back


def test_a_decoder_never_speaks_for_us(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(make_array()).save(path)
    path.write_bytes(path.read_bytes()[:-60])
    loaded = load_image(path)
    assert loaded.error == "the image is damaged or cut short"


def test_threads_leave_the_global_settings_as_they_were(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(make_array()).save(path)
    before = (list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES)
    results = []
    threads = [
        threading.Thread(target=lambda: results.extend(load_images([path] * 20))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 80 and all(loaded.error is None for loaded in results)
    assert (list(warnings.filters), ImageFile.LOAD_TRUNCATED_IMAGES) == before
