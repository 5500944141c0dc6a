"""From what is set on ELIQ Load Critic to a folder on this machine.

The network is asked only where the user has switched `download` on, and never when HF_HUB_OFFLINE
is set.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..eliq.checkpoint.location import is_hub_id
from .critic_files import EMBEDDED, find_folder, roots
from .hub_files import CRITIC, QWEN_VL, cached_snapshot, download_snapshot

__all__ = ["MODES", "CriticSource", "locate"]

MODES = ("trained", "zero-shot")


@dataclass(frozen=True)
class CriticSource:
    """A model to load.

    Attributes:
        name: as the user named it.
        folder: where it lies; None = the embedded critic.
        is_zero_shot: a bare Qwen-VL model.
        may_download: whether what the model names in turn, its backbone, may be fetched.
    """

    name: str
    folder: Path | None = None
    is_zero_shot: bool = False
    may_download: bool = False


def locate(critic: str, *, mode: str, hub_id: str = "", may_download: bool = False) -> CriticSource:
    """The model that the node's settings name, fetched from the hub where that is allowed.

    Raises:
        ValueError: settings that contradict one another, or a model that is not here: the message
            says which folders were looked in and where it can be had.
        CheckpointError: the hub could not give it.
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
    is_zero_shot = mode == "zero-shot"
    name = hub_id or critic
    if name == EMBEDDED:
        if is_zero_shot:
            raise ValueError(
                "zero-shot asks a bare Qwen-VL model, and the embedded critic is a trained one: "
                "set mode to 'trained', or name a model in hub_id, such as "
                "Qwen/Qwen3-VL-4B-Instruct"
            )
        return CriticSource(name)
    folder = find_folder(name) if not hub_id or is_hub_id(hub_id) else None
    if folder is None and hub_id:
        folder = _from_hub(hub_id, QWEN_VL if is_zero_shot else CRITIC, may_download)
    if folder is None:
        raise ValueError(
            f"expected a model {name} in {_places()}, found none: put its folder there"
        )
    return CriticSource(name, folder, is_zero_shot, may_download)


def _from_hub(hub_id: str, kind: str, may_download: bool) -> Path:
    if not is_hub_id(hub_id):
        raise ValueError(f"hub_id: expected owner/name, found {hub_id[:100]!r}: check the spelling")
    if folder := cached_snapshot(hub_id, kind):
        return folder
    if may_download:
        return download_snapshot(hub_id, kind)
    raise ValueError(
        f"{hub_id} is neither in {_places()} nor in the Hugging Face cache: switch 'download' on "
        f"and queue again, or get https://huggingface.co/{hub_id} and put it in "
        f"{roots()[0] / hub_id}"
    )


def _places() -> str:
    return " or ".join(str(root) for root in roots())
