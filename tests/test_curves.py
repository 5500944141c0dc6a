"""The log of a run tolerates a torn line, forgets the steps taken again, and can be drawn."""

from __future__ import annotations

import pytest

from training.curves import CurveLog


def test_a_torn_last_line_costs_that_row_only(tmp_path):
    log = CurveLog(tmp_path)
    log.append(1, loss=2.0)
    with open(log.path, "a") as file:
        file.write('{"step": 2, "los')
    assert log.rows() == [{"step": 1, "loss": 2.0}]
    log.append(3, loss=float("nan"))
    assert [row["step"] for row in log.rows()] == [1, 3]
    assert log.rows()[1]["loss"] is None


def test_truncate_drops_what_a_resumed_run_takes_again(tmp_path):
    log = CurveLog(tmp_path)
    for step in range(5):
        log.append(step, loss=float(step))
    log.truncate(2)
    assert [row["step"] for row in log.rows()] == [0, 1, 2]


def test_curves_are_drawn_as_a_png(tmp_path):
    pytest.importorskip("matplotlib")
    log = CurveLog(tmp_path)
    for step in range(60):
        log.append(step, loss=1.0 / (step + 1), ladder_loss=0.1)
        if step % 20 == 0:
            log.append(step, validation={"technical": 0.5 + step / 200, "loss": 0.5})
    picture = log.draw("a run")
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
