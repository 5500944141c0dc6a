"""Stage 1 on a tiny backbone: what is supervised, exact gradients, resuming, LoRA by peft."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from eliq.errors import ConfigError, TrainingError
from eliq.supervision import bare_prompt
from tests.rounding import SCORE_ROUNDING
from tests.tiny_supervision import write_set
from training.adapters import add_lora, has_lora, merge_lora
from training.asking import Asking, Question
from training.curves import CurveLog
from training.dataset import read_supervision
from training.export import freeze_critic
from training.optimizers import build_optimizers
from training.stage1 import Stage1Config, prepare, stage1_loss, train_stage1
from training.stage1_batches import HIGH, IGNORED, LOW, MicroBatches, make_batch
from training.tiny_backbone import tiny_backbone

SETTINGS = {
    "num_steps": 6,
    "tuples_per_forward": 2,
    "ladders_per_forward": 1,
    "grad_accumulation": 1,
    "tuning": "full",
    "learning_rate": 3e-3,
    "precision": "float32",
    "gradient_checkpointing": False,
    "validate_every": 6,
    "save_every": 3,
}


@pytest.fixture(scope="module")
def supervision(tmp_path_factory):
    return read_supervision(write_set(tmp_path_factory.mktemp("set")))


@pytest.fixture(scope="module")
def split(supervision):
    return supervision.split(0.2)


class StopAfter:
    """A stop request that comes after a number of steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


def losses(run_dir) -> list[float]:
    return [row["loss"] for row in CurveLog(run_dir).rows() if "loss" in row]


def test_the_split_is_by_prompt_and_the_same_again(supervision):
    train, held_out = supervision.split(0.3, seed=1)
    assert {r.prompt for r in train.tuples}.isdisjoint({r.prompt for r in held_out.tuples})
    assert {r.source for r in train.tuples}.isdisjoint({r.source for r in held_out.tuples})
    assert {r.source for r in train.ladders}.isdisjoint({r.source for r in held_out.tuples})
    assert len(held_out.tuples) == 3 and len(held_out.ladders) == 3
    assert supervision.split(0.3, seed=1)[1] == held_out
    assert supervision.split(0.3, seed=2)[1] != held_out


def test_all_images_of_a_prompt_fall_on_one_side_and_shuffles_stay_there(supervision):
    """The layout of the paper: each prompt through several generators."""
    prompts = [f"a fox, number {i}" for i in range(20)]
    tuples = tuple(
        replace(
            supervision.tuples[0],
            tuple_id=f"{i}-{generator}",
            source=f"{generator}/{i}.png",
            prompt=prompt.upper() + "." if generator == 2 else prompt,
            negative_prompt=prompts[i - 7],
            negative_prompt_kind="shuffle",
        )
        for i, prompt in enumerate(prompts)
        for generator in range(3)
    )
    whole = replace(supervision, tuples=tuples, ladders=())
    train, held_out = whole.split(0.25)
    sides = [{bare_prompt(r.prompt) for r in side.tuples} for side in (train, held_out)]
    assert [len(side) for side in sides] == [15, 5] and not sides[0] & sides[1]
    assert [len(side.tuples) for side in (train, held_out)] == [45, 15]
    for rows, own in zip((train, held_out), sides, strict=True):
        for row in rows.tuples:
            assert bare_prompt(row.negative_prompt) in own
            assert bare_prompt(row.negative_prompt) != bare_prompt(row.prompt)
    again = whole.split(0.25)
    assert (train + held_out).rows_sha256 == (again[0] + again[1]).rows_sha256

    # A side of one prompt has no other to shuffle with: its tuples stay as they are.
    two = replace(whole, tuples=(tuples[0], tuples[21]))
    assert [side.tuples[0] in two.tuples for side in two.split(0.5)] == [True, True]
    with pytest.raises(TrainingError, match="at least 2 prompts"):
        replace(whole, tuples=tuples[:3]).split(0.25)


def test_a_picture_under_two_prompts_falls_on_one_side(supervision, tmp_path):
    """As in examples/images, where a picture stands again with a wrong prompt."""
    rows = []
    for i in range(12):  # pictures 0..5, each of them under two prompts that a hash would part
        path = tmp_path / f"{i}.png"
        path.write_bytes(b"picture %d" % (i % 6))
        prompt = f"a fox, number {i}"
        rows.append(replace(supervision.tuples[0], tuple_id=str(i), positive=str(path),
                            source=path.name, prompt=prompt))  # fmt: skip
    for seed in range(4):
        sides = replace(supervision, tuples=tuple(rows), ladders=()).split(0.34, seed=seed)
        pictures = [{int(row.tuple_id) % 6 for row in side.tuples} for side in sides]
        assert len(pictures[0]) == 4 and len(pictures[1]) == 2 and not pictures[0] & pictures[1]


