"""ELIQ Early Abort with samplers, latents and patches of every kind: to the bit a plain run."""

from __future__ import annotations

import re

import pytest

from tests.comfy.graphs import sampled, shown
from tests.comfy.server import Run, node

pytestmark = pytest.mark.comfy

SEED = 10
TRIES = 3


def plain(seed: int, **inputs) -> dict:
    graph = sampled(seed, steps=6)
    graph["sampler"]["inputs"] |= inputs
    return shown(graph, digest=["sampler", 0])


def watched(*, minimum: float = 1.0, behind: str = "model", abort=None, **inputs) -> dict:
    """The graph with the node between ``behind`` and the sampler."""
    settings = {"prompt": "a fox", "at": 0.4, "min_visual_quality": minimum, "min_alignment": 0.0}
    settings |= {"max_restarts": TRIES - 1, "pass_rule": "any image passes", "vae": ["model", 1]}
    graph = plain(SEED, **({"model": ["abort", 0]} | inputs))
    graph["abort"] = node("ELIQEarlyAbort", model=[behind, 0], **(settings | (abort or {})))
    graph["told"] = node("ELIQUsedSeed", latent=["sampler", 0], watch=["abort", 1])
    return shown(graph, used_seed=["told", 1], attempts=["told", 2], passed=["told", 3])


def tried(run: Run) -> list[float]:
    """Visual quality of the tries, as the node tells them."""
    (text,) = run.text("told")
    return [float(found) for found in re.findall(r"^try \d+: .*?([\d.]+)", text, re.MULTILINE)]


def assert_plain(server, graph: dict, extra: dict | None = None, **inputs) -> Run:
    """Run a watched graph, and the plain one of the seed that it tells: the same latent."""
    run = server.run(graph | (extra or {}))
    assert run.status == "success", run.error
    (seed,) = run.text("used_seed")
    other = server.run(plain(int(seed), **inputs) | (extra or {}))
    assert run.text("digest") == other.text("digest")
    return run


@pytest.mark.parametrize(
    "name",
    ["euler_ancestral", "heun", "dpmpp_2m_sde", "dpmpp_sde", "dpm_fast", "dpm_adaptive", "uni_pc"],
)
def test_samplers(server, name):
    run = assert_plain(server, watched(sampler_name=name), sampler_name=name)
    scores = tried(run)
    assert len(scores) == TRIES and run.text("passed") == ["False"]
    assert scores[int(run.text("used_seed")[0]) - SEED] == max(scores)


def test_the_first_seed_that_passes_ends_the_search(server):
    scores = tried(server.run(watched(abort={"max_restarts": 7})))
    # Told with three digits: the threshold must lie clearly between two of them.
    rises = [i for i in range(7) if scores[i + 1] > scores[i] + 0.0021]
    assert rises, f"choose another seed: {scores}"
    graph = watched(minimum=scores[rises[0] + 1] - 0.001)
    graph["sampler"]["inputs"]["seed"] = SEED + rises[0]
    run = assert_plain(server, graph)
    assert run.text("passed") == ["True"]
    assert run.text("attempts") == ["2"]


@pytest.mark.parametrize("rule", ["any image passes", "all images pass"])
def test_batches(server, rule):
    batch = {"latent": node("EmptyLatentImage", width=64, height=64, batch_size=3)}
    assert_plain(server, watched(abort={"pass_rule": rule}), batch)


def test_part_of_a_batch_draws_its_own_noise(server):
    extra = {
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=4),
        "part": node("LatentFromBatch", samples=["latent", 0], batch_index=2, length=2),
    }
    inputs = {"latent_image": ["part", 0]}
    assert_plain(server, watched(**inputs), extra, **inputs)


def test_image_to_image(server):
    extra = {
        "picture": node("ELIQTestSeededImage", seed=3, size=64, batch_size=1),
        "encoded": node("VAEEncode", pixels=["picture", 0], vae=["model", 1]),
    }
    inputs = {"latent_image": ["encoded", 0], "denoise": 0.6}
    assert_plain(server, watched(**inputs), extra, **inputs)


