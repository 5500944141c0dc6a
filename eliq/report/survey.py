"""The first pass over a run: exact counts of all of it, and which rows the page will hold.

A page can hold some ten thousand rows; a run may have a hundred million. Counts at every threshold
are kept for the whole run, as a table of both scores in steps of 1/200; rows are a random sample
and the extremes of each score. Memory does not grow with the run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from ..bulk.arrow import pa

__all__ = ["NUM_STEPS", "SURVEY_COLUMNS", "Survey", "survey_rows"]

NUM_STEPS = 200  # thresholds of the page lie on multiples of 1/200
SURVEY_COLUMNS = ("visual_quality", "alignment", "status", "flags", "error_class")

_NUM_EXTREMES = 250  # an end of a score that a sample keeps
_NUM_FAILED = 250


@dataclass
class Survey:
    """Counts of a whole run, and the rows that stand for it.

    Attributes:
        joint: int64 [NUM_STEPS + 1, NUM_STEPS + 2]: scored images by step of visual quality and of
            alignment; the last column holds those without alignment. Step k is k/200 <= score.
        words: how many images have each flag or reason of failure.
        rows: int64, ascending: positions, in the order of the run, of the rows to show.
    """

    num_images: int = 0
    num_failed: int = 0
    joint: np.ndarray = field(
        default_factory=lambda: np.zeros((NUM_STEPS + 1, NUM_STEPS + 2), np.int64)
    )
    words: Counter[str] = field(default_factory=Counter)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def histogram(self, name: str) -> list[int]:
        """Images in each of the NUM_STEPS + 1 steps of one score."""
        if name == "visual_quality":
            return self.joint.sum(axis=1).tolist()
        return self.joint[:, :-1].sum(axis=0).tolist()

    def joint_cells(self) -> list[int]:
        """The table's cells that are not empty: quality step, alignment step or -1, images."""
        quality, alignment = np.nonzero(self.joint)
        number = self.joint[quality, alignment]
        alignment = np.where(alignment == NUM_STEPS + 1, -1, alignment)
        return np.stack([quality, alignment, number], axis=1).ravel().tolist()


def survey_rows(batches: Iterable[pa.RecordBatch], max_rows: int, *, seed: int = 0) -> Survey:
    """Count ``batches`` of `SURVEY_COLUMNS` and choose at most ``max_rows`` rows (or some more,
    the extremes) to show; all of them where the run is no larger."""
    found = Survey()
    rng = np.random.default_rng(seed)
    edges = np.arange(NUM_STEPS + 1) / NUM_STEPS
    sample = _Lowest(max_rows)
    failed = _Lowest(_NUM_FAILED)
    ends = {
        (name, sign): _Lowest(_NUM_EXTREMES)
        for name in ("visual_quality", "alignment")
        for sign in (1, -1)
    }
    for batch in batches:
        positions = found.num_images + np.arange(batch.num_rows)
        quality = _numbers(batch, "visual_quality")
        alignment = _numbers(batch, "alignment")
        is_scored = ~np.isnan(quality)
        # float64 on both sides: the page and `eliq keep` compare in the same way.
        row_step = np.searchsorted(edges, quality[is_scored], side="right") - 1
        column_step = np.searchsorted(edges, alignment[is_scored], side="right") - 1
        column_step[np.isnan(alignment[is_scored])] = NUM_STEPS + 1
        np.add.at(found.joint, (row_step.clip(0), column_step.clip(0)), 1)
        found.num_images += batch.num_rows
        found.num_failed += int((~is_scored).sum())
        found.words.update(_word_counts(batch))
        random = rng.random(batch.num_rows)
        sample.offer(random, positions)
        failed.offer(random[~is_scored], positions[~is_scored])
        for (name, sign), end in ends.items():
            scores = quality if name == "visual_quality" else alignment
            is_known = ~np.isnan(scores)
            end.offer(sign * scores[is_known], positions[is_known])
    chosen = [sample.positions]
    if found.num_images > max_rows:
        chosen += [failed.positions, *(end.positions for end in ends.values())]
    found.rows = np.unique(np.concatenate(chosen))
    return found


class _Lowest:
    """The positions of the lowest keys of all that was offered."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._keys = np.zeros(0)
        self.positions = np.zeros(0, np.int64)

    def offer(self, keys: np.ndarray, positions: np.ndarray) -> None:
        keys = np.concatenate([self._keys, keys])
        positions = np.concatenate([self.positions, positions])
        if len(keys) > self._limit:
            nearest = np.argpartition(keys, self._limit - 1)[: self._limit]
            keys, positions = keys[nearest], positions[nearest]
        self._keys, self.positions = keys, positions


def _numbers(batch: pa.RecordBatch, name: str) -> np.ndarray:
    """float64, NaN for null and for infinity."""
    values = batch.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(values), values, np.nan)


def _word_counts(batch: pa.RecordBatch) -> Counter[str]:
    words = Counter(batch.column("flags").flatten().to_pylist())
    pairs = zip(
        batch.column("error_class").to_pylist(), batch.column("flags").to_pylist(), strict=True
    )
    # nonfinite_input is a flag and a reason: counted once an image, as the page shows it once.
    words.update(reason for reason, flags in pairs if reason and reason not in (flags or ()))
    return words
