"""Prompt-grouped repeats of train, validation and test: the epoch is chosen where no test row is.

The released code of IP-IQA chooses the best epoch on the test fold; here the validation fold is a
part of its own, so figures are a little lower than the same training would have been reported.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from eliq.errors import TrainingError
from eliq.ip_iqa import IPIQAModel
from training.evaluation import grouped_split
from training.journal import Journal, write_atomically
from training.placement import Placement
from training.run_state import StopRequest, first_difference

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
    keep_model: Callable[[dict[str, Any], IPIQAModel], None] | None = None,
) -> SplitsResult:
    """Trains and tests one model a repeat; a repeat that is done is not done again.

    `make_model(n)` gives a fresh model for repeat n; `keep_model(row, model)` is called with the
    trained one and its figures. `splits.jsonl` in `run_dir` holds a line a repeat, `run.json` what
    they are of: more repeats may be asked for later, and that alone. What a repeat needs to go on
    after a kill is removed once it is done.

    Raises:
        TrainingError: `run_dir` holds repeats of other settings or ratings; see `fit` too.
    """
    placement = placement or Placement()
    run_dir = Path(run_dir)
    fingerprint = {**(fingerprint or {}), "rated": data.digest()}
    _check_same_run(run_dir, settings, splits, fingerprint, is_main=placement.is_main)
    with Journal(run_dir / "splits.jsonl") as journal:
        rows = [row for row in journal.rows if row["split"] < splits.num_splits]
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
                keep_model(row, result.model)
            placement.wait()  # every process has read the best epoch
            if placement.is_main:
                journal.append(row)
                _remove_state(run_dir / f"split-{number:02d}")
            rows.append(row)
            del result
            placement.release()
    return SplitsResult(sorted(rows, key=lambda row: row["split"]), False)


def _check_same_run(
    run_dir: Path,
    settings: RatingSettings,
    splits: SplitSettings,
    fingerprint: Mapping[str, Any],
    *,
    is_main: bool,
) -> None:
    """Refuses to put repeats of two runs into one table; the first run of a folder is noted."""
    own = {"settings": asdict(settings), "splits": asdict(splits), "data": dict(fingerprint)}
    del own["splits"]["num_splits"]  # repeat n is the same however many follow it
    own = json.loads(json.dumps(own))
    path = run_dir / "run.json"
    journal = run_dir / "splits.jsonl"
    if path.is_file():
        try:
            was = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: expected JSON, found other text") from error
    elif journal.is_file() and journal.stat().st_size:
        was = {}
    else:
        was = None
    differing = None if was is None else first_difference(was, own)
    if differing is not None:
        field, before, now = differing
        raise TrainingError(
            f"{run_dir} holds repeats of another run: {field} was {before} and is now {now}; "
            "restore it, or name another --out"
        )
    if was is None and is_main:
        write_atomically(path, (json.dumps(own, indent=1) + "\n").encode())


def _remove_state(split_dir: Path) -> None:
    """Weights and moments of a repeat that is done; its curves stay."""
    for path in (split_dir / "best", *split_dir.glob("step-*")):
        shutil.rmtree(path, ignore_errors=True)
