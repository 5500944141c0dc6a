"""Conventional technical distortions: codec, noise, blur, resampling, tone depth, lost blocks.

Every function takes (image uint8 [H,W,3], severity in 1..5, rng) and returns (image of the same
size, the parameters that it used, JSON-ready). Each draws the same random numbers at every
severity, so that the same seed gives the same direction, place and noise field: only the strength
moves (`distortions.ladder` builds on that). Strengths are the five-value tables below, linear
between. They are in absolute pixels: a codec block, a noise grain or a blur of 2 px looks alike
at 192 px and at 512 px, and scoring sees pixels, not fractions of a picture.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from .pixels import (
    add,
    blur,
    jpeg_round_trip,
    level,
    resize,
    smooth_field,
    through_table,
    to_uint8,
)

__all__ = [
    "block",
    "gaussian_blur",
    "jpeg",
    "misregistration",
    "motion",
    "noise",
    "noise_coarse",
    "noise_luma",
    "oversharpen",
    "pixelate",
    "posterize",
    "rejpeg",
    "resample",
    "ringing",
    "salt_pepper",
    "stripes",
]

#: Quality; the first three steps are ARNIQA's (Agnolucci et al., WACV 2024), the last two milder.
JPEG_QUALITY = (43, 36, 24, 12, 5)
#: Lower bound of quality, and passes: repeated JPEG (section 3.2.3).
REJPEG_QUALITY = (50, 40, 30, 20, 12)
REJPEG_PASSES = (2, 2, 3, 4, 5)
#: Deviation in 8-bit levels; ARNIQA's variances .001-.01 on [0,1] are 8-25 levels.
NOISE_SIGMA = (6, 10, 16, 25, 38)
NOISE_LUMA_SIGMA = (6, 11, 17, 27, 42)
NOISE_COARSE_SIGMA = (4, 7, 11, 18, 28)
BLUR_SIGMA_PX = (0.7, 1.2, 1.9, 3.0, 4.8)
MOTION_LENGTH_PX = (3, 5, 8, 13, 21)
RESAMPLE_FACTOR = (1.6, 2.2, 3.0, 4.2, 6.0)
PIXELATE_PX = (2, 3, 4.5, 6.5, 9.5)
POSTERIZE_LEVELS = (22, 14, 9, 6, 4)
#: Share of the picture that is lost.
BLOCK_SHARE = (0.015, 0.035, 0.07, 0.13, 0.24)
OVERSHARPEN_AMOUNT = (0.6, 1.2, 2.2, 4.0, 7.5)
SALT_PEPPER_SHARE = (0.002, 0.006, 0.016, 0.04, 0.1)
#: What is kept of the frequencies, as a share of the highest one along an axis.
RINGING_CUTOFF = (0.6, 0.42, 0.3, 0.2, 0.13)
MISREGISTRATION_PX = (0.7, 1.4, 2.6, 4.5, 8.0)
#: Deviation of the offsets of rows, in 8-bit levels.
STRIPES_SIGMA = (3, 5, 8, 13, 21)

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def jpeg(image: np.ndarray, severity: float, rng: np.random.Generator):
    """One JPEG pass at quality 43, 36, 24, 12, 5."""
    quality = round(level(severity, JPEG_QUALITY))
    subsampling = bool(rng.random() < 0.7)
    out = jpeg_round_trip(image, quality, chroma_subsampling=subsampling)
    return out, {"quality": quality, "chroma_subsampling": subsampling}


def rejpeg(image: np.ndarray, severity: float, rng: np.random.Generator):
    """2-5 JPEG passes, the grid moved by 1-7 px (or the image resized a little) between them.

    Recompression on the same grid is nearly idempotent, so each pass is off the grid of the last.
    """
    height, width = image.shape[:2]
    lowest = level(severity, REJPEG_QUALITY)
    num_passes = int(level(severity, REJPEG_PASSES))
    draws = rng.random((5, 4))
    out, passes = image, []
    for number, (pick, down, across, better) in enumerate(draws[:num_passes]):
        # Only the first pass is at the lowest quality; the others are somewhat better.
        quality = round(lowest + (0 if number == 0 else 12 * better))
        if pick < 0.3:
            scale = round(0.92 + 0.06 * float(down), 4)
            small = resize(out, round(height * scale), round(width * scale))
            small = jpeg_round_trip(small, quality, chroma_subsampling=True)
            out = resize(small, height, width)
            passes.append({"quality": quality, "scale": scale})
        else:
            dy, dx = 1 + int(7 * down), 1 + int(7 * across)
            framed = np.pad(out, ((dy, 0), (dx, 0), (0, 0)), mode="edge")
            out = jpeg_round_trip(framed, quality, chroma_subsampling=True)[dy:, dx:]
            passes.append({"quality": quality, "shift_px": [dy, dx]})
    return np.ascontiguousarray(out), {"passes": passes}


def noise(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Independent Gaussian noise on each channel, deviation 6-38 levels."""
    sigma = level(severity, NOISE_SIGMA)
    field = rng.standard_normal(image.shape, dtype=np.float32)
    return add(image, sigma * field), {"sigma": sigma}


