"""Whose opinion the gate asks: a critic, a bare model, a metric of pyiqa, by name.

An opinion is one number for each image and aspect, higher is better; None where the opinion has
none. Asked of a critic or a zero-shot model it is the margin logit(high) - logit(low) of the
aspect's own question, not the score of the head: the question of Eq. 5 is what a negative is to
be low in.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from eliq import Scorer
from eliq.errors import ConfigError, EvaluationError

from ..evaluation.raters import PyiqaRater
from ..fingerprints import module_sha256

__all__ = ["CriticOpinion", "Opinion", "PyiqaOpinion", "load_opinion"]

ASPECTS = ("technical", "aesthetic", "alignment")


class Opinion(Protocol):
    """`fingerprint` names all that the numbers depend on besides image and prompt."""

    fingerprint: str

    def ask(self, paths: Sequence[str], prompts: Sequence[str]) -> list[dict[str, float | None]]:
        """For each image a number an aspect of ASPECTS."""
        ...


class CriticOpinion:
    """The backbone of a `Scorer`, trained or zero-shot."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer
        known = scorer.fingerprint or module_sha256(scorer.backbone)
        self.fingerprint = f"critic:{known}:{scorer.info()['dtype']}"

    def ask(self, paths: Sequence[str], prompts: Sequence[str]) -> list[dict[str, float | None]]:
        rows = self.scorer.score(list(paths), list(prompts)).to_rows()
        return [{name: _logit(row["aspects"][name]) for name in ASPECTS} for row in rows]


class PyiqaOpinion:
    """A metric of pyiqa: one number for technical and aesthetic, or, of clipscore, for alignment.

    Raises:
        EvaluationError: as `PyiqaRater`.
    """

    def __init__(self, name: str, *, device: str) -> None:
        self.rater = PyiqaRater(name, device=device)
        facts = json.dumps(self.rater.facts, sort_keys=True)
        self.fingerprint = f"pyiqa:{hashlib.sha256(facts.encode()).hexdigest()}"

    def ask(self, paths: Sequence[str], prompts: Sequence[str]) -> list[dict[str, float | None]]:
        is_alignment = self.rater.takes_caption
        rows: list[dict[str, Any]] = [
            row for part in self.rater.score(list(paths), list(prompts)) for row in part
        ]
        return [
            {name: row["value"] if (name == "alignment") == is_alignment else None
             for name in ASPECTS}
            for row in rows
        ]  # fmt: skip


def load_opinion(name: str, *, device: str | torch.device | None = None) -> Opinion | None:
    """The opinion called "none" (None), "embedded", "zero-shot:ID", "pyiqa:METRIC", or by the
    directory or hub id of a critic.

    Raises:
        ConfigError: pyiqa has no such metric or is not installed.
        CheckpointError, BackboneError: nothing to load under that name.
    """
    if name == "none":
        return None
    if name.startswith("pyiqa:"):
        device = str(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        try:
            return PyiqaOpinion(name.removeprefix("pyiqa:"), device=device)
        except EvaluationError as error:
            raise ConfigError(f"gate.scorer: {error}") from error
    if name.startswith("zero-shot:"):
        return CriticOpinion(Scorer.zero_shot(name.removeprefix("zero-shot:"), device=device))
    source = None if name == "embedded" else name
    return CriticOpinion(Scorer.from_pretrained(source, device=device))


def _logit(probability: float | None) -> float | None:
    """The margin again from P(high), as far as float32 tells probabilities near 1 apart (16)."""
    if probability is None or math.isnan(probability):
        return None
    p = min(max(probability, 1e-30), 1.0 - 2.0**-25)
    return math.log(p) - math.log1p(-p)
