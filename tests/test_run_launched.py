"""``eliq run`` in the processes of a launcher: who holds the directory, what counts together."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk import RunConfig, claim_out_dir, plan_run
from eliq.bulk.engine import Progress
from eliq.bulk.part_counts import PartCounts
from eliq.cli import main, run_launch, run_processes
from eliq.cli.run_launch import Launch
from eliq.errors import BulkError
from tests.bulk_sets import picture, rows_of, run_inline, write_folder
from tests.run_program import ENVIRONMENT, eliq, run_options


@pytest.fixture
def folder(tmp_path):
    """Six images in three parts of two; the first of the first and of the second are damaged."""
    folder = write_folder(tmp_path / "images", 6)
    for number in (0, 2):
        (folder / f"{number:05d}.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def common(tiny_checkpoint_dir, tmp_path):
    return run_options(tmp_path / "out", tiny_checkpoint_dir)


def test_a_launchers_processes_hold_the_directory_together_and_alone(folder, tmp_path):
    pytest.importorskip("fcntl", reason="no locks on Windows")
    alone = RunConfig(str(folder), tmp_path / "out")
    pair = [replace(alone, rank=rank, world_size=2) for rank in range(2)]
    refused = pytest.raises(BulkError, match="another eliq run is writing here")
    with claim_out_dir(pair[0]), claim_out_dir(pair[1]):
        for config in (alone, pair[1], replace(alone, rank=1, world_size=3)):
            with refused, claim_out_dir(config):
                pass
    with claim_out_dir(alone):
        for config in (alone, *pair):
            with refused, claim_out_dir(config):
                pass
        with ExitStack() as children:  # of --devices: their parent holds it for them
            for config in pair:
                children.enter_context(claim_out_dir(config, is_child=True))
    with claim_out_dir(pair[1]), refused, claim_out_dir(alone):
        pass


def test_parts_are_counted_and_what_is_to_be_retried_counts_when_it_was(
    tiny_scorer, folder, tmp_path
):
    out = tmp_path / "out"
    assert PartCounts(out).count() == (0, 0)
    run_inline(tiny_scorer, folder, out, part_size=2)
    assert PartCounts(out).count() == (6, 2)
    assert PartCounts(out, rank=0, world_size=2).count() == (2, 1)  # without units 0 and 2
    assert PartCounts(out, rank=1, world_size=2).count() == (4, 1)
    counts = PartCounts(out, retry_failed=True)
    assert counts.count() == (4, 0)
    picture(0).save(folder / "00000.png")
    run_inline(tiny_scorer, folder, out, part_size=2, retry_failed=True)
    assert counts.count() == (6, 1), "one part is mended, the other failed again"
    shutil.rmtree(out / "parts")
    assert counts.count() == (0, 0)


def launches(folder, out, **options):
    """The two processes of one launch."""
    config = RunConfig(str(folder), out, part_size=2, world_size=2, **options)
    return [Launch(replace(config, rank=rank)) for rank in range(2)]


def planned_by_both(first, second, make):
    first.plan(make, load=None)
    second.plan(None, load=lambda: None)


def test_the_first_process_waits_for_retries_and_counts_failures_of_all(
    tiny_scorer, folder, tmp_path, monkeypatch
):
    """The parts of the other are there all along: that is not what it waits for."""
    out = tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=2)
    options = {"retry_failed": True, "max_errors": 1}
    config = RunConfig(str(folder), out, part_size=2, world_size=2, **options)
    plan = plan_run(config)
    slept = []

    def other_process(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            run_inline(tiny_scorer, folder, out, part_size=2, retry_failed=True)
            second.tell_scored()

    def score(config, plan, observer):
        observer(Progress(num_done=4, num_failed=num_own, num_new=4))

    monkeypatch.setattr("eliq.bulk.engine.run_local", score)
    monkeypatch.setattr(run_launch.time, "sleep", other_process)
    seen = []
    num_own = 0
    first, second = launches(folder, out, **options)
    with first, second:
        planned_by_both(first, second, lambda: plan)
        run_processes.run_launched(config, plan, seen.append, first)
    assert len(slept) == 3 and [one.num_done for one in seen] == [4]
    assert not list(out.glob(".scored-*")), "nothing is left for another attempt to find"
    assert not list(out.glob(".planned*"))
    slept.clear()
    num_own = 1
    first, second = launches(folder, out, **options)
    with first, second, pytest.raises(BulkError, match="2 images failed, more than --max-errors 1"):
        planned_by_both(first, second, lambda: plan)
        run_processes.run_launched(config, plan, seen.append, first)
    assert len(slept) == 3, "what failed before may be mended: it does not count until then"


def test_what_a_killed_launch_left_is_not_taken_for_this_one(tmp_path, monkeypatch):
    """It may have had a launcher of the same number, as in a container, and another plan."""
    pytest.importorskip("fcntl", reason="no locks on Windows")
    killed = launches(tmp_path, tmp_path)
    with killed[0], killed[1]:
        planned_by_both(*killed, lambda: None)
        killed[1].tell_scored()
    (tmp_path / f".planned-{os.getppid()}").touch()
    assert (tmp_path / ".planned").exists() and list(tmp_path.glob(".scored-*"))
    first, second = launches(tmp_path, tmp_path)
    planned, slept = [], []

    def turn(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            first.plan(lambda: planned.append("anew"), load=None)
        elif len(slept) == 6:
            second.tell_scored()

    monkeypatch.setattr(run_launch.time, "sleep", turn)
    with first, second:
        assert second.plan(None, load=planned.copy) == ["anew"] and len(slept) == 3
        first.wait_for_others(lambda: None)
    assert len(slept) == 6, "what an earlier one has scored is not the share of this one"


def test_a_process_that_waits_says_what_for(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(run_launch, "_SAY_AFTER_S", -1.0)
    for quiet in (True, False):
        config = RunConfig("images", tmp_path, world_size=3)
        first, second, third = (Launch(replace(config, rank=n), quiet=quiet) for n in range(3))
        monkeypatch.setattr(
            run_launch.time, "sleep", lambda s, one=first: one.plan(lambda: None, load=None)
        )
        with first:
            for one in (second, third):
                one.plan(None, load=lambda: None)
            monkeypatch.setattr(
                run_launch.time, "sleep", lambda s, pair=(second, third): [
                    one.tell_scored() for one in pair
                ]
            )  # fmt: skip
            first.wait_for_others(lambda: None)
        lines = capsys.readouterr().err.splitlines()
        assert lines == [] if quiet else lines == [
            "eliq: waiting for the first process of the launcher, which lists the source",
            "eliq: waiting for processes 1, 2 of the launcher, to score what is theirs",
        ]  # fmt: skip


def test_ranks_that_no_launcher_has_set_are_refused(folder, common, monkeypatch, capsys, tmp_path):
    """They would wait for processes that nobody starts."""
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert main(["run", str(folder), *map(str, common)]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "LOCAL_WORLD_SIZE is not" in said and "unset" in said
    assert not (tmp_path / "out").exists()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    words = [str(word) for word in common if word not in ("--device", "cpu")]
    assert main(["run", str(folder), *words, "--devices", "cpu,cpu"]) == 1
    assert "--devices starts processes itself" in capsys.readouterr().err


def test_parts_that_are_missing_at_the_end_are_an_error(folder, common, monkeypatch, capsys):
    def score(config, plan, observer=None):
        run_local(replace(config, world_size=2), plan, observer)  # the share of the first of two

    from eliq.bulk.engine import run_local

    picture(0).save(folder / "00000.png")
    monkeypatch.setattr("eliq.bulk.engine.run_local", score)
    assert main(["run", str(folder), *map(str, common), "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["num_pending_units"] == 1
    assert captured.err.splitlines()[-1].startswith("eliq: error: 1 parts of the plan are not sco")
    monkeypatch.setattr("eliq.bulk.engine.run_local", run_local)
    (folder / "00002.png").unlink()
    assert main(["run", str(folder), *map(str, common), "-q"]) == 3


LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    # Its way of starting two processes here, where --device cpu leaves them without a GPU.
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
                   "--main_process_port", "0"],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_under_a_launcher_each_process_takes_its_share(folder, common, tmp_path, launcher):
    assert eliq("run", folder, *common, "-q").returncode == 3
    one = rows_of(tmp_path / "out")
    common[1] = tmp_path / "two"
    code = "import sys; from eliq.cli import main; sys.exit(main())"
    (tmp_path / "program.py").write_text(code)

    def launch(*words) -> subprocess.CompletedProcess:
        command = [
            sys.executable, "-m", *LAUNCHERS[launcher], tmp_path / "program.py",
            "run", folder, *common, "-q", *words,
        ]  # fmt: skip
        return subprocess.run(
            [*map(str, command)], capture_output=True, text=True, env=ENVIRONMENT, timeout=600
        )

    done = launch("--max-errors", "1")  # one in the share of each
    assert done.returncode != 0 and "stopped: 2 images failed" in done.stderr, done.stderr
    for number in (0, 2):
        picture(number).save(folder / f"{number:05d}.png")
    done = launch("--retry-failed")
    assert done.returncode == 0, done.stderr
    mended = {row["id"] for row in one if row["status"] != "ok"}
    two = rows_of(tmp_path / "two")
    assert all(row["status"] == "ok" for row in two) and len(two) == 6
    assert [r for r in two if r["id"] not in mended] == [r for r in one if r["id"] not in mended]
