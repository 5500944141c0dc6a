"""What ELIQ knows of a pipeline, and the private names of diffusers that it relies on."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from eliq.diffusion.pipelines import (
    check_call_kwargs,
    denoisers,
    describe_pipeline,
    execution_device,
    free_hooks,
    image_size,
    module_device,
    progress_bar_config,
    supported_kwargs,
)
from eliq.errors import DiffusionError
from tests.tiny_pipelines import TINY_PIPELINES

pytest.importorskip("diffusers")

NO_INTERRUPT = {"lumina2", "pixart_sigma", "aura_flow"}
PACKED = {"flux", "flux2", "qwen_image", "chroma"}


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_a_tiny_pipeline_is_the_same_each_time_it_is_built(name):
    """Also under another global seed; several tests compare two builds."""
    torch.manual_seed(1)
    first, _ = TINY_PIPELINES[name]()
    torch.manual_seed(2)
    second, _ = TINY_PIPELINES[name]()
    for component, module in first.components.items():
        if isinstance(module, torch.nn.Module):
            other = second.components[component].state_dict()
            for key, value in module.state_dict().items():
                assert torch.equal(value, other[key]), f"{component}.{key}"


@pytest.mark.parametrize("name", TINY_PIPELINES)
def test_facts(name):
    pipe, _ = TINY_PIPELINES[name]()
    facts = describe_pipeline(pipe)
    assert facts.family == ("pixart" if name == "pixart_sigma" else name)
    assert facts.class_name == type(pipe).__name__
    assert facts.denoisers == (("unet",) if name in ("sd15", "sdxl") else ("transformer",))
    assert facts.has_step_callback == (name != "pixart_sigma")
    assert ("latents" in facts.step_callback_tensors) == (name != "pixart_sigma")
    assert facts.honours_interrupt == (name not in NO_INTERRUPT)
    assert facts.packed_latents == (name in PACKED)
    assert facts.vae_scale_factor == 8
    assert not facts.modular
    assert {"prompt", "generator", "latents", "output_type"} <= set(facts.call_parameters)


def test_a_class_of_the_users_own_has_the_family_of_its_base():
    pipe, _ = TINY_PIPELINES["flux"]()
    pipe.__class__ = type("MyPipeline", (type(pipe),), {})
    assert describe_pipeline(pipe).family == "flux"
    assert describe_pipeline(pipe).class_name == "MyPipeline"


def test_a_pipeline_nobody_tried_is_other():
    class Unheard:
        components: dict = {}

        def __call__(self, prompt): ...

    assert describe_pipeline(Unheard()).family == "other"
    assert describe_pipeline(Unheard()).denoisers == ()


def test_a_modular_pipeline_is_known():
    from diffusers import StableDiffusionXLAutoBlocks

    facts = describe_pipeline(StableDiffusionXLAutoBlocks().init_pipeline())
    assert facts.modular and facts.family == "sdxl" and not facts.has_step_callback


@pytest.mark.parametrize("thing", [None, "sdxl", torch.nn.Linear(1, 1), dict, len])
def test_what_is_no_pipeline_is_refused(thing):
    with pytest.raises(DiffusionError, match="expected a diffusers pipeline, found"):
        describe_pipeline(thing)


def test_an_unloaded_class_is_refused():
    from diffusers import FluxPipeline

    with pytest.raises(DiffusionError, match="found FluxPipeline: load one"):
        describe_pipeline(FluxPipeline)


def test_unknown_arguments_are_refused_before_anything_runs():
    flux, call_kwargs = TINY_PIPELINES["flux"]()
    check_call_kwargs(flux, call_kwargs)
    with pytest.raises(DiffusionError, match="no argument 'guidance'; did you mean 'guidance_sc"):
        check_call_kwargs(flux, {"guidance": 3.5})
    pixart, call_kwargs = TINY_PIPELINES["pixart_sigma"]()
    check_call_kwargs(pixart, {**call_kwargs, "callback": print})
    with pytest.raises(DiffusionError, match="PixArtSigmaPipeline takes no argument 'callback_on"):
        check_call_kwargs(pixart, {"callback_on_step_end": print})


def test_a_class_that_passes_everything_on_is_not_checked():
    class Wrapper:
        components: dict = {}

        def __call__(self, **kwargs): ...

    check_call_kwargs(Wrapper(), {"anything": 1})


def test_supported_kwargs():
    flux, _ = TINY_PIPELINES["flux"]()
    wanted = {"eta": 0.5, "guidance_scale": 2.0, "height": None}
    assert supported_kwargs(flux, **wanted) == {"guidance_scale": 2.0}
    sd15, _ = TINY_PIPELINES["sd15"]()
    assert supported_kwargs(sd15, **wanted) == {"eta": 0.5, "guidance_scale": 2.0}


@pytest.mark.parametrize("name", sorted(set(TINY_PIPELINES) - {"z_image", "aura_flow"}))
def test_the_default_size_is_the_pipelines_own(name):
    """Z-Image and AuraFlow make 1024 pixels, more than the tiny ones have positions for."""
    pipe, call_kwargs = TINY_PIPELINES[name]()
    call_kwargs = {key: call_kwargs[key] for key in call_kwargs if key not in ("height", "width")}
    call_kwargs["num_inference_steps"] = 1
    latents = pipe(prompt="a", **call_kwargs, output_type="latent").images
    height, width = image_size(pipe)
    pixels = latents.shape[-2] * (256 if latents.ndim == 3 else latents.shape[-1] * 64)
    assert height * width == pixels


def test_the_default_size_of_the_two_others():
    for name in ("z_image", "aura_flow"):
        assert image_size(TINY_PIPELINES[name]()[0]) == (1024, 1024)
    assert image_size(TINY_PIPELINES["sdxl"]()[0], height=32) == (32, 64)


def test_denoisers_are_the_modules_themselves():
    pipe, _ = TINY_PIPELINES["sd3"]()
    assert denoisers(pipe) == {"transformer": pipe.transformer}


def test_private_names_of_diffusers():
    """Each is relied on; a version that renames one fails here first."""
    from diffusers import DiffusionPipeline, FluxPipeline, ModularPipeline

    assert isinstance(DiffusionPipeline._execution_device, property)
    assert isinstance(ModularPipeline._execution_device, property)
    assert callable(DiffusionPipeline.maybe_free_model_hooks)
    assert "latents" in FluxPipeline._callback_tensor_inputs
    pipe, _ = TINY_PIPELINES["flux"]()
    pipe.set_progress_bar_config(disable=True, desc="x")
    assert progress_bar_config(pipe) == {"disable": True, "desc": "x"}
    progress_bar_config(pipe)["desc"] = "y"
    assert pipe._progress_bar_config["desc"] == "x"


def test_devices_under_offload():
    import accelerate

    pipe, _ = TINY_PIPELINES["sdxl"]()
    assert execution_device(pipe) == module_device(pipe.vae) == torch.device("cpu")
    accelerate.cpu_offload_with_hook(pipe.vae, "meta")  # a device that the weights are not on
    assert module_device(pipe.vae) == torch.device("meta")


def test_the_device_under_group_offload():
    pipe, _ = TINY_PIPELINES["sdxl"]()
    try:
        pipe.vae.enable_group_offload(onload_device=torch.device("cpu"), offload_type="leaf_level")
    except AttributeError:
        pytest.skip("this version of diffusers groups only where there is an accelerator")
    assert any(hasattr(module, "_diffusers_hook") for module in pipe.vae.modules())
    for module in pipe.vae.modules():
        for hook in getattr(getattr(module, "_diffusers_hook", None), "hooks", {}).values():
            hook.config.onload_device = torch.device("meta")
    assert module_device(pipe.vae) == torch.device("meta")


def test_free_hooks_of_a_pipeline_without_any():
    pipe, _ = TINY_PIPELINES["sd15"]()
    free_hooks(pipe)
    free_hooks(object())


def test_the_room_is_light_and_its_functions_are_no_modules():
    """diffusers comes with the user's pipeline; importing a file first must not hide a function."""
    code = (
        "import sys, eliq.diffusion.reroll, eliq.diffusion.best_of_n;"
        "from eliq.diffusion import best_of_n, reroll, ScoreCallback;"
        "assert callable(best_of_n) and callable(reroll) and callable(ScoreCallback);"
        "found = {'diffusers', 'transformers', 'greenlet', 'accelerate'} & set(sys.modules);"
        "assert not found, found"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    import eliq.diffusion

    assert sorted(eliq.diffusion.__all__) == eliq.diffusion.__all__
    assert all(hasattr(eliq.diffusion, name) for name in eliq.diffusion.__all__)
