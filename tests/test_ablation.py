"""Ablations: what a variant leaves out, what it replaces, and the comparison of all."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from eliq.errors import ConfigError, TrainingError
from eliq.head import HeadConfig
from tests.tiny_supervision import write_set
from training.ablate import main
from training.ablation import SETS, AblationConfig, choose
from training.ablation.heads import HEADS, RepresentedHead
from training.ablation.negatives import ALL_NEGATIVES, Negatives, family
from training.ablation.published import PUBLISHED
from training.ablation.statistics import Bootstrap
from training.dataset import read_supervision
from training.evaluation.smoke_set import write_smoke_set
from training.ranking import ranking_losses
from training.stage1_batches import HIGH, LOW, make_batch
from training.stage2_config import Stage2Config


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Tuples of conventional visual negatives, every other wrong prompt a shuffled one."""
    found = read_supervision(write_set(tmp_path_factory.mktemp("set"), num_sources=6))
    kinds = ("shuffle", "object")
    return replace(
        found,
        tuples=tuple(
            replace(row, negative_prompt_kind=kinds[i % 2]) for i, row in enumerate(found.tuples)
        ),
    )


def test_families_leave_single_negatives_out(rows):
    assert [family(row, "alignment") for row in rows.tuples[:2]] == ["conventional", "ai_specific"]
    conventional = Negatives(families=("conventional",)).of(rows)
    assert [conventional.aspects(row) for row in conventional.tuples[:2]] == [
        ("technical", "aesthetic", "alignment"),
        ("technical", "aesthetic"),
    ]
    assert len(conventional.tuples) == len(conventional.ladders) == 6
    generated = Negatives(families=("ai_specific",)).of(rows)
    assert [row.tuple_id for row in generated.tuples] == ["t001", "t003", "t005"]
    assert not generated.ladders and generated.left_out <= {
        (row.tuple_id, aspect) for row in generated.tuples for aspect in ("technical", "aesthetic")
    }
    assert len({rows.rows_sha256, conventional.rows_sha256, generated.rows_sha256}) == 3
    assert ALL_NEGATIVES.of(rows) == rows
    with pytest.raises(TrainingError, match="build a set that has some"):
        Negatives(("ai_specific",), ("technical",)).of(rows)
    with pytest.raises(ConfigError, match="aspects"):
        Negatives(aspects=("sharpness",))


def test_aspects_take_their_ladders_along(rows):
    assert not Negatives(aspects=("aesthetic",)).of(rows).ladders
    assert len(Negatives(aspects=("aesthetic",), keep_ladders=True).of(rows).ladders) == 6
    assert len(Negatives(aspects=("technical", "alignment")).of(rows).ladders) == 6


def test_stage1_does_not_ask_what_is_left_out(rows):
    row = rows.tuples[0]
    batch = make_batch([row, row], [], [("aesthetic",), ("technical", "alignment")])
    assert [[q.aspect for q in asked] for asked in batch.questions] == [
        ["aesthetic"], ["aesthetic"],
        ["technical", "alignment", "alignment"], ["technical"],
    ]  # fmt: skip
    assert batch.labels.tolist() == [HIGH, LOW, HIGH, HIGH, LOW, LOW]
    assert batch.tuples.tolist() == [[-1, 0, -1, -1, -1, 1], [2, -1, 3, 4, 5, -1]]
    whole = make_batch([row], [])
    assert whole.labels.tolist() == [HIGH, HIGH, HIGH, LOW, LOW, LOW]
    assert whole.tuples.tolist() == [[0, 1, 2, 3, 4, 5]]


