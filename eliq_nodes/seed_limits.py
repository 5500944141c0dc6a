"""Which inputs of ComfyUI's nodes are seeds, by what the nodes declare."""

from __future__ import annotations

from typing import Any

from nodes import NODE_CLASS_MAPPINGS

from .sampling_watch import SEED_LIMIT
from .seed_graph import has_seed_name

__all__ = ["seed_limits"]


def seed_limits(class_type: str, name: str) -> tuple[int, int] | None:
    """Least and greatest value of an INT input with the name of a seed, else None.

    An input that the node does not declare (one of a group that grows) takes any seed.
    """
    if not has_seed_name(name):
        return None
    kind, options = _declared(class_type, name)
    low, high = options.get("min", 0), options.get("max", SEED_LIMIT - 1)
    return (int(low), int(high)) if kind == "INT" and high > low else None


def _declared(class_type: str, name: str) -> tuple[Any, dict[str, Any]]:
    node_class = NODE_CLASS_MAPPINGS.get(class_type)
    declared = node_class.INPUT_TYPES() if node_class else {}
    for group in ("required", "optional"):
        found = (declared.get(group) or {}).get(name)
        if found:
            return found[0], found[1] if len(found) > 1 else {}
    return "INT", {}
