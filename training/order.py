"""An endless list of shuffled epochs, as a function of position: no state to save or restore."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

__all__ = ["shuffled_index"]


def shuffled_index(position: int, number: int, *, seed: int, stream: int = 0) -> int:
    """Which of `number` rows stands at `position`; each epoch holds every row once.

    `stream` tells lists of one run apart (tuples, ladders).
    """
    epoch, place = divmod(position, number)
    return int(_permutation(number, seed, stream, epoch)[place])


@lru_cache(maxsize=8)
def _permutation(number: int, seed: int, stream: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, stream, epoch]).permutation(number)
