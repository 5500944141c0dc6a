"""The tap on `scheduler.step`: its x0 is exact, and nothing but it is changed."""

from __future__ import annotations

import copy
import inspect
import math

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from eliq.diffusion.schedulers import check_scheduler  # noqa: E402
from eliq.errors import ConfigError, DiffusionError  # noqa: E402

SHAPE = (2, 4, 8, 8)
STEPS = 8
TOLERANCE = 1e-5
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
THREE = ("epsilon", "v_prediction", "sample")
FLOW = {"use_flow_sigmas": True, "flow_shift": 3.0}


def cases() -> list:
    """(class, settings, prediction): every scheduler of the issue with all that it can predict."""
    rows = [
        ("DDIMScheduler", {**SD, "clip_sample": False, "set_alpha_to_one": True}, THREE),
        ("DDIMScheduler", {**SD, "clip_sample": True}, ("epsilon",)),
        ("DDIMScheduler", {**SD, "thresholding": True}, ("epsilon",)),
        ("EulerDiscreteScheduler", SD, THREE),
        ("EulerDiscreteScheduler", {**SD, "use_karras_sigmas": True}, ("epsilon",)),
        ("EulerDiscreteScheduler", {**SD, "timestep_spacing": "trailing"}, ("v_prediction",)),
        ("EulerAncestralDiscreteScheduler", SD, ("epsilon", "v_prediction")),
        ("DPMSolverMultistepScheduler", SD, THREE),
        ("DPMSolverMultistepScheduler", {**SD, "algorithm_type": "dpmsolver",
                                         "final_sigmas_type": "sigma_min"}, THREE),
        ("DPMSolverMultistepScheduler", {**SD, "algorithm_type": "sde-dpmsolver++"}, THREE),
        ("DPMSolverMultistepScheduler", {**SD, "use_karras_sigmas": True, "solver_order": 3},
         ("epsilon",)),
        ("DPMSolverMultistepScheduler", {**SD, "thresholding": True}, ("epsilon",)),
        ("DPMSolverMultistepScheduler", FLOW, ("flow_prediction",)),
        ("UniPCMultistepScheduler", SD, THREE),
        ("UniPCMultistepScheduler", {**SD, "predict_x0": False}, THREE),
        ("UniPCMultistepScheduler", FLOW, ("flow_prediction",)),
        ("LCMScheduler", SD, THREE),
        ("LCMScheduler", {**SD, "clip_sample": True}, ("epsilon",)),
        ("HeunDiscreteScheduler", SD, THREE),
        ("HeunDiscreteScheduler", {**SD, "clip_sample": True}, ("epsilon",)),
        ("FlowMatchEulerDiscreteScheduler", {"shift": 3.0}, ("flow",)),
        ("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True}, ("flow",)),
        # beyond the issue
        ("DDPMScheduler", {**SD, "clip_sample": False}, THREE),
        ("PNDMScheduler", {**SD, "skip_prk_steps": True}, ("epsilon", "v_prediction")),
        ("TCDScheduler", SD, THREE),
        ("LMSDiscreteScheduler", SD, THREE),
        ("KDPM2DiscreteScheduler", SD, ("epsilon", "v_prediction")),
        ("KDPM2AncestralDiscreteScheduler", SD, ("epsilon", "v_prediction")),
        ("DEISMultistepScheduler", SD, THREE),
        ("DPMSolverSinglestepScheduler", SD, THREE),
        ("SASolverScheduler", SD, THREE),
        ("EDMEulerScheduler", {}, ("epsilon", "v_prediction")),
        ("EDMDPMSolverMultistepScheduler", {}, ("epsilon", "v_prediction")),
        ("FlowMatchHeunDiscreteScheduler", {"shift": 3.0}, ("flow",)),
        ("FlowMatchLCMScheduler", {"shift": 3.0}, ("flow",)),
    ]  # fmt: skip
    found = []
    for name, settings, predictions in rows:
        words = [k if v is True else f"{k}={v}" for k, v in settings.items() if k not in SD]
        for prediction in predictions:
            ident = "-".join([name.removesuffix("Scheduler"), prediction, *words])
            found.append(pytest.param((name, settings, prediction), id=ident))
    return found


def build(case):
    name, settings, prediction = case
    settings = dict(settings) if prediction == "flow" else {
        **settings, "prediction_type": prediction
    }  # fmt: skip
    return getattr(diffusers, name)(**settings)


def start(scheduler, *, seed=0, num_steps=STEPS):
    scheduler.set_timesteps(num_steps)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return noise * getattr(scheduler, "init_noise_sigma", 1.0)


FORWARD = {}  # a scheduler a case, never stepped


def levels(case, timestep):
    """(alpha, sigma) as diffusers' own forward process has them, by a scheduler of its own."""
    if id(case) not in FORWARD:
        FORWARD[id(case)] = build(case)
        FORWARD[id(case)].set_timesteps(STEPS)
    scheduler = FORWARD[id(case)]
    ones, zeros, at = torch.ones(1, 1), torch.zeros(1, 1), timestep.reshape(1)
    if case[2] == "flow" and "Heun" in case[0]:
        return float(1 - timestep / 1000), float(timestep / 1000)
    if case[2] == "flow":
        noised = scheduler.scale_noise
        return float(noised(ones, at, zeros)), float(noised(zeros, at, ones))
    noised = scheduler.add_noise
    return float(noised(ones, zeros, at)), float(noised(zeros, ones, at))


def truth(sample):
    """A denoiser's belief: the clean latents that these noisy ones stand for."""
    target = torch.randn(SHAPE, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    return target + 0.1 * torch.tanh(sample.double())


def model_output(case, sample, timestep):
    """What a model that predicts `truth` puts out, by the definition of each prediction."""
    alpha, sigma = levels(case, timestep)
    x, x0 = sample.double(), truth(sample)
    noise = (x - alpha * x0) / sigma
    total = math.hypot(alpha, sigma)
    return {
        "epsilon": noise,
        "sample": x0,
        "v_prediction": (alpha * noise - sigma * x0) / total,
        "flow": noise - x0,
        "flow_prediction": noise - x0,
    }[case[2]].float()


def expected(case, scheduler, sample, timestep):
    """x0 as the scheduler itself would have it, from `truth`."""
    x0 = truth(sample)
    if case[1].get("thresholding"):
        limit = torch.quantile(x0.float().abs().flatten(1), 0.995, dim=1).clamp(1, 1)
        limit = limit.reshape(-1, 1, 1, 1).double()
        x0 = x0.clamp(-limit, limit) / limit
    elif case[1].get("clip_sample"):
        x0 = x0.clamp(-1, 1)
    if "LCM" in case[0] and case[2] != "flow":
        scaled = 10.0 * float(timestep)
        x0 = 0.25 / (scaled**2 + 0.25) * sample + scaled / math.sqrt(scaled**2 + 0.25) * x0
    return x0


def relative_error(found, wanted):
    return float((found.double() - wanted).abs().max() / wanted.abs().max())


def same_bits(one, other):
    return torch.equal(one.view(torch.int32), other.view(torch.int32))  # NaN equals NaN


def run(scheduler, denoise, latents):
    """A pipeline's loop. Noise of stochastic samplers comes from the global state."""
    torch.manual_seed(1)
    calls = []
    for timestep in scheduler.timesteps:
        if hasattr(scheduler, "scale_model_input"):  # flow schedulers have none
            scheduler.scale_model_input(latents, timestep)
        output = denoise(latents, timestep)
        before = latents
        result = scheduler.step(output, timestep, latents, return_dict=False)
        latents = result[0]
        calls.append((before, timestep, result))
    return latents, calls


INTERPOLATING = ("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler")
PRECONDITIONED = ("EDMEulerScheduler", "EDMDPMSolverMultistepScheduler")


@pytest.mark.parametrize("case", cases())
def test_the_estimate_is_exact(case):
    """Against a denoiser whose x0 is known, with noise levels from diffusers' forward process."""
    if case[0] in INTERPOLATING + PRECONDITIONED:
        pytest.skip("no forward process with the same levels: see the test of what is reported")
    scheduler, estimates = build(case), []
    latents = start(scheduler)
    with SchedulerTap(scheduler, estimates.append):
        _, calls = run(scheduler, lambda x, t: model_output(case, x, t), latents)
    assert len(estimates) == len(calls) == len(scheduler.timesteps)
    for estimate, (before, timestep, _) in zip(estimates, calls, strict=True):
        wanted = expected(case, scheduler, before, timestep)
        assert estimate.latents.dtype == torch.float32 and estimate.latents.shape == before.shape
        assert relative_error(estimate.latents, wanted) <= TOLERANCE
        alpha, sigma = levels(case, timestep)
        assert estimate.alpha == pytest.approx(alpha, abs=1e-6)
        assert estimate.sigma == pytest.approx(sigma, rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("case", cases())
def test_the_estimate_is_what_the_scheduler_reports(case):
    """Where a scheduler gives its own x0 beside the next latents."""
    scheduler, estimates = build(case), []
    latents = start(scheduler)
    pull = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    with SchedulerTap(scheduler, estimates.append):
        _, calls = run(scheduler, lambda x, t: torch.tanh(x) + 0.1 * pull, latents)
    silent = "TCD" in case[0] or len(calls[0][2]) == 1
    solver = getattr(scheduler, "model_outputs", None)
    for estimate, (_, _, result) in zip(estimates, calls, strict=True):
        if not silent:
            assert relative_error(estimate.latents, result[1].double()) <= TOLERANCE
    if case[0] == "EDMDPMSolverMultistepScheduler":
        assert relative_error(estimates[-1].latents, solver[-1].double()) <= TOLERANCE


# The others end on another sum of earlier outputs, or divide by the last sigma.
NOT_ON_X0 = ("PNDM", "TCD", "DEIS", "LMS", "SASolver")
ENDS_AT_ZERO = [
    case for case in cases()
    if not case.values[0][0].startswith(NOT_ON_X0)
    and case.values[0][1].get("final_sigmas_type", "zero") == "zero"
    and case.values[0][1].get("predict_x0", True)
]  # fmt: skip


@pytest.mark.parametrize("case", ENDS_AT_ZERO)
def test_the_last_estimate_is_the_image(case):
    """With no noise left after the last step, x0 and the final latents are the same."""
    scheduler, estimates = build(case), []
    latents = start(scheduler)
    with SchedulerTap(scheduler, estimates.append):
        final, _ = run(scheduler, lambda x, t: 0.5 * torch.tanh(x), latents)
    assert estimates[-1].fraction == 1.0
    assert relative_error(estimates[-1].latents, final.double()) <= TOLERANCE


@pytest.mark.parametrize("case", cases())
def test_outputs_are_bit_equal_and_the_scheduler_is_restored(case):
    plain, tapped = build(case), build(case)

    def denoise(x, t):
        return torch.sin(3 * x)

    want, _ = run(plain, denoise, start(plain))
    with SchedulerTap(tapped, lambda e: e.latents.zero_()):
        assert inspect.signature(tapped.step) == inspect.signature(plain.step)
        found, _ = run(tapped, denoise, start(tapped))
    assert same_bits(found, want)
    assert "step" not in vars(tapped)
    again, _ = run(tapped, denoise, start(tapped))
    assert same_bits(again, want)


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
