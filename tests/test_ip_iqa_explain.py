"""Attention maps as pictures: heat lies on the known cell, words are found, errors are said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eliq import ConfigError, ImageError, PromptError
from eliq.cli import main
from eliq.ip_iqa import explain, to_model_pixels
from eliq.ip_iqa.explain_picture import WHOLE_PROMPT, WordMap, draw_strip, draw_word
from eliq.ip_iqa.heat import HeatScale, colour_bar, heat_over, heat_scale
from eliq.ip_iqa.words import find_words, prompt_words
from tests.tiny import image
from tests.tiny_ip_iqa_doors import look_at, tiny_ip_iqa

GRID = 4  # 128 px over the stride of 32
PROMPT = "a red fox in Snow, fox-hole"


def explainer(*, at: tuple[int, int] | None = None, **changes):
    scorer = tiny_ip_iqa(image_size_px=32 * GRID, **changes)
    if at is not None:
        look_at(scorer.model, *at)
    return scorer


@pytest.fixture(scope="module")
def scorer():
    return explainer()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A model that looks at row 2, column 1, whatever it is asked."""
    folder = tmp_path_factory.mktemp("explain") / "model"
    return explainer(at=(2, 1)).save_pretrained(folder)


@pytest.fixture
def picture_path(tmp_path) -> Path:
    path = tmp_path / "Füchse 1.png"
    Image.fromarray(np.full((90, 160, 3), 128, np.uint8)).save(path)
    return path


def texts(words):
    return [word.text for word in words]


def test_words_of_a_prompt():
    assert texts(prompt_words(PROMPT)) == ["a", "red", "fox", "in", "Snow", "fox-hole"]
    assert texts(prompt_words("A fox, a FOX and Fox's")) == ["A", "fox", "and", "Fox's"]
    assert texts(prompt_words("雪の中、赤い狐 🦊!")) == ["雪の中", "赤い狐", "🦊"]
    assert texts(prompt_words("-'- ... ")) == [] == prompt_words("")
    for prompt in (PROMPT, "हिन्दी में लोमड़ी", "ثعلب أحمر", "émigré café"):
        for word in prompt_words(prompt):
            assert prompt[word.start : word.end] == word.text
    assert texts(prompt_words("हिन्दी में लोमड़ी")) == ["हिन्दी", "में", "लोमड़ी"]


@pytest.mark.parametrize(
    ("prompt", "wanted", "found"),
    [
        (PROMPT, "fox", "fox"),
        (PROMPT, " FOX ", "fox"),
        (PROMPT, "snow", "Snow"),
        (PROMPT, "red fox", "red fox"),
        ("a foxy fox", "fox", "fox"),
        ("赤い狐", "狐", "狐"),
        ("Straße am Meer", "STRASSE", "Straße"),
        ("a cafe\u0301".replace("e\u0301", "é"), "cafe\u0301", "café"),
        ("İstanbul by night", "night", "night"),
    ],
)
def test_a_word_is_found_where_it_stands(prompt, wanted, found):
    word = find_words(prompt, wanted)
    assert word.text == found == prompt[word.start : word.end]
    if prompt == "a foxy fox":
        assert word.start == 7


@pytest.mark.parametrize("wanted", ["cat", "fo", "ox", "snows", "", "  ", "red  fox in"])
def test_a_word_that_is_not_there_is_refused(wanted):
    with pytest.raises(PromptError) as error:
        find_words(PROMPT, wanted)
    message = str(error.value)
    assert "\n" not in message and (not wanted.strip() or "red" in message)


def test_maps_are_those_of_the_pooling_itself(scorer):
    pixels = image(60, 100, seed=2)
    found = explain(scorer, pixels, PROMPT)
    assert found.whole.word == WHOLE_PROMPT
    assert texts_of(found) == ["a", "red", "fox", "in", "Snow", "fox-hole"]
    assert texts_of(explain(scorer, pixels, PROMPT, words="red fox")) == ["red fox"]
    rounded = (pixels * 255).round() / 255
    batch = to_model_pixels(rounded, 32 * GRID)
    for word_map, text in ((found.whole, PROMPT), (found.words[2], "fox")):
        with torch.no_grad():
            expected = scorer.model.attention(batch, scorer.encoder([text]).ids)
        torch.testing.assert_close(word_map.cells, expected.map[0] * GRID**2, rtol=1e-3, atol=1e-3)
        assert word_map.global_share == pytest.approx(float(expected.global_share[0]), abs=1e-4)
        assert float(word_map.cells.mean()) == pytest.approx(1.0, abs=1e-4)
    row = scorer.score(pixels, PROMPT)[0]
    assert found.visual_quality == pytest.approx(row["visual_quality"], abs=1e-4)
    assert found.alignment == pytest.approx(row["alignment"], abs=1e-4)


def texts_of(found):
    return [word_map.word for word_map in found.words]


