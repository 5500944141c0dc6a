"""Training IP-IQA: folds, resuming, Image2Prompt, rated scenes, the pointing check, the tables."""

from __future__ import annotations

import copy
import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from PIL import Image

from eliq.errors import TrainingError
from eliq.ip_iqa import PromptTokenizer
from training.evaluation import RatedImage, RatedSet
from training.ip_iqa import ablate as ablation
from training.ip_iqa import attention_check
from training.ip_iqa import image2prompt as pulling
from training.ip_iqa import train as training_command
from training.ip_iqa.ablation_report import margins, pooled
from training.ip_iqa.attention_figure import attention_figure
from training.ip_iqa.data import RatedData, TensorPixels, paired_data, rated_data, trimmed
from training.ip_iqa.fitting import correlations, fit, make_optimizer, predict
from training.ip_iqa.published import references
from training.ip_iqa.rated_scenes import SceneSettings, rated_scenes, true_scenes
from training.ip_iqa.settings import Image2PromptSettings, RatingSettings, SplitSettings
from training.ip_iqa.splits import grouped_folds, run_splits
from training.run_state import StopRequest
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_tokenizer

QUICK = RatingSettings(num_epochs=3, batch_size=4, learning_rate=1e-3, save_every=1)


def bright_data(num: int = 24) -> RatedData:
    """Plain images whose quality is their brightness; six prompts of four images."""
    generator = torch.Generator().manual_seed(0)
    level = torch.rand(num, generator=generator)
    pixels = (level.view(-1, 1, 1, 1) * 255).byte().expand(-1, 3, 64, 64).contiguous()
    prompts = tuple(f"thing {i // 4}" for i in range(num))
    encoder = PromptTokenizer(tiny_tokenizer(), tiny_config())
    ratings = torch.stack([5 * level, 5 * (1 - level)], dim=1)
    return RatedData(TensorPixels(pixels), prompts, encoder(prompts).ids, prompts, ratings)


class StopAfter(StopRequest):
    """Asks to stop once it was looked at `num` times."""

    def __init__(self, num: int) -> None:
        self.left = num

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left < 0


def same(a, b) -> bool:
    first, second = a.state_dict(), b.state_dict()
    return all(torch.equal(first[name], second[name]) for name in first)


def test_folds_share_no_prompt_and_lose_no_row():
    groups = [f"prompt {i // 5}" for i in range(300)]
    folds = grouped_folds(groups, SplitSettings())
    assert len(folds) == 10
    for fold in folds:
        parts = [{groups[i] for i in part} for part in fold]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert sorted(np.concatenate(fold).tolist()) == list(range(300))
        assert [len(part) for part in fold] == [210, 30, 60]
    assert len({tuple(fold.test) for fold in folds}) == 10
    again = grouped_folds(groups, SplitSettings())
    assert all(np.array_equal(a.test, b.test) for a, b in zip(folds, again, strict=True))


@pytest.mark.parametrize("stops", [(3,), (7, 4)])
def test_a_stopped_run_ends_with_the_weights_of_an_unbroken_one(tmp_path, stops):
    data, rows = bright_data(), list(range(16))
    unbroken = fit(tiny_model(), data, rows, range(16, 24), QUICK, tmp_path / "a", progress=False)
    for looks in stops:
        result = fit(
            tiny_model(), data, rows, range(16, 24), QUICK, tmp_path / "b",
            stop=StopAfter(looks), progress=False,
        )  # fmt: skip
        assert result.stopped
    resumed = fit(tiny_model(), data, rows, range(16, 24), QUICK, tmp_path / "b", progress=False)
    assert same(unbroken.model, resumed.model)
    assert unbroken.validation == resumed.validation
    lines = [(tmp_path / run / "metrics.jsonl").read_text() for run in "ab"]
    assert lines[0] == lines[1]


