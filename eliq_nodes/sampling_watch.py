"""A sampling that is looked at on its way and begun again with the next seed. Nothing of ComfyUI.

The watch wraps the whole sampling (ComfyUI's OUTER_SAMPLE) and not only its loop of steps, since
some models put the seed into their conditioning, too, and caches of patches begin anew there: what
comes out for a seed is to the last bit what a plain run of that seed gives.

Shapes: noise and latents [B,C,H,W] or [B,C,T,H,W]; B images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .sampling_trigger import has_reached, trigger_sigma
from .seed_noise import NoiseDraws, find_draws
from .try_results import Thresholds, TryResult, judge_try

__all__ = ["SEED_LIMIT", "SamplingWatch", "WatchReport", "WatchTools"]

SEED_LIMIT = 1 << 64  # seeds begin again at 0 after it
_MAX_REPORTS = 256


class _Abandoned(BaseException):
    """Leaves a sampling on its way. No Exception: samplers may catch those as their own faults."""

    def __init__(self, result: TryResult) -> None:
        super().__init__()
        self.result = result


@dataclass(frozen=True)
class WatchTools:
    """What the watch needs of the program around it.

    Attributes:
        percent_to_sigma: of a guider: the function of its model's sampling.
        redraw: (latent, seed, draws) -> noise, as the program's own nodes draw it.
        score: (guider, clean-image estimate) -> visual quality [B], alignment [B].
        clean_up: of a guider, after a sampling that was left on its way.
        fingerprint: of a latent that came out: equal for equal latents.
        tell: shows a line to the user.
    """

    percent_to_sigma: Callable[[Any], Callable[[float], float]]
    redraw: Callable[[Tensor, int, NoiseDraws], Tensor]
    score: Callable[[Any, Tensor], tuple[Sequence[float], Sequence[float]]]
    clean_up: Callable[[Any], None]
    fingerprint: Callable[[Tensor], str]
    tell: Callable[[str], None]


@dataclass(frozen=True)
class WatchReport:
    """What became of one sampling.

    Attributes:
        seed: that the latent was made with; None where the sampler has none.
        attempts: seeds that were begun.
        is_passed: whether the estimate of that seed passed; False where none was looked at.
        tries: the results, in order.
        note: one line for the user.
    """

    seed: int | None
    attempts: int
    is_passed: bool
    tries: tuple[TryResult, ...] = ()
    note: str = ""


@dataclass
class _Run:
    """One pass of the sampler: the noise level it is at, and what was seen of it."""

    trigger: float | None  # None = not looked at
    number: int = 0
    best: TryResult | None = None  # of the tries before
    is_last: bool = False
    sigma: float = float("inf")
    result: TryResult | None = None


@dataclass(eq=False)
class SamplingWatch:
    """The two wrappers of one MODEL, and the reports of what was sampled with it.

    Args:
        at: fraction of the way at which the estimate is scored, 0..1.
        thresholds: when it passes.
        max_restarts: seeds after the first one.
        tools: the program around.
    """

    at: float
    thresholds: Thresholds
    max_restarts: int
    tools: WatchTools
    _runs: list[_Run] = field(default_factory=list)
    _reports: dict[str, WatchReport] = field(default_factory=dict)

    def predict_noise(self, executor: Any, x: Tensor, timestep: Tensor, *args: Any, **kwargs: Any):
        """Around each call of the model: the only place where every sampler tells its sigma."""
        run = self._runs[-1] if self._runs else None
        if run and run.trigger is not None and run.result is None:
            run.sigma = float(timestep.max())
        return executor(x, timestep, *args, **kwargs)

    def outer_sample(
        self,
        executor: Any,
        noise: Tensor,
        latent: Tensor,
        sampler: Any,
        sigmas: Tensor,
        mask: Tensor | None = None,
        callback: Callable[..., None] | None = None,
        disable_pbar: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Around a whole sampling: as many of them as it takes.

        Returns:
            The latent of the first seed whose estimate passes; of the best seed where none does.
        """
        guider = executor.class_obj
        conds = _copied(guider.conds)

        def sample(run: _Run, seed: int | None, noise: Tensor) -> Tensor:
            watched = callback if run.trigger is None else self._watching(run, guider, callback)
            self._runs.append(run)
            try:
                return executor(
                    noise, latent, sampler, sigmas, mask, watched, disable_pbar, seed, **kwargs
                )
            finally:
                self._runs.pop()

        draws, trigger, why_not = self._plan(guider, noise, sigmas, seed, kwargs)
        if trigger is None or draws is None or seed is None:
            out = sample(_Run(None), seed, noise)
            return self._done(out, WatchReport(seed, 1, False, note=f"not looked at: {why_not}"))

        tries: list[TryResult] = []
        for number in range(self.max_restarts + 1):
            current = (seed + number) % SEED_LIMIT
            best = max(tries, default=None)
            run = _Run(trigger, number, best, number == self.max_restarts)
            if number:
                noise = self._begin_again(guider, conds, latent, current, draws)
            try:
                out = sample(run, current, noise)
            except _Abandoned as left:
                tries.append(left.result)
                self.tools.clean_up(guider)
                continue
            tries += [run.result] if run.result else []
            return self._done(out, self._report(current, number + 1, tries, run.result))
        best = max(tries)
        current = (seed + best.number) % SEED_LIMIT
        noise = self._begin_again(guider, conds, latent, current, draws)
        out = sample(_Run(None), current, noise)
        return self._done(out, self._report(current, len(tries), tries, best))

    def report_of(self, latent: Tensor) -> WatchReport | None:
        """What became of the sampling that this latent came out of; None = it is another's."""
        return self._reports.get(self.tools.fingerprint(latent))

    def _plan(
        self, guider: Any, noise: Tensor, sigmas: Tensor, seed: int | None, kwargs: dict[str, Any]
    ) -> tuple[NoiseDraws | None, float | None, str]:
        """How the noise was drawn and when to look, or why there will be no looking."""
        if len(kwargs.get("latent_shapes") or ()) > 1:
            return None, None, "the latent holds more than one stream"
        if seed is None:
            return None, None, "the sampler has no seed"
        draws = find_draws(noise, seed)
        if draws is None:
            return None, None, "the noise is not that of the sampler's seed (a later stage?)"
        levels = [float(sigma) for sigma in sigmas.cpu()]
        trigger = trigger_sigma(self.tools.percent_to_sigma(guider), levels, self.at)
        return draws, trigger, "the noise does not fall"

    def _watching(self, run: _Run, guider: Any, callback: Callable[..., None] | None):
        def watching(step: int, estimate: Tensor, x: Tensor, total: int) -> None:
            if callback is not None:
                callback(step, estimate, x, total)
            if run.result is None and has_reached(run.sigma, run.trigger):
                on_gpu = [estimate.device] if estimate.device.type == "cuda" else []
                with torch.random.fork_rng(on_gpu):  # steps may draw from the global state
                    scores = self.tools.score(guider, estimate)
                run.result = result = judge_try(*scores, self.thresholds, run.number)
                # The last try goes on where it is the best: it need not be begun again.
                is_kept = run.is_last and (run.best is None or result > run.best)
                if not result.is_passed and not is_kept:
                    self.tools.tell(f"try {run.number + 1}: {result.describe()}: next seed")
                    raise _Abandoned(result)

        return watching

    def _begin_again(
        self, guider: Any, conds: dict[str, Any], latent: Tensor, seed: int, draws: NoiseDraws
    ) -> Tensor:
        guider.conds = _copied(conds)  # a sampling leaves its own, resolved, in their place
        return self.tools.redraw(latent, seed, draws)

    def _report(
        self, seed: int, attempts: int, tries: list[TryResult], result: TryResult | None
    ) -> WatchReport:
        if result is None:
            note = "not looked at: the sampler gave no estimate"
        else:
            word = "passed" if result.is_passed else "nothing passed, the best is"
            note = f"{word} try {result.number + 1} of {attempts}: {result.describe()}"
        is_passed = result is not None and result.is_passed
        return WatchReport(seed, attempts, is_passed, tuple(tries), note)

    def _done(self, out: Tensor, report: WatchReport) -> Tensor:
        self._reports[self.tools.fingerprint(out)] = report
        while len(self._reports) > _MAX_REPORTS:
            del self._reports[next(iter(self._reports))]
        self.tools.tell(f"seed {report.seed}: {report.note}")
        return out


def _copied(conds: dict[str, Any]) -> dict[str, Any]:
    return {name: [dict(cond) for cond in group] for name, group in conds.items()}
