"""Checkpoints: what is saved is loaded bit for bit, and a killed save leaves the old one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from eliq import CheckpointError, Scorer
from eliq.checkpoint import (
    Adapter,
    HubWeights,
    embedded_checkpoint_dir,
    fingerprint,
    load_checkpoint,
    locate_checkpoint,
    save_checkpoint,
)
from eliq.checkpoint import place as place_module
from eliq.checkpoint import save as save_module
from tests.tiny import image, tiny_backbone, tiny_head

COMMIT = "0123456789abcdef" * 2 + "01234567"
FILES = {"README.md", "config.json", "model.safetensors", "tokenizer.json"}
TARGETS = [
    f"model.language_model.layers.{layer}.{module}"
    for layer in (0, 1)
    for module in ("self_attn.q_proj", "mlp.down_proj")
]


def assert_equal_states(first: torch.nn.Module, second: torch.nn.Module) -> None:
    one, two = first.state_dict(), second.state_dict()
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype and torch.equal(one[name], two[name]), name


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    """A private, offline cache of the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (tmp_path / "hub").mkdir()
    return tmp_path / "hub"


def put_in_cache(cache: Path, hub_id: str, source: Path) -> Path:
    """A repository in the cache as the hub's client leaves it: a snapshot of links to blobs."""
    repository = cache / f"models--{hub_id.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    for folder in (snapshot, repository / "blobs", repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for path in source.iterdir():
        shutil.copy(path, repository / "blobs" / f"blob-{path.name}")
        (snapshot / path.name).symlink_to(Path("../../blobs") / f"blob-{path.name}")
    return snapshot


@pytest.fixture
def cached_backbone(hub_cache, tmp_path):
    """A tiny Qwen3-VL in the hub's layout, as tiny/backbone in the cache."""
    backbone = tiny_backbone(seed=3)
    source = tmp_path / "published"
    backbone.model.save_pretrained(source)
    backbone.tokenizer.save(str(source / "tokenizer.json"))
    (source / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5, 0.5]}')
    put_in_cache(hub_cache, "tiny/backbone", source)
    return backbone


def test_saved_and_loaded_is_bit_exact(tiny_checkpoint, tiny_checkpoint_dir):
    loaded = load_checkpoint(tiny_checkpoint_dir)
    assert names(tiny_checkpoint_dir) == FILES
    assert_equal_states(tiny_checkpoint.backbone.model, loaded.backbone.model)
    assert_equal_states(tiny_checkpoint.head, loaded.head)
    assert dict(loaded.backbone.named_buffers()).keys()
    for name, buffer in tiny_checkpoint.backbone.named_buffers():
        assert torch.equal(buffer, dict(loaded.backbone.named_buffers())[name]), name
    for part in ("calibration", "mos_calibration", "training"):
        assert getattr(loaded, part) == getattr(tiny_checkpoint, part)
    for part in ("instructions", "patches", "max_prompt_tokens"):
        assert getattr(loaded.backbone, part) == getattr(tiny_checkpoint.backbone, part)
    assert not any(
        p.requires_grad for p in [*loaded.backbone.parameters(), *loaded.head.parameters()]
    )


def test_scores_survive_two_saves_bit_exact(tiny_scorer, tmp_path):
    images, prompts = [image(64, 96), image(130, 70, seed=1)], ["a cat", "two dogs"]
    first = tiny_scorer.score(images, prompts)
    tiny_scorer.save_pretrained(tmp_path / "again")
    again = Scorer.from_pretrained(tmp_path / "again", device="cpu")
    second = again.score(images, prompts)
    assert torch.equal(first.visual_quality, second.visual_quality)
    assert torch.equal(first.alignment, second.alignment)
    assert again.fingerprint == tiny_scorer.fingerprint


