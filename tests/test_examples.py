"""The example images are what their list says, and the example scripts run."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "examples" / "images"
ROWS = [json.loads(line) for line in (IMAGES / "prompts.jsonl").read_text("utf-8").splitlines()]
EMBEDDED = ROOT / "eliq" / "embedded" / "model.safetensors"


def test_every_image_is_listed_once_and_has_its_licence():
    assert sorted(row["path"] for row in ROWS) == sorted(p.name for p in IMAGES.glob("*.jpg"))
    sources = (IMAGES / "SOURCES.md").read_text(encoding="utf-8")
    for row in ROWS:
        assert row["prompt"] and row["license"] and row["source"]
        stem = "scene_" if row["path"].startswith("scene_") else row["path"][:-4].rsplit("_", 1)[0]
        assert f"`{stem}" in sources or f"`{row['path'][:-4]}*`" in sources
        assert row["source"].split(":")[1] in sources or row["path"].startswith("scene_")


def test_neither_size_nor_codec_tells_clean_from_degraded():
    clean = {row["source"]: row["path"] for row in ROWS if row["degradation"] is None}
    settings = set()
    for row in ROWS:
        with (
            Image.open(IMAGES / row["path"]) as image,
            Image.open(IMAGES / clean[row["source"]]) as original,
        ):
            assert image.format == "JPEG" and image.size == original.size
            assert max(image.size) <= 512
            settings.add(json.dumps(image.quantization))
    assert len(clean) == 12 and len(ROWS) == 24
    assert len(settings) == 1
    assert sum((IMAGES / row["path"]).stat().st_size for row in ROWS) < 2_500_000


def test_a_wrong_prompt_comes_with_the_same_picture():
    for row in ROWS:
        if row["degradation"] and "wrong_prompt" in row["degradation"]:
            right = next(r for r in ROWS if r["source"] == row["source"])
            assert right["prompt"] == row["degradation"]["true_prompt"] != row["prompt"]
            wrong_bytes = (IMAGES / row["path"]).read_bytes()
            assert wrong_bytes == (IMAGES / right["path"]).read_bytes()


def test_the_photographs_are_made_again_from_their_sources(tmp_path):
    """The same pictures but for the codec, whose last bits differ between its versions."""
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")
    script = runpy.run_path(str(ROOT / "examples" / "make_example_images.py"))
    (tmp_path / "scenes.jsonl").write_text("")
    made = script["make"](tmp_path, tmp_path)
    expected = [row for row in ROWS if row["path"].startswith("photo_")]
    assert [row["path"] for row in made] == [row["path"] for row in expected]
    assert [row["prompt"] for row in made] == [row["prompt"] for row in expected]
    for row in expected:
        ours = np.asarray(Image.open(IMAGES / row["path"]), np.int16)
        again = np.asarray(Image.open(tmp_path / row["path"]), np.int16)
        assert np.abs(ours - again).mean() < 2, row["path"]


@pytest.mark.skipif(not EMBEDDED.exists(), reason="the embedded critic is not built yet")
def test_score_images_runs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["score_images.py", "--smoke"])
    runpy.run_path(str(ROOT / "examples" / "score_images.py"), run_name="__main__")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and all(line.endswith(".jpg") for line in lines)


@pytest.fixture
def run_example(monkeypatch, capsys, tmp_path, tiny_checkpoint_dir):
    """Runs a script of examples/ with the tiny critic; gives its lines and the folder it fills."""

    def run(name, *words):
        folder = ROOT / "examples"
        monkeypatch.syspath_prepend(folder)  # as for a script that is run by its path
        out = ["--critic", str(tiny_checkpoint_dir), "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", [name, *out, *words])
        runpy.run_path(str(folder / name), run_name="__main__")
        return capsys.readouterr().out.splitlines(), tmp_path

    pytest.importorskip("diffusers")
    return run


def test_best_of_n_runs(run_example):
    lines, out = run_example("best_of_n.py", "--steps", "2")
    assert len(lines) == 6 and lines[-1].endswith("same = True")
    assert {p.name for p in out.iterdir()} == {"best.png", "candidates.html", "result.json"}
    means = [float(line.split()[-1]) for line in lines[1:5]]
    assert means == sorted(means, reverse=True)


@pytest.mark.parametrize(("least", "words"), [("0", "1 tries: passed"), ("1", "3 tries: none")])
def test_reroll_runs(run_example, least, words):
    minimums = ["--min-visual-quality", least, "--min-alignment", least]
    lines, out = run_example("reroll.py", "--steps", "2", "--max-tries", "3", *minimums)
    assert lines[-1].startswith(words) and (out / "best.png").is_file()


@pytest.mark.parametrize(("words", "share"), [((), "41%"), (("--trial",), "100%")])
def test_prune_runs(run_example, words, share):
    lines, out = run_example("prune.py", "--steps", "10", *words)
    survivors = [line for line in lines[1:9] if not line.endswith("-")]
    assert len(survivors) == (8 if words else 1) and (out / "best.png").is_file()
    assert f"({share})" in lines[9] and f"{len(survivors)} of 8 decodes" in lines[9]


def test_lora_sweep_runs(run_example):
    pytest.importorskip("peft")
    lines, out = run_example("lora_sweep.py", "--steps", "2", "-n", "1")
    assert [line.split()[0] for line in lines[1:]] == ["0.00", "0.50", "1.00"]
    assert len(json.loads((out / "sweep.json").read_text())) == 3