@pytest.mark.parametrize("cell", [(0, 0), (2, 1), (3, 3), (1, 2)])
def test_a_constructed_attention_is_drawn_on_its_cell(cell):
    found = explain(explainer(at=cell), image(90, 160), PROMPT, words=["fox"])
    (word_map,) = found.words
    assert word_map.peak == cell == found.whole.peak
    assert word_map.peak_ratio == pytest.approx(GRID**2, rel=1e-3)  # all on one of 16 cells
    grey = Image.new("RGB", (160, 90), (128, 128, 128))
    heat = np.asarray(heat_over(grey, word_map.cells, heat_scale([word_map.cells])), float)
    assert heat.shape == (90, 160, 3)
    assert brightest_cell(heat) == cell


def brightest_cell(pixels: np.ndarray) -> tuple[int, int]:
    """Row and column of the cell whose middle is brightest."""
    height, width = pixels.shape[:2]
    ys = [round((row + 0.5) * height / GRID) for row in range(GRID)]
    xs = [round((column + 0.5) * width / GRID) for column in range(GRID)]
    brightness = pixels[np.ix_(ys, xs)].sum(axis=2)
    return divmod(int(brightness.argmax()), GRID)


def test_more_attention_is_lighter_and_colours_are_those_of_the_legend():
    bar = np.asarray(colour_bar(64, 3), float).sum(axis=2)
    assert (np.diff(bar[0]) > 0).all()
    ramp = torch.linspace(0, 3, GRID * GRID).view(GRID, GRID)
    heat = np.asarray(
        heat_over(Image.new("RGB", (64, 64), (90, 90, 90)), ramp, HeatScale(0, 3)), float
    )
    middles = heat[8::16, 8::16].sum(axis=2).ravel()
    assert (np.diff(middles) > 0).all()


def test_a_map_without_contrast_is_drawn_in_the_middle_colour():
    flat = WordMap("fog", 0, 3, 1 + 0.01 * torch.randn(GRID, GRID).clamp(-1, 1), 0.5)
    assert flat.is_flat and heat_scale([flat.cells]) == pytest.approx((0.85, 1.15))
    grey = Image.new("RGB", (64, 64), (128, 128, 128))
    heat = np.asarray(heat_over(grey, flat.cells, heat_scale([flat.cells])), float)
    assert heat.std(axis=(0, 1)).max() < 10  # of 255: no pattern where there is none


@pytest.mark.parametrize(
    ("maps", "low", "top"),
    [
        ([[[1.0, 1.0], [1.0, 1.0]], [[1.0, 1.0], [1.0, 5.0]]], 0.0, 5.0),  # one for all
        ([[[0.7, 1.1], [1.1, 1.1]]], 0.7, 1.3),
        ([[[0.8, 1.4], [0.9, 0.9]]], 0.6, 1.4),
        ([[[0.0, 2.0], [1.0, 1.0]]], 0.0, 2.0),
        ([[[1.0, 1.0], [1.0, 1.0]]], 0.85, 1.15),
    ],
)
def test_maps_side_by_side_share_one_scale_with_even_in_its_middle(maps, low, top):
    scale = heat_scale([torch.tensor(one) for one in maps])
    assert scale == pytest.approx((low, top))


def test_the_pictures_hold_the_image_and_the_heat():
    source = np.zeros((90, 160, 3), np.uint8)
    source[:, :80] = (250, 0, 0)
    cells = torch.zeros(GRID, GRID)
    cells[0, 3] = GRID**2
    word_map = WordMap("fox", 6, 9, cells, 0.25)
    drawn = np.asarray(draw_word(Image.fromarray(source), word_map, prompt=PROMPT, note="n"), float)
    red = (drawn[..., 0] > 240) & (drawn[..., 1] < 12) & (drawn[..., 2] < 12)
    ys, xs = np.nonzero(red)
    assert 0.9 < (xs.max() - xs.min() + 1) / 224 < 1.1  # half of 448 px
    top, left = ys.min(), xs.min()
    panel = drawn[top : top + 252, left + 448 + 16 : left + 2 * 448 + 16]
    assert brightest_cell(panel) == (0, 3)
    strip = draw_strip(Image.fromarray(source), [word_map] * 9, prompt=PROMPT)
    assert strip.width <= 6 * 224 + 48 and strip.height > 2 * 117


@pytest.mark.parametrize(
    "prompt", ["雪の中の狐 🦊", "ثعلب أحمر في الثلج", "x" * 400, "wide " * 200, "a\u0301 b", "<b>&"]
)
@pytest.mark.parametrize("size", [(1, 60), (60, 1), (9, 7), (700, 30)])
def test_any_prompt_and_any_shape_is_drawn(prompt, size):
    words = prompt_words(prompt) or [find_words("x", "x")]
    maps = [WordMap(w.text, w.start, w.end, torch.ones(3, 3), 0.1) for w in words[:3]]
    source = Image.new("RGB", size, (10, 200, 30))
    assert draw_word(source, maps[0], prompt=prompt, note="z" * 300).width <= 1000
    assert draw_strip(source, maps, prompt=prompt).width >= 208


