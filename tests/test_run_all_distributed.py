"""The whole run in two processes makes the images and the set that one process makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eliq import Scorer

ROOT = Path(__file__).resolve().parents[1]
LAUNCH = {"one": [], "two": ["torch.distributed.run", "--nproc_per_node", "2", "-m"]}


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the journals, which say which process made what."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent.name != "parts"
    }


@pytest.mark.slow
def test_two_processes_share_the_images_and_train_together(tmp_path):
    pytest.importorskip("accelerate")
    pytest.importorskip("diffusers")
    reports = {}
    for name, launch in LAUNCH.items():
        out = tmp_path / name
        command = [sys.executable, "-m", *launch, "training.run_all"]
        done = subprocess.run(
            [*command, "--smoke", "--quiet", "--device", "cpu", "--out", str(out)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        reports[name] = json.loads(done.stdout)["steps"]
    assert reports["two"]["positives"]["num_images"] == 8
    assert reports["two"]["set"]["num_made"] < reports["two"]["set"]["num_generated"]
    for folder in ("positives", "set"):
        assert contents(tmp_path / "two" / folder) == contents(tmp_path / "one" / folder)
    assert Scorer.from_pretrained(tmp_path / "two" / "critic", device="cpu", probe=False).head
