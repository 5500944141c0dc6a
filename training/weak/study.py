"""What a few opinions buy: the same critic without labels and with a regressor, on the same rows.

A share of the prompts is labelled, the regressor is fitted on their images, and both are compared
with opinions on all other prompts; repeated over several draws, since one draw is luck. The paper
labels 20 % of generated images and 30 % of photographs, and does not say by prompt; here no prompt
is on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from eliq.calibration import Calibration, fit_calibration
from eliq.correlation import krcc, plcc, srcc
from eliq.errors import ConfigError, EvaluationError

from ..evaluation.rated import OPINIONS, RatedSet
from ..evaluation.splits import grouped_splits
from .features import Features
from .ridge import Ridge, fit_ridge

__all__ = ["DEFAULT_SHARES", "PHOTOGRAPH_SHARE", "WeakStudy", "scale_to_opinions", "study"]

#: Labelled share by benchmark (section 4.1); 0.2 for any other.
PHOTOGRAPH_SHARE = 0.3
DEFAULT_SHARES = {"koniq_10k": PHOTOGRAPH_SHARE, "spaq": PHOTOGRAPH_SHARE}
_METRICS: dict[str, Callable[..., float]] = {"srcc": srcc, "plcc": plcc, "krcc": krcc}


@dataclass(frozen=True)
class WeakStudy:
    """One opinion of one benchmark.

    Attributes:
        opinion: "quality" or "alignment".
        label_free, weak: {"srcc": {"mean", "std", "values"}, "plcc": ..., "krcc": ...} over the
            unlabelled rows of each draw.
        num_labelled, num_tested: rows of the first draw.
        num_failed: rated images that the critic could not score, left out.
        regressor: of the first draw.
        scale: opinion range of the labelled rows of the first draw, and raw scores to 0..1.
    """

    opinion: str
    share: float
    label_free: dict[str, Any]
    weak: dict[str, Any]
    num_labelled: int
    num_tested: int
    num_failed: int
    regressor: Ridge
    scale: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        return {
            **{k: v for k, v in vars(self).items() if k not in ("regressor", "scale")},
            "penalty": self.regressor.penalty,
            "opinion_range": self.scale["range"],
        }


def study(
    features: Features,
    rated: RatedSet,
    opinion: str,
    *,
    share: float = 0.2,
    num_splits: int = 10,
    seed: int = 0,
) -> WeakStudy:
    """Fits and tests on `num_splits` draws of labelled prompts.

    `features` are of the rows of `rated`, in order.

    Raises:
        EvaluationError: fewer than 10 images with this opinion.
        ConfigError: a share outside 0..1, no draw, fewer than two prompts, constant opinions.
    """
    for name, value, least in (("splits", num_splits, 1), ("seed", seed, 0)):
        if value < least:
            raise ConfigError(f"{name}: expected {least} or more, found {value}")
    column = list(OPINIONS).index(opinion)
    opinions = [getattr(row, opinion) for row in rated.rows]
    has_opinion = np.asarray([value is not None for value in opinions])
    if opinion == "alignment":  # without a prompt the token stands for nothing
        has_opinion &= np.asarray([bool(row.prompt) for row in rated.rows])
    ok = features.is_scored.numpy() & has_opinion
    if ok.sum() < 10:
        raise EvaluationError(
            f"{rated.name}: expected 10 scored images or more with an opinion on {opinion}, found "
            f"{int(ok.sum())}"
        )
    rows = np.flatnonzero(ok)
    y = np.asarray([opinions[i] for i in rows], dtype=np.float64)
    tokens = features.visual if opinion == "quality" else features.alignment
    x = tokens.double().numpy()[rows]
    raw = features.raw.double().numpy()[rows, column]
    groups = [rated.rows[i].group_key for i in rows]
    draws = grouped_splits(groups, num_splits=num_splits, share=share, seed=seed)
    found: dict[str, dict[str, list[float]]] = {
        kind: {name: [] for name in _METRICS} for kind in ("label_free", "weak")
    }
    first: Ridge | None = None
    for labelled in draws:
        inside = [group for group, yes in zip(groups, labelled, strict=True) if yes]
        regressor = fit_ridge(x[labelled], y[labelled], groups=inside, seed=seed)
        first = first or regressor
        given = {"label_free": raw[~labelled], "weak": regressor(x[~labelled])}
        for kind, scores in given.items():
            for name, metric in _METRICS.items():
                found[kind][name].append(metric(scores, y[~labelled]))
    labelled = draws[0]
    return WeakStudy(
        opinion,
        share,
        *(
            {name: _summary(values) for name, values in found[kind].items()}
            for kind in ("label_free", "weak")
        ),
        int(labelled.sum()),
        int((~labelled).sum()),
        int((has_opinion & ~features.is_scored.numpy()).sum()),
        first,
        {
            "range": [float(y[labelled].min()), float(y[labelled].max())],
            "weak": scale_to_opinions(first(x[labelled]), y[labelled]),
            "label_free": _or_none(raw[labelled], y[labelled]),
        },
    )


def scale_to_opinions(scores: np.ndarray, opinions: np.ndarray) -> Calibration:
    """A logistic curve from scores [N] to opinions [N] brought to 0..1 by their range.

    The order of images does not change by it (section 3.3.6 of the paper scales after the fact
    too). 0.5 is where an image is as much above as below what the labelled ones were given.

    Raises:
        ConfigError: constant lists, or scores that fall as opinions rise.
    """
    share = (opinions - opinions.min()) / max(float(np.ptp(opinions)), 1e-12)
    return fit_calibration(scores, scores, positive_weights=share, negative_weights=1.0 - share)


def _or_none(scores: np.ndarray, opinions: np.ndarray) -> Calibration | None:
    try:
        return scale_to_opinions(scores, opinions)
    except ConfigError:
        return None  # a label-free critic may run against opinion; that is a finding, no failure


def _summary(values: list[float]) -> dict[str, Any]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "std": round(float(np.std(values)), 4),
        "values": [round(float(value), 4) for value in values],
    }
