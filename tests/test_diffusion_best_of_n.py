"""Best of N: seeds are reproducible alone, order is kept, and nothing of the user's is changed."""

from __future__ import annotations

import json
import math

import pytest
import torch
from PIL import Image

from eliq.diffusion.best_of_n import best_of_n
from eliq.errors import ConfigError, DiffusionError, EliqError, PromptError
from tests.fake_pipeline import FakePipeline, FakeScorer, RejectingScorer
from tests.rounding import IMAGE_ROUNDING
from tests.tiny_pipelines import TINY_PIPELINES


@pytest.fixture
def pipe():
    return FakePipeline()


@pytest.fixture
def scorer():
    return FakeScorer()


def seeds_and_scores(result):
    return [(c.seed, c.visual_quality, c.alignment, c.score) for c in result]


@pytest.fixture(scope="module")
def sd15():
    return TINY_PIPELINES["sd15"]()


# --- what comes back ---------------------------------------------------------------------------


def test_candidates_come_in_the_order_of_their_seeds_and_the_best_is_the_highest(pipe, scorer):
    result = best_of_n(pipe, "a red fox", 6, scorer, seed=10)
    assert [c.seed for c in result] == list(range(10, 16))
    assert [c.index for c in result] == list(range(6))
    assert result.best.score == max(c.score for c in result)
    assert [c.score for c in result.ranked] == sorted((c.score for c in result), reverse=True)
    assert result.best.score == (result.best.visual_quality + result.best.alignment) / 2
    assert isinstance(result.best.image, Image.Image)
    assert scorer.prompts == ["a red fox"] * 6


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, None])
def test_batches_do_not_change_anything(pipe, scorer, size):
    alone = best_of_n(pipe, "p", 5, scorer, batch_size=1, keep_images="all", output_type="pt")
    found = best_of_n(pipe, "p", 5, scorer, batch_size=size, keep_images="all", output_type="pt")
    assert seeds_and_scores(found) == seeds_and_scores(alone)
    assert all(torch.equal(a.image, b.image) for a, b in zip(found, alone, strict=True))


def test_a_candidate_is_that_of_its_seed_whatever_n_and_the_first_seed(pipe, scorer):
    many = best_of_n(pipe, "p", 8, scorer, seed=3)
    few = best_of_n(pipe, "p", 2, scorer, seed=5)
    assert seeds_and_scores(few) == seeds_and_scores(many)[2:4]


def test_one_candidate(pipe, scorer):
    result = best_of_n(pipe, "p", 1, scorer, seed=7)
    assert len(result) == 1 and result.best.seed == 7 and result.best.image is not None


@pytest.mark.parametrize(("keep", "kept"), [("best", 1), ("all", 4), ("none", 0)])
@pytest.mark.parametrize("size", [1, 3])
def test_only_images_that_are_asked_for_are_kept(pipe, scorer, keep, kept, size):
    result = best_of_n(pipe, "p", 4, scorer, keep_images=keep, batch_size=size)
    assert sum(c.image is not None for c in result) == kept
    assert (result.best.image is not None) == (kept > 0)


def test_images_are_asked_for_as_tensors_and_pil_is_what_the_pipeline_would_give(sd15, tiny_scorer):
    pipe, arguments = sd15
    result = best_of_n(pipe, "a red fox", 2, tiny_scorer, keep_images="all", **arguments)
    for candidate in result:
        plain = pipe(
            "a red fox", generator=torch.Generator().manual_seed(candidate.seed), **arguments
        )
        assert candidate.image.tobytes() == plain.images[0].tobytes()


def test_json_and_contact_sheet(pipe, scorer, tmp_path):
    pipe.nan_seeds = {1}
    result = best_of_n(pipe, "a red fox", 3, scorer)
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["best"] == result.best.index and found["ranking"][-1] == 1
    assert found["candidates"][1]["visual_quality"] is None
    assert found["candidates"][0]["record"]["seed"] == 0
    result.save_json(tmp_path / "result.json")
    assert json.loads((tmp_path / "result.json").read_text("utf-8")) == found
    result.contact_sheet(tmp_path / "sheet.html")
    page = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "a red fox" in page and "seed_1" in page and "the mean of both scores" in page
    result.contact_sheet(tmp_path / "sheet.png", title="foxes")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["result.json", "sheet.html", "sheet.png"]


