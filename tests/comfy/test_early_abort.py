"""ELIQ Early Abort: bad samplings are given up on the way, and the result is a plain run's."""

from __future__ import annotations

import pytest

from tests.comfy.graphs import sampled, shown
from tests.comfy.messages import Page
from tests.comfy.server import node

pytestmark = pytest.mark.comfy

SEED = 7


def watched(seed: int, minimum: float, *, restarts: int = 3, steps: int = 6, **more) -> dict:
    graph = sampled(seed, steps=steps)
    settings = {
        "prompt": "",
        "at": 0.4,
        "min_visual_quality": minimum,
        "min_alignment": 0.0,
        "max_restarts": restarts,
        **more,
    }
    graph["abort"] = node("ELIQEarlyAbort", model=["model", 0], vae=["model", 1], **settings)
    graph["sampler"]["inputs"]["model"] = ["abort", 0]
    graph["told"] = node("ELIQUsedSeed", latent=["sampler", 0], watch=["abort", 1])
    graph["image"]["inputs"]["samples"] = ["told", 0]
    return shown(
        graph,
        digest=["image", 0],
        used_seed=["told", 1],
        attempts=["told", 2],
        passed=["told", 3],
    )


def plain_digest(server, seed: int) -> list[str]:
    run = server.run(shown(sampled(seed, steps=6), digest=["image", 0]))
    assert run.status == "success", run.error
    return run.text("digest")


def test_without_a_threshold_it_changes_nothing(server):
    run = server.run(watched(SEED, 0.0))
    assert run.status == "success", run.error
    assert run.text("digest") == plain_digest(server, SEED)
    assert run.text("used_seed") == [str(SEED)] and run.text("attempts") == ["1"]


def test_the_result_is_that_of_a_plain_run_of_the_used_seed(server):
    run = server.run(watched(SEED, 1.0))
    assert run.status == "success", run.error
    assert run.text("passed") == ["False"] and run.text("attempts") == ["4"]
    used = int(run.text("used_seed")[0])
    assert SEED <= used <= SEED + 3
    assert run.text("digest") == plain_digest(server, used)


def test_a_prompt_is_needed_for_an_alignment(server):
    run = server.run(watched(SEED, 0.0, min_alignment=0.5))
    assert run.status == "error" and run.error_node == "ELIQEarlyAbort"
    assert "min_alignment" in run.error


def test_without_a_decoder_it_says_what_to_link(server):
    graph = watched(SEED, 0.5)
    del graph["abort"]["inputs"]["vae"]
    run = server.run(graph)
    assert run.status == "error" and "vae" in run.error
    assert len(run.error.strip().splitlines()) == 1, run.error


def test_an_interrupt_ends_it_within_a_sampling(server):
    graph = watched(SEED + 50, 1.0, restarts=63, steps=400)
    with Page(server.url) as page:
        prompt_id = server.queue(graph, page.client_id)
        page.read_until(lambda kind, data: kind == "progress" and data["value"] >= 2)
        server.send("/interrupt", {})
        page.read_to_the_end(prompt_id)
    run = server.wait(prompt_id)
    assert run.was_interrupted and not run.error
    assert server.run(watched(SEED, 0.0)).status == "success", "the server goes on"
