"""A hostile or damaged checkpoint is refused in one line, before anything is allocated."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from eliq import CheckpointError, EliqError
from eliq.checkpoint import load as load_module
from eliq.checkpoint import load_checkpoint, read_config
from eliq.checkpoint.location import is_hub_id
from eliq.checkpoint.safetensors_checks import contained_file, header_cap_bytes, read_header


@pytest.fixture
def critic(tiny_checkpoint_dir, tmp_path) -> Path:
    """A sound checkpoint, to be spoiled."""
    return Path(shutil.copytree(tiny_checkpoint_dir, tmp_path / "critic"))


@pytest.fixture
def no_allocation(monkeypatch):
    """Reading a tensor is a failure: a refusal must come before it."""

    def forbidden(*args, **kwargs):
        pytest.fail("tensors were read before the checkpoint was refused")

    monkeypatch.setattr(load_module, "read_tensors", forbidden)


def refusal(directory: Path) -> str:
    """The one line with which loading is refused."""
    with pytest.raises(EliqError) as error:
        load_checkpoint(directory)
    message = str(error.value)
    assert "\n" not in message and len(message) < 600
    return message


def edit_config(directory: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    path = directory / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


def edit_tensors(directory: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def write_raw(path: Path, header: Any, data: bytes = b"", *, length: int | None = None) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)


def nested(*keys: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(config: dict[str, Any]) -> None:
        for key in keys[:-1]:
            config = config[key]
        config[keys[-1]] = value

    return change


TEXT = ("backbone", "config", "text_config")
HUB = {"weights": "hub", "id": "a/b", "revision": "a" * 40, "config": {}}
BAD_CONFIGS = {
    "format": (nested("format", value="other"), "format"),
    "version 2": (nested("format_version", value=2), "update eliq"),
    "version true": (nested("format_version", value=True), "format_version"),
    "model_type": (nested("model_type", value="qwen3_vl"), "model_type"),
    "readout": (nested("readout", value="hidden_states"), "readout"),
    "unknown key": (nested("loader", value="x"), "loader"),
    "unknown backbone key": (nested("backbone", "code", value="x"), "code"),
    "missing key": (lambda c: c.pop("head"), "head"),
    "wrong type": (nested("head", value=[]), "head"),
    "auto_map": (nested("backbone", "config", "auto_map", value={"AutoModel": "m.M"}), "auto_map"),
    "nested auto_map": (nested(*TEXT, "auto_map", value={}), "auto_map"),
    "remote code": (nested("backbone", "config", "trust_remote_code", value=True), "remote_code"),
    "hub kernel": (nested(*TEXT, "_attn_implementation", value="evil"), "_implementation"),
    "path in config": (nested(*TEXT, "hidden_act", value="../../act"), "hidden_act"),
    "quantizer": (nested("backbone", "config", "quantization_config", value={}), "quantization"),
    "architecture": (nested("backbone", "config", "model_type", value="llama"), "model_type"),
    "nested architecture": (nested(*TEXT, "model_type", value="llama"), "model_type"),
    "endless layers": (nested(*TEXT, "num_hidden_layers", value=10**9), "num_hidden_layers"),
    "no layers": (nested(*TEXT, "num_hidden_layers", value="4"), "num_hidden_layers"),
    "huge width": (nested(*TEXT, "hidden_size", value=2**40), "hidden_size"),
    "zero heads": (nested(*TEXT, "num_attention_heads", value=0), ""),
    "text for a size": (nested(*TEXT, "hidden_size", value="wide"), ""),
    "other width": (nested(*TEXT, "hidden_size", value=64), ""),
    "unknown activation": (nested(*TEXT, "hidden_act", value="os.system"), "backbone.config"),
    "head width": (nested("head", "hidden_size", value=64), "hidden_size"),
    "head size": (nested("head", "ffn_dim", value=10**9), "head"),
    "head layers": (nested("head", "num_layers", value=10**6), "head"),
    "head key": (nested("head", "dropout", value=1), "head"),
    "patches": (nested("patches", "second_frame", value="depth"), "second_frame"),
    "patches type": (nested("patches", "mean", value=5), "config.json"),
    "patch size": (nested("patches", "patch_px", value=14), "patch"),
    "pixel budget": (nested("patches", "max_pixels", value=1 << 24 | 1), "max_pixels"),
    "least pixels": (
        lambda c: c["patches"].update(min_pixels=10**11, max_pixels=10**11),
        "max_pixels",
    ),
    "long question": (nested("instructions", "technical", value="x" * 4001), "4000"),
    "instructions": (nested("instructions", "alignment", value="no place"), "prompt"),
    "calibration slope": (nested("calibration", "alignment", "slope", value=-1), "slope"),
    "calibration names": (nested("calibration", "beauty", value={}), "beauty"),
    "prompt tokens": (nested("max_prompt_tokens", value=10**7), "max_prompt_tokens"),
    "no weight files": (nested("weight_files", value=[]), "weight_files"),
    "a file twice": (nested("weight_files", value=["model.safetensors"] * 2), "weight_files"),
    "pickled file": (nested("weight_files", value=["pytorch_model.bin"]), "weight_files"),
    "parent path": (nested("weight_files", value=["../model.safetensors"]), "weight_files"),
    "absolute path": (nested("weight_files", value=["/etc/model.safetensors"]), "weight_files"),
    "hub path": (
        nested("backbone", value=HUB | {"id": "../x"}),
        "backbone.id",
    ),
    "hub branch": (
        nested("backbone", value=HUB | {"revision": "main"}),
        "revision",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_configs(critic, no_allocation, name):
    change, word = BAD_CONFIGS[name]
    edit_config(critic, change)
    assert word in refusal(critic)


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"format": NaN}', b"[" * 100_000,
     b'{"format": "eliq-critic", "format": "eliq-critic"}', b" " * (2 << 20),
     b'{"format_version": ' + b"9" * 10_000 + b"}"],
    ids=["empty", "cut", "list", "null", "bytes", "nan", "deep", "twice", "large", "digits"],
)  # fmt: skip
@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_json_files(critic, no_allocation, monkeypatch, name, text):
    monkeypatch.setattr(load_module, "_MAX_TOKENIZER_BYTES", 1 << 20)
    (critic / name).write_bytes(text)
    assert name in refusal(critic) or "format" in refusal(critic)


def test_a_tokenizer_of_another_backbone(critic, no_allocation):
    path = critic / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    vocabulary = tokenizer["model"]["vocab"]
    del vocabulary["~"]
    vocabulary["zz"] = 100_000
    path.write_text(json.dumps(tokenizer))
    assert "100000" in refusal(critic)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_missing_files(critic, no_allocation, name):
    (critic / name).unlink()
    assert name in refusal(critic)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_links_out_of_the_directory(critic, tmp_path, no_allocation, name):
    shutil.move(critic / name, tmp_path / "outside")
    (critic / name).symlink_to(tmp_path / "outside")
    assert "link" in refusal(critic)


def test_links_that_loop_and_things_that_are_no_files(critic, no_allocation):
    path = critic / "model.safetensors"
    path.unlink()
    path.symlink_to(path)
    refusal(critic)
    path.unlink()
    os.mkfifo(path)  # opening it would wait for ever
    assert "regular file" in refusal(critic)
    path.unlink()
    path.mkdir()
    assert "regular file" in refusal(critic)


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/etc/passwd", "a/b", "a\\b", "a\0b"])
def test_names_that_reach_elsewhere(critic, name):
    with pytest.raises(CheckpointError, match="elsewhere"):
        contained_file(critic, name)


@pytest.mark.parametrize(
    "text", ["../x/y", "a/..", "/a/b", "a", "a/b/c", "a--b/c", "a/b ", "a/é", ""]
)
def test_what_is_no_hub_id(text):
    assert not is_hub_id(text)


class Payload:
    """Leaves a file behind if it is ever unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("suffix", [".bin", ".pt", ".pth", ".ckpt", ".pkl", ".PT"])
