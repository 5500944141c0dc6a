"""The prompt of a running node: in its graph, or, where another node makes it, asked of that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from comfy_execution.graph_utils import GraphBuilder

from .list_relay import RELAY_NODE
from .upstream_prompt import FoundPrompt, find_prompt

__all__ = ["ask_again", "search_prompt"]


class _RunningGraph:
    """ComfyUI's graph, the nodes that others have expanded to among it, for `find_prompt`."""

    def __init__(self, dynprompt: Any) -> None:
        self._dynprompt = dynprompt

    def get(self, node_id: str) -> dict[str, Any] | None:
        return self._dynprompt.get_node(node_id) if self._dynprompt.has_node(node_id) else None


def search_prompt(hidden: Any, positive: Any, images_input: str) -> FoundPrompt:
    """The prompt behind ``positive``, a raw link, or else behind the node's input of images.

    Args:
        hidden: of the running node, with `unique_id` and `dynprompt`.
    """
    graph = _RunningGraph(hidden.dynprompt)
    own = graph.get(hidden.unique_id) or {}
    return find_prompt(graph, positive or own.get("inputs", {}).get(images_input))


def ask_again(
    hidden: Any,
    node_id: str,
    prompt_link: list[Any],
    *,
    num_outputs: int,
    lists: Sequence[int] = (),
) -> Any:
    """The running node once more, with its prompt linked to where the text is made.

    What shows on the copy shows on the user's node.

    Args:
        lists: which of the outputs are lists.
    """
    inputs = dict(hidden.dynprompt.get_node(hidden.unique_id)["inputs"])
    inputs.pop("positive", None)
    inputs |= {"prompt": prompt_link, "find_prompt": False}
    graph = GraphBuilder()
    copy = graph.node(node_id, **inputs)
    copy.set_override_display_id(hidden.dynprompt.get_display_node_id(hidden.unique_id))
    outputs = [
        graph.node(RELAY_NODE, items=copy.out(index)).out(0) if index in lists else copy.out(index)
        for index in range(num_outputs)
    ]
    return io.NodeOutput(*outputs, expand=graph.finalize())
