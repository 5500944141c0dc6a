"""From what a user names, a directory or a hub id, to a directory on this machine.

`HF_HUB_OFFLINE` and the hub's cache variables are respected by huggingface_hub itself. Only
configuration, safetensors and tokenizer files are ever asked for. Whatever the library raises,
the user gets one line of our own that says what is missing and where it was looked for: its
texts change between versions and run over many lines.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..errors import CheckpointError, EliqError

__all__ = ["BACKBONE_FILES", "CRITIC_CONFIG", "allowed_root", "is_hub_id", "resolve_directory"]

# Asked for before anything else; what more a critic needs, this file says.
CRITIC_CONFIG = ("config.json",)
BACKBONE_FILES = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "model.safetensors.index.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
_SEGMENT = r"[A-Za-z0-9](?:[\w.-]{0,95})"
_HUB_ID = re.compile(rf"{_SEGMENT}/{_SEGMENT}", re.ASCII)
_REVISION = re.compile(r"[A-Za-z0-9][\w./-]{0,99}", re.ASCII)


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form owner/name (says nothing about whether it exists)."""
    return _HUB_ID.fullmatch(text) is not None and ".." not in text and "--" not in text


def allowed_root(directory: Path) -> Path:
    """The folder that files of `directory` may be links into.

    It is the directory itself, except in the hub's cache (`models--owner--name/snapshots/<hash>`),
    whose snapshots are links to `models--owner--name/blobs`.
    """
    directory = directory.resolve()
    if directory.parent.name == "snapshots" and directory.parent.parent.name.startswith("models--"):
        return directory.parent.parent
    return directory


def resolve_directory(
    source: str | os.PathLike[str],
    *,
    what: str,
    files: tuple[str, ...],
    revision: str | None = None,
    hub_only: bool = False,
    local_files_only: bool = False,
    error: type[EliqError] = CheckpointError,
) -> Path:
    """The directory of `source`: itself, or the hub's snapshot, downloaded when it must be.

    `what` names the thing in messages ("a critic"); `files` are the patterns to ask the hub for.
    `hub_only` is for ids that a file gave, not a user: they never name a local directory.

    Raises:
        error: `source` is neither, or cannot be found; one line.
    """
    text = os.fspath(source)
    if not hub_only:
        path = Path(text).expanduser()
        if path.is_dir():
            return path.resolve()
        if path.exists():
            raise error(
                f"expected the directory of {what}, found the file {text}: name its directory"
            )
    if not is_hub_id(text):
        raise error(
            f"expected {'a' if hub_only else 'the directory of ' + what + ' or a'} hub id of the "
            f"form owner/name, found {text[:200]!r}, which is not: check the spelling"
        )
    if revision is not None and (not _REVISION.fullmatch(revision) or ".." in revision):
        raise error(
            f"expected a revision (a commit, branch or tag), found {revision[:100]!r}: check it"
        )
    return _snapshot(text, what, files, revision, hub_only, local_files_only, error)


def _snapshot(
    hub_id: str,
    what: str,
    files: tuple[str, ...],
    revision: str | None,
    hub_only: bool,
    local_files_only: bool,
    error: type[EliqError],
) -> Path:
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name = hub_id if revision is None else f"{hub_id} (revision {revision})"
    looked = "" if hub_only else f"there is no directory {hub_id} here, and "
    offline = local_files_only or constants.HF_HUB_OFFLINE
    try:
        directory = snapshot_download(
            hub_id,
            revision=revision,
            allow_patterns=list(files),
            local_files_only=offline,
        )
    except LocalEntryNotFoundError:
        if offline:
            why = (
                f"{name} is not in the hub cache {constants.HF_HUB_CACHE}, and the hub is "
                "offline (HF_HUB_OFFLINE): download it once with a network, or name a directory"
            )
        else:
            why = (
                f"{name} is not in the hub cache {constants.HF_HUB_CACHE}, and the hub cannot "
                "be reached: check the network, or name a directory"
            )
    except GatedRepoError:
        why = f"{name} on the hub asks for an agreed licence: accept it there and log in"
    except RevisionNotFoundError:
        why = f"{hub_id} on the hub has no revision {revision}: check its name"
    except RepositoryNotFoundError:
        why = f"the hub has no model {name} that you may read: check the spelling, or log in"
    except Exception as failure:  # the library's classes differ between its versions
        why = f"{name} could not be had from the hub ({type(failure).__name__}): try again later"
    else:
        return Path(directory).resolve()
    raise error(f"expected {what}, found none: {looked}{why}")
