"""The estimate of hours and memory: what it must get right is arithmetic and order."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from eliq.errors import ConfigError
from training.estimate import BACKBONES, GPUS, estimate, main
from training.whole_run import RunConfig

RUNS = Path(__file__).parents[1] / "training" / "runs"
CARDS = {"24gb": ["rtx4090"], "48gb": ["l40s", "a6000"], "80gb": ["h100", "a100"]}


def recipe(name: str, **stage1: object) -> RunConfig:
    data = json.loads((RUNS / name / "config.json").read_text(encoding="utf-8"))
    data["stage1"] |= stage1
    return RunConfig.from_json(data)


@pytest.mark.parametrize("name", list(CARDS))
def test_every_recipe_fits_its_card_and_its_readme_says_what_is_printed(name):
    readme = (RUNS / name / "README.md").read_text(encoding="utf-8")
    numbers = set(re.findall(r"\d+\.\d+", readme))
    for gpu in CARDS[name]:
        found = estimate(recipe(name), gpu)
        assert found["fits"]
        said = {*found["hours"].values(), found["hours_in_all"], found["gib_in_all"]}
        assert {str(value) for value in said} <= numbers
        assert {str(value) for value in found["gib"].values()} <= numbers


def test_what_costs_more_is_said_to_cost_more():
    plain = estimate(recipe("80gb"), "h100")
    kept = estimate(recipe("80gb", gradient_checkpointing=False), "h100")
    assert kept["gib_in_all"] > plain["gib_in_all"]
    assert kept["hours"]["stage 1"] < plain["hours"]["stage 1"]
    assert estimate(recipe("80gb", lora_rank=16), "h100")["gib_in_all"] < plain["gib_in_all"]
    assert estimate(recipe("80gb", epochs=4.0), "h100")["stage1_steps"] == 900
    eight = estimate(recipe("80gb"), "h100", 8)
    assert eight["hours"]["positives"] == pytest.approx(plain["hours"]["positives"] / 8, abs=0.1)
    assert not estimate(recipe("80gb"), "rtx4090")["fits"]


def test_a_forward_by_hand():
    """8B at 512 px: the facts say 6.64 TFLOP for three questions; within 5 %."""
    sizes = BACKBONES["Qwen/Qwen3-VL-8B-Instruct"]
    flop = 2 * sizes.language * (256 + 14 + 137) + 2 * sizes.vision * 1024
    assert flop / 1e12 == pytest.approx(6.64, rel=0.05)
    assert sizes.total == pytest.approx(8.767e9, rel=0.001)


def test_refuses(capsys):
    with pytest.raises(ConfigError, match="rtx4090"):
        estimate(recipe("24gb"), "tpu")
    with pytest.raises(ConfigError, match="--num-gpus: expected 1"):
        estimate(recipe("24gb"), "h100", 0)
    with pytest.raises(ConfigError, match="Qwen3-VL-8B"):
        estimate(RunConfig.from_json({}), "h100")
    assert main([str(RUNS / "24gb" / "config.json"), "--gpu", "rtx4090", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["gib_in_all"] < GPUS["rtx4090"][1]
