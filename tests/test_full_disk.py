"""A disk that fills up: one line says so, the last good state is whole, and the run goes on."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess

import pytest
import torch
from torch import nn

from eliq.checkpoint import save_checkpoint
from eliq.errors import CheckpointError, TrainingError
from tests.tiny import tiny_checkpoint
from tests.tiny_supervision import write_set
from training.curves import CurveLog
from training.dataset import read_supervision
from training.run_state import RunState, latest_complete
from training.stage1 import Stage1Config, train_stage1
from training.tensor_files import replace_tensors
from training.tiny_backbone import tiny_backbone
from training.train_critic import main

STAGE1 = {
    "num_steps": 6,
    "tuples_per_forward": 2,
    "ladders_per_forward": 0,
    "grad_accumulation": 1,
    "tuning": "full",
    "precision": "float32",
    "gradient_checkpointing": False,
    "validate_every": 2,
    "max_validation_rows": 2,
    "save_every": 2,
}


@contextlib.contextmanager
def files_no_larger_than(size: int):
    """The nearest to a full disk for who cannot mount one: writes beyond `size` bytes fail."""
    resource = pytest.importorskip("resource", reason="needs Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def small_disk(tmp_path):
    """A function (size in KiB) -> folder on a file system of that size; again, to enlarge it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def of_size(kib: int):
        nonlocal mounted
        options = f"size={kib}k" + (",remount" if mounted else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if os.name != "posix" or os.geteuid() != 0:
            pytest.skip("mounting a small tmpfs needs root")
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount a tmpfs: {done.stderr.strip()}")
        mounted = True
        return folder

    yield of_size
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before(tmp_path):
    model = nn.Linear(200, 200)
    run = RunState(tmp_path, {"seed": 0})
    good = run.save(1, modules={"model": model})
    before = model.weight.detach().clone()
    with torch.no_grad():
        model.weight += 1
    with files_no_larger_than(50_000):
        with pytest.raises(TrainingError, match=r"cannot write .*; what was saved before is whole"):
            run.save(2, modules={"model": model})
    assert latest_complete(tmp_path) == good
    assert [path.name for path in tmp_path.iterdir()] == [good.name], "no half is left lying about"
    other = nn.Linear(200, 200)
    assert run.load_latest({"model": other})["step"] == 1
    assert torch.equal(other.weight, before)
    run.save(2, modules={"model": model})
    assert run.load_latest({"model": other})["step"] == 2


def test_a_shard_that_does_not_fit_leaves_the_one_before(tmp_path):
    path = tmp_path / "tuples-00000.safetensors"
    replace_tensors(path, {"z": torch.zeros(100)})
    old = path.read_bytes()
    with files_no_larger_than(50_000), pytest.raises(TrainingError, match="cannot write"):
        replace_tensors(path, {"z": torch.ones(100_000)})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_a_critic_that_does_not_fit_leaves_the_one_before(tmp_path):
    old = tmp_path / "critic"
    save_checkpoint(old, tiny_checkpoint())
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    with files_no_larger_than(20_000), pytest.raises(CheckpointError, match="make room"):
        save_checkpoint(old, tiny_checkpoint(seed=1))
    assert {path.name: path.read_bytes() for path in old.iterdir()} == before
    assert list(tmp_path.iterdir()) == [old], "no half is left lying about"


def test_stage_1_on_a_full_disk_goes_on_when_there_is_room(tmp_path, small_disk):
    sides = read_supervision(write_set(tmp_path / "set")).split(0.2)
    config = Stage1Config(**STAGE1)
    unbroken = tiny_backbone()
    expected = train_stage1(unbroken, *sides, config, tmp_path / "whole", progress=False)
    run_dir = small_disk(4_000) / "run"
    with pytest.raises((TrainingError, OSError), match="No space left on device"):
        train_stage1(tiny_backbone(), *sides, config, run_dir, progress=False)
    kept = latest_complete(run_dir)
    assert kept is not None, "the last good checkpoint is there"
    assert 0 < json.loads((kept / "state.json").read_text())["step"] < config.num_steps

    small_disk(64_000)
    resumed = tiny_backbone()
    assert train_stage1(resumed, *sides, config, run_dir, progress=False) == expected
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert CurveLog(run_dir).rows() == CurveLog(tmp_path / "whole").rows()


@pytest.mark.slow
def test_the_whole_chain_on_a_disk_that_grows(tmp_path, small_disk, capsys):
    """It fills up in one step after another, and ends as if there had been room at once."""
    arguments = ["--smoke", "--quiet", "--device", "cpu", "--out"]
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    expected = json.loads(capsys.readouterr().out)
    refused, size = 0, 128
    while main([*arguments, str(small_disk(size) / "run")]) != 0:
        lines = capsys.readouterr().err.strip().splitlines()
        assert lines[-1].startswith("error: ") and "No space left" in lines[-1], lines
        refused, size = refused + 1, size * 5 // 4
        assert size < 100_000
    report = json.loads(capsys.readouterr().out)
    assert refused > 4
    assert report | {"checkpoint": 0} == expected | {"checkpoint": 0}
    critic = tmp_path / "whole" / "critic" / "model.safetensors"
    assert (tmp_path / "disk/run/critic/model.safetensors").read_bytes() == critic.read_bytes()
