"""What the pack does to the server it runs in: memory, and interrupts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.comfy.graphs import sampled, seeded
from tests.comfy.messages import Page
from tests.comfy.server import node

pytestmark = pytest.mark.comfy

ALTERNATIONS = 50
WARM_UP = 15  # allocators and caches fill in the first runs


def test_an_interrupt_is_heard_within_a_batch(server):
    graph = seeded(900, size=256, batch_size=64)
    graph["score"] = node("ELIQScore", images=["image", 0], prompt="", find_prompt=False)
    with Page(server.url) as page:
        prompt_id = server.queue(graph, page.client_id)
        done = page.read_until(lambda kind, data: kind == "progress" and data["max"] == 64)
        assert done["value"] < 64, "the test needs more images than one batch"
        server.send("/interrupt", {})
        page.read_to_the_end(prompt_id)
    run = server.wait(prompt_id)
    assert run.was_interrupted and "score" not in run.outputs
    graph["image"]["inputs"]["batch_size"] = 1
    assert server.run(graph).status == "success", "the server goes on"


def test_a_critic_that_was_freed_is_loaded_again_and_scores_the_same(server):
    """The button "Unload Models" of the page posts to /free."""

    def loads() -> int:
        return server.log().count("Requested to load CriticWeights")

    def scored(prompt: str) -> list[dict]:
        graph = seeded(31)
        graph["score"] = node("ELIQScore", images=["image", 0], prompt=prompt)
        run = server.run(graph)
        assert run.status == "success", run.error
        return run.outputs["score"]["eliq_scores"]

    before = scored("a fox that stays")
    count = loads()
    server.send("/free", {"unload_models": True, "free_memory": True})
    for attempt in range(100):  # it is freed between two prompts, some time after the answer
        scored(f"fox {attempt}")
        if loads() > count:
            break
        time.sleep(0.1)
    assert loads() == count + 1, "freed, and loaded again once"
    assert scored("a fox that stays") == before


def test_memory_does_not_grow_with_alternations_of_sampler_and_critic(server):
    """RSS after 50 further runs of a sampler and the critic is within 1 % of that before."""
    if not Path(f"/proc/{server.process.pid}/status").exists():
        pytest.skip("resident memory is read from /proc")

    def alternate(seed: int) -> int:
        graph = sampled(seed, steps=2)
        graph["score"] = node("ELIQScore", images=["image", 0], prompt="fox", find_prompt=False)
        run = server.run(graph)
        assert run.status == "success", run.error
        assert "score" not in run.cached and "sampler" not in run.cached
        return server.resident_kib()

    for seed in range(WARM_UP):
        before = alternate(10_000 + seed)
    sizes = [alternate(20_000 + seed) for seed in range(ALTERNATIONS)]
    growth = sizes[-1] / before - 1
    print(f"\nafter {ALTERNATIONS} alternations: {growth:+.3%} of {before / 1024:.0f} MiB")
    assert growth < 0.01, f"{before} KiB before, {sizes[::10]} KiB after: {growth:+.2%}"