def test_half_precision_on_disk(tiny_checkpoint, tmp_path):
    directory = save_checkpoint(tmp_path / "half", tiny_checkpoint, storage_dtype=torch.bfloat16)
    loaded = load_checkpoint(directory)
    assert loaded.backbone.dtype == torch.float32
    expected = tiny_checkpoint.backbone.model.state_dict()
    for name, tensor in loaded.backbone.model.state_dict().items():
        assert torch.equal(tensor, expected[name].bfloat16().float()), name
    assert_equal_states(tiny_checkpoint.head, loaded.head)  # the head stays float32
    assert load_checkpoint(directory, dtype=torch.bfloat16).backbone.dtype == torch.bfloat16


def test_shards(tiny_checkpoint, tmp_path):
    directory = save_checkpoint(tmp_path / "shards", tiny_checkpoint, max_shard_bytes=200_000)
    files = json.loads((directory / "config.json").read_text())["weight_files"]
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    assert_equal_states(tiny_checkpoint.backbone.model, load_checkpoint(directory).backbone.model)
    save_checkpoint(directory, tiny_checkpoint)  # over it: no old shard is left behind
    assert names(directory) == FILES


def test_a_head_of_its_own_language_model(tiny_checkpoint, tmp_path):
    """Untied lm_head: as in the 8B backbone."""
    from eliq.backbone import Backbone
    from tests.tiny import INSTRUCTIONS, tiny_config

    config = tiny_config()
    config["tie_word_embeddings"] = config["text_config"]["tie_word_embeddings"] = False
    tied = tiny_checkpoint.backbone
    untied = Backbone.from_config(
        config,
        tied.tokenizer,
        instructions=INSTRUCTIONS,
        patches=tied.patches,
    )
    directory = save_checkpoint(tmp_path / "untied", replace(tiny_checkpoint, backbone=untied))
    loaded = load_checkpoint(directory).backbone.model
    assert_equal_states(untied.model, loaded)
    assert loaded.lm_head.weight is not loaded.get_input_embeddings().weight


def test_the_fingerprint_is_of_what_makes_a_score(tiny_checkpoint, tmp_path):
    first = fingerprint(save_checkpoint(tmp_path / "a", tiny_checkpoint))
    other_card = replace(tiny_checkpoint, training={"note": "another"})
    assert fingerprint(save_checkpoint(tmp_path / "b", other_card, card="# Card")) == first
    other_head = replace(tiny_checkpoint, head=tiny_head(seed=1))
    assert fingerprint(save_checkpoint(tmp_path / "c", other_head)) != first
    calibration = dict(reversed(tiny_checkpoint.calibration.items()))
    assert (
        fingerprint(
            save_checkpoint(tmp_path / "d", replace(tiny_checkpoint, calibration=calibration))
        )
        == first
    )  # noqa: E501
    calibration["alignment"] = replace(calibration["alignment"], offset=0.5)
    assert (
        fingerprint(
            save_checkpoint(tmp_path / "e", replace(tiny_checkpoint, calibration=calibration))
        )
        != first
    )  # noqa: E501


def test_a_save_that_fails_leaves_the_old_checkpoint(tiny_checkpoint, tmp_path, monkeypatch):
    directory = save_checkpoint(tmp_path / "critic", tiny_checkpoint)
    before = fingerprint(directory)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(save_module, "_short_card", full)
    with pytest.raises(CheckpointError, match="No space left"):
        save_checkpoint(directory, replace(tiny_checkpoint, head=tiny_head(seed=1)))
    assert fingerprint(directory) == before
    assert names(tmp_path) == {"critic"}


def test_what_is_not_a_checkpoint_is_not_overwritten(tiny_checkpoint, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"precious")
    (tmp_path / "file").write_text("precious")
    for name in ("photos", "file"):
        with pytest.raises(CheckpointError, match="choose another directory"):
            save_checkpoint(tmp_path / name, tiny_checkpoint)
    assert (tmp_path / "photos" / "holiday.jpg").read_bytes() == b"precious"
    (tmp_path / "empty").mkdir()
    assert names(save_checkpoint(tmp_path / "empty", tiny_checkpoint)) == FILES


