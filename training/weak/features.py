"""Encoded query tokens of rated images by a frozen critic, kept on disk.

    CACHE/fingerprint.json   which critic and which images
    CACHE/00000.safetensors  256 images a file: visual [n,d], alignment [n,d], raw [n,2], ok [n]

The critic is frozen, so each image passes through it once, however many splits are tried after.
A run that is killed goes on at the file that it was at.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from eliq.errors import TrainingError
from eliq.images import load_image
from eliq.patches import target_size
from eliq.prompts import clean_prompt
from eliq.scorer import Scorer
from eliq.scorer.batches import BatchItem, plan_batches, run_bisecting

from ..journal import write_atomically
from ..run_state import first_difference
from ..stop_request import StopRequest
from ..tensor_files import read_tensors, replace_tensors

__all__ = ["Features", "read_features"]

log = logging.getLogger("eliq")
_PER_FILE = 256
_DECODED = 32  # images in memory at once: photographs of 12 Mpx are 36 MB each


class Rated(Protocol):
    """What is needed of an image: its name, its file, its prompt or None."""

    id: str
    path: Path
    prompt: str | None


@dataclass(frozen=True)
class Features:
    """K images in the order given, float32 on the CPU; rows of failed images are NaN.

    Attributes:
        visual, alignment: [K,d], what the two scores are read from (`ScoringHead.encode`).
        raw: [K,2], the label-free raw scores, visual quality and alignment.
        is_scored: bool [K].
    """

    visual: Tensor
    alignment: Tensor
    raw: Tensor
    is_scored: Tensor


def read_features(
    scorer: Scorer,
    images: Sequence[Rated],
    cache_dir: str | Path,
    *,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> Features | None:
    """The tokens of all images, from the cache where they lie; None where `stop` came first.

    Raises:
        TrainingError: a zero-shot scorer, or a cache of another critic or of other images.
    """
    if scorer.head is None or scorer.fingerprint is None:
        raise TrainingError("weak supervision needs a checkpoint with a trained head")
    cache_dir = Path(cache_dir)
    _claim(cache_dir, scorer, images)
    parts = []
    with tqdm(total=len(images), desc="tokens", disable=None if progress else True) as bar:
        for start in range(0, len(images), _PER_FILE):
            some = images[start : start + _PER_FILE]
            path = cache_dir / f"{start // _PER_FILE:05d}.safetensors"
            if not path.is_file():
                made = []
                for first in range(0, len(some), _DECODED):
                    made.append(_encode(scorer, some[first : first + _DECODED], stop))
                    if made[-1] is None:
                        return None
                replace_tensors(path, _joined(made))
            parts.append(read_tensors(path))
            bar.update(len(some))
    whole = _joined(parts)
    found = Features(whole["visual"], whole["alignment"], whole["raw"], whole["ok"].bool())
    failed = [
        image.id for image, ok in zip(images, found.is_scored.tolist(), strict=True) if not ok
    ]
    if failed:
        log.warning("%d images could not be scored, first %s", len(failed), failed[0])
    return found


def _joined(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {key: torch.cat([part[key] for part in parts]) for key in parts[0]}


@torch.inference_mode()
def _encode(
    scorer: Scorer, images: Sequence[Rated], stop: StopRequest | None
) -> dict[str, Tensor] | None:
    loaded = [load_image(image.path) for image in images]
    prompts = [clean_prompt(image.prompt).text for image in images]
    backbone, head = scorer.backbone, scorer.head
    items = []
    for i, image in enumerate(loaded):
        if image.stored is not None:
            size = target_size(*image.stored.shape[1:], backbone.patches)
            items.append(BatchItem(i, *size, min(len(prompts[i]), backbone.max_prompt_tokens)))
    width = head.config.model_dim
    out = {
        "visual": torch.full((len(images), width), torch.nan),
        "alignment": torch.full((len(images), width), torch.nan),
        "raw": torch.full((len(images), 2), torch.nan),
    }

    def run(part: list[BatchItem]) -> tuple[Tensor, ...]:
        rows = [item.position for item in part]
        z = backbone.embed([loaded[r].stored for r in rows], [prompts[r] for r in rows])
        z = (z.technical, z.aesthetic, z.alignment)
        return (*head.encode(*z), torch.stack(head(*z), dim=1))

    max_tokens = max(scorer.max_batch_px // backbone.patches.factor_px**2, 1)
    for batch in plan_batches(
        items, max_batch_px=scorer.max_batch_px, max_batch_prompt_tokens=max_tokens
    ):
        if stop is not None and stop.requested:
            return None
        for part, result in run_bisecting(batch, run)[0]:
            rows = [item.position for item in part]
            for key, value in zip(out, result, strict=True):
                out[key][rows] = value.float().cpu()
    ok = torch.stack([value.isfinite().all(dim=1) for value in out.values()]).all(dim=0)
    return {**out, "ok": ok.to(torch.uint8)}


def _claim(cache_dir: Path, scorer: Scorer, images: Sequence[Rated]) -> None:
    rows = [[image.id, image.prompt, image.path.stat().st_size] for image in images]
    ours: dict[str, Any] = {
        "critic": scorer.fingerprint,
        "dtype": str(scorer.backbone.dtype),
        "images_sha256": hashlib.sha256(json.dumps(rows).encode()).hexdigest(),
        "num_images": len(images),
    }
    path = cache_dir / "fingerprint.json"
    if path.is_file():
        differing = first_difference(json.loads(path.read_text(encoding="utf-8")), ours)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"{cache_dir} holds tokens of another {field} ({was}, now {now}): choose another "
                "directory or delete it"
            )
        return
    write_atomically(path, json.dumps(ours, indent=2).encode())
