"""Cache, head, calibration and export on a tiny backbone, and the whole chain as a smoke run."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from eliq.errors import ConfigError, TrainingError
from tests.rounding import SCORE_ROUNDING
from tests.tiny_supervision import write_set
from training.calibrate import calibrate
from training.dataset import read_supervision
from training.embedding_cache import PROMPTS, build_cache, load_cache
from training.export import export_critic, freeze_critic
from training.head_scores import score_cache
from training.stage1_batches import load_pixels
from training.stage2 import Stage2Config, train_stage2
from training.stage2_losses import _choose, margin_distillation_loss
from training.tiny_backbone import tiny_backbone
from training.train_critic import main

SETTINGS = {
    "num_steps": 40,
    "learning_rate": 1e-3,
    "model_dim": 32,
    "num_heads": 4,
    "ffn_dim": 64,
    "validate_every": 10,
    "save_every": 20,
}


class StopAfter:
    def __init__(self, steps: int) -> None:
        self.left = steps

    @property
    def requested(self) -> bool:
        self.left -= 1
        return self.left <= 0


@pytest.fixture(scope="module")
def supervision(tmp_path_factory):
    return read_supervision(write_set(tmp_path_factory.mktemp("set")))


@pytest.fixture(scope="module")
def backbone():
    return freeze_critic(tiny_backbone(), storage_dtype=torch.bfloat16)


@pytest.fixture(scope="module")
def cache_dir(backbone, supervision, tmp_path_factory):
    path = tmp_path_factory.mktemp("cache")
    assert build_cache(backbone, supervision, path, rows_per_shard=4, progress=False)
    return path


@pytest.fixture(scope="module")
def sides(supervision, cache_dir):
    cache = load_cache(cache_dir, supervision)
    return tuple(cache.select(side) for side in supervision.split(0.3))


@pytest.fixture(scope="module")
def trained(sides, tmp_path_factory):
    path = tmp_path_factory.mktemp("stage2")
    return train_stage2(*sides, Stage2Config(**SETTINGS), path, progress=False)


def test_the_cache_holds_what_the_backbone_says(backbone, supervision, cache_dir):
    cache = load_cache(cache_dir, supervision)
    row = supervision.tuples[5]
    pixels = [load_pixels(path) for path in row.paths]
    for p, prompt in enumerate((row.prompt, row.negative_prompt, None)):
        z = backbone.embed(pixels, [prompt] * 3)
        assert torch.allclose(cache.tuple_technical[5], z.technical, atol=SCORE_ROUNDING)
        assert torch.allclose(cache.tuple_aesthetic[5], z.aesthetic, atol=SCORE_ROUNDING)
        assert torch.allclose(cache.tuple_alignment[5, :, p], z.alignment, atol=SCORE_ROUNDING)
        assert torch.allclose(
            cache.tuple_margins[5, :, 2 + p], z.margins[:, 2], atol=SCORE_ROUNDING
        )
    ladder = supervision.ladders[3]
    z = backbone.embed([load_pixels(path) for path in ladder.paths], [ladder.prompt] * 4)
    assert torch.allclose(cache.ladder_technical[3], z.technical, atol=SCORE_ROUNDING)
    assert torch.allclose(cache.ladder_alignment[3, :, 0], z.alignment, atol=SCORE_ROUNDING)
    assert cache.ladder_valid.all() and PROMPTS[0] == "own"


def test_a_stopped_cache_goes_on_and_other_weights_are_refused(
    backbone, supervision, cache_dir, tmp_path
):
    assert not build_cache(
        backbone, supervision, tmp_path, rows_per_shard=4, stop=StopAfter(4), progress=False
    )
    with pytest.raises(TrainingError, match="run build_cache to the end"):
        load_cache(tmp_path, supervision)
    assert build_cache(backbone, supervision, tmp_path, rows_per_shard=4, progress=False)
    for path in cache_dir.glob("*.safetensors"):
        ours, theirs = load_file(str(tmp_path / path.name)), load_file(str(path))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    with pytest.raises(TrainingError, match="backbone_sha256"):
        build_cache(tiny_backbone(seed=3), supervision, tmp_path, rows_per_shard=4, progress=False)


def test_processes_that_share_a_cache_write_the_whole_of_it(
    backbone, supervision, cache_dir, tmp_path
):
    for rank in (1, 0):
        assert build_cache(
            backbone, supervision, tmp_path, rows_per_shard=4, rank=rank, world_size=2,
            progress=False,
        )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in cache_dir.iterdir()}
    for path in cache_dir.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_the_head_learns_and_a_stopped_run_ends_as_an_unbroken_one(sides, trained, tmp_path):
    assert trained.validation["technical"] > 0.6 and trained.validation["ladder"] > 0.6
    first = train_stage2(
        *sides, Stage2Config(**SETTINGS), tmp_path, stop=StopAfter(17), progress=False
    )
    assert first.stopped and first.steps == 17
    second = train_stage2(*sides, Stage2Config(**SETTINGS), tmp_path, progress=False)
    assert second.validation == trained.validation
    for name, tensor in trained.head.state_dict().items():
        assert torch.equal(tensor, second.head.state_dict()[name]), name


def test_visual_prompts_include_none_by_default(sides):
    generator = torch.Generator().manual_seed(0)
    default = _choose(Stage2Config(**SETTINGS), (50, 3), generator)
    assert set(default.flatten().tolist()) == {PROMPTS.index("own"), PROMPTS.index("none")}
    papers = _choose(Stage2Config(**SETTINGS, visual_prompts=("own",)), (50, 3), generator)
    assert (papers == 0).all()
    mixed = _choose(Stage2Config(**SETTINGS, visual_prompts=PROMPTS), (50, 3), generator)
    assert set(mixed.flatten().tolist()) == {0, 1, 2}
    with pytest.raises(ConfigError, match="visual_prompts"):
        Stage2Config(visual_prompts=("theirs",))
    config = Stage2Config(**SETTINGS, visual_prompts=PROMPTS)
    assert Stage2Config.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_calibration_is_half_where_positive_and_negative_are_equally_likely(trained, sides):
    calibration, facts = calibrate(trained.head, sides[1])
    scores = score_cache(trained.head, sides[1])["tuple_visual"][:, :, 0]
    curve = calibration["visual_quality"]
    assert curve(scores[:, 0]).mean() > 0.5 > curve(scores[:, 1:]).mean()
    assert facts["visual_quality"]["num_negatives"] == 2 * facts["visual_quality"]["num_positives"]


def test_the_exported_checkpoint_scores_as_the_parts_in_memory(
    backbone, trained, sides, supervision, tmp_path
):
    pytest.importorskip("eliq.scorer")
    from eliq import Scorer

    calibration, facts = calibrate(trained.head, sides[1])
    path = export_critic(
        tmp_path / "critic",
        backbone,
        trained.head,
        calibration,
        facts,
        storage_dtype=torch.bfloat16,
    )
    row = supervision.tuples[0]
    with torch.no_grad():
        z = backbone.embed([load_pixels(p) for p in row.paths], [row.prompt] * 3)
        wanted = trained.head(z.technical, z.aesthetic, z.alignment)
    scores = Scorer.from_pretrained(path, device="cpu").score(list(row.paths), row.prompt)
    assert torch.allclose(scores.raw["visual_quality"], wanted.visual_quality, atol=SCORE_ROUNDING)
    assert torch.allclose(scores.raw["alignment"], wanted.alignment, atol=SCORE_ROUNDING)
    assert torch.allclose(
        scores.visual_quality,
        calibration["visual_quality"](wanted.visual_quality),
        atol=1e-5,
    )


def test_what_would_change_on_disk_is_refused(trained, tmp_path):
    with pytest.raises(TrainingError, match="freeze_critic"):
        export_critic(
            tmp_path / "x", tiny_backbone(), trained.head, {}, {}, storage_dtype=torch.bfloat16
        )


def test_the_whole_chain_runs_as_one_command_and_again(tmp_path, capsys):
    arguments = ["--smoke", "--quiet", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (tmp_path / "run" / "critic" / "config.json").is_file()
    assert set(report) == {"checkpoint", "stage1", "stage2", "calibration"}
    assert main(arguments) == 0, "a finished run is read, not refused"
    assert json.loads(capsys.readouterr().out) == report
    assert main(["--out", str(tmp_path)]) == 2


def test_margin_distillation_by_hand():
    reference = torch.tensor([0.0, 2.0, 4.0])  # mean 2, std 2
    verdicts = torch.tensor([4.0, 1.0, 7.0])
    # targets 2 * (4 - 2) / 2 = 2 and 2 * (1 - 2) / 2 = -1; the third is padding
    scores = torch.tensor([1.0, 1.0, float("nan")])
    loss = margin_distillation_loss(scores, verdicts, reference)
    assert float(loss) == pytest.approx(((1.0 - 2.0) ** 2 / 4 + (1.0 + 1.0) ** 2 / 4) / 2)


def test_a_head_held_to_the_margins_follows_them(sides, tmp_path):
    """With both weights large the raw scores come to the backbone's verdicts, prompt by prompt."""
    train, held_out = sides
    distances = {}
    for weight in (0.0, 50.0):
        config = Stage2Config(
            **SETTINGS | {"num_steps": 150, "validate_every": 150},
            margin_weight=weight,
            alignment_margin_weight=weight,
        )
        head = train_stage2(*sides, config, tmp_path / str(weight), progress=False).head
        scores, margins = score_cache(head, train), train.tuple_margins
        visual = margins[..., :2].mean(-1)
        distances[weight] = (
            float(margin_distillation_loss(scores["tuple_visual"][:, :, 0], visual, visual)),
            float(
                margin_distillation_loss(
                    scores["tuple_alignment"][..., :2], margins[..., 2:4], margins[..., 2:4]
                )
            ),
        )
    assert all(held < 0.3 * free for held, free in zip(distances[50], distances[0], strict=True))
    assert max(distances[50]) < 0.3
