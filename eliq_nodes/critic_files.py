"""Where critics lie on this machine: models/eliq and what extra_model_paths.yaml adds to it.

    models/eliq/<name>/config.json          a critic, or a Qwen-VL model for zero-shot
    models/eliq/<owner>/<name>/config.json  the same, named by its id on the hub
    models/eliq/hub/                        what ELIQ Load Critic has downloaded, a hub cache

Nothing here reaches for a network but `download`, which the user asks for.
"""

from __future__ import annotations

from pathlib import Path

import folder_paths

__all__ = ["EMBEDDED", "download_dir", "find_folder", "list_folders", "register_folder", "roots"]

EMBEDDED = "embedded"
_KIND = "eliq"
_HUB = "hub"


def register_folder() -> None:
    """Make models/eliq a model folder; it is not created."""
    folder_paths.add_model_folder_path(
        _KIND, str(Path(folder_paths.models_dir, _KIND)), is_default=True
    )


def roots() -> list[Path]:
    """Every folder that critics are looked for in, the default first."""
    return [Path(path) for path in folder_paths.get_folder_paths(_KIND)]


def download_dir() -> Path:
    """The hub cache that downloads go to."""
    return roots()[0] / _HUB


def list_folders() -> list[str]:
    """Names, with / between owner and name, of the folders that hold a model, sorted."""
    found = set()
    for root in roots():
        for config in (*root.glob("*/config.json"), *root.glob("*/*/config.json")):
            name = config.parent.relative_to(root).as_posix()
            if name.split("/")[0] != _HUB and not name.startswith("."):
                found.add(name)
    return sorted(found, key=str.lower)


def find_folder(name: str) -> Path | None:
    """The folder of one of `list_folders`, or of an id that was put there by hand."""
    for root in roots():
        folder = root / name
        if (folder / "config.json").is_file() and folder.resolve() != root.resolve():
            return folder
    return None
