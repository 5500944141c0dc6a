"""The pack loads in a real ComfyUI, whatever its folder is called, and shows itself completely."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.comfy.conftest import BROKEN_CRITIC, TINY_CRITIC
from tests.comfy.server import ROOT

pytestmark = pytest.mark.comfy

NODES = {
    "ELIQLoadCritic": "ELIQ Load Critic",
    "ELIQScore": "ELIQ Score",
    "ELIQGate": "ELIQ Gate",
    "ELIQPickBest": "ELIQ Pick Best",
    "ELIQReroll": "ELIQ Re-roll Until Pass",
    "ELIQEarlyAbort": "ELIQ Early Abort",
    "ELIQSaveScored": "ELIQ Save Scored Image",
}


def own(object_info: dict) -> dict:
    return {
        name: declared
        for name, declared in object_info.items()
        if name.startswith("ELIQ") and not name.startswith("ELIQTest")
    }


@pytest.mark.parametrize("folder", ["ComfyUI-ELIQ", "eliq"])
def test_loads_in_a_folder_of_any_name(folder, request):
    fixture = {"ComfyUI-ELIQ": "server", "eliq": "clicked_server"}[folder]
    server = request.getfixturevalue(fixture)
    log = server.log()
    assert "IMPORT FAILED" not in log and "Cannot import" not in log, log
    found = own(server.get("/object_info"))
    assert set(NODES) <= set(found)
    for name, declared in found.items():
        assert declared["python_module"] == f"custom_nodes.{folder}", name
    page = server.get(f"/extensions/{folder}/docs/ELIQScore.md")
    assert page.startswith("# ELIQ Score")


def test_ids_names_and_category_are_what_graphs_were_saved_with(object_info):
    found = own(object_info)
    assert {name: found[name]["display_name"] for name in NODES} == NODES
    assert {declared["category"] for declared in found.values()} == {"ELIQ"}


def test_every_input_and_output_has_a_tooltip(object_info):
    for name, declared in own(object_info).items():
        inputs = [*declared["input"].get("required", {}).items()]
        inputs += declared["input"].get("optional", {}).items()
        for input_name, (_, *options) in inputs:
            assert options and options[0].get("tooltip"), f"{name}.{input_name}"
        tooltips = declared["output_tooltips"] or []
        assert len(tooltips) == len(declared["output"]), name
        assert all(tooltips), f"{name}: an output without a tooltip"


def test_the_nodes_can_be_searched_for_by_what_users_type(object_info):
    found = own(object_info)
    for name in NODES:
        assert found[name]["search_aliases"], name
    typed = {alias for name in NODES for alias in found[name]["search_aliases"]}
    assert {"quality gate", "aesthetic score", "best of", "reroll"} <= typed


def test_only_early_abort_and_its_companion_are_experimental(object_info):
    found = own(object_info)
    assert {n for n, d in found.items() if d.get("experimental")} == {
        "ELIQEarlyAbort",
        "ELIQUsedSeed",
    }
    hidden = {n for n, d in found.items() if d.get("dev_only")}
    assert hidden and not hidden & set(NODES)


def test_critics_in_the_models_folder_are_offered(object_info):
    declared = object_info["ELIQLoadCritic"]["input"]["required"]["critic"]
    options = declared[1]["options"] if declared[0] == "COMBO" else declared[0]
    assert options[0] == "embedded" and {TINY_CRITIC, BROKEN_CRITIC} <= set(options)


def test_templates_and_translations_are_served(server):
    served = server.get("/workflow_templates")["ComfyUI-ELIQ"]
    files = (ROOT / "example_workflows").glob("*.json")
    assert sorted(served) == sorted(Path(file).stem for file in files) and served
    for name in served:
        assert server.get(f"/api/workflow_templates/ComfyUI-ELIQ/{name}.json")["nodes"]
    for language in ("en", "zh"):
        names = server.get("/i18n")[language]["nodeDefs"]
        expected = json.loads((ROOT / "locales" / language / "nodeDefs.json").read_text("utf-8"))
        assert {name: names[name] for name in expected} == expected


def test_help_pages_are_served_in_both_languages(server, object_info):
    for name, declared in own(object_info).items():
        if not declared.get("dev_only"):
            for page in (f"{name}.md", f"{name}/zh.md"):
                text = server.get(f"/extensions/ComfyUI-ELIQ/docs/{page}")
                assert text.startswith(f"# {declared['display_name']}"), page
