"""A record makes its image again, bit for bit, from JSON or from the PNG it came with."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from eliq.diffusion.best_of_n import best_of_n
from eliq.diffusion.pipeline_state import describe_state
from eliq.diffusion.record import read_record, regenerate, save_png
from eliq.errors import ConfigError, DiffusionError
from tests.fake_pipeline import FakePipeline, FakeScorer
from tests.tiny_pipelines import TINY_PIPELINES


@pytest.fixture(scope="module")
def sd15():
    return TINY_PIPELINES["sd15"]()


@pytest.fixture(scope="module")
def result(sd15, tiny_scorer):
    pipe, arguments = sd15
    return best_of_n(
        pipe, "a red fox", 2, tiny_scorer, seed=3, keep_images="all", negative_prompt="blur",
        guidance_scale=4.0, **arguments,
    )  # fmt: skip


def through_json(record):
    return json.loads(json.dumps(record, allow_nan=False))


def test_it_holds_what_an_image_depends_on(result, tiny_scorer):
    record = result.candidates[1].record
    assert record["seed"] == 4 and record["generator_device"] == "cpu"
    assert (record["height"], record["width"]) == (64, 64)
    assert record["dtype"] == "float32" and record["num_inference_steps"] == 4
    assert record["guidance_scale"] == 4.0 and record["prompt"] == "a red fox"
    assert record["call"]["negative_prompt"] == "blur"
    assert record["scheduler"]["class"] == "DDIMScheduler"
    assert record["scheduler"]["config"]["beta_schedule"] == "scaled_linear"
    assert set(record["model"]) == {"id", "revision"}
    assert record["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert record["critic"]["fingerprint"] == tiny_scorer.fingerprint
    candidate = result.candidates[1]
    assert record["scores"] == pytest.approx(
        {
            "visual_quality": candidate.visual_quality,
            "alignment": candidate.alignment,
            "score": candidate.score,
        }
    )


def test_the_same_image_comes_back(sd15, result):
    pipe, _ = sd15
    for candidate in result:
        again = regenerate(pipe, through_json(candidate.record))
        assert again.tobytes() == candidate.image.tobytes()


def test_from_png_and_from_json(sd15, result, tmp_path):
    pipe, _ = sd15
    best = result.best
    save_png(best.image, tmp_path / "best.png", best.record)
    (tmp_path / "best.json").write_text(json.dumps(best.record))
    for name in ("best.png", "best.json"):
        assert read_record(tmp_path / name) == best.record
        again = regenerate(pipe, read_record(tmp_path / name))
        assert again.tobytes() == best.image.tobytes()
    with Image.open(tmp_path / "best.png") as image:
        assert image.tobytes() == best.image.tobytes()
        assert json.loads(image.text["eliq"])["seed"] == best.seed


def test_a_tensor_can_be_saved_too(result, tmp_path):
    pixels = torch.rand(3, 8, 8)
    save_png(pixels, tmp_path / "a.png", result.best.record)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (8, 8)


def test_the_scheduler_of_the_record_is_used_and_the_pipelines_own_comes_back(sd15, result):
    from diffusers import EulerDiscreteScheduler

    pipe, arguments = sd15
    old = pipe.scheduler
    other = EulerDiscreteScheduler.from_config(old.config)
    pipe.scheduler = other
    try:
        again = regenerate(pipe, through_json(result.best.record))
        assert again.tobytes() == result.best.image.tobytes()
        assert pipe.scheduler is other
        with pytest.raises(KeyboardInterrupt):
            regenerate_interrupted(pipe, result.best.record)
        assert pipe.scheduler is other
    finally:
        pipe.scheduler = old


def regenerate_interrupted(pipe, record):
    def stop(*_, **__):
        raise KeyboardInterrupt

    handle = pipe.unet.register_forward_pre_hook(stop)
    try:
        regenerate(pipe, record)
    finally:
        handle.remove()


def test_infinities_of_a_scheduler_survive_json(tiny_scorer):
    from diffusers import DPMSolverMultistepScheduler

    pipe, arguments = TINY_PIPELINES["sd15"]()
    old = pipe.scheduler
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(old.config)
    found = best_of_n(pipe, "a", 1, tiny_scorer, **arguments).best
    pipe.scheduler = old
    assert regenerate(pipe, through_json(found.record)).tobytes() == found.image.tobytes()


def test_tensors_are_known_by_fingerprint_and_must_be_given_again(sd15, tiny_scorer):
    pipe, arguments = sd15
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    found = best_of_n(pipe, "a", 2, tiny_scorer, latents=latents, keep_images="all", **arguments)
    record = through_json(found.candidates[1].record)
    again = regenerate(pipe, record, latents=latents[1:])
    assert again.tobytes() == found.candidates[1].image.tobytes()
    for wrong in ({}, {"latents": latents[:1]}, {"latents": latents[1:].double()}):
        with pytest.raises(DiffusionError, match="the very tensors"):
            regenerate(pipe, record, **wrong)


def test_another_pipeline_is_refused(result, caplog):
    pipe, _ = TINY_PIPELINES["sd15"]()
    record = through_json(result.best.record)
    record["model"] = {"id": "someone/a-model", "revision": None}
    pipe.register_to_config(_name_or_path="someone/another-model")
    with pytest.raises(DiffusionError, match="someone/a-model.*strict=False"):
        regenerate(pipe, record)
    regenerate(pipe, record, strict=False)
    assert "someone/another-model" in caplog.text
    record = {**through_json(result.best.record), "dtypes": {"unet": "bfloat16"}}
    with pytest.raises(DiffusionError, match="dtypes"):
        regenerate(pipe, record)


def test_revision_and_local_paths(tmp_path):
    pipe, _ = TINY_PIPELINES["sd15"]()
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = f"cache/hub/models--someone--a-model/snapshots/{commit}"
    pipe.register_to_config(_name_or_path="someone/a-model")
    pipe.unet.register_to_config(_name_or_path=f"{cached}/unet")
    assert describe_state(pipe)["model"] == {"id": "someone/a-model", "revision": commit}
    pipe.register_to_config(_name_or_path=str(tmp_path / "secret" / "mine"))
    assert describe_state(pipe)["model"] == {"id": "mine", "revision": None}
    pipe.register_to_config(_name_or_path=cached)
    assert describe_state(pipe)["model"] == {"id": "someone/a-model", "revision": commit}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "eliq.diffusion/99"}, {"seed": -1}, {"seed": "4"}, {"call": None},
        {"scheduler": "DDIM"}, {"scheduler": {"class": "os"}},
        {"scheduler": {"class": "StableDiffusionPipeline"}}, {"call": {"what": 1}},
        {"generator_device": 3}, {"call": {"output_type": "latent"}}, {"call": {"generator": 1}},
    ],
)  # fmt: skip
def test_damaged_records_are_refused(sd15, result, change):
    with pytest.raises((DiffusionError, ConfigError), match="expected|takes no argument"):
        regenerate(sd15[0], {**result.best.record, **change})


def test_files_without_a_record_are_refused(tmp_path, result):
    Image.new("RGB", (8, 8)).save(tmp_path / "plain.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "photo.jpg")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "cut.json").write_text("{")
    (tmp_path / "deep.json").write_text("[" * 100000)
    for name in ("plain.png", "photo.jpg", "cut.png", "list.json", "cut.json", "deep.json"):
        with pytest.raises(DiffusionError, match=name):
            read_record(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_record(tmp_path / "gone.png")
    with pytest.raises(DiffusionError, match="expected a record"):
        save_png(result.best.image, tmp_path / "x.png", {})


@pytest.mark.parametrize("prompt", ["红狐狸 🦊", "a\x00b", "\udc80 lone", "<b>&amp;", ""])
def test_any_prompt_survives_the_png(tmp_path, prompt):
    found = best_of_n(FakePipeline(), prompt, 1, FakeScorer()).best
    save_png(found.image, tmp_path / "a.png", found.record)
    assert read_record(tmp_path / "a.png") == through_json(found.record)


def test_functions_are_named_as_not_recorded(caplog):
    pipe, callback = FakePipeline(), lambda *a: {}
    record = best_of_n(pipe, "a", 1, FakeScorer(), callback_on_step_end=callback).best.record
    assert record["not_recorded"] == ["callback_on_step_end"]
    regenerate(pipe, record, callback_on_step_end=callback)
    assert "could not be recorded" not in caplog.text
    regenerate(pipe, record)
    assert "callback_on_step_end could not be recorded" in caplog.text


def test_numbers_of_numpy_are_numbers():
    """A schedule of the user's own is often an array, and says how many steps there are."""
    pipe, arguments = TINY_PIPELINES["flux"]()
    sigmas = np.linspace(1.0, 0.2, 3)
    options = {**arguments, "sigmas": sigmas, "guidance_scale": np.float32(2.5)}
    found = best_of_n(pipe, "a", 1, FakeScorer(), **options).best
    record = through_json(found.record)
    assert record["num_inference_steps"] == 3 and record["guidance_scale"] == 2.5
    assert record["call"]["sigmas"] == sigmas.tolist() and not record["not_recorded"]
    assert regenerate(pipe, record).tobytes() == found.image.tobytes()


