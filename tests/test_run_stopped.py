"""``eliq run`` stopped by a signal or a full disk, and in several processes."""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk import RunConfig
from eliq.cli import main, run_processes
from eliq.errors import BulkError
from tests.bulk_sets import rows_of, write_folder
from tests.run_program import COMMAND, ENVIRONMENT, eliq, run_options
from tests.test_full_disk import small_disk  # noqa: F401


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 6)


@pytest.fixture
def common(tiny_checkpoint_dir, tmp_path):
    return run_options(tmp_path / "out", tiny_checkpoint_dir)


@pytest.fixture
def heeds_sigint():
    """A shell starts what it puts in the background deaf to SIGINT, and children inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_sigint")
@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_done_and_the_same_command_goes_on(tmp_path, common, signum, code):
    folder = write_folder(tmp_path / "images", 150)
    common[common.index("--part-size") + 1] = 10
    command = [*COMMAND, "run", str(folder), *map(str, common)]
    for _ in range(5):  # on a busy machine a run may end before this process looks at it again
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=ENVIRONMENT, text=True)  # fmt: skip
        while not list((tmp_path / "out" / "parts").glob("part-*")):
            assert run.poll() is None, run.communicate()
            time.sleep(0.01)
        run.send_signal(signum)
        out, err = run.communicate(timeout=600)
        if run.returncode != 0:
            break
        shutil.rmtree(tmp_path / "out")
    assert run.returncode == code and out == ""
    lines = err.splitlines()
    assert lines[0].startswith("eliq: 150 images, 15 parts")
    assert lines[-1].startswith("eliq: interrupted: ") and len(lines) == 2
    num_kept = len(list((tmp_path / "out" / "parts").glob("part-*")))
    assert 0 < num_kept < 15 and (tmp_path / "out" / "scores.parquet").is_file()
    assert main([*command[len(COMMAND) :], "-q"]) == 0
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [f"{n:05d}.png" for n in range(150)]


@pytest.mark.slow
def test_two_processes_give_what_one_gives(folder, common, tmp_path):
    assert eliq("run", folder, *common, "-q").returncode == 0
    one = rows_of(tmp_path / "out")
    words = [word for word in common if word not in ("--device", "cpu")]
    words[1] = tmp_path / "two"
    done = eliq("run", folder, *words, "--devices", "cpu,cpu", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["num_images"] == 6 and rows_of(tmp_path / "two") == one


class FakeChild:
    """A process of --devices that scores until it is told to end."""

    def __init__(self, *_):
        self.returncode, self.stdin = None, io.BytesIO()

    def poll(self):
        return self.returncode

    def send_signal(self, signum):
        self.returncode = 143

    def wait(self):
        return self.returncode


@pytest.mark.parametrize("ends_alone", [False, True])
def test_failures_of_all_processes_count_together(monkeypatch, ends_alone):
    """One in each share: neither process alone has too many."""
    children, counts = [], iter([(4, 1), (6, 2), (8, 2), (8, 2)])

    def count(self):
        if ends_alone and len(children) == 2:
            for child in children:
                child.returncode = 0
        return next(counts)

    def start(*given):
        children.append(FakeChild())
        return children[-1]

    monkeypatch.setattr(run_processes, "_start", start)
    monkeypatch.setattr("eliq.bulk.part_counts.PartCounts.count", count)
    monkeypatch.setattr(run_processes, "_POLL_S", 0.0)
    seen = []
    with pytest.raises(BulkError, match="stopped: 2 images failed, more than --max-errors 1"):
        config = RunConfig("images", "out", max_errors=1)
        plan = SimpleNamespace(folder=Path("out"))
        run_processes.run_on_devices(config, plan, ["cpu", "cpu"], seen.append)
    assert [child.returncode for child in children] == [0 if ends_alone else 143] * 2
    assert [one.num_new for one in seen] == [0, 2][: len(seen)]


def test_the_process_is_named_that_failed_and_not_one_that_was_ended(monkeypatch):
    children = []

    def start(*given):
        children.append(FakeChild())
        children[-1].returncode = 7 if len(children) == 2 else None
        return children[-1]

    monkeypatch.setattr(run_processes, "_start", start)
    config, plan = RunConfig("images", "out"), SimpleNamespace(folder=Path("out"))
    said = "the process on cuda:1 ended with status 7; what is done"
    with pytest.raises(BulkError, match=said):
        run_processes.run_on_devices(config, plan, ["cuda:0", " cuda:1", "cuda:2"], None)
    assert [child.returncode for child in children] == [143, 7, 143]


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_goes_on_when_there_is_room(
    tmp_path,
    common,
    small_disk,  # noqa: F811
):
    folder = write_folder(tmp_path / "images", 60)
    common[1] = small_disk(160) / "out"
    done = eliq("run", folder, *common)
    assert done.returncode == 1 and done.stdout == ""
    assert "No space left on device" in done.stderr.splitlines()[-1]
    assert done.stderr.count("\n") == 2  # what is to do, and why it stopped
    kept = {p.name: p.read_bytes() for p in (common[1] / "parts").glob("part-*.parquet")}
    assert 0 < len(kept) < 30
    small_disk(20_000)
    assert eliq("run", folder, *common, "-q").returncode == 0
    for name, content in kept.items():
        assert (common[1] / "parts" / name).read_bytes() == content
    assert len(rows_of(common[1])) == 60