def test_the_combination_decides(pipe, scorer):
    by_quality = best_of_n(pipe, "p", 6, scorer, combine={"visual_quality": 1})
    assert by_quality.best.visual_quality == max(c.visual_quality for c in by_quality)
    by_function = best_of_n(pipe, "p", 6, scorer, combine=lambda q, a: -q)
    assert by_function.best.visual_quality == min(c.visual_quality for c in by_function)
    without = best_of_n(pipe, "", 6, scorer)
    assert all(math.isnan(c.alignment) and c.score == c.visual_quality for c in without)


# --- lists of prompts ---------------------------------------------------------------------------

PROMPTS = ["a", "a red fox in snow, " * 12, "two owls"]


def test_a_prompt_does_not_depend_on_the_list_it_is_in(sd15, tiny_scorer):
    pipe, arguments = sd15
    options = {"batch_size": 2, "negative_prompt": "blurred", **arguments}
    together = best_of_n(pipe, PROMPTS, 2, tiny_scorer, **options)
    for prompt, found in zip(PROMPTS, together, strict=True):
        alone = best_of_n(pipe, prompt, 2, tiny_scorer, **options)
        assert found.prompt == prompt and seeds_and_scores(found) == seeds_and_scores(alone)


def test_texts_are_one_for_all_or_one_a_prompt(pipe, scorer):
    best_of_n(pipe, ["a", "b"], 2, scorer, negative_prompt=["x", "y"], batch_size=2)
    assert [(c["prompt"], c["negative_prompt"]) for c in pipe.calls] == [
        (["a", "a"], ["x", "x"]),
        (["b", "b"], ["y", "y"]),
    ]
    pipe.calls.clear()
    best_of_n(pipe, ["a", "b"], 1, scorer, negative_prompt="x")
    assert [(c["prompt"], c["negative_prompt"]) for c in pipe.calls] == [("a", "x"), ("b", "x")]


@pytest.mark.parametrize(
    ("prompt", "arguments", "words"),
    [
        (["a", "b"], {"negative_prompt": ["x", "y", "z"]}, "negative_prompt: expected one text"),
        ("a", {"negative_prompt": ["x", "y"]}, "negative_prompt: expected one text"),
        ("a", {"latents": torch.zeros(3, 4, 2, 2)}, "latents: expected a tensor with 4 rows"),
        ("a", {"latents": [1]}, "latents: expected a tensor with 4 rows"),
        (["a", "b"], {"prompt_embeds": torch.zeros(3, 2, 2)}, "prompt_embeds: expected 1 row"),
        ("a", {"generator": torch.Generator()}, "generator: not taken here; .*seed="),
        ("a", {"num_images_per_prompt": 4}, "num_images_per_prompt: not taken here; use n="),
        ("a", {"return_dict": False}, "return_dict: not taken here"),
        ("a", {"num_inference_step": 3}, "no argument.*num_inference_step.*num_inference_steps"),
    ],
)
def test_wrong_arguments_are_named_before_anything_runs(pipe, scorer, prompt, arguments, words):
    with pytest.raises(DiffusionError, match=words):
        best_of_n(pipe, prompt, 4, scorer, **arguments)
    assert not pipe.calls


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"n": 0}, ConfigError), ({"n": True}, ConfigError), ({"n": 2.0}, ConfigError),
        ({"seed": -1}, ConfigError), ({"seed": 2**63 - 1, "n": 2}, ConfigError),
        ({"seed": "1"}, ConfigError), ({"combine": "max"}, ConfigError),
        ({"batch_size": 0}, ConfigError), ({"keep_images": "worst"}, ConfigError),
        ({"output_type": "latent"}, ConfigError), ({"output_type": "np"}, ConfigError),
        ({"prune": "yes"}, ConfigError), ({"decoder": object()}, ConfigError),
        ({"generator_device": "moon"}, ConfigError), ({"scorer": "embedded"}, DiffusionError),
        ({"prompt": None}, PromptError), ({"prompt": []}, PromptError),
        ({"prompt": ["a", None]}, PromptError), ({"pipe": FakePipeline}, DiffusionError),
        ({"pipe": "stable-diffusion"}, DiffusionError),
    ],
)  # fmt: skip
def test_wrong_choices_are_named_before_anything_runs(pipe, scorer, arguments, kind):
    call = {"pipe": pipe, "prompt": "a", "n": 1, "scorer": scorer, **arguments}
    with pytest.raises(kind, match="expected"):
        best_of_n(**call)
    assert not pipe.calls


