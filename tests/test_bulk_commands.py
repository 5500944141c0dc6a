"""The commands around a run as they are installed: exit codes, streams, and what options do."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest

pytest.importorskip("pyarrow", reason="runs need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run
from eliq.bulk import RunConfig, plan_run
from tests.bulk_sets import picture, rows_of, write_folder
from tests.run_program import COMMAND, ENVIRONMENT, eliq, run_options

GOOD = {"status": "ok", "error_class": None, "error": None, "flags": [], "alignment": 0.8,
        "visual_quality": 0.9}  # fmt: skip
COLOUR = re.compile(r"\x1b\[[0-9;]*m")
needs_terminal = pytest.mark.skipif(os.name != "posix", reason="needs a pseudo terminal")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Where a made-up run lies, as ``scored``: four images to keep, of which one is gone."""
    folder = tmp_path_factory.mktemp("made")
    changed = {number: GOOD for number in range(4)} | {4: GOOD | {"visual_quality": 0.1}}
    make_run(folder / "scored", 5, originals=3, changed=changed, thumbnail_px=16)
    return folder


@pytest.fixture(scope="module")
def critic_options(tiny_checkpoint_dir):
    return run_options("out", tiny_checkpoint_dir)[2:-1]  # neither --out nor --no-report


@pytest.fixture(scope="module")
def finished(tmp_path_factory, critic_options):
    """A folder of four images, one of them none, and the command that scored it into ``out``."""
    folder = tmp_path_factory.mktemp("finished")
    write_folder(folder / "images", 3)
    (folder / "images" / "bad.png").write_bytes(b"no image")
    words = ["run", "images", "--out", "out", *critic_options]
    return folder, words, eliq(*words, "--item-timeout", 30, cwd=folder)


@pytest.fixture
def set_and_run(finished, tmp_path):
    """A copy of ``finished`` that may be changed, and its command."""
    folder, words, _ = finished
    shutil.copytree(folder, tmp_path / "copy")
    # A run is known by where its source lies.
    plan = tmp_path / "copy" / "out" / "plan.json"
    plan.write_text(plan.read_text().replace(str(folder), str(tmp_path / "copy")))
    return tmp_path / "copy", words


def on_terminal(*words, cwd, **variables):
    """Exit code and all that the command writes to a terminal."""
    import pty

    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, words)], cwd=cwd, stdin=its, stdout=its, stderr=its,
        env=ENVIRONMENT | {"TERM": "xterm-256color"} | variables,
    )  # fmt: skip
    os.close(its)
    said = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux ends a terminal with an error
            data = b""
        if not data:
            break
        said += data
    os.close(ours)
    return process.wait(), said.decode(errors="replace")


def without_a_reader(*words, cwd):
    """The command's exit code and stderr, its standard output closed at the other end."""
    ours, its = os.pipe()
    os.close(ours)
    try:
        done = subprocess.run(
            [*COMMAND, *map(str, words)], cwd=cwd, stdout=its, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT, timeout=600,
        )  # fmt: skip
    finally:
        os.close(its)
    return done.returncode, done.stderr


def test_keep_lists_on_stdout_and_says_on_stderr(made):
    words = ["keep", "scored", "--min-visual-quality", ".5"]
    done = eliq(*words, cwd=made)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 4)
    done = eliq(*words, "--json", cwd=made)
    assert done.returncode == 0 and len([json.loads(one) for one in done.stdout.splitlines()]) == 4
    done = eliq("keep", "scored", "--min-visual-quality", "1", cwd=made)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1)


def test_keep_takes_and_says_what_is_missing(made, tmp_path):
    words = ["keep", "scored", "--min-visual-quality", ".5", "--copy"]
    done = eliq(*words, tmp_path / "a", "--json", cwd=made)
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["kept"], facts["taken"], facts["missing"]) == (3, 4, 3, 1)
    assert done.stderr.startswith("eliq: 1 original is not there") and len(
        [path for path in (tmp_path / "a").rglob("*.png") if path.is_file()]
    ) == 3  # fmt: skip
    done = eliq(*words, tmp_path / "b", "-q", cwd=made)
    assert (done.returncode, done.stdout) == (3, "")


def test_report_says_where_the_page_is(made):
    page = made / "scored" / "report.html"
    done = eliq("report", "scored", cwd=made)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.endswith("report.html\n")
    assert page.stat().st_size > 1000
    page.unlink()
    done = eliq("report", "scored", "--json", cwd=made)
    assert done.returncode == 0 and json.loads(done.stdout)["report"].endswith("report.html")
    assert page.is_file() and done.stdout.count("\n") == 1 and done.stderr == ""


def test_export_writes_to_stdout_or_a_file(made, tmp_path):
    done = eliq("export", "scored", "--to", "csv", cwd=made)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list(csv.DictReader(io.StringIO(done.stdout)))) == 5
    words = ["export", "scored", "--to", "label-studio", "--min-visual-quality", ".5"]
    done = eliq(*words, "-o", tmp_path / "tasks.json", cwd=made)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"eliq: 4 images exported to {tmp_path / 'tasks.json'}\n"
    assert len(json.loads((tmp_path / "tasks.json").read_text())) == 4


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["keep", "nothing"], 1, "run.json"),
        (["report", "nothing"], 1, "run.json"),
        (["export", "nothing", "--to", "csv"], 1, "run.json"),
        (["keep", "scored", "--list", "--copy", "x"], 2, "choose one"),
        (["keep", "scored", "--min-alignment", "7"], 2, "from 0 to 1"),
        (["keep", "scored", "--without-flag", "constnt_image"], 2, "did you mean constant_image"),
        (["report", "scored", "--rows", "0"], 2, "--rows"),
        (["report"], 2, "Missing argument"),
        (["export", "scored"], 2, "Missing option"),
        (["export", "scored", "--to", "csv", "--name", "x"], 2, "--name goes with"),
    ],
)
def test_what_goes_wrong_is_one_line_on_stderr(made, words, code, said):
    done = eliq(*words, cwd=made)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith("eliq: ") and said in done.stderr