def test_training_learns_and_keeps_the_best_epoch_of_the_validation_fold(tmp_path):
    data, rows, held = bright_data(), list(range(16)), list(range(16, 24))
    settings = RatingSettings(num_epochs=12, batch_size=8, learning_rate=3e-3)
    result = fit(tiny_model(), data, rows, held, settings, tmp_path, progress=False)
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert logged[-1]["loss"] < 0.5 * logged[0]["loss"]
    best = max(range(12), key=lambda i: logged[i]["validation"]["mean"])
    assert result.best_epoch == best + 1
    again = correlations(result.model, predict(result.model, data, held), data.ratings[16:])
    assert again["mean"] == pytest.approx(logged[best]["validation"]["mean"], abs=1e-6)
    # Started once more it is finished at once, and still the best epoch, not the last.
    done = fit(tiny_model(), data, rows, held, settings, tmp_path, progress=False)
    assert same(done.model, result.model) and done.best_epoch == result.best_epoch


def test_a_run_directory_of_another_run_and_leaking_rows_are_refused(tmp_path):
    data, rows = bright_data(), list(range(16))
    once = RatingSettings(num_epochs=1, batch_size=4, learning_rate=1e-3)
    fit(tiny_model(), data, rows, range(16, 24), once, tmp_path, progress=False)
    with pytest.raises(TrainingError, match="start"):
        fit(tiny_model(seed=1), data, rows, range(16, 24), once, tmp_path, progress=False)
    with pytest.raises(TrainingError, match="thing 3"):
        fit(tiny_model(), data, rows, range(14, 24), once, tmp_path / "x", progress=False)
    with pytest.raises(TrainingError, match="batch"):
        fit(tiny_model(), data, range(2), range(16, 24), once, tmp_path / "x", progress=False)


def test_learning_rates_of_clip_of_what_is_new_and_of_the_head():
    model = tiny_model()
    optimizer = make_optimizer(model, RatingSettings(new_factor=2.0))
    rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert rates[id(model.visual.resnet.conv1.weight)] == pytest.approx(1e-5)
    assert rates[id(model.head[1].weight)] == pytest.approx(1e-4)
    assert rates[id(model.cross.query.weight)] == pytest.approx(2e-5)
    assert rates[id(model.text.clip.get_input_embeddings().qa)] == pytest.approx(2e-5)
    assert len(rates) == sum(p.requires_grad for p in model.parameters())
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)


def test_predictions_do_not_depend_on_the_batch_size():
    data, model = bright_data(10), tiny_model()
    one = predict(model, data, range(10), batch_size=1)
    assert torch.allclose(one, predict(model, data, range(10), batch_size=7), atol=1e-3)
    rows = [7, 2, 2]
    assert torch.allclose(predict(model, data, rows), one[rows], atol=1e-3)


def test_repeats_that_are_done_are_not_done_again(tmp_path):
    made = []

    def make(number):
        made.append(number)
        return tiny_model()

    splits = SplitSettings(num_splits=2, validation_share=0.2)
    settings = RatingSettings(num_epochs=1, batch_size=4, learning_rate=1e-3)
    arguments = (bright_data(40), settings, splits, tmp_path)
    first = run_splits(make, *arguments, progress=False)
    second = run_splits(make, *arguments, progress=False)
    assert made == [0, 1] and first.rows == second.rows
    values = [row["test"]["visual_quality_srcc"] for row in first.rows]
    assert first.mean()["visual_quality_srcc"] == pytest.approx(np.mean(values))
    assert first.deviation()["visual_quality_srcc"] == pytest.approx(np.std(values, ddof=1))


def test_image2prompt_pulls_images_to_their_prompts_and_resumes(tmp_path):
    scenes = rated_scenes(SceneSettings(size_px=64, num_nouns=4, num_prompts=10, per_prompt=4))
    model = tiny_model()
    encoder = PromptTokenizer(tiny_tokenizer(), model.config)
    columns = scenes.ratings.clone()
    data = RatedData(
        TensorPixels(scenes.images), tuple(scenes.prompts), encoder(scenes.prompts).ids,
        tuple(scenes.prompts), columns,
    )  # fmt: skip
    settings = Image2PromptSettings(num_epochs=2, batch_size=8, learning_rate=1e-3, num_checked=8)
    frozen = copy.deepcopy(model.text.state_dict())
    whole = copy.deepcopy(model)
    result = pulling.image2prompt(whole, data, settings, tmp_path / "a", progress=False)
    assert len(result.checks) == 3 and not result.stopped
    assert all(torch.equal(t, frozen[name]) for name, t in whole.text.state_dict().items())
    logged = (tmp_path / "a" / "metrics.jsonl").read_text()
    assert logged.count('"image_spread"') == 3
    losses = [json.loads(line)["loss"] for line in logged.splitlines() if '"loss"' in line]
    assert losses[1] < losses[0]
    broken = copy.deepcopy(model)
    stopped = pulling.image2prompt(
        broken, data, settings, tmp_path / "b", stop=StopAfter(6), progress=False
    )
    assert stopped.stopped
    broken = copy.deepcopy(model)
    pulling.image2prompt(broken, data, settings, tmp_path / "b", progress=False)
    assert same(whole, broken)
    fresh = copy.deepcopy(model)
    pulling.load_visual(fresh, tmp_path / "a")
    assert same(whole, fresh)


