"""IP-IQA where scorers are used: best of N, re-roll, the step callback, the command line."""

from __future__ import annotations

import json
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from eliq.cli import main
from eliq.diffusion import ScoreCallback, best_of_n, reroll
from eliq.ip_iqa import IPIQA, RatingScale
from tests.tiny import image
from tests.tiny_ip_iqa_doors import constant_scorer, tiny_ip_iqa
from tests.tiny_pipelines import TINY_PIPELINES

ROOT = Path(__file__).resolve().parents[1]
PROMPT = "a red fox"


@pytest.fixture(scope="module")
def sd15():
    return TINY_PIPELINES["sd15"]()


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ip_iqa") / "model"
    scorer = tiny_ip_iqa()
    scorer.training["data"] = "made-up ratings"
    return scorer.save_pretrained(folder)


@pytest.fixture(scope="module")
def scorer(directory):
    return IPIQA.from_pretrained(directory, device="cpu")


@pytest.fixture
def pictures(tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for seed in range(3):
        pixels = (image(48, 64, seed=seed) * 255).byte().permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(folder / f"{seed}.png")
    return folder


def test_best_of_n_ranks_by_its_scores(sd15, scorer):
    pipe, arguments = sd15
    options = {**arguments, "output_type": "pt", "keep_images": "all"}
    found = best_of_n(pipe, PROMPT, 3, scorer, seed=5, **options)
    assert [one.error for one in found] == [None] * 3
    for one in found:
        row = scorer.score(one.image, PROMPT)[0]
        assert one.visual_quality == pytest.approx(row["visual_quality"], abs=1e-3)
        assert one.alignment == pytest.approx(row["alignment"], abs=1e-3)
    ranked = [one.score for one in found.ranked]
    assert ranked == sorted(ranked, reverse=True) and found.best.score == ranked[0]
    critic = found.best.record["critic"]
    assert critic == {"source": str(scorer.directory), "fingerprint": scorer.fingerprint}


def test_pruning_uses_its_previews(sd15, scorer):
    pipe, arguments = sd15
    options = {**arguments, "num_inference_steps": 8}
    found = best_of_n(pipe, PROMPT, 4, scorer, prune=True, **options)
    assert sum(one.pruned_at is None for one in found) < 4
    assert found.best.pruned_at is None and found.best.error is None


@pytest.mark.parametrize("outputs", [("visual_quality",), ("overall",)])
def test_a_model_of_one_opinion_ranks_by_it(sd15, outputs):
    pipe, arguments = sd15
    scorer = constant_scorer((3.0,), RatingScale(0, 4), outputs=outputs)
    found = best_of_n(pipe, PROMPT, 2, scorer, **arguments)
    assert found.best.score == 0.75 and math.isnan(found.best.alignment)
    assert found.best.error is None and found.best.flags


def test_a_model_of_alignment_alone_says_that_it_cannot_rank(sd15):
    pipe, arguments = sd15
    scorer = constant_scorer((3.0,), RatingScale(0, 4), outputs=("alignment",))
    found = best_of_n(pipe, PROMPT, 2, scorer, **arguments)
    assert "visual quality" in found.best.error


def test_reroll_stops_where_both_minimums_are_reached(sd15, scorer):
    pipe, arguments = sd15
    rated = best_of_n(pipe, PROMPT, 4, scorer, **arguments).candidates
    least = sorted(one.visual_quality for one in rated)[-1]
    expected = next(i for i, one in enumerate(rated) if one.visual_quality >= least - 1e-6)
    found = reroll(pipe, PROMPT, scorer, min_visual_quality=least - 1e-6, max_tries=4, **arguments)
    assert found.passed and found.attempts == expected + 1
    scorer = constant_scorer((1.0, 1.0), RatingScale(0, 4))
    found = reroll(pipe, PROMPT, scorer, min_alignment=0.3, max_tries=2, **arguments)
    assert not found.passed and found.attempts == 2


def test_the_callback_scores_steps_and_aborts(sd15):
    pipe, arguments = sd15
    scorer = constant_scorer((1.0, 3.0), RatingScale(0, 4))
    callback = ScoreCallback(scorer, PROMPT, at=(0.5,), min_visual_quality=0.3, abort=True)
    assert callback.run(pipe, PROMPT, **arguments) is None
    seen = callback.history[0].images[0]
    assert (seen.visual_quality, seen.alignment) == (0.25, 0.75)


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_score_through_the_command_line(directory, scorer, pictures, capfd):
    options = ["--prompt", PROMPT, "--checkpoint", directory, "--json"]
    # Of the file descriptors: nothing but data on stdout, whatever library would write there.
    code, out, err = run(capfd, "score", pictures, "--system", "ip-iqa", *options)
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0 and len(rows) == 3 and "3 images scored" in err, err
    expected = scorer.score([str(p) for p in sorted(pictures.iterdir())], PROMPT)
    for row, one in zip(rows, expected, strict=True):
        assert row["visual_quality"] == pytest.approx(one["visual_quality"], abs=1e-3)
        assert row["aspects"] == {"technical": None, "aesthetic": None, "alignment": None}
    code, again, _ = run(capfd, "score", pictures, *options)  # the checkpoint says what it is
    assert code == 0 and again == out


def test_rank_and_gates_work_alike(directory, pictures, capsys, tmp_path):
    sheet = tmp_path / "sheet.png"
    code, out, err = run(
        capsys, "rank", pictures, "--prompt", PROMPT, "-c", directory, "--json",
        "--contact-sheet", sheet, "--fail-under", "0.99",
    )  # fmt: skip
    ranks = [json.loads(line)["rank"] for line in out.splitlines()]
    assert code == 4 and ranks == [1, 2, 3] and sheet.stat().st_size > 1000, err


def test_one_overall_opinion_on_a_terminal(tmp_path, pictures, capsys):
    scorer = constant_scorer((3.0,), RatingScale(0, 4), outputs=("overall",))
    directory = scorer.save_pretrained(tmp_path / "model")
    code, out, _ = run(
        capsys, "score", pictures / "0.png", "-p", PROMPT, "-c", directory, "--format", "human"
    )
    assert code == 0 and "0.750" in out and "overall_score" in out and "–" in out


def test_wrong_systems_are_refused_in_one_line(directory, pictures, tiny_checkpoint_dir, capsys):
    code, out, err = run(capsys, "score", pictures, "--system", "ip-iqa")
    assert code == 2 and out == "" and "--checkpoint" in err
    code, out, err = run(capsys, "score", pictures, "--system", "eliq", "-c", directory)
    assert code == 1 and out == "" and "ip-iqa" in err and err.count("\n") == 1
    code, out, err = run(capsys, "score", pictures, "--system", "ip-iqa", "-c", tiny_checkpoint_dir)
    assert code == 1 and out == "" and "of eliq" in err and err.count("\n") == 1
    code, _, err = run(capsys, "score", pictures, "-c", directory, "--dtype", "bfloat16")
    assert code == 1 and "float32" in err
    assert run(capsys, "score", pictures, "--system", "clip")[0] == 2


def test_info_for_people_and_for_programs(directory, scorer, capsys):
    code, out, _ = run(capsys, "info", directory, "--format", "human")
    assert code == 0
    for word in ("ip-iqa", "squashed to 64 x 64 px", "at most 74 tokens", "ratings from -4 to 4",
                 "made-up ratings", "visual tower", scorer.fingerprint[:16]):  # fmt: skip
        assert word in out, word
    code, out, _ = run(capsys, "info", directory, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["fingerprint"] == scorer.fingerprint
    stored = sum(t.numel() for n, t in scorer.model.state_dict().items() if "num_batches" not in n)
    assert sum(facts["num_parameters"].values()) == stored


def test_the_example_scripts_take_it_as_their_critic(directory, monkeypatch, capsys, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "examples")
    words = ["--critic", directory, "--out", tmp_path / "best", "--steps", 2, "-n", 2]
    monkeypatch.setattr(sys, "argv", ["best_of_n.py", *map(str, words)])
    runpy.run_path(str(ROOT / "examples" / "best_of_n.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines()[-1].endswith("same = True")
    result = json.loads((tmp_path / "best" / "result.json").read_text())
    assert str(directory) in json.dumps(result)


@pytest.mark.slow
def test_the_installed_command(directory, pictures):
    """As a user runs it: a process of its own, in which nothing was imported before.

    Importing torch there takes seconds of an idle machine and minutes of a busy one; what the
    command writes, the tests above say.
    """
    code = "import sys; from eliq.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "score", str(pictures / "0.png"), "--system", "ip-iqa",
         "--checkpoint", str(directory), "--prompt", PROMPT, "--device", "cpu"],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "ok" and "1 image scored" in done.stderr
