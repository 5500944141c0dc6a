"""From one picture and its prompt to the parts of a tuple or of a ladder, in memory.

Nothing here touches a disk: the builder writes what comes out, and a training loop may use it as it
is. Shapes: an image is uint8 [H,W,3] RGB.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from .config import SupervisionConfig
from .distortions import distort, distortion_names, ladder
from .prompt_swaps import hard_swaps, shuffled_prompt

__all__ = [
    "DamagedImage",
    "Ladder",
    "MIN_DIFFERENCE",
    "VisualNegatives",
    "difference",
    "make_ladder",
    "make_visual_negatives",
    "negative_prompt",
]

#: Root mean square in 8-bit levels below which a negative does not differ from its positive.
MIN_DIFFERENCE = 1.0
_MAX_DRAWS = 12


@dataclass(frozen=True)
class DamagedImage:
    """A negative and what was done to it; no severity where a generated kind knows none."""

    image: np.ndarray
    distortion: str
    severity: float | None
    parameters: dict


@dataclass(frozen=True)
class VisualNegatives:
    """I-tec and I-aes (Eq. 4) of one family."""

    family: str
    technical: DamagedImage
    aesthetic: DamagedImage


@dataclass(frozen=True)
class Ladder:
    """One distortion at rising severities, all else equal."""

    distortion: str
    steps: tuple[DamagedImage, ...]


def make_visual_negatives(
    image: np.ndarray,
    rng: np.random.Generator,
    config: SupervisionConfig,
    *,
    given: Callable[[str, str], DamagedImage | None] | None = None,
) -> VisualNegatives | None:
    """The technical and the aesthetic negative of a positive, both of one family.

    A distortion that does nothing to this picture (saturation of a grey one) is drawn again.

    Args:
        given: asked with family and aspect for a generated negative before one is drawn.

    Returns:
        None where nothing that was drawn changes the picture.

    Raises:
        SupervisionError: no uint8 [H,W,3] with sides of 32 px or more.
    """
    family = "ai_specific" if rng.random() < config.ai_specific_share else "conventional"
    negatives = {}
    for aspect in ("technical", "aesthetic"):
        found = given(family, aspect) if given else None
        if found is not None:
            negatives[aspect] = found
            continue
        names = distortion_names(aspect=aspect, family=family, held_out=config.held_out)
        for _ in range(_MAX_DRAWS):
            name = names[int(rng.integers(len(names)))]
            severity = config.severities[int(rng.integers(len(config.severities)))]
            damaged, parameters = distort(image, name, severity, int(rng.integers(2**63)))
            if difference(image, damaged) >= MIN_DIFFERENCE:
                negatives[aspect] = DamagedImage(damaged, name, severity, parameters)
                break
        else:
            return None
    return VisualNegatives(family, **negatives)


def make_ladder(
    image: np.ndarray, rng: np.random.Generator, config: SupervisionConfig
) -> Ladder | None:
    """A severity ladder of a random distortion; None where nothing drawn changes the picture."""
    names = distortion_names(held_out=config.held_out)
    for _ in range(_MAX_DRAWS):
        name = names[int(rng.integers(len(names)))]
        steps = ladder(image, name, config.severities, int(rng.integers(2**63)))
        images = [image, *(step[0] for step in steps)]
        # Each step must differ from the one before: two equal steps have no order to learn.
        moves = [difference(a, b) for a, b in zip(images, images[1:], strict=False)]
        if min(moves) > 0 and difference(image, images[-1]) >= MIN_DIFFERENCE:
            return Ladder(name, tuple(DamagedImage(o, name, s, p) for o, s, p in steps))
    return None


def negative_prompt(
    prompt: str,
    prompts: Sequence[str],
    rng: np.random.Generator,
    config: SupervisionConfig,
    *,
    prefer: Collection[str] = (),
    variants: Sequence[str] = (),
) -> tuple[str, str] | None:
    """p-ali of Eq. 1 and its kind: a hard swap, the prompt of another picture, or a variant.

    Args:
        prompts: the prompts of the set, for shuffles.
        prefer: words that true prompts use; see `hard_swaps`.
        variants: prompts of generated variants of this picture; see `SupervisionConfig`.

    Returns:
        (prompt, kind), or None where no swap applies and every prompt of the set is this one.
    """
    # Drawn only where there are variants: the rows of a set without them stay as they were.
    if variants and rng.random() < config.variant_share:
        return variants[int(rng.integers(len(variants)))], "variant"
    wants_swap = rng.random() < config.hard_swap_share
    swaps = hard_swaps(prompt, rng, prefer=prefer)
    other = shuffled_prompt(prompt, prompts, rng)
    if swaps and (wants_swap or other is None):
        kind = list(swaps)[int(rng.integers(len(swaps)))]
        return swaps[kind], kind
    return None if other is None else (other, "shuffle")


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """Root mean square of the difference of two images [H,W,3], in 8-bit levels."""
    return float(np.sqrt(np.mean((first.astype(np.float32) - second) ** 2)))
