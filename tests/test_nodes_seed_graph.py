"""Copies of a graph with other seeds: what is copied, what is linked to, which seeds move."""

from __future__ import annotations

import copy

import pytest

from eliq_nodes.graph_links import is_link
from eliq_nodes.seed_graph import (
    SHIFT_NODE,
    copy_with_seeds,
    find_seeds,
    has_seed_name,
    shift_seed,
)

TOP = 2**64 - 1
GRAPH = {
    "model": {"class_type": "Loader", "inputs": {"name": "a.safetensors"}},
    "text": {"class_type": "Encode", "inputs": {"text": "a fox", "clip": ["model", 1]}},
    "empty": {"class_type": "Empty", "inputs": {"width": 64}},
    "base": {
        "class_type": "KSampler",
        "inputs": {
            "model": ["model", 0],
            "positive": ["text", 0],
            "latent_image": ["empty", 0],
            "seed": 40,
        },
        "is_changed": False,
        "_meta": {"title": "Base"},
    },
    "refine": {
        "class_type": "KSamplerAdvanced",
        "inputs": {"model": ["model", 0], "latent_image": ["base", 0], "noise_seed": 7},
    },
    "decode": {"class_type": "Decode", "inputs": {"samples": ["refine", 0], "vae": ["model", 2]}},
    "show": {"class_type": "Preview", "inputs": {"images": ["decode", 0]}},
}


def limits(class_type: str, name: str) -> tuple[int, int] | None:
    return (0, TOP) if has_seed_name(name) else None


def copied(graph, roots, by=1, **kwargs):
    return copy_with_seeds(
        graph.__getitem__,
        roots,
        by=by,
        limits=kwargs.get("limits", limits),
        prefix="9.0.0.",
        display_id=lambda node_id: f"shown {node_id}",
    )


def test_only_what_depends_on_a_seed_is_copied():
    made = copied(GRAPH, [["decode", 0]])
    assert set(made.nodes) == {"9.0.0.base", "9.0.0.refine", "9.0.0.decode"}
    assert made.roots == [["9.0.0.decode", 0]]
    base = made.nodes["9.0.0.base"]
    assert base["inputs"]["model"] == ["model", 0]
    assert base["inputs"]["latent_image"] == ["empty", 0]
    assert made.nodes["9.0.0.decode"]["inputs"]["samples"] == ["9.0.0.refine", 0]


def test_every_seed_moves_and_the_nearest_is_told():
    made = copied(GRAPH, [["decode", 0]], by=3)
    assert made.nodes["9.0.0.base"]["inputs"]["seed"] == 43
    assert made.nodes["9.0.0.refine"]["inputs"]["noise_seed"] == 10
    assert made.seed == 10
    assert [seed.node_id for seed in find_seeds(GRAPH.__getitem__, [["decode", 0]], limits)] == [
        "refine",
        "base",
    ]


def test_progress_stays_on_the_users_nodes_and_nothing_else_is_taken_over():
    base = copied(GRAPH, [["decode", 0]]).nodes["9.0.0.base"]
    assert base["override_display_id"] == "shown base"
    assert set(base) == {"class_type", "inputs", "override_display_id"}


def test_the_users_graph_is_left_as_it_was():
    graph = copy.deepcopy(GRAPH)
    made = copied(graph, [["decode", 0]])
    made.nodes["9.0.0.base"]["inputs"]["model"][0] = "elsewhere"
    assert graph == GRAPH


def test_a_seed_over_a_link_goes_through_a_shift():
    graph = copy.deepcopy(GRAPH)
    graph["number"] = {"class_type": "PrimitiveInt", "inputs": {"value": 5}}
    graph["refine"]["inputs"]["noise_seed"] = ["number", 0]
    made = copied(graph, [["decode", 0]], by=2)
    shift = made.nodes["9.0.0.refine.noise_seed"]
    assert shift["class_type"] == SHIFT_NODE
    assert shift["inputs"] == {"seed": ["number", 0], "by": 2, "low": 0, "high": TOP}
    assert made.nodes["9.0.0.refine"]["inputs"]["noise_seed"] == ["9.0.0.refine.noise_seed", 0]
    assert made.seed == ["9.0.0.refine.noise_seed", 0]
    assert "9.0.0.number" not in made.nodes


