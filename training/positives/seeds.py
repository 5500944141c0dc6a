"""The seed of an image: a function of what it is, so that no run, order or shard changes it."""

from __future__ import annotations

import hashlib
import json

__all__ = ["image_seed"]


def image_seed(base_seed: int, model: str, prompt: str, attempt: int = 0) -> int:
    """A seed in 0..2**53-1 (whole in every JSON reader), unrelated between any two images.

    Args:
        base_seed: of the run.
        model: the name of the model; a directory's place on a machine does not count.
        prompt: its text.
        attempt: 0, or which try after an unusable image.
    """
    content = json.dumps([base_seed, model, prompt, attempt]).encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big") >> 11
