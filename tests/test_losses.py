"""Losses against values computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from eliq.losses import (
    alignment_ranking_loss,
    instruction_tuning_loss,
    ladder_ranking_loss,
    overall_loss,
    visual_ranking_loss,
)


def test_eq_18_19_20_by_hand():
    positive = torch.tensor([2.0, 0.0])
    technical, aesthetic = torch.tensor([0.5, 0.5]), torch.tensor([1.5, -2.0])
    # Row 1: max(0, 1-2+.5) + max(0, 1-2+1.5) = 0 + .5; row 2: 1.5 + 0. Mean 1.0.
    visual = visual_ranking_loss(positive, technical, aesthetic)
    assert float(visual) == 1.0
    # max(0, 1-1+0) = 0 and max(0, 1-0+.5) = 1.5: mean .75.
    alignment = alignment_ranking_loss(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 0.5]))
    assert float(alignment) == 0.75
    assert float(overall_loss(visual, alignment)) == 1.75


def test_eq_5_by_hand():
    logits = torch.tensor([[0.0, 0.0, 0.0, 0.0], [5.0, 1.0, 2.0, 3.0]])
    # A uniform row costs log 4; the second is not supervised.
    loss = instruction_tuning_loss(logits, torch.tensor([2, -100]))
    assert float(loss) == pytest.approx(math.log(4))
    none = instruction_tuning_loss(logits.requires_grad_(), torch.tensor([-100, -100]))
    none.backward()
    assert float(none.detach()) == 0 and float(logits.grad.abs().sum()) == 0


def test_ladder_by_hand():
    # Gaps 1.0, 0.1, 0.5 against a step of 0.3: only the second costs, 0.2 / 3; total 1.6 >= 1.
    loss = ladder_ranking_loss(torch.tensor([2.0]), torch.tensor([[1.0, 0.9, 0.4]]))
    assert float(loss) == pytest.approx(0.2 / 3, abs=1e-6)
    # Reversed: all gaps cost, and the end is 1.6 above the start.
    worse = ladder_ranking_loss(torch.tensor([0.4]), torch.tensor([[0.9, 1.0, 2.0]]))
    assert float(worse) == pytest.approx((0.8 + 0.4 + 1.3) / 3 + 2.6, abs=1e-5)


def test_shorter_ladders_are_padded_with_nan():
    whole = ladder_ranking_loss(torch.tensor([1.0]), torch.tensor([[0.8, 0.7]]))
    steps = torch.tensor([[0.8, 0.7, float("nan")]], requires_grad=True)
    padded = ladder_ranking_loss(torch.tensor([1.0]), steps)
    padded.backward()
    assert float(padded.detach()) == pytest.approx(float(whole))
    assert torch.isfinite(steps.grad).all() and float(steps.grad[0, 2]) == 0


def test_ladders_without_steps_cost_nothing_and_hide_nothing():
    nan = float("nan")
    steps = torch.tensor([[nan, nan], [0.8, 0.7]], requires_grad=True)
    positive = torch.tensor([1.0, 1.0], requires_grad=True)
    loss = ladder_ranking_loss(positive, steps)
    loss.backward()
    alone = ladder_ranking_loss(positive[1:], steps[1:])
    assert float(loss.detach()) == pytest.approx(float(alone.detach()) / 2)
    assert torch.isfinite(steps.grad).all() and torch.isfinite(positive.grad).all()
    assert float(ladder_ranking_loss(torch.ones(3), torch.ones(3, 0))) == 0
    assert math.isnan(ladder_ranking_loss(torch.tensor([nan]), torch.tensor([[nan]])))


def test_a_margin_that_holds_costs_nothing():
    positive = torch.tensor([10.0])
    assert float(visual_ranking_loss(positive, positive - 1, positive - 1)) == 0
    assert float(ladder_ranking_loss(positive, torch.tensor([[9.0, 8.0]]))) == 0