def test_files_beside_the_checkpoint_are_kept(tiny_checkpoint, tmp_path):
    directory = save_checkpoint(tmp_path / "critic", tiny_checkpoint)
    (directory / "LICENSE-font.txt").write_text("OFL")
    (directory / "figures").mkdir()
    (directory / "figures" / "curve.png").write_bytes(b"png")
    save_checkpoint(directory, tiny_checkpoint, card="# New\n")
    assert names(directory) == FILES | {"LICENSE-font.txt", "figures"}
    assert (directory / "figures" / "curve.png").read_bytes() == b"png"
    assert (directory / "README.md").read_text() == "# New\n"


def test_weights_that_are_not_finite_are_not_saved(tiny_checkpoint, tmp_path):
    head = tiny_head()
    with torch.no_grad():
        head.qqt.position[0, 0] = torch.nan
    with pytest.raises(CheckpointError, match=r"head\.qqt\.position"):
        save_checkpoint(tmp_path / "nan", replace(tiny_checkpoint, head=head))
    assert not (tmp_path / "nan").exists()


def test_a_head_that_is_not_tied_as_it_should_be_is_not_saved(tiny_checkpoint, tmp_path):
    backbone = tiny_backbone()
    backbone.model.lm_head.weight = torch.nn.Parameter(backbone.model.lm_head.weight + 1)
    with pytest.raises(CheckpointError, match="tie_word_embeddings"):
        save_checkpoint(tmp_path / "untied", replace(tiny_checkpoint, backbone=backbone))


def test_a_critic_from_the_hub_cache(hub_cache, tiny_checkpoint_dir, tiny_checkpoint):
    snapshot = put_in_cache(hub_cache, "tiny/critic", tiny_checkpoint_dir)
    for source in ("tiny/critic", snapshot):
        loaded = load_checkpoint(source)
        assert_equal_states(tiny_checkpoint.head, loaded.head)
    assert_equal_states(tiny_checkpoint.head, load_checkpoint("tiny/critic", revision=COMMIT).head)


@pytest.mark.parametrize("is_sound", [True, False])
def test_the_config_is_checked_before_weights_are_fetched(
    hub_cache, tiny_checkpoint_dir, tmp_path, monkeypatch, is_sound
):
    published = Path(shutil.copytree(tiny_checkpoint_dir, tmp_path / "published"))
    shutil.copy(published / "model.safetensors", published / "model-00001-of-00002.safetensors")
    config = json.loads((published / "config.json").read_text())
    config |= {} if is_sound else {"format_version": 9}
    (published / "config.json").write_text(json.dumps(config))
    asked = []

    def fetch(hub_id, *, revision, allow_patterns, local_files_only):
        asked.append((revision, set(allow_patterns)))
        snapshot = hub_cache / "models--tiny--critic" / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        for path in published.iterdir():
            if any(path.match(pattern) for pattern in allow_patterns):
                shutil.copy(path, snapshot / path.name)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)
    if is_sound:
        directory = locate_checkpoint("tiny/critic", revision="main")
        assert names(directory) == FILES  # not the shards that the config does not name
        assert asked == [("main", {"config.json"}), (COMMIT, FILES)]
    else:
        with pytest.raises(CheckpointError, match="format_version"):
            locate_checkpoint("tiny/critic", revision="main")
        assert asked == [("main", {"config.json"})]


@pytest.mark.parametrize(
    "source", ["tiny/missing", "missing", "./missing", "a/b/c", "tiny/mis--sing"]
)
def test_a_missing_critic_is_named_in_one_line(hub_cache, source):
    with pytest.raises(CheckpointError) as error:
        Scorer.from_pretrained(source, device="cpu")
    message = str(error.value)
    assert source in message and "\n" not in message
    if source == "tiny/missing":
        assert str(hub_cache) in message and "HF_HUB_OFFLINE" in message


