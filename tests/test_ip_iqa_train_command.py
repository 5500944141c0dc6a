"""Training IP-IQA as a user does: a CSV and CLIP's weights in, models that the door opens out."""

from __future__ import annotations

import csv
import gc
import json
import weakref
from pathlib import Path

import pytest
import torch
from PIL import Image

from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQA, RatingScale
from tests.test_ip_iqa_model_clip import write_open_clip
from tests.test_ip_iqa_training import StopAfter, bright_data
from training.evaluation import RatedImage, RatedSet
from training.ip_iqa import image2prompt as pulling
from training.ip_iqa import train as command
from training.ip_iqa.data import paired_data
from training.ip_iqa.keeping import rating_scale
from training.ip_iqa.settings import Image2PromptSettings, RatingSettings, SplitSettings
from training.ip_iqa.splits import run_splits
from training.ip_iqa.starting import smoke_start
from training.placement import Placement
from training.tiny_ip_iqa import tiny_config, tiny_model

ONCE = RatingSettings(num_epochs=1, batch_size=4, learning_rate=1e-3)
TWICE = SplitSettings(num_splits=2, validation_share=0.2)


@pytest.fixture(scope="module")
def clip_dir(tmp_path_factory) -> Path:
    """Random tiny towers in open_clip's layout."""
    from dataclasses import replace

    folder = tmp_path_factory.mktemp("clip")
    text = replace(tiny_config().text, mlp_dim=128)
    write_open_clip(folder, tiny_model(tiny_config(qa_token=False, text=text)))
    return folder


@pytest.fixture(scope="module")
def ratings(tmp_path_factory) -> Path:
    """Forty plain images of ten prompts, rated from 1 to 9; two of the rows have no file."""
    folder = tmp_path_factory.mktemp("rated")
    rows = []
    for number in range(42):
        level = (number * 37) % 40 / 39
        if number < 40:
            Image.new("RGB", (50, 40), (round(255 * level),) * 3).save(folder / f"{number}.png")
        prompt = f"thing {number // 4}"
        rows.append([f"{number}.png", prompt, round(1 + 8 * level, 3), round(9 - 8 * level, 3)])
    write_csv(folder / "my.csv", rows)
    return folder / "my.csv"


def write_csv(path: Path, rows: list[list[object]]) -> Path:
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([["path", "prompt", "quality", "alignment"], *rows])
    return path


def run(capsys, *argv) -> tuple[int, str, str]:
    code = command.main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_own_ratings_become_a_model_with_their_scale(clip_dir, ratings, tmp_path, capsys, caplog):
    out = tmp_path / "run"
    base = ["--set", f"csv={ratings}", "--clip", clip_dir, "--size", 64, "--batch", 4]
    base += ["--epochs", 1, "--out", out, "--device", "cpu"]
    caplog.set_level("WARNING", "eliq")
    code, printed, err = run(capsys, *base, "--splits", 2)
    assert code == 2 and printed == "" and "--scale" in err and "from 1 to 9" in err
    code, _, err = run(capsys, *base, "--splits", 2, "--scale", 0, 5)
    assert code == 2 and "0 5" in err and "from 1 to 9" in err
    code, _, err = run(capsys, *base, "--splits", 0, "--scale", 1, 9)
    assert code == 2 and "num_splits" in err
    assert not out.exists()  # said before anything was made
    code, printed, err = run(capsys, *base, "--splits", 2, "--scale", 1, 9)
    assert code == 0, err
    assert "2 missing files (such as 40.png, 41.png)" in caplog.text
    assert json.loads(printed)["out"] == str(out)
    content = json.loads((out / "table.json").read_text())
    assert content["left_out"]["num_missing"] == 2 and len(content["repeats"]) == 2
    scorer = IPIQA.from_pretrained(out / "models" / "split-01")
    assert scorer.scale["alignment"] == RatingScale(1, 9)
    assert scorer.training == {"set": "csv", **content["repeats"][1]}
    row = scorer.score(ratings.parent / "3.png", "thing 0")[0]
    assert row["visual_quality"] == pytest.approx(
        min(max((row["raw"]["visual_quality"] - 1) / 8, 0), 1), abs=1e-6
    )
    # The same command again is done at once; another one is not mixed with it.
    before = (out / "table.json").read_bytes()
    assert run(capsys, *base, "--splits", 2, "--scale", 1, 9)[0] == 0
    assert (out / "table.json").read_bytes() == before
    code, _, err = run(capsys, *base, "--splits", 2, "--scale", 1, 9, "--learning-rate", 1)
    assert code == 2 and "learning_rate" in err and "--out" in err