def test_what_cannot_be_explained_is_refused(scorer, tiny_scorer, tmp_path):
    pixels = image(64, 64)
    with pytest.raises(ConfigError, match="IP-IQA"):
        explain(tiny_scorer, pixels, PROMPT)
    with pytest.raises(ConfigError, match="fusion"):
        explain(explainer(fusion=False), pixels, PROMPT)
    with pytest.raises(PromptError, match="expected a prompt"):
        explain(scorer, pixels, " \u200b ")
    with pytest.raises(PromptError, match="red"):
        explain(scorer, pixels, PROMPT, words=["cat"])
    with pytest.raises(ImageError, match="none.png"):
        explain(scorer, tmp_path / "none.png", PROMPT)


def test_words_beyond_what_is_read(scorer):
    prompt = "fox " * 18 + "owl"  # bytes are tokens: 74 are read
    found = explain(scorer, image(64, 64), prompt)
    assert texts_of(found) == ["fox"] and found.unread == ("owl",)
    with pytest.raises(PromptError, match="beyond its 74 tokens"):
        explain(scorer, image(64, 64), prompt, words=["owl"])


def run(capsys, *argv):
    code = main(["explain", *(str(word) for word in argv)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_the_command_writes_pictures_and_numbers(directory, picture_path, tmp_path, capsys):
    out_dir = tmp_path / "new" / "maps"
    options = ["--prompt", "赤い fox, <b>", "-c", directory, "--out", out_dir]
    code, out, err = run(capsys, picture_path, *options, "-w", "fox", "-w", "赤い", "--json")
    assert code == 0 and err.count("\n") == 1 and str(out_dir / "Füchse_1_words.png") in err
    assert run(capsys, picture_path, *options, "-w", "fox", "--quiet")[2] == ""
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["word"] for row in rows] == [WHOLE_PROMPT, "fox", "赤い"]
    for row in rows:
        assert (row["x"], row["y"]) == (1.5 / GRID, 2.5 / GRID) and not row["is_flat"]
        assert len(row["cells"]) == GRID and Path(row["path"]).is_file()
    names = sorted(path.name for path in out_dir.iterdir())
    assert names == sorted(
        ["Füchse 1_words.png".replace(" ", "_"), "Füchse_1_00_the_whole_prompt.png",
         "Füchse_1_01_fox.png", "Füchse_1_02_赤い.png"]
    )  # fmt: skip
    drawn = np.asarray(Image.open(rows[1]["path"]).convert("RGB"), float)
    grey = np.abs(drawn - 128).max(axis=2) < 2  # the image is one grey: its panel is found by it
    ys, xs = np.nonzero(grey)
    top, left, height = ys.min(), xs.min(), 252
    panel = drawn[top : top + height, left + 448 + 16 : left + 2 * 448 + 16]
    assert brightest_cell(panel) == (2, 1)


def test_without_a_word_all_of_them_are_in_the_strip(directory, picture_path, tmp_path, capsys):
    code, out, _ = run(capsys, picture_path, "-p", PROMPT, "-c", directory, "-o", tmp_path / "m")
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert code == 0 and names == ["Füchse_1_00_the_whole_prompt.png", "Füchse_1_words.png"]
    rows = [json.loads(line) for line in out.splitlines()]  # no terminal: JSON, as everywhere
    assert [row["word"] for row in rows][1:] == ["a", "red", "fox", "in", "Snow", "fox-hole"]


def test_a_person_gets_one_line_a_word(directory, picture_path, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "100")
    code, out, err = run(capsys, picture_path, "-p", PROMPT, "-c", directory, "-o", tmp_path / "m")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 8, out  # headings, the whole prompt, six words
    assert "Füchse_1_00_the_whole_prompt.png" in lines[1] and lines[4].startswith("fox ")
    assert "png" not in "".join(lines[2:]) and str(tmp_path / "m" / "Füchse_1_words.png") in err


def test_mistakes_are_said_in_one_line(
    directory, picture_path, tmp_path, tiny_checkpoint_dir, capsys
):
    base = [picture_path, "-p", PROMPT, "-o", tmp_path / "m"]
    for more, word, expected in (
        (["-c", directory, "-w", "cat"], "its words are a, red, fox", 1),
        (["-c", tiny_checkpoint_dir], "label-free critic", 1),
        (["-c", tmp_path / "nowhere"], "nowhere", 1),
        ([], "checkpoint", 2),
    ):
        code, out, err = run(capsys, *base, *more)
        assert code == expected and out == "" and word in err and err.count("\n") == 1, err
    code, out, err = run(capsys, tmp_path / "no.png", "-p", "a", "-c", directory, "-o", tmp_path)
    assert code == 1 and "no.png" in err
    (tmp_path / "file").write_text("")
    code, out, err = run(
        capsys, picture_path, "-p", PROMPT, "-c", directory, "-o", tmp_path / "file"
    )
    assert code == 1 and "file" in err and err.count("\n") == 1
    assert not (tmp_path / "m").exists()  # nothing is left of a refused call
