"""What ELIQ must know of a diffusers pipeline, and the private names of diffusers it relies on.

Everything that could break with another version of diffusers is asked for here, once:
`_execution_device`, `_hf_hook`, `_diffusers_hook`, `_progress_bar_config`,
`_callback_tensor_inputs`, `interrupt`; decoding.py adds `_unpack_latents` and
`_unpack_latents_with_ids`. Each has a test, so that a version of diffusers that renames one is
found by the tests and not by a user.

diffusers is not imported: a pipeline that a user holds brings it along.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..errors import DiffusionError

__all__ = [
    "PipelineFacts",
    "check_call_kwargs",
    "denoisers",
    "describe_pipeline",
    "execution_device",
    "free_hooks",
    "image_size",
    "module_device",
    "progress_bar_config",
    "supported_kwargs",
]

# The beginning of a class name -> family; of two that fit, the longer decides.
FAMILIES = {
    "StableDiffusion": "sd15",
    "LatentConsistencyModel": "sd15",
    "StableDiffusionXL": "sdxl",
    "Kolors": "sdxl",
    "StableDiffusion3": "sd3",
    "Flux": "flux",
    "Flux2": "flux2",
    "QwenImage": "qwen_image",
    "ZImage": "z_image",
    "Sana": "sana",
    "Lumina2": "lumina2",
    "PixArtAlpha": "pixart",
    "PixArtSigma": "pixart",
    "HunyuanImage": "hunyuan_image",
    "Chroma": "chroma",
    "AuraFlow": "aura_flow",
}
DENOISER_NAMES = ("unet", "unet_2", "transformer", "transformer_2")
FALLBACK_SIZE_PX = 1024  # what the classes without a default of their own make


@dataclass(frozen=True)
class PipelineFacts:
    """What a pipeline is and can do.

    class_name: of the pipeline. family: one of `FAMILIES`, or "other": all of ELIQ still works
    there as far as it needs no special case, but nobody has tried.
    denoisers: names of the components that predict noise, in the order of `pipe.components`.
    call_parameters: names that `pipe(...)` takes; takes_any_kwarg: it also swallows others,
    silently (PixArt does so with `callback_on_step_end`).
    has_step_callback: `callback_on_step_end` is a parameter. step_callback_tensors: what such a
    callback may ask for. honours_interrupt: `pipe._interrupt = True` skips the steps left.
    packed_latents: latents in the loop are [B, tokens, channels]. vae_scale_factor: pixels a
    latent. modular: a modular pipeline, whose loop is made of blocks.
    """

    class_name: str
    family: str
    denoisers: tuple[str, ...]
    call_parameters: tuple[str, ...]
    takes_any_kwarg: bool
    has_step_callback: bool
    step_callback_tensors: tuple[str, ...]
    honours_interrupt: bool
    packed_latents: bool
    vae_scale_factor: int
    modular: bool


def describe_pipeline(pipe: Any) -> PipelineFacts:
    """The facts of a pipeline; `DiffusionError` if `pipe` is none."""
    if isinstance(pipe, type) or not callable(pipe) or not hasattr(pipe, "components"):
        found = pipe.__name__ if isinstance(pipe, type) else type(pipe).__name__
        raise DiffusionError(
            f"expected a diffusers pipeline, found {found}: load one, for example with "
            "diffusers.DiffusionPipeline.from_pretrained(...)"
        )
    parameters = inspect.signature(type(pipe).__call__).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    names = tuple(
        name
        for name, parameter in parameters.items()
        if name != "self" and parameter.kind is not inspect.Parameter.VAR_KEYWORD
    )
    return PipelineFacts(
        class_name=type(pipe).__name__,
        family=_family(type(pipe)),
        denoisers=tuple(denoisers(pipe)),
        call_parameters=names,
        takes_any_kwarg=inspect.Parameter.VAR_KEYWORD in kinds,
        has_step_callback="callback_on_step_end" in names,
        step_callback_tensors=tuple(getattr(pipe, "_callback_tensor_inputs", None) or ()),
        honours_interrupt=hasattr(type(pipe), "interrupt"),
        packed_latents=any(
            hasattr(pipe, name) for name in ("_unpack_latents", "_unpack_latents_with_ids")
        ),
        vae_scale_factor=int(getattr(pipe, "vae_scale_factor", 8)),
        modular=any(base.__name__ == "ModularPipeline" for base in type(pipe).__mro__),
    )


def _family(kind: type) -> str:
    """By the class's name, or the name of a class that it was derived from."""
    for base in kind.__mro__:
        fitting = [prefix for prefix in FAMILIES if base.__name__.startswith(prefix)]
        if fitting:
            return FAMILIES[max(fitting, key=len)]
    return "other"


