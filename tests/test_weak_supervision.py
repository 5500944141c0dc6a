"""A linear regressor on the frozen head: its closed form, its place in the head, the script."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from eliq import Scorer
from eliq.correlation import srcc
from eliq.errors import ConfigError, EvaluationError, TrainingError
from eliq.head import HeadConfig, ScoringHead
from tests.rounding import SCORE_ROUNDING
from training import weak_supervision
from training.evaluation.rated import RatedImage, RatedSet
from training.smoke_pictures import write_smoke_pictures
from training.weak import Features, Ridge, fit_ridge, fold_into_head, read_features, study
from training.weak.ridge import PENALTIES


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def test_ridge_by_hand():
    # One feature of mean 0 and variance 1, slope 2: the penalty 1 halves it, (1 / (1 + 1)).
    fit = fit_ridge([[-1.0], [1.0]], [1.0, 5.0], penalties=[1.0])
    assert fit.weights == pytest.approx([1.0]) and fit.offset == pytest.approx(3.0)
    assert fit([[3.0]]) == pytest.approx([6.0])


def test_ridge_solves_its_own_equations():
    x, y = noise(40, 6) * [1, 5, 0.1, 2, 30, 1] + 3, noise(40, seed=1)
    fit = fit_ridge(x, y, penalties=[0.3])
    z = (x - x.mean(0)) / x.std(0)
    expected = np.linalg.solve(z.T @ z / 40 + 0.3 * np.eye(6), z.T @ (y - y.mean()) / 40)
    assert fit.weights * x.std(0) == pytest.approx(expected)
    assert fit(x).mean() == pytest.approx(y.mean())


def test_ridge_does_not_depend_on_units_and_ignores_what_is_constant():
    x, y = noise(60, 5), noise(60, seed=1)
    scale = np.array([1e-3, 1, 1e3, 7, 1])
    plain, scaled = fit_ridge(x, y), fit_ridge(x * scale + 11, y)
    assert scaled(x * scale + 11) == pytest.approx(plain(x))
    with_constant = fit_ridge(np.c_[x, np.full(60, 4.0)], y)
    assert with_constant.weights[-1] == 0 and with_constant.weights[:-1] == pytest.approx(
        plain.weights
    )


def test_the_penalty_is_large_for_noise_and_small_for_signal():
    x = noise(200, 20)
    assert fit_ridge(x, noise(200, seed=2)).penalty == max(PENALTIES)
    assert fit_ridge(x, x @ noise(20, seed=3)).penalty < 1e-3


def test_folds_keep_a_prompt_together():
    """A feature that names the prompt predicts nothing of another one: grouped folds see that."""
    groups = [str(i // 10) for i in range(100)]
    x = np.eye(10)[np.arange(100) // 10] + noise(100, 10) * 1e-3
    y = noise(10, seed=1)[np.arange(100) // 10]
    assert fit_ridge(x, y, groups=groups).penalty > 10 * fit_ridge(x, y).penalty


def test_ridge_refuses():
    for x, y in (
        (np.zeros((3, 2)), [1.0, 2.0]),
        (np.zeros(3), [1.0, 2.0, 3.0]),
        ([[np.nan], [1.0]], [1.0, 2.0]),
    ):
        with pytest.raises(ConfigError):
            fit_ridge(x, y)
    with pytest.raises(ConfigError, match="2 groups"):
        fit_ridge(noise(4, 2), noise(4), groups=["a"] * 4)
    with pytest.raises(ConfigError, match="penalties"):
        fit_ridge(noise(4, 2), noise(4), penalties=[0.0])


@pytest.mark.parametrize("mask", [False, True])
def test_tokens_are_what_the_scores_are_read_from(mask):
    torch.manual_seed(0)
    head = ScoringHead(HeadConfig(24, model_dim=16, num_heads=2, mask_visual_query=mask)).eval()
    z = torch.randn(3, 5, 24)
    visual, alignment = head.encode(*z)
    assert visual.shape == alignment.shape == (5, 16)
    assert torch.equal(head.qqt.score_visual(visual).squeeze(-1), head(*z).visual_quality)
    assert torch.equal(head.qqt.score_alignment(alignment).squeeze(-1), head(*z).alignment)
    other, _ = head.encode(z[0], z[1], torch.randn(5, 24))
    assert torch.equal(other, visual) == mask


def test_folded_head_gives_the_regression():
    torch.manual_seed(0)
    head = ScoringHead(HeadConfig(24, model_dim=16, num_heads=2)).eval()
    z = torch.randn(3, 50, 24) * 4
    regressor = Ridge(noise(16) * 10, 37.5, 0.1)
    folded = fold_into_head(head, {"visual_quality": regressor})
    expected = regressor(head.encode(*z)[0].detach().double().numpy())
    assert folded(*z).visual_quality.detach().numpy() == pytest.approx(expected, rel=1e-5, abs=1e-4)
    assert torch.equal(folded(*z).alignment, head(*z).alignment)
    assert not torch.equal(folded(*z).visual_quality, head(*z).visual_quality)  # head unchanged
    with pytest.raises(ConfigError, match="expected 16 weights"):
        fold_into_head(head, {"alignment": Ridge(np.zeros(3), 0.0, 1.0)})
    with pytest.raises(ConfigError, match="visual_quality or alignment"):
        fold_into_head(head, {"quality": regressor})


def rated_and_features(num_prompts: int = 30, each: int = 6) -> tuple[RatedSet, Features]:
    """Opinions that are linear in the tokens, and raw scores that are noise."""
    number = num_prompts * each
    tokens = torch.as_tensor(noise(number, 8), dtype=torch.float32)
    quality = tokens.double().numpy() @ noise(8, seed=5) + 0.1 * noise(number, seed=6)
    rows = tuple(
        RatedImage(str(i), Path(f"{i}.png"), quality=float(quality[i]), prompt=f"p{i // each}")
        for i in range(number)
    )
    raw = torch.as_tensor(noise(number, 2, seed=7), dtype=torch.float32)
    ok = torch.ones(number, dtype=torch.bool)
    return RatedSet("own", rows), Features(tokens, tokens, raw, ok)


def test_study_finds_what_the_tokens_know():
    rated, features = rated_and_features()
    found = study(features, rated, "quality", num_splits=4)
    assert found.weak["srcc"]["mean"] > 0.95
    assert abs(found.label_free["srcc"]["mean"]) < 0.3
    assert found.num_labelled == 36 and found.num_tested == 144 and found.num_failed == 0
    predicted = torch.as_tensor(found.regressor(features.visual.numpy()))
    scaled = found.scale["weak"](predicted)
    assert srcc(scaled, predicted) == pytest.approx(1) and 0 < scaled.min() < scaled.max() < 1
    assert json.dumps(found.to_json())


def test_study_leaves_out_what_could_not_be_scored():
    rated, features = rated_and_features()
    features.is_scored[:6] = False
    features.visual[:6] = torch.nan
    assert study(features, rated, "quality", num_splits=2).num_failed == 6
    with pytest.raises(EvaluationError, match="alignment"):
        study(features, rated, "alignment")


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.from_pretrained(device="cpu", probe=False)


def test_features_are_the_scorers_own_and_are_kept(scorer, tmp_path):
    folder = write_smoke_pictures(tmp_path / "images")
    (folder / "broken.png").write_bytes(b"no image")
    names = ["0.png", "1.png", "broken.png"]
    rows = [SimpleNamespace(id=n, path=folder / n, prompt="a red box") for n in names]
    found = read_features(scorer, rows, tmp_path / "tokens", progress=False)
    assert found.is_scored.tolist() == [True, True, False]
    scores = scorer.score([row.path for row in rows], "a red box")
    for column, name in enumerate(("visual_quality", "alignment")):
        raw = found.raw[:2, column].tolist()
        assert raw == pytest.approx(scores.raw[name][:2].tolist(), abs=SCORE_ROUNDING)
    (folder / "0.png").write_bytes((folder / "0.png").read_bytes())  # same size: read from disk
    again = read_features(scorer, rows, tmp_path / "tokens", progress=False)
    assert torch.equal(again.visual[:2], found.visual[:2])
    with pytest.raises(TrainingError, match="another"):
        read_features(scorer, rows[:2], tmp_path / "tokens", progress=False)


def test_smoke_from_set_to_checkpoint(tmp_path, capsys):
    arguments = ["--smoke", "--quiet", "--splits", "2"]
    assert weak_supervision.main([*arguments, "--out", str(tmp_path)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["opinions"]) == {"quality", "alignment"}
    critic = Scorer.from_pretrained(report["checkpoint"], device="cpu", probe=False)
    facts = critic.training["weak_supervision"]
    assert facts["form"] == "regressor" and facts["parent"] == report["critic"]
    assert set(critic.mos_calibration) == {"visual_quality", "alignment"}
    assert weak_supervision.main(["csv"]) == 2