def test_a_run_makes_its_page_and_thumbnails_by_default(finished):
    folder, _, done = finished
    assert done.returncode == 3 and done.stderr == "eliq: 4 images, 2 parts\n"
    facts = json.loads(done.stdout)
    assert (facts["num_images"], facts["errors"]) == (4, {"not_an_image": 1})
    assert (folder / "out/report.html").stat().st_size > 1000
    assert facts["report"].endswith("report.html")
    assert len(list((folder / "out/thumbnails").glob("*.parquet"))) == 2


def test_a_dry_run_leaves_all_as_it_is(set_and_run):
    folder, words = set_and_run
    picture(7).save(folder / "images/new.png")
    before = sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*"))
    done = eliq(*words, "--dry-run", "--json", cwd=folder)
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["num_images"], facts["num_done"]) == (0, 5, 4), done.stderr
    assert facts["num_pending_units"] == 1
    assert sorted((str(p), p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


def test_overwrite_begins_anew_with_a_limit_and_without_thumbnails(set_and_run):
    folder, words = set_and_run
    done = eliq(*words, "--overwrite", "--yes", "--limit", 2, "--no-thumbnails",
                "--no-report", cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [row["id"] for row in rows_of(folder / "out")] == ["00000.png", "00001.png"]
    assert json.loads(done.stdout)["report"] is None
    assert not (folder / "out/report.html").exists()
    assert not list((folder / "out").glob("thumbnails/*"))


def test_who_uses_a_run_that_is_not_finished_is_told(set_and_run):
    folder, _ = set_and_run
    commands = (["report", "out"], ["keep", "out"], ["export", "out", "--to", "csv"],
                ["keep", "out", "--copy", "kept"])  # fmt: skip
    assert [eliq(*words, cwd=folder).stderr for words in commands] == [""] * 4
    max((folder / "out" / "parts").iterdir()).unlink()
    shutil.rmtree(folder / "kept")
    for words in commands:
        done = eliq(*words, cwd=folder)
        assert done.returncode == 0
        assert done.stderr == (
            "eliq: out: 1 of 2 parts of this run are not scored yet; the same eliq run goes on "
            "with them\n"
        )
        assert eliq(*words, "-q", cwd=folder).stderr == ""


def test_a_tar_that_went_before_it_was_scored_leaves_nothing_to_do(tmp_path, critic_options):
    (tmp_path / "tars").mkdir()
    for name in "ab":
        with tarfile.open(tmp_path / "tars" / f"{name}.tar", "w") as tar:
            data = io.BytesIO()
            picture(1).save(data, "PNG")
            info = tarfile.TarInfo("one.png")
            info.size = len(data.getvalue())
            tar.addfile(info, io.BytesIO(data.getvalue()))
    plan_run(RunConfig(os.fspath(tmp_path / "tars"), tmp_path / "out", part_size=2))
    (tmp_path / "tars" / "a.tar").unlink()
    done = eliq("run", "tars", "--out", "out", *critic_options, "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    done = eliq("keep", "out", cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "tars/b.tar/one.png\n")


def test_max_errors_ends_a_run_with_1(finished, tmp_path):
    folder, words, _ = finished
    words = [tmp_path / "out" if word == "out" else word for word in words]
    done = eliq(*words, "--max-errors", 0, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    assert "eliq: error: stopped: 1 image failed, more than --max-errors 0" in done.stderr
    assert "bad.png" in done.stderr and "Traceback" not in done.stderr


def test_eliq_debug_shows_where_a_run_failed(finished, tmp_path):
    folder, words, _ = finished
    words = [tmp_path / "no critic" if word == words[words.index("--checkpoint") + 1] else word
             for word in words]  # fmt: skip
    for value, is_shown in (("0", False), ("1", True)):
        done = subprocess.run(
            [*COMMAND, *map(str, words), "--dry-run"], cwd=folder, capture_output=True, text=True,
            env=ENVIRONMENT | {"ELIQ_DEBUG": value}, timeout=600,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (1, "")
        assert ("Traceback" in done.stderr) == is_shown
        assert done.stderr.splitlines()[-1].startswith("eliq: error: ")


@needs_terminal
def test_no_color_is_heard_on_a_terminal(set_and_run):
    folder, words = set_and_run
    code, said = on_terminal(*words, "--retry-failed", cwd=folder, NO_COLOR="1")
    assert code == 3 and "scored    3 of 4 images" in said and not COLOUR.search(said)


@needs_terminal
def test_a_reader_that_leaves_early_is_141(made, set_and_run):
    folder, words = set_and_run
    assert without_a_reader("keep", "scored", cwd=made) == (141, "")
    assert without_a_reader("keep", "scored", "--json", cwd=made) == (141, "")
    code, said = without_a_reader(*words, "--no-report", cwd=folder)
    assert code == 141 and "Traceback" not in said and "rror" not in said
    assert len(rows_of(folder / "out")) == 4, "what was scored stays"
