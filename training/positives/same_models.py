"""Whether a folder's models are still those that made its images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eliq.errors import TrainingError

__all__ = ["check_same_models"]

log = logging.getLogger("eliq")


def check_same_models(
    out: Path, saved: Mapping[str, Mapping[str, Any]], now: Mapping[str, Mapping[str, Any]]
) -> None:
    """Compares settings of models by name, as plain JSON; new names are fine.

    Where a model is loaded from may change, since a directory may hold the same weights as a hub
    id: it is said, because nothing here can tell whether it does.

    Raises:
        TrainingError: a setting that makes another image.
    """
    for name in sorted(set(saved) & set(now)):
        for key, value in now[name].items():
            was = saved[name].get(key)
            if was == value or key == "offload":
                continue
            if key == "model":
                log.warning("%s: images of %s were made by %s, and go on with %s: see that these "
                            "are the same weights", out, name, was, value)  # fmt: skip
                continue
            raise TrainingError(
                f"{out} holds images of {name} with {key} {was!r}, found {value!r}: restore it, or "
                "give the model another name"
            )
