"""training.evaluation and the script: cached scores, controls, baselines, report."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import os
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from eliq import Scorer
from eliq.errors import EvaluationError
from tests.rounding import SCORE_ROUNDING
from tests.tiny import tiny_backbone, tiny_head
from training import evaluate
from training.backbones import origin_of
from training.evaluation import (
    READERS,
    CriticRater,
    EvaluationConfig,
    Interrupted,
    PyiqaRater,
    RatedSet,
    load_raters,
    measure_set,
    score_set,
    scored,
    select,
    write_report,
)
from training.evaluation.loading import bare_model_of
from training.evaluation.raters import Column, Rater
from training.evaluation.report import markdown
from training.evaluation.smoke_set import write_smoke_set

pytest.importorskip("scipy")
CONFIG = EvaluationConfig(num_resamples=30, num_splits=2, test_share=0.4, shuffle_images=100)


def evaluate_set(rated, raters, config, out):
    found = [score_set(rated, rater, config, out / "scores", progress=False) for rater in raters]
    return measure_set(rated, found, config)


def number(*parts) -> float:
    digest = hashlib.sha256("|".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "big") / 2**32


class Reader(Rater):
    """Knows quality by the file's name, and alignment by the words of the prompt."""

    def __init__(self, name="reader", *, fails=(), part=4, **facts):
        columns = (Column(name, {"quality": "q", "alignment": "a"}),)
        super().__init__(name, columns, facts)
        self.fails, self.part, self.calls = set(fails), part, 0

    def score(self, paths, prompts):
        rows = []
        for path, prompt in zip(paths, prompts, strict=True):
            self.calls += 1
            name = os.path.basename(path)
            if name in self.fails:
                rows.append({"q": None, "a": None, "error": "cannot"})
                continue
            level = -int(name.split("_")[1].split(".")[0]) + 0.1 * number(name)
            rows.append({"q": level, "a": number(name, prompt), "error": None})
        for start in range(0, len(rows), self.part):
            yield rows[start : start + self.part]


@pytest.fixture
def ratings(tmp_path):
    return READERS["csv"](write_smoke_set(tmp_path / "set"))


def test_scores_are_cached_and_a_second_run_scores_nothing(ratings, tmp_path):
    first = Reader()
    rows = scored(first, ratings.rows, tmp_path / "c", "s", progress=False)
    assert first.calls == 24
    second = Reader()
    assert scored(second, ratings.rows, tmp_path / "c", "s", progress=False) == rows
    assert second.calls == 0
    other = Reader(dtype="float16")  # other facts: another file
    scored(other, ratings.rows, tmp_path / "c", "s", progress=False)
    assert other.calls == 24 and len(list((tmp_path / "c").iterdir())) == 2


def test_a_run_stopped_or_killed_in_the_middle_goes_on(ratings, tmp_path):
    stop = types.SimpleNamespace(requested=True)  # asked before the first part is done
    rater = Reader()
    with pytest.raises(Interrupted):
        scored(rater, ratings.rows, tmp_path, "s", stop=stop, progress=False)
    (path,) = tmp_path.glob("s.*.jsonl")
    with open(path, "ab") as file:  # as a kill in the middle of a write leaves it
        file.write(b'{"rows": {"torn": {"q"')
    again = Reader()
    rows = scored(again, ratings.rows, tmp_path, "s", progress=False)
    assert again.calls == 20, "the part that was written is not scored again"
    whole = scored(Reader(), ratings.rows, tmp_path / "whole", "s", progress=False)
    assert rows == whole


def test_an_image_that_was_replaced_is_scored_again(ratings, tmp_path):
    scored(Reader(), ratings.rows, tmp_path, "s", progress=False)
    Image.new("RGB", (9, 9), "red").save(ratings.rows[3].path)
    rater = Reader()
    scored(rater, ratings.rows, tmp_path, "s", progress=False)
    assert rater.calls == 1


def test_an_image_that_failed_is_tried_again(ratings, tmp_path):
    failed = Reader(fails=["0_1.png"])
    rows = scored(failed, ratings.rows, tmp_path, "s", progress=False)
    assert [row["error"] for row in rows].count("cannot") == 1
    rater = Reader()
    again = scored(rater, ratings.rows, tmp_path, "s", progress=False)
    assert rater.calls == 1 and not any(row["error"] for row in again)
    assert scored(Reader(), ratings.rows, tmp_path, "s", progress=False) == again


