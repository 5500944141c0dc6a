"""What the settings of ELIQ Load Critic name, and what is said when it is not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.comfy_pack import pack_module

source = pack_module("critic_source")
hub_files = pack_module("hub_files")
QWEN = {"model_type": "qwen3_vl", "vision_config": {"depth": 1}}


@pytest.fixture
def roots(tiny_checkpoint_dir, tmp_path, monkeypatch) -> list[Path]:
    """Two model folders: a trained critic under two names in the first, a bare model."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    roots = [tmp_path / "models", tmp_path / "more"]
    for name in ("mine", "owner/name"):
        shutil.copytree(tiny_checkpoint_dir, roots[0] / name)
    put(roots[1] / "bare", QWEN)
    put(roots[1] / "odd", {"format": "something else"})
    return roots


def put(folder: Path, config: dict) -> None:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def test_the_embedded_critic_has_no_folder(roots):
    assert source.locate("embedded", mode="trained", roots=roots).folder is None


def test_folders_by_name_in_any_model_folder(roots):
    assert source.locate("mine", mode="trained", roots=roots).folder == roots[0] / "mine"
    found = source.locate("bare", mode="zero-shot", roots=roots)
    assert found.folder == roots[1] / "bare" and found.is_zero_shot and found.name == "bare"


def test_an_id_that_lies_in_a_model_folder_needs_no_hub(roots):
    found = source.locate("embedded", mode="trained", roots=roots, hub_id="owner/name")
    assert found.folder == roots[0] / "owner" / "name" and found.name == "owner/name"
    assert source.weight_bytes(found) > 0


@pytest.mark.parametrize(
    "name", ["..", "../models/mine", "/etc", "a\\..\\b", "C:/x", ".hidden", ""]
)
def test_a_name_is_no_path(roots, name):
    assert source.find_folder(name, roots) is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"critic": "embedded", "mode": "zero-shot"}, "set mode to 'trained', or hub_id"),
        ({"critic": "mine", "mode": "zero-shot"}, "mine is a trained critic: set mode"),
        ({"critic": "bare", "mode": "trained"}, "bare is a bare model: set mode"),
        ({"critic": "gone", "mode": "trained"}, "expected a folder gone .*models.* or .*more"),
        ({"critic": "mine", "mode": "other"}, "mode: expected one of trained, zero-shot"),
        ({"critic": "mine", "mode": "trained", "hub_id": "no id"}, "hub_id: expected owner/name"),
        (
            {"critic": "mine", "mode": "trained", "hub_id": "Qwen/Qwen3-VL-4B-Instruct"},
            "found none: .*; a bare Qwen-VL takes mode 'zero-shot'$",
        ),
        (
            {"critic": "mine", "mode": "trained", "hub_id": "owner/other"},
            "switch 'download' on .*https://huggingface.co/owner/other .*hf download owner/other ",
        ),
    ],
)
def test_what_is_wrong_is_one_line_that_says_what_to_do(roots, settings, said):
    with pytest.raises((ValueError, hub_files.EliqError), match=said) as error:
        source.locate(settings.pop("critic"), roots=roots, **settings)
    assert "\n" not in str(error.value)


def test_a_config_of_neither_kind_is_left_to_its_loader(roots):
    with pytest.raises(Exception, match="eliq-critic"):
        source.locate("odd", mode="trained", roots=roots)


def test_a_backbone_that_stays_on_the_hub_is_named_with_its_commit(roots):
    config = json.loads((roots[0] / "mine" / "config.json").read_text("utf-8"))
    config["backbone"] |= {"weights": "hub", "id": "owner/backbone", "revision": "a" * 40}
    (roots[0] / "mine" / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(ValueError, match=f"owner/backbone .*--revision {'a' * 40}"):
        source.locate("mine", mode="trained", roots=roots)