def test_repeats_of_two_runs_are_never_one_table(tmp_path):
    data = bright_data(40)
    first = run_splits(lambda n: tiny_model(), data, ONCE, TWICE, tmp_path, progress=False)
    other = RatingSettings(num_epochs=2, batch_size=4, learning_rate=1e-3)
    with pytest.raises(TrainingError, match="num_epochs was 1 and is now 2"):
        run_splits(lambda n: tiny_model(), data, other, TWICE, tmp_path, progress=False)
    changed = bright_data(40)
    changed.ratings[3, 0] += 0.5
    with pytest.raises(TrainingError, match="rated"):
        run_splits(lambda n: tiny_model(), changed, ONCE, TWICE, tmp_path, progress=False)
    # Fewer and more repeats of the same run may be asked for.
    one = SplitSettings(num_splits=1, validation_share=0.2)
    found = run_splits(lambda n: tiny_model(), data, ONCE, one, tmp_path, progress=False)
    assert found.rows == first.rows[:1]
    three = SplitSettings(num_splits=3, validation_share=0.2)
    found = run_splits(lambda n: tiny_model(), data, ONCE, three, tmp_path, progress=False)
    assert found.rows[:2] == first.rows and len(found.rows) == 3
    (tmp_path / "run.json").unlink()  # repeats of nobody knows what
    with pytest.raises(TrainingError, match="another run"):
        run_splits(lambda n: tiny_model(), data, ONCE, one, tmp_path, progress=False)


def test_a_repeat_that_is_done_leaves_its_curves_and_no_weights(tmp_path):
    run_splits(lambda n: tiny_model(), bright_data(40), ONCE, TWICE, tmp_path, progress=False)
    assert (tmp_path / "split-01" / "metrics.jsonl").is_file()
    assert not list(tmp_path.rglob("*.safetensors"))


class Keeping:
    """What accelerate is to `Placement`: it holds each module until it is told to let go."""

    def __init__(self) -> None:
        self.held: list[torch.nn.Module] = []

    def prepare(self, module: torch.nn.Module) -> torch.nn.Module:
        self.held.append(module)
        return module

    def reduce(self, values: torch.Tensor, how: str) -> torch.Tensor:
        return values

    def wait_for_everyone(self) -> None:
        pass

    def free_memory(self) -> None:
        self.held.clear()


def test_the_models_of_earlier_repeats_are_not_held(tmp_path):
    alive: list[int] = []
    made: list[weakref.ref] = []

    def make(number: int) -> torch.nn.Module:
        gc.collect()
        alive.append(sum(ref() is not None for ref in made))
        model = tiny_model()
        made.append(weakref.ref(model))
        return model

    placement = Placement("cpu")
    placement._accelerator = Keeping()
    run_splits(make, bright_data(40), ONCE, TWICE, tmp_path, placement=placement, progress=False)
    assert alive == [0, 0]


@pytest.mark.parametrize(("rank", "order"), [(0, ["work", "wait"]), (1, ["wait", "work"])])
def test_the_first_process_decodes_and_the_others_find_it_done(rank, order):
    found = []
    placement = Placement("cpu")
    placement._accelerator, placement.rank = Keeping(), rank
    placement._accelerator.wait_for_everyone = lambda: found.append("wait")
    with placement.main_first():
        found.append("work")
    assert found == order


def rated(*values: float) -> RatedSet:
    rows = (RatedImage(str(i), Path("x"), quality=v, prompt="p") for i, v in enumerate(values))
    return RatedSet("x", tuple(rows))


@pytest.mark.parametrize(
    ("given", "name", "values", "scale"),
    [
        (None, "agiqa_3k", (0.1, 4.9), (0, 5)),
        (None, "aigciqa2023", (12.0, 70.0), (0, 100)),
        ((1, 5), "csv", (1.0, 5.0), (1, 5)),
        ((-1, 6), "agiqa_1k", (0.1, 4.9), (-1, 6)),
        (None, "csv", (1.0, 5.0), None),
        (None, "agiqa_3k", (0.1, 71.0), None),
        ((1, 5), "csv", (0.5, 5.0), None),
        ((5, 1), "csv", (2.0, 3.0), None),
    ],
)
def test_a_scale_holds_every_rating(given, name, values, scale):
    if scale is not None:
        assert rating_scale(given, name, rated(*values), ("visual_quality",)) == scale
        return
    with pytest.raises(TrainingError, match="--scale"):
        rating_scale(given, name, rated(*values), ("visual_quality",))


def test_the_smoke_run_leaves_models_of_the_outputs_asked_for(tmp_path, capsys):
    code = command.main(["--smoke", "--out", str(tmp_path)], outputs=("overall",))
    assert code == 0 and json.loads(capsys.readouterr().out)["out"] == str(tmp_path)
    scorer = IPIQA.from_pretrained(tmp_path / "models" / "split-01")
    row = scorer.score(torch.rand(3, 40, 50), "two circles")[0]
    assert row["flags"] == ["overall_score"] and row["alignment"] is None
    assert "## overall" in (tmp_path / "table.md").read_text()


