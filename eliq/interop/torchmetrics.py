"""ELIQ as a torchmetrics `Metric`: mean scores of the images that a model made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..errors import ConfigError

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ConfigError("torchmetrics is not installed: pip install torchmetrics") from error

if TYPE_CHECKING:
    from ..scorer import Scorer

__all__ = ["EliqScore"]


class EliqScore(Metric):
    """Mean visual quality and mean alignment over all images, on all processes.

        metric = EliqScore()
        metric.update(images, prompts)   # float [B,3,H,W] in 0..1; B texts, or None
        metric.compute()                 # {"visual_quality": 0.71, "alignment": 0.64}

    An image that has no alignment (no prompt) or that could not be scored takes no part in that
    mean; of no image at all it is NaN. ``num_visual_quality`` and ``num_alignment`` say how many
    took part. Sums are in float64 and summed over processes, so that the result does not depend on
    how images were divided among them.

    Args:
        scorer: what scores; None = ``Scorer.from_pretrained()``, loaded at the first update, onto
            the device that the metric is on then.
        kwargs: those of `torchmetrics.Metric`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    sums: Tensor
    counts: Tensor

    def __init__(self, scorer: Scorer | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Not a module: its weights are no state of the metric, and `.to()` leaves them in place.
        self._scorer = scorer
        self.add_state("sums", torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("counts", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, images: Any, prompts: Sequence[str | None] | str | None = None) -> None:
        """Score ``images``, all that `Scorer.score` takes, and add them.

        Raises:
            EliqError: as `Scorer.score` does.
        """
        if self._scorer is None:
            from ..scorer import Scorer

            self._scorer = Scorer.from_pretrained(device=self.sums.device)
        scores = self._scorer.score(images, prompts)
        both = torch.stack([scores.visual_quality, scores.alignment])
        both = both.to(self.sums.device, torch.float64)
        is_known = ~both.isnan()
        self.sums += both.nan_to_num(0.0).sum(dim=1)
        self.counts += is_known.sum(dim=1)

    def compute(self) -> dict[str, Tensor]:
        """Means, float64 scalars in 0..1, and how many images they are of."""
        means = self.sums / self.counts  # 0/0 is NaN: no image, no mean
        return {
            "visual_quality": means[0],
            "alignment": means[1],
            "num_visual_quality": self.counts[0],
            "num_alignment": self.counts[1],
        }
