"""Batches bounded by what they cost, and what to do when one does not fit in memory.

Cost is counted after resizing, and padding included: a batch of N images costs N times its
largest one. A failed image is no item here, so it cannot change the batch of another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

__all__ = ["BatchItem", "OutOfMemoryError", "plan_batches", "run_bisecting"]

OutOfMemoryError = torch.cuda.OutOfMemoryError  # the name that torch has had longest
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class BatchItem:
    """One image to score.

    Attributes:
        position: its row in the result.
        height, width: in px, after resizing.
        num_prompt_tokens: an upper bound.
    """

    position: int
    height: int
    width: int
    num_prompt_tokens: int

    @property
    def px(self) -> int:
        """Area after resizing."""
        return self.height * self.width


def plan_batches(
    items: Sequence[BatchItem], *, max_batch_px: int, max_batch_prompt_tokens: int
) -> list[list[BatchItem]]:
    """Items in batches of similar size, each within both bounds, or of one item.

    Images of one size come to lie together, so that little is padded; within a size the order of
    the input is kept.
    """
    batches: list[list[BatchItem]] = []
    largest_px = longest = 0
    for item in sorted(items, key=lambda i: (i.px, i.height, i.num_prompt_tokens, i.position)):
        px, tokens = max(largest_px, item.px), max(longest, item.num_prompt_tokens)
        count = len(batches[-1]) + 1 if batches else 1
        if not batches or count * px > max_batch_px or count * tokens > max_batch_prompt_tokens:
            batches.append([])
            px, tokens = item.px, item.num_prompt_tokens
        batches[-1].append(item)
        largest_px, longest = px, tokens
    return batches


def run_bisecting(
    batch: list[BatchItem], run: Callable[[list[BatchItem]], _Result]
) -> tuple[list[tuple[list[BatchItem], _Result]], list[BatchItem]]:
    """Run a batch; while it does not fit into the device's memory, run its halves.

    Returns:
        What ran, with its result, and the single items that do not fit even alone.
    """
    done: list[tuple[list[BatchItem], _Result]] = []
    too_large: list[BatchItem] = []
    waiting = [batch]
    while waiting:
        part = waiting.pop()
        result = _run_or_none(part, run)
        if result is not None:
            done.append((part, result[0]))
        elif len(part) == 1:
            too_large += part
        else:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
    return done, too_large


def _run_or_none(
    part: list[BatchItem], run: Callable[[list[BatchItem]], _Result]
) -> tuple[_Result] | None:
    try:
        return (run(part),)
    except OutOfMemoryError:
        pass
    # Only here, with the exception gone, do its frames no longer hold the tensors of the attempt.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