def test_pickled_files(critic, tmp_path, no_allocation, suffix):
    (critic / f"weights{suffix}").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    assert f"weights{suffix}" in refusal(critic)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_under_a_safe_name(critic, tmp_path, no_allocation, kind):
    path = critic / "model.safetensors"
    payload = Payload(tmp_path / "ran")
    if kind == "torch":
        torch.save({"weights": payload}, path)
    else:
        path.write_bytes(pickle.dumps(payload))
    assert "pickle" in refusal(critic)
    assert not (tmp_path / "ran").exists()


def test_oversized_headers(critic, no_allocation):
    path = critic / "model.safetensors"
    sound = path.read_bytes()
    header = b'{"__metadata__":{"x":"' + b"y" * (2 << 20) + b'"}}'  # legal to the library
    write_raw(path, header)
    assert "header of at most 1048576" in refusal(critic)
    for length in (0, 1, 2**63, 2**64 - 1, len(sound) - 7):
        path.write_bytes(struct.pack("<Q", length) + sound[8:])
        refusal(critic)
    assert header_cap_bytes(100) == 1 << 20 and header_cap_bytes(10**9) == 16 << 20


SOUND = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BAD_HEADERS = {
    "overlap": {"a": SOUND, "b": SOUND | {"data_offsets": [4, 12]}},
    "same bytes": {"a": SOUND, "b": SOUND},
    "hole": {"a": SOUND | {"data_offsets": [8, 16]}},
    "beyond the file": {"a": SOUND | {"shape": [3], "data_offsets": [0, 12]}},
    "too short for the file": {"a": SOUND | {"shape": [1], "data_offsets": [0, 4]}},
    "backwards": {"a": SOUND | {"data_offsets": [8, 0]}},
    "negative": {"a": SOUND | {"data_offsets": [-8, 0]}},
    "size": {"a": SOUND | {"shape": [3]}},
    "product overflows": {"a": SOUND | {"shape": [2**62, 2**62]}},
    "negative shape": {"a": SOUND | {"shape": [-2, -1]}},
    "bool shape": {"a": SOUND | {"shape": [True, 2]}},
    "float shape": {"a": SOUND | {"shape": [2.0]}},
    "many dimensions": {"a": SOUND | {"shape": [2] + [1] * 100}},
    "dtype": {"a": SOUND | {"dtype": "I64", "shape": [1]}},
    "dtype type": {"a": SOUND | {"dtype": ["F32"]}},
    "entry": {"a": [0, 8]},
    "entry key": {"a": SOUND | {"more": 1}},
    "metadata": {"__metadata__": [], "a": SOUND},
    "list": [SOUND],
    "not json": b"{'a': 1}",
    "twice": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},'
             b'"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}',
    "deep": b"[" * 50_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_headers(tmp_path, name):
    path = tmp_path / "model.safetensors"
    write_raw(path, BAD_HEADERS[name], bytes(16 if name in ("overlap", "hole") else 8))
    with pytest.raises(CheckpointError) as error:
        read_header(path, max_header_bytes=1 << 20)
    assert "\n" not in str(error.value)