def test_the_sampler_in_parts(server):
    parts = {
        "noise": node("RandomNoise", noise_seed=SEED),
        "guider": node(
            "CFGGuider",
            model=["abort", 0],
            positive=["positive", 0],
            negative=["negative", 0],
            cfg=3.0,
        ),
        "choice": node("KSamplerSelect", sampler_name="euler_ancestral"),
        "sigmas": node(
            "BasicScheduler", model=["model", 0], scheduler="normal", steps=6, denoise=1.0
        ),
        "sampler": node(
            "SamplerCustomAdvanced",
            noise=["noise", 0],
            guider=["guider", 0],
            sampler=["choice", 0],
            sigmas=["sigmas", 0],
            latent_image=["latent", 0],
        ),
    }
    run = server.run(watched() | parts)
    assert run.status == "success", run.error
    (seed,) = run.text("used_seed")
    parts["noise"]["inputs"]["noise_seed"] = int(seed)
    parts["guider"]["inputs"]["model"] = ["model", 0]
    assert run.text("digest") == server.run(plain(SEED) | parts).text("digest")


@pytest.mark.parametrize("order", ["before", "after"])
def test_caches_of_other_patches_begin_anew_with_each_seed(server, order):
    def cache(model: str) -> dict:
        options = {"reuse_threshold": 0.5, "start_percent": 0.1, "end_percent": 0.95}
        return {"cache": node("EasyCache", model=[model, 0], verbose=False, **options)}

    if order == "before":
        run = server.run(watched(behind="cache", steps=12) | cache("model"))
    else:
        run = server.run(watched(model=["cache", 0], steps=12) | cache("abort"))
    assert run.status == "success", run.error
    (seed,) = run.text("used_seed")
    cached = server.run(plain(int(seed), model=["cache", 0], steps=12) | cache("model"))
    assert run.text("digest") == cached.text("digest")
    uncached = server.run(plain(int(seed), steps=12))
    assert cached.text("digest") != uncached.text("digest"), "the cache did nothing"


def test_a_decoder_that_pushes_the_model_out_of_memory_changes_nothing(server):
    extra = {
        "patched": node("ELIQTestPatchModel", model=["model", 0], strength=1.0),
        "evicting": node("ELIQTestEvictingVAE", vae=["model", 1]),
    }
    graph = watched(minimum=0.0, behind="patched", abort={"vae": ["evicting", 0]})
    run = assert_plain(server, graph, extra, model=["patched", 0])
    assert run.text("digest") != server.run(plain(SEED)).text("digest"), "the patch did nothing"


def test_a_later_stage_is_left_alone(server):
    graph = watched()
    later = {"add_noise": "disable", "start_at_step": 4, "end_at_step": 10000, "steps": 6}
    later |= {"return_with_leftover_noise": "disable", "noise_seed": 77, "cfg": 3.0}
    graph["second"] = node(
        "KSamplerAdvanced",
        model=["abort", 0],
        positive=["positive", 0],
        negative=["negative", 0],
        latent_image=["sampler", 0],
        sampler_name="euler",
        scheduler="normal",
        **later,
    )
    graph["second_told"] = node("ELIQUsedSeed", latent=["second", 0], watch=["abort", 1])
    run = server.run(graph)
    assert run.status == "success", run.error
    assert "not looked at" in run.text("second_told")[0]
    assert len(tried(run)) == TRIES


def test_a_seed_is_told_of_a_latent_from_the_cache(server):
    first = server.run(watched())
    other = watched()
    other["sampler"]["inputs"]["seed"] = SEED + 50
    server.run(other)
    again = server.run(watched())
    assert again.text("used_seed") == first.text("used_seed")


def test_the_prompt_is_found_before_positive_also_over_a_link(server):
    settings = {"prompt": "", "positive": ["positive", 0], "min_alignment": 0.01}
    graph = watched(minimum=0.0, abort=settings)
    run = server.run(graph)
    assert run.status == "success", run.error
    assert "alignment" in run.text("told")[0]
    graph["text"] = node("PrimitiveString", value="a (red:1.2) fox")
    graph["positive"]["inputs"]["text"] = ["text", 0]
    run = server.run(graph)
    assert run.status == "success", run.error
    assert "alignment" in run.text("told")[0]
