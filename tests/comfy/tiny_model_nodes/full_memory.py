"""What a full GPU does to a sampling, on a CPU: patched weights, and a VAE that pushes them out."""

from __future__ import annotations

from typing import Any

import comfy.model_management
import torch
from comfy_api.latest import io

__all__ = ["EvictingVae", "PatchedModel"]

_CATEGORY = "ELIQ tests"


class PatchedModel(io.ComfyNode):
    """A model with a patch on its weights, as a LoRA is one: unloaded, it draws otherwise."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestPatchModel",
            category=_CATEGORY,
            inputs=[io.Model.Input("model"), io.Float.Input("strength", default=0.5)],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model: Any, strength: float) -> io.NodeOutput:
        patched = model.clone()
        key = "diffusion_model.out.2.weight"
        weight = model.model.diffusion_model.out[2].weight
        patched.add_patches({key: (torch.ones_like(weight) * 0.05,)}, strength)
        return io.NodeOutput(patched)


class EvictingVae(io.ComfyNode):
    """A VAE whose decoding leaves no other model loaded."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestEvictingVAE",
            category=_CATEGORY,
            inputs=[io.Vae.Input("vae")],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, vae: Any) -> io.NodeOutput:
        return io.NodeOutput(_Evicting(vae))


class _Evicting:
    def __init__(self, vae: Any) -> None:
        self.patcher = vae.patcher
        self._vae = vae

    def decode(self, latent: torch.Tensor) -> torch.Tensor:
        images = self._vae.decode(latent)
        comfy.model_management.unload_all_models()
        return images
