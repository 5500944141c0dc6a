"""The list of nodes, as ComfyUI asks for it."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .critic_files import register_folder
from .gate import GateNode
from .load_critic import LoadCriticNode
from .pick_best import PickBestNode
from .save_scored import SaveScoredNode
from .score import ScoreNode

__all__ = ["NODES", "EliqExtension"]

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadCriticNode,
    ScoreNode,
    GateNode,
    PickBestNode,
    SaveScoredNode,
)


class EliqExtension(ComfyExtension):
    """Every node of the pack."""

    async def on_load(self) -> None:
        register_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
