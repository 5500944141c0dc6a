"""training/runs/accelerate: the files start the processes that they say, which find each other."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from eliq.errors import TrainingError
from tests.free_port import free_port

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "training" / "runs" / "accelerate"
SCRIPT = """
import sys
from pathlib import Path
from training.placement import Placement
with Placement() as p:
    # A file each: lines that two processes print at once may come out mixed.
    said = f"{p.rank} {p.world_size} {p.device.type} {p.mean({'rank': p.rank})['rank']}"
    Path(sys.argv[1], f"rank-{p.rank}").write_text(said)
"""


def test_the_file_for_the_cpu_starts_two_processes(tmp_path):
    """Without --device: what a user types on a machine that has no GPU."""
    pytest.importorskip("accelerate")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    file = ["--config_file", str(FILES / "cpu_ddp.yaml"), "--main_process_port", str(free_port())]
    hidden = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*launch, *file, str(script), str(tmp_path)],
        cwd=ROOT,
        env=os.environ | hidden,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    said = [file.read_text() for file in sorted(tmp_path.glob("rank-*"))]
    assert said == ["0 2 cpu 0.5", "1 2 cpu 0.5"]


def test_processes_that_do_not_find_one_another_are_refused(monkeypatch):
    """Each would otherwise take itself for the first, and all would write the same files."""
    accelerate = pytest.importorskip("accelerate")

    class Alone:
        num_processes = 1

        def __init__(self, **_):
            pass

    monkeypatch.setattr(accelerate, "Accelerator", Alone)
    monkeypatch.setenv("WORLD_SIZE", "2")
    from training.placement import Placement

    with pytest.raises(TrainingError, match="expected 2 processes .* found 1"):
        Placement("cpu")


@pytest.mark.parametrize("module", ["run_all", "train_critic"])
def test_several_processes_want_one_folder(module, monkeypatch, capsys):
    """Without --out each would write a temporary folder of its own and wait for the others'."""
    import importlib

    from training.placement import Placement

    def two(self, device=None):
        self.rank, self.world_size, self._accelerator = 1, 2, None

    monkeypatch.setattr(Placement, "__init__", two)
    assert importlib.import_module(f"training.{module}").main(["--smoke"]) == 2
    assert "give --out" in capsys.readouterr().err
