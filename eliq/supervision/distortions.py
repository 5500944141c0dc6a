"""The closed table of distortions, and how to apply one or a ladder of one.

A severity is a number in 1..5, whole in manifests: 1 is just noticeable, 5 clearly bad. The
strength at each one is a table at the top of `technical.py`, `overlays.py`, `aesthetic.py` and
`ai_specific.py`.
Distortions marked `held_out` are never mixed into training unless asked for: they show later what
a critic does on damage that it was not taught.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import SupervisionError
from . import aesthetic, ai_specific, overlays, technical

__all__ = [
    "ASPECTS",
    "DISTORTIONS",
    "FAMILIES",
    "MIN_SIDE_PX",
    "SEVERITIES",
    "Distortion",
    "distort",
    "distortion_names",
    "ladder",
]

ASPECTS = ("technical", "aesthetic")
FAMILIES = ("conventional", "ai_specific")
SEVERITIES = (1, 2, 3, 4, 5)
MIN_SIDE_PX = 32

Apply = Callable[[np.ndarray, float, np.random.Generator], tuple[np.ndarray, dict]]


@dataclass(frozen=True)
class Distortion:
    """One kind of damage: what it is called, what it damages, and how."""

    name: str
    aspect: str
    family: str
    apply: Apply
    held_out: bool = False


def _table() -> dict[str, Distortion]:
    t, a, g = technical, aesthetic, ai_specific
    rows = [
        Distortion("jpeg", "technical", "conventional", t.jpeg),
        Distortion("rejpeg", "technical", "conventional", t.rejpeg),
        Distortion("noise", "technical", "conventional", t.noise),
        Distortion("noise_luma", "technical", "conventional", t.noise_luma),
        Distortion("noise_coarse", "technical", "conventional", t.noise_coarse),
        Distortion("blur", "technical", "conventional", t.gaussian_blur),
        Distortion("motion", "technical", "conventional", t.motion),
        Distortion("resample", "technical", "conventional", t.resample),
        Distortion("pixelate", "technical", "conventional", t.pixelate),
        Distortion("posterize", "technical", "conventional", t.posterize),
        Distortion("block", "technical", "conventional", t.block),
        Distortion("oversharpen", "technical", "conventional", t.oversharpen),
        Distortion("specks", "technical", "conventional", overlays.specks),
        Distortion("interference", "technical", "conventional", overlays.interference),
        Distortion("salt_pepper", "technical", "conventional", t.salt_pepper, held_out=True),
        Distortion("ringing", "technical", "conventional", t.ringing, held_out=True),
        Distortion("stripes", "technical", "conventional", t.stripes, held_out=True),
        Distortion(
            "misregistration", "technical", "conventional", t.misregistration, held_out=True
        ),
        Distortion("premature_denoise", "technical", "ai_specific", g.premature_denoise),
        Distortion("patch_warp", "technical", "ai_specific", g.patch_warp),
        Distortion("duplicate", "technical", "ai_specific", g.duplicate),
        Distortion("garble", "technical", "ai_specific", g.garble),
        Distortion("colour_cast", "aesthetic", "conventional", a.colour_cast),
        Distortion("over_exposure", "aesthetic", "conventional", a.over_exposure),
        Distortion("dark", "aesthetic", "conventional", a.dark),
        Distortion("low_contrast", "aesthetic", "conventional", a.low_contrast),
        Distortion("oversaturation", "aesthetic", "conventional", a.oversaturation),
        Distortion("desaturation", "aesthetic", "conventional", a.desaturation),
        Distortion("bad_crop", "aesthetic", "conventional", a.bad_crop),
        Distortion("tilt", "aesthetic", "conventional", a.tilt),
        Distortion("clutter", "aesthetic", "conventional", a.clutter),
        Distortion("vignette", "aesthetic", "conventional", a.vignette),
        Distortion("overguided", "aesthetic", "ai_specific", g.overguided),
        Distortion("twinned", "aesthetic", "ai_specific", g.twinned),
    ]
    return {row.name: row for row in rows}


DISTORTIONS: dict[str, Distortion] = _table()


def distortion_names(
    *, aspect: str | None = None, family: str | None = None, held_out: bool = False
) -> tuple[str, ...]:
    """Names in the order of the table; held-out ones only with `held_out=True` (then also them)."""
    return tuple(
        d.name
        for d in DISTORTIONS.values()
        if aspect in (None, d.aspect)
        and family in (None, d.family)
        and (held_out or not d.held_out)
    )


def distort(
    image: np.ndarray, name: str, severity: float, rng: np.random.Generator | int
) -> tuple[np.ndarray, dict]:
    """Damages a copy of one image.

    Args:
        image: uint8 [H,W,3] RGB, sides of at least 32 px; not changed.
        name: a key of `DISTORTIONS`.
        severity: 1..5; between whole numbers the strength is interpolated.
        rng: a generator (advanced), or a seed.

    Returns:
        (uint8 [H,W,3] of the same size, the parameters used as plain JSON values).

    Raises:
        SupervisionError: unknown name, severity outside 1..5, or an image of another shape or type.
    """
    distortion = _find(name)
    _check(image, severity)
    out, parameters = distortion.apply(image, float(severity), np.random.default_rng(rng))
    return out, parameters


def ladder(
    image: np.ndarray,
    name: str,
    severities: Sequence[float] = SEVERITIES,
    rng: np.random.Generator | int = 0,
) -> list[tuple[np.ndarray, float, dict]]:
    """One image at several severities of one distortion, all else equal.

    The same random choices (angle, places, noise field) are used for every step, so that a step
    differs from the last only in strength. Of a generator, one number is drawn.

    Returns:
        [(uint8 [H,W,3], severity, parameters)] in the order of `severities`.

    Raises:
        SupervisionError: as `distort`; also no severities, or not in rising order.
    """
    steps = list(severities)
    if not steps or any(b <= a for a, b in zip(steps, steps[1:], strict=False)):
        raise SupervisionError(
            f"severities of a ladder must rise strictly, found {steps}: give e.g. (1, 2, 3, 4, 5)"
        )
    seed = rng if isinstance(rng, int) else int(rng.integers(2**63))
    ladder_steps = []
    for severity in steps:
        out, parameters = distort(image, name, severity, seed)
        ladder_steps.append((out, severity, parameters))
    return ladder_steps


def _find(name: str) -> Distortion:
    try:
        return DISTORTIONS[name]
    except KeyError:
        known = ", ".join(DISTORTIONS)
        raise SupervisionError(f"unknown distortion {name!r}; known are: {known}") from None


def _check(image: np.ndarray, severity: float) -> None:
    if not 1 <= severity <= 5:
        raise SupervisionError(f"severity must lie in 1..5, found {severity!r}")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        found = getattr(image, "dtype", type(image).__name__)
        raise SupervisionError(f"a distortion takes a uint8 array, found {found}")
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < MIN_SIDE_PX:
        raise SupervisionError(
            f"a distortion takes [H,W,3] with sides of {MIN_SIDE_PX} px or more, "
            f"found {list(image.shape)}"
        )
