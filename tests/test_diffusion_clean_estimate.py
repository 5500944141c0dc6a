"""The tap on `scheduler.step`: which steps it tells of, and that it leaves no trace."""

from __future__ import annotations

import copy

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from eliq.diffusion.schedulers import check_scheduler  # noqa: E402
from eliq.errors import ConfigError, DiffusionError  # noqa: E402
from tests.scheduler_runs import SD, STEPS, TOLERANCE, relative_error, run, start  # noqa: E402


def euler(**settings):
    return diffusers.EulerDiscreteScheduler(**SD, **settings)


def test_heun_makes_15_calls_for_8_steps():
    scheduler, estimates = diffusers.HeunDiscreteScheduler(**SD), []
    with SchedulerTap(scheduler, estimates.append):
        run(scheduler, lambda x, t: x, start(scheduler))
    assert [e.num_steps for e in estimates] == [15] * 15
    assert [e.step_index for e in estimates] == list(range(15))
    assert [e.fraction for e in estimates] == [(k + 1) / 15 for k in range(15)]


def test_pndm_repeats_a_timestep_and_counts_on():
    scheduler, estimates = diffusers.PNDMScheduler(**SD, skip_prk_steps=True), []
    with SchedulerTap(scheduler, estimates.append):
        run(scheduler, lambda x, t: x, start(scheduler))
        run(scheduler, lambda x, t: x, start(scheduler))
    assert [e.step_index for e in estimates] == 2 * list(range(9))


@pytest.mark.parametrize(
    ("at", "num_steps", "reached"),
    [
        ((0.25, 0.5, 0.75), 8, [2, 4, 6]),
        ((0.3,), 10, [3]),  # 0.3 is not quite 3 / 10
        ((0.25, 0.5, 0.75), 3, [1, 2, 3]),
        ((0.1, 0.2), 2, [1]),  # two at once make one estimate
        ((1.0,), 4, [4]),
        (0.5, 4, [2]),
        (None, 3, [1, 2, 3]),
    ],
)
@pytest.mark.parametrize("name", ["DDIMScheduler", "EulerDiscreteScheduler"])
def test_fractions_choose_the_calls(name, at, num_steps, reached):
    scheduler, estimates = getattr(diffusers, name)(**SD), []
    with SchedulerTap(scheduler, estimates.append, at=at):
        for _ in range(2):  # every run anew
            run(scheduler, lambda x, t: x, start(scheduler, num_steps=num_steps))
    assert [e.step_index + 1 for e in estimates] == 2 * reached


def test_a_run_that_starts_inside_the_schedule_counts_from_there():
    scheduler, estimates = euler(), []
    latents = start(scheduler)
    scheduler.set_begin_index(4)
    with SchedulerTap(scheduler, estimates.append):
        for timestep in scheduler.timesteps[4:]:
            scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(latents, timestep, latents).prev_sample
    assert [e.fraction for e in estimates] == [0.25, 0.5, 0.75, 1.0]
    assert estimates[0].sigma == float(scheduler.sigmas[4])


@pytest.mark.parametrize("fractions", [(), (0.0,), (1.5,), (-0.1, 0.5), (float("nan"),)])
def test_fractions_outside_a_run_are_refused(fractions):
    with pytest.raises(ConfigError, match="expected fractions in"):
        SchedulerTap(euler(), print, at=fractions)


def test_restored_after_exceptions_of_all_sorts():
    scheduler = euler()
    for error in (RuntimeError, KeyboardInterrupt):

        def fail(estimate, error=error):
            raise error

        with pytest.raises(error), SchedulerTap(scheduler, fail):
            run(scheduler, lambda x, t: x, start(scheduler))
        assert "step" not in vars(scheduler)
        with pytest.raises(error), SchedulerTap(scheduler, print):
            raise error
        assert "step" not in vars(scheduler)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_nested_taps_may_be_left_in_any_order(order):
    scheduler, seen = euler(), []
    taps = [SchedulerTap(scheduler, lambda e, n=n: seen.append(n), at=1.0) for n in range(3)]
    for tap in taps:
        tap.__enter__()
    run(scheduler, lambda x, t: x, start(scheduler))
    assert seen == [0, 1, 2]
    for count, leaving in enumerate(order):
        assert "step" in vars(scheduler)
        taps[leaving].__exit__()
        seen.clear()
        run(scheduler, lambda x, t: x, start(scheduler))
        assert seen == [n for n in range(3) if n not in order[: count + 1]]
    assert "step" not in vars(scheduler)
    for tap in taps:
        tap.__exit__()  # a second time is harmless


def test_a_tap_is_entered_once_at_a_time():
    tap = SchedulerTap(euler(), print)
    with tap, pytest.raises(DiffusionError, match="already in place"):
        tap.__enter__()
    with tap:
        pass


def test_somebody_elses_wrapper_stays():
    """Around the original before us, or around us afterwards and left out of order."""
    scheduler, calls, seen = euler(), [], []
    original = scheduler.step

    def theirs(*args, **kwargs):
        calls.append(1)
        return original(*args, **kwargs)

    scheduler.step = theirs
    with SchedulerTap(scheduler, seen.append):
        run(scheduler, lambda x, t: x, start(scheduler))
    assert scheduler.step is theirs and len(calls) == len(seen) == STEPS
    del scheduler.step

    tap = SchedulerTap(scheduler, seen.append)
    tap.__enter__()
    ours = scheduler.step
    scheduler.step = lambda *args, **kwargs: ours(*args, **kwargs)
    outer = scheduler.step
    tap.__exit__()
    seen.clear()
    run(scheduler, lambda x, t: x, start(scheduler))
    assert scheduler.step is outer and not seen


