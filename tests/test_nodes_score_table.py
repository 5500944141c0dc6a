"""The record on an ELIQ_SCORES link."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from eliq.scores import Scores
from eliq_nodes.score_table import ScoreTable

NAN = math.nan


def table(size: int = 3) -> ScoreTable:
    return ScoreTable(
        visual_quality=(0.9, NAN, 0.25)[:size],
        alignment=(0.5, NAN, NAN)[:size],
        prompts=("a fox", "a fox", "")[:size],
        aspects={"technical": (0.1, NAN, 0.3)[:size]},
        flags=((), ("nonfinite_input",), ("no_prompt",))[:size],
        errors=(None, "it has NaN", None)[:size],
        critic="embedded",
        critic_fingerprint="ab",
    )


def test_rows_are_json_and_what_is_missing_is_null():
    rows = json.loads(json.dumps(table().to_json(), allow_nan=False))
    assert [row["visual_quality"] for row in rows] == [0.9, None, 0.25]
    assert [row["alignment"] for row in rows] == [0.5, None, None]
    assert [row["status"] for row in rows] == ["ok", "failed", "ok"]
    assert rows[2]["flags"] == ["no_prompt"] and rows[0]["prompt"] == "a fox"
    assert {row["critic_fingerprint"] for row in rows} == {"ab"}


def test_taking_keeps_rows_whole_and_in_the_order_asked():
    taken = table().take([2, 0, 2])
    assert taken.to_json() == [table().record(i) for i in (2, 0, 2)]
    assert len(taken) == 3 and len(table().take([])) == 0
    assert taken.take(range(3)).to_json() == taken.to_json()


@pytest.mark.parametrize("index", [3, -1])
def test_no_such_row(index):
    with pytest.raises(IndexError, match="rows? "):
        table().take([index])
    with pytest.raises(IndexError, match="row"):
        table().record(index)


def test_it_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        table().critic = "another"


def test_parts_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="as many entries in every part"):
        ScoreTable((0.5,), (0.5, 0.5), ("",))
    with pytest.raises(ValueError, match="as many entries"):
        dataclasses.replace(table(), aspects={"technical": (0.1,)})


def test_it_holds_what_the_scorer_said():
    scores = Scores.empty_rows(2, flags=[["no_prompt"], []], errors=[None, "why"])
    scores.visual_quality[0] = 0.75
    scores.raw["alignment"][1] = -2.0
    made = ScoreTable.from_scores(scores, [None, "x"], critic="c", critic_fingerprint=None)
    assert made.visual_quality[0] == 0.75 and math.isnan(made.visual_quality[1])
    assert made.raw["alignment"][1] == -2.0 and set(made.aspects) == set(scores.aspects)
    assert made.prompts == ("", "x") and made.flags == (("no_prompt",), ())
    assert made.errors == (None, "why") and made.critic == "c"