def test_one_image_a_prompt_may_be_said(pipe, scorer):
    assert len(best_of_n(pipe, "a", 2, scorer, num_images_per_prompt=1)) == 2


# --- memory ------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_batch", [1, 2, 3, 5])
def test_batches_that_do_not_fit_are_halved_and_the_order_is_kept(scorer, max_batch):
    small, large = FakePipeline(max_batch=max_batch), FakePipeline()
    expected = best_of_n(large, ["a", "b"], 7, scorer, keep_images="all", output_type="pt")
    found = best_of_n(
        small, ["a", "b"], 7, scorer, batch_size=7, keep_images="all", output_type="pt"
    )
    for one, other in zip(found, expected, strict=True):
        assert seeds_and_scores(one) == seeds_and_scores(other)
        assert all(torch.equal(a.image, b.image) for a, b in zip(one, other, strict=True))
    sizes = [call["batch"] for call in small.calls]
    first_fit = next(i for i, size in enumerate(sizes) if size <= max_batch)
    assert max(sizes[first_fit:]) <= max_batch, "what did not fit once is not tried again"
    assert small.frees == first_fit


def test_one_image_that_does_not_fit_is_said(scorer):
    with pytest.raises(DiffusionError, match="memory for one image"):
        best_of_n(FakePipeline(max_batch=0), "a", 4, scorer, batch_size=4)


def test_records_tell_how_many_ran_at_once(scorer):
    result = best_of_n(FakePipeline(max_batch=2), "a", 3, scorer, batch_size=3)
    assert [c.record["batch_size"] for c in result] == [1, 1, 1]
    result = best_of_n(FakePipeline(), "a", 3, scorer, batch_size=2)
    assert [c.record["batch_size"] for c in result] == [2, 2, 1]


# --- what goes wrong ---------------------------------------------------------------------------


def test_images_that_cannot_be_scored_rank_last_and_say_why(pipe, scorer):
    pipe.nan_seeds = {0, 2}
    result = best_of_n(pipe, "a", 4, scorer, keep_images="all", batch_size=4)
    assert {c.index for c in result.ranked[:2]} == {1, 3}
    assert result.candidates[0].error and "nonfinite_input" in result.candidates[0].flags
    assert math.isnan(result.candidates[0].score)
    assert isinstance(result.candidates[0].image, Image.Image)


def test_nan_latents_of_a_real_pipeline_are_flagged(sd15, tiny_scorer):
    pipe, arguments = sd15
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    latents[0] = math.nan
    result = best_of_n(pipe, "a", 2, tiny_scorer, latents=latents, **arguments)
    assert result.best.index == 1 and "nonfinite_input" in result.candidates[0].flags


@pytest.mark.parametrize("keep", ["best", "all", "none"])
def test_a_scorer_that_rejects_everything(pipe, keep, caplog, tmp_path):
    result = best_of_n(pipe, "a", 3, RejectingScorer(), keep_images=keep)
    assert result.best.index == 0 and result.best.error == "rejected"
    assert (result.best.image is None) == (keep == "none")
    assert "no image could be scored" in caplog.text
    json.dumps(result.to_json(), allow_nan=False)
    result.contact_sheet(tmp_path / "sheet.png")


def test_an_image_that_a_safety_checker_replaced_is_no_candidate(pipe, scorer):
    pipe.unsafe_seeds = {best_of_n(pipe, "a", 4, scorer).best.seed}
    result = best_of_n(pipe, "a", 4, scorer)
    assert result.best.seed not in pipe.unsafe_seeds
    assert "nsfw_content_detected" in result.ranked[-1].flags and result.ranked[-1].error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("broken"), RuntimeError("no")])
def test_a_failing_pipeline_raises_its_own_error_and_models_go_back(scorer, error):
    pipe = FakePipeline(fails_at=2, fails=error)
    with pytest.raises(type(error)) as caught:
        best_of_n(pipe, "a", 4, scorer)
    assert caught.value is error and pipe.frees == 1 and len(pipe.calls) == 3


def test_an_interrupted_pipeline_gives_no_unfinished_images(scorer):
    def stop(pipe, step, timestep, arguments):
        pipe._interrupt = True
        return arguments

    pipe = FakePipeline()
    with pytest.raises(DiffusionError, match="interrupted"):
        best_of_n(pipe, "a", 2, scorer, callback_on_step_end=stop)
    with pytest.raises(DiffusionError, match="interrupted"):  # and once more
        best_of_n(pipe, "a", 2, scorer, callback_on_step_end=stop)
    assert len(best_of_n(pipe, "a", 2, scorer)) == 2


