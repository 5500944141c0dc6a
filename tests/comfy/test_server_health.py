"""What the pack does to the server it runs in: memory, interrupts, files and the network.

Named so that it runs late: the last tests look at all that the others made the server do.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.comfy.graphs import sampled, seeded
from tests.comfy.messages import Page
from tests.comfy.server import ROOT, node

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
    assert growth < 0.01, f"{before} KiB before, {sizes[::10]} KiB after: {growth:+.2%}"


def test_nothing_reached_for_the_network(server):
    """Through all tests so far, the import of the pack among them."""
    assert not server.watched("connect")


def test_nothing_was_written_outside_of_output_temp_and_models(server):
    folders = [server.base / name for name in ("output", "temp", "models")]
    comfyui_own = [server.base / "user", Path("/dev")]
    outside = {
        path
        for path in map(Path, server.watched("write"))
        if not any(path.is_relative_to(folder) for folder in (*folders, *comfyui_own))
    }
    packs = (server.base / "custom_nodes", ROOT)
    outside = {
        path for path in outside if path.suffix != ".pyc" and "__pycache__" not in path.parts
    }
    assert not {path for path in outside if any(path.is_relative_to(pack) for pack in packs)}
    assert not outside, outside
