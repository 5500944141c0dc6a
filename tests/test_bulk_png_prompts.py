"""Prompts that generators write into their pictures, and metadata that only pretends to be one."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from eliq.bulk.decode_worker import decode_job
from eliq.bulk.png_prompts import embedded_prompt
from tests.bulk_sets import picture, png_with_text

A1111 = (
    "a red fox, snow\nsecond line\nNegative prompt: blurry, Steps: many\n"
    "Steps: 20, Sampler: Euler, CFG scale: 7"
)


def encode(text):
    return {"class_type": "CLIPTextEncode", "inputs": {"text": text, "clip": ["9", 1]}}


def sampler(positive, negative):
    return {
        "class_type": "KSampler",
        "inputs": {"positive": [positive, 0], "negative": [negative, 0]},
    }


def facts_of(path, **job):
    job = {"path": str(path), "offset": 0, "size": None, "has_sidecar": False} | job
    return decode_job({"wants_prompt": True} | job, patches=None, thumbnails=False)[0]


@pytest.mark.parametrize(
    "parameters, prompt",
    [
        (A1111, "a red fox, snow\nsecond line"),
        ("a fox\nSteps: 20, Sampler: Euler", "a fox"),
        ("Steps: 20, Sampler: Euler", None),
        ("Negative prompt: x\nSteps: 20", None),
        ("free text that says nothing of steps", None),
    ],
)
def test_a1111(tmp_path, parameters, prompt):
    facts = facts_of(png_with_text(tmp_path / "a.png", parameters=parameters))
    assert facts.get("prompt") == prompt
    assert facts.get("prompt_source") == (prompt and "png_a1111")


def test_a1111_in_the_exif_comment_of_a_jpeg(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    picture(0).save(tmp_path / "a.jpg", exif=exif)
    assert facts_of(tmp_path / "a.jpg")["prompt"] == "a red fox, snow\nsecond line"


GRAPH = {
    "3": sampler("6", "7"),
    "6": encode("a red fox"),
    "7": encode("blurry"),
    "9": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}},
}


def with_nodes(**nodes):
    return GRAPH | nodes


@pytest.mark.parametrize(
    "graph, prompt",
    [
        (GRAPH, "a red fox"),
        # The text comes from a node of its own.
        (with_nodes(**{"6": encode(["8", 0]), "8": {"inputs": {"value": " a fox "}}}), "a fox"),
        # Conditionings between the encoder and the sampler.
        (
            with_nodes(**{
                "3": sampler("5", "7"),
                "5": {"inputs": {"conditioning": ["6", 0], "guidance": 3.5}},
            }),
            "a red fox",
        ),
        # A control net passes both on, a second sampler refines with the same text.
        (
            with_nodes(**{"3": sampler("4", "4"), "4": sampler("6", "7"), "10": sampler("6", "7")}),
            "a red fox",
        ),
        # FLUX: no negative, a guider.
        (
            {
                "1": {"inputs": {"guider": ["2", 0], "noise": ["5", 0]}},
                "2": {"inputs": {"conditioning": ["3", 0], "model": ["9", 0]}},
                "3": encode("a glass fox"),
            },
            "a glass fox",
        ),
        # Two pictures of one graph: which of them this is cannot be told.
        (with_nodes(**{"4": sampler("8", "7"), "8": encode("a boat")}), None),
        # A circle, a link to nowhere, a graph of other shapes.
        ({"3": sampler("6", "7"), "6": {"inputs": {"conditioning": ["6", 0]}}}, None),
        ({"3": sampler("99", "7")}, None),
        ({"3": {"inputs": [1, 2]}, "4": None}, None),
        ({"5": {"inputs": {"positive": 1, "negative": 2}}}, None),
        ([1], None),
    ],
)  # fmt: skip
def test_comfyui(tmp_path, graph, prompt):
    facts = facts_of(png_with_text(tmp_path / "a.png", prompt=json.dumps(graph)))
    assert facts.get("prompt") == prompt
    assert facts.get("prompt_source") == (prompt and "png_comfyui")


@pytest.mark.parametrize(
    "written, read",
    [
        ("a (red:1.2) fox, <lora:snow:0.8>, ((sharp)), photo", "a red fox, sharp, photo"),
        (r"a fox \(vulpes\), (fur:-0.5)", "a fox (vulpes), fur"),
        ("embedding:bad-hands, a boat", "a boat"),
        ("plain words: 3 of them (not weighted)", "plain words: 3 of them not weighted"),
    ],
)
def test_weights_are_for_the_encoder(tmp_path, written, read):
    path = png_with_text(tmp_path / "a.png", parameters=f"{written}\nSteps: 20")
    assert facts_of(path)["prompt"] == read


def test_hostile_brackets_take_no_time():
    text = "(" * 50_000 + "a" + ")" * 50_000 + "\nSteps: 20"
    assert "a" in embedded_prompt({"parameters": text}, None)[0]


def test_a_long_chain_and_deep_json_end():
    chain = {str(n): {"inputs": {"conditioning": [str(n + 1), 0]}} for n in range(5000)}
    graph = chain | {"s": sampler("0", "0")}
    assert embedded_prompt({"prompt": json.dumps(graph)}, None) is None
    assert embedded_prompt({"prompt": "[" * 100_000}, None) is None
    assert embedded_prompt({"prompt": "not json", "parameters": 7}, b"short") is None


def test_what_the_source_says_comes_before_what_the_file_says(tmp_path):
    path = png_with_text(tmp_path / "a.png", parameters=A1111)
    (tmp_path / "a.txt").write_text("from the text beside it\n")
    facts = facts_of(path, has_sidecar=True)
    assert (facts["prompt"], facts["prompt_source"]) == ("from the text beside it", "sidecar")
    assert "prompt" not in facts_of(path, wants_prompt=False)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00 no text")
    facts = facts_of(path, has_sidecar=True)
    assert facts["prompt_source"] == "png_a1111" and "prompt_unreadable" in facts["flags"]
