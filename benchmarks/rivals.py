"""No-reference measures of others, run beside ELIQ: BRISQUE and NIQE.

Either may be missing from an environment; it is then named with the command that brings it, so
that a table says "not installed" rather than leave a row out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.niqe import Niqe, find_pristine_model

__all__ = ["Rival", "load_rivals"]


@dataclass(frozen=True)
class Rival:
    """A measure of one image.

    Attributes:
        name: as in a table.
        score: uint8 [H,W,3] -> float, higher is better (the sign is turned where it was not);
            None where it cannot run here.
        note: training data and source, or how to install it.
    """

    name: str
    score: Callable[[np.ndarray], float] | None
    note: str


def load_rivals() -> list[Rival]:
    return [_brisque(), _niqe()]


def _brisque() -> Rival:
    """Mittal, Moorthy, Bovik 2012: an SVM that was trained on human opinions of LIVE."""
    install = "pip install 'brisque[opencv-python-headless]'"
    try:
        from brisque import BRISQUE
    except ImportError as error:
        return Rival("BRISQUE", None, f"not installed ({error.name or 'import fails'}): {install}")

    class Brisque(BRISQUE):
        def calculate_brisque_features(self, *args, **kwargs):
            # brisque 0.2.0 leaves one-element arrays among its numbers, which numpy >= 2.4 no
            # longer turns into floats.
            features = super().calculate_brisque_features(*args, **kwargs)
            return np.array([np.asarray(feature).item() for feature in features], dtype=object)

    model = Brisque(url=False)
    note = "SVM trained on human opinions; PyPI brisque"
    return Rival("BRISQUE", lambda pixels: -float(model.score(pixels)), note)


def _niqe() -> Rival:
    path = find_pristine_model()
    if path is None:
        return Rival("NIQE", None, "not installed: pip install --no-deps basicsr (parameters)")
    model = Niqe(path)
    note = "no human opinions; computed here with the authors' parameters from basicsr"
    return Rival("NIQE", lambda pixels: -model(pixels), note)
