"""What is a link in a graph. Nothing of ComfyUI."""

from __future__ import annotations

from typing import Any

__all__ = ["is_link"]


def is_link(value: Any) -> bool:
    """Whether an input's value is a link [node id, output], by the rule of ComfyUI's executor."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
    )
