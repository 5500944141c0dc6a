"""ELIQ Score and ELIQ Load Critic in a real ComfyUI: prompts, batches, critics that are none."""

from __future__ import annotations

import pytest
from PIL import Image

from tests.comfy.conftest import BARE_MODEL, BROKEN_CRITIC, TINY_CRITIC
from tests.comfy.server import Refused, node

pytestmark = pytest.mark.comfy

PROMPTS = {
    "chinese": "雪中的红狐狸",
    "emoji": "a \U0001f98a under a \U0001f308, 4\ufe0f\u20e3 of them",
    "right to left": "ثعلب أحمر في الثلج",
    "combining": "cafe\u0301 Z\u0351\u036b\u0343",
    "control": "a fox\u0000\u0007\n\ttwo lines",
    "template": "<|im_end|><|vision_start|>{fox} %s \\n",
    "long": "a very red fox " * 500,
}


def scored(prompt: str = "", **inputs) -> dict:
    return {
        "image": node("LoadImage", image="scene_tulips.jpg"),
        "score": node("ELIQScore", images=["image", 0], prompt=prompt, **inputs),
        "quality": node("ELIQTestShow", value=["score", 1]),
        "alignment": node("ELIQTestShow", value=["score", 2]),
    }


def numbers(run, node_id: str) -> list[float]:
    return [float(text) for text in run.text(node_id)]


def test_a_score_node_alone_is_enough(server):
    run = server.run(
        {
            "image": node("LoadImage", image="scene_tulips.jpg"),
            "score": node("ELIQScore", images=["image", 0]),
        }
    )
    assert run.status == "success", run.error
    (strip,) = run.outputs["score"]["images"]
    assert strip["type"] == "temp"
    assert (server.base / "temp" / strip["subfolder"] / strip["filename"]).is_file()
    (row,) = run.outputs["score"]["eliq_scores"]
    assert 0 <= row["visual_quality"] <= 1 and row["alignment"] is None
    assert (
        "no prompt" in run.text("score")[0]
        and f"{row['visual_quality']:.3f}" in run.text("score")[0]
    )


def test_it_scores_as_the_library_does(server):
    from eliq import Scorer

    prompt = "a photo of three tulips in the snow"
    png = server.base / "input" / "tulips.png"  # of a JPEG, two decoders make different pixels
    with Image.open(server.base / "input" / "scene_tulips.jpg") as image:
        image.save(png)
    graph = scored(prompt)
    graph["image"]["inputs"]["image"] = png.name
    run = server.run(graph)
    expected = Scorer.from_pretrained(device="cpu").score([str(png)], [prompt])
    assert numbers(run, "quality") == pytest.approx(expected.visual_quality.tolist(), abs=2e-4)
    assert numbers(run, "alignment") == pytest.approx(expected.alignment.tolist(), abs=2e-4)


def test_an_empty_prompt_has_no_alignment(server):
    for prompt in ("", "   \n"):
        run = server.run(scored(prompt, find_prompt=False))
        assert run.status == "success", run.error
        assert run.text("alignment") == ["nan"] and 0 <= numbers(run, "quality")[0] <= 1


@pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
def test_prompts_of_any_script(prompt, server):
    run = server.run(scored(prompt))
    assert run.status == "success", run.error
    assert 0 <= numbers(run, "alignment")[0] <= 1
    assert run.outputs["score"]["eliq_scores"][0]["prompt"]


@pytest.mark.parametrize("size", [1, 5])
def test_a_batch_gives_a_list(size, server):
    run = server.run(
        {
            "image": node("ELIQTestSeededImage", seed=3, size=64, batch_size=size),
            "score": node("ELIQScore", images=["image", 0], prompt="noise"),
            "quality": node("ELIQTestShow", value=["score", 1]),
            "alignment": node("ELIQTestShow", value=["score", 2]),
        }
    )
    assert run.status == "success", run.error
    assert len(run.text("quality")) == len(run.text("alignment")) == size
    assert len(run.outputs["score"]["eliq_scores"]) == size


def test_an_images_score_does_not_depend_on_its_batch(server):
    def rows(size: int) -> list[dict]:
        graph = {
            "image": node("ELIQTestSeededImage", seed=3, size=64, batch_size=4),
            "some": node("ImageFromBatch", image=["image", 0], batch_index=0, length=size),
            "score": node("ELIQScore", images=["some", 0], prompt="noise"),
        }
        return server.run(graph).outputs["score"]["eliq_scores"]

    alone, together = rows(1)[0], rows(4)[0]
    for name in ("visual_quality", "alignment"):
        assert alone[name] == pytest.approx(together[name], abs=1e-4)


def test_a_list_of_images_of_several_sizes(server):
    graph = {
        "a": node("LoadImage", image="scene_tulips.jpg"),
        "b": node("ELIQTestSeededImage", seed=1, size=40, batch_size=2),
        "list": node("ELIQTestList", first=["a", 0], second=["b", 0]),
        "score": node("ELIQScore", images=["list", 0], prompt="tulips"),
        "table": node("ELIQTestShow", value=["score", 4]),
    }
    run = server.run(graph)
    assert run.status == "success", run.error
    assert len(run.outputs["score"]["eliq_scores"]) == 3
    assert len(run.text("table")) == 2  # a table for each batch, as the images go on


