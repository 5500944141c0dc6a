"""The sweeps over ``eliq run`` see what they are for, and its benchmark runs."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

pytest.importorskip("pyarrow", reason="needs eliq[bulk]")

from benchmarks import process_tree
from benchmarks import report as report_benchmark
from benchmarks import run as run_benchmark
from benchmarks.process_tree import MemoryWatch, descendants
from tests import run_hostile, run_kill_sweep

ROOT = Path(__file__).resolve().parents[1]
needs_proc = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")


class FakeBatch:
    def __init__(self, rows: list[dict]) -> None:
        self.to_pylist = lambda: rows


def row(name: str, error_class: str | None = None, ms: float = 1.0) -> dict:
    status = "ok" if error_class is None else "failed"
    error = None if error_class is None else "decoding took more than 31 s"
    return {"id": name, "status": status, "error_class": error_class, "error": error, "ms": ms}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row("a"), row("b", "damaged_image")], None),
        ([row("a")], "'b' has no row"),
        ([row("a"), row("b"), row("b")], "'b' has 2 rows"),
        ([row("a"), row("b"), row("c")], "'c' is no file of the set"),
        ([row("a"), row("b", "ValueError")], "a class without a name: ValueError"),
        ([row("a"), row("b", "decoder_crashed")], "'b' took its decoder down"),
        ([row("a"), row("b", "decode_timeout", ms=0.0)], "'b' took more than 6.0 s"),
        ([row("a"), row("b", ms=9000.0)], "'b' took more than 6.0 s"),
    ],
)
def test_what_the_sweep_of_hostile_files_finds(monkeypatch, rows, said):
    monkeypatch.setattr("eliq.bulk.iterate_rows", lambda out: [FakeBatch(rows)])
    facts, failures = run_hostile.judge((b"a", b"b"), Path(), limit_s=6.0)
    assert failures == ([] if said is None else [said])
    assert facts["rows"] == len(rows)


@pytest.mark.parametrize(
    ("main_mib", "other_mib", "said"),
    [
        (988, 2251, []),
        (1300, 400, ["peak_main_mib: 1300 MiB, expected at most 1280"]),
        (400, 2600, ["peak_other_mib: 2600 MiB, expected at most 2560"]),
    ],
)
def test_the_sweep_of_hostile_files_bounds_memory(monkeypatch, capsys, main_mib, other_mib, said):
    peaks = {"peak_main_mib": main_mib, "peak_other_mib": other_mib}
    monkeypatch.setattr(run_hostile, "run", lambda *words: (3, peaks, ""))
    assert run_hostile.main(["--count", "1"]) == bool(said)
    assert json.loads(capsys.readouterr().out)["failures"] == said


@needs_proc
def test_the_watch_sees_the_memory_of_children():
    held = 200 << 20
    code = f"import time; data = bytearray(b'x') * {held}; time.sleep(900)"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {code!r}])"
    process = subprocess.Popen([sys.executable, "-c", outer], start_new_session=True)
    try:
        with MemoryWatch(process.pid, every_s=0.02) as watch:
            deadline_s = time.monotonic() + 600
            while watch.peaks_mib()["peak_other_mib"] < 190 and time.monotonic() < deadline_s:
                time.sleep(0.02)
        assert len(descendants(process.pid)) == 2
        assert 190 < watch.peaks_mib()["peak_other_mib"] <= watch.peaks_mib()["peak_tree_mib"]
        assert watch.peaks_mib()["peak_main_mib"] < 100
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_the_load_of_others(monkeypatch):
    """Processor seconds of others over seconds of the clock; not known stays not known."""
    monkeypatch.setattr(process_tree.time, "monotonic", iter([10.0, 14.0]).__next__)
    monkeypatch.setattr(process_tree, "_other_cpu_s", iter([100.0, 106.0]).__next__)
    with process_tree.OtherLoad() as others:
        assert math.isnan(others.cores)
    assert others.cores == 1.5


def sweep_of(monkeypatch, tmp_path: Path, script: str) -> run_kill_sweep.Sweep:
    """The sweep of a small script in place of `eliq run`: its parts are its rows."""

    def fake_rows(out: Path) -> list[dict]:
        files = sorted((out / "parts").glob("*.parquet"))
        return [{"id": line} for path in files for line in path.read_text().split()]

    monkeypatch.setattr(run_kill_sweep, "rows", fake_rows)
    path = tmp_path / "fake.py"
    path.write_text(script)
    return run_kill_sweep.Sweep([sys.executable, os.fspath(path)], tmp_path, "local")


SCRIPT = """
import json, os, sys, time
out = sys.argv[sys.argv.index("--out") + 1]
os.makedirs(out + "/parts", exist_ok=True)
for i in range(8):
    path = f"{out}/parts/{i}.parquet"
    if FORGETFUL or not os.path.exists(path):
        time.sleep(0.05)
        with open(path + ".new", "w") as file:
            file.write(f"{i} {i}b " + ("0 " if DOUBLING and i else ""))
        os.replace(path + ".new", path)
