"""The best-of-N benchmark runs from its command line, and counts what it says it counts."""

from __future__ import annotations

import importlib
import json

import pytest

pytest.importorskip("diffusers")


def test_best_of_n(tiny_scorer, tmp_path, capsys):
    benchmark = importlib.import_module("benchmarks.best_of_n")
    out = tmp_path / "out.json"
    benchmark.main(["--smoke", "--trial", "--json", str(out)], scorer=tiny_scorer)
    result = json.loads(out.read_text())
    runs = result["runs"]
    assert runs["all, then score"]["rows"] == 8 * 4 * 2  # N, steps, guidance
    # 4 steps: eight candidates run the first, two the second, one the others.
    for name, method in (("pruned, one batch", "rows"), ("pruned, paused calls", "calls")):
        assert runs[name]["method"] == method and runs[name]["decodes"] == 1
        assert runs[name]["rows"] == (8 + 2 + 1 + 1) * 2 and runs[name]["row_share"] <= 0.45
    assert runs["trial: nothing dropped"]["row_share"] == 1
    assert all(0 < row["scorer_share"] < 1 for row in runs.values())
    assert result["scorer_memory_mib"]["weights"] > 0
    printed = capsys.readouterr().out
    for words in ("tiny random pipeline", "cpu", "N = 8", "gate 45%: met", "memory added", "SRCC"):
        assert words in printed


def test_rows_are_counted_in_the_forward_itself():
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    benchmark = importlib.import_module("benchmarks.best_of_n")
    pipe = SimpleNamespace(unet=torch.nn.Linear(3, 3))
    with benchmark.counted(pipe) as counts:
        pipe.unet(torch.zeros(5, 3))
    assert counts == {"rows": 5} and "forward" not in vars(pipe.unet)