def test_a_linked_seed_that_comes_from_a_seed_moves_once():
    graph = copy.deepcopy(GRAPH)
    graph["seeds"] = {"class_type": "Seed Everywhere", "inputs": {"seed": 100}}
    graph["base"]["inputs"]["seed"] = ["seeds", 0]
    graph["refine"]["inputs"]["noise_seed"] = ["seeds", 0]
    made = copied(graph, [["decode", 0]])
    assert made.nodes["9.0.0.seeds"]["inputs"]["seed"] == 101
    assert made.nodes["9.0.0.base"]["inputs"]["seed"] == ["9.0.0.seeds", 0]
    assert not any(node["class_type"] == SHIFT_NODE for node in made.nodes.values())
    assert made.seed == 101


def test_several_roots_share_one_copy():
    graph = copy.deepcopy(GRAPH)
    graph["wild"] = {"class_type": "Wildcard", "inputs": {"text": "{a|b} fox", "seed": 1}}
    graph["text"]["inputs"]["text"] = ["wild", 0]
    made = copied(graph, [["decode", 0], ["wild", 0], ["model", 1], "typed", None])
    assert made.roots == [
        ["9.0.0.decode", 0],
        ["9.0.0.wild", 0],
        ["model", 1],
        "typed",
        None,
    ]
    assert made.nodes["9.0.0.wild"]["inputs"]["seed"] == 2
    assert made.nodes["9.0.0.text"]["inputs"]["text"] == ["9.0.0.wild", 0]


def test_without_seeds_there_is_nothing_to_copy():
    graph = {"load": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}}
    made = copied(graph, [["load", 0]])
    assert (made.nodes, made.roots, made.seed) == ({}, [["load", 0]], None)
    assert find_seeds(graph.__getitem__, [["load", 0]], limits) == []


def test_what_only_looks_like_a_seed_does_not_move():
    graph = {
        "a": {"class_type": "A", "inputs": {"seed": "text", "noise_seed": True, "x_seed": 1.5}},
        "b": {"class_type": "B", "inputs": {"seed": 3, "image": ["a", 0]}},
    }
    assert [s.node_id for s in find_seeds(graph.__getitem__, [["b", 0]], limits)] == ["b"]
    refused = find_seeds(graph.__getitem__, [["b", 0]], lambda *_: None)
    assert refused == []


@pytest.mark.parametrize(
    ("seed", "by", "low", "high", "expected"),
    [(0, 1, 0, TOP, 1), (TOP, 1, 0, TOP, 0), (TOP - 1, 3, 0, TOP, 1), (-1, 1, -1, 9, 0)],
)
def test_seeds_begin_again_after_the_greatest(seed, by, low, high, expected):
    assert shift_seed(seed, by, low, high) == expected


def test_seeds_of_different_tries_differ():
    assert len({shift_seed(TOP - 2, by, 0, TOP) for by in range(64)}) == 64


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("seed", True),
        ("noise_seed", True),
        ("wildcard_seed", True),
        ("group.seed", True),
        ("seed_mode", False),
        ("subseed", False),
        ("seeds", False),
    ],
)
def test_names_of_seeds(name, expected):
    assert has_seed_name(name) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(["1", 0], True), ([1, 0], False), (["1"], False), (("1", 0), False), ("1", False)],
)
def test_links(value, expected):
    assert is_link(value) is expected


def test_a_long_chain_is_no_deep_recursion():
    graph = {"0": {"class_type": "S", "inputs": {"seed": 1}}}
    for i in range(1, 3000):
        graph[str(i)] = {"class_type": "N", "inputs": {"image": [str(i - 1), 0]}}
    assert len(copied(graph, [["2999", 0]]).nodes) == 3000
