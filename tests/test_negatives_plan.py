"""The plan of generated negatives: a function of positives and settings, fair to the prompts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from eliq.errors import ConfigError, SupervisionError
from eliq.supervision import GENERATED_KINDS, bare_prompt
from training.negatives import GateConfig, NegativesConfig, Positive, plan_jobs
from training.negatives.plan import read_positive_images, read_variants
from training.negatives.wordings import (
    DEGRADED_LOOKS,
    DEGRADED_PROMPTS,
    EDIT_INSTRUCTIONS,
    degrade,
)
from training.smoke_pictures import write_smoke_pictures

ALL = dict.fromkeys(GENERATED_KINDS, 1.0)
CONFIG = NegativesConfig(models=("tiny-sd", "tiny-flux"), editor="tiny-edit", shares=ALL)


def positives(number: int = 40) -> list[Positive]:
    colours, things = ("red", "blue", "green", "white"), ("cup", "car", "dog", "chair", "clock")
    prompts = [
        f"a {c} {t} on a table number {n}" for n in range(2) for c in colours for t in things
    ]
    models = ("tiny-sd", "tiny-flux", "")
    return [
        Positive(f"{n:03d}.png", f"x/{n:03d}.png", prompt, models[n % 3])
        for n, prompt in enumerate(prompts[:number])
    ]


def test_the_same_plan_whatever_the_order():
    plan = plan_jobs(positives(), CONFIG)
    assert plan == plan_jobs(positives(), CONFIG)
    turned = {job.negative_id: job for job in plan_jobs(positives()[::-1], CONFIG)}
    shared = [job for job in plan if job.kind != "prompt_variant"]
    assert all(turned[job.negative_id] == job for job in shared)
    assert len({job.negative_id for job in plan}) == len(plan)
    other = plan_jobs(positives(), NegativesConfig(**{**vars(CONFIG), "seed": 1}))
    assert not {job.negative_id for job in plan} & {job.negative_id for job in other}


def test_one_of_each_kind_and_the_positive_s_own_model():
    plan = plan_jobs(positives(), CONFIG)
    for kind in GENERATED_KINDS:
        jobs = [job for job in plan if job.kind == kind]
        assert len(jobs) == 40 or kind == "prompt_variant"
        names = {job.positive.name for job in jobs}
        assert len(names) == len(jobs), "one a positive"
        for job in jobs:
            if kind == "instruction_edit":
                assert job.model == "tiny-edit" and job.generation_prompt in EDIT_INSTRUCTIONS
            elif kind == "weak_generator":
                assert job.model.startswith("stable-diffusion-v1-")
            else:
                assert job.model == (job.positive.model or job.model)
    weak = {job.model for job in plan if job.kind == "weak_generator"}
    assert len(weak) == 3


def test_shares_are_shares():
    half = NegativesConfig(models=("tiny-sd",), shares={"degraded_look": 0.5})
    plan = plan_jobs(positives(), half)
    assert {job.kind for job in plan} == {"degraded_look"} and 10 <= len(plan) <= 30
    more = NegativesConfig(models=("tiny-sd",), shares={"degraded_look": 0.8})
    ids = {job.negative_id for job in plan_jobs(positives(), more)}
    assert {job.negative_id for job in plan} < ids, "a larger share keeps what there is"


def test_kinds_without_a_model_are_left_out():
    none = NegativesConfig(models=("tiny-sd",), weak_models=(), shares=ALL)
    kinds = {job.kind for job in plan_jobs(positives(), none)}
    assert kinds == set(GENERATED_KINDS) - {"weak_generator", "instruction_edit"}


def test_variants_are_wrong_in_one_thing_and_never_another_prompt_of_the_set():
    plan = [job for job in plan_jobs(positives(), CONFIG) if job.kind == "prompt_variant"]
    assert len(plan) >= 15
    texts = {bare_prompt(one.prompt) for one in positives()}
    for job in plan:
        assert job.change in ("object", "colour", "count", "relation", "background")
        assert bare_prompt(job.generation_prompt) not in texts
    owners: dict[str, str] = {}
    for job in plan:
        bare = bare_prompt(job.generation_prompt)
        assert owners.setdefault(bare, job.positive.prompt) == job.positive.prompt


def test_variants_of_a_list_come_first(tmp_path):
    path = tmp_path / "variants.jsonl"
    rows = [{"prompt": "A red cup on a table number 0.", "variant": f"a cup {n}"} for n in "ab"]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plan = plan_jobs(positives(), CONFIG, read_variants(path))
    told = {j.positive.prompt: j for j in plan if j.kind == "prompt_variant"}
    job = told.pop("a red cup on a table number 0")
    assert job.generation_prompt in ("a cup a", "a cup b") and job.change == "listed"
    assert "listed" not in {other.change for other in told.values()}
    for bad in ({"prompt": "a cup"}, {"prompt": "a cup", "variant": "A cup."}):
        path.write_text(json.dumps(bad) + "\n")
        with pytest.raises(SupervisionError, match="row 1"):
            read_variants(path)
    with pytest.raises(SupervisionError, match="no such list"):
        read_variants(tmp_path / "none.jsonl")


def test_early_decodes_are_worse_the_earlier():
    plan = [job for job in plan_jobs(positives(), CONFIG) if job.kind == "early_decode"]
    assert {(job.fraction, round(job.severity, 6)) for job in plan} == {
        (0.2, 4.0), (0.3, 3.0), (0.4, 2.0)
    }  # fmt: skip
    assert all(job.generation_prompt == job.positive.prompt for job in plan)


def test_wordings_keep_the_prompt_whole():
    rng = np.random.default_rng(0)
    for wordings in (DEGRADED_PROMPTS, DEGRADED_LOOKS):
        assert len(set(wordings)) == len(wordings) == 8
        assert all(text.count("{prompt}") == 1 for text in wordings)
        said = degrade("a {strange} cup, on a table.", wordings, rng)
        assert "a {strange} cup, on a table" in said and "{prompt}" not in said


def test_models_are_read_from_the_list_of_positives(tmp_path):
    write_smoke_pictures(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    rows[0]["model"] = "tiny-sd"
    rows[1]["prompt"] = ""
    (tmp_path / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_positive_images(tmp_path)
    assert len(found) == 5 and found[0].model == "tiny-sd" and found[1].model == ""


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shares": {"noise": 1}}, "unknown kind 'noise'"),
        ({"shares": {"early_decode": 2}}, "early_decode"),
        ({"models": "tiny-sd"}, "expected a list"),
        ({"models": ["tiny-sd", "tiny-sd"]}, "'tiny-sd' twice"),
        ({"early_fractions": [0]}, "early_fractions"),
        ({"gate": {"scorer": ""}}, "gate.scorer"),
        ({"gate": {"min_margin": "wide"}}, "gate.min_margin"),
        ({"gate": {"margin": 1}}, "unknown key 'margin'"),
        ({"max_tries": 0}, "max_tries"),
        ({"step": 1}, "unknown key 'step'"),
        ({"supervision": {"max_side_px": 768}}, "stable-diffusion-v1-1: expected images of 768"),
        ({"supervision": {"codec": "gif"}}, "codec"),
    ],
)
def test_wrong_settings_are_named(settings, said):
    with pytest.raises(ConfigError, match=said):
        NegativesConfig.from_json(settings)


def test_settings_go_to_json_and_back():
    for config in (NegativesConfig(), CONFIG):
        again = NegativesConfig.from_json(json.loads(json.dumps(config.to_json())))
        assert again == config
    assert NegativesConfig().models is None
    assert [one.name for one in NegativesConfig().generators] == [
        "qwen-image", "flux.1-dev", "stable-diffusion-3.5-large"
    ]  # fmt: skip
    assert NegativesConfig.from_json({"supervision": {"seed": 4}}).supervision.seed == 4
    assert GateConfig.from_json({"min_margin": 1}).min_margin == 1
