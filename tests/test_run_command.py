"""``eliq run`` as a program: its exit codes, and what it writes to which stream."""

from __future__ import annotations

import json
import math
import os
import subprocess

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk.engine import Progress
from eliq.cli import main, run_output
from tests.bulk_sets import picture, picture_bytes, rows_of, write_folder, write_tar
from tests.run_program import eliq, run_options


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 6)


@pytest.fixture
def common(tiny_checkpoint_dir, tmp_path):
    return run_options(tmp_path / "out", tiny_checkpoint_dir)


@pytest.fixture(autouse=True)
def _no_machine_is_so_slow(monkeypatch):
    """How far a run has come is said after ten seconds, which a busy machine needs for a few."""
    monkeypatch.setattr(run_output._Lines, "_LEAST_S", math.inf)


def test_how_far_a_run_has_come_without_a_terminal(monkeypatch, capsys):
    """A line a tenth, no sooner than ten seconds after the last; and a line a minute."""
    monkeypatch.setattr(run_output._Lines, "_LEAST_S", 10.0)
    now = [0.0]
    monkeypatch.setattr(run_output.time, "monotonic", lambda: now[0])
    lines = run_output._Lines(100)
    said = []
    for at, done in ((5, 30), (11, 40), (15, 55), (22, 55), (30, 58), (40, 59), (90, 59), (95, 99)):
        now[0] = at
        lines.show(Progress(num_done=done, num_new=done, num_failed=int(done > 50)))
        said.append(capsys.readouterr().err)
    assert said == [
        "",  # five seconds
        "eliq: 40 of 100 images\n",
        "",  # four seconds later
        "eliq: 55 of 100 images, 1 failed\n",
        "",
        "",  # the same tenth
        "eliq: 59 of 100 images, 1 failed\n",  # a minute after the last
        "",
    ]


def test_a_run_gives_one_json_object_and_nothing_else(folder, common, tmp_path):
    done = eliq("run", folder, *common, "--json")
    assert done.returncode == 0 and done.stderr == "eliq: 6 images, 3 parts\n", done.stderr
    facts = json.loads(done.stdout)
    assert done.stdout.count("\n") == 1
    assert (facts["num_images"], facts["num_scored"], facts["num_failed"]) == (6, 6, 0)
    assert facts["prompt_sources"] == {"none": 3, "sidecar": 3} and facts["report"] is None
    assert facts["visual_quality"]["count"] == 6 and facts["alignment"]["count"] == 3
    assert facts["out"] == str(tmp_path / "out")
    for name in ("scores.parquet", "summary.json", "errors.csv", "metadata.jsonl"):
        assert (tmp_path / "out" / name).is_file()


def test_exit_codes_of_a_finished_run(folder, common, tmp_path):
    """Through the command itself: 4 a gate missed, 3 some failed, and 0 when they are mended."""
    words = ["run", folder, *common]
    done = eliq(*words, "-q", "--fail-under", "visual_quality=0.999")
    assert (done.returncode, done.stdout, done.stderr) == (4, f"{tmp_path / 'out'}\n", "")
    (folder / "bad.png").write_bytes(b"no image")
    done = eliq(*words, "--json", "--fail-under", "0.999")  # what failed does not hide the gate
    assert done.returncode == 4
    facts = json.loads(done.stdout)
    assert facts["num_failed"] == 1 and facts["num_below_fail_under"] == 6
    assert eliq(*words, "-q", "--fail-under", "0").returncode == 3
    picture(1).save(folder / "bad.png")
    done = eliq(*words, "--retry-failed", "--format", "human")
    assert done.returncode == 0 and done.stderr == (
        "eliq: 7 images, 4 parts; 4 already done are kept (7 images), what failed in them is "
        "scored again\n"
    )
    assert done.stdout.startswith("scored    7 of 7 images: 6 kept from before, 1 scored now in ")


def test_formats(folder, common, tmp_path, capsys):
    (folder / "bad.png").write_bytes(b"no image")
    words = ["run", str(folder), *map(str, common)]
    assert main([*words, "-q"]) == 3
    captured = capsys.readouterr()
    assert captured.out == f"{tmp_path / 'out'}\n" and captured.err == ""
    assert main([*words, "--format", "human"]) == 3
    captured = capsys.readouterr()
    assert "scored    6 of 7 images" in captured.out
    assert "failed    1: 1 not_an_image (errors.csv)" in captured.out
    errors = (tmp_path / "out/errors.csv").read_text().splitlines()
    assert len(errors) == 2 and errors[1].startswith("bad.png,")
    assert main([*words, "--dry-run", "--retry-failed", "--format", "human"]) == 0
    captured = capsys.readouterr()
    assert "to do     0 of 4 parts, and 1 image again\n" in captured.out
    assert main([*words, "--json", "-q"]) == 2
    assert "choose one output format" in capsys.readouterr().err


def test_a_dry_run_writes_nothing(folder, common, tmp_path, capsys):
    words = ["run", str(folder), *map(str, common), "--dry-run", "--json"]
    assert main(words) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["num_images"], facts["num_units"], facts["num_pending_units"]) == (6, 3, 3)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_beside_a_run_names_its_directory(folder, common, tmp_path, capsys):
    words = ["run", str(folder), *map(str, common)]
    assert main([*words, "-q"]) == 0
    capsys.readouterr()
    words[words.index("--part-size") + 1] = "3"
    assert main([*words, "--dry-run"]) == 1
    assert f"{tmp_path / 'out'} was made with part_size 2; you" in capsys.readouterr().err


