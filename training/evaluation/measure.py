"""What a column of scores is worth on a rated set: every number of the report's tables.

Shapes: K images, scored and rated. All results are plain JSON; a number that is not defined
(constant scores, one generator, no prompt) is None, and `undefined` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from eliq.correlation import bootstrap_interval, krcc, plcc, srcc
from eliq.errors import ConfigError

from .config import EvaluationConfig
from .metrics import (
    group_means,
    partial_srcc,
    plcc_after_logistic,
    tie_calibrated_accuracy,
    within_group_srcc,
)
from .rated import RatedImage
from .splits import grouped_splits

__all__ = ["compare", "measure", "oracles"]

_TIES = {"genai_bench"}  # whose authors report tie-calibrated pairwise accuracy


def measure(
    scores: Sequence[float],
    images: Sequence[RatedImage],
    opinion: str,
    config: EvaluationConfig,
    *,
    set_name: str = "",
) -> dict[str, Any]:
    """Agreement of scores [K] with the images' `opinion` ("quality" or "alignment").

    Intervals come from a bootstrap of whole groups (prompts).
    """
    x = np.asarray(scores, dtype=np.float64)
    y = np.asarray([getattr(image, opinion) for image in images], dtype=np.float64)
    groups = [image.group_key for image in images]
    generators = [image.generator for image in images]
    undefined: dict[str, str] = {}

    def value(name: str, compute: Callable[[], Any]) -> Any:
        try:
            return compute()
        except ConfigError as error:
            undefined[name] = str(error)
            return None

    def interval(name: str, statistic: Callable[..., float], *samples: Any) -> list[float] | None:
        found = value(
            name,
            lambda: bootstrap_interval(
                statistic,
                *samples,
                groups=groups,
                num_resamples=config.num_resamples,
                confidence=config.confidence,
                seed=config.seed,
            ),
        )
        return None if found is None else list(found)

    within = value("within_generator_srcc", lambda: within_group_srcc(x, y, generators))
    out: dict[str, Any] = {
        "num_images": len(x),
        "num_groups": len(set(groups)),
        "srcc": value("srcc", lambda: srcc(x, y)),
        "srcc_interval": interval("srcc_interval", srcc, x, y),
        "plcc": value("plcc", lambda: plcc(x, y)),
        "plcc_interval": interval("plcc_interval", plcc, x, y),
        "plcc_logistic": value("plcc_logistic", lambda: plcc_after_logistic(x, y)),
        "krcc": value("krcc", lambda: krcc(x, y)),
        "within_generator_srcc": None if within is None else within.value,
        "srcc_by_generator": None if within is None else within.by_group,
    }
    if set_name in _TIES:
        out["pairwise_accuracy"] = value("pairwise", lambda: tie_calibrated_accuracy(x, y))
    if opinion == "alignment" and all(image.quality is not None for image in images):
        quality = np.asarray([image.quality for image in images], dtype=np.float64)
        out["partial_srcc"] = value("partial_srcc", lambda: partial_srcc(x, y, quality))
        out["partial_srcc_interval"] = interval(
            "partial_srcc_interval", partial_srcc, x, y, quality
        )
    out["splits"] = value("splits", lambda: _over_splits(x, y, groups, config))
    out["undefined"] = undefined
    return out


def _over_splits(
    x: np.ndarray, y: np.ndarray, groups: Sequence[str], config: EvaluationConfig
) -> dict[str, Any] | None:
    """Mean and standard deviation of SRCC and PLCC over prompt-grouped test parts."""
    if not config.num_splits:
        return None
    found: dict[str, list[float]] = {"srcc": [], "plcc": []}
    for test in grouped_splits(
        groups, num_splits=config.num_splits, share=config.test_share, seed=config.seed
    ):
        found["srcc"].append(srcc(x[test], y[test]))
        found["plcc"].append(plcc(x[test], y[test]))
    return {
        "num_splits": config.num_splits,
        "test_share": config.test_share,
        **{f"{name}_mean": float(np.mean(values)) for name, values in found.items()},
        **{f"{name}_std": float(np.std(values)) for name, values in found.items()},
    }


def oracles(images: Sequence[RatedImage], opinion: str) -> dict[str, float]:
    """SRCC that needs no image: what a score must beat before it says anything.

    generator_mean: each image is given the mean opinion of its generator, known from the answers.
    quality: the opinions on quality are taken for those on alignment.
    """
    y = [getattr(image, opinion) for image in images]
    answers = {}
    generators = [image.generator for image in images]
    if len(set(generators)) > 1 and None not in generators:
        answers["generator_mean"] = group_means(y, generators)
    if opinion == "alignment" and images and all(image.quality is not None for image in images):
        answers["quality"] = [image.quality for image in images]
    out = {}
    for name, guess in answers.items():
        try:
            out[name] = srcc(guess, y)
        except ConfigError:
            continue  # all rated alike: there is no order to find
    return out


def compare(
    first: Sequence[float],
    second: Sequence[float],
    images: Sequence[RatedImage],
    opinion: str,
    config: EvaluationConfig,
) -> dict[str, Any] | None:
    """SRCC of the first minus that of the second on the same images, with a paired interval.

    None where either is not defined.
    """
    y = np.asarray([getattr(image, opinion) for image in images], dtype=np.float64)

    def difference(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return srcc(a, c) - srcc(b, c)

    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    try:
        low, high = bootstrap_interval(
            difference,
            a,
            b,
            y,
            groups=[image.group_key for image in images],
            num_resamples=config.num_resamples,
            confidence=config.confidence,
            seed=config.seed,
        )
        return {"srcc_difference": difference(a, b, y), "interval": [low, high]}
    except ConfigError:
        return None
