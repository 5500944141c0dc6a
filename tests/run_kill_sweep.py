"""Kills ``eliq run`` at random moments and lets it go on: is anything lost, or done twice?

    python -m tests.run_kill_sweep --kills 100                # plain: about 15 minutes on two cores
    python -m tests.run_kill_sweep --kills 100 --engine ray   # about an hour: a cluster each time

One run is unbroken. Then, in a new folder, the command is started, killed with SIGKILL at a random
moment, started again and perhaps killed again (two times out of three), and at last left to end.
Required: every image of the source has one row, none has two; every column but the time (``ms``)
is equal to the last bit; a part that was there before a kill is the same file at the end; no
decoding process is left behind; the views are whole.

Killed is the whole process group (the machine goes down), or only the command itself, or, with
Ray, one of its actors, by turns; after the last of these the command must end by itself with 0.

Hardware: Linux. A tiny critic with random weights, pictures made here, no network. Expect: a JSON
object on stdout with `"failures": []`, a line a kill on stderr, exit code 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process_tree import descendants
from tests.hostile_images import picture
from tests.run_hostile import ROOT, tiny_critic

_NUM_FAILING = 5


@dataclass
class Sweep:
    """A command, its unbroken result, and what has come of the kills so far."""

    command: list[str]
    folder: Path
    engine: str
    expected: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    kills: int = 0
    kept: int = 0  # parts that were there at a kill and are the same files at the end
    failures: list[str] = field(default_factory=list)

    def start(self, out: Path) -> subprocess.Popen:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self.folder / "said.txt", "wb") as said:
            return subprocess.Popen(
                [*self.command, "--out", os.fspath(out)],
                stdout=said,
                stderr=said,
                env=environment,
                start_new_session=True,
            )

    def said(self) -> str:
        return (self.folder / "said.txt").read_text(errors="replace")[-600:]

    def unbroken(self) -> bool:
        """The run that the others are compared with."""
        start_s = time.monotonic()
        code = self.start(self.folder / "unbroken").wait()
        self.seconds = time.monotonic() - start_s
        if code != 3:  # some of the files are damaged on purpose
            self.failures.append(f"the unbroken run ended with {code}: {self.said()}")
            return False
        self.expected = rows(self.folder / "unbroken")
        return True

    def kill_once(self, out: Path, moment: float, victim: str) -> bool:
        """Start it and kill it; False if it had ended before."""
        is_new, start_s = not out.exists(), time.monotonic()
        process = self.start(out)
        try:
            process.wait(moment * self.seconds)
        except subprocess.TimeoutExpired:
            pids = [pid for pid in descendants(process.pid) if pid != process.pid]
        if process.poll() is not None:
            if is_new:  # the unbroken run was slower: the machine has less to do now
                self.seconds = min(self.seconds, time.monotonic() - start_s)
            return False
        if victim == "actor":
            named = [pid for pid in pids if _command_line(pid).startswith(b"ray::UnitActor")]
            if not named:
                victim = "group"
            else:
                _kill(random.choice(named))
                if process.wait() != 3:
                    self.failures.append(f"an actor was killed, and it ended: {self.said()}")
                return True
        if victim == "group":
            for pid in pids:
                _kill(pid)
        process.kill()
        process.wait()
        if victim == "command" and not _all_end(pids):
            self.failures.append(f"kill {self.kills}: processes are left behind")
        return True

    def check_end(self, out: Path, before: dict[str, tuple[int, int]]) -> None:
        """Let it end, and compare."""
        code = self.start(out).wait()
        if code != 3:
            self.failures.append(f"kill {self.kills}: it did not go on ({code}): {self.said()}")
            return
        found, where = rows(out), f"kill {self.kills}"
        ids = [row["id"] for row in found]
        if len(set(ids)) != len(ids):
            self.failures.append(f"{where}: {len(ids) - len(set(ids))} rows are doubled")
        missing = {row["id"] for row in self.expected} - set(ids)
        if missing:
            self.failures.append(f"{where}: {len(missing)} rows are missing")
        if found != self.expected:
            self.failures.append(f"{where}: the rows differ from those of the unbroken run")
        self.kept += self._same(before, out, where)
        leftovers = [path.name for path in out.rglob(".*.partial")]
        if leftovers:
            self.failures.append(f"{where}: left behind: {leftovers[:3]}")
        if json.loads((out / "summary.json").read_text())["num_images"] != len(self.expected):
            self.failures.append(f"{where}: the summary counts other images")

    def _same(self, before: dict[str, tuple[int, int]], out: Path, where: str) -> int:
        now = parts(out)
        for name, identity in before.items():
            if now.get(name) != identity:
                self.failures.append(f"{where}: {name} was made twice")
        return len(before)


def sweep(run: Sweep, kills: int, rng: random.Random) -> None:
    """So many kills, or until something is lost."""
    if not run.unbroken():
        return
    out, again, too_late = run.folder / "killed", False, 0
    victims = ("group", "command", "actor") if run.engine == "ray" else ("group", "command")
    while run.kills < kills and not run.failures and too_late < 30:
        if not again:
            shutil.rmtree(out, ignore_errors=True)
        before = parts(out)
        moment, victim = rng.random(), victims[run.kills % len(victims)]
        if not run.kill_once(out, moment, victim):
            too_late, again = too_late + 1, False
            run.check_end(out, before)
            continue
        run.kills += 1
        run._same(before, out, f"kill {run.kills}")
        sys.stderr.write(f"kill {run.kills}: {victim} at {moment:.2f}, {len(parts(out))} parts\n")
        if moment > 0.5 and not parts(out):
            run.seconds *= 1.25  # the unbroken run was faster: the machine has more to do now
        again = rng.random() < 2 / 3 and run.kills < kills
        if not again:
            run.check_end(out, parts(out))
    if run.kills < kills and not run.failures:
        run.failures.append(f"only {run.kills} of {kills} kills came in time")


def rows(out: Path) -> list[dict[str, Any]]:
    """Of the view, without what differs between two runs."""
    import pyarrow.parquet as pq

    from eliq.bulk import iterate_rows
    from eliq.bulk.columns import TIMING_COLUMNS

    table = pq.read_table(out / "scores.parquet").drop_columns(list(TIMING_COLUMNS))
    names = table.column_names
    of_parts = [row for batch in iterate_rows(out, names) for row in batch.to_pylist()]
    if table.to_pylist() != of_parts:
        raise ValueError(f"{out}: scores.parquet is not what the parts hold")
    return of_parts


def parts(out: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of the parts that are there."""
    found = {}
    for path in (out / "parts").glob("*.parquet"):
        status = path.stat()
        found[path.name] = (status.st_ino, status.st_mtime_ns)
    return found


