"""AI-specific negatives, simulated on pixels: what unfinished or confused generation looks like.

Simulations of ours, for the AI-specific family of section 3.2.3 where no generator is at hand; real
early decodes and weak generators come from `training.make_negatives` and are better evidence. Same
contract as `technical.py`: (image uint8 [H,W,3], severity, rng) -> (image of the same size,
parameters), the same random numbers drawn at every severity. Places and sizes are fractions of
the picture, since content scales with it; the latent cell is 8 px, as of the usual autoencoders.
"""

from __future__ import annotations

import numpy as np

from .pixels import add, blur, feather, level, luma, smooth_field, to_uint8, warp

__all__ = ["duplicate", "garble", "overguided", "patch_warp", "premature_denoise", "twinned"]

LATENT_CELL_PX = 8
PREMATURE_BLUR_PX = (0.8, 1.3, 2.0, 3.0, 4.4)
PREMATURE_NOISE_SIGMA = (3, 6, 10, 16, 25)
#: Displacement as a fraction of the shorter side, and number of warped places.
WARP_AMPLITUDE = (0.007, 0.012, 0.019, 0.029, 0.044)
WARP_PLACES = (1, 2, 3, 4, 5)
DUPLICATE_PLACES = (1, 2, 3, 5, 8)
GARBLE_MIX = (0.55, 0.75, 0.95, 1.15, 1.4)
GARBLE_PLACES = (1, 2, 3, 4, 5)
OVERGUIDED_AMOUNT = (0.18, 0.36, 0.62, 1.0, 1.6)
TWINNED_SHARE = (0.1, 0.16, 0.23, 0.31, 0.4)
_MAX_PLACES = 8


def _places(
    rng: np.random.Generator, height: int, width: int, lowest: float, highest: float
) -> list[tuple[int, int, int, int]]:
    """Eight random boxes (y, x, height, width), sides in the given fractions of the picture's."""
    boxes = []
    for share_y, share_x, down, across in rng.random((_MAX_PLACES, 4)):
        h = max(8, round(height * (lowest + (highest - lowest) * share_y)))
        w = max(8, round(width * (lowest + (highest - lowest) * share_x)))
        boxes.append((round((height - h) * down), round((width - w) * across), h, w))
    return boxes