def test_a_control_that_cannot_be_drawn_is_said(ratings, tmp_path):
    """One prompt for all: there is no other to swap it with."""
    same = RatedSet("my set", tuple(replace(row, prompt="a", group="a") for row in ratings.rows))
    found = evaluate_set(same, [Reader()], replace(CONFIG, num_splits=0), tmp_path)
    assert found["shuffle"] == {} and "shuffling prompts" in found["shuffle_not_run"]
    report = {"title": "t", "note": None, "not_run": {}, "config": CONFIG.to_json()}
    path = write_report({**report, "sets": [found]}, tmp_path / "report")
    text = path.read_text()
    assert "were not tried: shuffling prompts" in text
    if importlib.util.find_spec("matplotlib"):
        assert "(my_set-quality.png)" in text and (path.parent / "my_set-quality.png").is_file()


def test_evaluate_set_measures_all_of_it(ratings, tmp_path):
    found = evaluate_set(ratings, [Reader()], CONFIG, tmp_path)
    quality, alignment = (found["opinions"][name] for name in ("quality", "alignment"))
    assert quality["columns"][0]["srcc"] > 0.85
    assert abs(alignment["columns"][0]["srcc"]) < 0.5
    assert set(alignment["oracles"]) == {"generator_mean", "quality"}
    shuffle = found["shuffle"]["reader"]
    assert shuffle["visual_quality_srcc"] == pytest.approx(1.0)
    assert shuffle["visual_quality_shift"] == 0.0
    assert shuffle["num_images"] == 24 and 0 < shuffle["alignment_falls"] < 1


def test_all_scorers_are_measured_on_the_same_images(ratings, tmp_path):
    broken = {row.id for row in ratings.rows}
    raters = [
        Reader(),
        Reader("some", fails=["0_1.png", "3_2.png"]),
        Reader("none of them", fails=broken),
    ]
    found = evaluate_set(ratings, raters, CONFIG, tmp_path)
    assert found["num_images"] == 22
    assert found["failed"]["some"] == {"num": 2, "first": ["0_1.png", "3_2.png"]}
    columns = found["opinions"]["quality"]["columns"]
    assert [(c["title"], c["num_images"]) for c in columns] == [("reader", 22), ("some", 22)]
    assert "none of them" not in found["shuffle"]
    with pytest.raises(EvaluationError, match="no image was scored"):
        evaluate_set(ratings, raters[2:], CONFIG, tmp_path)


def test_a_critic_brings_its_head_and_its_backbone(ratings, tmp_path):
    scorer = Scorer(tiny_backbone(), tiny_head())
    rater = CriticRater(scorer, name="tiny")
    assert rater.fingerprint == CriticRater(scorer, name="tiny").fingerprint
    assert rater.fingerprint != CriticRater(Scorer(tiny_backbone(seed=1), tiny_head())).fingerprint
    rows = scored(rater, ratings.rows, tmp_path, "s", progress=False)
    scores = scorer.score([str(r.path) for r in ratings.rows], [r.prompt for r in ratings.rows])
    raw = [row["visual_quality"] for row in rows]
    np.testing.assert_allclose(raw, scores.raw["visual_quality"].numpy(), atol=SCORE_ROUNDING)
    logits = torch.logit(scores.aspects["alignment"].double()).numpy()
    np.testing.assert_allclose(
        [row["margin_alignment"] for row in rows], logits, atol=SCORE_ROUNDING
    )
    titles = [column.title for column in rater.columns]
    assert titles == ["tiny", "tiny, backbone without head"]
    assert len(CriticRater(Scorer(tiny_backbone())).columns) == 1


def test_photographs_have_no_alignment_and_no_shuffle(ratings, tmp_path):
    lines = ["path,quality"]
    lines += [f"{row.path.name},{row.quality}" for row in ratings.rows]
    sheet = ratings.rows[0].path.parent / "photos.csv"
    sheet.write_text("\n".join(lines))
    rater = CriticRater(Scorer(tiny_backbone(), tiny_head()))
    found = evaluate_set(READERS["csv"](sheet), [rater], CONFIG, tmp_path)
    assert list(found["opinions"]) == ["quality"] and found["shuffle"] == {}


def test_select_takes_a_split_and_whole_prompts(ratings):
    part = select(ratings, EvaluationConfig(max_images=9))
    assert len(part) == 8 and len({row.group_key for row in part.rows}) == 2
    with pytest.raises(EvaluationError, match="split 'test'"):
        select(ratings, EvaluationConfig(split="test"))


def test_the_bare_model_is_the_one_a_critic_was_tuned_from():
    def made(**training):
        return bare_model_of(Scorer(tiny_backbone(), tiny_head(), training=training))

    assert made(backbone="Qwen/Qwen3-VL-8B-Instruct") == "Qwen/Qwen3-VL-8B-Instruct"
    assert made(backbone="embedded") is made(backbone="tiny") is made() is None


