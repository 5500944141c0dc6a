"""Images with prompts and ratings, ready for the model: pixels squashed once, tokens made once.

Shapes: N images, S = config.image_size_px, K outputs of the model, T tokens.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from eliq.errors import PromptError, TrainingError
from eliq.images import load_image
from eliq.ip_iqa import PromptTokenizer, to_model_pixels
from eliq.prompts import clean_prompt
from training.evaluation import RatedSet
from training.journal import write_atomically

__all__ = [
    "OPINION",
    "FilePixels",
    "Pixels",
    "RatedData",
    "TensorPixels",
    "paired_data",
    "rated_data",
    "trimmed",
]

#: The opinion of raters that an output of the model predicts.
OPINION = {"visual_quality": "quality", "alignment": "alignment", "overall": "quality"}
_READERS = min(8, os.cpu_count() or 1)


class Pixels(Protocol):
    """Where images come from: ``pixels[rows]`` is uint8 [len(rows),3,S,S]."""

    def __getitem__(self, rows: Sequence[int]) -> Tensor: ...
    def __len__(self) -> int: ...


class TensorPixels:
    """Images in memory, uint8 [N,3,S,S]."""

    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        return self.images[torch.as_tensor(rows)]

    def __len__(self) -> int:
        return len(self.images)


class FilePixels:
    """Files, each decoded and squashed once and kept as an array of S x S in `cache_dir`.

    At 512 px an image takes 0.8 MB there. A file that is changed is decoded anew.

    Raises:
        TrainingError: a file that is no image; names it.
    """

    def __init__(
        self, paths: Sequence[Path], size_px: int, cache_dir: Path, *, progress: bool = True
    ) -> None:
        self.paths, self.size_px = [Path(path) for path in paths], size_px
        self.cache_dir = Path(cache_dir)
        self.cache_dir.mkdir(parents=True, exist_ok=True)
        self._kept = [self._name(path) for path in self.paths]
        todo = [row for row, kept in enumerate(self._kept) if not kept.is_file()]
        bar = tqdm(total=len(todo), desc="images", disable=None if progress else True)
        with ThreadPoolExecutor(_READERS) as pool:
            for _ in pool.map(self._make, todo):
                bar.update(1)
        bar.close()

    def __getitem__(self, rows: Sequence[int]) -> Tensor:
        return torch.from_numpy(np.stack([self._read(self._kept[int(row)]) for row in rows]))

    def __len__(self) -> int:
        return len(self.paths)

    def _read(self, kept: Path) -> np.ndarray:
        try:
            return np.load(kept, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise TrainingError(
                f"{kept}: expected the pixels of an image, found none that can be read "
                f"({type(error).__name__}): remove the folder, it is made again"
            ) from error

    def _name(self, path: Path) -> Path:
        try:
            found = path.stat()
        except OSError as error:
            raise TrainingError(f"{path}: expected an image, {error.strerror}") from error
        text = f"{path.resolve()} {found.st_size} {found.st_mtime_ns} {self.size_px}"
        return self.cache_dir / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npy"

    def _make(self, row: int) -> None:
        path, kept = self.paths[row], self._kept[row]
        image = load_image(path)
        if image.pixels is None:
            raise TrainingError(f"{path}: {image.error}")
        pixels = to_model_pixels(image.pixels, self.size_px)[0]
        content = io.BytesIO()
        np.save(content, pixels.mul(255).round().byte().numpy(), allow_pickle=False)
        write_atomically(kept, content.getvalue())


@dataclass(frozen=True)
class RatedData:
    """N rated images.

    Attributes:
        pixels: the images.
        prompts: texts. tokens: int64 [N,T] of them. groups: rows of one label stay together.
        ratings: float32 [N,K], NaN = not rated; its columns are the model's outputs.
    """

    pixels: Pixels
    prompts: tuple[str, ...]
    tokens: Tensor
    groups: tuple[str, ...]
    ratings: Tensor

    def __post_init__(self) -> None:
        sizes = {len(self.pixels), len(self.prompts), len(self.tokens), len(self.groups)}
        if sizes != {len(self.ratings)}:
            raise TrainingError(f"rated data: expected equal lengths, found {sorted(sizes)}")

    def __len__(self) -> int:
        return len(self.prompts)

    def digest(self) -> str:
        """16 hex digits that differ where a prompt, a group or a rating does; pixels do not count.

        Two runs that share it may share their results.
        """
        digest = hashlib.sha256(json.dumps([self.prompts, self.groups]).encode())
        for tensor in (self.tokens, self.ratings):
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def batch(
        self, rows: Sequence[int], *, device: torch.device | str = "cpu"
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Images float32 [B,3,S,S] in 0..1, tokens [B,T'], ratings [B,K] on the device."""
        images = self.pixels[rows].to(device).float().div(255)
        images = images.contiguous(memory_format=torch.channels_last)
        index = torch.as_tensor(rows)
        return images, trimmed(self.tokens[index]).to(device), self.ratings[index].to(device)


