"""What a critic is worth against human opinions: readers, metrics, controls, baselines, report."""

from __future__ import annotations

from .config import EvaluationConfig
from .loading import load_raters
from .measure import measure, oracles
from .rated import RatedImage, RatedSet
from .raters import CriticRater, PyiqaRater, Rater
from .readers import READERS
from .report import write_report
from .run import ScoredSet, measure_set, score_set, select
from .score_cache import Interrupted, scored
from .splits import grouped_split, grouped_splits

__all__ = [
    "READERS",
    "CriticRater",
    "EvaluationConfig",
    "Interrupted",
    "PyiqaRater",
    "RatedImage",
    "RatedSet",
    "Rater",
    "ScoredSet",
    "grouped_split",
    "grouped_splits",
    "load_raters",
    "measure",
    "measure_set",
    "oracles",
    "score_set",
    "scored",
    "select",
    "write_report",
]
