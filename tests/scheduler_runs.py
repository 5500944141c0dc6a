"""A pipeline's loop without a pipeline: a scheduler, and a function in the denoiser's place."""

from __future__ import annotations

import torch

SHAPE = (2, 4, 8, 8)
STEPS = 8
TOLERANCE = 1e-5
SD = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def start(scheduler, *, seed=0, num_steps=STEPS):
    scheduler.set_timesteps(num_steps)
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))
    return noise * getattr(scheduler, "init_noise_sigma", 1.0)


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
