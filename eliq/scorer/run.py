"""One call of the scorer: images and prompts to rows, a bounded amount at a time.

Shapes: B images of a batch, N of the whole call; 7 columns as in `judge`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import EliqError, ImageError
from ..images import LoadedImage, check_source, describe_source, load_images
from ..prompts import CleanPrompt, clean_prompt, match_prompts
from ..scores import ASPECT_NAMES, Scores
from .batches import BatchItem, plan_batches, run_bisecting
from .judge import ALIGNMENT_COLUMNS, NUM_COLUMNS, Judge

__all__ = ["ScoringRun"]

_WINDOW_PX = 32_000_000  # decoded at once: 96 MB of 8-bit RGB, 384 MB of float32
# However few pixels a batch may have: many small images with long prompts still share one.
_LEAST_PROMPT_TOKENS = 1024
_STREAM_IMAGES = 64  # in a part of a stream, however small they are
_NOT_OF_THE_IMAGE = ("out_of_memory", "nonfinite_score")


@dataclass(frozen=True)
class ScoringRun:
    """What one call of `Scorer.score` works with.

    Attributes:
        judge: the model that answers.
        max_batch_px: pixels after resizing that go through the model at once.
        is_raising: raise at the first image that cannot be scored.
    """

    judge: Judge
    max_batch_px: int
    is_raising: bool = False

    def score(self, images: Any, prompts: Any, *, progress: bool) -> Scores:
        """Rows in the order of the input; see `Scorer.score`."""
        parts = self._parts(*_checked(images, prompts), _WINDOW_PX, None, progress)
        return Scores.concatenate(list(parts)).to(self.judge.device)

    def stream(self, images: Any, prompts: Any) -> Iterator[Scores]:
        """The same rows in parts; see `Scorer.stream`."""
        window_px = min(2 * self.max_batch_px, _WINDOW_PX)
        return self._parts(*_checked(images, prompts), window_px, _STREAM_IMAGES, False)

    def score_loaded(
        self, images: list[LoadedImage], prompts: list[str | None], bar: Any
    ) -> Scores:
        """Rows of images that are decoded already; see `Scorer.score_loaded`."""
        clean = [clean_prompt(prompt) for prompt in match_prompts(prompts, len(images))]
        return self._score_window(images, clean, bar)

    def _parts(
        self,
        sources: list[Any],
        prompts: list[CleanPrompt],
        window_px: int,
        window_images: int | None,
        progress: bool,
    ) -> Iterator[Scores]:
        start = 0
        with _bar(len(prompts), shown=progress) as bar:
            for window in _windows(sources, window_px, window_images):
                part = self._score_window(window, prompts[start : start + len(window)], bar)
                if self.is_raising:
                    _raise_first(part, sources, start)
                yield part
                start += len(window)

    def _score_window(
        self, window: list[LoadedImage], prompts: list[CleanPrompt], bar: Any
    ) -> Scores:
        """Score decoded images; failed ones are left out before batches are formed."""
        errors = [image.error for image in window]
        error_classes = [image.error_class for image in window]
        items = self._items(window, prompts)
        bar.update(len(window) - len(items))

        def run(part: list[BatchItem]) -> Tensor:
            rows = [item.position for item in part]
            stored, texts = [window[r].stored for r in rows], [prompts[r].text for r in rows]
            return self.judge.columns(stored, texts)

        columns = torch.full((NUM_COLUMNS, len(window)), torch.nan, device=self.judge.device)
        max_tokens = max(self.max_batch_px // self.judge.px_per_token, _LEAST_PROMPT_TOKENS)
        for batch in plan_batches(
            items, max_batch_px=self.max_batch_px, max_batch_prompt_tokens=max_tokens
        ):
            done, too_large = run_bisecting(batch, run)
            for part, result in done:
                columns[:, [item.position for item in part]] = result
            for item in too_large:
                errors[item.position] = (
                    f"{item.width} x {item.height} px after resizing do not fit into the memory "
                    f"of {self.judge.device} even alone: use a smaller critic or dtype bfloat16"
                )
                error_classes[item.position] = "out_of_memory"
            bar.update(len(batch))

        finite = columns[list(self.judge.answers)].isfinite().all(dim=0).tolist()
        for item in items:
            if not finite[item.position] and errors[item.position] is None:
                columns[:, item.position] = torch.nan
                errors[item.position] = (
                    f"the critic gave no finite answer in {self.judge.dtype}: load it with "
                    "dtype='bfloat16' or 'float32'"
                )
                error_classes[item.position] = "nonfinite_score"
        no_prompt = torch.tensor([not prompt.text for prompt in prompts], device=columns.device)
        columns[ALIGNMENT_COLUMNS] = columns[ALIGNMENT_COLUMNS].masked_fill(no_prompt, torch.nan)
        visual_quality, alignment, raw_visual, raw_alignment, *aspects = columns.unbind(0)
        return Scores(
            visual_quality=visual_quality,
            alignment=alignment,
            aspects=dict(zip(ASPECT_NAMES, aspects, strict=True)),
            raw={"visual_quality": raw_visual, "alignment": raw_alignment},
            flags=[
                [*image.flags, *self._prompt_flags(prompt)]
                for image, prompt in zip(window, prompts, strict=True)
            ],
            errors=errors,
            error_classes=error_classes,
        )

    def _items(self, window: list[LoadedImage], prompts: list[CleanPrompt]) -> list[BatchItem]:
        items = []
        for row, (image, prompt) in enumerate(zip(window, prompts, strict=True)):
            if image.stored is not None:
                size = self.judge.size_px(*image.stored.shape[1:])
                items.append(BatchItem(row, *size, self.judge.num_prompt_tokens(prompt.text)))
        return items

    def _prompt_flags(self, prompt: CleanPrompt) -> list[str]:
        flags = list(prompt.flags)
        if "prompt_truncated" not in flags and self.judge.prompt_is_truncated(prompt.text):
            flags.append("prompt_truncated")
        return [*flags, *self.judge.flags]


def _num_images(source: Any) -> int:
    """How many images a source will be."""
    return len(source) if isinstance(source, Tensor) and source.ndim == 4 else 1


def _checked(images: Any, prompts: Any) -> tuple[list[Any], list[CleanPrompt]]:
    """Sources and clean prompts; a wrong type is said before hours of scoring, not after."""
    sources = list(images) if isinstance(images, (list, tuple)) else [images]
    for position, source in enumerate(sources):
        if isinstance(source, (list, tuple)):
            raise ImageError(f"images[{position}]: expected an image, found a list inside a list")
        try:
            check_source(source)
        except ImageError as error:
            raise ImageError(f"images[{position}]: {error}") from None
    num_images = sum(_num_images(source) for source in sources)
    return sources, [clean_prompt(prompt) for prompt in match_prompts(prompts, num_images)]


def _windows(
    sources: list[Any], max_px: int, max_images: int | None
) -> Iterator[list[LoadedImage]]:
    """Images decoded a bounded number of pixels at a time.

    Failed ones count nothing, so that they move no border between the others.
    """
    window: list[LoadedImage] = []
    window_px = num_decoded = 0
    for position, source in enumerate(sources):
        try:
            loaded = load_images(source)
        except ImageError as error:
            raise ImageError(f"images[{position}]: {error}") from None
        window += loaded
        decoded = [image.stored for image in loaded if image.stored is not None]
        window_px += sum(stored[0].numel() for stored in decoded)
        num_decoded += len(decoded)
        # Where all have failed, there is no border between others to move.
        count = num_decoded or len(window)
        if window_px >= max_px or (max_images is not None and count >= max_images):
            yield window
            window, window_px, num_decoded = [], 0, 0
    if window:
        yield window


def _raise_first(part: Scores, sources: list[Any], start: int) -> None:
    for row, error in enumerate(part.errors):
        if error is None:
            continue
        position = start + row
        named = [source for source in sources for _ in range(_num_images(source))][position]
        message = f"images[{position}] ({describe_source(named)}): {error}"
        if part.error_classes[row] in _NOT_OF_THE_IMAGE:
            raise EliqError(message)
        raise ImageError(message)


def _bar(total: int, *, shown: bool) -> Any:
    from tqdm import tqdm

    # disable=None hides the bar where stderr is not a terminal.
    return tqdm(total=total, unit="image", disable=None if shown else True)