def test_only_what_the_construction_guarantees_is_supervised(supervision):
    """Paper 3.3.1: I+ high in all aspects, each negative low in its primary aspect alone."""
    row, ladder = supervision.tuples[0], supervision.ladders[0]
    batch = make_batch([row], [ladder])
    asked = [[(q.aspect, q.prompt) for q in questions] for questions in batch.questions]
    assert asked[:3] == [
        [
            ("technical", None),
            ("aesthetic", None),
            ("alignment", row.prompt),
            ("alignment", row.negative_prompt),
        ],
        [("technical", None)],
        [("aesthetic", None)],
    ]
    assert batch.labels.tolist() == [HIGH, HIGH, HIGH, LOW, LOW, LOW] + [IGNORED] * 4
    assert batch.tuples.tolist() == [[0, 1, 2, 3, 4, 5]]
    assert batch.ladders.tolist() == [[6, 7, 8, 9]]


def test_each_epoch_holds_every_tuple_once(supervision):
    batches = MicroBatches(supervision, num_tuples=5, num_ladders=0, seed=0)
    prompts = [[q[2].prompt for q in batches[k].questions[::3]] for k in range(4)]
    assert sorted(prompts[0] + prompts[1]) == sorted(row.prompt for row in supervision.tuples)
    assert prompts[0] + prompts[1] != prompts[2] + prompts[3]
    assert torch.equal(batches[3].images[0], batches[3].images[0])


def test_ragged_questions_get_the_answers_of_the_three_question_pass(supervision):
    backbone = tiny_backbone()
    batch = make_batch(list(supervision.tuples[:2]), [])
    prompts = [supervision.tuples[0].prompt, None, None, supervision.tuples[1].prompt, None, None]
    whole = backbone.embed(batch.images, prompts)
    with torch.no_grad():
        answers = Asking(backbone)(batch.images, batch.questions)
    places = batch.tuples
    for i in range(2):
        expected = torch.stack(
            [whole.technical[3 * i], whole.aesthetic[3 * i], whole.alignment[3 * i]]
        )
        assert torch.allclose(answers.states[places[i, :3]], expected, atol=SCORE_ROUNDING)
        assert torch.allclose(
            answers.margins[places[i, 4]], whole.margins[3 * i + 1, 0], atol=SCORE_ROUNDING
        )
        assert torch.allclose(
            answers.margins[places[i, 5]], whole.margins[3 * i + 2, 1], atol=SCORE_ROUNDING
        )


def test_the_loss_is_the_mean_log_likelihood_plus_the_ladder(supervision):
    backbone = tiny_backbone()
    config = Stage1Config(**SETTINGS | {"ladder_weight": 0.5})
    batch = make_batch([supervision.tuples[0]], [supervision.ladders[0]])
    layout = backbone.layout
    with torch.no_grad():
        answers = Asking(backbone)(batch.images, batch.questions, batch.labels != IGNORED)
        loss, _ = stage1_loss(answers, batch, torch.tensor([layout.low_id, layout.high_id]), config)
    words = [layout.high_id] * 3 + [layout.low_id] * 3
    wanted = -answers.logits.log_softmax(-1)[range(6), words].mean()
    chain = answers.margins[6:]
    steps = (0.3 - chain[:-1] + chain[1:]).clamp(min=0).mean()
    total = (1.0 - chain[0] + chain[-1]).clamp(min=0)
    assert loss.item() == pytest.approx((wanted + 0.5 * (steps + total)).item(), rel=1e-5)


def test_the_loss_falls_and_a_stopped_run_ends_as_an_unbroken_one(split, tmp_path):
    train, held_out = split
    config = Stage1Config(**SETTINGS | {"num_steps": 8})
    unbroken = tiny_backbone()
    result = train_stage1(unbroken, train, held_out, config, tmp_path / "a", progress=False)
    course = losses(tmp_path / "a")
    assert result.steps == 8 and not result.stopped
    assert sum(course[-3:]) < 0.6 * sum(course[:3])
    assert {"technical", "aesthetic", "alignment", "ladder", "score"} <= set(result.validation)

    broken = tiny_backbone()
    first = train_stage1(
        broken, train, held_out, config, tmp_path / "b", stop=StopAfter(4), progress=False
    )
    assert first.stopped and first.steps == 4
    resumed = tiny_backbone()
    second = train_stage1(resumed, train, held_out, config, tmp_path / "b", progress=False)
    assert second == result
    assert losses(tmp_path / "b") == course
    for name, tensor in unbroken.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (tmp_path / "a" / "curves.png").is_file()

    with pytest.raises(TrainingError, match=r"config\.learning_rate was 0\.003 and is now 0\.1"):
        other = Stage1Config(**SETTINGS | {"num_steps": 8, "learning_rate": 0.1})
        train_stage1(tiny_backbone(), train, held_out, other, tmp_path / "b", progress=False)
    with pytest.raises(TrainingError, match="backbone_sha256"):
        train_stage1(tiny_backbone(seed=1), train, held_out, config, tmp_path / "b", progress=False)