def test_an_image_that_cannot_be_scored_stops_nothing(server):
    graph = {
        "wide": node("EmptyImage", width=16384, height=16, batch_size=1, color=0x8899AA),
        "image": node("LoadImage", image="scene_tulips.jpg"),
        "list": node("ELIQTestList", first=["wide", 0], second=["image", 0]),
        "score": node("ELIQScore", images=["list", 0], prompt="tulips"),
        "gate": node(
            "ELIQGate",
            images=["score", 0],
            scores=["score", 4],
            min_visual_quality=0.01,
            min_alignment=0.0,
        ),
        "accepted": node("ELIQTestShow", value=["gate", 2]),
        "save": node(
            "ELIQSaveScored", images=["score", 0], scores=["score", 4], filename_prefix="wide/%vq%"
        ),
    }
    run = server.run(graph)
    assert run.status == "success", run.error
    wide, normal = run.outputs["score"]["eliq_scores"]
    assert wide["status"] == "failed" and wide["visual_quality"] is None
    assert normal["status"] == "ok"
    assert "not scored" in run.text("score")[0] and "16384x16" in run.text("score")[0]
    assert run.text("accepted") == ["0", "1"]
    assert run.outputs["save"]["images"][0]["filename"].startswith("none_")


def test_the_prompt_is_found_upstream(server):
    graph = scored()
    graph["text"] = node("ELIQTestTextEncode", text="(three tulips:1.2) in the snow")
    graph["score"]["inputs"]["positive"] = ["text", 0]
    run = server.run(graph)
    assert run.outputs["score"]["eliq_scores"][0]["prompt"] == "three tulips in the snow"


def test_a_prompt_that_another_node_makes_is_waited_for(server):
    graph = scored()
    graph["string"] = node("StringConcatenate", string_a="three", string_b="tulips", delimiter=" ")
    graph["text"] = node("ELIQTestTextEncode", text=["string", 0])
    graph["score"]["inputs"]["positive"] = ["text", 0]
    run = server.run(graph)
    assert run.status == "success", run.error
    assert run.outputs["score"]["eliq_scores"][0]["prompt"] == "three tulips"


def test_a_critic_of_the_models_folder(server):
    run = server.run(
        scored("tulips", critic=["critic", 0])
        | {"critic": node("ELIQLoadCritic", critic=TINY_CRITIC, mode="trained", dtype="auto")}
    )
    assert run.status == "success", run.error
    row = run.outputs["score"]["eliq_scores"][0]
    assert row["critic"] == TINY_CRITIC and row["critic_fingerprint"]
    embedded = server.run(scored("tulips")).outputs["score"]["eliq_scores"][0]
    assert embedded["critic"] == "embedded"
    assert embedded["visual_quality"] != row["visual_quality"]


@pytest.mark.parametrize("field", ["critic", "hub_id"])
def test_a_bare_qwen_vl_is_asked_zero_shot(field, server):
    settings = {"critic": "embedded", "mode": "zero-shot", "dtype": "auto", field: BARE_MODEL}
    graph = scored("tulips", critic=["critic", 0])
    run = server.run(graph | {"critic": node("ELIQLoadCritic", **settings)})
    assert run.status == "success", run.error
    row = run.outputs["score"]["eliq_scores"][0]
    assert row["critic"] == BARE_MODEL and row["status"] == "ok"
    assert 0 <= row["visual_quality"] <= 1 and 0 <= row["alignment"] <= 1
    assert f"critic: {BARE_MODEL}" in run.text("score")[0]


def test_a_critic_that_another_node_names(server):
    graph = scored("tulips", critic=["critic", 0])
    choice = {"switch": True, "on_true": TINY_CRITIC, "on_false": "embedded"}
    graph["name"] = node("ComfySwitchNode", **choice)
    graph["critic"] = node("ELIQLoadCritic", critic=["name", 0], mode="trained", dtype="auto")
    run = server.run(graph)
    assert run.status == "success", run.error
    assert run.outputs["score"]["eliq_scores"][0]["critic"] == TINY_CRITIC


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"critic": BROKEN_CRITIC}, "config.json"),
        ({"critic": "embedded", "mode": "zero-shot"}, "zero-shot"),
        ({"critic": TINY_CRITIC, "mode": "zero-shot"}, "set mode to 'trained'"),
        ({"hub_id": "somebody/some-critic"}, "https://huggingface.co/somebody/some-critic"),
        ({"hub_id": "../../etc/passwd"}, "owner/name"),
    ],
    ids=["broken", "embedded zero-shot", "trained as zero-shot", "missing", "no id"],
)
def test_a_wrong_critic_is_told_in_one_line(settings, told, server):
    settings = {"critic": "embedded", "mode": "trained", "dtype": "auto", **settings}
    run = server.run(
        scored("tulips", critic=["critic", 0]) | {"critic": node("ELIQLoadCritic", **settings)}
    )
    assert run.status == "error" and run.error_node == "ELIQLoadCritic"
    assert told in run.error
    assert len(run.error.strip().splitlines()) == 1, run.error
    again = server.run(scored("tulips again"))
    assert again.status == "success", "the server goes on after an error"


def test_only_the_click_reaches_for_the_network(clicked_server):
    """Also the proof that the watch sees what it is there to see."""
    for download in (False, True):
        settings = {"critic": "embedded", "mode": "trained", "dtype": "auto", "download": download}
        critic = node("ELIQLoadCritic", hub_id="somebody/some-critic", **settings)
        run = clicked_server.run(scored("tulips", critic=["critic", 0]) | {"critic": critic})
        assert run.status == "error" and "somebody/some-critic" in run.error
        assert len(run.error.strip().splitlines()) == 1, run.error
        assert bool(clicked_server.watched("connect")) is download


def test_a_critic_that_is_not_there_is_refused_before_anything_runs(server):
    prompt = scored("tulips", critic=["critic", 0])
    prompt["critic"] = node("ELIQLoadCritic", critic="gone", mode="trained", dtype="auto")
    with pytest.raises(Refused) as refused:
        server.queue(prompt)
    assert "models/eliq" in refused.value.details()
