"""``eliq run --overwrite``: the old run goes when the new one has its critic, and not before."""

from __future__ import annotations

import os
import shutil

import pytest

pytest.importorskip("pyarrow")
from eliq.bulk import RunConfig, claim_out_dir, engine, old_run
from eliq.bulk.old_run import OldRun
from eliq.bulk.out_dir import holds_run
from eliq.cli import main
from eliq.errors import BulkError
from tests.bulk_sets import rows_of, run_inline, write_folder
from tests.run_program import run_options


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "images", 4)


@pytest.fixture
def out(tiny_scorer, folder, tmp_path):
    """A run that is there."""
    run_inline(tiny_scorer, folder, tmp_path / "out", part_size=2)
    return tmp_path / "out"


@pytest.fixture
def common(tiny_checkpoint_dir, out):
    return [*map(str, run_options(out, tiny_checkpoint_dir)), "--overwrite", "--yes"]


def files_of(out):
    paths = (path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def replaced(words, name, value):
    words = words.copy()
    words[words.index(name) + 1] = str(value)
    return words


def test_what_cannot_start_leaves_the_old_run_as_it_is(
    folder, out, common, tiny_checkpoint_dir, tmp_path, capsys
):
    before = files_of(out)
    torn = shutil.copytree(tiny_checkpoint_dir, tmp_path / "torn")
    weights = torn / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    for words in (
        replaced(common, "--device", "cuda:77"),
        [*common, "--dtype", "float7"],
        replaced(common, "--checkpoint", torn),
    ):
        assert main(["run", str(folder), *words]) == 1
        assert files_of(out) == before
        said = capsys.readouterr().err.splitlines()
        assert (
            said[-2] == f"eliq: the run that was in {out} stays: no critic was loaded for another"
        )
        assert said[-1].startswith("eliq: error: ")


def test_ctrl_c_and_a_device_of_several_that_fails(folder, out, common, monkeypatch, capsys):
    before = files_of(out)

    def interrupted(*given):
        assert (out / "plan.json").exists() and not (out / "parts").exists()
        raise KeyboardInterrupt

    def failed(*given):
        raise BulkError("the process on cuda:0 ended with status 1")

    monkeypatch.setattr(engine, "load_critic", interrupted)
    assert main(["run", str(folder), *common]) == 130
    assert files_of(out) == before and "interrupted" not in capsys.readouterr().err
    monkeypatch.setattr("eliq.cli.run_processes.run_on_devices", failed)
    words = [word for word in common if word not in ("--device", "cpu")]
    assert main(["run", str(folder), *words, "--devices", "cuda:0,cuda:1"]) == 1
    assert files_of(out) == before


def test_the_old_run_makes_room_before_the_first_part_is_written(
    folder, out, common, monkeypatch, capsys
):
    write_part, seen = engine.write_part, []

    def look(*given):
        seen.append(old_run.has_old_run(out))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return write_part(*given)

    monkeypatch.setattr(engine, "write_part", look)
    (folder / "00003.png").unlink()
    assert main(["run", str(folder), *common]) == 130
    assert seen == [False, False] and not list(out.glob(".old-run*"))
    assert "2 images in finished parts" in (said := capsys.readouterr().err)
    assert "the same command without --overwrite goes on" in said
    monkeypatch.setattr(engine, "write_part", write_part)
    assert main(["run", str(folder), *common[:-2], "-q"]) == 0
    assert len(rows_of(out)) == 3


class Killed(BaseException):
    """The process ends here, and does nothing more."""


@pytest.mark.parametrize("is_begun", [False, True], ids=["set-aside", "put-back"])
def test_a_kill_between_any_two_steps_loses_nothing(folder, out, monkeypatch, caplog, is_begun):
    before, rename = files_of(out), os.rename
    config = RunConfig(str(folder), out)
    for moment in range(100):
        steps = iter(range(moment))

        def step(*given, steps=steps):
            if next(steps, None) is None:
                raise Killed
            rename(*given)

        try:
            if not is_begun:
                monkeypatch.setattr(old_run.os, "rename", step)
            with OldRun(out):
                (out / "plan.json").write_text("of the new run")
                monkeypatch.setattr(old_run.os, "rename", step)
            is_over = True
        except Killed:
            is_over = False
        monkeypatch.setattr(old_run.os, "rename", rename)
        assert holds_run(out)
        caplog.clear()
        with claim_out_dir(config):
            assert files_of(out) == before, moment
        assert is_over or not moment or "the run before it is back" in caplog.text
        if is_over:
            break
    assert moment > 5 and not list(out.glob(".old-run*"))


def test_a_kill_while_the_old_run_is_removed_keeps_the_new_one(folder, out, monkeypatch):
    def kill(*given):
        raise Killed

    monkeypatch.setattr(old_run.shutil, "rmtree", kill)
    with pytest.raises(Killed), OldRun(out):
        (out / "run.json").write_text("of the new run")
    monkeypatch.undo()
    with claim_out_dir(RunConfig(str(folder), out)):
        assert files_of(out) == {"run.json": b"of the new run"}
