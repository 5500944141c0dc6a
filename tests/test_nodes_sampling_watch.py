"""Early abort: when a sampling is looked at, and that what comes out is a plain run of its seed."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from eliq_nodes.sampling_trigger import has_reached, trigger_sigma
from eliq_nodes.sampling_watch import SEED_LIMIT, SamplingWatch, WatchTools
from eliq_nodes.seed_noise import NoiseDraws, find_draws
from eliq_nodes.try_results import Thresholds

SIGMAS = torch.tensor([10.0, 6.0, 3.0, 1.0, 0.0])
SHAPE = (2, 4, 8, 8)


def percent_to_sigma(percent: float) -> float:
    """A model whose sigma falls from 10 to 0 evenly, with ComfyUI's values at the ends."""
    return 999999999.9 if percent <= 0 else 0.0 if percent >= 1 else 10 * (1 - percent)


def draw(shape, seed: int, draws: NoiseDraws | None = None) -> torch.Tensor:
    """Noise as ComfyUI draws it, by the global generator."""
    generator = torch.manual_seed(seed)
    if draws is None or draws.indices is None:
        return torch.randn(shape, generator=generator)
    one = [torch.randn(1, *shape[1:], generator=generator) for _ in range(max(draws.indices) + 1)]
    return torch.cat([one[i] for i in draws.indices])


class Sampling:
    """A toy of the program around: stochastic steps, a seed in the conditioning, a state."""

    def __init__(self, watch: SamplingWatch | None = None, *, fires: bool = True) -> None:
        self.watch, self.fires = watch, fires
        self.class_obj = SimpleNamespace(conds={"positive": [{"word": 0.5}]})
        self.seeds: list[int] = []
        self.steps: list[tuple[int, int]] = []

    def __call__(self, noise, latent, sampler, sigmas, mask, callback, no_bar, seed, **kwargs):
        self.seeds.append(seed)
        cond = self.class_obj.conds["positive"][0]
        assert "resolved" not in cond, "the conditioning of another run"
        self.class_obj.conds["positive"][0] = {**cond, "resolved": seed % 97}
        x = noise * sigmas[0] + latent
        for step in range(len(sigmas) - 1):
            estimate = self.model(x, sigmas[step].expand(len(x)), seed)
            if callback is not None and self.fires:
                callback(step, estimate, x, len(sigmas) - 1)
            x = estimate + sigmas[step + 1] * torch.randn(x.shape)  # the global state, on purpose
        return x

    def model(self, x, sigma, seed):
        def call(x, sigma):
            return torch.tanh(x / (1 + sigma[0])) + (seed % 97) / 100

        return call(x, sigma) if self.watch is None else self.watch.predict_noise(call, x, sigma)

    def run(self, seed, *, draws=None, noise=None, sigmas=SIGMAS, callback=None, **kwargs):
        self.class_obj.conds = {"positive": [{"word": 0.5}]}
        latent = torch.zeros(SHAPE)
        noise = draw(SHAPE, seed, draws) if noise is None else noise
        arguments = (noise, latent, "euler", sigmas, None, callback, True, seed)
        if self.watch is None:
            return self(*arguments, **kwargs)
        return self.watch.outer_sample(self, *arguments, **kwargs)


def watch_of(qualities, *, at=0.4, minimum=0.5, restarts=3, told=None):
    """A watch that scores the estimates of its tries with ``qualities``, one a try."""
    left = list(qualities)

    def score(guider, estimate):
        torch.rand(3)  # a decoder that draws
        quality = left.pop(0)
        return [quality] * len(estimate), [math.nan] * len(estimate)

    return SamplingWatch(
        at,
        Thresholds(min_visual_quality=minimum),
        restarts,
        WatchTools(
            percent_to_sigma=lambda guider: percent_to_sigma,
            redraw=lambda latent, seed, draws: draw(latent.shape, seed, draws),
            score=score,
            clean_up=lambda guider: guider.conds.update(cleaned=[]),
            fingerprint=lambda latent: str(latent.double().sum().item()),
            tell=(told if told is not None else []).append,
        ),
    )


def plain(seed, **kwargs):
    return Sampling().run(seed, **kwargs)


def test_a_passing_run_is_the_plain_run():
    sampling = Sampling(watch_of([0.9]))
    out = sampling.run(5)
    assert torch.equal(out, plain(5))
    assert sampling.seeds == [5]
    report = sampling.watch.report_of(out)
    assert (report.seed, report.attempts, report.is_passed) == (5, 1, True)


@pytest.mark.parametrize("draws", [None, NoiseDraws((0, 1)), NoiseDraws((4, 2))])
def test_the_accepted_seed_is_to_the_last_bit_a_plain_run(draws):
    sampling = Sampling(watch_of([0.1, 0.2, 0.9]))
    out = sampling.run(5, draws=draws)
    assert sampling.seeds == [5, 6, 7]
    assert torch.equal(out, plain(7, draws=draws))
    report = sampling.watch.report_of(out)
    assert (report.seed, report.attempts, report.is_passed) == (7, 3, True)


def test_a_refused_try_ends_at_the_fraction():
    steps = []
    sampling = Sampling(watch_of([0.1, 0.9], at=0.4))  # sigma 6 is reached at the second step
    sampling.run(0, callback=lambda step, *_: steps.append(step))
    assert steps == [0, 1, 0, 1, 2, 3]


