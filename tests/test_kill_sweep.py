"""The kill sweep sees what it is for, and every stage of the training passes it."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kill_sweep import sweep
from tests.killable_stages import STAGES, Stage

ROOT = Path(__file__).resolve().parents[1]
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def careful(inputs: Path, out: Path) -> None:
    """Ten files, each renamed into place once."""
    out.mkdir(parents=True, exist_ok=True)
    for i in range(10):
        path = out / f"{i}.txt"
        if not path.exists():
            time.sleep(0.02)
            (out / "part").write_text(str(i))
            os.replace(out / "part", path)


def forgetful(inputs: Path, out: Path) -> None:
    """Begins anew each time."""
    out.mkdir(parents=True, exist_ok=True)
    for i in range(10):
        time.sleep(0.02)
        (out / "part").write_text(str(i))
        os.replace(out / "part", out / f"{i}.txt")


def torn(inputs: Path, out: Path) -> None:
    """Takes a file that exists for a file that is whole."""
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "all.txt").exists():
        with open(out / "all.txt", "w", buffering=1) as file:
            for i in range(20):
                time.sleep(0.01)
                file.write(f"{i}\n")


@pytest.mark.parametrize(
    ("run", "grows", "said"),
    [
        (careful, ("part",), None),
        (forgetful, ("part",), "was made twice"),
        (torn, (), "all.txt differs"),
    ],
)
def test_the_sweep_tells_good_stages_from_bad_ones(tmp_path, run, grows, said):
    stage = Stage(run, grows=grows)
    kills = 6 if said is None else 60  # a bad one ends at the kill that shows it
    outcome = sweep(stage, tmp_path, tmp_path, kills=kills, rng=random.Random(0))
    if said is None:
        assert outcome.kills == 6 and not outcome.failures and outcome.kept > 0
        assert len(outcome.moments) == 6 and all(0 <= moment <= 1 for moment in outcome.moments)
    else:
        assert any(said in failure for failure in outcome.failures), outcome.failures


def test_a_stage_that_does_not_go_on_is_named(tmp_path, capfd):
    def once(inputs: Path, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        if list(out.iterdir()):
            raise RuntimeError("the folder is not empty")
        (out / "a.txt").write_text("a")
        time.sleep(0.2)

    outcome = sweep(Stage(once), tmp_path, tmp_path, kills=2, rng=random.Random(0))
    assert any("did not go on" in failure for failure in outcome.failures)
    assert "the folder is not empty" in capfd.readouterr().err


@pytest.mark.slow
def test_every_stage_of_the_training_survives_kills():
    """Two kills a stage; `python -m tests.kill_sweep --kills 50` is the whole sweep."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.kill_sweep", "--kills", str(2 * len(STAGES)), "--seed", "1"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kills"] == 2 * len(STAGES)
