"""The list of nodes, as ComfyUI asks for it."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .critic_files import register_folder
from .early_abort import EarlyAbortNode
from .gate import GateNode
from .judge import JudgeNode
from .list_relay import ListRelayNode
from .load_critic import LoadCriticNode
from .pick_best import PickBestNode
from .reroll import RerollNode
from .save_scored import SaveScoredNode
from .score import ScoreNode
from .shift_seed import ShiftSeedNode
from .used_seed import UsedSeedNode

__all__ = ["NODES", "EliqExtension"]

NODES: tuple[type[io.ComfyNode], ...] = (
    LoadCriticNode,
    ScoreNode,
    GateNode,
    PickBestNode,
    SaveScoredNode,
    RerollNode,
    JudgeNode,
    ShiftSeedNode,
    ListRelayNode,
    EarlyAbortNode,
    UsedSeedNode,
)


class EliqExtension(ComfyExtension):
    """Every node of the pack."""

    async def on_load(self) -> None:
        register_folder()

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return list(NODES)