json.dump({"num_images": 16 + 7 * DOUBLING}, open(out + "/summary.json", "w"))
sys.exit(3)
"""


@needs_proc
@pytest.mark.parametrize(
    ("forgetful", "doubling", "said"),
    [(0, 0, None), (1, 0, "was made twice"), (0, 1, "7 rows are doubled")],
)
def test_what_the_sweep_of_kills_finds(monkeypatch, tmp_path, forgetful, doubling, said):
    script = f"FORGETFUL, DOUBLING = {forgetful}, {doubling}\n" + SCRIPT
    run = sweep_of(monkeypatch, tmp_path, script)
    kills = 4 if said is None else 40  # a bad one ends at the kill that shows it
    run_kill_sweep.sweep(run, kills, random.Random(0))
    if said is None:
        assert run.failures == [] and run.kills == 4 and run.kept > 0
    else:
        assert any(said in failure for failure in run.failures), run.failures


def test_the_benchmark(tiny_checkpoint_dir, tmp_path, capsys):
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    out = tmp_path / "out.json"
    arguments = ["--smoke", "--parts", "rate", "--checkpoint", str(tiny_checkpoint_dir)]
    run_benchmark.main([*arguments, "--json", str(out)])
    (rate,) = json.loads(out.read_text())["rate"]["rows"]
    assert rate["share"] > 0 and rate["workers"] == 1
    assert rate["turns"] >= 1 and rate["turns"] + rate["turns_left_out"] == 2
    assert "gate 90 %" in capsys.readouterr().out


def measured(*peaks: tuple[str, int, int], share: float = 0.95) -> dict:
    memory = [
        {"engine": engine, "images": images, "exit_code": 0, "seconds": 1.0,
         "peak_tree_mib": mib, "peak_main_mib": mib} for engine, images, mib in peaks
    ]  # fmt: skip
    return {"rate": {"rows": [{"workers": 1, "share": share}]}, "memory": memory}


@pytest.mark.parametrize(
    ("result", "said"),
    [
        (measured(("local", 100, 800), ("local", 2000, 870), ("ray", 100, 1700)), []),
        (measured(share=0.89), ["1 workers: 89.0 % of the scorer alone, expected 90 %"]),
        (
            measured(("ray", 100, 1700), ("local", 2000, 890), ("local", 100, 800)),
            ["local: the peak at 2000 images is 1.11 times that at 100, expected at most 1.10"],
        ),
        (measured(("local", 100, 0), ("local", 2000, 0)), []),  # no /proc
    ],
)
def test_gates_of_the_benchmark(result, said):
    assert run_benchmark.missed_gates(result) == said


@pytest.mark.parametrize("smoke", [False, True])
def test_a_missed_gate_of_the_benchmark_is_an_exit_code(monkeypatch, tmp_path, capsys, smoke):
    """After the table is printed and the result written; with --smoke nothing is judged."""
    rows = measured(("local", 100, 800), ("local", 2000, 900))["memory"]
    monkeypatch.setattr(run_benchmark, "measure_commands", lambda *words: rows)
    words = ["--parts", "memory", "--json", str(tmp_path / "a.json"), *["--smoke"][: int(smoke)]]
    if smoke:
        run_benchmark.main(words)
    else:
        with pytest.raises(SystemExit, match="1.12 times"):
            run_benchmark.main(words)
    assert len(json.loads((tmp_path / "a.json").read_text())["missed_gates"]) == (not smoke)
    assert "| 2000 | local |" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"open_s": 2.5}, "open_s: median 2.50, expected less than 2"),
        ({"rethreshold_ms": [120.0]}, "rethreshold_ms: median 120.00, expected less than 100"),
        ({"requests": 1}, "1 requests to the network"),
    ],
)
@pytest.mark.parametrize("smoke", [False, True])
def test_a_missed_gate_of_the_report_is_an_exit_code(
    monkeypatch, tmp_path, capsys, changed, said, smoke
):
    found = {"open_s": 0.4, "rethreshold_ms": [30.0], "strips_ms": 100.0, "requests": 0}
    monkeypatch.setattr(report_benchmark, "open_browser", nullcontext)
    monkeypatch.setattr(report_benchmark, "measure", lambda *words: found | changed)
    words = ["--rows", "20", "--repeats", "1", "--json", str(tmp_path / "a.json")]
    if said is None or smoke:
        report_benchmark.main([*words, *["--smoke"][: int(smoke)]])
    else:
        with pytest.raises(SystemExit, match=said):
            report_benchmark.main(words)
    assert json.loads((tmp_path / "a.json").read_text())["rows"] > 0
    assert "rethreshold (ms)" in capsys.readouterr().out


@pytest.mark.slow
@needs_proc
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_a_few_kills(engine):
    """`python -m tests.run_kill_sweep --kills 100` is the whole sweep."""
    if engine == "ray":
        pytest.importorskip("ray", reason="needs eliq[ray]")
    done = subprocess.run(
        [
            sys.executable, "-m", "tests.run_kill_sweep", "--kills", "3", "--images", "60",
            "--part-size", "8", "--engine", engine,
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
