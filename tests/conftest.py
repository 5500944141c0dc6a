"""Fixtures that many tests share: a tiny random critic, in memory and on disk."""

from __future__ import annotations

import os
import random
import sys
from importlib import import_module
from pathlib import Path

import pytest

_CLONE = Path(__file__).resolve().parents[1] / "__init__.py"
if getattr(sys.modules.get("eliq"), "__file__", None) == str(_CLONE):
    del sys.modules["eliq"]
import_module("eliq")  # in a clone named eliq, pytest would take the node pack's entry for it

# The tests are offline; a stray look at the hub must fail at once, not try.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture(autouse=True)
def _same_draws():
    """What a test draws without a seed of its own depends on no test before it."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def tiny_checkpoint():
    """A `Checkpoint` with random weights; do not change it."""
    from tests.tiny import tiny_checkpoint

    return tiny_checkpoint()


@pytest.fixture(scope="session")
def tiny_checkpoint_dir(tiny_checkpoint, tmp_path_factory) -> Path:
    """The same on disk; copy it before changing it."""
    from eliq.checkpoint import save_checkpoint

    return save_checkpoint(tmp_path_factory.mktemp("tiny") / "critic", tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_scorer(tiny_checkpoint_dir):
    """A `Scorer` of the tiny critic on the CPU."""
    from eliq import Scorer

    return Scorer.from_pretrained(tiny_checkpoint_dir, device="cpu")
