"""Calibration without labels: raw scores of held-out constructed pairs to 0..1.

0.5 is the raw score at which a positive and a constructed negative are equally likely. The pairs
are those of source images that neither stage trained on; stage 2 stopped by them, which chooses
between a few heads and moves two parameters of a logistic curve very little.
"""

from __future__ import annotations

from typing import Any

import torch

from eliq.calibration import Calibration, fit_calibration
from eliq.head import ScoringHead

from .embedding_cache import EmbeddingCache
from .head_scores import score_cache

__all__ = ["calibrate"]


def calibrate(
    head: ScoringHead, held_out: EmbeddingCache, *, device: str | torch.device = "cpu"
) -> tuple[dict[str, Calibration], dict[str, Any]]:
    """Both calibrations, and facts about them for the model card.

    visual_quality: s_vis of I+ against s_vis of I-tec and I-aes, each with its own prompt.
    alignment: s_ali(I+, p) against s_ali(I+, p-ali).

    Raises:
        ConfigError: the held-out positives do not score above the negatives.
    """
    scores = score_cache(head, held_out, device=device)
    visual, alignment = scores["tuple_visual"][:, :, 0], scores["tuple_alignment"][:, 0]
    pairs = {
        "visual_quality": (visual[:, 0], visual[:, 1:].flatten()),
        "alignment": (alignment[:, 0], alignment[:, 1]),
    }
    calibration, facts = {}, {}
    for name, (positive, negative) in pairs.items():
        curve = fit_calibration(positive, negative)
        calibration[name] = curve
        right = [(curve(positive) > 0.5).float().mean(), (curve(negative) < 0.5).float().mean()]
        facts[name] = {
            "num_positives": len(positive),
            "num_negatives": len(negative),
            "balanced_accuracy_at_half": round(float(sum(right)) / 2, 4),
            "mean_positive": round(float(curve(positive).mean()), 4),
            "mean_negative": round(float(curve(negative).mean()), 4),
        }
    return calibration, facts
