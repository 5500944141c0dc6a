"""The audit of a gate's scorer: margins on negatives whose truth is known."""

from __future__ import annotations

import numpy as np
from PIL import Image

from eliq.supervision import SupervisionConfig
from eliq.supervision.sources import read_sources
from training.audit_gate import MARGINS, Margin, audit, main, summary
from training.smoke_pictures import write_smoke_pictures


class BySharpness:
    """Any change of the pixels is worse, by how much; a shorter prompt fits better."""

    fingerprint = "by sharpness"

    def ask(self, paths, prompts):
        first = np.asarray(Image.open(paths[0])).astype(float)
        moved = [np.abs(np.asarray(Image.open(p)) - first).mean() for p in paths]
        return [
            {"technical": -m, "aesthetic": m, "alignment": None if "red" in text else 0.0}
            for m, text in zip(moved, prompts, strict=True)
        ]


def test_shares_by_hand():
    values = (3.0, 0.3, -0.1, -0.6, None)
    margins = [Margin("technical", "severity 1", value) for value in values]
    said = summary(margins)
    assert set(said) == {"technical", "technical: severity 1"}
    whole = said["technical"]
    assert (whole["number"], whole["without_number"]) == (5, 1)
    assert whole["kept"] == {"0.0": 0.5, "0.25": 0.5, "0.5": 0.25, "1.0": 0.25, "2.0": 0.25}
    assert whole["reversed"] == {"0.0": 0.5, "0.25": 0.25, "0.5": 0.25, "1.0": 0.0, "2.0": 0.0}


def test_every_aspect_and_severity_is_asked(tmp_path):
    sources = read_sources(write_smoke_pictures(tmp_path))
    size = SupervisionConfig(max_side_px=64)
    parts = list(audit(sources, BySharpness(), supervision=size, per_severity=2))
    assert len(parts) == 6
    margins = [margin for part in parts for margin in part]
    for aspect in ("technical", "aesthetic"):
        assert len([m for m in margins if m.aspect == aspect]) == 6 * 5 * 2
    said = summary(margins)
    assert said["technical"]["kept"]["0.0"] == 1 and said["technical"]["reversed"]["0.25"] == 0
    assert said["aesthetic"]["reversed"]["0.0"] == 1, "a scorer that is wrong is found out"
    assert said["alignment"]["without_number"] > 0
    assert len(MARGINS) == len(said["technical"]["kept"])
    again = list(audit(sources, BySharpness(), supervision=size, per_severity=2))
    assert again == parts


def test_wrong_input_is_named(capsys, tmp_path):
    assert main([]) == 2 and "IMAGES" in capsys.readouterr().err
    assert main(["--smoke", "--scorer", "none"]) == 2
    assert "--scorer" in capsys.readouterr().err
    for flag in ("--num-images", "--per-severity", "--seed"):
        assert main(["--smoke", flag, "-1"]) == 2 and flag in capsys.readouterr().err
    (tmp_path / "constant.txt").write_text("a grey wall")
    Image.new("RGB", (80, 80), "grey").save(tmp_path / "constant.png")
    assert main([str(tmp_path)]) == 2 and "found 1 with one" in capsys.readouterr().err
