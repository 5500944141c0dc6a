"""From what is set on ELIQ Load Critic to folders on this machine.

Looked for in this order: a folder in models/eliq, what this pack has downloaded, what other
programs have left in the cache of the hub. Only then, and only with `download` switched on, the
hub is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..eliq.checkpoint.config import read_config
from ..eliq.checkpoint.location import is_hub_id
from ..eliq.loading import system_of
from .hub_files import address, download, find_cached
from .model_kinds import CRITIC, QWEN_VL, check_kind

__all__ = [
    "EMBEDDED",
    "HUB_FOLDER",
    "MODES",
    "CriticSource",
    "find_folder",
    "locate",
    "weight_bytes",
]

EMBEDDED = "embedded"
HUB_FOLDER = "hub"  # in the first of the model folders
MODES = ("trained", "zero-shot")
Fetch = Callable[[int, int], None]


@dataclass(frozen=True)
class CriticSource:
    """A model to load.

    Attributes:
        name: as the user named it, with @commit where it comes from the hub.
        folder: where it lies; None = the embedded critic.
        is_zero_shot: a bare Qwen-VL model.
        is_ip_iqa: an IP-IQA model, trained on ratings.
        backbone_folder: of a critic whose backbone stays on the hub, where that lies.
    """

    name: str
    folder: Path | None = None
    is_zero_shot: bool = False
    backbone_folder: Path | None = None
    is_ip_iqa: bool = False


def find_folder(name: str, roots: list[Path]) -> Path | None:
    """The folder of a model that lies in one of the model folders, as name or owner/name."""
    if not name or name.startswith((".", "/", "\\")) or ".." in name or ":" in name:
        return None  # a name, never a path that leads out of the folder
    for root in roots:
        if (root / name / "config.json").is_file():
            return root / name
    return None


def locate(
    critic: str,
    *,
    mode: str,
    roots: list[Path],
    hub_id: str = "",
    fetch: Fetch | None = None,
) -> CriticSource:
    """The model that the settings name.

    Args:
        critic: "embedded" or the name of a folder; not looked at where ``hub_id`` is not empty.
        mode: one of `MODES`.
        roots: the model folders, the first one takes downloads.
        fetch: reports a download, see `download`; None = nothing is fetched.

    Raises:
        ValueError: settings that contradict one another, or a model that is not here: one line
            that says where was looked, and how it can be had.
        EliqError: a configuration that is refused, or a download that failed.
    """
    if mode not in MODES:
        raise ValueError(f"mode: expected one of {', '.join(MODES)}, found {mode!r}")
    kind = QWEN_VL if mode == "zero-shot" else CRITIC
    if not hub_id and critic == EMBEDDED:
        if kind == QWEN_VL:
            raise ValueError(
                "mode: zero-shot asks a bare Qwen-VL model, found the embedded critic, which is "
                "trained: set mode to 'trained', or hub_id to a model such as "
                "Qwen/Qwen3-VL-4B-Instruct"
            )
        return CriticSource(EMBEDDED)
    if hub_id and not is_hub_id(hub_id):
        raise ValueError(
            f"hub_id: expected owner/name, found {hub_id[:100]!r}: check the spelling; a folder of "
            "yours goes into models/eliq and is chosen in 'critic'"
        )
    name = hub_id or critic
    folder = find_folder(name, roots)
    if folder is None and not hub_id:
        raise ValueError(
            f"critic: expected a folder {name} with a config.json in {_places(roots)}, found none: "
            "put it there, or choose another"
        )
    if folder is None:
        folder = _of_hub(hub_id, kind, None, roots, fetch)
        name = f"{hub_id}@{folder.name}"
    check_kind(folder, kind, name)
    if kind == CRITIC and system_of(folder) == "ip-iqa":
        return CriticSource(name, folder, is_ip_iqa=True)
    backbone_folder = _backbone(folder, roots, fetch) if kind == CRITIC else None
    return CriticSource(name, folder, kind == QWEN_VL, backbone_folder)


def weight_bytes(source: CriticSource) -> int:
    """Bytes of weights on disk, those of a backbone that lies elsewhere among them."""
    folders = [folder for folder in (source.folder, source.backbone_folder) if folder]
    return sum(p.stat().st_size for folder in folders for p in folder.glob("*.safetensors"))


def _of_hub(
    hub_id: str, kind: str, revision: str | None, roots: list[Path], fetch: Fetch | None
) -> Path:
    cache_dir = roots[0] / HUB_FOLDER
    for place in (cache_dir, None):  # None = the hub's own cache
        if folder := find_cached(hub_id, kind, cache_dir=place, revision=revision):
            return folder
    if fetch is not None:
        return download(hub_id, kind, cache_dir=cache_dir, on_progress=fetch, revision=revision)
    commit = f" --revision {revision}" if revision else ""
    by_hand = f"hf download {hub_id}{commit} --cache-dir {cache_dir}"
    is_bare = kind == CRITIC and hub_id.lower().startswith("qwen/")
    hint = "; a bare Qwen-VL takes mode 'zero-shot'" if is_bare else ""
    raise ValueError(
        f"expected the {kind} {hub_id} in {_places(roots)} or in the Hugging Face cache, found "
        f"none: switch 'download' on and queue again, or fetch {address(hub_id, revision)} with "
        f"`{by_hand}`{hint}"
    )


def _backbone(folder: Path, roots: list[Path], fetch: Fetch | None) -> Path | None:
    """Where the backbone lies that a critic names by its id and commit."""
    config = read_config(folder)
    if config.is_inside:
        return None
    return _of_hub(config.backbone["id"], QWEN_VL, config.backbone["revision"], roots, fetch)


def _places(roots: list[Path]) -> str:
    return " or ".join(str(root) for root in roots)
