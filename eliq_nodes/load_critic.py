"""ELIQ Load Critic: the embedded critic, one in models/eliq, or one from the hub."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .critic import load_managed
from .critic_files import EMBEDDED, list_folders
from .critic_source import MODES, locate

__all__ = ["LoadCriticNode"]

_CRITIC = io.Custom("ELIQ_CRITIC")
_DTYPES = ["auto", "float32", "bfloat16", "float16"]


class LoadCriticNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQLoadCritic",
            display_name="ELIQ Load Critic",
            category="ELIQ",
            description=(
                "Loads the critic that scores images. The embedded one needs no download, and the "
                "other nodes use it by themselves: this node is for critics of your own, and for "
                "large ones. ComfyUI moves and frees it like any other model."
            ),
            search_aliases=[
                "eliq",
                "critic",
                "aesthetic model",
                "image quality model",
                "scorer",
                "reward model",
                "load scorer",
            ],
            inputs=[
                io.Combo.Input(
                    "critic",
                    options=[EMBEDDED, *list_folders()],
                    default=EMBEDDED,
                    tooltip="'embedded' comes with ELIQ: 16 MB, on any machine. The others are "
                    "folders in models/eliq.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="trained: a critic that was trained with ELIQ. zero-shot: a bare "
                    "Qwen-VL model, asked without training; its order of images means something, "
                    "0.5 does not.",
                ),
                io.Combo.Input(
                    "dtype",
                    options=_DTYPES,
                    default="auto",
                    tooltip="Type of the weights. auto: float32 for small critics and on a CPU, "
                    "bfloat16 for those above 1 GB.",
                ),
                io.String.Input(
                    "hub_id",
                    default="",
                    optional=True,
                    advanced=True,
                    placeholder="owner/name",
                    tooltip="Id of a model on Hugging Face, such as Qwen/Qwen3-VL-4B-Instruct for "
                    "zero-shot. Taken instead of 'critic' when it is not empty.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    optional=True,
                    advanced=True,
                    tooltip="Fetch hub_id into models/eliq/hub when it is not on this machine. "
                    "Off: nothing is ever fetched.",
                ),
            ],
            outputs=[_CRITIC.Output("critic", tooltip="For ELIQ Score and the other nodes.")],
        )

    @classmethod
    def validate_inputs(cls, critic: str) -> bool | str:
        known = [EMBEDDED, *list_folders()]
        if critic in known:
            return True
        return (
            f"expected one of {', '.join(known)}, found {critic!r}: put its folder in models/eliq"
        )

    @classmethod
    def execute(
        cls, critic: str, mode: str, dtype: str, hub_id: str = "", download: bool = False
    ) -> io.NodeOutput:
        source = locate(critic, mode=mode, hub_id=hub_id.strip(), may_download=download)
        managed: Any = load_managed(source, dtype=dtype)
        return io.NodeOutput(managed)
