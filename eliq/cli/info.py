"""What ``eliq info`` says of a checkpoint, from its configuration and headers alone."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..shown_text import printable
from .info_ip_iqa import ip_iqa_facts, ip_iqa_lines
from .output import emit

__all__ = ["checkpoint_facts", "show_info"]

_MAX_HEADER_BYTES = 16 << 20
_MOST_SHOWN = 80  # characters of a fact of the training


def show_info(checkpoint: str | None, *, as_json: bool) -> int:
    """Write the facts of a checkpoint (None: the embedded one) to standard output.

    Raises:
        CheckpointError: there is no such checkpoint, or it is refused.
    """
    facts = checkpoint_facts(checkpoint)
    if as_json:
        emit(json.dumps(facts, indent=2, ensure_ascii=True, allow_nan=False) + "\n")
        return 0
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in _lines(facts):
        table.add_row(Text(printable(name)), Text(printable(value)))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    with console.capture() as capture:
        console.print(table)
    encoding = sys.stdout.encoding or "ascii"
    emit(capture.get().encode(encoding, "replace").decode(encoding))
    return 0


def checkpoint_facts(checkpoint: str | None) -> dict[str, Any]:
    """Plain JSON: where it lies, what it is made of, how it was trained.

    Raises:
        CheckpointError: there is no such checkpoint, or it is refused.
    """
    from ..checkpoint import fingerprint, locate_checkpoint, read_config
    from ..checkpoint.safetensors_checks import read_header
    from ..loading import find_system

    if checkpoint is not None and find_system(checkpoint) == "ip-iqa":
        return ip_iqa_facts(checkpoint)
    directory = locate_checkpoint(checkpoint)
    config = read_config(directory)
    paths = [directory / name for name in config.weight_files]
    digest = fingerprint(directory)  # also refuses files that reach outside the directory
    tensors = [read_header(path, max_header_bytes=_MAX_HEADER_BYTES) for path in paths]
    num_parameters = {
        part: sum(
            math.prod(entry.shape)
            for table in tensors
            for name, entry in table.items()
            if name.startswith(f"{part}.")
        )
        for part in ("backbone", "adapter", "head")
    }
    facts = config.to_json()
    training = facts.pop("training")
    return {
        "checkpoint": str(directory),
        "is_embedded": checkpoint is None,
        "fingerprint": digest,
        "size_bytes": sum(path.stat().st_size for path in paths),
        "num_parameters": {part: count for part, count in num_parameters.items() if count},
        **facts,
        "training": training,
    }


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader wants to know first, one line each; ``--json`` has the rest."""
    where = facts["checkpoint"]
    yield "checkpoint", "the embedded critic" if facts["is_embedded"] else Path(where).name
    yield "directory", where
    yield "fingerprint", facts["fingerprint"][:16]
    yield "written by", f"eliq {facts['library_version']}"
    if "scale" in facts:
        yield from ip_iqa_lines(facts)
    else:
        yield from _critic_lines(facts)
    for name, value in facts["training"].items():
        is_plain = isinstance(value, (str, int, float, bool))
        text = str(value) if is_plain else json.dumps(value, ensure_ascii=False)
        if len(text) > _MOST_SHOWN:
            text = (
                f"{len(value)} settings, in eliq info --json" if not is_plain else text[:77] + "..."
            )
        yield f"training {name.replace('_', ' ')}", text


def _critic_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    backbone = facts["backbone"]
    if backbone["weights"] == "hub":
        yield "backbone", f"{backbone['id']} at {backbone['revision'][:12]}, from the hub"
    else:
        yield "backbone", f"{backbone['config']['model_type']}, in the checkpoint"
    counts = facts["num_parameters"]
    sizes = ", ".join(f"{part} {count / 1e6:.2f}M" for part, count in counts.items())
    yield "parameters", f"{sizes} ({facts['size_bytes'] / 1e6:.1f} MB)"
    yield from ((part, _pairs(facts[part])) for part in ("head", "patches"))
    yield "prompt", f"at most {facts['max_prompt_tokens']} tokens"
    for kind in ("calibration", "mos_calibration"):
        for name, values in facts.get(kind, {}).items():
            yield kind.replace("_", " "), f"{name.replace('_', ' ')}: {_pairs(values)}"
    for name, text in facts["instructions"].items():
        yield f"asks ({name})", str(text)


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in values.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
