"""A disk that fills up under ``eliq run``: finished parts stay, one line says why, it goes on."""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs eliq[bulk]")

from eliq.bulk import RunConfig, finish_run, iterate_rows, plan_run, run_local
from eliq.errors import BulkError
from tests.hostile_images import picture
from tests.run_program import eliq
from tests.test_full_disk import files_no_larger_than, small_disk  # noqa: F401


@pytest.fixture
def images(tmp_path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(24):
        picture(random.Random(i), 64, 64).save(folder / f"{i:02d}.png")
    return folder


def config(images: Path, out: Path, critic: Path, **options) -> RunConfig:
    return RunConfig(
        os.fspath(images), out, checkpoint=os.fspath(critic), workers=1, part_size=6, **options
    )


def rows(out: Path) -> list[dict]:
    names = [name for name in next(iterate_rows(out)).schema.names if name != "ms"]
    return [row for batch in iterate_rows(out, names) for row in batch.to_pylist()]


def test_a_part_that_does_not_fit_leaves_those_before(images, tmp_path, tiny_checkpoint_dir):
    """The plan and three parts are there; the fourth is refused by the disk."""
    whole = config(images, tmp_path / "whole", tiny_checkpoint_dir, thumbnails=False)
    run_local(whole, plan_run(whole))
    expected = rows(whole.out_dir)
    broken = config(images, tmp_path / "out", tiny_checkpoint_dir, thumbnails=False)
    plan = plan_run(broken)
    parts = tmp_path / "out" / "parts"
    largest = max(path.stat().st_size for path in (tmp_path / "whole" / "parts").iterdir())

    class Full:
        limit = None

        def __call__(self, progress) -> None:
            if parts.is_dir() and len(list(parts.glob("part-*"))) == 3 and self.limit is None:
                self.limit = files_no_larger_than(largest // 4)
                self.limit.__enter__()

    full = Full()
    try:
        with pytest.raises(BulkError, match=r"cannot write .*; what was finished before is whole"):
            run_local(broken, plan, observer=full)
    finally:
        if full.limit is not None:
            full.limit.__exit__(None, None, None)
    kept = {path.name: path.stat().st_ino for path in parts.iterdir()}
    assert len(kept) == 3, "no half is left lying about"
    assert rows(broken.out_dir) == expected[:18]
    run_local(broken, plan_run(broken))
    assert rows(broken.out_dir) == expected
    assert {name: (parts / name).stat().st_ino for name in kept} == kept
    assert finish_run(broken.out_dir)["num_images"] == 24


@pytest.mark.slow
def test_the_command_on_a_small_disk(images, tmp_path, tiny_checkpoint_dir, small_disk):  # noqa: F811
    """Through the installed command: exit code 1 and one line, then 0 when there is room."""

    def run(folder: Path) -> subprocess.CompletedProcess:
        return eliq(
            "run", images, "--out", folder / "out", "--checkpoint", tiny_checkpoint_dir,
            "--workers", 1, "--part-size", 6, "--no-report",
        )  # fmt: skip

    # By the same command: the number of its threads decides the last bits.
    whole = tmp_path / "whole"
    assert run(whole).returncode == 0
    size_kib, refused = 40, 0
    while (done := run(small_disk(size_kib))).returncode != 0:
        assert done.returncode == 1, done.stderr
        said = done.stderr.splitlines()  # mostly what is to do comes first
        assert said[-1].startswith("eliq: error: ") and len(said) <= 2, done.stderr
        assert "No space left on device" in done.stderr
        assert done.stdout == ""
        refused, size_kib = refused + 1, size_kib * 3 // 2
        assert size_kib < 10_000
    assert refused >= 2
    assert rows(tmp_path / "disk" / "out") == rows(whole / "out")
