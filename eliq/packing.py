"""One row an image: the shared prefix once, and behind it a suffix for every question.

    row   [ prefix | suffix 1 | suffix 2 | ... | pad ]
    mask  a suffix sees the prefix and itself, causally; nothing sees the padding
    MRoPE positions restart after the prefix for each suffix

so that every suffix gets exactly the states it would get in a pass of its own, while the image is
encoded once. Shapes: B rows, L tokens in the longest row, Q suffixes a row, h hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .instructions import ChatLayout

__all__ = ["PackedRows", "pack_rows"]


@dataclass(frozen=True)
class PackedRows:
    """What the language model reads.

    Attributes:
        input_ids: int64 [B,L].
        segment: int64 [B,L], 0 in the prefix, 1.. in the suffixes, -1 in the padding.
        position_ids: int64 [3,B,L] (time, height, width).
        last: int64 [B,Q], index in the row of each suffix's last token; 0 where a row has fewer.
        valid: bool [B,Q], False where a row has fewer than Q suffixes.
    """

    input_ids: Tensor
    segment: Tensor
    position_ids: Tensor
    last: Tensor
    valid: Tensor

    @property
    def mask(self) -> Tensor:
        """bool [B,1,L,L], True where a query (third axis) may see a key (last axis).

        Made on the device of the rows at every call: it is L times their size.
        """
        return _mask(self.segment)

    def to(self, device: torch.device | str) -> PackedRows:
        """The same rows on another device."""
        return PackedRows(
            *(
                getattr(self, name).to(device, non_blocking=True)
                for name in self.__dataclass_fields__
            )
        )


def prefix_positions(head: int, grid: tuple[int, int], tail: int) -> tuple[Tensor, int]:
    """MRoPE positions [3, head + rows*columns + tail] of a prefix, and the next free position.

    ``grid`` counts merged tokens (rows, columns). Text advances all three axes together; an image
    spans rows and columns at a fixed time and advances the position by its longer side.
    """
    rows, columns = grid
    time = torch.full((rows * columns,), head)
    image = torch.stack(
        [
            time,
            head + torch.arange(rows).repeat_interleave(columns),
            head + torch.arange(columns).repeat(rows),
        ]
    )
    after = head + max(rows, columns)
    text_head = torch.arange(head).expand(3, -1)
    text_tail = torch.arange(after, after + tail).expand(3, -1)
    return torch.cat([text_head, image, text_tail], dim=1), after + tail


def pack_rows(
    layout: ChatLayout, grids: list[tuple[int, int]], suffixes: list[list[list[int]]]
) -> PackedRows:
    """Pack B images, each with its own suffixes.

    Args:
        layout: the chat layout, for the prefix.
        grids: merged token rows and columns of each image.
        suffixes: for each image the token ids of its suffixes; their number may differ.

    Returns:
        :class:`PackedRows` on the CPU, right-padded.
    """
    batch, num = len(grids), max(len(row) for row in suffixes)
    head, tail = layout.prefix_head, layout.prefix_tail
    ids: list[list[int]] = []
    segments: list[Tensor] = []
    positions: list[Tensor] = []
    last = torch.zeros(batch, num, dtype=torch.int64)
    valid = torch.zeros(batch, num, dtype=torch.bool)
    cache: dict[tuple[int, int], tuple[Tensor, int]] = {}
    for index, (grid, row) in enumerate(zip(grids, suffixes, strict=True)):
        if grid not in cache:
            cache[grid] = prefix_positions(len(head), grid, len(tail))
        prefix_position, start = cache[grid]
        row_ids = [*head, *[layout.image_token_id] * (grid[0] * grid[1]), *tail]
        lengths = torch.tensor([len(row_ids), *(len(suffix) for suffix in row)])
        row_positions = [prefix_position]
        for question, suffix in enumerate(row):
            row_ids.extend(suffix)
            row_positions.append(torch.arange(start, start + len(suffix)).expand(3, -1))
            last[index, question] = len(row_ids) - 1
            valid[index, question] = True
        ids.append(row_ids)
        segments.append(torch.repeat_interleave(torch.arange(len(row) + 1), lengths))
        positions.append(torch.cat(row_positions, dim=1))
    length = max(len(row) for row in ids)
    input_ids = torch.full((batch, length), layout.pad_token_id, dtype=torch.int64)
    segment = torch.full((batch, length), -1, dtype=torch.int64)
    position_ids = torch.zeros(3, batch, length, dtype=torch.int64)
    for index, row_ids in enumerate(ids):
        input_ids[index, : len(row_ids)] = torch.tensor(row_ids)
        segment[index, : len(row_ids)] = segments[index]
        position_ids[:, index, : len(row_ids)] = positions[index]
    return PackedRows(input_ids, segment, position_ids, last, valid)


def _mask(segment: Tensor) -> Tensor:
    """bool [B,1,L,L] from segment numbers [B,L]: 0 prefix, 1.. suffixes, -1 padding."""
    query, key = segment[:, :, None], segment[:, None, :]
    position = torch.arange(segment.shape[1], device=segment.device)
    causal = position[:, None] >= position
    seen = ((key == 0) | (key == query)) & causal & (key >= 0) & (query >= 0)
    # A padding row that sees nothing would be NaN after the softmax; it sees itself.
    return (seen | (position[:, None] == position))[:, None]
