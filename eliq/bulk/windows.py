"""Which images of a part are scored together: a rule that knows the images and nothing else.

A score's last bits depend on its batch. Where a window ends depends only on the images that were
decoded before in the same part, never on how fast they came, so that a part which is scored again
after a kill is the same to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .decoding import Decoded

__all__ = ["MOST_WINDOW_IMAGES", "split_windows", "window_px"]

MOST_WINDOW_IMAGES = 256
_BATCHES = 16  # of the model, in a window: like sizes find one another among so many
_MOST_PX = 64_000_000  # 192 MB of 8-bit RGB


def window_px(batch_px: int) -> int:
    """Pixels, after resizing, at which a window is full."""
    return min(_BATCHES * batch_px, max(_MOST_PX, batch_px))


def split_windows(decoded: Iterable[Decoded], *, full_px: int) -> Iterator[list[Decoded]]:
    """The images of one part in windows of like cost.

    A failed image counts nothing, so that it moves no border between the others; only where all
    fail do they fill a window by their number.
    """
    window: list[Decoded] = []
    num_px = num_decoded = 0
    for one in decoded:
        window.append(one)
        if one.pixels is not None:
            num_px += one.pixels[0].numel()
            num_decoded += 1
        # Where all have failed, there is no border between others to move.
        if num_px >= full_px or (num_decoded or len(window)) >= MOST_WINDOW_IMAGES:
            yield window
            window, num_px, num_decoded = [], 0, 0
    if window:
        yield window