def test_a_bare_model_that_cannot_be_loaded_is_named(tmp_path):
    """Left out with its reason where the checkpoint named it, an error where the user did."""
    origin = str(tmp_path / "gone")
    critic = Scorer(tiny_backbone(), tiny_head(), training={"backbone": origin})
    critic.save_pretrained(tmp_path / "critic")
    not_run = {}
    (rater,) = load_raters(tmp_path / "critic", not_run=not_run, device="cpu")
    assert rater.columns[0].title.endswith("critic") and origin in not_run["zero-shot"]
    named = load_raters(tmp_path / "critic", not_run={}, zero_shot=origin, device="cpu")
    assert next(named).fingerprint == rater.fingerprint
    with pytest.raises(EvaluationError, match="zero-shot .*gone"):
        next(named)
    left_out = load_raters(tmp_path / "critic", not_run=not_run, zero_shot="none", device="cpu")
    assert len(list(left_out)) == 1 and "left out" in not_run["zero-shot"]


def test_the_bare_model_is_asked_as_its_critic_is(tmp_path, monkeypatch):
    """The same revision, questions and size of the images: what differs is the training."""
    backbone = tiny_backbone()
    backbone.patches = replace(backbone.patches, max_pixels=128 * 128)
    facts = {"backbone": "owner/model", "revision": "abc"}
    Scorer(backbone, tiny_head(), training=facts).save_pretrained(tmp_path / "critic")
    asked = []

    def zero_shot(model, **options):
        asked.append((model, options))
        return Scorer(tiny_backbone())

    monkeypatch.setattr(Scorer, "zero_shot", zero_shot)
    assert len(list(load_raters(tmp_path / "critic", not_run={}, device="cpu"))) == 2
    [(model, options)] = asked
    assert (model, options["revision"]) == ("owner/model", "abc")
    assert options["patches"] == backbone.patches
    assert options["instructions"] == backbone.instructions
    list(load_raters(tmp_path / "critic", not_run={}, zero_shot="other/model", device="cpu"))
    assert asked[1] == ("other/model", {"device": "cpu", "dtype": None})


def test_a_critic_tuned_on_names_the_model_behind_it(tmp_path):
    facts = {"backbone": "owner/model", "revision": "abc"}
    Scorer(tiny_backbone(), tiny_head(), training=facts).save_pretrained(tmp_path / "critic")
    found = origin_of(str(tmp_path / "critic"))
    assert found == {**facts, "started_from": str(tmp_path / "critic")}
    assert origin_of("owner/model", "abc") == facts
    assert origin_of("embedded") == {"backbone": "embedded", "revision": None}


@pytest.fixture
def pyiqa(monkeypatch):
    """A stand-in with pyiqa's interface: brightness, lower is better."""

    class Metric:
        lower_better, metric_mode = True, "NR"

        def __call__(self, image, **keywords):
            assert image.shape[:2] == (1, 3) and 0 <= image.min() <= image.max() <= 1
            self.keywords = keywords
            return image.mean()[None]

    def create_metric(name, device):
        assert name in ("dark", "clipscore"), f"Metric {name} not implemented yet."
        return Metric()

    def list_models(mode):
        assert mode == "NR"
        return ["clipscore", "dark"]

    fake = types.SimpleNamespace(
        create_metric=create_metric, list_models=list_models, __version__="0"
    )
    monkeypatch.setitem(sys.modules, "pyiqa", fake)
    return fake


def test_a_pyiqa_metric_counts_upwards_and_sees_our_pixels(pyiqa, ratings, tmp_path):
    rater = PyiqaRater("dark")
    rows = scored(rater, ratings.rows, tmp_path, "s", progress=False)
    pixels = np.asarray(Image.open(ratings.rows[0].path).convert("RGB")) / 255.0
    assert rows[0]["value"] == pytest.approx(-pixels.mean(), abs=1e-5)
    assert rater.columns[0].numbers == {"quality": "value"} and not rater.reads_prompt
    with pytest.raises(EvaluationError, match="found none of that name"):
        load_raters("not loaded yet", not_run={}, pyiqa=["dark", "nosuch"])


def test_a_metric_with_captions_is_held_against_alignment(pyiqa, ratings, tmp_path):
    rater = PyiqaRater("clipscore")
    scored(rater, ratings.rows[:1], tmp_path, "s", progress=False)
    assert rater.metric.keywords == {"caption_list": [ratings.rows[0].prompt]}
    assert rater.columns[0].numbers == {"alignment": "value"}


