"""Images to the patch rows a Qwen3-VL vision tower reads, on the device the images lie on.

Shapes: H, W pixels of an image; P patch side in pixels; T frames a patch (a still image fills
both of Qwen's two frames); M merge side (M x M patches become one token of the language model).

The stock processor needs torchvision and the CPU. Here everything is torch: an image that a
pipeline just decoded is cut into patches where it lies.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ConfigError, ImageError
from .image_decoding import to_unit

__all__ = ["PatchConfig", "patchify", "prepare_image", "target_size"]

_SECOND_FRAMES = ("copy", "log_gradient")
_LARGEST_PIXELS = 1 << 24  # 4096 x 4096, the most that Qwen3-VL's own preprocessing lets through


@dataclass(frozen=True)
class PatchConfig:
    """How an image becomes patches.

    ``second_frame`` says what the second of the T = 2 frames of a patch holds: ``copy`` repeats
    the image, as Qwen does; ``log_gradient`` holds logarithmic gradient maps of the luma, with
    which a small backbone trained from scratch learns technical quality (the embedded critic).
    ``min_pixels`` and ``max_pixels`` bound the area after resizing, in pixels, and are themselves
    at most 16,777,216: even a small image is enlarged to ``min_pixels``.

    Raises:
        ConfigError: a value that no vision tower could use.
    """

    patch_px: int = 16
    temporal: int = 2
    merge: int = 2
    min_pixels: int = 65_536
    max_pixels: int = 1_048_576
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    second_frame: str = "copy"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        for name in ("patch_px", "temporal", "merge", "min_pixels", "max_pixels"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ConfigError(f"patches.{name} must be a positive whole number, not {value!r}")
        if self.min_pixels > self.max_pixels or self.max_pixels < self.factor_px**2:
            raise ConfigError(
                f"patches.min_pixels ({self.min_pixels}) must not exceed patches.max_pixels "
                f"({self.max_pixels}), which must hold one {self.factor_px} px square"
            )
        if self.max_pixels > _LARGEST_PIXELS:
            raise ConfigError(
                f"patches.max_pixels must be at most {_LARGEST_PIXELS}, not {self.max_pixels}"
            )
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise ConfigError("patches.mean and patches.std must be three numbers, std positive")
        if self.second_frame not in _SECOND_FRAMES:
            raise ConfigError(
                f"patches.second_frame must be one of {_SECOND_FRAMES}, not {self.second_frame!r}: "
                "this checkpoint may need a newer eliq"
            )
        if self.second_frame == "log_gradient" and self.temporal != 2:
            raise ConfigError("patches.second_frame 'log_gradient' needs patches.temporal = 2")

    @property
    def factor_px(self) -> int:
        """Both sides of a resized image are multiples of this."""
        return self.patch_px * self.merge

    def to_json(self) -> dict:
        """Plain JSON form."""
        return asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: dict) -> PatchConfig:
        """Inverse of :meth:`to_json`; unknown keys raise ConfigError."""
        known = set(cls.__dataclass_fields__)
        if not isinstance(data, dict) or set(data) - known:
            raise ConfigError(f"patches must be a table with keys among {sorted(known)}")
        return cls(**data)


def target_size(height: int, width: int, config: PatchConfig) -> tuple[int, int]:
    """Size (height, width) in px to which an image is resized: multiples of ``factor_px``.

    The rule is Qwen's ``smart_resize``, with Python's rounding of halves to even, so that the
    grid is always the one the stock processor makes.

    Raises:
        ImageError: an aspect ratio above 200:1, which the backbone was never trained on.
    """
    if max(height, width) > 200 * min(height, width):
        raise ImageError(f"aspect ratio must be at most 200:1, not {width} x {height}; crop it")
    factor = config.factor_px
    h, w = round(height / factor) * factor, round(width / factor) * factor
    if h * w > config.max_pixels:
        beta = math.sqrt(height * width / config.max_pixels)
        h = max(factor, math.floor(height / beta / factor) * factor)
        w = max(factor, math.floor(width / beta / factor) * factor)
    elif h * w < config.min_pixels:
        beta = math.sqrt(config.min_pixels / (height * width))
        h = math.ceil(height * beta / factor) * factor
        w = math.ceil(width * beta / factor) * factor
    return h, w


def _round_to_8_bit(images: Tensor) -> Tensor:
    return (images.clamp(0, 1) * 255).round() / 255


def _resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Antialiased bicubic [B,3,H,W] -> [B,3,h,w]: horizontal, then vertical, as PIL does it.

    The 8-bit rounding between the passes is PIL's too; without it, overshoot at hard edges differs
    from the stock processor by up to 25 levels.
    """
    height, width = size
    if images.shape[-1] != width:
        images = _round_to_8_bit(
            F.interpolate(
                images,
                (images.shape[-2], width),
                mode="bicubic",
                antialias=True,
                align_corners=False,
            )
        )
    if images.shape[-2] != height:
        images = _round_to_8_bit(
            F.interpolate(
                images, (height, width), mode="bicubic", antialias=True, align_corners=False
            )
        )
    return images


