"""What ELIQ Early Abort needs of ComfyUI during a sampling: noise, decoding, memory, messages.

Shapes: estimates [B,C,H,W] or [B,C,T,H,W], in the model's own scale.
"""

from __future__ import annotations

import hashlib
from typing import Any

import comfy.model_management as model_management
import comfy.sample
import comfy.sampler_helpers
import nodes
from torch import Tensor

from .node_text import display_id, send_text
from .pixels import to_bchw
from .sampling_watch import WatchTools
from .seed_noise import NoiseDraws

__all__ = ["preview_vae", "sampling_tools"]


def sampling_tools(node: Any, vae: Any, critic: Any, prompt: str | None) -> WatchTools:
    """The tools of a watch that shows its lines on ``node``."""
    node_id = display_id(node)  # now: the watch outlives the run of its node

    def score(guider: Any, estimate: Tensor) -> tuple[list[float], list[float]]:
        model_management.throw_exception_if_processing_interrupted()
        try:
            scores = critic.score(to_bchw(_decoded(guider, vae, estimate)), prompt)
        finally:
            _bring_back(guider)
        return scores.visual_quality.tolist(), scores.alignment.tolist()

    return WatchTools(
        percent_to_sigma=lambda guider: (
            guider.model_patcher.get_model_object("model_sampling").percent_to_sigma
        ),
        redraw=_redraw,
        score=score,
        clean_up=_clean_up,
        fingerprint=_fingerprint,
        tell=lambda text: send_text(text, node_id),
    )


def preview_vae(model: Any) -> Any:
    """The small decoder of the model's family, loaded as a VAE.

    Raises:
        ValueError: the family has none, or it is not in models/vae_approx.
    """
    file_name = model.get_model_object("latent_format").taesd_decoder_name
    name = (file_name or "").removesuffix("_decoder")
    if not name or name not in nodes.VAELoader.vae_list(nodes.VAELoader):
        files = f"no {name}_encoder and {name}_decoder in models/vae_approx"
        raise ValueError(
            "vae: expected a VAE to decode the unfinished picture, found none linked and "
            f"{files if name else 'no small one for this model'}: link the VAE that decodes the "
            "finished picture"
        )
    return nodes.VAELoader().load_vae(name)[0]


def _decoded(guider: Any, vae: Any, estimate: Tensor) -> Tensor:
    """IMAGE [B,H,W,C] of an estimate; of a film its first frame."""
    latent = guider.model_patcher.model.process_latent_out(estimate.float())
    if latent.ndim == 5:
        latent = latent[:, :, :1]
    images = vae.decode(latent)
    return images.reshape(-1, *images.shape[-3:])


def _bring_back(guider: Any) -> None:
    """Load again what the sampling needs, where decoding pushed it out of a full memory."""
    needed = [guider.model_patcher, *guider.loaded_models]
    loaded = model_management.loaded_models()
    if not all(any(model is one for one in loaded) for model in needed):
        model_management.load_models_gpu(needed)


def _redraw(latent: Tensor, seed: int, draws: NoiseDraws) -> Tensor:
    indices = None if draws.indices is None else list(draws.indices)
    return comfy.sample.prepare_noise(latent, seed, indices)


def _clean_up(guider: Any) -> None:
    """What ComfyUI does after a sampling, and leaves undone after one that was broken off."""
    comfy.sampler_helpers.cleanup_models(guider.conds, guider.loaded_models)


def _fingerprint(latent: Tensor) -> str:
    """Of the latent as it leaves a sampler node: some put it into the type of `--fp16-...`."""
    kept = latent.detach().to("cpu", model_management.intermediate_dtype()).float().contiguous()
    return hashlib.sha256(kept.numpy().tobytes() + str(tuple(kept.shape)).encode()).hexdigest()
