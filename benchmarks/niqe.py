"""NIQE, for comparison only: Mittal, Soundararajan, Bovik, "Making a completely blind image
quality analyzer", IEEE Signal Processing Letters 20(3), 2013.

Written from the paper. The pristine model (mean and covariance of 36 features over natural
photographs) is the authors' own, read from the copy that the package `basicsr` ships; nothing of
that package is imported. Lower is better.

Shapes: an image [H,W], its blocks N, features 18 at each of two scales.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

__all__ = ["Niqe", "find_pristine_model"]

_BLOCK_PX = 96
_SHAPES = np.arange(0.2, 10.0, 0.001)  # candidates for the shape parameter of a fit


def find_pristine_model() -> Path | None:
    """Where basicsr keeps the parameters; None where it is not installed."""
    spec = find_spec("basicsr")  # of a top-level name: finds without importing
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "metrics" / "niqe_pris_params.npz"
    return path if path.is_file() else None


class Niqe:
    """``Niqe(path)(pixels uint8 [H,W,3]) -> float``, lower is better; sides >= 192 px."""

    def __init__(self, pristine_model: Path) -> None:
        with np.load(pristine_model) as stored:
            self._mean = stored["mu_pris_param"].reshape(-1)
            self._covariance = stored["cov_pris_param"]
        from scipy.special import gamma

        self._gamma = gamma
        self._ratios = gamma(2 / _SHAPES) ** 2 / (gamma(1 / _SHAPES) * gamma(3 / _SHAPES))

    def __call__(self, pixels: np.ndarray) -> float:
        luma = np.round(pixels.astype(np.float64) @ np.array([0.298936, 0.587043, 0.114021]))
        rows, columns = (side // _BLOCK_PX * _BLOCK_PX for side in luma.shape)
        features = self._features(luma[:rows, :columns])  # [N,36]
        features = features[np.isfinite(features).all(axis=1)]  # a flat block has no fit
        if len(features) < 2:
            return float("nan")
        difference = self._mean - features.mean(axis=0)
        pooled = (self._covariance + np.cov(features, rowvar=False)) / 2
        return float(np.sqrt(difference @ np.linalg.pinv(pooled) @ difference))

    def _features(self, luma: np.ndarray) -> np.ndarray:
        scales = []
        for block_px in (_BLOCK_PX, _BLOCK_PX // 2):
            normalised = _mscn(luma)
            rows, columns = (side // block_px for side in luma.shape)
            blocks = normalised[: rows * block_px, : columns * block_px]
            blocks = blocks.reshape(rows, block_px, columns, block_px).swapaxes(1, 2)
            blocks = blocks.reshape(-1, block_px, block_px)
            scales.append([self._block_features(block) for block in blocks])
            luma = _halve(luma)
        return np.concatenate([np.asarray(scale) for scale in scales], axis=1)

    def _block_features(self, block: np.ndarray) -> list[float]:
        """18 features: the fit of the block, and of its products with four neighbours."""
        shape, left, right = self._fit(block)
        features = [shape, (left + right) / 2]
        for shift in ((0, 1), (1, 0), (1, 1), (1, -1)):
            shape, left, right = self._fit(block * np.roll(block, shift, axis=(0, 1)))
            mean = (right - left) * self._gamma(2 / shape) / self._gamma(1 / shape)
            features += [shape, mean, left, right]
        return features

    def _fit(self, values: np.ndarray) -> tuple[float, float, float]:
        """Asymmetric generalised Gaussian by moment matching: shape, left and right scale."""
        values = values.reshape(-1)
        below, above = values[values < 0], values[values > 0]
        if not below.size or not above.size:
            return float("nan"), float("nan"), float("nan")
        left, right = np.sqrt(np.mean(below**2)), np.sqrt(np.mean(above**2))
        skew = left / right
        ratio = np.mean(np.abs(values)) ** 2 / np.mean(values**2)
        ratio *= (skew**3 + 1) * (skew + 1) / (skew**2 + 1) ** 2
        shape = _SHAPES[np.argmin((self._ratios - ratio) ** 2)]
        scale = np.sqrt(self._gamma(1 / shape) / self._gamma(3 / shape))
        return float(shape), float(left * scale), float(right * scale)


def _mscn(luma: np.ndarray) -> np.ndarray:
    """Luma with its local mean removed and local contrast divided out (7x7, sigma 7/6)."""
    from scipy.ndimage import gaussian_filter

    def local(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values, 7 / 6, mode="nearest", radius=3)

    mean = local(luma)
    deviation = np.sqrt(np.abs(local(luma**2) - mean**2))
    return (luma - mean) / (deviation + 1.0)


def _halve(luma: np.ndarray) -> np.ndarray:
    """Antialiased bicubic, in floating point."""
    from PIL import Image

    rows, columns = luma.shape
    image = Image.fromarray(luma.astype(np.float32))
    halved = image.resize((columns // 2, rows // 2), Image.Resampling.BICUBIC)
    return np.asarray(halved, dtype=np.float64)
