"""Generated negatives with tiny pipelines: recorded, resumable, the same whatever the processes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eliq.diffusion import read_record, regenerate
from eliq.errors import DiffusionError, TrainingError
from eliq.supervision import GENERATED_KINDS, check_matched, read_generated, read_manifest
from training.make_negatives import main
from training.negatives import (
    NegativesConfig,
    generate_negatives,
    make_negatives,
    plan_jobs,
    read_positive_images,
    run_gate,
)
from training.positives import PositivesConfig, Shard, load_pipeline, make_positives
from training.prompts.prompt_set import Prompt
from training.tiny_pipelines import tiny_pipeline

PROMPTS = [Prompt("a", "a red cup on a table"), Prompt("b", "two dogs in a park")]
SETTINGS = {
    "models": ["tiny-flux", "tiny-sd"],
    "weak_models": [{"model": "tiny-sd", "name": "tiny-weak", "num_inference_steps": 2}],
    "editor": "tiny-edit",
    "shares": dict.fromkeys(GENERATED_KINDS, 1.0),
    "early_fractions": [0.5],
    # Random textures: nothing is less finished, and nothing worse by anyone's opinion.
    "gate": {"scorer": "none", "max_detail_ratio": 1e9},
    "supervision": {"max_side_px": 96, "ai_specific_share": 0.6},
}
CONFIG = NegativesConfig.from_json(SETTINGS)


def changed(**values: object) -> NegativesConfig:
    return NegativesConfig.from_json({**SETTINGS, **values})


@pytest.fixture(scope="module")
def positives(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("positives")
    config = PositivesConfig(models=("tiny-flux",))
    make_positives(PROMPTS, folder, config, shard=Shard(), progress=False)
    return folder


@pytest.fixture(scope="module")
def jobs(positives):
    return plan_jobs(read_positive_images(positives), CONFIG)


@pytest.fixture(scope="module")
def made(positives, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set")
    report = make_negatives(positives, out, CONFIG, shard=Shard(), progress=False)
    assert report.is_complete and report.generation.num_made == report.generation.num_planned
    return out


def images(folder: Path) -> dict[str, bytes]:
    found = sorted((folder / "images").rglob("*.png"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_every_kind_is_in_the_set_and_matched(made, jobs):
    kept = read_generated(made / "generated")
    assert {row.kind for row in kept} == set(GENERATED_KINDS) == {job.kind for job in jobs}
    rows = read_manifest(made)
    assert len(rows) == 6 and check_matched(made) == len(images(made))
    used = {row.technical.distortion for row in rows} | {row.aesthetic.distortion for row in rows}
    assert used & {"degraded_prompt", "early_decode"} and used & {"weak_generator", "degraded_look"}
    assert any(row.negative_prompt_kind == "variant" for row in rows)
    negative = next(r.technical for r in rows if r.technical.distortion in GENERATED_KINDS)
    assert negative.parameters["model"] in ("tiny-flux", "tiny-weak")


def test_an_image_can_be_made_again_from_its_record(made):
    row = next(row for row in read_generated(made / "generated") if row.kind == "degraded_look")
    record = read_record(row.path)
    assert record["seed"] == row.parameters["seed"] and record["positive"] == row.source
    assert record["call"]["prompt"] == row.generation_prompt != row.prompt
    again = regenerate(tiny_pipeline("tiny-flux"), record)
    assert (np.asarray(again) == np.asarray(Image.open(row.path))).all()


def test_an_early_decode_repeats_the_run_of_its_positive(made, positives):
    rows = [row for row in read_generated(made / "generated") if row.kind == "early_decode"]
    for row in rows:
        assert row.parameters["same_run"] is True
        record = read_record(positives / row.source)
        assert row.parameters["seed"] == record["seed"]
        assert (row.parameters["step"], row.parameters["num_steps"]) == (2, 4)
        with pytest.raises(DiffusionError):
            read_record(row.path)  # no whole run made it


def test_positives_without_records_get_runs_of_their_own(made, positives, tmp_path):
    for row in read_positive_images(positives):
        path = tmp_path / "positives" / row.name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.open(row.path).convert("RGB").save(path)  # the text chunk is gone
    (tmp_path / "positives/prompts.jsonl").write_bytes((positives / "prompts.jsonl").read_bytes())
    config = changed(shares={"early_decode": 1})
    make_negatives(tmp_path / "positives", tmp_path / "out", config, shard=Shard(), progress=False)
    kept = read_generated(tmp_path / "out/generated")
    assert len(kept) == 2 and not any(row.parameters["same_run"] for row in kept)


def test_processes_share_the_work_and_change_no_image(made, positives, jobs, tmp_path):
    for rank in (1, 0):
        report = make_negatives(positives, tmp_path, CONFIG, shard=Shard(rank, 2), progress=False)
        assert report.is_complete == (rank == 0)
        assert 0 < report.generation.num_made < len(jobs)
    assert images(tmp_path) == images(made)
    assert images(tmp_path / "generated") == images(made / "generated")
    for name in ("generated/kept.jsonl", "manifest.jsonl", "ladders.jsonl"):
        assert (tmp_path / name).read_bytes() == (made / name).read_bytes()


def test_a_stopped_run_goes_on_and_nothing_is_made_twice(made, positives, jobs, tmp_path):
    class AfterThree:
        """Asked after each image; a torn line and a half-written image lie there then."""

        num = 0

        @property
        def requested(self) -> bool:
            self.num += 1
            return self.num > 3

    first = make_negatives(
        positives, tmp_path, CONFIG, shard=Shard(), stop=AfterThree(), progress=False
    )
    assert first.stopped and first.generation.num_made == 3 and not first.is_complete
    parts = tmp_path / "generated/parts/00000.jsonl"
    parts.write_bytes(parts.read_bytes() + b'{"negative_id": "tor')
    some = next((tmp_path / "generated/images").rglob("*.png"))
    (some.parent / f".{some.name}.1.partial").write_bytes(b"half")
    loaded = []

    def load(settings, device):
        loaded.append(settings.name)
        return load_pipeline(settings, device)

    second = make_negatives(positives, tmp_path, CONFIG, shard=Shard(), load=load, progress=False)
    assert second.generation.num_made == len(jobs) - 3
    assert images(tmp_path / "generated") == images(made / "generated")
    third = make_negatives(
        positives, tmp_path, CONFIG, shard=Shard(), load=lambda *_: 1 / 0, progress=False
    )
    assert third.generation.num_made == 0 and third.rows["num_resumed"] == 8
    assert len(loaded) == len(set(loaded)) == 3  # tiny-sd has no positive of its own here


def test_a_gate_that_drops_all_leaves_distortions(positives, made, tmp_path):
    class Never:
        fingerprint = "never"

        def ask(self, paths, prompts):
            return [dict.fromkeys(("technical", "aesthetic", "alignment"), 0.0) for _ in paths]

    config = changed(gate={"scorer": "never", "max_detail_ratio": 1e9})
    report = make_negatives(
        positives, tmp_path, config, shard=Shard(), opinion=Never(), progress=False
    )
    said = report.to_json()
    assert said["gate"]["num_kept"] == 0 and said["is_complete"]
    for kind in said["gate"]["kinds"].values():
        assert kind["dropped"] == {"not_worse": kind["judged"]}
    used = {row.technical.distortion for row in read_manifest(tmp_path)}
    assert not used & set(GENERATED_KINDS)


def test_a_gate_that_was_killed_goes_on_with_the_same_batches(made, positives, jobs, tmp_path):
    asked: list[tuple[int, ...]] = []

    class Counts:
        fingerprint = "counts"

        def ask(self, paths, prompts):
            asked.append(tuple(len(prompt) for prompt in prompts))
            return [{"technical": 1.0, "aesthetic": 1.0, "alignment": 1.0} for _ in paths]

    config = changed(gate={"scorer": "counts", "min_margin": 0, "max_detail_ratio": 1e9})

    def gate(folder: Path) -> list[bytes]:
        run_gate(jobs, folder, config.gate, config.supervision, Counts(), progress=False)
        [journal] = (folder / "gate").glob("*.jsonl")
        return journal.read_bytes().splitlines(keepends=True)

    shutil.copytree(made / "generated", tmp_path / "a", ignore=shutil.ignore_patterns("gate"))
    lines, whole = gate(tmp_path / "a"), list(asked)
    assert len(lines) == len(jobs) == 12 and len(whole) == 2
    [journal] = (tmp_path / "a/gate").glob("*.jsonl")
    journal.write_bytes(b"".join(lines[:10]) + lines[10][:20])
    asked.clear()
    assert gate(tmp_path / "a") == lines and asked == whole[1:]


def test_the_models_of_the_positives_are_the_default(positives, tmp_path):
    config = changed(models=None, shares={"degraded_look": 1.0})
    report = make_negatives(positives, tmp_path, config, shard=Shard(), progress=False)
    rows = read_generated(tmp_path / "generated")
    assert report.is_complete and {row.parameters["model"] for row in rows} == {"tiny-flux"}


def test_other_settings_do_not_mix(made, positives, jobs):
    for settings, said in (
        ({"seed": 2}, "seed"),
        ({"early_fractions": [0.25]}, "early_fractions"),
        (
            {"weak_models": [{"model": "tiny-sd", "name": "tiny-weak", "num_inference_steps": 3}]},
            "num_inference_steps",
        ),
    ):
        with pytest.raises(TrainingError, match=said):
            generate_negatives(jobs, made / "generated", changed(**settings), progress=False)


def test_the_smoke_run(capsys, tmp_path):
    assert main(["--smoke", "--quiet", "--out", str(tmp_path / "set")]) == 0
    captured = capsys.readouterr()
    said = json.loads(captured.out)
    assert said["is_complete"] and said["num_generated"] == said["num_planned"] > 20
    assert "gate: early_decode: " in captured.err
    assert len(read_manifest(tmp_path / "set")) == said["set"]["num_tuples"] == 12
    assert main([]) == 2
    assert "POSITIVES" in capsys.readouterr().err
