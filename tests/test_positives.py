"""Positives: one image a model and prompt, whatever the kills, shards and order; never mixed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eliq.diffusion import read_record, regenerate
from eliq.errors import ConfigError, TrainingError
from eliq.supervision import SupervisionConfig, build_supervision
from eliq.supervision.sources import read_sources
from tests.fake_pipeline import FakePipeline
from tests.tiny_pipelines import TINY_PIPELINES
from training.make_positives import main
from training.positives import (
    DEFAULT_MODELS,
    ModelSettings,
    PositivesConfig,
    Shard,
    image_seed,
    make_positives,
    model_settings,
    read_positives,
)
from training.prompts import Prompt

ROOT = Path(__file__).resolve().parents[1]
PROMPTS = [
    Prompt.from_json({"id": f"p{number}", "prompt": text})
    for number, text in enumerate(
        ("a red fox in snow", "a man in a kitchen", "two lemons", "a street", "a violin")
    )
]
TINY = PositivesConfig(models=("tiny-sd", "tiny-flux"), seed=7)
FAKE = PositivesConfig(models=(ModelSettings("one"), ModelSettings("two")))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file but the parts, of which each process has its own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.parent.name != "parts"
    }


def make(out: Path, config: PositivesConfig = FAKE, prompts=PROMPTS, **more):
    more.setdefault("load", lambda settings, device: FakePipeline())
    more.setdefault("shard", Shard())
    return make_positives(prompts, out, config, progress=False, **more)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("tiny")
    report = make_positives(PROMPTS, out, TINY, shard=Shard(), progress=False)
    assert (report.num_images, report.num_made, report.num_expected) == (10, 10, 10)
    assert report.is_complete and not report.left_out and not report.stopped
    return out


def test_an_image_of_each_model_for_each_prompt(tiny):
    rows = read_positives(tiny)
    assert [(row["model"], row["prompt_id"]) for row in rows] == [
        (model, prompt.prompt_id) for model in ("tiny-flux", "tiny-sd") for prompt in PROMPTS
    ]
    texts = {prompt.prompt_id: prompt.text for prompt in PROMPTS}
    for row in rows:
        assert row["prompt"] == texts[row["prompt_id"]]
        assert row["seed"] == image_seed(7, row["model"], row["prompt"])
        assert Image.open(tiny / row["path"]).size == (96, 96) and row["size"] == [96, 96]
    assert len({row["seed"] for row in rows}) == len(rows)


def test_the_record_in_the_file_makes_the_image_again(tiny):
    from training.tiny_pipelines import tiny_pipeline

    row = read_positives(tiny)[2]
    record = read_record(tiny / row["path"])
    assert record["prompt_id"] == row["prompt_id"] and record["seed"] == row["seed"]
    again = regenerate(tiny_pipeline(row["model"]), record)
    assert np.array_equal(np.asarray(again), np.asarray(Image.open(tiny / row["path"])))


def test_build_supervision_reads_them(tiny, tmp_path):
    assert len(read_sources(tiny)) == 10
    config = SupervisionConfig(num_tuples=4, num_ladders=1, max_side_px=96)
    report = build_supervision(tiny, tmp_path, config)
    assert (report.num_tuples, report.num_ladders, report.skipped) == (4, 1, [])


def test_processes_share_the_work_and_change_nothing(tmp_path):
    make(tmp_path / "one")
    for rank in (2, 0, 1):
        report = make(tmp_path / "three", shard=Shard(rank, 3))
    assert report.is_complete and report.num_made == 4  # two prompts, two models
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    # A run that other processes began is finished by one alone.
    make(tmp_path / "begun", shard=Shard(1, 3))
    assert make(tmp_path / "begun").num_images == 10
    assert contents(tmp_path / "begun") == contents(tmp_path / "one")


class Killed(BaseException):
    """What no code catches."""


@pytest.mark.parametrize("fails_at", range(5))
def test_stopped_anywhere_it_ends_the_same_and_does_nothing_twice(tmp_path, fails_at):
    make(tmp_path / "whole")
    dying = FakePipeline(fails_at=fails_at, fails=Killed())
    with pytest.raises(Killed):
        make(tmp_path / "dead", load=lambda *_: dying)
    with open(tmp_path / "dead" / "parts" / "00000.jsonl", "ab") as file:
        file.write(b'{"path": "torn')
    (tmp_path / "dead" / "one").mkdir(exist_ok=True)
    (tmp_path / "dead" / "one" / f".p{fails_at}.png.12.partial").write_bytes(b"half")
    pipes = []

    def load(settings, device):
        pipes.append(FakePipeline())
        return pipes[-1]

    report = make(tmp_path / "dead", load=load)
    assert sum(len(pipe.calls) for pipe in pipes) == 10 - fails_at == report.num_made
    assert contents(tmp_path / "dead") == contents(tmp_path / "whole")
    assert make(tmp_path / "dead", load=lambda *_: pytest.fail("loaded for nothing")).is_complete


def test_a_lost_image_is_made_again(tmp_path):
    make(tmp_path)
    before = contents(tmp_path)
    (tmp_path / "two" / "p3.png").unlink()
    assert make(tmp_path).num_made == 1
    assert contents(tmp_path) == before


def test_models_and_prompts_may_be_added_without_a_change(tmp_path):
    make(tmp_path, PositivesConfig(models=FAKE.models[:1]), PROMPTS[:2])
    few = contents(tmp_path)
    report = make(tmp_path)
    assert report.num_made == 8 and report.num_images == 10
    after = contents(tmp_path)
    assert all(after[name] == few[name] for name in few if name.endswith(".png"))
    # What is asked for counts, not what lies there.
    assert make(tmp_path, prompts=PROMPTS[:1]).num_images == 2


def test_unusable_images_are_tried_again_then_left_out(tmp_path):
    seeds = {(p.text, n): image_seed(0, "one", p.text, n) for p in PROMPTS for n in range(3)}
    pipe = FakePipeline()
    pipe.nan_seeds = {seeds["a street", 0], *(seeds["two lemons", n] for n in range(3))}
    pipe.unsafe_seeds = {seeds["a violin", n] for n in range(2)}
    config = PositivesConfig(models=FAKE.models[:1])
    report = make(tmp_path, config, load=lambda *_: pipe)
    assert report.left_out == {"one: not_finite": 1} and report.num_images == 4
    assert report.is_complete
    rows = {row["prompt"]: row for row in read_positives(tmp_path)}
    assert "two lemons" not in rows
    assert (rows["a street"]["attempt"], rows["a violin"]["attempt"]) == (1, 2)
    assert rows["a violin"]["seed"] == seeds["a violin", 2]
    calls = len(pipe.calls)
    assert make(tmp_path, config, load=lambda *_: pipe).left_out == report.left_out
    assert len(pipe.calls) == calls, "what was left out is not tried at every start"


def test_one_colour_is_no_positive(tmp_path):
    class Grey(FakePipeline):
        def __call__(self, *args, **kwargs):
            output = super().__call__(*args, **kwargs)
            output.images = torch.full_like(output.images, 0.5)
            return output

    report = make(tmp_path, load=lambda *_: Grey())
    assert report.left_out == {"one: constant_image": 5, "two: constant_image": 5}


def test_other_settings_or_texts_do_not_mix(tmp_path, caplog):
    make(tmp_path)
    with pytest.raises(TrainingError, match="seed 0, found 1"):
        make(tmp_path, PositivesConfig(models=FAKE.models, seed=1))
    other = ModelSettings("one", num_inference_steps=9)
    with pytest.raises(TrainingError, match="one with num_inference_steps None, found 9"):
        make(tmp_path, PositivesConfig(models=(other,)))
    with pytest.raises(TrainingError, match="prompt p0 was 'a red fox in snow'"):
        make(tmp_path, prompts=[Prompt.from_json({"id": "p0", "prompt": "a blue fox"})])
    # Where a model lies and how it is loaded may differ.
    moved = ModelSettings("elsewhere/one", offload="model")
    assert make(tmp_path, PositivesConfig(models=(moved,))).num_images == 5
    assert "images of one were made by one, and go on with elsewhere/one" in caplog.text


def test_seeds_depend_on_what_the_image_is_and_on_nothing_else():
    # The value itself, so that no version makes other images: sha256 of [0,"m","p",0].
    assert image_seed(0, "m", "p") == image_seed(0, "m", "p", 0)
    seeds = {image_seed(s, m, p, a) for s in (0, 1) for m in "mn" for p in "pq" for a in (0, 1)}
    assert len(seeds) == 16 and all(0 <= seed < 2**53 for seed in seeds)


def test_settings_of_models():
    assert [one.name for one in DEFAULT_MODELS] == [
        "qwen-image", "flux.1-dev", "stable-diffusion-3.5-large",
    ]  # fmt: skip
    for settings in DEFAULT_MODELS:
        assert ModelSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    changed = model_settings({"model": "Qwen/Qwen-Image", "num_inference_steps": 8})
    assert changed.arguments["true_cfg_scale"] == 4.0
    assert changed.arguments["num_inference_steps"] == 8
    assert model_settings("some/Model v2").name == "model-v2"
    config = PositivesConfig.from_json({"models": ["a/b", {"model": "c", "height": 64}]})
    assert PositivesConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "data, said",
    [
        ({"models": []}, "at least one"),
        ({"models": "a/b"}, "expected a list"),
        ({"models": ["a/b", "c/b"]}, "'b' twice"),
        ({"models": [{"model": "a", "steps": 3}]}, "unknown key 'steps'"),
        ({"models": [{"name": "a"}]}, "found none"),
        ({"models": [{"model": "a", "name": "../x"}]}, "small letters"),
        ({"models": [{"model": "a", "dtype": "int8"}]}, "a.dtype"),
        ({"models": [{"model": "a", "height": -8}]}, "a.height"),
        ({"models": [3]}, "hub ids or objects"),
        ({"seed": -1}, "positives.seed"),
        ({"max_tries": 0}, "positives.max_tries"),
        ({"sede": 1}, "unknown key 'sede'"),
    ],
)
def test_wrong_settings_are_named(data, said):
    with pytest.raises(ConfigError, match=said):
        PositivesConfig.from_json(data)


def test_shards_come_from_the_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert Shard.from_environment("cpu") == Shard(0, 1, "cpu")
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert Shard.from_environment("cpu").take(range(7)) == range(2, 7, 3)
    assert Shard.from_text("0/8", "cpu") == Shard(0, 8, "cpu")
    for text in ("8/8", "1", "a/2", "-1/2"):
        with pytest.raises(ConfigError, match="shard"):
            Shard.from_text(text, "cpu")
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(ConfigError, match="RANK"):
        Shard.from_environment("cpu")


@pytest.mark.parametrize("name", ["qwen_image", "sd3"])
def test_pipelines_of_the_default_models_take_such_settings(name, tmp_path):
    """The defaults' own arguments, at the size and steps that the tiny pipelines have."""
    pipe, call = TINY_PIPELINES[name]()
    default = DEFAULT_MODELS[0 if name == "qwen_image" else 2]
    small = {k: v for k, v in call.items() if k not in default.call}
    settings = ModelSettings(name, name=default.name, call={**default.call, **small})
    config = PositivesConfig(models=(settings,))
    assert make(tmp_path, config, PROMPTS[:1], load=lambda *_: pipe).num_images == 1


