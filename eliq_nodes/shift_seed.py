"""A seed that comes over a link, moved on: a part of what ELIQ Re-roll Until Pass expands into."""

from __future__ import annotations

from comfy_api.latest import io

from .seed_graph import SHIFT_NODE, shift_seed

__all__ = ["ShiftSeedNode"]


class ShiftSeedNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id=SHIFT_NODE,
            display_name="ELIQ Shift Seed",
            category="ELIQ",
            description="A part of ELIQ Re-roll Until Pass. Use that instead.",
            is_dev_only=True,
            inputs=[
                io.Int.Input("seed", tooltip="The seed."),
                io.Int.Input("by", tooltip="Is added to it."),
                io.Int.Input("low", tooltip="The least seed."),
                io.Int.Input("high", tooltip="The greatest seed; the least one follows it."),
            ],
            outputs=[io.Int.Output("seed", tooltip="The seed moved on.")],
        )

    @classmethod
    def execute(cls, seed: int, by: int, low: int, high: int) -> io.NodeOutput:
        return io.NodeOutput(shift_seed(seed, by, low, high))
