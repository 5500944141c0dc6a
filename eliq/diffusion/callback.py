"""Scores while a pipeline is generating, and an end to hopeless runs.

    callback = ScoreCallback(scorer, prompt, min_visual_quality=0.3, abort=True)
    result = callback.run(pipe, prompt)              # None where the run was aborted
    [(step.fraction, step.visual_quality) for step in callback.history]

What is scored is the clean image that the model believes in at that step, see clean_estimate.py.
Early previews rank images less surely than final ones do: an abort is a bet, a threshold for it
belongs below the one for finished images.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..errors import ConfigError, DiffusionError
from .call_size import guess_size, watch_size
from .clean_estimate import SchedulerTap, StepEstimate, check_fractions, crosses
from .decoding import latents_to_images
from .one_step_tap import OneStepTap
from .pipelines import describe_pipeline, free_hooks
from .schedulers import Position, check_scheduler, run_position
from .scoring import load_scorer
from .step_scores import StepScores, Thresholds, score_previews

__all__ = ["RunAborted", "ScoreCallback"]

logger = logging.getLogger("eliq")


class RunAborted(BaseException):
    """Ends a pipeline's call from inside. `ScoreCallback.run` and `attach` catch their own.

    No Exception: loops of modular pipelines would log those as failures.
    """

    def __init__(self, callback: ScoreCallback) -> None:
        super().__init__("the run was aborted by its ScoreCallback")
        self.callback = callback


class ScoreCallback:
    """Scores previews at chosen fractions of a run, in one of four ways:

    - ``callback.run(pipe, prompt, ...)``: calls the pipeline; the simplest.
    - ``with callback.attach(pipe): ...``: around calls of the user's own, on every pipeline with a
      scheduler that is known, modular ones too. An abort leaves the ``with`` block.
    - ``pipe(..., callback_on_step_end=callback)`` where the pipeline has it. The first step cannot
      be scored (its fractions are, one step later), and an abort skips the steps that are left but
      not the decoding; pipelines that know no interrupt go on to the end.
    - ``callback.block()``, for the loop of a modular pipeline.

    Images are the same bit for bit as without it, unless the run is aborted. Everything that is
    patched (`scheduler.step`, and `prepare_latents` to learn the size) is restored.

    Args:
        scorer: `eliq.Scorer`; None = the embedded critic.
        prompt: what the images are scored with: a text, a list of texts (as the pipeline gets
            them, each with as many images), or None for visual quality alone.
        at: fractions of the run in (0, 1] at which to score.
        min_visual_quality, min_alignment: 0..1; a run is hopeless when no image of it reaches
            them. An image that cannot be scored, such as one of NaN latents, does not.
        decoder: an AutoencoderTiny for previews; None = the pipeline's own autoencoder, which can
            cost as much as a step, and more under CPU offload.
        abort: end a hopeless run; False = only say so in ``rejected_at``.
        height, width: of the call, in pixels; needed as `callback_on_step_end` on pipelines with
            packed latents (FLUX, Qwen-Image, Chroma) when the image is neither square nor of the
            default size.

    Attributes:
        history: `StepScores` of every scored step, in order, over all runs.
        rejected_at: fraction at which the latest run was found hopeless, or None.
        aborted: whether the latest run was ended for it.

    Raises:
        ConfigError: fractions or thresholds out of range, ``abort`` without a threshold, or
            ``min_alignment`` without a prompt.
    """

    tensor_inputs = ("latents",)

    def __init__(
        self,
        scorer: Any = None,
        prompt: str | Sequence[str | None] | None = None,
        *,
        at: Iterable[float] = (0.25, 0.5, 0.75),
        min_visual_quality: float | None = None,
        min_alignment: float | None = None,
        decoder: Any = None,
        abort: bool = False,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        self.thresholds = Thresholds(min_visual_quality, min_alignment)
        if abort and not self.thresholds:
            raise ConfigError("abort: expected min_visual_quality or min_alignment beside it")
        self.prompts = [prompt] if prompt is None or isinstance(prompt, str) else list(prompt)
        if not self.prompts:
            raise ConfigError("prompt: expected a text, a list of texts or None, found no text")
        has_prompt = any(isinstance(text, str) and text.strip() for text in self.prompts)
        if min_alignment is not None and not has_prompt:
            raise ConfigError("min_alignment: expected a prompt to align with, found none")
        self.scorer, self.decoder, self.abort = scorer, decoder, abort
        self.at = check_fractions(at)
        self.history: list[StepScores] = []
        self.rejected_at: float | None = None
        self.aborted = False
        self.height, self.width = height, width
        self._scorer: Any = None
        self._run = self._last_step = self._num_steps = -1
        self._is_attached = False
        self._watches_latents = True
        self._armed: OneStepTap | None = None

    def run(self, pipe: Any, *args: Any, **kwargs: Any) -> Any:
        """``pipe(*args, **kwargs)`` with scores; None if the run was aborted.

        Raises:
            DiffusionError: as `attach`. Errors of the pipeline and of the scorer come through.
        """
        result = None
        with self.attach(pipe, height=kwargs.get("height"), width=kwargs.get("width")):
            result = pipe(*args, **kwargs)
        return result

    @contextmanager
    def attach(
        self, pipe: Any, *, height: int | None = None, width: int | None = None
    ) -> Iterator[ScoreCallback]:
        """Score the calls of ``pipe`` inside the ``with`` block; an abort leaves the block.

        Args:
            height, width: of these calls; only modular pipelines need to be told.

        Raises:
            DiffusionError: no scheduler whose clean estimate is known, or attached already.
        """
        if self._is_attached:
            raise DiffusionError("this callback is attached already: use one for each pipeline")
        self._disarm()
        self._begin_run()
        with watch_size(pipe) as seen:

            def on_estimate(estimate: StepEstimate) -> None:
                self.receive(pipe, estimate, **(seen or {"height": height, "width": width}))

            with SchedulerTap(pipe, on_estimate, at=self.at):
                self._is_attached = True
                try:
                    yield self
                except RunAborted as stop:
                    if stop.callback is not self:
                        raise
                    free_hooks(pipe)  # as the pipeline would have done at its end
                finally:
                    self._is_attached = False

    def __call__(
        self, pipe: Any, step_index: int, timestep: Any, callback_kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """What `callback_on_step_end` calls; gives ``callback_kwargs`` back as they are.

        Latents after a step do not hold x0. So this looks ahead: where the next step reaches a
        fraction, the scheduler is tapped until that step is done, or until the latents of this
        step are gone, as they are when the pipeline fails in between. Where another callback
        replaces the latents, a fraction may be scored one step late, and after a failure the tap
        stays until the next step.
        """
        if self._is_attached:
            return callback_kwargs
        if step_index == 0:
            self._begin_run()
            check_scheduler(pipe.scheduler)
        elif self._armed is not None and self._armed.was_missed:
            # Somebody gave the pipeline other latents instead of ours: their end tells nothing.
            self._watches_latents = False
        self._disarm()
        where = run_position(pipe.scheduler, timestep)
        done = max((step.fraction for step in self.history if step.run == self._run), default=0.0)
        if where.index + 1 < where.num_steps and crosses(self.at, done, where.next_fraction):
            self._armed = OneStepTap(
                pipe,
                where.index + 1,
                functools.partial(self._receive_ahead, pipe),
                while_alive=callback_kwargs.get("latents") if self._watches_latents else None,
            )
        return callback_kwargs

    def block(self) -> Any:
        """A block for the loop of a modular pipeline, to be inserted right before the scheduler's
        step, between ``denoiser`` and ``after_denoiser``:

            loop.sub_blocks.insert("score", callback.block(), len(loop.sub_blocks) - 1)

        With ``abort`` it raises `RunAborted`, which is no Exception. `attach` does the same
        without a block, and catches it.
        """
        from .callback_block import ScoreBlock

        return ScoreBlock(self)

    def receive(
        self,
        pipe: Any,
        estimate: StepEstimate,
        *,
        height: int | None = None,
        width: int | None = None,
    ) -> None:
        """Score one estimate; what `attach` and `block` do at their steps.

        Raises:
            RunAborted: the run is hopeless, and ``abort`` is set.
            DiffusionError: latents that the pipeline's autoencoder or the decoder cannot decode.
        """
        # A run of more steps may reach its first fraction later than the one before its last.
        is_next = estimate.num_steps == self._num_steps and estimate.step_index > self._last_step
        if self._run < 0 or (self._last_step >= 0 and not is_next):
            self._begin_run()
        self._last_step, self._num_steps = estimate.step_index, estimate.num_steps
        if self._is_hopeless(pipe, estimate, height, width) and self.abort:
            self.aborted = True
            raise RunAborted(self)

    def is_due(self, position: Position) -> bool:
        """Whether this step reaches a fraction at which to score."""
        return not self._is_attached and crosses(
            self.at, position.previous_fraction, position.fraction
        )

    def _receive_ahead(self, pipe: Any, estimate: StepEstimate) -> None:
        """The same for `callback_on_step_end`, where nobody would catch an abort."""
        if not self._is_hopeless(pipe, estimate, None, None) or not self.abort:
            return
        if describe_pipeline(pipe).honours_interrupt:
            self.aborted = True
            pipe._interrupt = True
        else:
            logger.warning(
                "%s heeds no interrupt and goes on: use ScoreCallback.run", type(pipe).__name__
            )

    def _is_hopeless(
        self, pipe: Any, estimate: StepEstimate, height: int | None, width: int | None
    ) -> bool:
        """Score, record, and say whether no image of the run reaches the thresholds."""
        height, width = self.height or height, self.width or width
        if height is None or width is None:
            height, width = guess_size(pipe, estimate.latents)
        if self._scorer is None:
            self._scorer = load_scorer(self.scorer, pipe)
        images = latents_to_images(
            pipe, estimate.latents, height=height, width=width, decoder=self.decoder
        )
        scored = score_previews(self._scorer, images, self.prompts)
        step = StepScores(
            self._run, estimate.step_index, estimate.num_steps, estimate.fraction, scored
        )
        self.history.append(step)
        is_hopeless = not any(self.thresholds.accept(image) for image in scored)
        if is_hopeless and self.rejected_at is None:
            self.rejected_at = estimate.fraction
            logger.info("no image reached the thresholds at %.0f %%", 100 * estimate.fraction)
        return is_hopeless

    def _begin_run(self) -> None:
        self._run += 1
        self._last_step = -1
        self.rejected_at, self.aborted = None, False

    def _disarm(self) -> None:
        if self._armed is not None:
            self._armed.close()
            self._armed = None