def test_the_script(tmp_path, capsys):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"models": ["tiny-sd"], "seed": 3}))
    out = tmp_path / "out"
    arguments = ["--out", str(out), "--config", str(config), "--max-prompts", "2", "--quiet"]
    assert main([*arguments, "--device", "cpu"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["num_images"] == 2 and report["is_complete"]
    assert main(["--seed", "4", *arguments]) == 2
    assert "seed 3, found 4" in capsys.readouterr().err
    assert main([]) == 2 and "--smoke" in capsys.readouterr().err
    assert main(["--out", str(tmp_path / "new"), "--models", str(tmp_path / "no-model")]) == 2
    assert "expected a diffusers pipeline" in capsys.readouterr().err


def command(out: Path) -> list[str]:
    return [
        sys.executable,
        "-m",
        "training.make_positives",
        "--smoke",
        "--quiet",
        "--out",
        str(out),
    ]


@pytest.mark.slow
def test_two_processes_at_once_and_kill_9_at_any_moment(tmp_path):
    """Killed five times at growing delays, and finished by two processes together."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    whole = tmp_path / "whole"
    done = subprocess.run(command(whole), cwd=ROOT, env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    out = tmp_path / "killed"
    for kill in range(5):
        process = subprocess.Popen(
            command(out), cwd=ROOT, env=environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        started = time.monotonic()
        while not (out / "parts").exists() and time.monotonic() - started < 60:
            time.sleep(0.02)
        time.sleep(0.25 * kill)
        process.send_signal(signal.SIGKILL)
        process.wait()
    ranks = [
        subprocess.Popen(
            command(out), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**environment, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    try:
        assert [process.wait(timeout=900) for process in ranks] == [0, 0]
    finally:
        for process in ranks:
            process.kill()
    assert contents(out) == contents(whole)
    rows = [
        json.loads(line)
        for part in (out / "parts").iterdir()
        for line in part.read_text().splitlines()
    ]
    assert len(rows) == len({row["path"] for row in rows}) == 6, "nothing is made twice"
