"""ELIQ Re-roll Until Pass behind graphs of every kind, and the best try when none passes."""

from __future__ import annotations

import pytest

from tests.comfy.messages import Page
from tests.comfy.server import node

pytestmark = pytest.mark.comfy

OUT_OF_REACH = 1.0
OUTPUTS = ("images", "passed", "attempts", "used_seed", "scores", "summary")


def source(seed: int = 1, batch: int = 1) -> dict:
    return {"image": node("ELIQTestSeededImage", seed=seed, size=64, batch_size=batch)}


def rerolled(graph: dict, *, minimum: float = OUT_OF_REACH, tries: int = 3, **inputs) -> dict:
    """The graph with the node behind `image`, and each of its outputs shown."""
    settings = {"images": ["image", 0], "prompt": "noise", "min_visual_quality": minimum}
    settings |= {"min_alignment": 0.0, "max_tries": tries, "pass_rule": "any image passes"}
    shown = {
        name: node("ELIQTestShow", value=["reroll", index]) for index, name in enumerate(OUTPUTS)
    }
    return graph | {"reroll": node("ELIQReroll", **(settings | inputs))} | shown


def image_of(server, seed: int, batch: int = 1) -> list[str]:
    graph = source(seed, batch) | {"show": node("ELIQTestShow", value=["image", 0])}
    return server.run(graph).text("show")


def quality_of(server, seed: int) -> float:
    graph = source(seed) | {"score": node("ELIQScore", images=["image", 0], prompt="noise")}
    return server.run(graph).outputs["score"]["eliq_scores"][0]["visual_quality"]


def test_the_graph_as_it_stands_is_the_first_try(server):
    run = server.run(rerolled(source(5), minimum=0.0))
    assert run.status == "success", run.error
    assert run.text("passed") == ["True"] and run.text("attempts") == ["1"]
    assert run.text("used_seed") == ["5"] and run.text("images") == image_of(server, 5)


def test_the_best_try_is_put_out_when_none_passes(server):
    qualities = [quality_of(server, seed) for seed in range(1, 6)]
    run = server.run(rerolled(source(1), tries=5))
    assert run.status == "success", run.error
    assert run.text("passed") == ["False"] and run.text("attempts") == ["5"]
    best = 1 + qualities.index(max(qualities))
    assert run.text("used_seed") == [str(best)]
    assert run.text("images") == image_of(server, best)
    assert f"the best is try {best}" in run.text("summary")[0]


def test_a_new_threshold_begins_with_the_cached_try(server):
    qualities = [quality_of(server, seed) for seed in range(1, 9)]
    start = next(i for i in range(7) if qualities[i + 1] > qualities[i] + 1e-4)
    between = (qualities[start] + qualities[start + 1]) / 2
    run = server.run(rerolled(source(start + 1), minimum=between, tries=8))
    assert run.text("passed") == ["True"] and run.text("attempts") == ["2"]
    again = server.run(rerolled(source(start + 1), minimum=qualities[start] / 2, tries=8))
    assert again.text("attempts") == ["1"] and "image" in again.cached


def test_seeds_over_a_link_move_on(server):
    graph = source(["number", 0]) | {"number": node("PrimitiveInt", value=7)}
    run = server.run(rerolled(graph))
    assert run.status == "success", run.error
    assert all(f"seed {seed}" in run.text("summary")[0] for seed in (7, 8, 9))
    assert run.text("images") == image_of(server, int(run.text("used_seed")[0]))


def test_seeds_begin_again_after_the_greatest(server):
    run = server.run(rerolled(source(2**64 - 2), tries=4))
    text = run.text("summary")[0]
    assert "seed 18446744073709551615" in text and "seed 0:" in text and "seed 1:" in text


def test_without_a_seed_there_is_one_try(server):
    graph = {"image": node("EmptyImage", width=64, height=64, batch_size=2, color=255)}
    run = server.run(rerolled(graph))
    assert run.status == "success", run.error
    assert run.text("attempts") == ["1"] and run.text("used_seed") == ["-1"]
    assert "depends on no seed" in run.text("summary")[0]


def test_alignment_without_a_prompt_is_not_tried_for(server):
    run = server.run(rerolled(source(), prompt="", minimum=0.0, min_alignment=0.5))
    assert run.text("attempts") == ["1"] and run.text("passed") == ["False"]
    assert "no prompt" in run.text("summary")[0]


def test_batches_and_lists_of_them(server):
    run = server.run(rerolled(source(1, batch=3), pass_rule="all images pass"))
    assert run.text("images") == image_of(server, int(run.text("used_seed")[0]), batch=3)
    graph = source(1, batch=3) | {
        "split": node("RebatchImages", images=["image", 0], batch_size=1),
    }
    listed = server.run(rerolled(graph, images=["split", 0], pass_rule="all images pass"))
    assert listed.status == "success", listed.error
    assert len(listed.text("images")) == len(listed.text("scores")) == 3
    assert listed.text("used_seed") == run.text("used_seed")


def test_one_behind_another(server):
    graph = rerolled(source(1), tries=2) | {
        "blur": node("ImageBlur", image=["reroll", 0], blur_radius=1, sigma=1.0),
    }
    second = rerolled({}, images=["blur", 0], tries=2)
    graph |= {"again": second["reroll"], "seed": node("ELIQTestShow", value=["again", 3])}
    run = server.run(graph)
    assert run.status == "success", run.error
    assert run.text("seed")[0] in ("1", "2", "3")


def test_a_whole_sampling_and_its_prompt(server):
    graph = {
        "tiny": node("ELIQTestTinyModel", weights=0),
        "text": node("PrimitiveString", value="a red fox"),
        "positive": node("ELIQTestTextEncode", text=["text", 0]),
        "empty": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "sampler": node(
            "KSampler",
            model=["tiny", 0],
            seed=40,
            steps=3,
            cfg=1.0,
            sampler_name="euler",
            scheduler="normal",
            positive=["positive", 0],
            negative=["positive", 0],
            latent_image=["empty", 0],
            denoise=1.0,
        ),
        "image": node("VAEDecode", samples=["sampler", 0], vae=["tiny", 1]),
        "plain": node("ELIQTestShow", value=["image", 0]),
    }
    run = server.run(rerolled(graph, prompt="", positive=["positive", 0]))
    assert run.status == "success", run.error
    assert "a red fox" in run.text("scores")[0]
    graph["sampler"]["inputs"]["seed"] = int(run.text("used_seed")[0])
    assert run.text("images") == server.run(graph).text("plain")


def test_an_interrupt_is_heard_between_and_within_tries(server):
    graph = source() | {"slow": node("ELIQTestSlow", images=["image", 0], seconds=1.0)}
    sleeping = []  # a message each time that the slow node begins, on whichever copy of the graph
    with Page(server.url) as page:
        prompt_id = server.queue(rerolled(graph, images=["slow", 0], tries=64), page.client_id)
        page.read_until(
            lambda kind, data: (
                kind == "executing"
                and data.get("display_node") == "slow"
                and (sleeping.append(kind) or len(sleeping) == 2)
            )
        )
        server.send("/interrupt", {})
        page.read_to_the_end(prompt_id)
    run = server.wait(prompt_id)
    assert run.was_interrupted and not run.error