def _log_gradient(images: Tensor) -> Tensor:
    """Logarithmic gradient maps [B,3,H,W] of the luma: |dx|, |dy|, |y - 3x3 mean|.

    The logarithm spreads the weak gradients in which noise, blur and blocking show; the constants
    bring an ordinary photograph to about zero mean and unit variance.
    """
    luma = 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]
    padded = F.pad(luma, (1, 1, 1, 1), mode="replicate")
    centre = padded[:, :, 1:-1, 1:-1]
    dx = padded[:, :, 1:-1, 2:] - centre
    dy = padded[:, :, 2:, 1:-1] - centre
    detail = centre - F.avg_pool2d(padded, 3, stride=1)
    maps = torch.cat([dx, dy, detail], dim=1).abs()
    return (torch.log(maps + 0.004) + 3.3) / 1.5


def prepare_image(image: Tensor, config: PatchConfig) -> Tensor:
    """One image [3,H,W] (RGB, float in [0,1] or uint8) resized to :func:`target_size`, float32.

    Float pixels are rounded to 8 bits first, so that a decoded tensor and the PNG it is saved as
    get the same score.
    """
    size = target_size(image.shape[-2], image.shape[-1], config)
    if image.dtype == torch.uint8:
        unit = to_unit(image)
    else:
        unit = _round_to_8_bit(image.detach().float())
    return _resize(unit[None], size)[0]


def patchify(images: list[Tensor], config: PatchConfig) -> tuple[Tensor, Tensor]:
    """Patch rows of a batch of images of any sizes.

    Args:
        images: [3,H,W] tensors, RGB, any float dtype in [0,1] or uint8, all on one device.

    Returns:
        ``pixel_values`` float32 [sum of patches, 3*T*P*P] on the device of the images, and
        ``image_grid_thw`` int64 [B,3] (frames, patch rows, patch columns) on the CPU, where what
        depends on sizes is worked out without waiting for an accelerator. The layout is that of
        the stock processor.
    """
    prepared = [prepare_image(image, config) for image in images]
    by_size: dict[tuple[int, int], list[int]] = {}
    for index, image in enumerate(prepared):
        by_size.setdefault((image.shape[1], image.shape[2]), []).append(index)
    rows: list[Tensor] = [torch.empty(0)] * len(images)
    for indices in by_size.values():
        for index, row in zip(
            indices, _patch_rows(torch.stack([prepared[i] for i in indices]), config), strict=True
        ):
            rows[index] = row
    p = config.patch_px
    grid = torch.tensor([[1, x.shape[1] // p, x.shape[2] // p] for x in prepared])
    return torch.cat(rows), grid


def _patch_rows(images: Tensor, config: PatchConfig) -> Tensor:
    """[B,3,H,W] in [0,1] -> [B, patches, 3*T*P*P], patches of one merged token side by side."""
    batch, _, height, width = images.shape
    p, m, t = config.patch_px, config.merge, config.temporal
    mean = images.new_tensor(config.mean).view(1, 3, 1, 1)
    std = images.new_tensor(config.std).view(1, 3, 1, 1)
    frame = (images - mean) / std
    second = _log_gradient(images) if config.second_frame == "log_gradient" else frame
    frames = torch.stack([frame, *[second] * (t - 1)], dim=2)  # [B,3,T,H,W]
    cut = frames.view(batch, 3, t, height // p // m, m, p, width // p // m, m, p)
    # -> [B, rows/M, columns/M, M, M, 3, T, P, P]
    cut = cut.permute(0, 3, 6, 4, 7, 1, 2, 5, 8)
    return cut.reshape(batch, (height // p) * (width // p), 3 * t * p * p)
