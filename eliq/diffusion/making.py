"""From images of a batch to candidates: scored, recorded, and kept only where they are wanted."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from .call_arguments import PromptCall
from .candidates import Candidate
from .generation import GeneratedBatch, ImageSource
from .pipeline_state import describe_state
from .pixels import to_pil
from .ranking import Combination, combine_scores, rank_order
from .record import make_record
from .scoring import ScoredImage, score_images

__all__ = ["CandidateMaker"]

_REPLACED = "the pipeline's safety checker replaced the image"


class CandidateMaker:
    """Collects the candidates of one prompt.

    Args:
        source: the pipeline, the seeds and where the generators lie.
        call: of this prompt.
        combine: what candidates are ranked by.
        keep_images: "best", "all" or "none": the others are let go as soon as they are scored.
        output_type: "pil" or "pt".
    """

    def __init__(
        self,
        source: ImageSource,
        call: PromptCall,
        scorer: Any,
        *,
        combine: Combination = "mean",
        keep_images: str = "best",
        output_type: str = "pil",
    ) -> None:
        self.source = source
        self.call = call
        self.scorer = scorer
        self.combine = combine
        self.keep_images = keep_images
        self.output_type = output_type
        self._candidates: dict[int, Candidate] = {}
        self._images: dict[int, Any] = {}  # tensors, or PIL where all of them are kept
        self._last: Tensor | None = None  # the image added last, while only the best is kept
        self._state = describe_state(source.pipe)

    def add(
        self, batch: GeneratedBatch, *, batch_size: int | None = None, **facts: Any
    ) -> list[Candidate]:
        """Score the images of a batch; returns their candidates, without images.

        Args:
            batch_size: how many ran at once, if not these only.
            facts: beside the record, such as the cuts of a pruned run.
        """
        scored = score_images(self.scorer, batch.images, self.call.prompt)
        scored = [
            _replaced(one) if is_replaced else one
            for one, is_replaced in zip(scored, batch.is_replaced, strict=True)
        ]
        totals = combine_scores(
            [one.visual_quality for one in scored], [one.alignment for one in scored], self.combine
        )
        size_px = tuple(batch.images.shape[2:])
        made = []
        for row, one, total, image in zip(batch.rows, scored, totals, batch.images, strict=True):
            scores = {
                "visual_quality": one.visual_quality,
                "alignment": one.alignment,
                "score": total,
            }
            record = self.record(
                row, size_px, batch_size or len(batch.rows), scores=scores, **facts
            )
            made.append(
                Candidate(
                    index=row,
                    prompt=self.call.prompt,
                    seed=self.source.seeds[row],
                    image=None,
                    **scores,
                    flags=one.flags,
                    error=one.error,
                    record=record,
                )
            )
            self._candidates[row] = made[-1]
            self._keep(row, image)
        return made

    def record(
        self, row: int, size_px: tuple[int, ...] | None, batch_size: int, **facts: Any
    ) -> dict[str, Any]:
        """The record of a candidate."""
        return make_record(
            self.source.pipe,
            self.call.for_rows([row]),
            seed=self.source.seeds[row],
            generator_device=self.source.generator_device,
            prompt=self.call.prompt,
            size_px=size_px,
            batch_size=batch_size,
            scorer=self.scorer,
            state=self._state,
            **facts,
        )

    def put(self, candidate: Candidate) -> None:
        """Add a candidate that has no final image, or replace one by a copy with more facts."""
        self._candidates[candidate.index] = candidate

    def finished(self) -> tuple[Candidate, ...]:
        """All candidates in the order of their seeds, with the images that are kept."""
        ordered = sorted(self._candidates.values(), key=lambda candidate: candidate.index)
        return tuple(
            replace(candidate, image=self._handed_out(self._images.get(candidate.index)))
            for candidate in ordered
        )

    def keep_only(self, row: int) -> None:
        """With "best": the candidate just made is the best, whatever the scores before it."""
        if self.keep_images == "best" and self._last is not None:
            self._images = {row: self._last.clone()}

    def _keep(self, row: int, image: Tensor) -> None:
        if self.keep_images == "none":
            return
        if self.keep_images == "all":
            # PIL now: of many images on a device only one batch lies there at a time. A copy,
            # so that one image does not hold the memory of its whole batch.
            self._images[row] = to_pil(image) if self.output_type == "pil" else image.clone()
            return
        self._last = image
        rows = sorted(self._candidates)
        best = rows[rank_order([self._candidates[one].score for one in rows])[0]]
        if best == row:
            self._images = {row: image.clone()}

    def _handed_out(self, image: Any) -> Any:
        if image is None or not isinstance(image, Tensor):
            return image
        return to_pil(image) if self.output_type == "pil" else image.float()


def _replaced(one: ScoredImage) -> ScoredImage:
    nan = float("nan")
    return ScoredImage(nan, nan, (*one.flags, "nsfw_content_detected"), one.error or _REPLACED)
