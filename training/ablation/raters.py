"""Trained variants as raters of `training.evaluation`, one in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eliq import Scorer

from ..evaluation import CriticRater
from .heads import RepresentedHead
from .run import Runner
from .variants import Variant

__all__ = ["variant_raters"]


def variant_raters(runner: Runner, variants: Sequence[Variant], seed: int) -> Iterator[CriticRater]:
    """A rater of each variant that has been trained with `seed`; nothing is trained anew.

    A score that a variant does not train is rated too: its column says what an untrained head
    makes of the embeddings.
    """
    for variant in variants:
        if not runner.result_path(variant, seed).is_file():
            continue
        cache, origin = runner.embeddings(variant, seed)
        head = runner.train_head(variant, seed, cache, origin).head
        if variant.representation != "both":
            head = RepresentedHead(head, variant.representation)
        backbone, _ = runner.tuned_backbone(variant, seed)
        yield CriticRater(Scorer(backbone, head), name=variant.name)