def test_a_collapsed_tower_is_reported(tmp_path, caplog):
    data, model = bright_data(20), tiny_model()
    with torch.no_grad():
        model.visual.resnet.attnpool.c_proj.weight.zero_()
        model.visual.resnet.attnpool.c_proj.bias.fill_(1.0)
    settings = Image2PromptSettings(num_epochs=1, batch_size=8, learning_rate=1e-9, num_checked=4)
    result = pulling.image2prompt(model, data, settings, tmp_path, progress=False)
    assert result.collapsed and result.checks[0]["image_spread"] == pytest.approx(0.0, abs=1e-5)
    assert "collapsed" in caplog.text


class LooksAt:
    """A model whose attention is known: all of it on the cells of the named thing, or elsewhere."""

    def __init__(self, scenes, words, right: bool) -> None:
        self.config = tiny_config(image_size_px=64)
        self.scenes, self.words, self.right = scenes, words, right

    def attention(self, images, tokens):
        row = next(
            i for i, image in enumerate(self.scenes.images)
            if torch.equal(image.float() / 255, images[0])
        )  # fmt: skip
        boxes = list(self.scenes.boxes[row].values())
        boxes = boxes if self.right else boxes[::-1]
        maps = [attention_check.box_weights(box, 2, 64) for box in boxes]
        maps = [m / m.sum() for m in maps]
        return type("Found", (), {"map": torch.stack(maps)})


def test_pointing_knows_right_from_wrong():
    scenes = true_scenes(SceneSettings(size_px=64), 30, seed=5)
    encoder = PromptTokenizer(tiny_tokenizer(), tiny_config())
    seen = attention_check.looks(LooksAt(scenes, encoder, True), encoder, scenes)
    missed = attention_check.looks(LooksAt(scenes, encoder, False), encoder, scenes)
    right, wrong = (attention_check.pointing(found) for found in (seen, missed))
    assert right["num_words"] == wrong["num_words"] > 20
    assert right["named_over_other"] > 0.95 and wrong["named_over_other"] < 0.05
    assert right["mass"] > right["mass_chance"] and right["swap"] > 0.95
    assert all(len(boxes) == 2 for boxes in scenes.boxes) and right["num_words"] == 60
    both = pooled([missed], [seen, missed])  # a scene that is looked at twice is one draw
    assert both["before"]["repeat 1"] == both["before"]["all repeats"] == wrong
    together = both["after"]["all repeats"]
    assert together["num_words"] == 120 and 0.4 < together["named_over_other"] < 0.6
    low, high = together["named_interval"]
    assert high - low < 0.1  # right and wrong in every scene alike
    with pytest.raises(TrainingError, match="two things"):
        attention_check.looks(tiny_model(), encoder, without_boxes(scenes))


def without_boxes(scenes):
    return dataclasses.replace(scenes, boxes=[{} for _ in scenes.boxes])


def test_the_figure_shows_every_scene_with_two_maps(tmp_path):
    scenes = true_scenes(SceneSettings(size_px=64), 3, seed=5)
    encoder = PromptTokenizer(tiny_tokenizer(), tiny_config())
    path = tmp_path / "new" / "attention.png"
    attention_figure(LooksAt(scenes, encoder, True), encoder, scenes, path, num_columns=1)
    with Image.open(path) as found:
        pixels = np.asarray(found.convert("RGB"), dtype=int)
    shown = [pixels[10:202, x : x + 192] for x in (10, 212, 414)]
    assert np.abs(shown[0] - shown[1]).mean() > 5 and np.abs(shown[1] - shown[2]).mean() > 1
    left, above, right, below = (3 * edge for edge in next(iter(scenes.boxes[0].values())))
    hot = shown[1].sum(axis=2)
    assert hot[above:below, left:right].mean() > hot.mean()