def test_a_scorer_with_another_number_of_scores_is_named(pipe):
    class Short(FakeScorer):
        def score(self, images, prompts):
            return super().score(images[:1], prompts[:1])

    with pytest.raises(DiffusionError, match="expected 3 scores"):
        best_of_n(pipe, "a", 3, Short(), batch_size=3)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 4, 8, 8), torch.zeros(2, 3, 8, 8), torch.zeros(1, 2, 3, 8, 8), None]
)
def test_a_pipeline_that_gives_no_images_is_named(scorer, images):
    class Other(FakePipeline):
        def __call__(self, prompt=None, generator=None, output_type="pil"):
            return (images,)

    with pytest.raises(DiffusionError, match="expected"):
        best_of_n(Other(), "a", 1, scorer)


# --- what is the user's ------------------------------------------------------------------------


def test_the_users_tensors_and_settings_are_not_changed(scorer):
    pipe = FakePipeline()
    latents = torch.rand(4, 2, 2, 2)
    embeds = torch.rand(1, 3, 2)
    copies = latents.clone(), embeds.clone()
    for size in (1, 2, 4):
        best_of_n(pipe, "a", 4, scorer, latents=latents, prompt_embeds=embeds, batch_size=size)
    assert torch.equal(latents, copies[0]) and torch.equal(embeds, copies[1])
    assert pipe.components == {} and all(call["prompt"] is None for call in pipe.calls)
    assert all(len(c["latents"]) == len(c["prompt_embeds"]) == c["batch"] for c in pipe.calls)


@pytest.mark.parametrize("size", [1, 2])
def test_latents_and_embeddings_of_a_real_pipeline(sd15, tiny_scorer, size):
    pipe, arguments = sd15
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(9))
    embeds, negative = pipe.encode_prompt("a red fox", torch.device("cpu"), 1, True)
    copies = [one.clone() for one in (latents, embeds, negative)]
    options = {"latents": latents, "output_type": "pt", "keep_images": "all", "batch_size": size}
    by_text = best_of_n(pipe, "a red fox", 2, tiny_scorer, **options, **arguments)
    given = {"prompt_embeds": embeds, "negative_prompt_embeds": negative}
    by_embeds = best_of_n(pipe, "a red fox", 2, tiny_scorer, **given, **options, **arguments)
    for one, other in zip(by_text, by_embeds, strict=True):
        assert torch.allclose(one.image, other.image, atol=IMAGE_ROUNDING)
    for one, copy in zip((latents, embeds, negative), copies, strict=True):
        assert torch.equal(one, copy)


def test_nothing_of_the_pipeline_is_changed(sd15, tiny_scorer):
    pipe, arguments = sd15
    before = {n: v for n, v in vars(pipe).items() if not n.startswith("_")}
    names = set(pipe.components)
    config = dict(pipe.scheduler.config)
    best_of_n(pipe, "a", 2, tiny_scorer, **arguments)
    after = {n: v for n, v in vars(pipe).items() if not n.startswith("_")}
    assert before == after and names == set(pipe.components)
    assert config == dict(pipe.scheduler.config)
    assert pipe._progress_bar_config == {"disable": True}


# --- progress ----------------------------------------------------------------------------------


def test_the_bar_is_the_pipelines_own(sd15, tiny_scorer, capsys):
    pipe, arguments = sd15
    best_of_n(pipe, "a", 2, tiny_scorer, **arguments)
    assert capsys.readouterr().err == ""
    pipe.set_progress_bar_config(disable=False, ncols=60)
    try:
        best_of_n(pipe, "a", 2, tiny_scorer, **arguments)
        shown = capsys.readouterr().err
        assert "best of 2" in shown and "2/2" in shown
        best_of_n(pipe, "a", 2, tiny_scorer, progress=False, **arguments)
        assert "best of 2" not in capsys.readouterr().err
    finally:
        pipe.set_progress_bar_config(disable=True)


def test_the_names_are_functions_whatever_was_imported_before():
    import eliq.diffusion
    import eliq.diffusion.best_of_n
    import eliq.diffusion.reroll  # noqa: F401

    assert eliq.diffusion.best_of_n is best_of_n and not hasattr(eliq.diffusion.reroll, "reroll")
    for name in eliq.diffusion.__all__:
        assert getattr(eliq.diffusion, name) is not None


def test_errors_have_one_base():
    assert issubclass(DiffusionError, EliqError)
