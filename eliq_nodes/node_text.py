"""A text on the user's own node, and the same among what the prompt gave back."""

from __future__ import annotations

from comfy_api.latest import io
from server import PromptServer

__all__ = ["TEXT_HIDDEN", "show_text"]

# A node that calls `show_text` names these in its schema.
TEXT_HIDDEN = (io.Hidden.unique_id, io.Hidden.dynprompt)


def show_text(node: type[io.ComfyNode], text: str) -> dict[str, tuple[str, ...]]:
    """Show ``text`` on the node that is running; gives the ``ui`` part of its output.

    The page draws only the message, a script that reads /history only sees the output: both are
    needed. A copy of a node, as ELIQ Re-roll Until Pass makes them, speaks on the original.
    """
    node_id = node.hidden.unique_id
    if node.hidden.dynprompt is not None and node_id is not None:
        node_id = node.hidden.dynprompt.get_display_node_id(node_id)
    server = PromptServer.instance
    if node_id is not None:
        server.send_progress_text(text, node_id, server.client_id)
    return {"text": (text,)}
