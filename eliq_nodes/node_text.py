"""A text on the user's own node, and the same among what the prompt gave back."""

from __future__ import annotations

from comfy_api.latest import io
from server import PromptServer

__all__ = ["TEXT_HIDDEN", "display_id", "send_text", "show_text"]

# A node that calls `show_text` or `display_id` names these in its schema.
TEXT_HIDDEN = (io.Hidden.unique_id, io.Hidden.dynprompt)


def display_id(node: type[io.ComfyNode]) -> str | None:
    """The node on the user's page that ``node``, which is running, belongs to.

    A copy of a node, as ELIQ Re-roll Until Pass makes them, belongs to the original.
    """
    node_id = node.hidden.unique_id
    if node_id is None or node.hidden.dynprompt is None:
        return node_id
    return node.hidden.dynprompt.get_display_node_id(node_id)


def send_text(text: str, node_id: str | None) -> None:
    """Show ``text`` on a node of the page, in place of the text before; None = nowhere."""
    if node_id is None:
        return
    server = PromptServer.instance
    # Nodes 2.0 reads it as Markdown, in which a line ends with two spaces.
    server.send_progress_text(text.replace("\n", "  \n"), node_id, server.client_id)


def show_text(node: type[io.ComfyNode], text: str) -> dict[str, tuple[str, ...]]:
    """Show ``text`` on the node that is running; gives the ``ui`` part of its output.

    The page draws only the message, a script that reads /history only sees the output: both are
    needed.
    """
    send_text(text, display_id(node))
    return {"text": (text,)}
