"""What the nodes declare: names, tooltips, aliases, and translations that match them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.comfy_stub import load_nodes

ROOT = Path(__file__).resolve().parents[1]
IDS = {
    "ELIQLoadCritic", "ELIQScore", "ELIQGate", "ELIQPickBest", "ELIQReroll", "ELIQEarlyAbort",
    "ELIQUsedSeed", "ELIQSaveScored",
}  # fmt: skip


@pytest.fixture
def schemas(monkeypatch):
    return load_nodes(monkeypatch)


def is_hidden(schema) -> bool:
    return getattr(schema, "is_dev_only", False)


def test_ids_that_graphs_were_saved_with(schemas):
    assert {name for name, schema in schemas.items() if not is_hidden(schema)} == IDS
    assert {schema.category for schema in schemas.values()} == {"ELIQ"}
    assert all(schema.display_name.startswith("ELIQ ") for schema in schemas.values())


def test_tooltips_descriptions_and_aliases(schemas):
    for name, schema in schemas.items():
        assert schema.description, name
        assert schema.search_aliases if name in IDS else True, name
        for port in (*schema.inputs, *schema.outputs):
            assert port.options.get("tooltip"), f"{name}.{port.id}"


def test_names_of_inputs_and_outputs_do_not_repeat(schemas):
    for name, schema in schemas.items():
        for ports in (schema.inputs, schema.outputs):
            assert len({port.id for port in ports}) == len(ports), name


def test_english_says_what_the_nodes_say(schemas):
    """If not: python -m tests.comfy.locale_files, and the Chinese by hand."""
    written = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    assert set(written) == IDS
    for name in IDS:
        schema, told = schemas[name], written[name]
        assert told["display_name"] == schema.display_name
        assert told["description"] == schema.description
        assert {key: one["tooltip"] for key, one in told["inputs"].items()} == {
            port.id: port.options["tooltip"] for port in schema.inputs
        }, name
        assert [one["tooltip"] for one in told["outputs"].values()] == [
            port.options["tooltip"] for port in schema.outputs
        ], name


def test_help_pages_begin_with_the_nodes_name(schemas):
    folder = ROOT / "eliq_nodes" / "web" / "docs"
    for name in IDS:
        for page in (folder / f"{name}.md", folder / name / "zh.md"):
            assert page.read_text(encoding="utf-8").startswith(f"# {schemas[name].display_name}")
    assert {page.stem for page in folder.glob("*.md")} == IDS


def test_what_is_advanced_may_be_left_out_of_a_graph_written_by_hand(schemas):
    for name, schema in schemas.items():
        for port in schema.inputs:
            assert port.options.get("optional") or not port.options.get("advanced"), (name, port.id)


def test_defaults_lie_within_their_limits(schemas):
    for name, schema in schemas.items():
        for port in schema.inputs:
            options = port.options
            if port.kind in ("Float", "Int") and "default" in options:
                low, high = options.get("min", 0), options.get("max", 2**64)
                assert low <= options["default"] <= high, f"{name}.{port.id}"
            if port.kind == "Combo":
                assert options["default"] in options["options"], f"{name}.{port.id}"