def test_no_prompt_of_a_held_out_pair_is_trained_on():
    settings = Image2PromptSettings(num_checked=8)
    groups = [f"p {i // 5}" for i in range(60)]
    checked, trained = pulling._held_out(groups, settings)
    assert sorted([*checked, *trained]) == list(range(60)) and 8 <= len(checked) <= 15
    assert not {groups[i] for i in checked} & {groups[i] for i in trained}
    own = [str(i) for i in range(60)]
    assert len(pulling._held_out(own, settings)[0]) == 8
    alike = pulling._held_out(["same"] * 60, settings)
    assert [len(part) for part in alike] == [60, 0]  # refused as too few


def test_a_tower_is_taken_from_a_finished_run_and_a_failed_check_is_said(tmp_path, caplog):
    model, _, data, _ = smoke_start(tmp_path)
    settings = Image2PromptSettings(num_epochs=2, batch_size=8, num_checked=8)
    early = StopAfter(1)  # nothing is saved yet: the next start begins anew
    pulling.image2prompt(model, data, settings, tmp_path, stop=early, progress=False)
    model = smoke_start(tmp_path)[0]
    stop = StopAfter(len(data) // 8 + 1)
    result = pulling.image2prompt(model, data, settings, tmp_path, stop=stop, progress=False)
    assert result.stopped
    assert [check["step"] for check in result.checks] == [0, (len(data) - 8) // 8]
    logged = (tmp_path / "metrics.jsonl").read_text()
    assert logged.count('"image_spread"') == 2  # the first check once
    with pytest.raises(TrainingError, match="epoch 1 of 2"):
        pulling.load_visual(tiny_model(), tmp_path)
    with pytest.raises(TrainingError, match="found none"):
        pulling.load_visual(tiny_model(), tmp_path / "nowhere")
    model = smoke_start(tmp_path)[0]
    with torch.no_grad():
        model.visual.resnet.attnpool.c_proj.weight.zero_()
    once = Image2PromptSettings(num_epochs=1, batch_size=8, learning_rate=1e-9, num_checked=8)
    pulling.image2prompt(model, data, once, tmp_path / "flat", progress=False)
    caplog.clear()
    pulling.load_visual(tiny_model(), tmp_path / "flat")
    assert "collapse check failed" in caplog.text


@pytest.mark.parametrize(
    "line", [b'{"path": "0.png"}', b"[]", b"\xff\xfe", b'{"path": "0.png", "prompt": " "}', b"{"]
)
def test_a_line_that_is_no_pair_is_named(line, tmp_path):
    from training.ip_iqa.starting import PromptTokenizer, tiny_tokenizer

    encoder = PromptTokenizer(tiny_tokenizer(), tiny_config())
    Image.new("RGB", (20, 20)).save(tmp_path / "0.png")
    pairs = tmp_path / "pairs.jsonl"
    good = b'{"path": "0.png", "prompt": "a"}'
    pairs.write_bytes(b"\n".join([good, b"", good]) + b"\n")
    assert len(paired_data(pairs, encoder, tmp_path / "c", progress=False)) == 2
    pairs.write_bytes(b"\n".join([good, b"", line]) + b"\n")
    with pytest.raises(TrainingError, match="line 3"):
        paired_data(pairs, encoder, tmp_path / "c", progress=False)


def test_pixels_that_were_torn_are_said(tmp_path):
    from training.ip_iqa.data import FilePixels

    Image.new("RGB", (20, 20)).save(tmp_path / "0.png")
    pixels = FilePixels([tmp_path / "0.png"], 32, tmp_path / "c", progress=False)
    assert pixels[[0]].shape == (1, 3, 32, 32)
    (kept,) = (tmp_path / "c").iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    with pytest.raises(TrainingError, match="made again"):
        pixels[[0]]


def test_memory_of_a_step_is_counted_by_hand():
    """Of a model that reads the prompt alone only the head keeps anything."""
    from training.ip_iqa.memory import kept_bytes, step_bytes

    model = tiny_model(tiny_config(streams="prompt", fusion=False, qa_token=False)).train()
    tokens = torch.tensor([[256, 5, 257]] * 2)
    kept = kept_bytes(model, torch.rand(2, 3, 64, 64), tokens)
    # Dropout's mask and result of 24 numbers, tanh's result of 32, dropout's of 32, the loss.
    assert 2 * 4 * (24 + 32 + 32) <= kept <= 2 * 4 * (3 * 24 + 4 * 32 + 10)
    found = step_bytes(tiny_config(), 1000)
    one = step_bytes(tiny_config(), 500)
    assert found["kept"] == pytest.approx(2 * one["kept"], rel=0.01)
    assert found["weights"] == one["weights"]
    assert found["sum"] == pytest.approx(
        found["kept"] + found["weights"] + found["gradients_and_moments"], abs=0.003
    )
