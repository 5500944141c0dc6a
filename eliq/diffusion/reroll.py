"""Re-roll: new seeds until an image is good enough, or the tries are used up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ConfigError
from .best_of_n import check_choices
from .call_arguments import PromptCall, check_seed, plan_calls
from .candidates import Candidate, RerollResult
from .generation import ImageSource, candidate_bar, check_count
from .making import CandidateMaker
from .ranking import Combination, describe_combination
from .scoring import load_scorer

__all__ = ["reroll"]


def reroll(
    pipe: Any,
    prompt: str | Sequence[str],
    scorer: Any = None,
    *,
    min_visual_quality: float | None = None,
    min_alignment: float | None = None,
    max_tries: int = 8,
    seed: int = 0,
    combine: Combination = "mean",
    keep_images: str = "best",
    output_type: str = "pil",
    generator_device: str = "cpu",
    progress: bool | None = None,
    **pipeline_kwargs: Any,
) -> RerollResult | list[RerollResult]:
    """Make images of a prompt, one after another, until one reaches both minimums.

    Attempt k has the seed ``seed + k``, and can be made again alone: see `regenerate`. A rejection
    never raises: if no attempt passes, ``best`` is the highest score and ``passed`` is False.

    Args:
        pipe: any text-to-image pipeline of diffusers.
        prompt: one text, or a list of texts, each with tries of its own.
        scorer: as in `best_of_n`; None = the embedded critic.
        min_visual_quality: 0..1; None = any.
        min_alignment: 0..1; None = any. An image without a score does not reach it.
        max_tries: at most so many images a prompt.
        combine: what makes one rejected image better than another; see `combine_scores`.
        keep_images: "best", "all" or "none".
        output_type: "pil", or "pt" = float tensors [3,H,W] in [0,1] on the pipeline's device.
        generator_device, progress, pipeline_kwargs: as in `best_of_n`; ``latents`` need one row a
            try, as new seeds do not change them.

    Returns:
        `RerollResult`; a list of them for a list of prompts.

    Raises:
        ConfigError, PromptError: a wrong argument, before anything is generated.
        DiffusionError: as `best_of_n`.
    """
    check_count("max_tries", max_tries)
    check_seed(seed, max_tries)
    check_choices(keep_images, output_type, combine)
    minimums = _checked_minimums(min_visual_quality, min_alignment)
    calls = plan_calls(pipe, prompt, max_tries, pipeline_kwargs)
    if min_alignment is not None and not all(call.prompt.strip() for call in calls):
        raise ConfigError("min_alignment: expected a prompt to align with, found an empty one")
    scorer = load_scorer(scorer, pipe)
    source = ImageSource(
        pipe, range(seed, seed + max_tries), generator_device=generator_device, batch_size=1
    )
    results = []
    with candidate_bar(pipe, max_tries * len(calls), "re-roll", shown=progress) as bar:
        for call in calls:
            maker = CandidateMaker(
                source,
                call,
                scorer,
                combine=combine,
                keep_images=keep_images,
                output_type=output_type,
            )
            results.append(_until_passed(maker, call, minimums, bar))
    return results[0] if isinstance(prompt, str) else results


def _until_passed(
    maker: CandidateMaker, call: PromptCall, minimums: dict[str, float], bar: Any
) -> RerollResult:
    passed = False
    num_tries = len(maker.source.seeds)
    for attempt in range(num_tries):
        for batch in maker.source.batches(call, [attempt]):
            passed = _passes(maker.add(batch)[0], minimums)
        if passed:
            maker.keep_only(attempt)
            bar.update(num_tries - attempt)  # the tries that are not needed any more
            break
        bar.update(1)
    return RerollResult(
        maker.finished(),
        call.prompt,
        describe_combination(maker.combine),
        passed=passed,
        minimums=minimums,
    )


def _passes(candidate: Candidate, minimums: dict[str, float]) -> bool:
    """Whether every minimum is reached; NaN reaches none, and a failed image none either."""
    reached = all(getattr(candidate, name) >= least for name, least in minimums.items())
    return reached and candidate.error is None


def _checked_minimums(visual_quality: Any, alignment: Any) -> dict[str, float]:
    minimums = {}
    for name, value in (("visual_quality", visual_quality), ("alignment", alignment)):
        if value is None:
            continue
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not is_number or not 0.0 <= value <= 1.0:  # NaN as well
            raise ConfigError(f"min_{name}: expected a number from 0 to 1, found {value!r}")
        minimums[name] = float(value)
    if not minimums:
        raise ConfigError(
            "reroll: expected min_visual_quality or min_alignment, found neither: every image "
            "would pass"
        )
    return minimums
