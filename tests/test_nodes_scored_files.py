"""What ELIQ Save Scored Image writes: pixels, PNG text, lines of JSON."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image

from eliq_nodes.scored_files import append_line, png_text, to_pil

RECORD = {
    "prompt": "ein Fuchs, 狐狸 \U0001f98a",
    "scores": {"visual_quality": 0.5, "alignment": None},
}


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_saving_what_was_loaded_gives_the_same_bytes(channels, mode, tmp_path):
    """Cutting off instead of rounding would darken a third of all values by one step."""
    values = torch.arange(256, dtype=torch.uint8).view(16, 16, 1).expand(16, 16, channels)
    image = to_pil(values.float() / 255.0)
    image.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as loaded:
        assert loaded.mode == mode
        assert loaded.tobytes() == values.contiguous().numpy().tobytes()


def test_values_outside_are_clipped():
    image = torch.tensor([-1.0, 2.0, float("nan"), float("inf")]).view(2, 2, 1)
    assert list(to_pil(image.half()).tobytes()) == [0, 255, 0, 255]


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 2), (1, 4, 4, 3)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="expected \\[H,W,C\\]"):
        to_pil(torch.zeros(shape))


def test_png_text_holds_record_and_workflow(tmp_path):
    path = tmp_path / "a.png"
    workflow = {"nodes": [], "title": "工作流"}
    to_pil(torch.zeros(4, 4, 3)).save(path, pnginfo=png_text(RECORD, {"workflow": workflow}))
    with Image.open(path) as image:
        assert json.loads(image.text["eliq"]) == RECORD
        assert json.loads(image.text["workflow"]) == workflow


def test_lines_are_appended(tmp_path):
    path = tmp_path / "fox_scores.jsonl"
    for number in range(3):
        append_line(path, {"number": number, **RECORD})
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert [row["number"] for row in rows] == [0, 1, 2]
    assert "狐狸" in path.read_text(encoding="utf-8"), "a person can read it"


def test_a_line_that_was_cut_off_spoils_no_other(tmp_path):
    path = tmp_path / "fox_scores.jsonl"
    path.write_text('{"number": 0, "pro')
    append_line(path, RECORD)
    assert json.loads(path.read_text(encoding="utf-8").splitlines()[1]) == RECORD


def test_half_a_character_in_a_prompt(tmp_path):
    append_line(tmp_path / "a.jsonl", {"prompt": "fox \ud83d \\"})
    line = (tmp_path / "a.jsonl").read_bytes()
    assert json.loads(line) == {"prompt": "fox \ud83d \\"}


def test_nan_is_refused_not_written(tmp_path):
    path = tmp_path / "a.jsonl"
    with pytest.raises(ValueError):
        append_line(path, {"score": float("nan")})
    assert not path.exists()
