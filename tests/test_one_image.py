"""One image by its seed: the pipeline's own image, with a record that makes it again."""

from __future__ import annotations

import pytest
import torch

from eliq.diffusion import generate_image, regenerate
from eliq.errors import ConfigError, DiffusionError, PromptError
from tests.fake_pipeline import FakePipeline
from tests.tiny_pipelines import TINY_PIPELINES
from training.tiny_pipelines import tiny_pipeline


@pytest.mark.parametrize("name", ["sd15", "flux", "qwen_image"])
def test_it_is_the_image_of_the_pipeline_and_of_the_record(name):
    pipe, call = TINY_PIPELINES[name]()
    made = generate_image(pipe, "a red fox", seed=5, facts={"prompt_id": "x"}, **call)
    generator = torch.Generator().manual_seed(5)
    own = pipe(prompt="a red fox", **call, generator=generator, output_type="pt").images[0]
    assert torch.equal(made.image, own)
    assert torch.equal(regenerate(pipe, made.record, output_type="pt"), own.float())
    assert made.record["seed"] == 5 and made.record["prompt_id"] == "x"
    assert not made.is_replaced


def test_a_replaced_image_is_told():
    pipe = FakePipeline()
    pipe.unsafe_seeds = {3}
    assert generate_image(pipe, "a fox", seed=3).is_replaced
    assert not generate_image(pipe, "a fox", seed=4).is_replaced


def test_wrong_arguments_are_refused():
    pipe = FakePipeline()
    with pytest.raises(PromptError, match="one text"):
        generate_image(pipe, ["a", "b"], seed=0)
    with pytest.raises(ConfigError, match="seed"):
        generate_image(pipe, "a", seed=-1)
    with pytest.raises(DiffusionError, match="did you mean 'guidance_scale'"):
        generate_image(pipe, "a", seed=0, guidance=3)
    assert not pipe.calls


@pytest.mark.parametrize("name", ["tiny-sd", "tiny-flux"])
def test_tiny_pipelines_repeat_and_follow_prompt_and_seed(name):
    state = torch.get_rng_state()
    call = {"height": 64, "width": 64, "num_inference_steps": 2}
    call |= {"max_sequence_length": 64} if name == "tiny-flux" else {}
    first, again = tiny_pipeline(name), tiny_pipeline(name)
    assert torch.equal(torch.get_rng_state(), state)
    image = generate_image(first, "a red fox", seed=0, **call).image
    assert torch.equal(image, generate_image(again, "a red fox", seed=0, **call).image)
    for prompt, seed in (("a blue owl", 0), ("a red fox", 1)):
        other = generate_image(first, prompt, seed=seed, **call).image
        assert (image - other).abs().mean() > 0.01