def test_a_deep_copy_steps_itself():
    """Pipelines copy their scheduler in the middle of a call, and so do paused runs."""
    scheduler, seen = euler(), []
    with SchedulerTap(scheduler, seen.append):
        latents = start(scheduler)
        twin = copy.deepcopy(scheduler)
        run(twin, lambda x, t: x, latents)
        assert scheduler.step_index is None and twin.step_index == STEPS
        assert len(seen) == STEPS
    run(twin, lambda x, t: x, start(twin))
    assert len(seen) == STEPS and "step" not in vars(scheduler)


def test_settings_inherited_from_another_class_are_not_its_own():
    """from_config keeps what the new class does not know: Euler made from DDIM does not clip."""
    ddim = diffusers.DDIMScheduler(**SD, clip_sample=True, thresholding=True)
    scheduler = diffusers.EulerDiscreteScheduler.from_config(ddim.config)
    assert scheduler.config.clip_sample and scheduler.config.thresholding
    estimates = []
    with SchedulerTap(scheduler, estimates.append, at=1.0):
        final, _ = run(scheduler, lambda x, t: -x, start(scheduler))
    assert estimates[0].latents.abs().max() > 1
    assert relative_error(estimates[0].latents, final.double()) <= TOLERANCE


def test_an_output_that_holds_a_variance_is_halved():
    settings = {**SD, "variance_type": "learned_range", "clip_sample": False}
    scheduler, estimates = diffusers.DDPMScheduler(**settings), []
    with SchedulerTap(scheduler, estimates.append):
        _, calls = run(scheduler, lambda x, t: torch.cat([x, x * 0], 1), start(scheduler))
    for estimate, (_, _, result) in zip(estimates, calls, strict=True):
        assert relative_error(estimate.latents, result[1].double()) <= TOLERANCE


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32(dtype):
    """The arithmetic is float32 whatever the latents are: as good as their own rounding."""
    scheduler, estimates = diffusers.FlowMatchEulerDiscreteScheduler(), []
    latents = start(scheduler).to(dtype)
    with SchedulerTap(scheduler, estimates.append):
        _, calls = run(scheduler, lambda x, t: (x * 0.5).to(dtype), latents)
    for estimate, (before, timestep, _) in zip(estimates, calls, strict=True):
        x = before.double()
        wanted = x - float(timestep) / 1000 * (before * 0.5).double()
        assert estimate.latents.dtype == torch.float32
        assert relative_error(estimate.latents, wanted) <= TOLERANCE


def test_arguments_by_name_and_a_result_by_name():
    scheduler, estimates = euler(), []
    latents = start(scheduler)
    with SchedulerTap(scheduler, estimates.append):
        timestep = scheduler.timesteps[0]
        scheduler.scale_model_input(latents, timestep)
        result = scheduler.step(sample=latents, timestep=timestep, model_output=latents * 0.1)
    assert torch.equal(estimates[0].latents, result.pred_original_sample)


def test_the_estimate_shares_no_memory_with_the_run():
    scheduler, estimates = euler(prediction_type="sample"), []
    outputs = []

    def denoise(x, t):
        outputs.append(x.clone())
        return outputs[-1]

    with SchedulerTap(scheduler, estimates.append):
        run(scheduler, denoise, start(scheduler))
    for estimate, output in zip(estimates, outputs, strict=True):
        assert estimate.latents.data_ptr() != output.data_ptr()


def test_not_finite_latents_pass_through():
    scheduler, estimates = euler(), []
    with SchedulerTap(scheduler, estimates.append):
        run(scheduler, lambda x, t: x * float("nan"), start(scheduler))
    assert all(estimate.latents.isnan().all() for estimate in estimates)


def test_what_is_not_known_is_refused():
    with pytest.raises(DiffusionError, match="expected a pipeline"):
        SchedulerTap(object(), print)
    unknown = diffusers.UnCLIPScheduler()
    with pytest.raises(DiffusionError, match="UnCLIPScheduler: give the pipeline one of these"):
        SchedulerTap(unknown, print)

    class Mine(diffusers.EulerDiscreteScheduler):
        """A subclass is known by its parent."""

    check_scheduler(Mine())
    scheduler, timestep = euler(), torch.tensor(3.0)
    scheduler.register_to_config(prediction_type="score")
    scheduler.set_timesteps(2)
    with SchedulerTap(scheduler, print), pytest.raises((DiffusionError, ValueError)):
        scheduler.step(timestep, scheduler.timesteps[0], timestep)


def test_a_timestep_a_token_is_refused():
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    latents = start(scheduler).flatten(2)
    with SchedulerTap(scheduler, print), pytest.raises(DiffusionError, match="timestep a token"):
        scheduler.step(
            latents, scheduler.timesteps[0], latents,
            per_token_timesteps=torch.full(latents.shape[:2], 900.0),
        )  # fmt: skip