def test_the_best_seed_is_taken_when_nothing_passes():
    sampling = Sampling(watch_of([0.1, 0.4, 0.3, 0.2]))
    out = sampling.run(5)
    assert sampling.seeds == [5, 6, 7, 8, 6]
    assert torch.equal(out, plain(6))
    report = sampling.watch.report_of(out)
    assert (report.seed, report.attempts, report.is_passed) == (6, 4, False)
    assert "nothing passed" in report.note


def test_the_last_try_goes_on_where_it_is_the_best():
    sampling = Sampling(watch_of([0.1, 0.2, 0.3, 0.4]))
    out = sampling.run(5)
    assert sampling.seeds == [5, 6, 7, 8]
    assert torch.equal(out, plain(8))
    assert not sampling.watch.report_of(out).is_passed


def test_of_equal_tries_the_first_is_the_best():
    sampling = Sampling(watch_of([0.3, 0.3], restarts=1))
    assert torch.equal(sampling.run(5), plain(5))


def test_no_restarts_is_only_looking():
    sampling = Sampling(watch_of([0.1], restarts=0))
    out = sampling.run(5)
    assert sampling.seeds == [5]
    assert not sampling.watch.report_of(out).is_passed


def test_seeds_begin_again_at_zero():
    sampling = Sampling(watch_of([0.1, 0.9]))
    assert torch.equal(sampling.run(SEED_LIMIT - 1), plain(0))


@pytest.mark.parametrize(
    ("kwargs", "word"),
    [
        ({"noise": torch.zeros(SHAPE)}, "noise is not"),
        ({"noise": torch.ones(SHAPE)}, "noise is not"),
        ({"latent_shapes": [SHAPE, SHAPE]}, "more than one stream"),
        ({"sigmas": SIGMAS.flip(0)}, "does not fall"),
    ],
)
def test_what_cannot_be_drawn_again_passes_unwatched(kwargs, word):
    sampling = Sampling(watch_of([]))
    out = sampling.run(3, **kwargs)
    report = sampling.watch.report_of(out)
    assert sampling.seeds == [3]
    assert (report.seed, report.attempts, report.is_passed) == (3, 1, False)
    assert word in report.note


def test_a_sampler_that_tells_nothing_on_its_way_is_reported():
    sampling = Sampling(watch_of([]), fires=False)
    out = sampling.run(3)
    assert "no estimate" in sampling.watch.report_of(out).note


def test_reports_belong_to_their_latents():
    sampling = Sampling(watch_of([0.9, 0.1, 0.9]))
    first, second = sampling.run(1), sampling.run(2)
    assert sampling.watch.report_of(first).seed == 1
    assert sampling.watch.report_of(second).seed == 3
    assert sampling.watch.report_of(second + 1) is None


def test_other_errors_come_through_and_leave_no_run_behind():
    watch = watch_of([])  # scoring fails: no score left
    sampling = Sampling(watch)
    with pytest.raises(IndexError):
        sampling.run(1)
    assert watch._runs == []


def test_the_user_is_told():
    told: list[str] = []
    Sampling(watch_of([0.1, 0.9], told=told)).run(5)
    assert told == [
        "try 1: visual quality 0.100: next seed",
        "seed 6: passed try 2 of 2: visual quality 0.900",
    ]


@pytest.mark.parametrize(
    ("at", "step"), [(0.0, 0), (0.3, 1), (0.4, 1), (0.5, 2), (0.75, 3), (1, 3)]
)
def test_the_fraction_is_of_the_noise_schedule(at, step):
    trigger = trigger_sigma(percent_to_sigma, SIGMAS.tolist(), at)
    reached = [i for i, sigma in enumerate(SIGMAS[:-1].tolist()) if has_reached(sigma, trigger)]
    assert reached[0] == step


def test_the_fraction_is_of_the_way_of_the_run():
    """Image to image from sigma 6: half of its way is sigma 3."""
    trigger = trigger_sigma(percent_to_sigma, [6.0, 5.0, 3.0, 1.0, 0.0], 0.5)
    assert trigger == pytest.approx(3.0, abs=1e-4)


def test_a_run_that_stops_early_ends_its_way_there():
    trigger = trigger_sigma(percent_to_sigma, [10.0, 8.0, 6.0], 0.5)
    assert trigger == pytest.approx(8.0, abs=1e-4)


@pytest.mark.parametrize("at", [-0.1, 1.1, math.nan])
def test_fractions_outside_are_refused(at):
    with pytest.raises(ValueError, match="from 0 to 1"):
        trigger_sigma(percent_to_sigma, [1.0, 0.0], at)


@pytest.mark.parametrize("sigmas", [[], [1.0], [0.0, 1.0], [1.0, 1.0]])
def test_nothing_to_look_at(sigmas):
    assert trigger_sigma(percent_to_sigma, sigmas, 0.4) is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_noise_of_a_seed_is_known_again(dtype):
    assert find_draws(draw(SHAPE, 9).to(dtype), 9) == NoiseDraws()
    assert find_draws(draw(SHAPE, 9), 8) is None
    assert find_draws(torch.zeros(SHAPE), 9) is None
    assert find_draws(draw(SHAPE, 9, NoiseDraws((3, 3))).to(dtype), 9) == NoiseDraws((3, 3))
    assert find_draws(torch.zeros(0, 4, 8, 8), 9) is None


def test_knowing_noise_again_draws_nothing_from_the_global_state():
    noise = draw(SHAPE, 9)
    before = torch.get_rng_state()
    find_draws(noise, 9)
    assert torch.equal(before, torch.get_rng_state())