def denoisers(pipe: Any) -> dict[str, nn.Module]:
    """The components that predict noise, by name: a unet, a transformer, sometimes two."""
    found = {name: getattr(pipe, name, None) for name in DENOISER_NAMES}
    return {name: module for name, module in found.items() if isinstance(module, nn.Module)}


def check_call_kwargs(pipe: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse, before anything runs, keyword arguments that `pipe(...)` does not name.

    Raises `DiffusionError` with the nearest name. PixArt and Stable Diffusion swallow any keyword:
    what they do not name has no effect (but for `callback`, an old way), so it is refused as well.
    Not checked are modular pipelines, which take what their blocks take, and a class of the user's
    own that passes everything on.
    """
    facts = describe_pipeline(pipe)
    if facts.modular or (facts.takes_any_kwarg and "prompt" not in facts.call_parameters):
        return
    old = ("callback", "callback_steps") if facts.takes_any_kwarg else ()
    for name in kwargs:
        if name not in (*facts.call_parameters, *old):
            near = difflib.get_close_matches(name, facts.call_parameters, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise DiffusionError(f"{facts.class_name} takes no argument {name!r}{hint}")


def supported_kwargs(pipe: Any, **kwargs: Any) -> dict[str, Any]:
    """Those of `kwargs` that `pipe(...)` names and that are not None."""
    facts = describe_pipeline(pipe)
    return {
        name: value
        for name, value in kwargs.items()
        if value is not None and (facts.modular or name in facts.call_parameters)
    }


def execution_device(pipe: Any) -> torch.device:
    """Where the pipeline computes, also when its weights are offloaded to the CPU."""
    device = getattr(pipe, "_execution_device", None) or getattr(pipe, "device", None)
    return torch.device(device if device is not None else "cpu")


def module_device(module: nn.Module) -> torch.device:
    """Where the inputs of a component must lie, also when its weights are offloaded to the CPU."""
    for inner in module.modules():
        device = getattr(getattr(inner, "_hf_hook", None), "execution_device", None)
        if device is not None:
            return torch.device(device)
        registry = getattr(inner, "_diffusers_hook", None)  # group offloading
        for hook in getattr(registry, "hooks", {}).values():
            device = getattr(getattr(hook, "config", None), "onload_device", None)
            if device is not None:
                return torch.device(device)
    tensor = next(iter(module.parameters()), None)
    return tensor.device if tensor is not None else torch.device("cpu")


def image_size(pipe: Any, height: int | None = None, width: int | None = None) -> tuple[int, int]:
    """(height, width) in pixels of an image that `pipe(height=height, width=width)` makes.

    None stands for the pipeline's default. What the pipeline rounds is not rounded here.
    """
    parameters = inspect.signature(type(pipe).__call__).parameters
    scale = int(getattr(pipe, "vae_scale_factor", 8))
    size = getattr(pipe, "default_sample_size", None)
    for module in denoisers(pipe).values():
        size = size or getattr(getattr(module, "config", None), "sample_size", None)
    sides = size if isinstance(size, (list, tuple)) else (size, size)
    chosen = []
    for name, asked, side in (("height", height, sides[0]), ("width", width, sides[-1])):
        named = getattr(parameters.get(name), "default", None)  # Sana and AuraFlow say 1024
        named = named if isinstance(named, int) else None
        chosen.append(asked or named or (side * scale if side else FALLBACK_SIZE_PX))
    return chosen[0], chosen[1]


def progress_bar_config(pipe: Any) -> dict[str, Any]:
    """What the user gave to `pipe.set_progress_bar_config`: keyword arguments of tqdm."""
    return dict(getattr(pipe, "_progress_bar_config", None) or {})


def free_hooks(pipe: Any) -> None:
    """What a pipeline does at the end of a call, for one that was stopped before its end: models
    that `enable_model_cpu_offload` brought to the device go back.
    """
    free = getattr(pipe, "maybe_free_model_hooks", None)
    if free is not None:
        free()
