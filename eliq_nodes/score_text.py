"""Scores in words for the node, and prompts matched to images. Nothing of ComfyUI.

Shapes: B images in all, of one or several batches.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from .score_table import ScoreTable

__all__ = ["describe_scores", "short_name", "spread_prompts"]

_MOST_LINES = 32
_MOST_CHARS = 120
_COMMIT = re.compile(r"@([0-9a-f]{8})[0-9a-f]{32}$")
# Said by the missing score itself, or by the line that names the prompt.
_SAID_ELSEWHERE = frozenset({"no_prompt"})


def describe_scores(table: ScoreTable, *, is_prompt_found: bool = False) -> str:
    """What the node shows: a line of means for several images, then a line an image.

    Flags of an image follow its scores; an image without scores says why. The prompt comes last,
    and so does the critic unless it is the embedded one.

    Args:
        is_prompt_found: the prompt was not given, but found in the graph: the user may check it.
    """
    total = len(table)
    if not total:
        return "no images"
    lines = []
    if total > 1:
        parts = (f"{name} {_mean(column)}" for name, column in _columns(table))
        lines.append(f"{total} images, mean: {', '.join(parts)}")
    for i in range(min(total, _MOST_LINES)):
        lines.append((f"#{i}  " if total > 1 else "") + _row(table, i))
    if total > _MOST_LINES:
        lines.append(f"and {total - _MOST_LINES} more")
    prompts = dict.fromkeys(table.prompts)
    if len(prompts) == 1:
        (prompt,) = prompts
        origin = "prompt found in the graph" if is_prompt_found else "prompt"
        lines.append(f"{origin}: {_short(prompt)}" if prompt else "no prompt: no alignment")
    else:
        lines.append(f"{len(prompts)} prompts")
    if table.critic != "embedded":
        lines.append(f"critic: {short_name(table.critic)}")
    return "\n".join(lines)


def spread_prompts(prompts: Sequence[str], sizes: Sequence[int]) -> list[str]:
    """One prompt an image [B].

    Args:
        prompts: one for all, one a batch, or one an image.
        sizes: images of each batch; their sum is B.

    Raises:
        ValueError: another number of prompts.
    """
    total = sum(sizes)
    if len(prompts) <= 1:
        return list(prompts or [""]) * total
    if len(prompts) == total:
        return list(prompts)
    if len(prompts) == len(sizes):
        return [prompt for prompt, size in zip(prompts, sizes, strict=True) for _ in range(size)]
    batches = f", or {len(sizes)}, one a batch" if len(sizes) > 1 else ""
    raise ValueError(
        f"prompt: expected 1 text for all images, or {total}, one an image{batches}, found "
        f"{len(prompts)}: link a list of as many texts"
    )


def _row(table: ScoreTable, i: int) -> str:
    if table.errors[i] is not None:
        return f"not scored: {table.errors[i]}"
    parts = [f"{name} {_number(column[i])}" for name, column in _columns(table)]
    flags = [flag.replace("_", " ") for flag in table.flags[i] if flag not in _SAID_ELSEWHERE]
    return ", ".join(parts) + (f"  ({', '.join(flags)})" if flags else "")


def _columns(table: ScoreTable) -> list[tuple[str, Sequence[float]]]:
    """Alignment only where some image has one: without a prompt it says nothing."""
    columns = [("visual quality", table.visual_quality)]
    if any(not math.isnan(score) for score in table.alignment):
        columns.append(("alignment", table.alignment))
    return columns


def _mean(column: Sequence[float]) -> str:
    scored = [score for score in column if not math.isnan(score)]
    return _number(sum(scored) / len(scored)) if scored else "none"


def _number(score: float) -> str:
    return "none" if math.isnan(score) else f"{score:.3f}"


def short_name(critic: str) -> str:
    """The name of a critic with its commit, if it has one, cut to eight digits."""
    return _short(_COMMIT.sub(r"@\1", critic))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST_CHARS else line[: _MOST_CHARS - 1] + "\u2026"
