"""What ``eliq info`` says of an IP-IQA model, from its configuration and headers alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["ip_iqa_facts", "ip_iqa_lines"]

_MAX_HEADER_BYTES = 16 << 20
_PARTS = {"visual": "visual tower", "text": "text tower", "cross": "fusion", "head": "head"}


def ip_iqa_facts(checkpoint: str) -> dict[str, Any]:
    """Plain JSON: where it lies, what it is made of, how it was trained.

    Raises:
        CheckpointError: there is no such checkpoint, or it is refused.
    """
    from ..checkpoint.safetensors_checks import read_header
    from ..ip_iqa.checkpoint import fingerprint, locate_stored, read_stored_config

    directory = locate_stored(checkpoint)
    config = read_stored_config(directory)
    digest = fingerprint(directory)  # also refuses files that reach outside the directory
    paths = [directory / name for name in config.weight_files]
    num_parameters = dict.fromkeys(_PARTS, 0)
    for path in paths:
        for name, entry in read_header(path, max_header_bytes=_MAX_HEADER_BYTES).items():
            part = name.split(".")[0]
            num_parameters[part] = num_parameters.get(part, 0) + math.prod(entry.shape)
    facts = config.to_json()
    training = facts.pop("training")
    return {
        "checkpoint": str(directory),
        "is_embedded": False,
        "fingerprint": digest,
        "size_bytes": sum(path.stat().st_size for path in paths),
        "num_parameters": {part: count for part, count in num_parameters.items() if count},
        **facts,
        "training": training,
    }


def ip_iqa_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a reader wants to know of the model, one line each."""
    model = facts["model"]
    visual, text = model["visual"], model["text"]
    yield "system", "ip-iqa: predicts the opinion of raters"
    counts = facts["num_parameters"]
    sizes = ", ".join(f"{_PARTS.get(n, n)} {count / 1e6:.2f}M" for n, count in counts.items())
    yield "parameters", f"{sizes} ({facts['size_bytes'] / 1e6:.1f} MB)"
    tower = {"resnet": "CLIP's ResNet", "vit": "CLIP's ViT"}[visual["kind"]]
    size = model["image_size_px"]
    yield "image", f"{tower}, squashed to {size} x {size} px"
    reads = {"image": "not read", "prompt": "read alone, without the image"}
    room = text["context_length"] - 2 - model["qa_token"]
    yield "prompt", reads.get(model["streams"], f"at most {room} tokens")
    yield "fusion", "the prompt asks the image" if model["fusion"] else "none"
    yield "[QA] token", "yes" if model["qa_token"] else "no"
    for name in model["outputs"]:
        low, high = facts["scale"][name]["low"], facts["scale"][name]["high"]
        yield f"predicts {name.replace('_', ' ')}", f"ratings from {low:g} to {high:g}"