def test_hub_form_with_an_adapter(cached_backbone, tiny_checkpoint, tmp_path):
    """Backbone by id and commit, LoRA in the checkpoint: merged by W + scaling * B A."""
    generator = torch.Generator().manual_seed(0)
    weights = cached_backbone.model.state_dict()
    pairs = {}
    for target in TARGETS:
        rows, columns = weights[f"{target}.weight"].shape
        pairs[target] = (
            torch.randn(4, columns, generator=generator),
            torch.randn(rows, 4, generator=generator),
        )
    hub = HubWeights("tiny/backbone", COMMIT, Adapter(0.5, pairs))
    directory = save_checkpoint(
        tmp_path / "critic", replace(tiny_checkpoint, backbone=cached_backbone, hub=hub)
    )
    assert (directory / "model.safetensors").stat().st_size < 120_000
    loaded = load_checkpoint(directory)
    assert loaded.backbone.patches == cached_backbone.patches
    found = loaded.backbone.model.state_dict()
    for name, weight in weights.items():
        target = name.removesuffix(".weight")
        if target in pairs:
            expected = weight + 0.5 * pairs[target][1] @ pairs[target][0]
            torch.testing.assert_close(found[name], expected, rtol=1e-6, atol=1e-6)
        else:
            assert torch.equal(found[name], weight), name
    again = load_checkpoint(save_checkpoint(tmp_path / "again", loaded))
    assert_equal_states(again.backbone.model, loaded.backbone.model)


def test_hub_form_without_its_backbone(cached_backbone, tiny_checkpoint, tmp_path):
    checkpoint = replace(tiny_checkpoint, hub=HubWeights("tiny/other", COMMIT))
    directory = save_checkpoint(tmp_path / "critic", checkpoint)
    with pytest.raises(CheckpointError, match="tiny/other") as error:
        load_checkpoint(directory)
    assert "\n" not in str(error.value)


def test_zero_shot_from_the_hub_cache(cached_backbone):
    scorer = Scorer.zero_shot(
        "tiny/backbone", device="cpu", dtype="float32", patches=cached_backbone.patches
    )
    assert_equal_states(scorer.backbone.model, cached_backbone.model)
    assert scorer.source == f"tiny/backbone@{COMMIT}" and len(scorer.fingerprint) == 64
    assert scorer.score(image(64, 64), "a cat").errors == [None]


def test_the_embedded_critic_is_in_the_package():
    directory = embedded_checkpoint_dir()
    assert (directory / "model.safetensors").is_file()
    assert sum(path.stat().st_size for path in directory.rglob("*")) <= 25_000_000
    assert not any(path.is_symlink() for path in directory.rglob("*"))


def test_weights_are_as_readable_as_the_config(tiny_checkpoint_dir):
    """safetensors creates its files for the owner alone."""
    config = (tiny_checkpoint_dir / "config.json").stat().st_mode
    assert (tiny_checkpoint_dir / "model.safetensors").stat().st_mode == config


def test_the_next_save_removes_what_killed_writers_left_and_nothing_else(tmp_path: Path):
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    host = place_module._host()
    dead = tmp_path / f".critic.{host}-{int(ended.stdout)}-0123abcd.partial"
    kept = [
        tmp_path / f".critic.{host}-{os.getpid()}-0123abcd.partial",  # of a writer that runs
        tmp_path / f".critic.other{host}-{int(ended.stdout)}-0123abcd.partial",  # another machine's
        tmp_path / f".critics.{host}-{int(ended.stdout)}-0123abcd.partial",  # of another place
    ]
    for folder in (dead, *kept):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"half")
    place_module.CheckpointPlace.at(tmp_path / "critic", format="eliq-critic").fill(
        lambda folder: (folder / "config.json").write_text("{}")
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["critic", *(k.name for k in kept)])
