"""ELIQ Used Seed: which seed a latent was made with that came through ELIQ Early Abort.

A model cannot put out the seed itself: it goes out before the sampler runs.
"""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from .link_types import WATCH
from .node_text import TEXT_HIDDEN, show_text
from .sampling_watch import SamplingWatch

__all__ = ["UsedSeedNode"]


class UsedSeedNode(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ELIQUsedSeed",
            display_name="ELIQ Used Seed",
            category="ELIQ",
            description="Tells which seed a latent was made with that ELIQ Early Abort watched.",
            search_aliases=["used seed", "final seed", "early abort seed"],
            is_experimental=True,
            is_output_node=True,  # it says the seed with nothing behind it, too
            hidden=list(TEXT_HIDDEN),
            inputs=[
                io.Latent.Input("latent", tooltip="What the sampler put out, directly."),
                WATCH.Input("watch", tooltip="The other output of ELIQ Early Abort."),
            ],
            outputs=[
                io.Latent.Output("latent", tooltip="The same latent."),
                io.Int.Output("used_seed", tooltip="The seed it was made with; -1: not known."),
                io.Int.Output("attempts", tooltip="How many seeds were begun."),
                io.Boolean.Output("passed", tooltip="Whether the picture passed on its way."),
                io.String.Output("summary", tooltip="The tries in words, one a line."),
            ],
        )

    @classmethod
    def execute(cls, latent: dict[str, Any], watch: SamplingWatch) -> io.NodeOutput:
        report = watch.report_of(latent["samples"])
        if report is None:
            # No error: the sampling is done, and a cache that dropped its report loses no picture.
            summary = (
                "no report of this latent: link the output of the sampler that runs the model of "
                "this ELIQ Early Abort directly, or queue again with another seed"
            )
            return io.NodeOutput(latent, -1, 0, False, summary, ui=show_text(cls, summary))
        lines = [f"try {one.number + 1}: {one.describe()}" for one in report.tries]
        summary = "\n".join([*lines, f"seed {report.seed}: {report.note}"])
        seed = -1 if report.seed is None else report.seed
        return io.NodeOutput(
            latent,
            seed,
            report.attempts,
            report.is_passed,
            summary,
            ui=show_text(cls, summary),
        )
