"""Best of N: make some images of a prompt, score them where they lie, rank them."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import ConfigError
from .call_arguments import PromptCall, check_seed, plan_calls
from .candidates import BestOfNResult, Candidate
from .generation import ImageSource, candidate_bar, check_count, first_batch_size
from .making import CandidateMaker
from .prune_schedule import PruneSchedule, as_schedule
from .pruning import run_pruned
from .ranking import Combination, check_combination, describe_combination
from .scoring import load_scorer

__all__ = ["best_of_n"]

logger = logging.getLogger("eliq")


def best_of_n(
    pipe: Any,
    prompt: str | Sequence[str],
    n: int = 4,
    scorer: Any = None,
    *,
    seed: int = 0,
    combine: Combination = "mean",
    batch_size: int | None = None,
    keep_images: str = "best",
    prune: bool | PruneSchedule | Sequence[Sequence[float]] | None = None,
    decoder: Any = None,
    output_type: str = "pil",
    generator_device: str = "cpu",
    progress: bool | None = None,
    **pipeline_kwargs: Any,
) -> BestOfNResult | list[BestOfNResult]:
    """Make ``n`` images of a prompt and rank them by their scores.

    Candidate k has a generator of its own with seed ``seed + k``, so that it can be made again
    alone: see `regenerate`. Nothing of the pipeline is changed, and the scorer is not added to it.

    Args:
        pipe: any text-to-image pipeline of diffusers.
        prompt: one text, or a list of texts; each prompt is generated apart from the others, so
            its result does not depend on them.
        scorer: an `eliq.Scorer`, or anything with ``score(images, prompts)`` that gives
            ``visual_quality`` and ``alignment``; None = the embedded critic.
        combine: what candidates are ranked by: "mean", "min", weights, or a function of the two
            scores; see `combine_scores`.
        batch_size: candidates made at once; None = 1 on a CPU, up to 8 elsewhere. A batch that
            does not fit into memory is halved.
        keep_images: "best", "all" or "none".
        prune: True or a `PruneSchedule`: hopeless candidates are dropped on the way, judged by
            previews; ``savings`` and ``preview_rank`` of the result say what that brought.
        decoder: with ``prune``, a tiny decoder (AutoencoderTiny) for previews.
        output_type: "pil", or "pt" = float tensors [3,H,W] in [0,1] on the pipeline's device.
        generator_device: where the noise is drawn. "cpu" gives the same images on every machine.
        progress: None or True = a bar as ``pipe.set_progress_bar_config`` says, False = none.
        pipeline_kwargs: passed on. ``negative_prompt`` and its like: one text, or one a prompt;
            ``prompt_embeds`` and its like: one row, or one a prompt (``prompt`` is then used for
            scoring only); ``latents``: one row a candidate.

    Returns:
        `BestOfNResult`; a list of them for a list of prompts. An image that cannot be scored
        (NaN, for example) ranks last and says why; if none can be scored, ``best`` is the first
        and has an ``error``.

    Raises:
        ConfigError, PromptError: a wrong argument, before anything is generated.
        DiffusionError: an argument that the pipeline does not take, one image that does not fit
            into memory, or a pipeline that was interrupted. Other errors of the pipeline come
            through as they are.
    """
    check_count("n", n)
    check_seed(seed, n)
    check_choices(keep_images, output_type, combine)
    schedule = as_schedule(prune)
    if decoder is not None and schedule is None:
        raise ConfigError(
            "decoder: expected prune= beside it, as only previews are decoded with it"
        )
    size = first_batch_size(pipe, n, batch_size)
    calls = plan_calls(pipe, prompt, n, pipeline_kwargs)
    scorer = load_scorer(scorer, pipe)
    source = ImageSource(
        pipe, range(seed, seed + n), generator_device=generator_device, batch_size=size
    )
    results = []
    with candidate_bar(pipe, n * len(calls), f"best of {n}", shown=progress) as bar:
        for call in calls:
            maker = CandidateMaker(
                source,
                call,
                scorer,
                combine=combine,
                keep_images=keep_images,
                output_type=output_type,
            )
            if schedule is None:
                results.append(_plain_result(maker, call, bar))
            else:
                results.append(_pruned_result(maker, call, schedule, decoder, batch_size))
                bar.update(n)
    for result in results:
        if result.best.error:
            logger.warning("best_of_n: no image could be scored: %s", result.best.error)
    return results[0] if isinstance(prompt, str) else results


def check_choices(keep_images: Any, output_type: Any, combine: Any) -> None:
    """Refuse wrong choices before anything is generated.

    Raises:
        ConfigError: such a choice.
    """
    if keep_images not in ("best", "all", "none"):
        raise ConfigError(f"keep_images: expected 'best', 'all' or 'none', found {keep_images!r}")
    if output_type not in ("pil", "pt"):
        raise ConfigError(
            f"output_type: expected 'pil' or 'pt', found {output_type!r}: images are scored, so "
            "latents alone do not do"
        )
    check_combination(combine)


def _plain_result(maker: CandidateMaker, call: PromptCall, bar: Any) -> BestOfNResult:
    rows = range(len(maker.source.seeds))
    for batch in maker.source.batches(call, rows):
        maker.add(batch)
        bar.update(len(batch.rows))
    return BestOfNResult(maker.finished(), call.prompt, describe_combination(maker.combine))


def _pruned_result(
    maker: CandidateMaker,
    call: PromptCall,
    schedule: PruneSchedule,
    decoder: Any,
    batch_size: int | None,
) -> BestOfNResult:
    source = maker.source
    batch, report = run_pruned(
        source.pipe,
        call,
        source.seeds,
        maker.scorer,
        schedule,
        combine=maker.combine,
        decoder=decoder,
        batch_size=batch_size,
        generator_device=source.generator_device,
    )
    cuts = {"prune": schedule.to_json()}
    batch_size = len(source.seeds) if report.method == "rows" else 1
    finished = maker.add(batch, batch_size=batch_size, **cuts)
    size_px = tuple(batch.images.shape[2:])
    for row, previews in enumerate(report.previews):
        looks = tuple(preview.to_json() for preview in previews)
        if row in batch.rows:
            maker.put(replace(finished[batch.rows.index(row)], previews=looks))
            continue
        nan = math.nan
        maker.put(
            Candidate(
                index=row,
                prompt=call.prompt,
                seed=source.seeds[row],
                image=None,
                visual_quality=nan,
                alignment=nan,
                score=nan,
                record=maker.record(row, size_px, batch_size, **cuts),
                pruned_at=report.pruned_at[row],
                previews=looks,
            )
        )
    final_scores = {candidate.index: candidate.score for candidate in finished}
    report.log(final_scores)
    return BestOfNResult(
        maker.finished(),
        call.prompt,
        describe_combination(maker.combine),
        savings=report.to_json(),
        preview_rank=report.rank_agreement(final_scores),
    )
