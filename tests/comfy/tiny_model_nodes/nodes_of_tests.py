"""The nodes: a tiny model, its prompts, images that a seed decides, and a slow passage."""

from __future__ import annotations

import hashlib
import time

import comfy.model_management
import torch
from comfy_api.latest import ComfyExtension, io

from .full_memory import EvictingVae, PatchedModel
from .tiny_model import encode_text, make_model, make_vae

__all__ = ["TestExtension"]

_CATEGORY = "ELIQ tests"


class TinyModel(io.ComfyNode):
    """MODEL and VAE of random weights; the seed of the weights decides all they draw."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestTinyModel",
            category=_CATEGORY,
            # Not named "seed": the weights are no draw that a re-roll should change.
            inputs=[io.Int.Input("weights", default=0, min=0, max=2**31)],
            outputs=[io.Model.Output(), io.Vae.Output()],
        )

    @classmethod
    def execute(cls, weights: int) -> io.NodeOutput:
        return io.NodeOutput(make_model(weights), make_vae(weights))


class TinyTextEncode(io.ComfyNode):
    """CONDITIONING of a text, by its hash: stands for CLIP Text Encode."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestTextEncode",
            category=_CATEGORY,
            inputs=[io.String.Input("text", multiline=True)],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, text: str) -> io.NodeOutput:
        return io.NodeOutput(encode_text(text))


class SeededImage(io.ComfyNode):
    """Noise that a seed decides, the smoother the higher ``seed % levels``."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestSeededImage",
            category=_CATEGORY,
            inputs=[
                io.Int.Input("seed", min=0, max=2**64 - 1, control_after_generate=True),
                io.Int.Input("size", default=64, min=8, max=1024),
                io.Int.Input("batch_size", default=1, min=1, max=64),
            ],
            outputs=[io.Image.Output(), io.Int.Output(display_name="seed_seen")],
        )

    @classmethod
    def execute(cls, seed: int, size: int, batch_size: int) -> io.NodeOutput:
        generator = torch.Generator().manual_seed(seed)
        return io.NodeOutput(torch.rand(batch_size, size, size, 3, generator=generator), seed)


class SlowImage(io.ComfyNode):
    """Passes images on after some seconds, in which it can be interrupted."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestSlow",
            category=_CATEGORY,
            inputs=[io.Image.Input("images"), io.Float.Input("seconds", default=1.0, min=0.0)],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, images: torch.Tensor, seconds: float) -> io.NodeOutput:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            comfy.model_management.throw_exception_if_processing_interrupted()
            time.sleep(0.05)
        return io.NodeOutput(images)


class ListOfTwo(io.ComfyNode):
    """Two batches as a list, of sizes that may differ."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestList",
            category=_CATEGORY,
            inputs=[io.Image.Input("first"), io.Image.Input("second")],
            outputs=[io.Image.Output(is_output_list=True)],
        )

    @classmethod
    def execute(cls, first: torch.Tensor, second: torch.Tensor) -> io.NodeOutput:
        return io.NodeOutput([first, second])


class ShowText(io.ComfyNode):
    """Any value as text in the history: what a test reads an output by."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQTestShow",
            category=_CATEGORY,
            inputs=[io.AnyType.Input("value")],
            outputs=[],
            is_output_node=True,
            is_input_list=True,
        )

    @classmethod
    def execute(cls, value: list) -> io.NodeOutput:
        return io.NodeOutput(ui={"text": [_shown(item) for item in value]})


class TestExtension(ComfyExtension):
    """All of them."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            EvictingVae,
            PatchedModel,
            TinyModel,
            TinyTextEncode,
            SeededImage,
            SlowImage,
            ListOfTwo,
            ShowText,
        ]


def _shown(value: object) -> str:
    if isinstance(value, dict) and "samples" in value:
        value = value["samples"]
    if isinstance(value, torch.Tensor):
        digest = hashlib.sha256(value.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
        return f"{list(value.shape)} {digest}"
    return str(value)
