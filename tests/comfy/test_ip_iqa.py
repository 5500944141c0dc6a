"""An IP-IQA model in models/eliq, in a real ComfyUI: loaded, scored with, moved like a critic."""

from __future__ import annotations

import pytest

from tests.comfy.conftest import RATED_MODEL
from tests.comfy.server import node

pytestmark = pytest.mark.comfy


def graph(prompt: str, **settings):
    critic = {"critic": RATED_MODEL, "mode": "trained", "dtype": "auto", **settings}
    return {
        "critic": node("ELIQLoadCritic", **critic),
        "image": node("LoadImage", image="scene_tulips.jpg"),
        "score": node(
            "ELIQScore", images=["image", 0], critic=["critic", 0], prompt=prompt, find_prompt=False
        ),
    }


def test_it_scores_as_the_library_does(server, rated_model_dir):
    from eliq.ip_iqa import IPIQA
    from tests.comfy.server import ROOT

    run = server.run(graph("three tulips"))
    assert run.status == "success", run.error
    (row,) = run.outputs["score"]["eliq_scores"]
    picture = ROOT / "examples" / "images" / "scene_tulips.jpg"
    expected = IPIQA.from_pretrained(rated_model_dir, device="cpu").score(picture, "three tulips")
    assert row["visual_quality"] == pytest.approx(expected[0]["visual_quality"], abs=1e-3)
    assert row["alignment"] == pytest.approx(expected[0]["alignment"], abs=1e-3)
    assert set(row["aspects"].values()) == {None}


def test_the_node_says_what_it_loaded(server):
    run = server.run(graph("three tulips", dtype="float32"))  # other settings: it runs again
    text = "".join(run.outputs["critic"]["text"])
    assert RATED_MODEL in text and "IP-IQA" in text and "float32" in text


def test_half_precision_is_refused_in_words(server):
    run = server.run(graph("three tulips", dtype="bfloat16"))
    assert run.status == "error" and "float32" in str(run.error)