def test_ranking_losses_by_hand():
    visual = torch.tensor([[1.0, 0.5, 3.0], [0.0, -2.0, 0.0]], requires_grad=True)
    alignment = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    everything = torch.ones(2, 3, dtype=torch.bool)
    for mask in (None, everything):
        vis, ali = ranking_losses(visual, alignment, mask, margin=1.0)
        assert vis.item() == pytest.approx((0.5 + 0.0) / 2 + (3.0 + 1.0) / 2)
        assert ali.item() == pytest.approx((1.0 + 0.0) / 2)
    mask = torch.tensor([[True, False, False], [False, False, True]])
    vis, ali = ranking_losses(visual, alignment, mask, margin=1.0)
    assert (vis.item(), ali.item()) == (0.5, 0.0)
    vis.backward()
    assert visual.grad.tolist() == [[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]


@pytest.mark.parametrize("name", HEADS)
def test_heads_have_one_form(name):
    torch.manual_seed(0)
    head = HEADS[name](HeadConfig(12, model_dim=8, num_layers=1, num_heads=2, ffn_dim=16))
    z = [torch.randn(5, 12) for _ in range(3)]
    out = head(*z)
    assert out.visual_quality.shape == out.alignment.shape == (5,)
    assert not torch.equal(out.visual_quality, out.alignment)
    out.visual_quality.sum().backward()
    assert head.fusion.gate_technical.weight.grad.abs().sum() > 0


def test_a_linear_head_is_linear_in_the_fused_embedding():
    torch.manual_seed(0)
    head = HEADS["linear"](HeadConfig(4, model_dim=8, num_heads=2))
    tec, aes, ali = (torch.randn(3, 4) for _ in range(3))
    z = [head.norm(one) for one in (tec, aes, ali)]
    content = torch.cat([head.fusion(z[0], z[1]), z[2]], dim=-1)
    expected = content @ head.qqt.score_alignment.weight[0] + head.qqt.score_alignment.bias
    assert torch.allclose(head(tec, aes, ali).alignment, expected, atol=1e-6)


def test_a_represented_head_takes_plain_embeddings():
    torch.manual_seed(0)
    head = HEADS["qqt"](HeadConfig(4, model_dim=8, num_heads=2))
    tec, aes, ali = (torch.randn(3, 4) for _ in range(3))
    mean = RepresentedHead(head, "mean")(tec, aes, ali)
    assert torch.equal(mean.alignment, head((tec + aes) / 2, (tec + aes) / 2, ali).alignment)
    alone = RepresentedHead(head, "technical")
    assert torch.equal(alone(tec, aes, ali)[0], alone(tec, -aes, ali)[0])


def test_shares_and_intervals_by_hand(rows):
    test = replace(rows, ladders=rows.ladders[:2])
    bootstrap = Bootstrap(test, num_resamples=400, confidence=0.9, seed=0)
    assert bootstrap.num_prompts == 6 and bootstrap.count("visual") == 12
    assert bootstrap.count("alignment/conventional") == 3 and bootstrap.count("ladder") == 2
    outcome = {
        "technical": [1, 1, 1, 1, 1, 1],
        "aesthetic": [0, 0, 0, 1, 1, 1],
        "alignment": [1, 0, 1, 0, 1, 0],
        "ladder": [[3, 3], [0, 3]],
    }
    shares = {name: bootstrap.shares([outcome], name) for name in ("visual", "aesthetic", "ladder")}
    assert [round(share[0], 3) for share in shares.values()] == [0.75, 0.5, 0.5]
    assert bootstrap.shares([outcome], "alignment/conventional")[0] == 1.0
    assert np.isnan(bootstrap.shares([outcome], "technical/ai_specific")[0])
    low, high = bootstrap.value(shares["aesthetic"])["interval"]
    assert 0 <= low < 0.5 < high <= 1
    same = bootstrap.value(shares["visual"] - bootstrap.shares([outcome, outcome], "visual"))
    assert same == {"value": 0.0, "interval": [0.0, 0.0]}, "differences are paired"


def test_variants_share_their_stage_1():
    variants = choose()
    assert len({variant.name for variant in variants}) == len(variants)
    backbones = {variant.backbone for variant in variants}
    assert len(backbones) == 11, "full, two families, six aspects, no ladders, untuned"
    full = variants[0].backbone
    for variant in choose(["representation", "qqt"]):
        assert variant.backbone == full and not variant.untrained(Stage2Config())
    untrained = {v.name: v.untrained(Stage2Config()) for v in variants}
    untrained = {name: found for name, found in untrained.items() if found}
    assert untrained == {
        "aspects/technical": ("alignment",),
        "aspects/aesthetic": ("alignment",),
        "aspects/alignment": ("visual",),
        "aspects/technical_aesthetic": ("alignment",),
        "losses/no_alignment_loss": ("alignment",),
    }
    ali = next(variant for variant in variants if variant.name == "aspects/alignment")
    assert not ali.untrained(Stage2Config(margin_weight=0.5)), "margins move s_vis too"
    assert [v.name for v in choose(["qqt/mlp"])] == ["full", "qqt/mlp"]
    with pytest.raises(ConfigError, match="qtt"):
        choose(["qtt"])


def test_published_rows_are_those_of_the_paper():
    assert {name: len(found) for name, found in PUBLISHED.items()} == {"families": 3, "aspects": 7}
    for name, found in PUBLISHED.items():
        known = {"full"} | {v.name.removeprefix(f"{name}/") for v in SETS[name].variants}
        assert {row.variant for row in found} <= known
        assert vars(found[-1]) | {"label": "", "source": ""} == {
            "variant": "full", "label": "", "source": "", "visual_srcc": 0.801,
            "visual_plcc": 0.827, "alignment_srcc": 0.717, "alignment_plcc": 0.730,
        }  # fmt: skip


def test_config_goes_to_and_from_json():
    config = AblationConfig("tiny", test_share=0.4)
    assert AblationConfig.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ConfigError, match="test_share"):
        AblationConfig(test_share=1.0)


