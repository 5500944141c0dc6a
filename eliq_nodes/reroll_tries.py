"""What one try of ELIQ Re-roll Until Pass is in nodes: a copy of the graph, a score and a judge."""

from __future__ import annotations

from typing import Any

from comfy_execution.graph_utils import GraphBuilder

from .seed_graph import copy_with_seeds
from .seed_limits import seed_limits

__all__ = ["JUDGE_NODE", "expand_try"]

JUDGE_NODE = "ELIQRerollJudge"
_SCORE_NODE = "ELIQScore"
_SCORES_OUTPUT = 4  # of ELIQ Score


def expand_try(
    dynprompt: Any, *, source: dict[str, Any], number: int, judge_inputs: dict[str, Any]
) -> tuple[dict[str, Any], str]:
    """The nodes of one try, and the id of its judge.

    Args:
        source: links or values by the names of ELIQ Re-roll's inputs.
        number: tries before this one; 0 = the graph as it stands.
        judge_inputs: more inputs of the judge; None = not linked.
    """
    prefix = GraphBuilder.alloc_prefix()
    nodes: dict[str, Any] = {}
    linked = dict(source)
    if number:
        made = copy_with_seeds(
            dynprompt.get_node,
            list(source.values()),
            by=number,
            limits=seed_limits,
            prefix=prefix,
            display_id=dynprompt.get_display_node_id,
        )
        nodes.update(made.nodes)
        linked = dict(zip(source, made.roots, strict=True))
        judge_inputs = {**judge_inputs, "seed": made.seed}
    score, judge = f"{prefix}score", f"{prefix}judge"
    nodes[score] = {"class_type": _SCORE_NODE, "inputs": _given(linked)}
    own = {f"source_{name}": value for name, value in source.items()}
    inputs = {"images": linked["images"], "scores": [score, _SCORES_OUTPUT], "number": number}
    nodes[judge] = {
        "class_type": JUDGE_NODE,
        "inputs": _given({**inputs, **own, **judge_inputs}),
    }
    return nodes, judge


def _given(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in inputs.items() if value is not None}
