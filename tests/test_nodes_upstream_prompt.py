"""The prompt that is found in a graph."""

from __future__ import annotations

import pytest

from eliq_nodes.upstream_prompt import FoundPrompt, clean_weights, find_prompt


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


CLASSIC = {
    "1": node("CheckpointLoaderSimple", ckpt_name="a.safetensors"),
    "2": node("CLIPTextEncode", text="a red fox", clip=["1", 1]),
    "3": node("CLIPTextEncode", text="blurry", clip=["1", 1]),
    "4": node("EmptyLatentImage", width=64, height=64),
    "5": node(
        "KSampler", model=["1", 0], positive=["2", 0], negative=["3", 0], latent_image=["4", 0]
    ),
    "6": node("VAEDecode", samples=["5", 0], vae=["1", 2]),
    "7": node("ELIQScore", images=["6", 0]),
}


def text(graph: dict, link: list) -> str:
    return find_prompt(graph, link).text


def test_from_the_conditioning_and_from_the_images():
    assert text(CLASSIC, ["2", 0]) == "a red fox"
    assert text(CLASSIC, ["6", 0]) == "a red fox"
    assert find_prompt(CLASSIC, ["6", 0]).node_id == "2"


def test_through_nodes_between_and_two_passes():
    graph = CLASSIC | {
        "8": node("ConditioningSetTimestepRange", conditioning=["2", 0], start=0, end=1),
        "9": node("ControlNetApplyAdvanced", positive=["8", 0], negative=["3", 0], image=["99", 0]),
        "10": node("KSampler", positive=["9", 0], negative=["9", 1], latent_image=["11", 0]),
        "11": node("LatentUpscale", samples=["5", 0]),
        "12": node("ImageScale", image=["13", 0]),
        "13": node("VAEDecode", samples=["10", 0]),
        "14": node("Reroute", anything=["12", 0]),
    }
    assert text(graph, ["14", 0]) == "a red fox"
    assert text(graph, ["9", 0]) == "a red fox"
    assert text(graph, ["9", 1]) == "", "the negative side of a control net is no prompt"


def test_custom_sampler_with_a_guider():
    graph = {
        "1": node("CLIPTextEncodeFlux", clip_l="fox", t5xxl="a red fox in snow", guidance=3.5),
        "2": node("BasicGuider", model=["9", 0], conditioning=["1", 0]),
        "3": node("SamplerCustomAdvanced", noise=["8", 0], guider=["2", 0], latent_image=["7", 0]),
    }
    assert text(graph, ["3", 0]) == "a red fox in snow", "what t5xxl says again is not repeated"


def test_several_conditionings_are_joined():
    graph = CLASSIC | {
        "8": node("CLIPTextEncode", text="in the snow"),
        "9": node("ConditioningCombine", conditioning_1=["2", 0], conditioning_2=["8", 0]),
        "10": node("ConditioningConcat", conditioning_to=["9", 0], conditioning_from=["2", 0]),
    }
    assert text(graph, ["9", 0]) == "a red fox, in the snow"
    assert text(graph, ["10", 0]) == "a red fox, in the snow"


def test_sdxl_fields():
    graph = {"1": node("CLIPTextEncodeSDXL", text_g="a fox", text_l="snow, fur")}
    assert text(graph, ["1", 0]) == "a fox, snow, fur"


def test_a_text_that_another_node_makes_is_passed_on_as_a_link():
    graph = CLASSIC | {"2": node("CLIPTextEncode", text=["8", 0]), "8": node("Wildcards", seed=1)}
    assert find_prompt(graph, ["6", 0]) == FoundPrompt(link=["8", 0], node_id="2")


@pytest.mark.parametrize(
    "graph",
    [
        {},
        {"6": node("LoadImage", image="a.png")},
        {"6": node("Pass", image=["6", 0])},  # a circle
        {"6": node("ConditioningZeroOut", conditioning=["2", 0]), "2": CLASSIC["2"]},
        {"6": node("Unknown", this=["2", 0], that=["3", 0]), "2": CLASSIC["2"], "3": CLASSIC["3"]},
        {"6": node("CLIPTextEncode", text="   ")},
        {"6": {}},
    ],
)
def test_where_nothing_is_certain_nothing_is_found(graph):
    assert find_prompt(graph, ["6", 0]) == FoundPrompt()
    assert find_prompt(graph, None) == FoundPrompt()


@pytest.mark.parametrize(("length", "found"), [(300, "a red fox"), (30_000, "")])
def test_a_long_chain_is_walked_and_an_endless_one_given_up(length, found):
    graph = {str(i): node("Step", image=[str(i + 1), 0]) for i in range(length)}
    graph[str(length)] = CLASSIC["2"]
    assert text(graph, ["0", 0]) == found


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("a (red:1.2) fox", "a red fox"),
        ("((red)) fox", "red fox"),
        ("(a (red:1.3) fox:0.9), snow", "a red fox, snow"),
        (r"a fox \(animal\)", "a fox (animal)"),
        ("fox, embedding:easynegative, snow", "fox, snow"),
        ("(embedding:style:1.2) fox <lora:detail:0.8>", "fox"),
        ("ratio 16:9 poster", "ratio 16:9 poster"),
        ("红狐 (雪:1.1)", "红狐 雪"),
        ("(unclosed fox", "(unclosed fox"),
        ("line one\nline two", "line one\nline two"),
        ("", ""),
        ("   ", ""),
    ],
)
def test_weights_and_embeddings_are_taken_out(written, read):
    assert clean_weights(written) == read
    assert clean_weights(clean_weights(read)) == clean_weights(read)


def test_hostile_brackets_take_no_time():
    for hostile in ("(" * 20_000, ")" * 20_000, "(a" * 5_000 + ")" * 5_000, "\\(" * 10_000):
        clean_weights(hostile)
