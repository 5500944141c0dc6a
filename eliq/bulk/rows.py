"""Scored images to the columns of a part."""

from __future__ import annotations

import math
from typing import Any

from ..scores import ASPECT_NAMES, SCORE_NAMES, Scores
from .columns import COLUMN_NAMES
from .decoding import Decoded
from .fingerprint import RunFingerprint
from .items import storable

__all__ = ["Columns", "add_window", "empty_columns"]

Columns = dict[str, list[Any]]
_HEADER = ("width", "height", "format", "mode", "n_frames")


def empty_columns() -> Columns:
    """All columns, without a row."""
    return {name: [] for name in COLUMN_NAMES}


def add_window(
    columns: Columns,
    window: list[Decoded],
    scores: Scores,
    fingerprint: RunFingerprint,
    *,
    score_ms: float,
) -> None:
    """Append one row an image.

    Args:
        score_ms: that the model took for the window; each scored image bears an equal share.
    """
    share_ms = score_ms / max(1, sum(one.pixels is not None for one in window))
    host = scores.to("cpu")
    numbers = {name: getattr(host, name) for name in SCORE_NAMES}
    numbers |= {f"aspect_{name}": host.aspects[name] for name in ASPECT_NAMES}
    numbers |= {f"raw_{name}": host.raw[name] for name in SCORE_NAMES}
    for name, column in numbers.items():
        # A number that is not there is null, never NaN.
        columns[name] += [None if math.isnan(value) else value for value in column.tolist()]
    for row, one in enumerate(window):
        item, facts, error = one.item, one.facts, host.errors[row]
        prompt, source = prompt_of(one)
        columns["id"].append(storable(item.id))
        columns["path"].append(storable(item.path))
        columns["shard"].append(storable(item.shard))
        columns["member"].append(storable(item.member))
        for name in _HEADER:
            columns[name].append(facts.get(name))
        columns["prompt"].append(storable(prompt))
        columns["prompt_source"].append(source)
        columns["status"].append("ok" if error is None else "failed")
        columns["error_class"].append(host.error_classes[row])
        columns["error"].append(storable(error))
        # Once each: a prompt that was cut is often cut again.
        columns["flags"].append(list(dict.fromkeys([*host.flags[row], *item.flags])))
        columns["model_id"].append(fingerprint.model_id)
        columns["revision"].append(fingerprint.revision)
        columns["head_sha256"].append(fingerprint.head_sha256)
        columns["dtype"].append(fingerprint.dtype)
        columns["max_pixels"].append(fingerprint.max_pixels)
        columns["lib_version"].append(fingerprint.lib_version)
        columns["ms"].append(one.ms + (0.0 if one.pixels is None else share_ms))


def prompt_of(one: Decoded) -> tuple[str | None, str | None]:
    """The prompt to score with and where it comes from: the source's, else the file's own."""
    if one.item.prompt is not None:
        return one.item.prompt, one.item.prompt_source
    return one.facts.get("prompt"), one.facts.get("prompt_source")
