"""Progress without a terminal: lines at the beginning and now and then."""

from __future__ import annotations

import logging

import pytest

from training import step_lines
from training.step_lines import StepLines


@pytest.fixture
def clock(monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="eliq")
    now = [0.0]
    monkeypatch.setattr(step_lines.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(step_lines.sys, "stderr", None)  # no terminal
    return now


def test_a_line_at_the_beginning_each_tenth_and_each_minute(clock, caplog):
    bar = StepLines("stage 1", 320)
    for _ in range(64):
        clock[0] += 1.0
        bar.update(1, loss="0.412")
    assert [r.getMessage() for r in caplog.records] == [
        "stage 1: 320 steps",
        "stage 1: 32 of 320 steps, loss 0.412, about 5 min left",
        "stage 1: 64 of 320 steps, loss 0.412, about 4 min left",
    ]
    clock[0] += 3600.0
    bar.update(1)
    assert caplog.records[-1].getMessage().endswith(" left") and len(caplog.records) == 4


def test_what_was_done_before_is_said_and_costs_no_time(clock, caplog):
    bar = StepLines("embedding", 100, unit="rows", done=40)
    clock[0] = 60.0
    bar.update(20)
    assert [r.getMessage() for r in caplog.records] == [
        "embedding: 100 rows, 40 done before",
        "embedding: 60 of 100 rows, about 2 min left",  # 20 rows a minute, 40 to go
    ]
    StepLines("stage 2", 9, done=9)
    assert caplog.records[-1].getMessage() == "stage 2: 9 steps, all done before"


def test_quick_or_quiet_work_says_no_more(clock, caplog):
    quick, quiet = StepLines("stage 2", 40), StepLines("stage 2", 40, shown=False)
    for _ in range(40):
        quick.update()
        quiet.update()
    assert len(caplog.records) == 1
