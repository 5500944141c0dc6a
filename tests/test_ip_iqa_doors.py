"""IP-IQA behind the door of the critic: same images, same result, what is lacking is said."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

import eliq
from eliq import CheckpointError, ConfigError, ImageError, PromptError, Scorer, Scores
from eliq.checkpoint import load_checkpoint
from eliq.ip_iqa import IPIQA, RatingScale
from eliq.ip_iqa.checkpoint import read_stored_config
from tests.tiny import image
from tests.tiny_ip_iqa_doors import constant_scorer, scorer_of, tiny_ip_iqa
from training.tiny_ip_iqa import tiny_config, tiny_model, tiny_vit

SIZES = [(64, 64), (64, 96), (97, 150), (33, 200), (128, 128), (64, 64)]
IMAGES = [image(*size, seed=seed) for seed, size in enumerate(SIZES)]
PROMPTS = ["a cat", None, "two red circles on a table", "x", "", "a dog " * 9]
NO_PROMPT = [1, 4]


def numbers(scores: Scores) -> torch.Tensor:
    """Every number that the model gives, [rows, 4]."""
    raw = scores.raw.values()
    return torch.stack([scores.visual_quality, scores.alignment, *raw], dim=1)


def assert_same(first: Scores, second: Scores, atol: float = 0.0) -> None:
    torch.testing.assert_close(numbers(first), numbers(second), rtol=0, atol=atol, equal_nan=True)


@pytest.fixture(scope="module")
def scorer():
    return tiny_ip_iqa()


@pytest.fixture(scope="module")
def directory(scorer, tmp_path_factory):
    return scorer.save_pretrained(tmp_path_factory.mktemp("ip_iqa") / "model")


@pytest.fixture(scope="module")
def scores(scorer):
    return scorer.score(IMAGES, PROMPTS)


def test_the_result_is_that_of_a_critic(scores):
    assert isinstance(scores, Scores) and len(scores) == len(IMAGES)
    rows = json.loads(json.dumps(scores.to_rows(), allow_nan=False))
    for number, row in enumerate(rows):
        assert row["status"] == "ok" and 0 <= row["visual_quality"] <= 1
        assert set(row["aspects"].values()) == {None}  # nobody was asked
        assert (row["alignment"] is None) == (number in NO_PROMPT)
        assert (row["raw"]["alignment"] is None) == (number in NO_PROMPT)
        assert ("no_prompt" in row["flags"]) == (number in NO_PROMPT)


def test_a_score_is_the_place_on_the_scale_of_the_raters():
    scorer = constant_scorer((2.0, 4.5), RatingScale(1.0, 5.0))
    row = scorer.score(IMAGES[0], "a cat")[0]
    assert row["raw"] == {"visual_quality": 2.0, "alignment": 4.5}
    assert row["visual_quality"] == 0.25 and row["alignment"] == 0.875  # (2-1)/4, (4.5-1)/4


def test_beyond_the_scale_is_its_end_and_the_raw_score_keeps_the_number():
    row = constant_scorer((-3.0, 7.0), RatingScale(0, 5)).score(IMAGES[0], "a cat")[0]
    assert (row["visual_quality"], row["alignment"]) == (0.0, 1.0)
    assert row["raw"] == {"visual_quality": -3.0, "alignment": 7.0}


@pytest.mark.parametrize(
    ("outputs", "quality", "alignment", "flags"),
    [
        (("visual_quality", "alignment"), 0.2, 0.6, []),
        (("visual_quality",), 0.2, None, ["alignment_not_predicted"]),
        (("alignment",), None, 0.2, ["visual_quality_not_predicted"]),
        (("overall",), 0.2, None, ["overall_score"]),
    ],
)
def test_what_a_model_was_not_trained_for_is_no_number_and_a_word(
    outputs, quality, alignment, flags
):
    ratings = (1.0, 3.0)[: len(outputs)]
    scorer = constant_scorer(ratings, RatingScale(0, 5), outputs=outputs)
    row = scorer.score(IMAGES[0], "a cat")[0]
    assert row["status"] == "ok" and row["flags"] == flags
    for found, expected in ((row["visual_quality"], quality), (row["alignment"], alignment)):
        assert found == (None if expected is None else pytest.approx(expected))


def test_both_the_image_and_the_prompt_are_read():
    scorer = tiny_ip_iqa(fusion=False)  # random queries of the pooling hardly tell texts apart
    one, other = scorer.score([IMAGES[0]] * 2, ["a cat", "seven dogs"]).raw["alignment"].tolist()
    assert abs(one - other) > 1e-5  # noise is 1e-7
    one, other = scorer.score(IMAGES[:2], "a cat").raw["visual_quality"].tolist()
    assert abs(one - other) > 1e-5  # noise is 1e-7


@pytest.mark.parametrize("at_once", [1, 2, 5])
def test_neighbours_order_and_batch_size_do_not_matter(scorer, scores, at_once):
    """To 1e-3, as in test_ip_iqa_model.py; the rows lie 0.5 apart."""
    order = [5, 3, 0, 2, 1, 4]
    found = scorer.score(
        [IMAGES[i] for i in order], [PROMPTS[i] for i in order], max_batch_px=at_once * 64 * 64
    )
    assert_same(found, scores.select(order), atol=1e-3)


def test_a_stream_gives_the_same_rows(scorer, scores):
    parts = list(scorer.stream(IMAGES, PROMPTS))
    assert_same(Scores.concatenate(parts), scores, atol=1e-3)


def test_a_tensor_and_the_png_of_it_score_alike(scorer, tmp_path):
    pixels = image(70, 90, seed=3)
    path = tmp_path / "a.png"
    eight_bit = (pixels * 255).round().byte()
    Image.fromarray(eight_bit.permute(1, 2, 0).numpy()).save(path)
    assert_same(scorer.score(pixels, "a cat"), scorer.score(path, "a cat"))


def test_a_damaged_file_fails_alone(scorer, scores, tmp_path):
    path = tmp_path / "broken.png"
    path.write_bytes(b"no image")
    found = scorer.score([IMAGES[0], path, IMAGES[2]], ["a cat", "x", PROMPTS[2]])
    assert found[1]["status"] == "failed" and found[1]["visual_quality"] is None
    assert_same(found.select([0, 2]), scores.select([0, 2]), atol=1e-3)
    with pytest.raises(ImageError, match="broken.png"):
        scorer.score([path], "x", on_error="raise")


def test_a_long_prompt_is_cut_and_flagged(scorer):
    most = scorer.model.config.max_prompt_tokens  # bytes are tokens here
    assert most == 77 - 3
    words = ["x" * most, "x" * (most + 1), "x" * most + "y" * 500]
    found = scorer.score([IMAGES[0]] * 3, words)
    assert [("prompt_truncated" in flags) for flags in found.flags] == [False, True, True]
    raw = found.raw["alignment"]
    assert raw[0] == raw[1] == raw[2]  # what is beyond is not read


def test_control_words_in_a_prompt_stay_text(scorer):
    row = scorer.score([IMAGES[0]] * 2, ["a <|endoftext|> b", "a "]).raw["alignment"]
    assert row[0] != row[1]


def test_wrong_calls_are_refused(scorer, scores):
    with pytest.raises(PromptError, match="expected one an image"):
        scorer.score(IMAGES[:2], ["a"])
    with pytest.raises(ImageError):
        scorer.score(torch.zeros(3, 8, 8, dtype=torch.uint8), "a")
    with pytest.raises(ConfigError, match="on_error"):
        scorer.score(IMAGES[0], "a", on_error="ignore")
    with pytest.raises(ConfigError, match="max_batch_px"):
        scorer.score(IMAGES[0], "a", max_batch_px=0)
    with pytest.raises(ConfigError, match="scale"):
        IPIQA(scorer.model, scorer.tokenizer, scale={"visual_quality": RatingScale(0, 5)})
    for low, high in ((5, 0), (1, 1), (0, math.inf), (0, math.nan), (True, 5), ("0", 5)):
        with pytest.raises(ConfigError, match="scale"):
            RatingScale(low, high)


def test_autocast_of_the_caller_changes_nothing(scorer, scores):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_same(scorer.score(IMAGES, PROMPTS), scores)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"outputs": ("overall",)},
        {"qa_token": False},
        {"fusion": False},
        {"streams": "image", "fusion": False, "qa_token": False},
        {"visual": tiny_vit()},
        {"visual": tiny_vit(map_layer=1, map_norm="none"), "cross_dim": 16},
    ],
    ids=["published", "one output", "no QA", "no fusion", "image alone", "ViT", "ViT, layer 1"],
)
def test_saved_and_loaded_is_the_same_to_the_last_bit(changes, tmp_path):
    scorer = tiny_ip_iqa(seed=1, **changes)
    with torch.no_grad():  # statistics that are not those of a new model
        for name, buffer in scorer.model.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    directory = scorer.save_pretrained(tmp_path / "model")
    loaded = IPIQA.from_pretrained(directory, device="cpu")
    assert loaded.model.config == scorer.model.config and loaded.scale == scorer.scale
    state, again = scorer.model.state_dict(), loaded.model.state_dict()
    assert state.keys() == again.keys()
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    assert all(torch.equal(state[n], again[n]) for n in state if n not in counters)
    assert not any(p.requires_grad for p in loaded.model.parameters())
    first, second = scorer.score(IMAGES, PROMPTS), loaded.score(IMAGES, PROMPTS)
    assert_same(first, second)
    assert first.flags == second.flags
    resaved = loaded.save_pretrained(tmp_path / "again")
    for name in ("config.json", "model.safetensors", "tokenizer.json", "README.md"):
        assert (resaved / name).read_bytes() == (directory / name).read_bytes(), name


def test_saving_again_replaces_and_keeps_what_is_not_ours(scorer, tmp_path):
    directory = scorer.save_pretrained(tmp_path / "model", card="# mine\n")
    (directory / "LICENSE").write_text("free")
    other = tiny_ip_iqa(seed=5)
    other.save_pretrained(directory)
    assert (directory / "LICENSE").read_text() == "free"
    assert IPIQA.from_pretrained(directory).fingerprint != scorer.fingerprint
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model"]
    with pytest.raises(CheckpointError, match="something else"):
        (tmp_path / "full").mkdir()
        (tmp_path / "full" / "thesis.txt").write_text("x")
        scorer.save_pretrained(tmp_path / "full")


def test_a_critic_is_not_overwritten_by_a_model_of_the_other_system(
    scorer, tiny_checkpoint_dir, directory, tiny_checkpoint
):
    from eliq.checkpoint import save_checkpoint

    with pytest.raises(CheckpointError, match="something else"):
        scorer.save_pretrained(tiny_checkpoint_dir)
    with pytest.raises(CheckpointError, match="something else"):
        save_checkpoint(directory, tiny_checkpoint)


def test_weights_that_are_not_finite_or_not_float32_are_not_saved(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.head[1].bias[0] = math.nan
    with pytest.raises(CheckpointError, match="finite"):
        scorer_of(model).save_pretrained(tmp_path / "a")
    with pytest.raises(CheckpointError, match="float32"):
        scorer_of(tiny_model().half()).save_pretrained(tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_the_fingerprint_is_that_of_what_makes_a_score(scorer, directory, tmp_path):
    assert scorer.fingerprint is None  # in memory
    loaded = IPIQA.from_pretrained(directory)
    assert len(loaded.fingerprint) == 64
    loaded.training["note"] = "another"
    same = IPIQA.from_pretrained(loaded.save_pretrained(tmp_path / "a"))
    assert same.fingerprint == loaded.fingerprint and same.training == {"note": "another"}
    wider = scorer_of(scorer.model, scale=RatingScale(-5, 5))
    assert IPIQA.from_pretrained(wider.save_pretrained(tmp_path / "b")).fingerprint != (
        loaded.fingerprint
    )


def test_one_door_opens_both_systems(directory, tiny_checkpoint_dir):
    assert isinstance(eliq.load_scorer(directory), IPIQA)
    assert isinstance(eliq.load_scorer(directory, system="ip-iqa"), IPIQA)
    assert isinstance(eliq.load_scorer(tiny_checkpoint_dir), Scorer)
    assert isinstance(eliq.load_scorer(str(tiny_checkpoint_dir), system="eliq"), Scorer)


def refusal(call, *args, **options) -> str:
    with pytest.raises((CheckpointError, ConfigError)) as error:
        call(*args, **options)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def test_the_wrong_door_says_which_is_right(directory, tiny_checkpoint_dir, tmp_path):
    assert "load_scorer" in refusal(Scorer.from_pretrained, directory)
    assert "load_scorer" in refusal(load_checkpoint, directory)
    assert "eliq.Scorer" in refusal(IPIQA.from_pretrained, tiny_checkpoint_dir)
    assert "of eliq" in refusal(eliq.load_scorer, tiny_checkpoint_dir, system="ip-iqa")
    assert "of ip-iqa" in refusal(eliq.load_scorer, directory, system="eliq")
    assert "no such weights" in refusal(eliq.load_scorer, system="ip-iqa")
    assert "clip" in refusal(eliq.load_scorer, directory, system="clip")
    (tmp_path / "config.json").write_text('{"format": ["eliq-ip-iqa"]}')
    assert "format" in refusal(eliq.load_scorer, tmp_path)
    assert "owner/name" in refusal(IPIQA.from_pretrained, tmp_path / "nowhere")
    assert "no such weights" in refusal(IPIQA.from_pretrained)


def test_another_dtype_is_refused(directory):
    assert "float32" in refusal(IPIQA.from_pretrained, directory, dtype="bfloat16")
    IPIQA.from_pretrained(directory, dtype="float32")


def test_info_is_plain_json(directory):
    facts = json.loads(json.dumps(IPIQA.from_pretrained(directory).info(), allow_nan=False))
    assert facts["kind"] == "IP-IQA" and facts["scale"]["alignment"] == {"low": -4.0, "high": 4.0}
    assert read_stored_config(directory).model == tiny_config()
    assert "0.2M parameters" in repr(IPIQA.from_pretrained(directory))


def test_training_keeps_what_the_door_opens(tmp_path):
    from training.ip_iqa.keeping import keep

    model = tiny_model().train()
    encoder = scorer_of(tiny_model()).encoder
    facts = {"set": "agiqa_3k", "split": 3}
    keep(model, encoder, tmp_path / "split-03", scale=(1.0, 5.0), training=facts)
    assert model.training  # the loop goes on with it
    loaded = IPIQA.from_pretrained(tmp_path / "split-03")
    assert loaded.scale["alignment"] == RatingScale(1.0, 5.0) and loaded.training == facts
    again = keep(model, encoder, tmp_path / "split-03")  # a resumed run replaces it
    assert IPIQA.from_pretrained(again).scale["alignment"] == RatingScale(0.0, 5.0)