def noise_luma(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Grey Gaussian noise, the same on the three channels, deviation 6-42 levels."""
    sigma = level(severity, NOISE_LUMA_SIGMA)
    field = rng.standard_normal((*image.shape[:2], 1), dtype=np.float32)
    return add(image, sigma * field), {"sigma": sigma}


def noise_coarse(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Blotchy noise correlated over 2-5 px, mostly of colour, as after a demosaic or upscale."""
    sigma = level(severity, NOISE_COARSE_SIGMA)
    cell_px = round(float(rng.uniform(2.0, 5.0)), 3)
    grey_share = round(float(rng.uniform(0.2, 0.7)), 3)
    field = smooth_field(rng, *image.shape[:2], cell_px, 3)
    grey = field.mean(axis=-1, keepdims=True) * 3**0.5
    mixed = grey_share * grey + (1 - grey_share) * field
    return add(image, sigma * mixed / mixed.std()), {
        "sigma": sigma,
        "cell_px": cell_px,
        "grey_share": grey_share,
    }


def gaussian_blur(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Gaussian blur of sigma 0.7-4.8 px."""
    sigma_px = level(severity, BLUR_SIGMA_PX)
    return blur(image, sigma_px), {"sigma_px": sigma_px}


def motion(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Mean along a straight path of 3-21 px at a random angle."""
    length_px = level(severity, MOTION_LENGTH_PX)
    angle = float(rng.uniform(0, np.pi))
    num_steps = int(np.ceil(length_px)) | 1
    offsets = np.linspace(-0.5, 0.5, num_steps) * (length_px - 1)
    pad = int(np.ceil(length_px / 2)) + 1
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), mode="edge")
    height, width = image.shape[:2]
    # Bilinear taps gathered per whole-pixel shift: few shifts, each one slice of the padded image.
    taps: dict[tuple[int, int], float] = {}
    for offset in offsets:
        y, x = pad + offset * np.sin(angle), pad + offset * np.cos(angle)
        top, left = int(np.floor(y)), int(np.floor(x))
        for row, row_weight in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, weight in ((left, 1 - (x - left)), (left + 1, x - left)):
                if row_weight * weight > 1e-6:
                    key = (row, column)
                    taps[key] = taps.get(key, 0.0) + row_weight * weight / num_steps
    total = np.zeros(image.shape, np.float32)
    for (row, column), weight in taps.items():
        total += np.float32(weight) * padded[row : row + height, column : column + width]
    angle_deg = round(float(np.degrees(angle)), 2)
    return to_uint8(total), {"length_px": length_px, "angle_deg": angle_deg}


