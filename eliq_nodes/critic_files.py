"""ComfyUI's model folder of critics: models/eliq, and what extra_model_paths.yaml adds to it.

models/eliq/<name>/config.json          a critic, or a Qwen-VL model for zero-shot
models/eliq/<owner>/<name>/config.json  the same, named by its id on the hub
models/eliq/hub/                        what ELIQ Load Critic has downloaded, a hub cache
"""

from __future__ import annotations

from pathlib import Path

import folder_paths

from .critic_source import HUB_FOLDER

__all__ = ["list_folders", "register_folder", "roots"]

_KIND = "eliq"


def register_folder() -> None:
    """Make models/eliq a model folder; nothing is created on the disk."""
    folder_paths.add_model_folder_path(
        _KIND, str(Path(folder_paths.models_dir, _KIND)), is_default=True
    )


def roots() -> list[Path]:
    """Every folder that critics are looked for in; the first takes downloads."""
    return [Path(path) for path in folder_paths.get_folder_paths(_KIND)]


def list_folders() -> list[str]:
    """Names, with / between owner and name, of the folders that hold a model, sorted."""
    found = set()
    for root in roots():
        for config in (*root.glob("*/config.json"), *root.glob("*/*/config.json")):
            name = config.parent.relative_to(root).as_posix()
            if name.split("/")[0] != HUB_FOLDER and not name.startswith("."):
                found.add(name)
    return sorted(found, key=str.lower)
