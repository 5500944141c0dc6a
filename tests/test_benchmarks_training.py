"""The benchmarks of both stages run from their command lines, and say what they measured."""

from __future__ import annotations

import importlib
import json

import pytest


def test_stage1(tmp_path, capsys):
    pytest.importorskip("peft")
    benchmark = importlib.import_module("benchmarks.stage1")
    out = tmp_path / "out.json"
    benchmark.main(["--smoke", "--json", str(out), "--images", "2"])
    (row,) = json.loads(out.read_text())["sizes"]
    assert row["size_px"] == 64 and set(row["median_s"]) == set(row["tflop"])
    # 4 image tokens beside some 30 of each question: the prefix saves little, the tower two thirds.
    assert row["flop_ratio"] > 1.5
    assert max(row["gradient_difference"].values()) < 1e-4, "packing changes no gradient"
    printed = capsys.readouterr().out
    assert "gradient difference" in printed and "gate" not in printed


def test_stage2(tmp_path, capsys):
    benchmark = importlib.import_module("benchmarks.stage2")
    out = tmp_path / "out.json"
    benchmark.main(["--smoke", "--json", str(out)])
    (row,) = json.loads(out.read_text())["rows"]
    assert row["num_steps"] == 4 and row["seconds"] > 0
    assert "| width" in capsys.readouterr().out


def test_training_precision(tmp_path, capsys):
    benchmark = importlib.import_module("benchmarks.training_precision")
    out = tmp_path / "out.json"
    benchmark.main(["--smoke", "--json", str(out)])
    found = json.loads(out.read_text())
    assert [row["batch"] for row in found["rows"]] == ["ladders", "scenes"]
    for row in found["rows"]:
        taken = row[f"{found['taken']}_ms"]
        other = row["bfloat16_ms"] + row["float32_ms"] - taken
        assert row["ratio"] == pytest.approx(other / taken)
    assert f"| {found['taken']} |" in capsys.readouterr().out


def test_made_embeddings_hold_the_order_that_is_asked_of_the_head():
    benchmark = importlib.import_module("benchmarks.stage2")
    cache = benchmark.made_cache(50, 20, 64, seed=0)
    change = (cache.tuple_technical[:, 0] - cache.tuple_technical[:, 1]).mean(0)
    along = (cache.tuple_technical @ change) / change.norm()
    assert (along[:, 0] > along[:, 1]).float().mean() > 0.6
    assert cache.ladder_technical.shape == (20, 6, 64) and bool(cache.ladder_valid.all())