def test_a_sound_header_passes(tmp_path):
    path = tmp_path / "model.safetensors"
    write_raw(path, {"a": SOUND, "empty": SOUND | {"shape": [0], "data_offsets": [8, 8]}}, bytes(8))
    assert read_header(path, max_header_bytes=1 << 20)["a"].shape == (2,)


MISSHAPEN = {
    "missing": lambda t: t.pop("head.qqt.position"),
    "unknown": lambda t: t.update({"head.extra": torch.zeros(1)}),
    "foreign": lambda t: t.update({"optimizer.state": torch.zeros(1)}),
    "tied head": lambda t: t.update({"backbone.lm_head.weight": torch.zeros(288, 32)}),
    "shape": lambda t: t.update({"head.qqt.position": torch.zeros(16, 3)}),
    "half head": lambda t: t.update({"head.qqt.position": t["head.qqt.position"].half()}),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_misshapen_weights(critic, no_allocation, name):
    edit_tensors(critic, MISSHAPEN[name])
    assert "head." in refusal(critic) or name in ("foreign", "tied head")


def test_a_tensor_in_two_shards(critic, no_allocation):
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    for name in files:
        shutil.copy(critic / "model.safetensors", critic / name)
    edit_config(critic, nested("weight_files", value=files))
    assert "two files" in refusal(critic)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_weights_that_are_not_finite(critic, value):
    edit_tensors(critic, lambda t: t["head.qqt.position"].view(-1)[3:4].fill_(value))
    assert "head.qqt.position" in refusal(critic)


def test_weights_too_large_for_half_precision(critic):
    name = "backbone.model.language_model.norm.weight"
    edit_tensors(critic, lambda t: t[name].fill_(1e6))
    load_checkpoint(critic)
    with pytest.raises(CheckpointError, match="bfloat16"):
        load_checkpoint(critic, dtype=torch.float16)


def test_damaged_files_never_raise_anything_else(critic, tmp_path):
    """Cut files and files with changed bytes load, or are refused by our own error."""
    rng = random.Random(0)
    for name in ("config.json", "model.safetensors"):
        sound = (critic / name).read_bytes()
        for _ in range(20):
            damaged = bytearray(sound)
            if rng.random() < 0.3:
                damaged = damaged[: rng.randrange(len(damaged))]
            else:
                for _ in range(rng.choice([1, 3, 20])):
                    damaged[rng.randrange(min(len(damaged), 6000))] = rng.randrange(256)
            (critic / name).write_bytes(damaged)
            try:
                load_checkpoint(critic)
            except EliqError as error:
                assert "\n" not in str(error)
        (critic / name).write_bytes(sound)


def test_reading_the_config_alone_is_as_strict(critic):
    assert read_config(critic).is_inside
    edit_config(critic, nested("backbone", "config", "auto_map", value={}))
    with pytest.raises(CheckpointError, match="auto_map"):
        read_config(critic)
