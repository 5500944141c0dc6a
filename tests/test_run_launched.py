"""``eliq run`` in the processes of a launcher: who holds the directory, what counts together."""

from __future__ import annotations

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
from eliq.cli import run_processes
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


def test_the_first_process_waits_for_retries_and_counts_failures_of_all(
    tiny_scorer, folder, tmp_path, monkeypatch
):
    """The parts of the other are there all along: that is not what it waits for."""
    out = tmp_path / "out"
    run_inline(tiny_scorer, folder, out, part_size=2)
    config = RunConfig(str(folder), out, part_size=2, retry_failed=True, max_errors=1, world_size=2)
    plan = plan_run(config)
    mark = run_processes._mark(config, "scored-1")
    slept = []

    def other_process(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            run_inline(tiny_scorer, folder, out, part_size=2, retry_failed=True)
            mark.touch()

    def score(config, plan, observer):
        observer(Progress(num_done=4, num_failed=num_own, num_new=4))

    monkeypatch.setattr("eliq.bulk.engine.run_local", score)
    monkeypatch.setattr(run_processes.time, "sleep", other_process)
    seen = []
    num_own = 0
    run_processes.run_launched(config, plan, seen.append)
    assert len(slept) == 3 and [one.num_done for one in seen] == [4]
    assert not list(out.glob(".scored-*")), "nothing is left for another attempt to find"
    slept.clear()
    num_own = 1
    with pytest.raises(BulkError, match="stopped: 2 images failed, more than --max-errors 1"):
        run_processes.run_launched(config, plan, seen.append)
    assert len(slept) == 3, "what failed before may be mended: it does not count until then"


@pytest.mark.slow
def test_under_a_launcher_each_process_takes_its_share(folder, common, tmp_path):
    assert eliq("run", folder, *common, "-q").returncode == 3
    one = rows_of(tmp_path / "out")
    common[1] = tmp_path / "two"
    code = "import sys; from eliq.cli import main; sys.exit(main())"
    (tmp_path / "program.py").write_text(code)

    def launch(*words) -> subprocess.CompletedProcess:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
            tmp_path / "program.py", "run", folder, *common, "-q", *words,
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
