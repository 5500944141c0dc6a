"""``eliq run`` stopped by a signal or a full disk, and in several processes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("pyarrow")
from eliq.cli import main
from tests.bulk_sets import rows_of, write_folder
from tests.run_program import COMMAND, ENVIRONMENT, eliq, run_options
from tests.test_full_disk import small_disk  # noqa: F401


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 6)


@pytest.fixture
def common(tiny_checkpoint_dir, tmp_path):
    return run_options(tmp_path / "out", tiny_checkpoint_dir)


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
    assert err.startswith("eliq: interrupted: ") and err.count("\n") == 1
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


@pytest.mark.slow
def test_failures_of_all_processes_count_together(folder, common, tmp_path):
    """One in each share: neither process alone has too many."""
    for name in ("00001b.png", "00003b.png"):
        (folder / name).write_bytes(b"no image")
    words = [word for word in common if word not in ("--device", "cpu")]
    words[1] = tmp_path / "two"
    # Parts of two: the bad ones lie in the second part and in the third.
    done = eliq("run", folder, *words, "--devices", "cpu,cpu", "--max-errors", 1)
    assert done.returncode == 1, done.stdout
    assert "stopped: 2 images failed, more than --max-errors 1" in done.stderr


@pytest.mark.slow
def test_under_a_launcher_each_process_takes_its_share(folder, common, tmp_path):
    assert eliq("run", folder, *common, "-q").returncode == 0
    one = rows_of(tmp_path / "out")
    common[1] = tmp_path / "two"
    code = "import sys; from eliq.cli import main; sys.exit(main())"
    (tmp_path / "program.py").write_text(code)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        str(tmp_path / "program.py"), "run", str(folder), *map(str, common), "-q",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=600)
    assert done.returncode == 0, done.stderr
    assert rows_of(tmp_path / "two") == one


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
    assert "No space left on device" in done.stderr and done.stderr.count("\n") == 1
    kept = {p.name: p.read_bytes() for p in (common[1] / "parts").glob("part-*.parquet")}
    assert 0 < len(kept) < 30
    small_disk(20_000)
    assert eliq("run", folder, *common, "-q").returncode == 0
    for name, content in kept.items():
        assert (common[1] / "parts" / name).read_bytes() == content
    assert len(rows_of(common[1])) == 60
