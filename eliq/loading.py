"""One door to both systems: a checkpoint says itself what it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .checkpoint.config import CONFIG_NAME, FORMAT, IP_IQA_FORMAT
from .checkpoint.location import allowed_root, resolve_directory
from .checkpoint.safetensors_checks import contained_file, read_json
from .errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from .ip_iqa import IPIQA
    from .scorer import Scorer

__all__ = ["SYSTEMS", "find_system", "load_scorer", "system_of"]

#: The two systems: the label-free critic, and the scorer that was trained on ratings.
SYSTEMS = ("eliq", "ip-iqa")
_SYSTEM_OF_FORMAT = {FORMAT: "eliq", IP_IQA_FORMAT: "ip-iqa"}


def load_scorer(
    source: str | os.PathLike[str] | None = None,
    *,
    system: str | None = None,
    revision: str | None = None,
    **options: Any,
) -> Scorer | IPIQA:
    """The scorer in a checkpoint, of whichever system it is: None = the embedded critic.

    Both have ``score``, ``stream``, ``save_pretrained``, ``info``, ``source`` and ``fingerprint``,
    and give `Scores`. What their numbers mean differs: see docs/scores.md.

    Args:
        system: "eliq" or "ip-iqa", to insist on one; None = what the checkpoint is.
        options: of `Scorer.from_pretrained` or `IPIQA.from_pretrained` (device, dtype,
            max_batch_px).

    Raises:
        CheckpointError: missing, refused, or of the other system.
        ConfigError: no such system, or an option that cannot be had.
    """
    if system is not None and system not in SYSTEMS:
        raise ConfigError(f"system: expected one of {', '.join(SYSTEMS)}, found {system!r}")
    if source is None and system == "ip-iqa":
        raise CheckpointError(
            "expected a checkpoint for the system ip-iqa, found none: it is trained on ratings, "
            "and no such weights come with the package; name a directory or hub id"
        )
    found = "eliq" if source is None else find_system(source, revision=revision)
    if system is not None and found != system:
        raise CheckpointError(
            f"expected a checkpoint of the system {system} in {os.fspath(source or '')}, found one "
            f"of {found}: leave the system out, or name another checkpoint"
        )
    if found == "ip-iqa":
        from .ip_iqa import IPIQA

        return IPIQA.from_pretrained(source, revision=revision, **options)
    from .scorer import Scorer

    return Scorer.from_pretrained(source, revision=revision, **options)


def system_of(directory: Path) -> str | None:
    """The system of a checkpoint directory, one of `SYSTEMS`; None = its config says neither.

    Raises:
        CheckpointError: there is no config.json, or it is refused.
    """
    config = read_json(contained_file(directory, CONFIG_NAME, root=allowed_root(directory)))
    found = config.get("format")
    return _SYSTEM_OF_FORMAT.get(found) if isinstance(found, str) else None


def find_system(source: str | os.PathLike[str], *, revision: str | None = None) -> str:
    """The system of a checkpoint directory or hub id; only its config.json is fetched.

    Raises:
        CheckpointError: there is none, or its config.json is refused.
    """
    directory = resolve_directory(source, what="a critic", files=(CONFIG_NAME,), revision=revision)
    # What is neither is refused by the critic's own loading, in its words.
    return system_of(directory) or "eliq"