def premature_denoise(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Detail smoothed away, with coloured noise left at the scale of latent cells (8 px)."""
    sigma_px = level(severity, PREMATURE_BLUR_PX)
    sigma = level(severity, PREMATURE_NOISE_SIGMA)
    height, width = image.shape[:2]
    cells = smooth_field(rng, height, width, LATENT_CELL_PX, 3)
    grain = smooth_field(rng, height, width, LATENT_CELL_PX / 3, 1)
    # The residue is unevenly denoised: worse where the field is high, absent where it is low.
    uneven = 0.6 + 0.4 * np.tanh(smooth_field(rng, height, width, height / 4, 1))
    out = add(blur(image, sigma_px), sigma * uneven * (0.8 * cells + 0.6 * grain))
    return out, {"sigma_px": sigma_px, "noise_sigma": sigma, "cell_px": LATENT_CELL_PX}


def patch_warp(image: np.ndarray, severity: float, rng: np.random.Generator):
    """1-5 places bent by a smooth random displacement: melted structure."""
    height, width = image.shape[:2]
    amplitude_px = level(severity, WARP_AMPLITUDE) * min(height, width)
    boxes = _places(rng, height, width, 0.3, 0.5)
    seeds = rng.integers(0, 2**32, _MAX_PLACES)
    out = image.copy()
    used = boxes[: int(level(severity, WARP_PLACES))]
    for (y, x, h, w), seed in zip(used, seeds, strict=False):
        field = smooth_field(np.random.default_rng(int(seed)), h, w, min(h, w) / 4, 2)
        shift = amplitude_px * feather(h, w) * field
        here = (slice(y, y + h), slice(x, x + w))
        out[here] = warp(out[here], shift[..., 0], shift[..., 1])
    return out, {"amplitude_px": round(amplitude_px, 3), "boxes": [list(box) for box in used]}


def duplicate(image: np.ndarray, severity: float, rng: np.random.Generator):
    """1-8 regions repeated elsewhere in the picture with soft borders."""
    height, width = image.shape[:2]
    boxes = _places(rng, height, width, 0.18, 0.34)
    targets = rng.random((_MAX_PLACES, 2))
    out = image.astype(np.float32)
    used = []
    for (y, x, h, w), (down, across) in list(zip(boxes, targets, strict=True))[
        : int(level(severity, DUPLICATE_PLACES))
    ]:
        to_y, to_x = round((height - h) * down), round((width - w) * across)
        if abs(to_y - y) < h // 3 and abs(to_x - x) < w // 3:
            # A copy onto itself would show nothing: to the far side instead.
            to_y = 0 if y > (height - h) / 2 else height - h
            to_x = 0 if x > (width - w) / 2 else width - w
        window = feather(h, w, 0.15)
        there = (slice(to_y, to_y + h), slice(to_x, to_x + w))
        out[there] = out[there] * (1 - window) + image[y : y + h, x : x + w] * window
        used.append({"from": [y, x], "to": [to_y, to_x], "size": [h, w]})
    return to_uint8(out), {"regions": used}


def garble(image: np.ndarray, severity: float, rng: np.random.Generator):
    """In 1-5 places the fine structure is scrambled while the colours stay: unreadable detail."""
    height, width = image.shape[:2]
    mix = level(severity, GARBLE_MIX)
    boxes = _places(rng, height, width, 0.3, 0.45)
    seeds = rng.integers(0, 2**32, _MAX_PLACES)
    low = blur(image, max(2.0, min(height, width) / 64)).astype(np.float32)
    detail = image.astype(np.float32) - low
    tile = max(4, round(min(height, width) / 40))
    out = image.astype(np.float32)
    used = boxes[: int(level(severity, GARBLE_PLACES))]
    for (y, x, h, w), seed in zip(used, seeds, strict=False):
        here = (slice(y, y + h), slice(x, x + w))
        scrambled = _scramble(detail[here], tile, np.random.default_rng(int(seed)))
        weight = feather(h, w, 0.15) * min(1.0, mix)
        # Above 1 the scrambled detail is also amplified: wrong structure, not only displaced.
        garbled = low[here] + max(1.0, mix) * scrambled
        out[here] = out[here] * (1 - weight) + garbled * weight
    return to_uint8(out), {"mix": mix, "tile_px": tile, "boxes": [list(box) for box in used]}


def _scramble(detail: np.ndarray, tile: int, rng: np.random.Generator) -> np.ndarray:
    """Permutes and flips the whole tiles of [h,w,3]; a remainder at the border stays."""
    rows, columns = detail.shape[0] // tile, detail.shape[1] // tile
    out = detail.copy()
    inner = detail[: rows * tile, : columns * tile]
    tiles = inner.reshape(rows, tile, columns, tile, 3).transpose(0, 2, 1, 3, 4)
    tiles = tiles.reshape(rows * columns, tile, tile, 3)[rng.permutation(rows * columns)]
    turned = rng.random(rows * columns) < 0.5
    tiles[turned] = tiles[turned].transpose(0, 2, 1, 3)
    tiles = tiles.reshape(rows, columns, tile, tile, 3).transpose(0, 2, 1, 3, 4)
    out[: rows * tile, : columns * tile] = tiles.reshape(rows * tile, columns * tile, 3)
    return out


def overguided(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Too much guidance: contrast, saturation and large halos driven up until they burn."""
    amount = level(severity, OVERGUIDED_AMOUNT)
    halo_px = round(min(image.shape[:2]) * float(rng.uniform(0.03, 0.06)), 3)
    colourful = round(float(rng.uniform(0.7, 1.1)), 3)
    pixels = image.astype(np.float32)
    pixels = pixels + 0.7 * amount * (pixels - blur(image, halo_px))
    grey = luma(pixels)
    pixels = grey + (1 + colourful * amount) * (pixels - grey)
    middle = float(grey.mean())
    pixels = middle + (1 + 0.4 * amount) * (pixels - middle)
    return to_uint8(pixels), {"amount": amount, "halo_px": halo_px, "colourful": colourful}


def twinned(image: np.ndarray, severity: float, rng: np.random.Generator):
    """10-40 % of the picture replaced by a mirrored repeat of what lies beside it.

    The twin subject that a model gives when asked for a size it was not trained on.
    """
    share = level(severity, TWINNED_SHARE)
    axis, at_end = int(rng.integers(2)), bool(rng.integers(2))
    turned = image.swapaxes(0, axis)
    turned = turned if at_end else turned[::-1]
    length = turned.shape[0]
    repeated = round(length * share)
    out = turned.copy()
    out[length - repeated :] = turned[length - 2 * repeated : length - repeated][::-1]
    out = out if at_end else out[::-1]
    out = np.ascontiguousarray(out.swapaxes(0, axis))
    return out, {"share": share, "axis": ("vertical", "horizontal")[axis], "at_end": at_end}