def rated_data(
    rated: RatedSet,
    encoder: PromptTokenizer,
    cache_dir: Path,
    *,
    progress: bool = True,
) -> RatedData:
    """A benchmark as the model of `encoder.config` reads it.

    Raises:
        TrainingError: rows without a prompt, or an output that nobody rated.
    """
    if missing := [row.id for row in rated.rows if not clean_prompt(row.prompt).text]:
        raise TrainingError(
            f"{rated.name}: expected a prompt for every image, found {len(missing)} without, such "
            f"as {missing[0]}: this model reads prompts"
        )
    columns = []
    for output in encoder.config.outputs:
        values = [getattr(row, OPINION[output]) for row in rated.rows]
        if all(value is None for value in values):
            raise TrainingError(
                f"{rated.name}: expected ratings of {OPINION[output]}, found none: choose other "
                "outputs"
            )
        columns.append([float("nan") if value is None else value for value in values])
    prompts = tuple(row.prompt or "" for row in rated.rows)
    return RatedData(
        FilePixels(
            [row.path for row in rated.rows],
            encoder.config.image_size_px,
            cache_dir,
            progress=progress,
        ),
        prompts,
        encoder(prompts).ids,
        tuple(row.group_key for row in rated.rows),
        torch.tensor(columns, dtype=torch.float32).T.contiguous(),
    )


def paired_data(
    pairs: Path, encoder: PromptTokenizer, cache_dir: Path, *, progress: bool = True
) -> RatedData:
    """Images with prompts and without ratings from JSON lines with ``path`` and ``prompt``.

    Raises:
        TrainingError: a line that is not such an object; names it.
    """
    paths, prompts = [], []
    for number, line in enumerate(pairs.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)  # UnicodeDecodeError is a ValueError
            path, prompt = Path(row["path"]), row["prompt"]
            is_pair = bool(clean_prompt(prompt).text)  # the empty text is no target
        except (ValueError, KeyError, TypeError, PromptError):
            is_pair = False
        if not is_pair:
            raise TrainingError(
                f'{pairs}, line {number}: expected {{"path": ..., "prompt": ...}} with a prompt, '
                f"found {line.strip()[:80].decode(errors='replace')!r}"
            )
        paths.append(path if path.is_absolute() else pairs.parent / path)
        prompts.append(prompt)
    if not paths:
        raise TrainingError(f"{pairs}: expected pairs of image and prompt, found none")
    return RatedData(
        FilePixels(paths, encoder.config.image_size_px, cache_dir, progress=progress),
        tuple(prompts),
        encoder(prompts).ids,
        tuple(prompts),
        torch.full((len(paths), len(encoder.config.outputs)), float("nan")),
    )


def trimmed(tokens: Tensor) -> Tensor:
    """Tokens [B,T] without the columns that are padding in every row.

    What follows EOT changes nothing; that the rows end alike is all this relies on.
    """
    same = (tokens == tokens[:, -1:]).all(dim=0).flip(0).int()
    num_same = int(same.cumprod(0).sum())
    return tokens if num_same < 2 else tokens[:, : tokens.shape[1] - num_same + 1]
