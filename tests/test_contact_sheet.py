"""Contact sheets: in order, complete, inert whatever the prompts hold, and whole or not at all."""

from __future__ import annotations

import base64
import re

import pytest
from PIL import Image

from eliq.contact_sheet import SheetEntry, write_contact_sheet
from eliq.contact_sheet.png import draw_sheet
from eliq.contact_sheet.text import Lettering
from eliq.errors import ConfigError

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{note} {0} %s </style>",
    "红狐狸在雪中 🦊 ثعلب أحمر café ž",
    "\u202eright to left\u202c \x1b[31mred\x07 \x00 \udc80",
    "word" * 5000,
    "\U0010fffe\ufffe\u0301",
    "",
]


@pytest.fixture
def red_path(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (40, 20), (255, 0, 0)).save(path)
    return str(path)


def entries_of(path, prompts=HOSTILE):
    return [SheetEntry(path, prompt, 0.9 - 0.1 * i, 0.5) for i, prompt in enumerate(prompts)]


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_any_prompt_is_drawn(tmp_path, red_path, suffix):
    out = tmp_path / f"sheet{suffix}"
    write_contact_sheet(entries_of(red_path), out)
    assert out.stat().st_size > 1000
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_page_is_inert_and_offline(tmp_path, red_path):
    out = tmp_path / "sheet.html"
    entry = SheetEntry(red_path, HOSTILE[1], 0.5, 0.5, flags=("<k>",))
    failed = SheetEntry("<i>.png", None, None, None, error="<u>")
    write_contact_sheet([*entries_of(red_path), entry, failed], out, title="<t>", sorted_by="<s>")
    page = out.read_text(encoding="utf-8")
    known = set("html head meta title style body header h1 p main article div span i b img".split())
    assert set(re.findall(r"<([a-zA-Z]\w*)", page)) == known
    assert page.count("<img ") == len(HOSTILE) + 1
    assert all(source.startswith("data:image/jpeg;base64,") for source in _attributes(page, "src"))
    assert not re.search(r"<[^>\"]*\son\w+=", page)
    assert "http://" not in page and "https://" not in page
    assert "default-src 'none'" in page and "prefers-color-scheme: dark" in page
    assert "&lt;script&gt;alert(1)" in page
    assert not re.search("[\x00-\x08\x1b\u202e]", page)


def _attributes(page, name):
    return re.findall(rf'\s{name}="([^"]*)"', page)


def test_cells_keep_the_order_and_say_the_numbers(tmp_path, red_path):
    out = tmp_path / "sheet.html"
    write_contact_sheet(
        [SheetEntry(red_path, "first", 0.75, 0.5), SheetEntry(red_path, "second", 0.25, None)],
        out,
        sorted_by="visual quality",
    )
    page = out.read_text(encoding="utf-8")
    assert "2 images, best first, sorted by visual quality" in page
    assert page.index("first") < page.index("second")
    assert re.findall(r"<b>(.*?)</b>", page) == ["0.75", "0.50", "0.25", "–"]
    assert _attributes(page, "style") == ["width:75.0%", "width:50.0%", "width:25.0%", "width:0.0%"]
    thumbnail = base64.b64decode(_attributes(page, "src")[0].split(",")[1])
    assert thumbnail[:2] == b"\xff\xd8"


def test_the_picture_shows_thumbnails_and_bars(red_path):
    sheet = draw_sheet([(1, SheetEntry(red_path, "p", 1.0, 0.0))], title="t", note="n")
    colours = {colour: count for count, colour in sheet.getcolors(1 << 24)}
    assert colours[(255, 0, 0)] == 40 * 20  # small images are not enlarged
    assert colours[(37, 99, 195)] > 500  # a full bar of quality


def test_of_many_the_best_and_the_worst_are_shown(tmp_path, red_path):
    out = tmp_path / "sheet.html"
    many = [SheetEntry(red_path, f"number {i}", 0.5, 0.5) for i in range(1, 10)]
    write_contact_sheet(many, out, max_cells=5)
    page = out.read_text(encoding="utf-8")
    assert re.findall(r"number (\d)", page) == ["1", "2", "3", "8", "9"]
    assert re.findall(r'class="rank">(\d+)', page) == ["1", "2", "3", "8", "9"]
    assert "9 images" in page and "the 3 best and the 2 worst" in page


@pytest.mark.parametrize("suffix", [".png", ".html"])
def test_images_that_failed_or_vanished_keep_their_cell(tmp_path, suffix):
    out = tmp_path / f"sheet{suffix}"
    write_contact_sheet(
        [
            SheetEntry(str(tmp_path / "gone.png"), "p", 0.5, 0.5),
            SheetEntry("bad.png", None, None, None, ("no_prompt",), "not an image"),
        ],
        out,
    )
    assert out.exists()
    write_contact_sheet([], out)  # nothing scored is a sheet too


def test_a_failed_write_leaves_the_old_sheet(tmp_path, red_path, monkeypatch):
    out = tmp_path / "sheet.html"
    out.write_text("old")
    monkeypatch.setattr("os.replace", lambda *a: (_ for _ in ()).throw(OSError("disk")))
    with pytest.raises(OSError, match="disk"):
        write_contact_sheet(entries_of(red_path), out)
    assert out.read_text() == "old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("name", "cells"), [("sheet.pdf", None), ("sheet", None), ("s.png", 1)])
def test_wrong_requests_are_named(tmp_path, name, cells):
    with pytest.raises(ConfigError, match="expected"):
        write_contact_sheet([], tmp_path / name, max_cells=cells)


def test_wrapped_lines_fit_and_lose_only_what_the_ellipsis_stands_for():
    lettering = Lettering(14)
    text = "a red fox in fresh snow under a pale winter sun, seen from far away"
    lines = lettering.wrap(text, 160, 10)
    assert " ".join(lines) == text
    assert all(lettering.width(line) <= 160 for line in lines)
    short = lettering.wrap(text, 160, 2)
    assert len(short) == 2 and short[1].endswith("…") and lettering.width(short[1]) <= 160
    assert len(lettering.wrap("x" * 500, 160, 3)) == 3
    assert lettering.wrap("", 160, 3) == []
