"""A diffusers pipeline by its settings, on a device; and the memory it leaves behind."""

from __future__ import annotations

import gc
import logging
import warnings
from typing import Any

import torch

from eliq.errors import TrainingError

from ..tiny_pipelines import TINY_PIPELINES, tiny_pipeline
from .models import ModelSettings

__all__ = ["free_memory", "load_pipeline"]

log = logging.getLogger("eliq")


def load_pipeline(settings: ModelSettings, device: str = "cpu") -> Any:
    """The text-to-image pipeline of a hub id or directory, silent, ready on `device`.

    Raises:
        TrainingError: diffusers is not installed, or nothing loads under that name; what to do
            (accept a licence on the hub, give a directory, set HF_HUB_OFFLINE) is in the message.
    """
    if settings.model in TINY_PIPELINES:
        return tiny_pipeline(settings.model).to(device)
    try:
        from diffusers import DiffusionPipeline
    except ImportError as error:
        raise TrainingError(
            "generating images needs diffusers: pip install 'eliq[diffusers]'"
        ) from error
    is_cpu = torch.device(device).type == "cpu"
    dtype = torch.float32 if is_cpu else getattr(torch, settings.dtype)
    log.info("loading %s", settings.model)
    try:
        with warnings.catch_warnings():
            # Deprecated, but the name that every supported version understands.
            warnings.filterwarnings("ignore", message=".*torch_dtype", category=FutureWarning)
            pipe = DiffusionPipeline.from_pretrained(
                settings.model, revision=settings.revision, torch_dtype=dtype
            )
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise TrainingError(
            f"{settings.model}: expected a diffusers pipeline as a hub id or directory, found none "
            f"that loads ({reason[0][:200] if reason else type(error).__name__}); for a gated "
            "model accept its licence on the hub and run `hf auth login`"
        ) from error
    pipe.set_progress_bar_config(disable=True)
    if settings.offload == "model" and not is_cpu:
        pipe.enable_model_cpu_offload(device=device)
        return pipe
    return pipe.to(device)


def free_memory() -> None:
    """After the last reference to a pipeline is gone, before the next one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
