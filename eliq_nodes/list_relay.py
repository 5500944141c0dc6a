"""A list as one value: how an output that is a list comes out of an expansion.

ComfyUI resolves the outputs of an expansion by joining what their links hold: a link that holds
two images would push every output after it one place on. A list within a list of one does not.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .link_types import LIST

__all__ = ["RELAY_NODE", "ListRelayNode"]

RELAY_NODE = "ELIQListRelay"


class ListRelayNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=RELAY_NODE,
            display_name="ELIQ List Relay",
            category="ELIQ",
            description="A part of what other ELIQ nodes expand into. Of no use by itself.",
            is_dev_only=True,
            is_input_list=True,
            inputs=[io.AnyType.Input("items", tooltip="What comes, one or many.")],
            outputs=[LIST.Output("list", tooltip="All of it as one value.")],
        )

    @classmethod
    def execute(cls, items: list[Any]) -> io.NodeOutput:
        return io.NodeOutput(items)
