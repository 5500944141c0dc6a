"""A critic in memory: the parts that a checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..backbone import Backbone
from ..calibration import Calibration
from ..head import ScoringHead
from .tensors import Adapter

__all__ = ["Checkpoint", "HubWeights"]


@dataclass(frozen=True)
class HubWeights:
    """A backbone that stays on the hub: id, commit (40 hex digits), and the adapter on top."""

    id: str
    revision: str
    adapter: Adapter | None = None


@dataclass(frozen=True)
class Checkpoint:
    """A critic in memory.

    Attributes:
        backbone: with its tokenizer, questions, preprocessing; an adapter is already merged.
        head: float32.
        calibration: "visual_quality" and "alignment": raw -> 0..1.
        mos_calibration: the same on opinion scores, or empty.
        training: free-form facts for the card, plain JSON.
        hub: where the backbone's weights stay when they are not to be saved; None = inside.
        directory: where it was loaded from; None = nowhere yet.
    """

    backbone: Backbone
    head: ScoringHead
    calibration: dict[str, Calibration] = field(
        default_factory=lambda: {"visual_quality": Calibration(), "alignment": Calibration()}
    )
    mos_calibration: dict[str, Calibration] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    hub: HubWeights | None = None
    directory: Path | None = None
