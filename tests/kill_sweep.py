"""Kills every stage of the training at random moments and lets it go on: is anything lost?

    python -m tests.kill_sweep --kills 50             # about 15 minutes of one core
    python -m tests.kill_sweep --kills 9 --stages "stage 1" "stage 2"

Each stage runs once unbroken. Then, in a new folder, it is started, killed with SIGKILL at a random
moment, started again and perhaps killed again (two times out of three), and at last left to end.
Required: it always goes on; every file that was in its place before a kill is still that very file
at the end, or was replaced by a later one on purpose (nothing is done twice); and what comes out is
byte for byte what the unbroken run gives, losses and weights included (nothing is lost).

Hardware: a CPU with `fork`. Tiny models, made inputs, no network. Expect: a JSON object on stdout
with `"failures": []`, a line a stage on stderr, exit code 0.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.killable_stages import STAGES, Stage, prepare


@dataclass
class Outcome:
    """What came of the kills of one stage."""

    kills: int = 0
    seconds: float = 0.0
    moments: list[float] = field(default_factory=list)  # shares of the unbroken run's time
    kept: int = 0  # files that were in place at a kill and are the same files at the end
    failures: list[str] = field(default_factory=list)


def in_a_child(function: Callable[[], None], kill_after: float | None = None) -> str:
    """Runs it in a forked process; "ended", "killed" or "failed" (then it shows what was said)."""
    sys.stdout.flush()
    sys.stderr.flush()
    said = tempfile.TemporaryFile()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)  # with its own workers, so that they are killed with it
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
        code = 1
        try:
            _seed()
            function()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        for kill in (os.killpg, os.kill):
            try:
                kill(child, signal.SIGKILL)
                break
            except ProcessLookupError:  # ended, or not yet in a group of its own
                continue
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return "killed"
    if status:
        said.seek(0)
        sys.stderr.write(said.read().decode(errors="replace")[-4000:])
        return "failed"
    return "ended"


def _seed() -> None:
    """A fork reseeds `random`; checkpoints hold its state, so that equal runs must start equal."""
    random.seed(0)
    if "torch" in sys.modules:  # as in `main`; not worth its import where a stage does without
        import numpy as np
        import torch

        np.random.seed(0)
        torch.manual_seed(0)


def contents(folder: Path, stage: Stage) -> dict[str, str]:
    """SHA-256 of every file of a finished run that the stage does not call its own business."""
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in _files(folder)
        if not _matches(name, stage.not_compared)
    }


def identities(folder: Path, stage: Stage) -> dict[str, tuple[int, int]]:
    """Inode and time of every file that is in its place for good."""
    return {
        name: (path.stat().st_ino, path.stat().st_mtime_ns)
        for name, path in _files(folder)
        if not _matches(name, (*stage.grows, *stage.not_compared))
    }


def sweep(stage: Stage, inputs: Path, folder: Path, *, kills: int, rng: random.Random) -> Outcome:
    """Kills one stage so many times."""
    outcome = Outcome()
    whole = folder / "unbroken"
    start = time.monotonic()
    if in_a_child(lambda: stage.run(inputs, whole)) != "ended":
        outcome.failures.append("the unbroken run failed")
        return outcome
    lasts_s = outcome.seconds = time.monotonic() - start
    expected = contents(whole, stage)
    again, too_late = True, 0
    out = folder / "killed"
    while outcome.kills < kills and not outcome.failures and too_late < 20:
        if not again:
            shutil.rmtree(out, ignore_errors=True)
        before = identities(out, stage)
        moment = rng.random()
        end = in_a_child(lambda: stage.run(inputs, out), moment * lasts_s)
        if end == "failed":
            outcome.failures.append(f"kill {outcome.kills}: it did not go on")
            break
        if end == "killed":
            outcome.kills += 1
            outcome.moments.append(round(moment, 3))
            before = _survivors(before, out, stage, outcome)
            again = rng.random() < 2 / 3 and outcome.kills < kills
            if again:
                continue
            before = identities(out, stage)
            if in_a_child(lambda: stage.run(inputs, out)) != "ended":
                outcome.failures.append(f"kill {outcome.kills}: it did not go on")
                break
        else:
            if not again:  # the unbroken run took longer, beside something else
                lasts_s *= 0.9
            too_late, again = too_late + 1, False
        _survivors(before, out, stage, outcome)
        found = contents(out, stage)
        for name in sorted(expected.keys() | found.keys()):
            if expected.get(name) != found.get(name):
                what = "differs" if name in found else "is missing"
                outcome.failures.append(f"kill {outcome.kills}: {name} {what}")
        again = False
    if outcome.kills < kills and not outcome.failures:
        outcome.failures.append(f"only {outcome.kills} of {kills} kills came in time")
    return outcome


def _survivors(before: dict, out: Path, stage: Stage, outcome: Outcome) -> dict:
    now = identities(out, stage)
    for name, identity in before.items():
        if name in now and now[name] != identity:
            outcome.failures.append(f"kill {outcome.kills}: {name} was made twice")
    outcome.kept += sum(now.get(name) == identity for name, identity in before.items())
    return now


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path.relative_to(folder).as_posix(), path) for path in paths]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line: 0 where nothing failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.kill_sweep")
    parser.add_argument("--kills", type=int, default=50, help="in all (default %(default)s)")
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args(arguments)
    import torch

    torch.set_num_threads(1)  # a pool of threads would not survive the forks
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    rng = random.Random(options.seed)
    shares = [options.kills // len(options.stages)] * len(options.stages)
    for i in range(options.kills % len(options.stages)):
        shares[i] += 1
    report: dict[str, Any] = {"kills": 0, "stages": {}, "failures": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        if in_a_child(lambda: prepare(folder / "inputs")) != "ended":
            sys.stderr.write("the inputs could not be made\n")
            return 1
        for name, kills in zip(options.stages, shares, strict=True):
            place = folder / name.replace(" ", "_")
            outcome = sweep(STAGES[name], folder / "inputs", place, kills=kills, rng=rng)
            sys.stderr.write(
                f"{name}: {outcome.kills} kills, unbroken {outcome.seconds:.1f} s, "
                f"{outcome.kept} files kept, {len(outcome.failures)} failures\n"
            )
            report["kills"] += outcome.kills
            report["stages"][name] = {
                "kills": outcome.kills,
                "unbroken_s": round(outcome.seconds, 2),
                "moments": outcome.moments,
                "files_kept": outcome.kept,
            }
            report["failures"] += [f"{name}, {text}" for text in outcome.failures]
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 1 if report["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
