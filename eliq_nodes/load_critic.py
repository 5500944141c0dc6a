"""ELIQ Load Critic: the embedded critic, one in models/eliq, or one from the hub."""

from __future__ import annotations

from typing import Any

import comfy.model_management as model_management
import comfy.utils
from comfy_api.latest import io

from .critic import ManagedCritic, load_managed
from .critic_files import list_folders, roots
from .critic_source import EMBEDDED, MODES, find_folder, locate
from .link_types import CRITIC
from .node_text import TEXT_HIDDEN, show_text
from .score_text import short_name

__all__ = ["LoadCriticNode"]

_SHOWN_BYTES = 10_000_000  # of a file whose download is worth words
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
                "critic",
                "aesthetic model",
                "image quality model",
                "scorer",
                "reward model",
                "load scorer",
            ],
            hidden=list(TEXT_HIDDEN),
            inputs=[
                io.Combo.Input(
                    "critic",
                    options=[EMBEDDED, *list_folders()],
                    default=EMBEDDED,
                    tooltip="'embedded' comes with ELIQ: 13 MB, on any machine. The others are "
                    "folders in models/eliq.",
                ),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default=MODES[0],
                    tooltip="trained: a critic that was trained with ELIQ, or an IP-IQA model. "
                    "zero-shot: a bare Qwen-VL model, asked without training; its order of images "
                    "means something, 0.5 does not.",
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
                    placeholder="owner/name",
                    tooltip="Id of a model on Hugging Face, such as Qwen/Qwen3-VL-4B-Instruct for "
                    "zero-shot. Taken instead of 'critic' when it is not empty.",
                ),
                io.Boolean.Input(
                    "download",
                    default=False,
                    optional=True,
                    tooltip="Fetch hub_id into models/eliq/hub when it is not on this machine. "
                    "Off: nothing is ever fetched.",
                ),
            ],
            outputs=[CRITIC.Output("critic", tooltip="For ELIQ Score and the other nodes.")],
        )

    @classmethod
    def validate_inputs(cls, critic: str | None) -> bool | str:
        if critic is None:
            return True  # comes over a link: not known before the graph runs
        if critic == EMBEDDED or find_folder(critic, roots()) is not None:
            return True
        known = [EMBEDDED, *list_folders()]
        return (
            f"expected one of {', '.join(known)}, found {critic!r}: put its folder in models/eliq"
        )

    @classmethod
    def fingerprint_inputs(cls, critic: str, hub_id: str = "", **_: Any) -> Any:
        """A folder whose files were replaced is loaded again."""
        folder = find_folder((hub_id or critic or "").strip(), roots())
        files = sorted(folder.glob("*")) if folder else []
        return [(file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in files]

    @classmethod
    def execute(
        cls, critic: str, mode: str, dtype: str, hub_id: str = "", download: bool = False
    ) -> io.NodeOutput:
        source = locate(
            critic,
            mode=mode,
            roots=roots(),
            hub_id=hub_id.strip(),
            fetch=_Fetch(cls) if download else None,
        )
        managed = load_managed(source, dtype=dtype)
        return io.NodeOutput(managed, ui=show_text(cls, _describe(managed)))


class _Fetch:
    """Reports a download on the node, and hears an interrupt."""

    def __init__(self, node: type[io.ComfyNode]) -> None:
        self._node, self._bar, self._total = node, None, 0

    def __call__(self, done: int, total: int) -> None:
        model_management.throw_exception_if_processing_interrupted()
        if self._bar is None or total != self._total:
            self._bar, self._total = comfy.utils.ProgressBar(max(total, 1)), total
        self._bar.update_absolute(done, max(total, 1))
        if total > _SHOWN_BYTES:
            show_text(self._node, f"downloading: {done / 1e9:.2f} of {total / 1e9:.2f} GB")


def _describe(managed: ManagedCritic) -> str:
    facts = managed.info()
    size = managed.patcher.model_size() / 1e6
    return f"{short_name(managed.source)}\n{facts['kind']}, {size:,.0f} MB, {facts['dtype']}"