def test_without_pyiqa_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(EvaluationError, match="pip install pyiqa"):
        PyiqaRater("niqe")


def test_the_report_holds_the_published_rows_and_every_number(ratings, tmp_path):
    rated = type(ratings)("agiqa_3k", ratings.rows, ratings.counts)
    found = evaluate_set(rated, [Reader(), Reader("second")], CONFIG, tmp_path)
    found["opinions"]["quality"]["columns"][1]["title"] = "a|b <script>`"
    report = {"title": "T", "config": CONFIG.to_json(), "not_run": {"zero-shot": "why"},
              "sets": [found]}  # fmt: skip
    text = write_report(report, tmp_path).read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert ["ELIQ (published, Table 2)", "none", "0.801", "-", "0.827"] in [r[:5] for r in rows]
    assert ["ELIQ (published, Table 3)", "none", "0.717", "-", "0.730"] in [r[:5] for r in rows]
    assert "a/b (script)'" in text and "<script>" not in text
    assert "zero-shot: why" in text
    assert {len(row) for row in rows if row} == {9, 10, 7}, "rows of a table are of one length"
    stored = json.loads((tmp_path / "report.json").read_text())
    column = stored["sets"][0]["opinions"]["quality"]["columns"][0]
    assert math.isfinite(column["plcc_logistic"]) and column["splits"]["num_splits"] == 2
    assert "scores" not in stored["sets"][0]["opinions"]["quality"]
    assert (tmp_path / "agiqa_3k-quality.png").read_bytes().startswith(b"\x89PNG")
    assert "published" not in markdown({**report, "sets": []}, {}).split("## How to read")[0]


def test_one_rater_is_in_memory_at_a_time(ratings, tmp_path):
    closed = []

    class Closing(Reader):
        def close(self):
            closed.append(self.name)

    def loading():
        yield Closing("first")
        assert closed == ["first"]
        yield Closing("second")

    summary = evaluate.evaluate([ratings], loading(), CONFIG, tmp_path, progress=False)
    assert closed == ["first", "second"]
    with pytest.raises(EvaluationError, match="a title each"):
        evaluate.evaluate([ratings], [Reader(), Reader()], CONFIG, tmp_path, progress=False)
    assert set(summary["srcc"]["ratings"]["quality"]) == {"first", "second"}


def test_the_script_runs_from_end_to_end(tmp_path, capsys):
    assert evaluate.main(["--smoke", "--quiet", "--out", str(tmp_path)]) == 0
    summary = json.loads(capsys.readouterr().out)
    quality = summary["srcc"]["ratings"]["quality"]
    assert set(quality) == {
        "embedded", "embedded, backbone without head", "tiny random, zero-shot"
    }  # fmt: skip
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert all(w in text for w in ("These numbers mean nothing", "ratings-quality.png", "(few)"))


def test_describe_scores_nothing(ratings, monkeypatch, capsys):
    monkeypatch.setattr(Scorer, "from_pretrained", None)
    sheet = ratings.rows[0].path.parent / "ratings.csv"
    assert evaluate.main(["--set", f"csv={sheet}", "--describe"]) == 0
    found = json.loads(capsys.readouterr().out)["ratings"]
    assert (found["num_images"], found["num_groups"], found["num_generators"]) == (24, 6, 2)
    assert found["quality"]["oracle_srcc"]["generator_mean"] > 0.8
    assert found["counts"]["num_missing"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--set"),
        (["--set", "nosuch=x", "--out", "o"], "nosuch"),
        (["--set", "agiqa_3k=nowhere", "--out", "o"], "nowhere"),
    ],
)
def test_the_script_says_what_is_wrong_in_one_line(arguments, message, capsys):
    assert evaluate.main([*arguments, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_the_script_evaluates_a_benchmark_with_the_embedded_critic(ratings, tmp_path, capsys):
    sheet = ratings.rows[0].path.parent / "ratings.csv"
    out = tmp_path / "out"
    command = ["--set", f"csv={sheet}", "--out", str(out), "--quiet", "--resamples", "20",
               "--device", "cpu", "--shuffle-images", "0"]  # fmt: skip
    assert evaluate.main(command) == 0
    summary = json.loads(capsys.readouterr().out)
    assert "random weights" in summary["not_run"]["zero-shot"]
    assert "critic embedded" in summary["srcc"]["ratings"]["quality"]
    (path,) = (out / "scores").iterdir()
    before = path.read_bytes()
    assert evaluate.main(command) == 0
    assert path.read_bytes() == before
    assert "random weights" in (out / "report.md").read_text(encoding="utf-8")
