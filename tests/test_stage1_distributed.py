"""Stage 1 in two processes (gloo, CPU) gives what one process gives: whole models and slices."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eliq.errors import TrainingError
from training.curves import CurveLog
from training.placement import Placement
from training.run_state import latest_complete
from training.sharding import outline
from training.tiny_backbone import tiny_backbone

ROOT = Path(__file__).resolve().parents[1]
# Sums are taken in another order: a few bits of float32, relative to the largest value.
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    pytest.importorskip("accelerate")
    pytest.importorskip("peft")
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    out = tmp_path_factory.mktemp("runs")
    done = subprocess.run(
        [sys.executable, "-m", "tests.distributed_runs", str(out)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.parametrize("form", ["ddp", "fsdp"])
def test_two_processes_equal_one(runs, form):
    """The same losses, norms, tuned weights and saved adapters, within `TOLERANCE`."""
    ours, one = (
        [row for row in CurveLog(runs / name).rows() if "loss" in row] for name in (form, "one")
    )
    assert len(ours) == len(one) == 2
    for row, expected in zip(ours, one, strict=True):
        assert row == pytest.approx(expected, rel=TOLERANCE)
    facts = json.loads((runs / form / "result.json").read_text())
    assert facts["world_size"] == 2 and facts["is_sharded"] == (form == "fsdp")
    for name in ("tuned.safetensors", "adapters"):
        if name == "adapters":
            paths = [latest_complete(runs / n) / "module.asking.safetensors" for n in (form, "one")]
        else:
            paths = [runs / n / name for n in (form, "one")]
        tensors, wanted = map(load_file, paths)
        assert tensors.keys() == wanted.keys()
        for key, value in wanted.items():
            scale = float(value.abs().max())
            assert torch.allclose(tensors[key], value, atol=TOLERANCE * scale), key
    changed = load_file(runs / form / "tuned.safetensors")
    assert any(bool(t.any()) for name, t in changed.items() if ".lora_B." in name)


def test_an_outline_keeps_buffers_and_ties_and_no_weights():
    model = tiny_backbone().model
    empty = outline(model)
    assert all(parameter.is_meta for parameter in empty.parameters())
    assert empty.lm_head.weight is empty.model.language_model.embed_tokens.weight
    for name, buffer in model.named_buffers():
        assert torch.equal(dict(empty.named_buffers())[name], buffer), name
    assert not any(parameter.is_meta for parameter in model.parameters())


def test_the_first_version_of_fsdp_is_refused(monkeypatch):
    for name, value in {
        "WORLD_SIZE": "2", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "1"
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    with pytest.raises(TrainingError, match="expected fsdp_version 2, found 1"):
        Placement("cpu")
