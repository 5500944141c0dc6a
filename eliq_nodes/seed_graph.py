"""Seeds in a graph, and copies of the part of it that depends on them.

A graph is ComfyUI's prompt: nodes ``{"class_type": ..., "inputs": {name: value or link}}`` by id;
a link is ``[node id, output index]``. Nothing here knows ComfyUI: a graph is reached through
``get_node(id)``, what a node declares through ``limits(class_type, input_name)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .graph_links import is_link

__all__ = [
    "SHIFT_NODE",
    "SeedCopy",
    "SeedInput",
    "copy_with_seeds",
    "find_seeds",
    "has_seed_name",
    "shift_seed",
]

Link = list[Any]
GetNode = Callable[[str], Mapping[str, Any]]
Limits = Callable[[str, str], "tuple[int, int] | None"]

SHIFT_NODE = "ELIQShiftSeed"  # seed, by, low, high -> seed: for seeds that come over a link


@dataclass(frozen=True)
class SeedInput:
    """An input that decides what a sampler draws.

    Attributes:
        node_id: node that has it.
        name: of the input.
        value: the number typed there, or a link whose source itself depends on no seed.
        low, high: the least and the greatest seed that the node takes.
    """

    node_id: str
    name: str
    value: int | Link
    low: int
    high: int


@dataclass(frozen=True)
class SeedCopy:
    """A copy of what depends on the seeds.

    Attributes:
        nodes: new nodes by id, as an expansion takes them.
        roots: for each root its link in the copy: the old link where it depends on no seed.
        seed: number or link: the seed nearest to the first root; None where there is none.
    """

    nodes: dict[str, dict[str, Any]]
    roots: list[Any]
    seed: int | Link | None


def has_seed_name(name: str) -> bool:
    """``seed``, ``noise_seed`` and whatever else ends in ``_seed``; also inside a group."""
    last = name.rsplit(".", 1)[-1].lower()
    return last == "seed" or last.endswith("_seed")


def shift_seed(seed: int, by: int, low: int, high: int) -> int:
    """``seed + by``, beginning again at ``low`` after ``high``; a seed outside is brought in.

    >>> shift_seed(7, 2, 0, 7)
    1
    """
    return low + (seed - low + by) % (high - low + 1)


def find_seeds(get_node: GetNode, roots: Sequence[Any], limits: Limits) -> list[SeedInput]:
    """Every seed that the roots depend on, nearest to the first root first.

    A seed input that is linked to something that itself depends on a seed is left out: the seed
    where it comes from is the one to change.

    Args:
        roots: links; other values are passed over.
        limits: least and greatest seed of an input, None where the input is no seed.
    """
    return _seeds(_ancestry(get_node, roots), limits)[0]


def copy_with_seeds(
    get_node: GetNode,
    roots: Sequence[Any],
    *,
    by: int,
    limits: Limits,
    prefix: str,
    display_id: Callable[[str], str],
) -> SeedCopy:
    """Copy every node between the seeds and the roots, each seed moved on by ``by``.

    What depends on no seed is not copied but linked to: loaded models and encoded prompts stay
    where they are, and so do their cached outputs.

    Args:
        prefix: put before the ids of new nodes.
        display_id: the node on the user's screen that shows the progress of a node.
    """
    ancestry = _ancestry(get_node, roots)
    seeds, dependent = _seeds(ancestry, limits)
    nodes: dict[str, dict[str, Any]] = {}
    for node_id in dependent:
        inputs = {
            name: _moved(value, dependent, prefix)
            for name, value in ancestry[node_id]["inputs"].items()
        }
        nodes[prefix + node_id] = {
            "class_type": ancestry[node_id]["class_type"],
            "inputs": inputs,
            "override_display_id": display_id(node_id),
        }
    nearest: int | Link | None = None
    for seed in seeds:
        if is_link(seed.value):
            shift_id = f"{prefix}{seed.node_id}.{seed.name}"
            nodes[shift_id] = {
                "class_type": SHIFT_NODE,
                "inputs": {"seed": seed.value, "by": by, "low": seed.low, "high": seed.high},
                "override_display_id": display_id(seed.node_id),
            }
            value: int | Link = [shift_id, 0]
        else:
            value = shift_seed(seed.value, by, seed.low, seed.high)
        nodes[prefix + seed.node_id]["inputs"][seed.name] = value
        nearest = value if nearest is None else nearest
    return SeedCopy(nodes, [_moved(root, dependent, prefix) for root in roots], nearest)


def _moved(value: Any, dependent: set[str] | Mapping[str, Any], prefix: str) -> Any:
    if not is_link(value):
        return value
    return [prefix + value[0], value[1]] if value[0] in dependent else list(value)


def _ancestry(get_node: GetNode, roots: Sequence[Any]) -> dict[str, Mapping[str, Any]]:
    """Nodes that the roots depend on, by id, breadth first: the nearest come first."""
    found: dict[str, Mapping[str, Any]] = {}
    waiting = deque(root[0] for root in roots if is_link(root))
    while waiting:
        node_id = waiting.popleft()
        if node_id not in found:
            found[node_id] = get_node(node_id)
            waiting.extend(source for _, source in _sources(found[node_id]))
    return found


def _sources(node: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in node["inputs"].items():
        if is_link(value):
            yield name, value[0]


def _seeds(
    ancestry: Mapping[str, Mapping[str, Any]], limits: Limits
) -> tuple[list[SeedInput], dict[str, None]]:
    """The seeds, and the ids (in order of nearness) of all nodes that depend on one."""
    candidates = [
        SeedInput(node_id, name, value, *ends)
        for node_id, node in ancestry.items()
        for name, value in node["inputs"].items()
        if is_link(value) or (isinstance(value, int) and not isinstance(value, bool))
        for ends in [limits(node["class_type"], name)]
        if ends is not None
    ]
    readers: dict[str, list[str]] = {node_id: [] for node_id in ancestry}
    for node_id, node in ancestry.items():
        for _, source in _sources(node):
            readers[source].append(node_id)
    reached: set[str] = set()
    waiting = deque(seed.node_id for seed in candidates)
    while waiting:
        node_id = waiting.popleft()
        if node_id not in reached:
            reached.add(node_id)
            waiting.extend(readers[node_id])
    seeds = [s for s in candidates if not is_link(s.value) or s.value[0] not in reached]
    return seeds, {node_id: None for node_id in ancestry if node_id in reached}
