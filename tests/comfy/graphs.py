"""Graphs that several tests use, with a diffusion model small enough for a CPU."""

from __future__ import annotations

from typing import Any

from tests.comfy.server import ComfyServer, node

__all__ = ["plain_score", "sampled", "seeded", "shown"]


def seeded(seed: int, size: int = 48, batch_size: int = 1) -> dict[str, Any]:
    """Noise as "image", which a seed decides."""
    return {"image": node("ELIQTestSeededImage", seed=seed, size=size, batch_size=batch_size)}


def sampled(seed: int, *, steps: int = 4, batch_size: int = 1, prompt: str = "fox") -> dict:
    """A whole generation: model, prompts, latent, sampler, and "image" of its decoded result."""
    return {
        "model": node("ELIQTestTinyModel", weights=0),
        "positive": node("ELIQTestTextEncode", text=prompt),
        "negative": node("ELIQTestTextEncode", text=""),
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=batch_size),
        "sampler": node(
            "KSampler",
            model=["model", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            latent_image=["latent", 0],
            seed=seed,
            steps=steps,
            cfg=3.0,
            sampler_name="euler",
            scheduler="normal",
            denoise=1.0,
        ),
        "image": node("VAEDecode", samples=["sampler", 0], vae=["model", 1]),
    }


def shown(graph: dict[str, Any], **values: list[Any]) -> dict[str, Any]:
    """The graph with a node a value that puts it into the history, as text."""
    return graph | {name: node("ELIQTestShow", value=link) for name, link in values.items()}


def plain_score(server: ComfyServer, graph: dict[str, Any]) -> tuple[float, str]:
    """Visual quality of the graph's first "image", and its digest, by a plain run."""
    scored = graph | {"plain": node("ELIQScore", images=["image", 0], prompt="", find_prompt=False)}
    run = server.run(shown(scored, digest=["image", 0]))
    assert run.status == "success", run.error
    (digest,) = run.text("digest")
    return run.outputs["plain"]["eliq_scores"][0]["visual_quality"], digest
