"""training.field_types: a setting of a wrong type is refused when it is given, not after a day."""

from __future__ import annotations

import pytest

from eliq.errors import ConfigError
from eliq.supervision import SupervisionConfig
from training.evaluation import EvaluationConfig
from training.stage1_config import Stage1Config
from training.stage2_config import Stage2Config
from training.stage_settings import key_values
from training.whole_run import RunConfig


def test_the_word_false_on_the_command_line_is_not_true():
    """KEY=VALUE takes JSON; Python's False is a word there, and words count as true."""
    with pytest.raises(ConfigError, match="stage1.lora_vision: expected true or false, found 'Fal"):
        Stage1Config.from_json(key_values(["lora_vision=False"]))
    with pytest.raises(ConfigError, match="stage2.mask_visual_query: expected true or false"):
        Stage2Config.from_json(key_values(["mask_visual_query=False"]))
    assert Stage1Config.from_json(key_values(["lora_vision=false"])).lora_vision is False


def test_sizes_that_no_head_has_are_refused_before_stage_1():
    with pytest.raises(ConfigError, match="multiple of head.num_heads"):
        Stage2Config.from_json({"num_heads": 7})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"held_out_share": "a"}, "held_out_share: expected a number, found 'a'"),
        ({"max_prompts": "4"}, "max_prompts: expected a whole number or null"),
        ({"images": 5}, "images: expected text or null"),
        ({"num_workers": -1}, "num_workers: expected 0 or more"),
        ({"num_workers": True}, "num_workers: expected a whole number"),
        ({"stage1": 5}, "stage1: expected an object"),
        ({"stage1": {"num_steps": 1.5}}, "stage1.num_steps: expected a whole number"),
        ({"stage1": {"learning_rate": "1e-4"}}, "stage1.learning_rate: expected a number"),
        ({"stage1": {"weight_decay": float("inf")}}, "stage1.weight_decay: expected a number"),
        ({"stage1": {"lora_alpha": "8"}}, "stage1.lora_alpha: expected a number or null"),
        ({"stage2": {"model_dim": "512"}}, "stage2.model_dim: expected a whole number"),
        ({"stage2": {"visual_prompts": "own"}}, "stage2.visual_prompts: expected a list"),
        ({"backbone": {"max_pixels": "big"}}, "backbone.max_pixels: expected a whole number"),
        ({"evaluation": {"pyiqa": "niqe"}}, "evaluation.pyiqa: expected a list, each text"),
        ({"evaluation": {"sets": {"csv": 5}}}, "evaluation.sets: expected names"),
        ({"evaluation": {"settings": 5}}, "evaluation.settings: expected an object"),
        ({"evaluation": {"settings": {"seed": -1}}}, "evaluation: expected seed"),
        ({"images": "x", "supervision": {"num_tuples": "a"}}, "num_tuples must be a whole"),
        ({"images": "x", "supervision": {"held_out": "no"}}, "held_out must be true or false"),
        ({"images": "x", "supervision": {"severities": 5}}, "supervision: a value of a wrong type"),
        ({"negatives": {"supervision": {"variant_share": "1"}}}, "a value of a wrong type"),
    ],
)
def test_a_config_names_the_value_that_it_refuses(data, message):
    with pytest.raises(ConfigError, match=message) as caught:
        RunConfig.from_json(data)
    assert "\n" not in str(caught.value)


def test_what_may_stand_there_stands():
    config = RunConfig.from_json(
        {
            "images": "x",
            "negatives": None,
            "stage1": {"lora_alpha": 8, "weight_decay": 0, "adamw_learning_rate": None},
            "stage2": {"visual_prompts": ["own", "none"], "margin": 2},
            "evaluation": {"pyiqa": ["niqe"], "settings": {"split": "test", "confidence": 0.9}},
            "supervision": {"severities": [1, 5]},
        }
    )
    assert RunConfig.from_json(config.to_json()) == config
    assert EvaluationConfig.from_json({"max_images": None}).max_images is None
    assert SupervisionConfig.from_json({"severities": [1, 5]}).severities == (1, 5)
