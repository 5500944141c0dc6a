"""Every example workflow runs in a real ComfyUI, with a tiny model in place of the user's."""

from __future__ import annotations

import json

import pytest

from tests.comfy.locale_files import LOCALES, english, own_nodes
from tests.comfy.server import ROOT
from tests.comfy.workflow_files import to_prompt, with_tiny_model

pytestmark = pytest.mark.comfy

WORKFLOWS = sorted((ROOT / "example_workflows").glob("*.json"))
# What each must have put on the page, by type of node.
SHOWN = {
    "score": {"ELIQScore"},
    "gate": {"ELIQScore", "ELIQGate", "PreviewImage"},
    "best_of_batch": {"ELIQScore", "ELIQPickBest", "ELIQSaveScored"},
    "reroll": {"ELIQReroll", "ELIQSaveScored"},
    "early_abort": {"ELIQUsedSeed", "ELIQScore"},
}


def test_there_is_one_for_each_use():
    assert {path.stem for path in WORKFLOWS} == set(SHOWN)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_it_runs(path, server, object_info):
    workflow = json.loads(path.read_text(encoding="utf-8"))
    prompt = with_tiny_model(to_prompt(workflow, object_info))
    run = server.run(prompt)
    assert run.status == "success", f"{run.error_node}: {run.error}"
    shown = {prompt[name]["class_type"] for name in run.outputs}
    assert SHOWN[path.stem] <= shown
    for name, given in run.outputs.items():
        if prompt[name]["class_type"] == "ELIQScore":
            for row in given["eliq_scores"]:
                assert row["status"] == "ok" and row["prompt"], "the prompt is found upstream"
                assert 0 <= row["visual_quality"] <= 1 and 0 <= row["alignment"] <= 1


def test_english_is_what_the_nodes_say(object_info):
    """If not: python -m tests.comfy.locale_files, and the Chinese by hand."""
    written = json.loads((LOCALES / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert written == english(object_info)


def test_every_node_has_a_help_page_in_both_languages(object_info):
    pages = ROOT / "eliq_nodes" / "web" / "docs"
    names = set(own_nodes(object_info))
    assert {page.stem for page in pages.glob("*.md")} == names
    assert {page.parent.name for page in pages.glob("*/zh.md")} == names
