"""ELIQ Re-roll Until Pass puts out the image that a plain run of its seed makes, to the bit."""

from __future__ import annotations

import pytest

from tests.comfy.graphs import plain_score, sampled, seeded, shown
from tests.comfy.messages import Page
from tests.comfy.server import node

pytestmark = pytest.mark.comfy

SEED = 40


def rerolled(graph: dict, minimum: float, max_tries: int = 6) -> dict:
    settings = {"min_visual_quality": minimum, "min_alignment": 0.0, "max_tries": max_tries}
    settings |= {"prompt": ""}  # what is advanced may be left out
    return shown(
        graph | {"reroll": node("ELIQReroll", images=["image", 0], **settings)},
        digest=["reroll", 0],
        passed=["reroll", 1],
        attempts=["reroll", 2],
        used_seed=["reroll", 3],
    )


def first_record(qualities: list[float]) -> tuple[int, float]:
    """A try after the first that is better than all before it, and a threshold only it passes."""
    for index in range(1, len(qualities)):
        before = max(qualities[:index])
        if qualities[index] > before:
            return index, (qualities[index] + before) / 2
    raise AssertionError(f"choose another seed: {qualities}")


@pytest.mark.parametrize("graph", [seeded, sampled], ids=["an image node", "a whole sampling"])
def test_it_stops_at_the_first_seed_that_passes(graph, server):
    plain = [plain_score(server, graph(SEED + shift)) for shift in range(6)]
    index, minimum = first_record([quality for quality, _ in plain])
    run = server.run(rerolled(graph(SEED), minimum))
    assert run.status == "success", run.error
    assert run.text("passed") == ["True"]
    assert run.text("attempts") == [str(index + 1)]
    assert run.text("used_seed") == [str(SEED + index)]
    assert run.text("digest") == [plain[index][1]]


def test_the_page_hears_of_the_users_nodes_only(server):
    graph = rerolled(sampled(SEED + 100), 1.0, max_tries=3)
    with Page(server.url) as page:
        prompt_id = server.queue(graph, page.client_id)
        page.read_to_the_end(prompt_id)
        assert page.nodes_shown() <= set(graph), page.nodes_shown() - set(graph)
    assert set(server.wait(prompt_id).outputs) <= set(graph)
