"""The command line: rows on standard output, everything else on standard error, exit codes.

A fake scorer stands in for the critic, save in the tests that say otherwise: its visual quality
is the red of the image, its alignment the red too where there is a prompt.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import eliq
from eliq.cli import main
from eliq.cli.output import JsonWriter
from eliq.errors import CheckpointError
from eliq.images import load_image
from eliq.scores import Scores
from eliq.shown_text import one_line, printable

ROOT = Path(__file__).resolve().parents[1]
EMBEDDED = ROOT / "eliq" / "embedded" / "model.safetensors"


class RedScorer:
    """Scores by the mean of the red channel; fails where an image cannot be loaded."""

    def __init__(self, before_part=None):
        self.before_part = before_part

    def stream(self, images, prompts):
        for number, (image, prompt) in enumerate(zip(images, prompts, strict=True), start=1):
            if self.before_part:
                self.before_part(number)
            yield self.score([image], [prompt])

    def score(self, images, prompts):
        loaded = [load_image(path) for path in images]
        nan = float("nan")
        red = [nan if i.pixels is None else float(i.pixels[0].mean()) for i in loaded]
        given = [bool(prompt) for prompt in prompts]
        quality = torch.tensor(red)
        alignment = torch.tensor([r if g else nan for r, g in zip(red, given, strict=True)])
        return Scores(
            visual_quality=quality,
            alignment=alignment,
            aspects={"technical": quality, "aesthetic": quality, "alignment": alignment},
            raw={"visual_quality": quality, "alignment": alignment},
            flags=[[*i.flags, *([] if g else ["no_prompt"])]
                   for i, g in zip(loaded, given, strict=True)],
            errors=[i.error for i in loaded],
            error_classes=[i.error_class for i in loaded],
        )  # fmt: skip


@pytest.fixture
def scorer(monkeypatch):
    fake = RedScorer()
    monkeypatch.setattr("eliq.cli.scoring.load_scorer", lambda **options: fake)
    return fake


@pytest.fixture
def folder(tmp_path):
    """Four images of red 51/255 = 0.2, 0.4, 0.6, 0.8, one of them in a subfolder."""
    images = tmp_path / "images"
    (images / "sub").mkdir(parents=True)
    for name, red in (("b.png", 102), ("a.png", 51), ("c.JPG.png", 204), ("sub/d.png", 153)):
        image = Image.new("RGB", (8, 8), (red, 7, 9))
        image.putpixel((0, 0), (red, 200, 9))  # a constant image would be flagged
        image.save(images / name)
    (images / "notes.md").write_text("no image")
    (images / ".hidden.png").write_text("no image")
    return images


def run(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def rows_of(out):
    return [json.loads(line) for line in out.splitlines()]


def test_score_writes_one_json_object_a_line(capsys, scorer, folder):
    code, out, err = run(capsys, "score", folder, "--prompt", "red", "--json")
    rows = rows_of(out)
    assert code == 0
    assert [Path(row["path"]).name for row in rows] == ["a.png", "b.png", "c.JPG.png", "d.png"]
    assert [round(row["visual_quality"], 4) for row in rows] == [0.2, 0.4, 0.8, 0.6]
    assert rows[0]["status"] == "ok" and rows[0]["error"] is None
    assert set(rows[0]["aspects"]) == {"technical", "aesthetic", "alignment"}
    assert list(rows[0])[:3] == ["path", "visual_quality", "alignment"]
    assert err.count("\n") == 1 and "4 images scored" in err


def test_what_is_missing_is_null_and_said_once(capsys, scorer, folder):
    code, out, err = run(capsys, "score", folder, "--json")
    assert code == 0 and "NaN" not in out
    assert all(row["alignment"] is None and row["flags"] == ["no_prompt"] for row in rows_of(out))
    assert err.count("no prompt") == 1


def test_rank_is_best_first_and_failures_last(capsys, scorer, folder):
    (folder / "0_bad.png").write_bytes(b"not an image")
    code, out, err = run(capsys, "rank", folder, "-p", "red", "--json")
    rows = rows_of(out)
    assert code == 3 and "1 failed" in err
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5]
    assert [round(row["visual_quality"] or -1, 1) for row in rows] == [0.8, 0.6, 0.4, 0.2, -1]
    assert rows[-1]["status"] == "failed" and rows[-1]["error"] and rows[-1]["error_class"]


def test_ranking_keys():
    from eliq.cli.scoring import sort_rows

    rows = [
        {"path": "both", "visual_quality": 0.5, "alignment": 0.9},
        {"path": "plain", "visual_quality": 0.6, "alignment": None},
        {"path": "failed", "visual_quality": None, "alignment": None},
        {"path": "ugly", "visual_quality": 0.1, "alignment": 1.0},
    ]
    order = {by: [row["path"] for row in sort_rows(rows, by)]
             for by in ("mean", "min", "visual_quality", "alignment")}  # fmt: skip
    assert order == {
        "mean": ["both", "plain", "ugly", "failed"],
        "min": ["plain", "both", "ugly", "failed"],
        "visual_quality": ["plain", "both", "ugly", "failed"],
        "alignment": ["ugly", "both", "plain", "failed"],
    }


def test_a_table_for_people(capsys, scorer, folder):
    code, out, err = run(capsys, "rank", folder, "-p", "red", "--format", "human")
    lines = [line for line in out.splitlines() if ".png" in line]
    assert code == 0 and len(lines) == 4
    assert out.count(str(folder)) == 1  # in the heading
    assert "c.JPG.png" in lines[0] and "0.800" in lines[0] and "a.png" in lines[3]
    assert "visual quality" in out and "\x1b" not in out


def test_bare_fields_for_scripts(capsys, scorer, folder):
    code, out, err = run(capsys, "rank", folder, "-q")
    assert code == 0 and err == ""
    assert [line.split("\t")[:2] for line in out.splitlines()] == [
        ["0.800", ""], ["0.600", ""], ["0.400", ""], ["0.200", ""]
    ]  # fmt: skip


def test_rows_are_out_before_the_next_part_is_scored(capsys, scorer, folder):
    seen = []
    scorer.before_part = lambda number: seen.append(capsys.readouterr().out)
    assert main(["score", str(folder), "-p", "x", "--json"]) == 0
    assert len(seen) == 4 and seen[0] == "" and all(text.count("\n") == 1 for text in seen[1:])


@pytest.mark.parametrize(
    ("gates", "code"),
    [(["0.1"], 0), (["0.2001"], 4), (["alignment=0.9"], 4), (["0.1", "visual_quality=0.3"], 4)],
)
def test_fail_under(capsys, scorer, folder, gates, code):
    options = [word for gate in gates for word in ("--fail-under", gate)]
    assert run(capsys, "score", folder, "-p", "red", *options)[0] == code


def test_fail_under_without_alignment(capsys, scorer, folder):
    """A bare number judges the scores that there are; a named one wants that score to exist."""
    assert run(capsys, "score", folder, "--fail-under", "0.1")[0] == 0
    assert run(capsys, "score", folder, "--fail-under", "alignment=0.1")[0] == 4


def test_a_missed_gate_outranks_failed_images(capsys, scorer, folder):
    (folder / "bad.png").write_bytes(b"")
    assert run(capsys, "score", folder, "--fail-under", "0.99")[0] == 4
    assert run(capsys, "score", folder, "--fail-under", "0")[0] == 3


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["score"], "name at least one image"),
        (["score", "gone.png"], "no such file or directory: gone.png"),
        (["score", "{empty}"], "no images below"),
        (["score", "{folder}", "--nope"], "--nope"),
        (["score", "{folder}", "-p", "x", "--prompts", "y.txt"], "not both"),
        (["score", "{folder}", "--checkpoint", "x", "--zero-shot", "y"], "not both"),
        (["score", "{folder}", "--prompts", "gone.jsonl"], "gone.jsonl: no such file"),
        (["score", "{folder}", "--json", "-q"], "one output format"),
        (["score", "{folder}", "--format", "xml"], "xml"),
        (["score", "{folder}", "--batch-px", "0"], "--batch-px"),
        (["score", "{folder}", "--fail-under", "1.5"], "from 0 to 1"),
        (["score", "{folder}", "--fail-under", "nan"], "from 0 to 1"),
        (["score", "{folder}", "--fail-under", "beauty=0.5"], "visual_quality, alignment"),
        (["rank", "{folder}", "--by", "beauty"], "beauty"),
        (["rank", "{folder}", "--contact-sheet", "sheet.pdf"], ".png or .html"),
        (["rank", "{folder}", "--contact-sheet", "gone/sheet.png"], "no such directory"),
        (["paint"], "paint"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(capsys, monkeypatch, folder, tmp_path, argv, said):
    monkeypatch.setattr("eliq.cli.scoring.load_scorer", lambda **options: pytest.fail("loaded"))
    (tmp_path / "empty").mkdir()
    argv = [word.format(folder=folder, empty=tmp_path / "empty") for word in argv]
    code, out, err = run(capsys, *argv)
    assert code == 2 and out == ""
    assert said in err and err.startswith("eliq: ") and err.count("\n") == 1


def test_a_run_that_fails_is_one_line_and_exit_1(capsys, monkeypatch, folder):
    def refuse(**options):
        raise CheckpointError("expected a checkpoint in x, found\nnone")

    monkeypatch.setattr("eliq.cli.scoring.load_scorer", refuse)
    code, out, err = run(capsys, "score", folder, "-q")
    assert (code, out) == (1, "")
    assert err == "eliq: error: expected a checkpoint in x, found none\n"
    code, out, err = run(capsys, "score", folder, "-q", "--debug")
    assert code == 1 and "Traceback" in err
    monkeypatch.setenv("ELIQ_DEBUG", "1")
    assert "Traceback" in run(capsys, "score", folder, "-q")[2]


def test_each_call_logs_to_the_standard_error_of_its_time(monkeypatch, folder):
    monkeypatch.setattr("eliq.cli.scoring.load_scorer", lambda **options: 1 / 0)
    logger = logging.getLogger("eliq")
    before = (list(logger.handlers), logger.level)
    for _ in range(2):
        errors = io.StringIO()
        with contextlib.redirect_stderr(errors):
            assert main(["score", str(folder), "-q", "--debug"]) == 1
        assert errors.getvalue().count("Traceback") == 1
    assert (logger.handlers, logger.level) == before


def test_an_interrupted_run_keeps_what_is_done(capsys, scorer, folder):
    def interrupt(number):
        if number == 3:
            raise KeyboardInterrupt

    scorer.before_part = interrupt
    code, out, err = run(capsys, "rank", folder, "-p", "red", "--json")
    assert code == 130 and "2 of 4 images" in err
    assert [round(row["visual_quality"], 1) for row in rows_of(out)] == [0.4, 0.2]


def test_a_terminated_run_keeps_what_is_done(capsys, scorer, folder):
    before = signal.getsignal(signal.SIGTERM)
    scorer.before_part = lambda number: number == 3 and os.kill(os.getpid(), signal.SIGTERM)
    code, out, err = run(capsys, "score", folder, "-p", "red", "--json")
    assert code == 143 and len(rows_of(out)) == 2
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("form", ["json", "human"])
def test_an_error_in_mid_run_keeps_what_is_done(capsys, scorer, folder, form):
    def fail(number):
        if number == 3:
            raise CheckpointError("the device went away")

    scorer.before_part = fail
    code, out, err = run(capsys, "rank", folder, "-p", "red", "--format", form)
    assert code == 1 and "2 of 4 images" in err and "the device went away" in err
    assert out.index("b.png") < out.index("a.png")


def test_a_prompts_file_may_name_the_images(capsys, scorer, folder):
    file = folder / "list.jsonl"
    file.write_text('{"path": "sub/d.png", "prompt": "four"}\n')
    code, out, err = run(capsys, "score", "--prompts", file, "--json")
    assert [Path(row["path"]).name for row in rows_of(out)] == ["d.png"] and code == 0


def test_unmatched_images_are_counted(capsys, scorer, folder):
    file = folder / "list.jsonl"
    file.write_text('{"path": "sub/d.png", "prompt": "four"}\n')
    code, out, err = run(capsys, "score", folder, "--prompts", file, "--json")
    assert code == 0 and "3 of 4 images have no prompt" in err
    assert [row["flags"] for row in rows_of(out)] == [["no_prompt"]] * 3 + [[]]


def test_a_contact_sheet(capsys, scorer, folder, tmp_path):
    sheet = tmp_path / "sheet.html"
    code, out, err = run(
        capsys, "rank", folder, "-p", "<b>red</b>", "--by", "min", "--contact-sheet", sheet, "-q"
    )
    page = sheet.read_text(encoding="utf-8")
    assert code == 0 and "sorted by the lower of both scores" in page
    assert page.index("c.JPG.png") < page.index("a.png")
    assert "&lt;b&gt;red" in page


def test_file_names_cannot_steer_the_terminal(capsys, scorer, tmp_path):
    path = tmp_path / "a\x1b[31m[bold]\n.png"
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    for form in ("human", "quiet", "json"):
        code, out, err = run(capsys, "score", path, "--format", form)
        assert code == 0 and "\x1b" not in out + err
    assert json.loads(out)["path"] == str(path)
    assert printable("a\u202eb\x07  c") == "ab\ufffd  c"
    assert one_line(" a\r\n\u2028b\t c\x1b[1m ") == "a b c\ufffd[1m"


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_json_survives_any_encoding_and_any_name(monkeypatch, encoding):
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", out)
    row = {"path": "\udcff.png", "prompt": "狐 🦊", "visual_quality": None, "alignment": 0.5}
    JsonWriter().write(row)
    assert json.loads(out.buffer.getvalue()) == row


def test_version_and_bare_help(capsys):
    assert run(capsys, "--version") == (0, f"eliq {eliq.__version__}\n", "")
    code, out, err = run(capsys)
    assert code == 0 and "score" in out and "rank" in out and "info" in out


def test_help_says_nothing_on_stderr():
    """That it is quick, test_import_time.py tells by what it loads."""
    command = [sys.executable, "-c", "import sys; from eliq.cli import main; sys.exit(main())"]
    done = subprocess.run(
        [*command, "--help"], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True
    )
    assert "--version" in done.stdout and done.stderr == ""


def test_a_reader_that_leaves_ends_the_run_quietly(folder):
    program = (
        "import sys; from eliq.cli import main, scoring; sys.path.insert(0, 'tests');"
        "from test_cli import RedScorer; scoring.load_scorer = lambda **options: RedScorer();"
        f"sys.exit(main(['score', {str(folder)!r}, '--json', '-p', 'x']))"
    )
    shell = f'"{sys.executable}" -c "$PROGRAM" | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", shell], cwd=ROOT, capture_output=True, text=True, timeout=600, check=True,
        env={**os.environ, "PROGRAM": program},
    )  # fmt: skip
    assert done.stdout == "141\n" and done.stderr == ""


def test_a_checkpoint_scores_and_describes_itself(capsys, folder, tiny_checkpoint_dir):
    """The real scorer: failed images leave the others bit-equal, and what `info` says of it."""
    options = ["--checkpoint", tiny_checkpoint_dir, "--device", "cpu", "--batch-px", "20000"]
    code, out, err = run(capsys, "score", folder, "-p", "red", *options, "--json")
    alone = rows_of(out)
    (folder / "a_bad.png").write_bytes(b"not an image")
    cut = io.BytesIO()  # its header claims a picture larger than two batches
    Image.effect_noise((300, 300), 50).save(cut, "PNG")
    (folder / "b_cut.png").write_bytes(cut.getvalue()[:2000])
    code, out, err = run(capsys, "score", folder, "-p", "red", *options, "--json")
    rows = rows_of(out)
    assert code == 3 and [row["status"] for row in rows] == [
        "ok", "failed", "ok", "failed", "ok", "ok"
    ]  # fmt: skip
    assert all(0 < row["visual_quality"] < 1 for row in alone)
    assert [row for row in rows if row["status"] == "ok"] == alone
    code, out, err = run(capsys, "info", tiny_checkpoint_dir, "--json")
    facts = json.loads(out)
    assert code == 0 and facts["format"] == "eliq-critic" and not facts["is_embedded"]
    assert facts["num_parameters"].keys() == {"backbone", "head"}
    code, out, err = run(capsys, "info", tiny_checkpoint_dir, "--format", "human")
    assert code == 0 and facts["fingerprint"][:16] in out and "qwen3_vl" in out
    code, out, err = run(capsys, "info", folder)
    assert code == 1 and err.startswith("eliq: error: ") and err.count("\n") == 1


@pytest.mark.skipif(not EMBEDDED.exists(), reason="the embedded critic is not built yet")
def test_the_embedded_critic_scores_and_describes_itself(capsys):
    images = ROOT / "examples" / "images"
    # A scene, not one of the photographs that the benchmark measures the critic on.
    paths = [images / "scene_butterflies.jpg", images / "scene_butterflies_noise.jpg"]
    code, out, err = run(capsys, "score", *paths, "-p", "butterflies", "--device", "cpu", "--json")
    rows = rows_of(out)
    assert code == 0 and [row["status"] for row in rows] == ["ok", "ok"]
    assert all(0 <= row[name] <= 1 for row in rows for name in ("visual_quality", "alignment"))
    assert rows[0]["visual_quality"] > rows[1]["visual_quality"]
    code, out, err = run(capsys, "info", "--json")
    facts = json.loads(out)
    assert code == 0 and facts["is_embedded"] and facts["num_parameters"]["backbone"] > 1e6
    assert run(capsys, "info", "--format", "human")[0] == 0
