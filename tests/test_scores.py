"""The result type: rows, nulls, placing scored rows among failed ones."""

from __future__ import annotations

import json
import math

import pytest
import torch

from eliq.errors import EliqError
from eliq.scores import ASPECT_NAMES, SCORE_NAMES, Scores


def make_scores(values: list[float]) -> Scores:
    column = torch.tensor(values, dtype=torch.float32)
    return Scores(
        visual_quality=column,
        alignment=column / 2,
        aspects={name: column.clone() for name in ASPECT_NAMES},
        raw={name: column * 10 for name in SCORE_NAMES},
        flags=[[f"flag_{value}"] for value in values],
        errors=[None] * len(values),
        error_classes=[None] * len(values),
    )


def test_row_is_json_ready():
    row = make_scores([0.5, 0.25])[1]
    assert row == {
        "visual_quality": 0.25,
        "alignment": 0.125,
        "aspects": {"technical": 0.25, "aesthetic": 0.25, "alignment": 0.25},
        "raw": {"visual_quality": 2.5, "alignment": 2.5},
        "flags": ["flag_0.25"],
        "status": "ok",
        "error": None,
        "error_class": None,
    }
    assert json.loads(json.dumps(row, allow_nan=False)) == row


def test_nan_is_null_and_a_failure_is_told():
    rows = Scores.empty_rows(2, errors=["a reason", None], error_classes=["missing_file", None])
    first, second = rows.to_rows()
    assert first["visual_quality"] is None and first["aspects"]["technical"] is None
    assert (first["status"], first["error"]) == ("failed", "a reason")
    assert second["status"] == "ok"
    json.dumps(rows.to_rows(), allow_nan=False)


def test_scatter_places_rows_and_leaves_the_others():
    canvas = Scores.empty_rows(
        4, flags=[["lost"]] * 4, errors=["x"] * 4, error_classes=["corrupt"] * 4
    )
    placed = canvas.scatter([3, 1], make_scores([0.75, 0.25]))
    assert placed.visual_quality[[3, 1]].tolist() == [0.75, 0.25]
    assert placed.visual_quality[[0, 2]].isnan().all()
    assert placed.errors == ["x", None, "x", None]
    assert placed.flags == [["lost"], ["flag_0.25"], ["lost"], ["flag_0.75"]]
    assert canvas.visual_quality.isnan().all()  # the canvas is not changed


@pytest.mark.parametrize("positions", [[0], [0, 0], [0, 9], [-1, 0]])
def test_scatter_refuses_wrong_positions(positions):
    with pytest.raises(EliqError, match="positions"):
        Scores.empty_rows(3).scatter(positions, make_scores([0.5, 0.5]))


def test_concatenate_then_select_is_the_identity():
    whole = make_scores([0.1, 0.2, 0.3])
    parts = [whole.select([0]), Scores.empty_rows(0), whole.select([1, 2])]
    assert Scores.concatenate(parts).to_rows() == whole.to_rows()
    assert whole.select([2, 0]).to_rows() == [whole[2], whole[0]]
    assert len(Scores.concatenate([])) == 0


def test_iteration_length_and_negative_index():
    scores = make_scores([0.5, 0.25])
    assert len(list(scores)) == len(scores) == 2
    assert scores[-1] == scores[1]
    with pytest.raises(IndexError):
        scores[2]


def test_empty_rows_do_not_share_their_flags():
    rows = Scores.empty_rows(2)
    rows.flags[0].append("one")
    assert rows.flags == [["one"], []]


def test_parts_must_match():
    good = make_scores([0.5])
    with pytest.raises(EliqError, match="rows"):
        Scores(good.visual_quality, good.alignment, good.aspects, good.raw, [], [None], [None])
    with pytest.raises(EliqError, match="aspects"):
        Scores(good.visual_quality, good.alignment, {}, good.raw, [[]], [None], [None])
    with pytest.raises(EliqError, match="float32"):
        Scores(good.visual_quality.double(), *list(vars(good).values())[1:])
    assert math.isclose(good[0]["alignment"], 0.25)
