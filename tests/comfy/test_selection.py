"""ELIQ Gate, ELIQ Pick Best and ELIQ Save Scored Image behind a real ELIQ Score."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from tests.comfy.server import node

pytestmark = pytest.mark.comfy


def batch(size: int = 4, seed: int = 11) -> dict:
    return {
        "image": node("ELIQTestSeededImage", seed=seed, size=64, batch_size=size),
        "score": node("ELIQScore", images=["image", 0], prompt="noise"),
    }


def gated(minimum: float, size: int = 4, seed: int = 11) -> dict:
    gate = {"min_visual_quality": minimum, "min_alignment": 0.0}
    return batch(size, seed) | {
        "gate": node("ELIQGate", images=["score", 0], scores=["score", 4], **gate),
        "accepted": node("PreviewImage", images=["gate", 0]),
        "rejected": node("PreviewImage", images=["gate", 1]),
        "counts": node("ELIQTestShow", value=["gate", 2]),
        "which": node("ELIQTestShow", value=["gate", 4]),
    }


def qualities(server, size: int = 4, seed: int = 11) -> list[float]:
    rows = server.run(batch(size, seed)).outputs["score"]["eliq_scores"]
    return [row["visual_quality"] for row in rows]


def test_a_threshold_parts_the_batch_and_a_new_one_does_not_score_again(server):
    scores = qualities(server)
    between = (sorted(scores)[1] + sorted(scores)[2]) / 2
    run = server.run(gated(between))
    assert run.status == "success", run.error
    assert run.text("counts") == ["2"]
    expected = [str(i) for i, score in enumerate(scores) if score >= between]
    assert run.text("which") == [",".join(expected)]
    assert len(run.outputs["accepted"]["images"]) == len(run.outputs["rejected"]["images"]) == 2

    again = server.run(gated(between / 2))
    assert {"image", "score"} <= again.cached and "gate" not in again.cached
    assert again.text("counts") == ["4"]


def test_a_batch_in_which_nothing_passes_skips_what_follows_and_no_more(server):
    run = server.run(gated(1.0))
    assert run.status == "success" and not run.error
    assert "accepted" not in run.outputs
    assert len(run.outputs["rejected"]["images"]) == 4
    assert run.text("counts") == ["0"] and run.text("which") == [""]
    assert "0 accepted, 4 rejected" in run.text("gate")[0]


def test_a_batch_of_one(server):
    (score,) = qualities(server, size=1)
    assert "rejected" not in server.run(gated(score / 2, size=1)).outputs
    assert "accepted" not in server.run(gated((1 + score) / 2, size=1)).outputs


def test_the_best_are_picked_with_their_latents_and_masks(server):
    scores = qualities(server)
    order = sorted(range(4), key=lambda i: -scores[i])
    pick = {"k": 3, "combine": "visual_quality"}
    graph = batch() | {
        "latent": node("EmptyLatentImage", width=64, height=64, batch_size=4),
        "mask": node("ImageToMask", image=["image", 0], channel="red"),
        "pick": node(
            "ELIQPickBest",
            images=["score", 0],
            scores=["score", 4],
            latent=["latent", 0],
            mask=["mask", 0],
            **pick,
        ),
        "which": node("ELIQTestShow", value=["pick", 4]),
        "images": node("ELIQTestShow", value=["pick", 0]),
        "latents": node("ELIQTestShow", value=["pick", 1]),
        "masks": node("ELIQTestShow", value=["pick", 2]),
    }
    for place, index in enumerate(order[:3]):  # each picked image is the one it says it is
        graph |= {
            f"from{place}": node("ImageFromBatch", image=["image", 0], batch_index=index, length=1),
            f"to{place}": node("ImageFromBatch", image=["pick", 0], batch_index=place, length=1),
            f"same{place}": node("ELIQTestShow", value=[f"from{place}", 0]),
            f"other{place}": node("ELIQTestShow", value=[f"to{place}", 0]),
        }
    run = server.run(graph)
    assert run.status == "success", run.error
    assert run.text("which") == [",".join(map(str, order[:3]))]
    assert run.text("images")[0].startswith("[3, 64, 64, 3]")
    assert run.text("latents")[0].startswith("[3, 4, 8, 8]")
    assert run.text("masks")[0].startswith("[3, 64, 64]")
    for place in range(3):
        assert run.text(f"same{place}") == run.text(f"other{place}")


def test_saved_images_carry_their_scores(server):
    graph = batch(2) | {
        "save": node(
            "ELIQSaveScored",
            images=["score", 0],
            scores=["score", 4],
            filename_prefix="saved/狐狸_%vq%_%al%",
            write_jsonl=True,
        )
    }
    run = server.run(graph)
    assert run.status == "success", run.error
    rows = run.outputs["score"]["eliq_scores"]
    folder = server.base / "output" / "saved"
    for place, row in zip(run.outputs["save"]["images"], rows, strict=True):
        assert place["type"] == "output" and f"{row['visual_quality']:.3f}" in place["filename"]
        with Image.open(folder / place["filename"]) as image:
            record = json.loads(image.text["eliq"])
            assert json.loads(image.text["prompt"])["save"]["class_type"] == "ELIQSaveScored"
        assert record["visual_quality"] == row["visual_quality"] and record["prompt"] == "noise"
    (lines,) = folder.glob("*_scores.jsonl")
    told = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    assert [line["visual_quality"] for line in told] == [row["visual_quality"] for row in rows]


def test_a_graph_written_by_hand_may_leave_out_what_is_advanced(server):
    graph = batch(1) | {
        "save": node(
            "ELIQSaveScored", images=["score", 0], scores=["score", 4], filename_prefix="short/%al%"
        )
    }
    run = server.run(graph)
    assert run.status == "success", run.error
    assert list((server.base / "output" / "short").glob("*_scores.jsonl"))


@pytest.mark.parametrize("prefix", ["../outside", "/tmp/outside", "a/../../outside"])
def test_a_prefix_stays_below_the_output_folder(prefix, server):
    graph = batch(1) | {
        "save": node(
            "ELIQSaveScored",
            images=["score", 0],
            scores=["score", 4],
            filename_prefix=prefix,
            write_jsonl=True,
        )
    }
    run = server.run(graph)
    assert run.status == "error" and run.error_node == "ELIQSaveScored"
    assert "output" in run.error


def test_scores_of_another_batch_are_refused(server):
    graph = batch(4) | {
        "other": node("ELIQTestSeededImage", seed=5, size=64, batch_size=3),
        "gate": node(
            "ELIQGate",
            images=["other", 0],
            scores=["score", 4],
            min_visual_quality=0.5,
            min_alignment=0.0,
        ),
    }
    run = server.run(graph)
    assert run.status == "error" and run.error_node == "ELIQGate"
    assert "expected a batch of 4" in run.error
