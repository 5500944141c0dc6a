"""The raters of an evaluation, each loaded when it is its turn: one model in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from eliq import Scorer
from eliq.errors import EliqError, EvaluationError

from .raters import CriticRater, PyiqaRater, Rater, check_pyiqa

__all__ = ["bare_model_of", "load_raters"]

log = logging.getLogger("eliq")


def load_raters(
    checkpoint: str | Path | None,
    *,
    not_run: dict[str, str],
    name: str | None = None,
    zero_shot: str = "auto",
    pyiqa: Sequence[str] = (),
    device: str | None = None,
    dtype: str | None = None,
) -> Iterator[Rater]:
    """The critic, then its bare model asked zero-shot, then metrics of pyiqa by name.

    A rater must be closed before the next is asked for, as `training.evaluate.evaluate` does.

    Args:
        checkpoint: directory or hub id; None = the embedded critic.
        not_run: filled with what could not run, and why.
        name: of the critic in tables.
        zero_shot: "auto" = the model that the critic was tuned from, left out with a reason where
            it is not known or cannot be loaded; "none" = leave it out; else a hub id or directory.
        device, dtype: as of `Scorer.from_pretrained`.

    Raises:
        EliqError: the critic or a named model cannot be loaded, or pyiqa has no such metric; the
            names are checked before anything is loaded.
    """
    for metric in pyiqa:
        check_pyiqa(metric)

    def raters() -> Iterator[Rater]:
        critic = CriticRater(
            Scorer.from_pretrained(checkpoint, device=device, dtype=dtype), name=name
        )
        model = bare_model_of(critic.scorer) if zero_shot == "auto" else zero_shot
        alike = _alike(critic.scorer) if zero_shot == "auto" else {}
        place = str(critic.scorer.backbone.device)
        yield critic
        del critic
        if model is None:
            not_run["zero-shot"] = (
                "this critic's backbone was trained from random weights, or its origin is not "
                "recorded. Name a bare model with --zero-shot to compare with one."
            )
        elif model == "none":
            not_run["zero-shot"] = "left out on request"
        else:
            try:
                bare = CriticRater(Scorer.zero_shot(model, device=device, dtype=dtype, **alike))
            except EliqError as error:
                if zero_shot != "auto":
                    raise EvaluationError(f"zero-shot {model}: {error}") from error
                not_run["zero-shot"] = f"{model}: {error}"
            else:
                yield bare
                del bare
        for what, why in not_run.items():
            log.warning("not run: %s: %s", what, why)
        for metric in pyiqa:
            yield PyiqaRater(metric, device=place)

    return raters()


def bare_model_of(scorer: Scorer) -> str | None:
    """The hub id or directory of the pretrained model that a critic was tuned from.

    None where there is none: a backbone trained from random weights.
    """
    named = scorer.info()["backbone"]["hub_id"] or scorer.training.get("backbone")
    return named if isinstance(named, str) and named not in ("embedded", "tiny") else None


def _alike(scorer: Scorer) -> dict[str, Any]:
    """What the bare model shares with its critic, so that nothing but the training differs: the
    revision, the questions, and how large it sees an image."""
    revision = scorer.info()["backbone"]["revision"] or scorer.training.get("revision")
    backbone = scorer.backbone
    return {
        "revision": revision if isinstance(revision, str) else None,
        "instructions": backbone.instructions,
        "patches": backbone.patches,
    }
