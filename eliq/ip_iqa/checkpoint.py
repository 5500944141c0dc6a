"""An IP-IQA model in a directory: everything that makes a score, strictly loaded.

    config.json  model.safetensors (or shards)  tokenizer.json  README.md (the card)

The files are checked and written as those of an ELIQ critic (`eliq.checkpoint`): no pickle, no
code, no path out of the directory, and names, shapes and dtypes equal to a closed table before a
tensor is allocated. Weights are float32, all of them inside.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .. import __version__
from ..checkpoint.config import (
    CARD_NAME,
    CONFIG_NAME,
    IP_IQA_FORMAT,
    TOKENIZER_NAME,
    bad_value,
    check_keys,
    check_weight_files,
)
from ..checkpoint.load import digest_files, read_tokenizer
from ..checkpoint.location import allowed_root, resolve_directory
from ..checkpoint.place import CheckpointPlace, write_config
from ..checkpoint.safetensors_checks import (
    TensorEntry,
    contained_file,
    read_json,
    refuse_pickles,
)
from ..checkpoint.tensors import check_files, finite_on_cpu, read_tensors, write_shards
from ..errors import CheckpointError, ConfigError, EliqError
from .config import IPIQAConfig
from .model import IPIQAModel
from .scale import RatingScale

__all__ = [
    "FORMAT_VERSION",
    "StoredIPIQA",
    "StoredConfig",
    "fingerprint",
    "load_stored",
    "locate_stored",
    "read_stored_config",
    "save_stored",
]

FORMAT_VERSION = 2
_READ = (1, 2)
_MODEL_TYPE = "ip-iqa"
_MAX_SHARD_BYTES = 4 << 30
_COUNTER = ".num_batches_tracked"
_REQUIRED = {
    "format": str,
    "format_version": int,
    "model_type": str,
    "library_version": str,
    "model": dict,
    "scale": dict,
    "weight_files": list,
    "training": dict,
}


@dataclass(frozen=True)
class StoredConfig:
    """What config.json holds.

    Attributes:
        library_version: the eliq that wrote it.
        model: sizes, streams and outputs.
        scale: one for each output of the model.
        weight_files: plain names of the safetensors files, in order.
        training: free-form facts for the card; nothing depends on them.

    Raises:
        CheckpointError: scales that are not those of the outputs, or unsafe names.
    """

    library_version: str
    model: IPIQAConfig
    scale: dict[str, RatingScale]
    weight_files: tuple[str, ...] = ("model.safetensors",)
    training: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.scale) != set(self.model.outputs):
            raise bad_value("scale", f"one for each of {self.model.outputs}", sorted(self.scale))
        check_weight_files(self.weight_files)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; `from_json` is its inverse."""
        return {
            "format": IP_IQA_FORMAT,
            "format_version": FORMAT_VERSION,
            "model_type": _MODEL_TYPE,
            "library_version": self.library_version,
            "model": self.model.to_json(),
            "scale": {name: scale.to_json() for name, scale in self.scale.items()},
            "weight_files": list(self.weight_files),
            "training": self.training,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StoredConfig:
        """The config of parsed JSON.

        Raises:
            CheckpointError: anything that is not exactly such a config.
        """
        if data.get("format") != IP_IQA_FORMAT:
            raise bad_value("format", repr(IP_IQA_FORMAT), data.get("format"), _advice(data))
        version = data.get("format_version")
        if version not in _READ or not isinstance(version, int) or isinstance(version, bool):
            raise bad_value("format_version", f"1 to {FORMAT_VERSION}", version, "update eliq")
        check_keys("config.json", data, _REQUIRED)
        if data["model_type"] != _MODEL_TYPE:
            raise bad_value("model_type", repr(_MODEL_TYPE), data["model_type"])
        try:
            written = data["model"]
            model = IPIQAConfig.from_json(_of_version_1(written) if version == 1 else written)
            scale = {name: RatingScale.from_json(one) for name, one in data["scale"].items()}
        except ConfigError as error:
            raise CheckpointError(str(error)) from None
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise bad_value("model", "values of the right type", type(error).__name__) from None
        return cls(
            data["library_version"], model, scale, tuple(data["weight_files"]), data["training"]
        )


@dataclass(frozen=True)
class StoredIPIQA:
    """A model in memory, with what a checkpoint holds beside its weights."""

    model: IPIQAModel
    tokenizer: Tokenizer
    scale: dict[str, RatingScale]
    training: dict[str, Any] = field(default_factory=dict)


def read_stored_config(directory: Path) -> StoredConfig:
    """The checked config.json of a checkpoint directory.

    Raises:
        CheckpointError: missing, unreadable or refused; the message names the file.
    """
    data = read_json(contained_file(directory, CONFIG_NAME, root=allowed_root(directory)))
    try:
        return StoredConfig.from_json(data)
    except CheckpointError as error:
        raise CheckpointError(f"{directory / CONFIG_NAME}: {error}") from None


def locate_stored(source: str | os.PathLike[str], *, revision: str | None = None) -> Path:
    """Directory of a checkpoint: a directory, or a hub id (downloaded, the config first).

    Raises:
        CheckpointError: there is none, or its configuration is refused.
    """
    what = "an IP-IQA model"
    first = resolve_directory(source, what=what, files=(CONFIG_NAME,), revision=revision)
    if Path(source).expanduser().is_dir():
        return first
    files = (CONFIG_NAME, TOKENIZER_NAME, CARD_NAME, *read_stored_config(first).weight_files)
    # By the commit that was found, whatever the branch says by now.
    return resolve_directory(source, what=what, files=files, revision=first.name, hub_only=True)


def load_stored(directory: Path, *, device: torch.device | str = "cpu") -> StoredIPIQA:
    """Load a model, strictly, in float32 and in eval mode.

    Raises:
        CheckpointError: missing, damaged, unsafe or of another version; nothing was allocated,
            except where weights turn out not to be finite.
    """
    root = allowed_root(directory)
    refuse_pickles(directory)
    config = read_stored_config(directory)
    tokenizer = read_tokenizer(contained_file(directory, TOKENIZER_NAME, root=root))
    _check_tokenizer(directory, tokenizer, config.model)
    paths = [contained_file(directory, name, root=root) for name in config.weight_files]
    model = _shell(directory, config.model)
    check_files(paths, _table(model), where=str(directory))
    tensors = read_tensors(paths, device=torch.device(device), backbone_dtype=torch.float32)
    model.load_state_dict(tensors, strict=False, assign=True)  # names were compared above
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.num_batches_tracked = torch.zeros((), dtype=torch.int64)
    model = model.to(device).eval().requires_grad_(False)
    return StoredIPIQA(model, tokenizer, config.scale, config.training)


def save_stored(
    directory: str | os.PathLike[str], stored: StoredIPIQA, *, card: str | None = None
) -> Path:
    """Write a model; `load_stored` gives it back bit for bit. Atomic, as `save_checkpoint` is.

    Raises:
        CheckpointError: ``directory`` exists and is no such checkpoint, or weights that are not
            finite or not float32.
    """
    place = CheckpointPlace.at(directory, format=IP_IQA_FORMAT)
    state = _kept(stored.model)
    for name, tensor in state.items():
        if tensor.dtype != torch.float32:
            raise CheckpointError(
                f"expected float32 weights to save, found {tensor.dtype} in {name}: "
                "IP-IQA is trained and kept in float32"
            )
    tensors = finite_on_cpu(state)

    def write(partial: Path) -> None:
        names = write_shards(partial, tensors, max_bytes=_MAX_SHARD_BYTES)
        config = StoredConfig(
            __version__, stored.model.config, stored.scale, names, stored.training
        )
        write_config(partial, config.to_json(), weight_files=names)
        stored.tokenizer.save(str(partial / TOKENIZER_NAME))
        (partial / CARD_NAME).write_text(card or _short_card(config), encoding="utf-8")

    place.fill(write)
    return place.target


def fingerprint(directory: Path) -> str:
    """sha256 (64 hex digits) of all that makes a score: config, tokenizer, weights.

    Raises:
        CheckpointError: a file is missing or refused.
    """
    config = read_stored_config(directory)
    facts = config.to_json()
    del facts["training"], facts["library_version"]
    return digest_files(directory, facts, (TOKENIZER_NAME, *config.weight_files))


def _of_version_1(model: Mapping[str, Any]) -> dict[str, Any]:
    """Today's settings of a model of format 1: its pooling started at random, and the map of a
    ViT went through the last norm or none."""
    if "pooling_start" in model:
        raise ConfigError("config: no setting of format 1 is called 'pooling_start'")
    visual = model["visual"]
    if visual.get("kind") == "vit":
        if not isinstance(visual["map_norm"], bool):
            raise ConfigError(
                f"visual.map_norm: expected true or false in format 1, found {visual['map_norm']!r}"
            )
        norm = "last" if visual["map_norm"] else "none"
        visual = {**visual, "map_norm": norm, "pooling": "class"}
    return {**model, "visual": visual, "pooling_start": "random"}


def _advice(data: Mapping[str, Any]) -> str:
    if data.get("format") == "eliq-critic":
        return "it is an ELIQ critic: load it with eliq.Scorer, or leave --system out"
    return "name a checkpoint of IP-IQA"


def _shell(directory: Path, config: IPIQAConfig) -> IPIQAModel:
    try:
        return IPIQAModel.shell(config)
    except EliqError as error:
        raise CheckpointError(f"{directory / CONFIG_NAME}: {error}") from None
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise CheckpointError(
            f"{directory / CONFIG_NAME}: expected sizes that go together, found some that no model "
            f"can be built from ({type(error).__name__}): get the checkpoint again"
        ) from None


def _table(model: IPIQAModel) -> dict[str, TensorEntry]:
    """The tensors that a checkpoint must hold, no more and no fewer."""
    return {
        name: TensorEntry(tuple(tensor.shape), ("F32",)) for name, tensor in _kept(model).items()
    }


def _kept(model: IPIQAModel) -> dict[str, Tensor]:
    """The state that makes a score: all but the counters of batches, which no answer depends on."""
    state = model.state_dict()
    return {name: t for name, t in state.items() if not name.endswith(_COUNTER)}


def _check_tokenizer(directory: Path, tokenizer: Tokenizer, config: IPIQAConfig) -> None:
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= config.text.vocab_size:
        raise CheckpointError(
            f"expected token ids below {config.text.vocab_size} in {directory / TOKENIZER_NAME}, "
            f"found {largest}: use the tokenizer that belongs to the model"
        )


def _short_card(config: StoredConfig) -> str:
    facts = json.dumps(config.training, indent=2, ensure_ascii=False)
    scales = ", ".join(f"{n} on {s.low:g} to {s.high:g}" for n, s in config.scale.items())
    return (
        "# An IP-IQA model for eliq\n\nPredicts the opinion of raters on an image and its prompt: "
        f"{scales}. Load it with `eliq.ip_iqa.IPIQA.from_pretrained`.\n\n"
        f"Written by eliq {config.library_version}. What is known of its training:\n\n"
        f"```json\n{facts}\n```\n"
    )
