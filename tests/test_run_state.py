"""Checkpoints of a run: atomic under kill, bit-equal on resume, refused when not the same run."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from eliq.errors import TrainingError
from training.run_state import MARKER, RunState, StopRequest, latest_complete

FINGERPRINT = {"model": {"width": 8}, "learning_rate": 0.05, "seed": 0}


class Toy:
    """A model with a tied weight, two optimizers, a scheduler, and noise from every generator."""

    def __init__(self, seed: int = 0) -> None:
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2), nn.Linear(8, 8))
        self.model[2].weight = self.model[0].weight
        self.adamw = torch.optim.AdamW([self.model[0].weight, self.model[0].bias], lr=0.05)
        self.sgd = torch.optim.SGD([self.model[2].bias], lr=0.05, momentum=0.9)
        self.cosine = torch.optim.lr_scheduler.CosineAnnealingLR(self.adamw, 20)
        self.data = np.random.default_rng(seed)
        self.losses: list[float] = []

    def state(self) -> dict:
        return {
            "modules": {"model": self.model},
            "optimizers": {"adamw": self.adamw, "sgd": self.sgd},
            "schedulers": {"cosine": self.cosine},
            "generators": {"data": self.data},
        }

    def step(self) -> None:
        batch = torch.from_numpy(self.data.normal(size=(4, 8)).astype(np.float32))
        batch = batch + random.random() + float(np.random.normal())
        loss = self.model(batch).square().mean()
        loss.backward()
        for optimizer in (self.adamw, self.sgd):
            optimizer.step()
            optimizer.zero_grad()
        self.cosine.step()
        self.losses.append(loss.item())


def saved_toy(run_dir: Path, steps: int = 5) -> Path:
    toy = Toy()
    for _ in range(steps):
        toy.step()
    return RunState(run_dir, FINGERPRINT).save(steps, **toy.state(), extra={"cursor": steps})


def test_resumed_run_is_bit_equal_to_an_unbroken_one(tmp_path):
    unbroken = Toy()
    for _ in range(12):
        unbroken.step()
    saved_toy(tmp_path, 5)
    resumed = Toy(seed=99)
    extra = RunState(tmp_path, FINGERPRINT).load_latest(**resumed.state())
    assert extra == {"cursor": 5, "step": 5}
    for _ in range(7):
        resumed.step()
    assert resumed.losses == unbroken.losses[5:]
    for name, tensor in unbroken.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert resumed.model[2].weight is resumed.model[0].weight


def test_a_new_directory_has_nothing_to_resume(tmp_path):
    assert RunState(tmp_path / "none", FINGERPRINT).load_latest(**Toy().state()) is None


def test_only_the_last_checkpoints_are_kept(tmp_path):
    toy, run = Toy(), RunState(tmp_path, FINGERPRINT, keep=2)
    for step in (1, 2, 3, 3):
        run.save(step, **toy.state())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000003-00", "step-00000003-01"]


@pytest.mark.parametrize("damage", ["no_marker", "torn_marker", "short_file", "missing_file"])
def test_an_incomplete_checkpoint_is_not_seen(tmp_path, damage):
    good, bad = saved_toy(tmp_path, 1), saved_toy(tmp_path, 2)
    if damage == "no_marker":
        (bad / MARKER).unlink()
    elif damage == "torn_marker":
        (bad / MARKER).write_text('{"sizes": {"sta')
    elif damage == "short_file":
        content = (bad / "module.model.safetensors").read_bytes()
        (bad / "module.model.safetensors").write_bytes(content[:-1])
    else:
        (bad / "random.safetensors").unlink()
    assert latest_complete(tmp_path) == good


def test_no_pickle_is_written(tmp_path):
    suffixes = {path.suffix for path in saved_toy(tmp_path).iterdir()}
    assert suffixes == {".safetensors", ".json"}


@pytest.mark.parametrize("source", ["python", "numpy", "torch", "generators", None])
def test_a_missing_random_state_fails_hard(tmp_path, source):
    found = saved_toy(tmp_path)
    state = json.loads((found / "state.json").read_text())
    if source is None:
        del state["random"]
    else:
        pairs = state["random"]["dict"]
        state["random"]["dict"] = [pair for pair in pairs if pair[0] != source]
    content = json.dumps(state)
    (found / "state.json").write_text(content)
    marker = json.loads((found / MARKER).read_text())
    marker["sizes"]["state.json"] = len(content)
    (found / MARKER).write_text(json.dumps(marker))
    with pytest.raises(TrainingError, match="random state"):
        RunState(tmp_path, FINGERPRINT).load_latest(**Toy().state())


def test_another_fingerprint_is_refused_naming_the_field(tmp_path):
    saved_toy(tmp_path)
    other = {**FINGERPRINT, "model": {"width": 16}}
    with pytest.raises(TrainingError, match=r"model\.width was 8 and is now 16"):
        RunState(tmp_path, other).load_latest(**Toy().state())


def test_a_run_of_other_parts_is_refused_and_left_as_it_was(tmp_path):
    saved_toy(tmp_path)
    toy = Toy(seed=1)
    before = {name: t.clone() for name, t in toy.model.state_dict().items()}
    parts = toy.state()
    parts["optimizers"] = {"adamw": toy.adamw}
    with pytest.raises(TrainingError, match="optimizers"):
        RunState(tmp_path, FINGERPRINT).load_latest(**parts)
    parts = toy.state()
    parts["modules"] = {"model": nn.Sequential(nn.Linear(8, 4), nn.Linear(8, 8), nn.Linear(8, 8))}
    with pytest.raises(TrainingError, match="model"):
        RunState(tmp_path, FINGERPRINT).load_latest(**parts)
    assert all(torch.equal(before[n], t) for n, t in toy.model.state_dict().items())


def test_trainable_only_saves_the_adapter_alone(tmp_path):
    toy = Toy()
    toy.model[0].weight.requires_grad_(False)
    run = RunState(tmp_path, FINGERPRINT, trainable_only=("model",))
    found = run.save(1, **toy.state())
    other = Toy(seed=3)
    other.model[0].weight.requires_grad_(False)
    kept = other.model[0].weight.clone()
    run.load_latest(**other.state())
    assert torch.equal(other.model[0].weight, kept)
    assert torch.equal(other.model[2].bias, toy.model[2].bias)
    assert (found / "module.model.safetensors").stat().st_size < 300


def test_sigterm_is_a_request_to_save_and_stop():
    before = signal.getsignal(signal.SIGTERM)
    with StopRequest() as stop:
        assert not stop.requested and stop.exit_code == 0
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
        assert stop.requested and stop.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before


def test_later_steps_are_forgotten(tmp_path):
    run, toy = RunState(tmp_path, FINGERPRINT, keep=3), Toy()
    for step in (2, 4, 6):
        run.save(step, **toy.state())
    run.forget_after(4)
    assert sorted(path.name[:13] for path in tmp_path.iterdir()) == [
        "step-00000002",
        "step-00000004",
    ]


def write_for_ever(run_dir: Path) -> None:
    toy, run = Toy(), RunState(run_dir, FINGERPRINT)
    resumed = run.load_latest(**toy.state())
    step = resumed["step"] if resumed else 0
    while True:
        toy.step()
        step += 1
        run.save(step, **toy.state(), extra={"loss": toy.losses[-1]})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_writer_always_leaves_a_loadable_state(tmp_path):
    """SIGKILL at random moments, each time resuming in the same directory."""
    rng, reached = random.Random(0), 0
    for attempt in range(8):
        # A fork and not a new interpreter, which would spend its time importing torch.
        child = os.fork()
        if child == 0:
            try:
                write_for_ever(tmp_path)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 600
        # On a busy machine no moment so far may have been late enough for a first checkpoint.
        while attempt == 4 and not latest_complete(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.02, 0.2))
        os.kill(child, signal.SIGKILL)
        assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), "the writer ended by itself"
        toy = Toy(seed=5)
        extra = RunState(tmp_path, FINGERPRINT).load_latest(**toy.state())
        if extra is None:
            assert reached == 0
            continue
        assert extra["step"] >= reached
        reached = extra["step"]
        unbroken = Toy()
        for _ in range(reached):
            unbroken.step()
        assert extra["loss"] == unbroken.losses[-1]
        for name, tensor in unbroken.model.state_dict().items():
            assert torch.equal(tensor, toy.model.state_dict()[name]), name
    assert reached > 0
