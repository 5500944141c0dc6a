"""Items of a batch for an output, or what skips the nodes behind it where there are none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from comfy_execution.graph_utils import ExecutionBlocker

__all__ = ["items_or_blocker"]


def items_or_blocker(
    take: Callable[..., Any],
    batch: Any,
    positions: Sequence[int],
    *,
    num_items: int,
    told: str,
) -> Any:
    """``take(batch, positions)``; a blocked output where no item is chosen, or nothing is linked.

    No item is no error and says nothing. An output for which nothing was linked is one: the
    message reaches only a user who linked something behind it.

    Args:
        take: one of `batch_items`.
        batch: None = nothing is linked.
        told: the input that would have to be linked, such as "'mask' of ELIQ Gate".

    Raises:
        ValueError: a batch of another size than ``num_items``, also where no item is chosen.
    """
    if batch is None:
        return ExecutionBlocker(f"nothing is linked to {told}: link it there first")
    chosen = take(batch, positions, num_items=num_items)
    return chosen if positions else ExecutionBlocker(None)