def test_one_command_compares_and_goes_on(tmp_path, capsys):
    out, ratings = tmp_path / "run", write_smoke_set(tmp_path / "rated")
    command = ["--smoke", "--quiet", "--device", "cpu", "--out", str(out)]
    assert main([*command, "--only", "qqt/linear", "families/ai_specific"]) == 0
    order = json.loads(capsys.readouterr().out)["order"]
    assert set(order) == {"families", "qqt"}
    assert set(order["qqt"]["visual"]) == {"full", "qqt/linear"}
    results = json.loads((out / "results.json").read_text())
    row = results["sets"]["families"]["variants"][1]
    assert row["head"]["visual"]["interval"] and row["seeds"] == [0]
    train, validation, test = results["num_tuples"]
    assert train + validation + test == 24 and min(train, validation, test) > 0
    report = (out / "report.md").read_text()
    assert "Conv+AI-spec (published, Table 4, no. 3)" in report

    # A result that was lost is made anew, and is the same; the others are not touched.
    finished = {path: path.read_bytes() for path in out.rglob("result.json")}
    assert len(finished) == 3
    lost = out / "variants" / "qqt" / "linear" / "seed-0"
    for path in sorted(lost.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    command_again = [*command, "--only", "qqt/linear", "--evaluate", f"csv={ratings}"]
    assert main(command_again) == 0
    srcc = json.loads(capsys.readouterr().out)["evaluation"]["srcc"]["ratings"]
    assert {"full", "qqt/linear"} <= set(srcc["quality"])
    assert {path: path.read_bytes() for path in out.rglob("result.json")} == finished

    assert main([*command, "--only", "qqt", "--stage2", "num_steps=9"]) == 2
    assert "num_steps" in capsys.readouterr().err


def test_wrong_input_is_said_in_one_line(tmp_path, capsys):
    assert main([]) == 2
    assert main(["--smoke", "--only", "nothing"]) == 2
    assert main(["--smoke", "--evaluate", "nothing=x"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and all(line.startswith("error: ") for line in lines)
    assert main(["--list"]) == 0
    assert "losses/paper" in capsys.readouterr().out