def test_an_autoencoder_that_a_run_leaves_in_float32_is_no_other_pipeline():
    pipe, _ = TINY_PIPELINES["aura_flow"]()
    pipe.to(dtype=torch.float16)
    before = describe_state(pipe)
    pipe.vae.to(dtype=torch.float32)  # as AuraFlow does before it decodes
    assert describe_state(pipe) == before and before["dtypes"]["vae"] == "float32"
    assert before["dtype"] == "float16"


def test_fused_loras_are_recorded():
    pipe, _ = TINY_PIPELINES["sd15"]()
    assert describe_state(pipe)["loras"] == []
    pipe._merged_adapters = {"style"}  # as `fuse_lora` notes it
    assert describe_state(pipe)["loras"] == [{"part": "fused", "name": "style", "factors": None}]


def test_loras_are_recorded_and_must_agree(tiny_scorer):
    pytest.importorskip("peft")
    pipe, arguments = TINY_PIPELINES["sd15"]()
    weights = {}
    for name, module in pipe.unet.named_modules():
        if name.endswith("to_q"):
            rows, columns = module.weight.shape
            weights[f"unet.{name}.lora_A.weight"] = torch.ones(2, columns)
            weights[f"unet.{name}.lora_B.weight"] = torch.ones(rows, 2)
    pipe.load_lora_weights(weights, adapter_name="style")
    pipe.set_adapters(["style"], [0.5])
    found = best_of_n(pipe, "a", 1, tiny_scorer, **arguments).best
    assert found.record["loras"] == [{"part": "unet", "name": "style", "factors": [0.5]}]
    assert regenerate(pipe, through_json(found.record)).tobytes() == found.image.tobytes()
    pipe.set_adapters(["style"], [0.25])
    with pytest.raises(DiffusionError, match="loras.*0.5.*0.25"):
        regenerate(pipe, found.record)
