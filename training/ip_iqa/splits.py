"""Prompt-grouped repeats of train, validation and test: the epoch is chosen where no test row is.

The released code of IP-IQA chooses the best epoch on the test fold; here the validation fold is a
part of its own, so figures are a little lower than the same training would have been reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eliq.ip_iqa import IPIQAModel
from training.evaluation import grouped_split
from training.journal import Journal
from training.placement import Placement
from training.run_state import StopRequest

from .data import RatedData
from .fitting import correlations, fit, predict
from .settings import RatingSettings, SplitSettings

__all__ = ["Split", "SplitsResult", "grouped_folds", "run_splits"]


class Split(NamedTuple):
    """Row numbers of one repeat; every row is in exactly one of the three."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class SplitsResult:
    """One row of figures a repeat, their means and standard deviations over the repeats."""

    rows: list[dict[str, Any]]
    stopped: bool

    def mean(self) -> dict[str, float]:
        """Mean over repeats of every figure on the test folds."""
        return {name: float(np.mean([r["test"][name] for r in self.rows])) for name in self._names}

    def deviation(self) -> dict[str, float]:
        """Standard deviation (n - 1) over repeats; 0 with one repeat."""
        return {
            name: float(np.std([r["test"][name] for r in self.rows], ddof=1))
            if len(self.rows) > 1
            else 0.0
            for name in self._names
        }

    @property
    def _names(self) -> list[str]:
        return list(self.rows[0]["test"]) if self.rows else []


def grouped_folds(groups: Sequence[str], settings: SplitSettings) -> list[Split]:
    """The repeats: ``test_share`` and ``validation_share`` of the rows, whole prompts, seeded."""
    splits = []
    for number in range(settings.num_splits):
        seed = settings.seed * 10_007 + number
        is_test = grouped_split(groups, settings.test_share, seed=seed)
        rest = np.flatnonzero(~is_test)
        share = settings.validation_share / (1.0 - settings.test_share)
        is_validation = grouped_split([groups[i] for i in rest], share, seed=seed + 5_003)
        splits.append(Split(rest[~is_validation], rest[is_validation], np.flatnonzero(is_test)))
    return splits


def run_splits(
    make_model: Callable[[int], IPIQAModel],
    data: RatedData,
    settings: RatingSettings,
    splits: SplitSettings,
    run_dir: str | Path,
    *,
    fingerprint: Mapping[str, Any] | None = None,
    placement: Placement | None = None,
    stop: StopRequest | None = None,
    progress: bool = True,
    keep_model: Callable[[int, IPIQAModel], None] | None = None,
) -> SplitsResult:
    """Trains and tests one model a repeat; a repeat that is done is not done again.

    `make_model(n)` gives a fresh model for repeat n; `keep_model(n, model)` is called with the
    trained one. `splits.jsonl` in `run_dir` holds a line a repeat.
    """
    placement = placement or Placement()
    run_dir = Path(run_dir)
    with Journal(run_dir / "splits.jsonl") as journal:
        rows = list(journal.rows)
        for number, split in enumerate(grouped_folds(data.groups, splits)):
            if any(row["split"] == number for row in rows):
                continue
            result = fit(
                make_model(number),
                data,
                split.train,
                split.validation,
                settings,
                run_dir / f"split-{number:02d}",
                fingerprint=fingerprint,
                placement=placement,
                stop=stop,
                progress=progress,
            )
            if result.stopped:
                return SplitsResult(rows, True)
            scores = predict(result.model, data, split.test)
            ratings = data.ratings[torch.as_tensor(split.test)]
            row = {
                "split": number,
                "num_rows": [len(part) for part in split],
                "best_epoch": result.best_epoch,
                "validation": result.validation,
                "test": correlations(result.model, scores, ratings),
            }
            if keep_model is not None and placement.is_main:
                keep_model(number, result.model)
            if placement.is_main:
                journal.append(row)
            rows.append(row)
    return SplitsResult(sorted(rows, key=lambda row: row["split"]), False)