def test_tokens_are_trimmed_to_the_longest_row():
    tokens = torch.tensor([[9, 1, 8, 0, 0, 0], [9, 1, 2, 8, 0, 0]])
    assert trimmed(tokens).tolist() == [[9, 1, 8, 0, 0], [9, 1, 2, 8, 0]]
    full = torch.tensor([[9, 1, 8], [9, 2, 8]])
    assert torch.equal(trimmed(full), full)


def test_a_benchmark_becomes_data_and_what_it_lacks_is_said(tmp_path):
    rows = []
    for number in range(3):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (40 + number, 70), (number * 80, 10, 20)).save(path)
        rows.append(RatedImage(f"{number}", path, quality=number + 0.5, prompt=f"p {number}"))
    encoder = PromptTokenizer(tiny_tokenizer(), tiny_config(outputs=("overall",)))
    data = rated_data(RatedSet("csv", tuple(rows)), encoder, tmp_path / "c", progress=False)
    assert data.ratings.tolist() == [[0.5], [1.5], [2.5]]
    assert data.pixels[[2, 0]][:, :, 30, 30].tolist() == [[160, 10, 20], [0, 10, 20]]
    again = rated_data(RatedSet("csv", tuple(rows)), encoder, tmp_path / "c", progress=False)
    assert torch.equal(again.pixels[[0, 1, 2]], data.pixels[[0, 1, 2]])
    both = PromptTokenizer(tiny_tokenizer(), tiny_config())
    with pytest.raises(TrainingError, match="alignment"):
        rated_data(RatedSet("csv", tuple(rows)), both, tmp_path / "c", progress=False)
    (tmp_path / "pairs.jsonl").write_text('{"path": "0.png", "prompt": "a"}\n{"path": 3}\n')
    with pytest.raises(TrainingError, match="line 2"):
        paired_data(tmp_path / "pairs.jsonl", both, tmp_path / "c", progress=False)


def test_margins_are_paired_differences():
    def row(split, name, quality, alignment):
        test = {"visual_quality_srcc": quality, "alignment_srcc": alignment}
        return {"split": split, "variant": name, "test": test}

    rows = [row(0, "full", 0.8, 0.6), row(0, "image_only", 0.7, 0.2)]
    rows += [row(1, "full", 0.7, 0.5), row(1, "image_only", 0.75, 0.3)]
    found = margins(rows)["image_only"]
    assert found["visual_quality"] == pytest.approx(0.025)
    assert found["alignment"] == pytest.approx(0.3)
    assert found["alignment_worst"] == pytest.approx(0.2)
    assert found["visual_quality_won"] == 1 and found["alignment_won"] == 2


def test_published_rows_are_those_of_the_paper():
    assert references("agiqa_3k", "visual_quality")[0][1:] == (0.8634, 0.9116)
    assert references("agiqa_3k", "alignment")[0][1:] == (0.7578, 0.8544)
    assert references("agiqa_1k", "overall")[0][1:] == (0.8401, 0.8922)
    assert references("csv", "overall") == ()


def test_every_variant_of_the_ablation_has_the_same_towers():
    base = tiny_model()
    for changes, _ in ablation.VARIANTS.values():
        model = ablation.variant(base, changes, seed=0)
        assert same(model.visual, base.visual)
        own, theirs = model.text.state_dict(), base.text.state_dict()
        assert all(torch.equal(t, theirs[n]) for n, t in own.items() if not n.endswith(".qa"))


def test_the_command_trains_and_writes_its_table(tmp_path, capsys):
    assert training_command.main(["--smoke", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["mean"]) >= {"visual_quality_srcc", "alignment_plcc"}
    assert all(math.isfinite(value) for value in printed["mean"].values())
    table = (tmp_path / "table.md").read_text()
    assert "2 repeats" in table and "validation fold of its own" in table
    assert len(json.loads((tmp_path / "table.json").read_text())["repeats"]) == 2
    assert training_command.main(["--out", str(tmp_path)]) == 2
    assert "--set" in capsys.readouterr().err


@pytest.mark.slow
def test_the_ablation_runs(tmp_path, capsys):
    assert ablation.main(["--smoke", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "ablation.md").read_text().count("|") > 40
