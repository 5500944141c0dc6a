"""The clean estimate is exact: all schedulers of the issue and more, with all they can predict."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")

from eliq.diffusion.clean_estimate import SchedulerTap  # noqa: E402
from tests.scheduler_runs import (  # noqa: E402
    SD,
    SHAPE,
    STEPS,
    TOLERANCE,
    relative_error,
    run,
    same_bits,
    start,
)

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