def make_images(folder: Path, count: int) -> None:
    """Pictures of a few sizes, some with a prompt beside them, some damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        size = (48 + 16 * (i % 4), 64 + 32 * (i % 3))
        picture(random.Random(i), *size).save(folder / f"{i:05d}.png")
        if i % 3 == 0:
            (folder / f"{i:05d}.txt").write_text(f"picture {i}, a red fox")
    for i in range(_NUM_FAILING):
        (folder / f"{i:05d}b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(i))


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _all_end(pids: list[int], timeout_s: float = 120.0) -> bool:
    """Whether processes whose parent was killed end by themselves.

    The time is counted in looks, so that a machine that was suspended meanwhile ends nothing.
    """
    every_s = 0.2
    for _ in range(round(timeout_s / every_s)):
        if not any(_command_line(pid) for pid in pids):  # empty for a zombie, too
            return True
        time.sleep(every_s)
    return False


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line: 0 where nothing failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.run_kill_sweep")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--engine", choices=("local", "ray"), default="local")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--part-size", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="work here and leave everything")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        make_images(folder / "images", options.images)
        code = "import sys; from eliq.cli import main; sys.exit(main())"
        command = [
            sys.executable, "-c", code, "run", os.fspath(folder / "images"), "--no-report",
            "--checkpoint", os.fspath(tiny_critic(folder / "critic")), "--workers", "1",
            "--part-size", str(options.part_size), "--engine", options.engine,
        ]  # fmt: skip
        run = Sweep(command, folder, options.engine)
        sweep(run, options.kills, random.Random(options.seed))
        report = {
            "engine": options.engine,
            "kills": run.kills,
            "rows": len(run.expected),
            "unbroken_s": round(run.seconds, 1),
            "parts_kept": run.kept,
            "failures": run.failures,
        }
        sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