def test_the_best_weights_are_those_of_the_steps_that_were_kept(split, tmp_path, monkeypatch):
    """Killed after a best step was saved and before the run was: that step never happened."""
    config = Stage1Config(**SETTINGS | {"validate_every": 2, "save_every": 6})
    scores = iter([0.5, 0.9])
    monkeypatch.setattr("training.stage1.validate", lambda *_, **__: {"score": next(scores)})
    kept = {}

    def draw(log, title):
        if kept:
            raise KeyboardInterrupt
        kept.update({name: t.clone() for name, t in killed.model.state_dict().items()})

    killed, resumed = tiny_backbone(), tiny_backbone()
    with monkeypatch.context() as patch:
        patch.setattr(CurveLog, "draw", draw)
        with pytest.raises(KeyboardInterrupt):
            train_stage1(killed, *split, config, tmp_path, progress=False)
    scores = iter([0.2, 0.1])
    result = train_stage1(resumed, *split, config, tmp_path, progress=False)
    assert (result.steps, result.best_step, result.validation) == (6, 2, {"score": 0.5})
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, kept[name]), name


def test_lora_trains_both_towers_under_checkpointing_and_merges_exactly(split, tmp_path):
    pytest.importorskip("peft")
    train, held_out = split
    settings = {"tuning": "lora", "gradient_checkpointing": True, "lora_rank": 4, "num_steps": 3}
    backbone = tiny_backbone()
    before = {name: t.clone() for name, t in backbone.state_dict().items()}
    train_stage1(
        backbone, train, held_out, Stage1Config(**SETTINGS | settings), tmp_path, progress=False
    )
    moved = {n for n, p in backbone.named_parameters() if ".lora_B." in n and bool((p != 0).any())}
    for part in ("visual.blocks.0.attn.qkv", "visual.merger.linear_fc1", "layers.1.mlp.down_proj"):
        assert any(part in name for name in moved), part
    batch = make_batch([held_out.tuples[0]], [])
    with torch.no_grad():
        adapted = Asking(backbone)(batch.images, batch.questions)
        assert has_lora(backbone.model)
        freeze_critic(backbone)
        merged = Asking(backbone)(batch.images, batch.questions)
    assert torch.allclose(adapted.states, merged.states, atol=SCORE_ROUNDING)
    assert not has_lora(backbone.model)
    assert backbone.state_dict().keys() == before.keys()
    assert not any(p.requires_grad for p in backbone.parameters())


def test_an_older_torch_is_told_what_muon_needs(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ConfigError, match="torch 2.9"):
        build_optimizers(tiny_backbone(), kind="muon", learning_rate=1e-3, weight_decay=0.0)


def test_lora_is_an_exact_identity_at_first_and_leaves_the_patch_embedding_alone():
    pytest.importorskip("peft")
    plain, adapted = tiny_backbone(), tiny_backbone()
    add_lora(adapted.model, rank=2)
    assert not any("patch_embed" in n and "lora" in n for n, _ in adapted.named_parameters())
    only_language = tiny_backbone()
    add_lora(only_language.model, rank=2, vision=False)
    assert not any("visual" in n and "lora" in n for n, _ in only_language.named_parameters())
    pixels = [torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))]
    assert torch.equal(plain.embed(pixels, ["x"]).margins, adapted.embed(pixels, ["x"]).margins)
    assert merge_lora(adapted.model) == 2 * 7 + 2 * 4 + 2 * 2  # language, vision blocks, mergers


def test_gradient_checkpointing_changes_no_gradient(supervision):
    config = Stage1Config(**SETTINGS)
    batch = make_batch([supervision.tuples[0]], [supervision.ladders[0]])
    gradients = []
    for checkpointing in (False, True):
        backbone = tiny_backbone()
        settings = config.to_json() | {"gradient_checkpointing": checkpointing}
        asking = prepare(backbone, Stage1Config(**settings)).train()
        layout = backbone.layout
        answers = asking(batch.images, batch.questions, batch.labels != IGNORED)
        ids = torch.tensor([layout.low_id, layout.high_id])
        stage1_loss(answers, batch, ids, config)[0].backward()
        gradients.append({n: p.grad for n, p in backbone.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


def test_settings_go_through_json_and_refuse_what_they_do_not_know():
    config = Stage1Config(**SETTINGS)
    assert Stage1Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    with pytest.raises(ConfigError, match="learning_rat"):
        Stage1Config.from_json({"learning_rat": 1})
    with pytest.raises(ConfigError, match=r"tuning: expected one of .* found 'prefix'"):
        Stage1Config(tuning="prefix")
    assert Stage1Config(epochs=2, tuples_per_forward=4, grad_accumulation=2).steps(100) == 25


def test_question_without_a_prompt_is_about_an_empty_text():
    backbone = tiny_backbone()
    pixels = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answers = Asking(backbone)([pixels], [[Question("alignment"), Question("alignment", "")]])
    assert torch.allclose(answers.states[0], answers.states[1], atol=SCORE_ROUNDING)
