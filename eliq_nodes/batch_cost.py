"""What a batch of images takes in memory, for either system. Nothing of ComfyUI.

An image is counted in cells: tokens of a critic's language model, or cells of the map of an IP-IQA
model, which squashes every image to one square.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from torch import nn

from .critic_memory import bytes_of_tokens, keep_answer_rows, num_tokens

__all__ = ["BatchCost", "CriticCost", "SquareCost", "cost_of"]

_SLACK = 1.5  # over the tensors counted below: kernels' workspaces, fragmentation
_FLOAT_BYTES = 4


class BatchCost(Protocol):
    """Cells of images, and bytes and pixels of cells."""

    weights: dict[str, nn.Module]

    @property
    def cell_px(self) -> int:
        """Pixels of an image, after resizing, that make a cell."""
        ...

    def num_cells(self, sizes: Iterable[tuple[int, int]]) -> int:
        """Of the largest image among those of ``sizes`` (height, width), at least one."""
        ...

    def bytes_of(self, cells: int) -> int:
        """Memory beside the weights that a batch of so many cells takes at most."""
        ...

    def probe(self) -> None:
        """Prove that the model answers on its device as it should; raises BackboneError."""
        ...


class CriticCost:
    """Of a critic. Its language-model head is cut down to the rows that are read."""

    def __init__(self, scorer: Any) -> None:
        keep_answer_rows(scorer.backbone)
        self._backbone = scorer.backbone
        heads = {} if scorer.head is None else {"head": scorer.head}
        self.weights: dict[str, nn.Module] = {"backbone": scorer.backbone, **heads}

    @property
    def cell_px(self) -> int:
        return self._backbone.patches.factor_px**2

    def num_cells(self, sizes: Iterable[tuple[int, int]]) -> int:
        return num_tokens(self._backbone, sizes)

    def bytes_of(self, cells: int) -> int:
        return bytes_of_tokens(self._backbone, cells)

    def probe(self) -> None:
        self._backbone.probe()


class SquareCost:
    """Of an IP-IQA model: all images are of one size, and the weights float32."""

    def __init__(self, scorer: Any) -> None:
        self._config = scorer.model.config
        self.weights: dict[str, nn.Module] = {"model": scorer.model}

    @property
    def cell_px(self) -> int:
        return self._config.visual.stride_px**2

    def num_cells(self, sizes: Iterable[tuple[int, int]]) -> int:
        return self._config.grid**2

    def bytes_of(self, cells: int) -> int:
        """Counted where the tower is widest: the first maps of a ResNet, a layer of a ViT."""
        visual = self._config.visual
        if hasattr(visual, "hidden_size"):
            of_cell = 8 * visual.hidden_size + 3 * visual.mlp_dim
        else:
            of_cell = visual.width * self.cell_px
        of_fusion = 2 * visual.map_dim + 2 * self._config.inner_dim
        return int(_SLACK * cells * _FLOAT_BYTES * (of_cell + of_fusion + 3 * self.cell_px))

    def probe(self) -> None:
        pass  # nothing is packed: there is one way to run it


def cost_of(scorer: Any) -> BatchCost:
    """The cost of a `eliq.Scorer` or of an `eliq.ip_iqa.IPIQA`."""
    return CriticCost(scorer) if hasattr(scorer, "backbone") else SquareCost(scorer)
