"""One command from an empty folder to a checkpoint that `eliq score` loads; its config."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from eliq import Scorer
from eliq.cli import main as eliq_main
from eliq.errors import ConfigError, EvaluationError, TrainingError
from training.run_all import SMOKE, main
from training.run_words import in_words
from training.smoke_pictures import write_smoke_pictures
from training.stage_settings import key_values, read_settings, stage_configs
from training.whole_run import RunConfig, run_all
from training.whole_run.checks import check_libraries
from training.whole_run.steps import _claim

RECIPES = sorted((Path(__file__).parents[1] / "training" / "runs").glob("*/config.json"))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_from_an_empty_folder_to_a_checkpoint_that_scores(tmp_path, capsys):
    pytest.importorskip("diffusers")
    out = tmp_path / "run"
    command = ["--smoke", "--quiet", "--device", "cpu", "--out", str(out)]
    assert main(command) == 0
    steps = json.loads(capsys.readouterr().out)["steps"]
    assert list(steps) == ["positives", "set", "critic", "evaluation"]
    assert steps["positives"]["num_images"] == 8
    assert steps["set"]["gate"] and steps["set"]["is_complete"]
    assert {"stage1", "stage2", "calibration"} <= set(steps["critic"])
    assert "ratings" in steps["evaluation"]["srcc"]
    assert (out / "evaluation" / "report.md").is_file()

    image = next((out / "positives").glob("tiny-sd/*.png"))
    score = ["score", str(image), "--prompt", "a fox", "--checkpoint", str(out / "critic")]
    assert eliq_main([*score, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert 0 < row["visual_quality"] < 1 and 0 < row["alignment"] < 1

    # The same command again makes nothing anew and ends with the very same critic.
    before = digests(out / "critic") | digests(out / "set") | digests(out / "positives")
    assert main(command) == 0
    again = json.loads(capsys.readouterr().out)["steps"]
    assert again["positives"]["num_made"] == again["set"]["num_made"] == 0
    assert digests(out / "critic") | digests(out / "set") | digests(out / "positives") == before


def test_from_a_folder_of_images(tmp_path):
    """No generator, no benchmark: distortions alone, and the evaluation says why it is missing."""
    data = {
        "images": str(write_smoke_pictures(tmp_path / "images")),
        "supervision": {"num_tuples": 8, "num_ladders": 4, "max_side_px": 96},
        "backbone": {"name": "tiny"},
        "held_out_share": 0.34,
    }
    out = tmp_path / "run"
    report = run_all(RunConfig.from_json(data), out, smoke=True, progress=False)
    steps = report["steps"]
    assert steps["set"]["num_tuples"] == 8 and not (out / "positives").exists()
    assert "no benchmark" in steps["evaluation"]["not_run"]
    said = "\n".join(in_words(steps))
    assert f"--checkpoint {out / 'critic'}" in said and "no benchmark" in said
    assert re.search(r"stage 2: best of \d+ steps is \d+; .*technical [01]\.\d{3}", said)
    assert json.loads((out / "run.json").read_text())["steps"].keys() == steps.keys()
    assert Scorer.from_pretrained(out / "critic", device="cpu", probe=False).head is not None


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_recipes_are_sound(path):
    config = RunConfig.from_json(json.loads(path.read_text(encoding="utf-8")))
    assert config.backbone.name.startswith("Qwen/Qwen3-VL")
    assert RunConfig.from_json(config.to_json()) == config
    stage1, _ = stage_configs(8_000_000_000, config.stage1, config.stage2)
    assert stage1.tuning in ("lora", "qlora")
    readme = (path.parent / "README.md").read_text(encoding="utf-8").lower()
    assert "estimated" in readme and "never run" in readme


def test_the_config_of_the_docs_is_sound():
    root = Path(__file__).parents[1]
    page = (root / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    assert blocks
    for block in blocks:
        RunConfig.from_json(json.loads(block))


def test_there_is_a_recipe_for_each_card():
    assert [path.parent.name for path in RECIPES] == ["24gb", "48gb", "80gb"]


def test_config_goes_to_and_from_json():
    for data in ({}, {"images": "here"}, SMOKE, {"negatives": None, "seed": 5}):
        config = RunConfig.from_json(data)
        assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert RunConfig.from_json({"images": "here"}).negatives is None
    assert RunConfig.from_json({"seed": 3}).positives.seed == 3


def test_negatives_are_of_the_positives_models():
    negatives = {"weak_models": ["tiny-flux"], "supervision": {"max_side_px": 96}}
    data = {"positives": {"models": ["tiny-sd"]}, "negatives": negatives}
    config = RunConfig.from_json(data)
    assert [model.name for model in config.negatives.models] == ["tiny-sd"]


def test_with_images_of_ones_own_the_recipes_models_draw_the_negatives():
    """Those that fit its card, and not the defaults."""
    data = {"positives": {"models": ["tiny-sd"]}, "negatives": {"weak_models": []}}
    config = RunConfig.from_json({**data, "images": "here"})
    assert [model.name for model in config.negatives.models] == ["tiny-sd"]
    del data["positives"]
    assert RunConfig.from_json({**data, "images": "here"}).negatives.models is None


def test_what_the_end_needs_is_asked_for_at_the_beginning(tmp_path, monkeypatch):
    images = str(write_smoke_pictures(tmp_path / "images"))
    data = {"images": images, "backbone": {"name": "tiny"}}
    out = tmp_path / "run"
    rated = {"evaluation": {"sets": {"csv": str(tmp_path / "none.csv")}}}
    with pytest.raises(EvaluationError, match="none.csv"):
        run_all(RunConfig.from_json({**data, **rated}), out, progress=False)
    monkeypatch.setattr("training.whole_run.checks.find_spec", lambda name: None)
    for more, said in (
        ({"stage1": {"tuning": "lora"}}, "peft.*train"),
        ({"backbone": {"name": "owner/model"}}, "peft.*train"),
        ({"negatives": {}}, "diffusers"),
    ):
        with pytest.raises(TrainingError, match=said):
            run_all(RunConfig.from_json({**data, **more}), out, progress=False)
    assert not out.exists()
    check_libraries(RunConfig.from_json(data))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"backbone": {"name": "Qwen/Qwen3-VL-8B-Instuct"}}, "backbone.name: .*Instuct"),
        ({"backbone": {"name": "HERE"}}, "backbone.name: expected config.json in the directory"),
        ({"positives": {"models": ["tiny-sd", "owner/sd"]}}, "positives: sd: .*model_index.json"),
        ({"negatives": {"weak_models": ["owner/old"]}}, "negatives: old: .*model_index.json"),
        ({"negatives": {"gate": {"scorer": "zero-shot:owner/vl"}}}, "gate.scorer: .*owner/vl"),
        ({"negatives": {"gate": {"scorer": "owner/critic"}}}, "gate.scorer: .*owner/critic"),
        ({"evaluation": {"zero_shot": "owner/vl"}}, "evaluation.zero_shot: .*owner/vl"),
    ],
)
def test_a_model_that_is_not_there_is_named_before_the_first_step(
    data, said, tmp_path, monkeypatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    text = json.dumps({**SMOKE, **data}).replace("HERE", str(tmp_path))
    config = RunConfig.from_json(json.loads(text))
    monkeypatch.setattr("training.whole_run.steps.check_libraries", lambda config: None)
    with pytest.raises(TrainingError, match=said):
        run_all(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_tiny_models_have_no_files_and_metrics_are_looked_for():
    from training.whole_run.model_checks import check_models

    check_models(RunConfig.from_json(SMOKE))  # tiny ones have no files
    with pytest.raises(EvaluationError, match="pyiqa"):
        check_models(RunConfig.from_json({**SMOKE, "evaluation": {"pyiqa": ["no_such_metric"]}}))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"stage3": {}}, "stage3"),
        ({"stage1": {"learning_rat": 1}}, "learning_rat"),
        ({"backbone": {"dtype": "int8"}}, "dtype"),
        ({"backbone": {"size": 1}}, "size"),
        ({"evaluation": {"sets": {"mine": "x"}}}, "agiqa_3k"),
        ({"held_out_share": 1.5}, "held_out_share"),
        ({"max_prompts": 1}, "max_prompts"),
        ({"negatives": "some"}, "negatives"),
        ({"positives": []}, "positives"),
        ({"supervision": {"num_tuples": 3}}, "negatives.supervision"),
    ],
)
def test_config_refuses(data, said):
    with pytest.raises(ConfigError, match=said):
        RunConfig.from_json(data)


def test_a_folder_belongs_to_one_config(tmp_path):
    _claim(RunConfig.from_json({}), tmp_path)
    _claim(RunConfig.from_json({"evaluation": {"sets": {"csv": "r.csv"}}}), tmp_path)  # may change
    with pytest.raises(TrainingError, match="held_out_share was 0.1 and is now 0.2"):
        _claim(RunConfig.from_json({"held_out_share": 0.2}), tmp_path)


def test_settings_from_files_and_words(tmp_path):
    path = tmp_path / "one.json"
    path.write_text('{"stage1": {"num_steps": 3}}')
    assert read_settings(path, ["stage1"]) == {"stage1": {"num_steps": 3}}
    with pytest.raises(ConfigError, match="unknown key 'stage1'"):
        read_settings(path, ["stage2"])
    path.write_text("{")
    with pytest.raises(ConfigError, match="JSON or TOML"):
        read_settings(path, ["stage1"])
    assert key_values(["a=1", "b=lora", "c=[1, 2]"]) == {"a": 1, "b": "lora", "c": [1, 2]}
    with pytest.raises(ConfigError, match="KEY=VALUE"):
        key_values(["a"])


def test_settings_from_toml(tmp_path):
    pytest.importorskip("tomllib", reason="the standard library has it from 3.11")
    path = tmp_path / "one.toml"
    path.write_text('seed = 4\n[backbone]\nname = "tiny"\n')
    config = RunConfig.from_json(read_settings(path, ["seed", "backbone"]))
    assert config.seed == 4 and config.backbone.name == "tiny"


def test_wrong_input_is_said_in_one_line(tmp_path, capsys):
    assert main([str(tmp_path / "none.json"), "--out", str(tmp_path / "run")]) == 2
    assert main([]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(line.startswith("error: ") for line in lines)
