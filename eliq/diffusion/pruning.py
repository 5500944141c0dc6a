"""Early pruning: score previews while generating, and go on with the better candidates only.

At each cut of a schedule the clean-image estimate of every candidate that is alive is decoded and
scored, and the lower part is dropped. Survivors are the images that the unpruned run would have
made. What is not safe is the choice: an early preview may rank candidates otherwise than the final
images do, so pruning is opt-in and the report says how far ranks agreed.

Shapes: N candidates, K of them alive; latents [K,...]; images [K,3,H,W] in [0,1].
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError, DiffusionError
from .call_arguments import PromptCall, check_seed, make_generator
from .clean_estimate import SchedulerTap, StepEstimate
from .decoding import latents_to_images
from .generation import (
    GeneratedBatch,
    call_for_tensors,
    images_and_replaced,
    is_out_of_memory,
    returning_models,
)
from .paused_calls import PausedCalls, has_greenlet
from .pipelines import denoisers, image_size
from .prune_report import Preview, PruneReport
from .prune_schedule import Cut, PruneSchedule
from .ranking import Combination, check_combination, combine_scores, rank_order
from .row_gather import RowGather
from .scoring import score_images

__all__ = ["run_pruned"]

logger = logging.getLogger("eliq")
METHODS = ("auto", "rows", "calls")


def run_pruned(
    pipe: Any,
    call: PromptCall,
    seeds: Sequence[int],
    scorer: Any,
    schedule: PruneSchedule,
    *,
    combine: Combination = "mean",
    decoder: Any = None,
    method: str = "auto",
    batch_size: int | None = None,
    generator_device: str = "cpu",
) -> tuple[GeneratedBatch, PruneReport]:
    """Generate N candidates of one prompt and finish only those whose previews score best.

    Args:
        call: arguments of the pipeline for candidates of this prompt.
        seeds: N, one a candidate.
        scorer: scores previews, with ``call.prompt``.
        combine: see `combine_scores`. A preview without a score never beats one that has one.
        decoder: an AutoencoderTiny for previews; None = the pipeline's own autoencoder, which can
            cost more than the steps that pruning saves.
        method: "rows" = one batch of which the denoiser runs the rows alive, "calls" = one paused
            call a candidate (needs greenlet), "auto" = rows where the batch fits.
        batch_size: how many candidates fit at once; None = all.

    Returns:
        The images of the survivors, ``rows`` being their places among the seeds; and the report.

    Raises:
        ConfigError: a seed, method or combination that there is not.
        DiffusionError: a pipeline that cannot be pruned. Errors of the pipeline and of the scorer
            come through as they are. Nothing stays patched.
    """
    if method not in METHODS:
        raise ConfigError(f"method: expected one of {METHODS}, found {method!r}")
    check_combination(combine)
    for seed in seeds:
        check_seed(seed)
    run = _PrunedRun(pipe, call, seeds, scorer, schedule, combine, decoder, generator_device)
    fits = batch_size is None or batch_size >= len(seeds)
    if method == "calls" or (method == "auto" and not fits and has_greenlet()):
        return run.by_calls()
    try:
        return run.by_rows()
    except (RuntimeError, MemoryError) as error:
        if method == "rows" or not is_out_of_memory(error) or not has_greenlet():
            raise
    # Only here, with the exception gone, do its frames no longer hold the tensors of the batch.
    logger.info("%d images at once do not fit into memory: one call a candidate", len(seeds))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return run.by_calls()


class _PrunedRun:
    """One run of N candidates; see `run_pruned`."""

    def __init__(
        self,
        pipe: Any,
        call: PromptCall,
        seeds: Sequence[int],
        scorer: Any,
        schedule: PruneSchedule,
        combine: Combination,
        decoder: Any,
        generator_device: str,
    ) -> None:
        self.pipe, self.call, self.seeds = pipe, call, list(seeds)
        self.scorer, self.schedule, self.combine = scorer, schedule, combine
        self.decoder, self.generator_device = decoder, generator_device
        self.size_px = image_size(pipe, call.shared.get("height"), call.shared.get("width"))
        self.denoisers = list(denoisers(pipe).values())
        self.vae = getattr(pipe, "vae", None)
        if not self.denoisers:
            raise DiffusionError(
                f"prune: expected a pipeline with a unet or a transformer, found "
                f"{type(pipe).__name__}; run it without prune="
            )
        self._start()

    def _start(self) -> None:
        num_candidates = len(self.seeds)
        self.alive = list(range(num_candidates))
        self.pruned_at: list[float | None] = [None] * num_candidates
        self.previews: list[list[Preview]] = [[] for _ in self.seeds]

    def by_rows(self) -> tuple[GeneratedBatch, PruneReport]:
        """One batch; inside it the denoiser runs the candidates alive."""
        self._start()
        everyone = list(self.alive)
        gather = RowGather(self.denoisers, len(everyone), vae=self.vae)

        def on_estimate(estimate: StepEstimate) -> None:
            cut = self._cut_after(estimate)
            if cut is not None and len(estimate.latents) != len(everyone):
                raise DiffusionError(
                    f"prune: expected latents with {len(everyone)} rows, one a candidate, found "
                    f"{list(estimate.latents.shape)}; prune with batch_size=1"
                )
            if cut is not None:
                self._judge(cut, estimate.latents[self._judged(everyone)])
                if not self.schedule.trial:
                    gather.keep_only(self.alive)

        with gather, SchedulerTap(self.pipe, on_estimate):
            output = self._generate(self.pipe, everyone)
        batch, num_decoded = self._survivors(output)
        return batch, self._report("rows", gather.rows_run, gather.rows_full, num_decoded)

    def by_calls(self) -> tuple[GeneratedBatch, PruneReport]:
        """One paused call a candidate; all wait at a cut for its verdict."""
        self._start()
        bodies = [lambda pipe, row=row: self._generate(pipe, [row]) for row in self.alive]
        num_cuts = 0

        def until(num_steps: int) -> int | None:
            cuts = self.schedule.cuts_of(num_steps, len(self.seeds))
            return cuts[num_cuts].step if num_cuts < len(cuts) else None

        calls = PausedCalls(self.pipe, bodies, denoisers=self.denoisers)
        with calls:
            while True:
                running = self._judged(range(len(self.seeds)))
                estimates = calls.advance(running, until)
                if estimates[0] is None:
                    break
                cut = self._cut_after(estimates[0])
                latents = torch.cat([estimate.latents for estimate in estimates])
                self._judge(cut, latents)
                calls.drop([row for row in running if row not in self._judged(running)])
                num_cuts += 1
            rows_full = calls.rows_of(running[0]) * len(self.seeds)
            parts = [images_and_replaced(calls.result(row), 1) for row in running]
        batch = GeneratedBatch(
            list(running),
            torch.cat([images for images, _ in parts]),
            [flag for _, flags in parts for flag in flags],
        )
        return batch, self._report("calls", calls.rows_run, rows_full, len(running))

    def _judged(self, rows: Sequence[int]) -> list[int]:
        """Those that the next cut looks at: the ones alive, or in a trial all of them."""
        return list(rows) if self.schedule.trial else list(self.alive)

    def _cut_after(self, estimate: StepEstimate) -> Cut | None:
        done = estimate.step_index + 1
        cuts = self.schedule.cuts_of(estimate.num_steps, len(self.seeds))
        return next((cut for cut in cuts if cut.step == done), None)

    def _judge(self, cut: Cut, latents: Tensor) -> None:
        """Score the previews [K,...] and drop the lower part of those that are alive."""
        rows = self._judged(range(len(self.seeds)))
        images = torch.cat([self._preview(row) for row in latents.split(1)])
        scored = score_images(self.scorer, images, self.call.prompt)
        scores = combine_scores(
            [one.visual_quality for one in scored], [one.alignment for one in scored], self.combine
        )
        for row, one, score in zip(rows, scored, scores, strict=True):
            preview = Preview(cut.fraction, one.visual_quality, one.alignment, score)
            self.previews[row].append(preview)
        best_first = [rows[i] for i in rank_order(scores) if rows[i] in self.alive]
        for row in best_first[cut.num_keep :]:
            self.pruned_at[row] = cut.fraction
        self.alive = sorted(best_first[: cut.num_keep])

    def _preview(self, latents: Tensor) -> Tensor:
        """One at a time: eight decoded at once can need more memory than the run itself."""
        height, width = self.size_px
        return latents_to_images(
            self.pipe, latents, height=height, width=width, decoder=self.decoder
        )

    def _generate(self, pipe: Any, rows: list[int]) -> Any:
        generators = [make_generator(self.seeds[row], self.generator_device) for row in rows]
        with returning_models(pipe):
            return call_for_tensors(
                pipe, self.call.for_rows(rows), generators[0] if len(rows) == 1 else generators
            )

    def _survivors(self, output: Any) -> tuple[GeneratedBatch, int]:
        """Images of the survivors, and how many were decoded.

        All N where the pipeline decodes with something else than its `vae`.
        """
        everyone = list(range(len(self.seeds)))
        kept = self._judged(everyone)
        found = getattr(output, "images", output)
        rows = everyone if len(found) == len(everyone) else kept
        images, is_replaced = images_and_replaced(output, len(rows))
        if rows != kept:
            images, is_replaced = images[kept], [is_replaced[row] for row in kept]
        return GeneratedBatch(kept, images, is_replaced), len(rows)

    def _report(self, method: str, rows_run: int, rows_full: int, decodes: int) -> PruneReport:
        return PruneReport(
            schedule=self.schedule,
            method=method,
            survivors=tuple(self.alive),
            pruned_at=tuple(self.pruned_at),
            previews=tuple(tuple(previews) for previews in self.previews),
            rows_run=rows_run,
            rows_full=rows_full,
            decodes=decodes,
        )
