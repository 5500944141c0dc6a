"""Every benchmark runs from its command line on a tiny random critic, and reports what it says."""

from __future__ import annotations

import importlib
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import common, niqe, photo_ladder, rivals
from tests.tiny import image


@pytest.fixture(scope="module", autouse=True)
def _photographs_are_installed():
    pytest.importorskip("skimage")
    pytest.importorskip("sklearn")


def test_eight_colour_photographs_of_at_most_512_px():
    photographs = common.load_photographs()
    assert len(photographs) == 8
    for pixels in photographs.values():
        assert pixels.dtype == np.uint8 and pixels.shape[2] == 3
        assert 256 <= min(pixels.shape[:2]) and max(pixels.shape[:2]) <= 512
        assert pixels.std(axis=2).mean() > 1  # colour


def test_photo_ladder(tiny_checkpoint_dir, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    out, picture = tmp_path / "out.json", tmp_path / "out.png"
    arguments = ["--smoke", "--checkpoint", str(tiny_checkpoint_dir), "--families", "blur"]
    photo_ladder.main([*arguments, "--json", str(out), "--picture", str(picture)])
    result = json.loads(out.read_text())
    curves = result["scores"]["visual_quality"]["blur"]
    assert len(curves) == 2 and all(len(scores) == 6 for scores in curves.values())
    mean = result["summary"]["visual_quality"]["mean"]
    assert -1 <= mean["within"] <= 1 and mean["interval"][0] <= mean["interval"][1]
    assert picture.stat().st_size > 1000
    printed = capsys.readouterr().out
    for words in ("BRISQUE", "NIQE", "technical", "within", "pooled", "aim 0.95"):
        assert words in printed


def test_photo_ladder_names_a_rival_that_is_missing(tiny_scorer, monkeypatch, capsys):
    missing = [rivals.Rival("NIQE", None, "not installed: how to get it")]
    monkeypatch.setattr(photo_ladder, "load_rivals", lambda: missing)
    photo_ladder.main(["--smoke", "--families", "dark"], scorer=tiny_scorer)
    printed = capsys.readouterr().out
    assert "| NIQE" in printed and "not installed" in printed and "how to get it" in printed


def test_ordering_of_a_ladder():
    severities = [0, 1, 2, 3, 4, 5]
    assert photo_ladder.ordering([9, 8, 7, 6, 5, 4], severities) == pytest.approx(1)
    assert photo_ladder.ordering([4, 5, 6, 7, 8, 9], severities) == pytest.approx(-1)
    assert photo_ladder.ordering([1, 1, 1, 1, 1, 1], severities) == 0
    assert photo_ladder.ordering([9, math.nan, 7, 6, 5, 4], severities) == pytest.approx(1)


def test_pooled_asks_for_the_same_score_at_the_same_severity():
    ladder = np.arange(6.0)[::-1]
    curves = {"m": {"blur": {"a": list(ladder), "b": list(ladder + 100)}}}
    row = photo_ladder.summarise(curves)["m"]["blur"]
    assert row["within"] == pytest.approx(1) and row["pooled"] < 0.6


class BrightnessScorer:
    """Visual quality is the mean of the pixels, alignment the length of the prompt."""

    def score(self, images, prompts):
        visual = [float(image.mean()) for image in images]
        raw = {"visual_quality": visual, "alignment": [float(len(p)) for p in prompts]}
        errors = [None] * len(visual)
        return SimpleNamespace(visual_quality=visual, raw=raw, errors=errors)


def test_trust(tmp_path, capsys):
    trust = importlib.import_module("benchmarks.trust")
    out = tmp_path / "out.json"
    trust.main(["--smoke", "--json", str(out)], scorer=BrightnessScorer())
    result = json.loads(out.read_text())
    empty, changes = result["empty"], result["changes"]
    assert empty["black"]["photographs_above"] == 2 and empty["white"]["photographs_above"] == 0
    assert changes["mirrored"]["visual_quality"]["mean"] < 1e-4
    assert 0 < changes["writing in the image"]["visual_quality"]["mean"]
    assert changes["writing in the image"]["alignment"]["mean"] == 0
    # Suffixes add characters: 13.5 on average, in units of the deviation of the prompts' lengths.
    lengths = [len(trust.PROMPTS[name]) for name in ("astronaut", "chelsea")]
    added = np.mean([len(suffix) for suffix in trust.SUFFIXES[:2]])
    moved = changes["suffix of the prompt"]["alignment"]
    assert moved["mean"] == pytest.approx(added / np.std(lengths))
    assert moved["num"] == 4 and moved["signed_mean"] == pytest.approx(moved["mean"])
    assert "severity 4 and 5 below 0.5" in capsys.readouterr().out


def test_shares_on_the_right_side_of_one_half():
    trust = importlib.import_module("benchmarks.trust")
    whole, damaged = np.zeros((4, 3)), np.zeros((4, 1, 5, 3))
    whole[:3, 0] = 0.9
    damaged[:, :, 4, 0] = 0.8  # severity 5 is taken for good, 4 is not; 1 to 3 do not count
    damaged[:, :, :3, 0] = 0.9
    found = trust.calibration(whole, damaged)
    assert found["undamaged_above_half"] == 0.75 and found["severe_below_half"] == 0.5


def test_packing(tmp_path):
    packing = importlib.import_module("benchmarks.packing")
    out = tmp_path / "out.json"
    packing.main(["--smoke", "--json", str(out)])
    (row,) = json.loads(out.read_text())["sizes"]
    assert row["max_relative_difference"] < 1e-4
    assert 1.5 < row["flop_ratio"] < 3 and row["time_ratio"] > 0


def test_flop_of_attention_is_counted():
    import torch

    from benchmarks.packing import count_flop

    q, mask = torch.randn(1, 2, 10, 8), torch.ones(1, 1, 10, 10, dtype=torch.bool)
    attention = torch.nn.functional.scaled_dot_product_attention
    # Two products of 10 x 10 x 8 for each of 2 heads, 2 operations a product.
    _, flop = count_flop(lambda: attention(q, q, q, attn_mask=mask))
    assert flop == 2 * 2 * 2 * 10 * 10 * 8


def test_patch_projection(tmp_path, capsys):
    projection = importlib.import_module("benchmarks.patch_projection")
    out = tmp_path / "out.json"
    projection.main(["--smoke", "--json", str(out)])
    row = json.loads(out.read_text())["rows"][0]
    assert row["conv3d_ms"] > 0 and row["product_ms"] > 0 and row["max_difference"] < 1e-4
    assert "ratio" in capsys.readouterr().out


def test_embedded(tiny_checkpoint_dir, tmp_path, capsys):
    import torch

    threads = torch.get_num_threads()
    embedded = importlib.import_module("benchmarks.embedded")
    out = tmp_path / "out.json"
    embedded.main(["--smoke", "--checkpoint", str(tiny_checkpoint_dir), "--json", str(out)])
    result = json.loads(out.read_text())
    assert result["environment"]["threads"] == 1 and torch.get_num_threads() == threads
    assert result["batch"]["images_per_s"]["one_call"] > 0
    assert result["batch"]["max_raw_difference"] < 1e-4
    assert "peak memory" in capsys.readouterr().out


def test_run_says_which_command_failed_and_keeps_the_other_rows(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    commands = importlib.import_module("benchmarks.run")
    out, missing = tmp_path / "out.json", tmp_path / "no critic"
    words = ["--smoke", "--parts", "memory", "--checkpoint", str(missing), "--json", str(out)]
    with pytest.raises(SystemExit, match="--engine local on 4 images ended with 1; .* on 8 images"):
        commands.main(words)
    assert [row["images"] for row in json.loads(out.read_text())["memory"]] == [4, 8]
    assert "| 8 | local | ended with 1 |" in " ".join(capsys.readouterr().out.split())


def test_scenes(tiny_scorer, tmp_path, capsys):
    sprites = pytest.importorskip("training.embedded.sprites")
    if not sprites.Path(sprites.DEFAULT_FONT).exists():
        pytest.skip("the renderer's emoji font is not installed")
    scenes = importlib.import_module("benchmarks.scenes")
    out = tmp_path / "out.json"
    scenes.main(["--smoke", "--json", str(out)], scorer=tiny_scorer)
    result = json.loads(out.read_text())
    assert result["accuracy"]["summary"]["visual pairs"]["num_pairs"] == 4 * 7
    assert "object" in result["accuracy"]["hard swaps"]
    assert result["prompt_swap"]["num_swaps"] > 4
    assert min(result["image_damaged"].values()) > 0
    printed = capsys.readouterr().out
    assert "gate 0.93" in printed and "95 % interval" in printed


def test_prompt_dependence_is_a_share_of_the_spread():
    scenes = importlib.import_module("benchmarks.scenes")
    found = scenes.prompt_dependence([0.0, 0.0], [1.0, 3.0], [-2.0, 2.0])  # spread 2
    assert found["mean_share"] == pytest.approx(1.0)
    assert scenes.prompt_dependence([0.0], [0.0], [1.0, 1.0])["spread_raw"] == 0


def test_damages_repeat_and_cover_the_table():
    scenes = importlib.import_module("benchmarks.scenes")
    pixels = (image(64, 64) * 255).byte().permute(1, 2, 0).numpy()
    seen = set()
    for index in range(6):
        damages = scenes.damaged(pixels, index, 8_000_000 + index)
        again = scenes.damaged(pixels, index, 8_000_000 + index)
        assert all(np.array_equal(a[0], b[0]) for a, b in zip(damages, again, strict=True))
        seen |= {name for _, name, _ in damages}
    assert len(seen) >= 25


def test_niqe_prefers_a_photograph_to_its_noise():
    pytest.importorskip("scipy")
    model = niqe.find_pristine_model()
    if model is None:
        pytest.skip("basicsr, which ships the parameters, is not installed")
    pixels = common.load_photographs(1)["astronaut"]
    noise = np.random.default_rng(0).normal(0, 15, pixels.shape)
    measure = niqe.Niqe(model)
    # 3.07 by basicsr 1.4.2 on the same pixels.
    assert measure(pixels) == pytest.approx(3.07, abs=0.05)
    assert measure(np.clip(pixels + noise, 0, 255).astype(np.uint8)) > 2 * measure(pixels)


def test_brisque_is_turned_so_that_higher_is_better():
    brisque = rivals.load_rivals()[0]
    if brisque.score is None:
        pytest.skip(brisque.note)
    pixels = common.load_photographs(1)["astronaut"]
    noise = np.random.default_rng(0).normal(0, 30, pixels.shape)
    assert brisque.score(pixels) > brisque.score(np.clip(pixels + noise, 0, 255).astype(np.uint8))


def test_json_has_no_nan(tmp_path):
    common.write_json(tmp_path / "a.json", {"a": [math.nan, 1.0], "b": {"c": math.inf}})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.0], "b": {"c": None}}


def test_markdown_table():
    table = common.markdown_table(["name", "x"], [["a", 1], ["long name", 22]])
    assert table.splitlines() == [
        "| name      |   x |",
        "| --------- | --: |",
        "| a         |   1 |",
        "| long name |  22 |",
    ]
