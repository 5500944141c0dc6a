"""What changed between two critics, on anchors that neither was trained on.

Shapes: K anchors. All scores are 0..1 on the old critic's scale: the new ones are linked
(`linking.py`), or, where the critics disagree so far that no link exists, calibrated on their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from eliq.calibration import Calibration
from eliq.correlation import bootstrap_interval, krcc, srcc
from eliq.errors import ConfigError
from eliq.scores import SCORE_NAMES

from .alarms import EDGE, Limits, alarms_of, too_few
from .anchors import Anchors
from .linking import ScaleLink, calibrated, link_scales

__all__ = ["DriftReport", "Limits", "ScoreDrift", "drift_report"]

_NUM_DISAGREEMENTS = 24


@dataclass
class ScoreDrift:
    """One of the two scores.

    Attributes:
        ids: anchors, in order; old, new: their 0..1 scores [K] (new: linked).
        numbers: what is reported, plain JSON.
        link: None where there is none; `alarms` then says why.
    """

    ids: list[str]
    old: np.ndarray
    new: np.ndarray
    numbers: dict[str, Any]
    link: ScaleLink | None
    alarms: list[str] = field(default_factory=list)


@dataclass
class DriftReport:
    """Both scores; `disagreements` are the anchors that the critics place most differently,
    `anchors` how many prompts, images and anchors each era has."""

    scores: dict[str, ScoreDrift]
    disagreements: list[dict[str, Any]]
    num_failed: int
    anchors: dict[str, dict[str, int]]

    @property
    def alarms(self) -> list[str]:
        return [
            f"{name.replace('_', ' ')}: {text}"
            for name, s in self.scores.items()
            for text in s.alarms
        ]

    def to_json(self) -> dict[str, Any]:
        return {
            "alarms": self.alarms,
            "num_failed": self.num_failed,
            "anchors": self.anchors,
            "scores": {
                name: {**s.numbers, "link": s.link.to_json() if s.link else None}
                for name, s in self.scores.items()
            },
            "disagreements": self.disagreements,
        }


def drift_report(
    anchors: Anchors,
    old_raw: Mapping[str, Mapping[str, float | None]],
    new_raw: Mapping[str, Mapping[str, float | None]],
    old: Mapping[str, Calibration],
    new: Mapping[str, Calibration],
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> DriftReport:
    """Compares the raw scores of two critics.

    Args:
        old_raw, new_raw: by anchor, then by score; None where an image could not be scored.
        old, new: the critics' own calibrations by score.

    Raises:
        ConfigError: fewer than 3 anchors that both critics scored.
    """
    scores = {}
    for name in SCORE_NAMES:
        ids = [
            key
            for key in anchors.points
            if None not in (old_raw[key].get(name), new_raw[key].get(name))
        ]
        if len(ids) < 3:
            raise ConfigError(f"drift: expected 3 anchors with {name} or more, found {len(ids)}")
        raws = [np.asarray([raw[key][name] for key in ids]) for raw in (old_raw, new_raw)]
        scores[name] = _one(anchors, name, ids, *raws, old[name], new[name], limits)
    failed = sum(
        None in (old_raw[key].get(SCORE_NAMES[0]), new_raw[key].get(SCORE_NAMES[0]))
        for key in anchors.points
    )
    counts = {era: anchors.counts(era) for era in anchors.eras}
    return DriftReport(scores, _disagreements(anchors, scores), failed, counts)


def _one(
    anchors: Anchors,
    name: str,
    ids: list[str],
    old_raw: np.ndarray,
    new_raw: np.ndarray,
    old: Calibration,
    new: Calibration,
    limits: Limits,
) -> ScoreDrift:
    alarms = []
    try:
        link = link_scales(old_raw, new_raw, old)
    except ConfigError as error:
        link = None
        alarms.append(str(error))
    before, own = calibrated(old, old_raw), calibrated(new, new_raw)
    after = calibrated(link.calibration, new_raw) if link else own
    raw = dict(zip(ids, zip(old_raw, new_raw, strict=True), strict=True))
    place = {key: i for i, key in enumerate(ids)}
    positives = [key for key in ids if anchors.points[key].is_positive]
    eras = {
        era: [place[key] for key in positives if anchors.points[key].era == era]
        for era in anchors.eras
    }
    own_prompts = anchors.own_prompts
    prompts = [own_prompts[key] for key in ids]
    numbers = {
        "num_anchors": len(ids),
        "num_prompts": len(set(prompts)),
        "num_images": len({anchors.points[key].sha256 for key in ids}),
        "srcc": _or_none(srcc, old_raw, new_raw),
        **_interval(old_raw, new_raw, prompts, limits),
        "krcc": _or_none(krcc, old_raw, new_raw),
        "known_order": _chain_accuracy(anchors, name, raw),
        "spread": {"old": _spread(before), "new": _spread(after), "new_own_scale": _spread(own)},
        "largest_difference": round(float(np.abs(after - before).max()), 4),
        "mean_positive": {
            era: {"num": len(rows), "old": _mean(before, rows), "new": _mean(after, rows)}
            for era, rows in eras.items()
        },
        "same_prompt_newest_above_oldest": _across_eras(anchors, positives, raw),
    }
    alarms += alarms_of(numbers, link, limits)
    return ScoreDrift(ids, before, after, numbers | {"alarms": alarms}, link, alarms)


def _chain_accuracy(
    anchors: Anchors, name: str, raw: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """Shares of neighbours in chains that are in their known order, by both critics."""
    wins: dict[str, list[tuple[bool, bool]]] = {}
    for chain in anchors.chains.values():
        if chain.score != name:
            continue
        for better, worse in zip(chain.anchors, chain.anchors[1:], strict=False):
            if better in raw and worse in raw:
                pair = tuple(raw[better][i] > raw[worse][i] for i in (0, 1))
                wins.setdefault(chain.kind, []).append(pair)
    everything = [pair for pairs in wins.values() for pair in pairs]
    return {
        **_shares(everything),
        "by_kind": {kind: _shares(pairs) for kind, pairs in sorted(wins.items())},
    }


def _across_eras(
    anchors: Anchors, positives: list[str], raw: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    """Of prompts with a positive in the first and in the last era: how often the last is above.

    Nobody knows that it should be; it says what each critic makes of the new generators.
    """
    first, last = anchors.eras[0], anchors.eras[-1]
    by_prompt: dict[str, dict[str, str]] = {}
    for key in positives:
        point = anchors.points[key]
        by_prompt.setdefault(point.prompt, {})[point.era] = key
    pairs = [
        tuple(raw[found[last]][i] > raw[found[first]][i] for i in (0, 1))
        for found in by_prompt.values()
        if first != last and first in found and last in found
    ]
    return _shares(pairs)


def _shares(pairs: list[Any]) -> dict[str, Any]:
    if not pairs:
        return {"num": 0, "num_old": 0, "num_new": 0, "old": None, "new": None}
    num_old, num_new = (sum(pair[i] for pair in pairs) for i in (0, 1))
    return {
        "num": len(pairs),
        "num_old": int(num_old),
        "num_new": int(num_new),
        "old": round(float(num_old / len(pairs)), 4),
        "new": round(float(num_new / len(pairs)), 4),
    }


def _interval(
    old_raw: np.ndarray, new_raw: np.ndarray, prompts: list[str], limits: Limits
) -> dict[str, Any]:
    """The 95 % interval of SRCC by a bootstrap of whole prompts, or why there is none."""
    why = too_few(len(set(prompts)), limits)
    if why is not None:
        return {"srcc_interval": None, "too_few": why}
    try:
        low, high = bootstrap_interval(srcc, old_raw, new_raw, groups=prompts)
    except ConfigError as error:
        return {"srcc_interval": None, "too_few": str(error)}
    return {"srcc_interval": [round(low, 4), round(high, 4)], "too_few": None}


def _spread(scores: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(scores, [0.1, 0.5, 0.9])
    saturated = np.mean((scores < EDGE) | (scores > 1 - EDGE))
    values = {"std": scores.std(), "p10": low, "median": middle, "p90": high,
              "saturated": saturated}  # fmt: skip
    return {key: round(float(value), 4) for key, value in values.items()}


def _disagreements(anchors: Anchors, scores: dict[str, ScoreDrift]) -> list[dict[str, Any]]:
    by_anchor: dict[str, dict[str, Any]] = {}
    for name, drift in scores.items():
        for key, old, new in zip(drift.ids, drift.old.tolist(), drift.new.tolist(), strict=True):
            entry = by_anchor.setdefault(key, {"largest": 0.0})
            entry[name] = {"old": round(old, 4), "new": round(new, 4)}
            entry["largest"] = max(entry["largest"], abs(new - old))
    ranked = sorted(by_anchor.items(), key=lambda item: (-item[1]["largest"], item[0]))
    return [
        {
            "anchor": key,
            "era": anchors.points[key].era,
            "file": anchors.points[key].file,
            "prompt": anchors.points[key].prompt,
            "what": anchors.what(key),
            "source": anchors.points[key].source,
            **{**entry, "largest": round(entry["largest"], 4)},
        }
        for key, entry in ranked[:_NUM_DISAGREEMENTS]
    ]


def _mean(scores: np.ndarray, rows: list[int]) -> float | None:
    return round(float(scores[rows].mean()), 4) if rows else None


def _or_none(statistic: Any, a: np.ndarray, b: np.ndarray) -> float | None:
    try:
        return round(statistic(a, b), 4)
    except ConfigError:
        return None
