"""ELIQ as metrics of pyiqa: ``eliq`` (visual quality) and ``eliq-alignment``.

pyiqa makes a metric in two steps. The name is looked up in a table, ``DEFAULT_CONFIGS``, which has
no entry points: `register` writes into it. The network that the table names is looked up in a
registry which, from pyiqa 0.1.16 on, does load entry points, of the group ``pyiqa.archs``: this
package has one, so that the network is found without an import, and `register` with it. So
``pyiqa.create_metric("eliq")`` works after

    import eliq.interop.pyiqa
    eliq.interop.pyiqa.register()

and without it only after pyiqa has made some other metric, which loads the entry points.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..scorer import Scorer

__all__ = ["Eliq", "register"]

_METRICS = {"eliq": "visual_quality", "eliq-alignment": "alignment"}
_NETWORK = "Eliq"  # the name of the class, by which every pyiqa registers


class Eliq(nn.Module):
    """One score of ELIQ in pyiqa's form: ``forward(images, prompts) -> [B]``.

    Args:
        score: "visual_quality" or "alignment".
        checkpoint: as for `Scorer.from_pretrained`; None = the embedded critic.
        scorer: one that is loaded already, instead.

    Raises:
        ConfigError: another score.
    """

    def __init__(
        self,
        score: str = "visual_quality",
        checkpoint: str | None = None,
        scorer: Scorer | None = None,
    ) -> None:
        super().__init__()
        if score not in _METRICS.values():
            raise ConfigError(
                f"score: expected one of {', '.join(_METRICS.values())}, found {score!r}"
            )
        self._score, self._checkpoint = score, checkpoint
        # In a tuple: the scorer is no part of this module, and pyiqa's `.to()` leaves it alone.
        self._held = () if scorer is None else (scorer,)

    def forward(self, images: Tensor, caption_list: Sequence[str | None] | None = None) -> Tensor:
        """Scores, float32 [B] in 0..1, higher is better.

        Args:
            images: float [B,C,H,W] in 0..1, C = 3 or 1 (grey).
            caption_list: prompts, under the name that pyiqa's own CLIPScore has for them.

        Raises:
            EliqError: as `Scorer.score` does; alignment without prompts.
        """
        if self._score == "alignment" and caption_list is None:
            raise ConfigError("eliq-alignment: expected caption_list, one prompt an image")
        if not self._held:
            from ..scorer import Scorer

            self._held = (Scorer.from_pretrained(self._checkpoint, device=images.device),)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        with torch.no_grad():
            # pyiqa lets values pass that stick out by a rounding error.
            scores = self._held[0].score(images.clamp(0.0, 1.0), caption_list)
        return getattr(scores, self._score)


def register() -> None:
    """Make ``pyiqa.create_metric("eliq")`` and ``("eliq-alignment")`` work; again does no harm.

    Raises:
        ConfigError: pyiqa is not installed, or cannot be imported.
    """
    try:
        from pyiqa.default_model_configs import DEFAULT_CONFIGS
        from pyiqa.utils.registry import ARCH_REGISTRY
    except ImportError as error:
        raise ConfigError(f"pyiqa cannot be imported ({error}): pip install pyiqa") from error
    if _NETWORK not in ARCH_REGISTRY:  # to ask may load the entry point, which registers
        ARCH_REGISTRY.register(Eliq)
    for name, score in _METRICS.items():
        DEFAULT_CONFIGS[name] = {
            "metric_opts": {"type": _NETWORK, "score": score},
            "metric_mode": "NR",
            "score_range": "0, 1",
        }