def resample(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Shrunk by 1.6-6 and enlarged again."""
    factor = level(severity, RESAMPLE_FACTOR)
    down, up = (list(_FILTERS)[i] for i in rng.integers(0, 3, 2))
    height, width = image.shape[:2]
    small = resize(image, round(height / factor), round(width / factor), filter=_FILTERS[down])
    out = resize(small, height, width, filter=_FILTERS[up])
    return out, {"factor": factor, "down": down, "up": up}


def pixelate(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Squares of 2-9.5 px of one colour each."""
    side_px = level(severity, PIXELATE_PX)
    height, width = image.shape[:2]
    small = resize(
        image, round(height / side_px), round(width / side_px), filter=Image.Resampling.BOX
    )
    return resize(small, height, width, filter=Image.Resampling.NEAREST), {"side_px": side_px}


def posterize(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Each channel rounded to 22, 14, 9, 6, 4 tones: banding in smooth areas."""
    num_levels = round(level(severity, POSTERIZE_LEVELS))
    steps = np.arange(256) / 255 * (num_levels - 1)
    return through_table(image, np.rint(steps) / (num_levels - 1) * 255), {"levels": num_levels}


def block(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Squares of 8, 12 or 16 px lost over 1.5-24 % of the picture: grey, flat or displaced."""
    share = level(severity, BLOCK_SHARE)
    side = int(rng.choice((8, 12, 16)))
    fill = ("grey", "flat", "displaced")[int(rng.integers(3))]
    height, width = image.shape[:2]
    columns = -(-width // side)
    order = rng.permutation(-(-height // side) * columns)
    shift_y, shift_x = rng.integers(side, 4 * side, 2)
    moved = np.roll(image, (int(shift_y), int(shift_x)), axis=(0, 1))
    out = image.copy()
    chosen = order[: max(1, round(share * len(order)))]
    for index in chosen:
        y, x = (int(index) // columns) * side, (int(index) % columns) * side
        here = (slice(y, y + side), slice(x, x + side))
        if fill == "grey":
            out[here] = 128
        elif fill == "flat":
            out[here] = to_uint8(image[here].mean(axis=(0, 1)))
        else:
            out[here] = moved[here]
    return out, {"share": share, "side_px": side, "fill": fill, "num_blocks": len(chosen)}


def oversharpen(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Unsharp mask of amount 0.6-7.5 at a sigma of 0.8-1.8 px: halos and crackle."""
    amount = level(severity, OVERSHARPEN_AMOUNT)
    sigma_px = round(float(rng.uniform(0.8, 1.8)), 3)
    detail = image.astype(np.float32) - blur(image, sigma_px)
    return add(image, amount * detail), {"amount": amount, "sigma_px": sigma_px}


def salt_pepper(image: np.ndarray, severity: float, rng: np.random.Generator):
    """0.2-10 % of the pixels black or white. Held out of training by default."""
    share = level(severity, SALT_PEPPER_SHARE)
    field, white = rng.random(image.shape[:2]), rng.random(image.shape[:2]) < 0.5
    out = image.copy()
    hit = field < share
    out[hit] = np.where(white[hit], 255, 0)[:, None]
    return out, {"share": share}


def ringing(image: np.ndarray, severity: float, rng: np.random.Generator):
    """A sharp low-pass in the Fourier domain: Gibbs' echoes along every edge.

    Held out of training by default.
    """
    cutoff = level(severity, RINGING_CUTOFF)
    height, width = image.shape[:2]
    # Mirrored to twice its size, so that opposite borders do not ring into each other.
    mirrored = np.concatenate([image, image[::-1]])
    mirrored = np.concatenate([mirrored, mirrored[:, ::-1]], axis=1).astype(np.float32)
    rows = np.abs(np.fft.fftfreq(2 * height)) * 2
    columns = np.abs(np.fft.rfftfreq(2 * width)) * 2
    kept = np.hypot(rows[:, None], columns[None]) <= cutoff
    spectrum = np.fft.rfft2(mirrored, axes=(0, 1)) * kept[..., None]
    out = np.fft.irfft2(spectrum, s=mirrored.shape[:2], axes=(0, 1))[:height, :width]
    return to_uint8(out), {"cutoff": cutoff}


def misregistration(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Red and blue planes moved apart along one direction. Held out of training by default."""
    shift_px, angle = level(severity, MISREGISTRATION_PX), rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]].astype(np.float32)
    dy, dx = shift_px * np.sin(angle), shift_px * np.cos(angle)
    out = image.copy()
    for plane, sign in ((0, 1.0), (2, -1.0)):
        out[..., plane] = to_uint8(_at(image[..., plane], y + sign * dy, x + sign * dx))
    return out, {"shift_px": shift_px, "angle_deg": float(np.degrees(angle))}


def _at(plane: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Values of a plane [H,W] between its pixels, bilinear, the border repeated."""
    height, width = plane.shape
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = np.floor(y).astype(int), np.floor(x).astype(int)
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    v, u = y - top, x - left
    plane = plane.astype(np.float32)
    upper = plane[top, left] * (1 - u) + plane[top, right] * u
    lower = plane[below, left] * (1 - u) + plane[below, right] * u
    return upper * (1 - v) + lower * v


def stripes(image: np.ndarray, severity: float, rng: np.random.Generator):
    """Every row lighter or darker by an amount of its own, as from a bad read-out; or every column.

    Held out of training by default.
    """
    sigma, upright = level(severity, STRIPES_SIGMA), bool(rng.random() < 0.5)
    offsets = rng.normal(size=max(image.shape[:2])).astype(np.float32) * sigma
    height, width = image.shape[:2]
    field = offsets[None, :width] if upright else offsets[:height, None]
    return add(image, np.broadcast_to(field, (height, width))[..., None]), {
        "sigma": sigma,
        "upright": upright,
    }
