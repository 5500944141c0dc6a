"""The gate: what is not worse is dropped, with the reason, and counted by kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eliq.supervision import GENERATED_KINDS, GeneratedNegative, SupervisionConfig
from eliq.supervision.sources import Source
from training.negatives import GateConfig, GateReport, judge, load_opinion
from training.negatives.detail import detail_energy
from training.negatives.gate import REASONS

GATE = GateConfig(scorer="made up", min_margin=0.5)
SIZE = SupervisionConfig(max_side_px=64)
RNG = np.random.default_rng(0)


class ByBrightness:
    """Brighter is better in every aspect; a prompt that names the image's tone adds 1."""

    fingerprint = "by brightness"

    def __init__(self) -> None:
        self.num_asked = 0

    def ask(self, paths, prompts):
        self.num_asked += len(paths)
        rows = []
        for path, prompt in zip(paths, prompts, strict=True):
            level = np.asarray(Image.open(path)).mean() / 64
            tone = "bright" if level > 2 else "dark"
            aligned = 1.0 if tone in prompt else 0.0
            rows.append({"technical": level, "aesthetic": level, "alignment": aligned})
        return rows


def picture(folder: Path, name: str, level: float, *, size_px: int = 64, blur: int = 1) -> str:
    field = np.random.default_rng(1).normal(0, 20, (size_px // blur, size_px // blur, 3))
    field = field.repeat(blur, axis=0).repeat(blur, axis=1)
    pixels = np.clip(level + field, 0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def pair(folder: Path, kind: str, negative: str, *, prompt: str = "bright", said: str = "dark"):
    made = GeneratedNegative("n1", kind, "p.png", prompt, negative, said, None, {})
    return made, Source("p.png", str(folder / "p.png"), prompt)


@pytest.fixture
def folder(tmp_path) -> Path:
    picture(tmp_path, "p.png", 160)
    return tmp_path


@pytest.mark.parametrize("kind", [k for k in GENERATED_KINDS if k not in ("early_decode",)])
def test_worse_passes_and_not_worse_does_not(folder, kind):
    darker = pair(folder, kind, picture(folder, "dark.png", 60))
    brighter = pair(folder, kind, picture(folder, "light.png", 200))
    verdicts = judge([darker, brighter, darker], GATE, SIZE, ByBrightness())
    assert [verdict.reason for verdict in verdicts] == [None, "not_worse", None]
    if kind != "prompt_variant":  # mean levels of 160 and 60 by hand, up to the clipping
        assert verdicts[0].measures["margin"] == pytest.approx(100 / 64, abs=0.01)


def test_a_margin_is_a_margin(folder):
    negative = pair(folder, "weak_generator", picture(folder, "a.png", 120))  # 40/64 = 0.625
    for margin, reason in ((0.6, None), (0.65, "not_worse")):
        found = judge([negative], GateConfig("x", min_margin=margin), SIZE, ByBrightness())
        assert found[0].reason == reason


def test_a_variant_must_match_its_own_prompt_and_no_other(folder):
    dark = picture(folder, "dark.png", 60)
    light = picture(folder, "light.png", 200)
    right = pair(folder, "prompt_variant", dark)
    not_drawn = pair(folder, "prompt_variant", light)  # the generator did not draw the variant
    same = pair(folder, "prompt_variant", dark, said="dark, not bright")
    found = judge([right, not_drawn, same], GATE, SIZE, ByBrightness())
    assert [verdict.reason for verdict in found] == [None, "not_worse", "not_worse"]
    assert found[0].measures["margin"] == found[0].measures["margin_variant"] == 1
    assert (found[1].measures["margin"], found[1].measures["margin_variant"]) == (1, -1)
    assert (found[2].measures["margin"], found[2].measures["margin_variant"]) == (0, 1)


def test_what_the_pixels_say_comes_first(folder):
    opinion = ByBrightness()
    flat = folder / "flat.png"
    Image.new("RGB", (64, 64), (9, 9, 9)).save(flat)
    torn = folder / "torn.png"
    torn.write_bytes((folder / "p.png").read_bytes()[:200])
    pairs = [
        pair(folder, "degraded_prompt", path)
        for path in (
            str(folder / "none.png"),
            str(torn),
            str(flat),
            picture(folder, "small.png", 60, size_px=48),
            str(folder / "p.png"),
        )
    ]
    reasons = [verdict.reason for verdict in judge(pairs, GATE, SIZE, opinion)]
    assert reasons == ["unreadable", "unreadable", "unreadable", "enlarged", "identical"]
    assert opinion.num_asked == 0 and set(reasons) < set(REASONS)


def test_an_early_decode_has_less_detail(folder):
    soft = pair(folder, "early_decode", picture(folder, "soft.png", 60, blur=4))
    sharp = pair(folder, "early_decode", picture(folder, "sharp.png", 60))
    noisy = pair(folder, "weak_generator", picture(folder, "sharp.png", 60))
    found = judge([soft, sharp, noisy], GATE, SIZE, ByBrightness())
    assert [verdict.reason for verdict in found] == [None, "not_less_detail", None]
    assert found[0].measures["detail_ratio"] < 0.6


def test_without_an_opinion_the_pixels_alone_decide(folder):
    brighter = pair(folder, "degraded_look", picture(folder, "light.png", 200))
    assert judge([brighter], GATE, SIZE, None)[0].reason is None
    assert load_opinion("none") is None


def test_an_opinion_without_a_number_keeps_nothing(folder):
    class Silent(ByBrightness):
        def ask(self, paths, prompts):
            return [dict.fromkeys(("technical", "aesthetic", "alignment")) for _ in paths]

    dark = pair(folder, "degraded_look", picture(folder, "dark.png", 60))
    assert judge([dark], GATE, SIZE, Silent())[0].reason == "no_opinion"


def test_positives_of_other_lossy_codecs_have_no_match(tmp_path):
    picture(tmp_path, "p.png", 160)
    Image.open(tmp_path / "p.png").save(tmp_path / "p.webp", quality=40)
    made, _ = pair(tmp_path, "degraded_look", picture(tmp_path, "dark.png", 60))
    source = Source("p.webp", str(tmp_path / "p.webp"), "bright")
    assert judge([(made, source)], GATE, SIZE, None)[0].reason == "lossy_positive"


def test_detail_by_hand():
    ramp = np.tile(np.arange(8, dtype=np.uint8)[:, None, None] * 10, (1, 8, 3))
    assert detail_energy(ramp) == pytest.approx(0, abs=1e-6), "a plane has no Laplacian"
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 200).astype(np.uint8)[..., None].repeat(3, 2)
    # Every inner Laplacian is 4*200 away from 0; the variance of the board is 100 squared.
    assert detail_energy(board) == pytest.approx(800**2 / 100**2, rel=1e-4)
    assert detail_energy(np.zeros((8, 8, 3), np.uint8)) == 0
    paler = (board // 2).astype(np.uint8)
    assert detail_energy(paler) == pytest.approx(detail_energy(board), rel=1e-4)


def test_the_report_says_how_many_and_why():
    kinds = {"early_decode": {"judged": 5, "kept": 3, "dropped": {"identical": 2}},
             "degraded_look": {"judged": 1, "kept": 1, "dropped": {}}}  # fmt: skip
    report = GateReport("embedded", kinds)
    assert report.num_kept == 4
    assert report.lines() == [
        "early_decode: 3 of 5 kept, dropped 2 identical",
        "degraded_look: 1 of 1 kept",
    ]
