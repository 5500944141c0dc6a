"""Models of the hub on this machine, and their download. The one file that can reach a network.

A download lies in models/eliq/hub in the layout of the hub's own cache; that cache, in the user's
home, is read but never written to.
"""

from __future__ import annotations

from pathlib import Path

from ..eliq.checkpoint.location import BACKBONE_FILES
from .critic_files import download_dir

__all__ = ["CRITIC", "QWEN_VL", "cached_snapshot", "download_snapshot"]

CRITIC = "a critic"
QWEN_VL = "a Qwen-VL model"


def cached_snapshot(hub_id: str, kind: str, *, revision: str | None = None) -> Path | None:
    return None


def download_snapshot(hub_id: str, kind: str, *, revision: str | None = None) -> Path:
    raise NotImplementedError(f"{hub_id} {BACKBONE_FILES} {download_dir()}")
