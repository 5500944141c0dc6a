"""Splits of a rated set in which no prompt falls on both sides.

Several public splits leak every test prompt into training. Here whole groups (prompts) are drawn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from eliq.errors import ConfigError

__all__ = ["grouped_split", "grouped_splits", "other_group"]


def grouped_split(groups: Sequence[str], share: float, *, seed: int = 0) -> np.ndarray:
    """bool [K]: about `share` of the K rows, in whole groups drawn at random; at least one group.

    Same seed, same rows, whatever their order: groups are sorted before they are drawn.

    Raises:
        ConfigError: share outside 0..1, or fewer than two groups.
    """
    if not 0.0 < share < 1.0:
        raise ConfigError(f"split: expected a share between 0 and 1, found {share}")
    sizes: dict[str, int] = {}
    for label in groups:
        sizes[label] = sizes.get(label, 0) + 1
    if len(sizes) < 2:
        raise ConfigError(f"split: expected 2 groups (prompts) or more, found {len(sizes)}")
    order = sorted(sizes)
    random.Random(seed).shuffle(order)
    chosen, rows = set(), 0
    for label in order[:-1]:  # one group stays on the other side
        # The group that would overshoot is taken where that ends nearer to the share.
        if chosen and rows + sizes[label] / 2 > share * len(groups):
            break
        chosen.add(label)
        rows += sizes[label]
    return np.asarray([label in chosen for label in groups])


def grouped_splits(
    groups: Sequence[str], *, num_splits: int = 10, share: float = 0.2, seed: int = 0
) -> list[np.ndarray]:
    """`num_splits` independent draws of `grouped_split`, as papers repeat their 80/20 split."""
    return [grouped_split(groups, share, seed=seed * 10_007 + i) for i in range(num_splits)]


def other_group(groups: Sequence[str], *, seed: int = 0) -> np.ndarray:
    """int [K]: for each row a row of another group, each row used once (a derangement of prompts).

    Rows are laid out group by group in random order and turned by the size of the largest group.

    Raises:
        ConfigError: one group holds more than half of the rows, so that there is no such order.
    """
    labels = sorted(set(groups))
    rng = random.Random(seed)
    rng.shuffle(labels)
    place = {label: i for i, label in enumerate(labels)}
    rows = list(range(len(groups)))
    rng.shuffle(rows)
    rows.sort(key=lambda row: place[groups[row]])  # stable: random inside a group
    sizes: dict[str, int] = {}
    for label in groups:
        sizes[label] = sizes.get(label, 0) + 1
    largest = max(sizes.values(), default=0)
    if not sizes or 2 * largest > len(rows):
        raise ConfigError(
            f"shuffling prompts: expected no prompt on more than half of the images, found "
            f"{largest} of {len(rows)}"
        )
    partner = np.empty(len(rows), dtype=np.int64)
    for position, row in enumerate(rows):
        partner[row] = rows[(position + largest) % len(rows)]
    return partner
