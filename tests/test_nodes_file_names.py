"""Names of saved images: they carry scores, and none leaves the output folder."""

from __future__ import annotations

import math

import pytest

from eliq_nodes.file_names import image_prefix, record_prefix

ROW = {"visual_quality": 0.73149, "alignment": math.nan, "position": 4}


@pytest.mark.parametrize(
    ("typed", "image", "record"),
    [
        ("fox", "fox", "fox"),
        ("fox_%vq%", "fox_0.731", "fox"),
        ("%vq%_%al%_fox", "0.731_none_fox", "fox"),
        ("%index%", "004", "ELIQ"),
        ("a_%vq%_b", "a_0.731_b", "a_b"),
        ("day/%al%/fox-%index%", "day/none/fox-004", "day/none/fox"),
        ("fox_%batch_num%", "fox_4", "fox"),
        ("fox_%width%x%year%", "fox_%width%x%year%", "fox_%width%x%year%"),
        ("狐狸_%vq%", "狐狸_0.731", "狐狸"),
        ("", "ELIQ", "ELIQ"),
        (" . ", "ELIQ", "ELIQ"),
        ("out/", "out/ELIQ", "out/ELIQ"),
        ("what?*", "what__", "what__"),
        ("line\nbreak\x00", "line_break_", "line_break_"),
        ("half\ud83d", "half_", "half_"),
    ],
)
def test_tokens(typed, image, record):
    assert image_prefix(typed, **ROW) == image
    assert record_prefix(typed, **ROW) == record


def test_names_sort_as_scores_do():
    scores = [0.0, 0.05, 0.5, 0.999, 1.0]
    names = [image_prefix("%vq%", visual_quality=s, alignment=s, position=0) for s in scores]
    assert names == sorted(names)


def test_images_of_one_folder_share_a_record():
    rows = [{"visual_quality": s, "alignment": 1 - s, "position": i} for i, s in enumerate((0, 1))]
    assert len({record_prefix("a/%vq%_%al%_%index%", **row) for row in rows}) == 1


@pytest.mark.parametrize(
    "typed", ["../fox", "a/../../fox", "..", "/etc/fox", "\\\\host\\fox", "C:\\fox", "a\\..\\fox"]
)
def test_a_name_outside_the_output_folder_is_refused(typed):
    for of in (image_prefix, record_prefix):
        with pytest.raises(ValueError, match="filename_prefix: expected a name or folders below"):
            of(typed, **ROW)


def test_a_name_that_no_file_system_takes_is_refused():
    for typed in ("x" * 221, "狐" * 74, "x" * 221 + "/fox"):
        with pytest.raises(ValueError, match="at most 220 bytes"):
            image_prefix(typed, **ROW)
    assert image_prefix("x" * 220, **ROW)