def test_a_critic_that_is_not_there_is_said_before_anything_is_listed(folder, common, tmp_path):
    common[common.index("--checkpoint") + 1] = tmp_path / "no critic"
    for more in ([], ["--dry-run"]):
        done = eliq("run", folder, *common, *more)
        assert done.returncode == 1 and done.stdout == ""
        assert done.stderr.startswith("eliq: error: ") and done.stderr.count("\n") == 1
        assert "no critic" in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["run"], "Missing argument"),
        (["run", "x"], "Missing option"),
        (["run", "x", "-o", "y", "-p", "a", "--prompts", "b"], "--prompt or --prompts"),
        (["run", "x", "-o", "y", "--device", "cpu", "--devices", "cpu,cpu"], "not both"),
        (["run", "x", "-o", "y", "--overwrite"], "add --yes"),
        (["run", "x", "-o", "y", "--fail-under", "7"], "expected a number from 0 to 1"),
        (["run", "x", "-o", "y", "--limit", "0"], "--limit"),
        (["run", "x", "-o", "y", "--engine", "spark"], "--engine"),
        (["run", "x", "-o", "y", "--ray-address", "auto"], "--engine ray"),
    ],
)
def test_wrong_usage_is_2_in_one_line(words, said, tmp_path):
    done = eliq(*words, cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 2 and done.stdout == ""
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert os.listdir(tmp_path) == []


def test_a_run_that_cannot_start_is_1_in_one_line(folder, tmp_path, common):
    (tmp_path / "empty").mkdir()
    done = eliq("run", tmp_path / "empty", *common)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("eliq: error: ") and done.stderr.count("\n") == 1
    assert "no images found" in done.stderr


def test_a_source_that_is_not_there_is_wrong_usage(folder, tmp_path, common):
    """As `eliq score` says of a path that is not there: 2, in one line."""
    for words in (
        [tmp_path / "nothing"],
        [tmp_path / "no-*.tar"],
        [folder, "--prompts", tmp_path / "no.csv"],
    ):
        done = eliq("run", *words, *common)
        assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
        assert "no such" in done.stderr and not (tmp_path / "out").exists()


def test_another_critic_into_the_same_directory_is_refused(folder, common, capsys, tmp_path):
    words = ["run", str(folder), *map(str, common), "-q"]
    assert main(words) == 0
    before = rows_of(tmp_path / "out")
    capsys.readouterr()
    assert main([*words, "--dtype", "bfloat16"]) == 1
    assert "was made with dtype float32; you asked for dtype bfloat16" in capsys.readouterr().err
    assert main([*words, "--prompt", "a fox"]) == 1
    assert "was made with prompt None; you asked for prompt 'a fox':" in capsys.readouterr().err
    more = words.copy()
    more[more.index("--part-size") + 1] = "7"
    assert main([*more, "--prompt", "a fox"]) == 1
    said = capsys.readouterr().err
    assert "made with part_size 2, prompt None; you asked for part_size 7, prompt 'a fox'" in said
    assert rows_of(tmp_path / "out") == before
    assert main([*words, "--dtype", "bfloat16", "--overwrite", "--yes"]) == 0
    assert {row["dtype"] for row in rows_of(tmp_path / "out")} == {"bfloat16"}


def test_overwrite_removes_nothing_before_it_knows_what_to_score(folder, common, tmp_path, capsys):
    words = [*map(str, common), "-q"]
    assert main(["run", str(folder), *words]) == 0
    before = rows_of(tmp_path / "out")
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = words.copy()
    wrong[wrong.index("--checkpoint") + 1] = str(tmp_path / "no critic")
    for source, options in ((tmp_path / "imgaes", words), (empty, words), (folder, wrong)):
        code = 1 if source.exists() else 2
        assert main(["run", str(source), *options, "--overwrite", "--yes"]) == code
    assert rows_of(tmp_path / "out") == before
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 3 and "no images found" in captured.err


def test_overwrite_asks_and_no_is_no(folder, common, tmp_path, capsys, monkeypatch):
    words = ["run", str(folder), *map(str, common), "-q"]
    assert main(words) == 0
    before = rows_of(tmp_path / "out")
    capsys.readouterr()
    answers = []
    monkeypatch.setattr("eliq.cli.run.sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda text, **options: answers.append(text))
    assert main([*words, "--overwrite"]) == 1
    assert answers == [f"remove the run in {tmp_path / 'out'}?"]
    assert "stays as it is" in capsys.readouterr().err and rows_of(tmp_path / "out") == before


def test_tars_beside_images_are_not_left_out_in_silence(folder, common, capsys):
    write_tar(folder / "more.tar", {"a.png": picture_bytes(1)})
    assert main(["run", str(folder), *map(str, common), "--dry-run"]) == 0
    assert main(["run", str(folder), *map(str, common)]) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith(f"eliq: 1 tar in {folder} left out, because images lie")
    assert captured.err.splitlines()[1:] == ["eliq: 6 images, 3 parts"]
