"""Load a critic from a directory or the hub, strictly: refuse first, allocate after."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import torch
from tokenizers import Tokenizer

from ..backbone import Backbone
from ..calibration import Calibration
from ..errors import CheckpointError, ConfigError
from ..head import HeadConfig, ScoringHead
from ..instructions import Instructions
from ..patches import PatchConfig
from .config import CARD_NAME, CONFIG_NAME, TOKENIZER_NAME, read_config
from .critic import Checkpoint, HubWeights
from .location import BACKBONE_FILES, CRITIC_CONFIG, allowed_root, resolve_directory
from .safetensors_checks import contained_file, read_json, refuse_pickles
from .tensors import (
    Adapter,
    assign_backbone,
    check_files,
    expected_table,
    read_tensors,
    shell_of_backbone,
    shell_of_head,
)

__all__ = [
    "digest_files",
    "embedded_checkpoint_dir",
    "fingerprint",
    "load_checkpoint",
    "locate_checkpoint",
    "read_tokenizer",
]

_MAX_TOKENIZER_BYTES = 64 << 20
_Part = TypeVar("_Part")


def embedded_checkpoint_dir() -> Path:
    """Directory of the critic that comes with the package.

    Raises:
        CheckpointError: this installation has none.
    """
    directory = Path(__file__).resolve().parents[1] / "embedded"
    if not (directory / CONFIG_NAME).is_file():
        raise CheckpointError(
            f"expected the embedded critic in {directory}, found none: install eliq again, or "
            "name a checkpoint"
        )
    return directory


def locate_checkpoint(
    source: str | os.PathLike[str] | None, *, revision: str | None = None
) -> Path:
    """Directory of a critic: the embedded one (None), a directory, or a hub id (downloaded).

    Of a hub id the configuration comes first; only when it is sound, the files that it names.

    Raises:
        CheckpointError: there is none, in one line that says what was looked for and where; or
            the configuration on the hub is refused.
    """
    if source is None:
        return embedded_checkpoint_dir()
    first = resolve_directory(source, what="a critic", files=CRITIC_CONFIG, revision=revision)
    if Path(source).expanduser().is_dir():
        return first
    files = (CONFIG_NAME, TOKENIZER_NAME, CARD_NAME, *read_config(first).weight_files)
    # By the commit that was found, whatever the branch says by now.
    return resolve_directory(
        source, what="a critic", files=files, revision=first.name, hub_only=True
    )


def load_checkpoint(
    source: str | os.PathLike[str] | None = None,
    *,
    revision: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    backbone_dir: Path | None = None,
) -> Checkpoint:
    """Load a critic, strictly; ``dtype`` is that of the backbone in memory.

    Args:
        backbone_dir: where the backbone lies when its weights are not in the checkpoint; None =
            it is had from the hub. The caller vouches for its revision, shapes are checked.

    Raises:
        CheckpointError: missing, damaged, unsafe or of another version; nothing was allocated,
            except where weights turn out not to be finite.
        BackboneError: a tokenizer or questions that do not belong to the backbone.
    """
    directory = locate_checkpoint(source, revision=revision)
    root = allowed_root(directory)
    refuse_pickles(directory)
    config = read_config(directory)
    tokenizer = read_tokenizer(contained_file(directory, TOKENIZER_NAME, root=root))
    paths = [contained_file(directory, name, root=root) for name in config.weight_files]
    options = {
        "instructions": _part(directory, Instructions.from_json, config.instructions),
        "patches": _part(directory, PatchConfig.from_json, config.patches),
        "max_prompt_tokens": config.max_prompt_tokens,
    }
    calibration, mos_calibration = (
        {name: _part(directory, Calibration.from_json, data) for name, data in table.items()}
        for table in (config.calibration, config.mos_calibration)
    )
    head = shell_of_head(_part(directory, HeadConfig.from_json, config.head))
    shell = shell_of_backbone(config.backbone["config"], tokenizer, **options)
    _check_together(directory, shell, head, tokenizer)
    adapter = config.backbone.get("adapter")
    table = expected_table(shell, head, is_inside=config.is_inside, adapter=adapter)
    check_files(paths, table, where=str(directory))

    tensors = read_tensors(paths, device=torch.device(device), backbone_dtype=dtype)
    head.load_state_dict(_under("head.", tensors), assign=True)
    hub = None
    if config.is_inside:
        assign_backbone(shell, _under("backbone.", tensors))
        backbone = shell
    else:
        hub = HubWeights(
            config.backbone["id"], config.backbone["revision"], _adapter(adapter, tensors)
        )
        placing = {"dtype": dtype, "device": device, "directory": backbone_dir}
        backbone = _from_hub(hub, shell, tokenizer, **placing, options=options)
    return Checkpoint(
        backbone.to(device).eval().requires_grad_(False),
        head.eval().requires_grad_(False),
        calibration,
        mos_calibration,
        config.training,
        hub,
        directory,
    )


def _under(prefix: str, tensors: dict[str, Any]) -> dict[str, Any]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def _part(directory: Path, make: Callable[[dict[str, Any]], _Part], data: dict[str, Any]) -> _Part:
    """A part of the configuration, its errors with the name of the file."""
    try:
        return make(data)
    except ConfigError as error:
        raise CheckpointError(f"{directory / CONFIG_NAME}: {error}") from None
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{directory / CONFIG_NAME}: expected values of the right type, found one that is not "
            f"({type(error).__name__}): get the checkpoint again"
        ) from None


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer in a file that anybody may have written.

    Raises:
        CheckpointError: too large, not JSON, or no tokenizer.
    """
    # Size, depth and form are checked before the parser in Rust sees the file.
    read_json(path, max_bytes=_MAX_TOKENIZER_BYTES)
    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # the library raises bare Exceptions
        raise CheckpointError(
            f"expected a tokenizer in {path}, found none that can be read: get it again"
        ) from None


def _check_together(
    directory: Path, shell: Backbone, head: ScoringHead, tokenizer: Tokenizer
) -> None:
    rows = shell.model.get_input_embeddings().weight.shape[0]
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= rows:
        raise CheckpointError(
            f"expected token ids below {rows} in {directory / TOKENIZER_NAME}, found {largest}: "
            "use the tokenizer that belongs to the backbone"
        )
    if head.config.hidden_size != shell.hidden_size:
        raise CheckpointError(
            f"{directory / CONFIG_NAME}: expected head.hidden_size {shell.hidden_size}, that of "
            f"the backbone, found {head.config.hidden_size}: get the checkpoint again"
        )


def _adapter(config: dict[str, Any] | None, tensors: dict[str, Any]) -> Adapter | None:
    if config is None:
        return None
    own = _under("adapter.", tensors)
    return Adapter(
        float(config["scaling"]),
        {t: (own[f"{t}.lora_A"], own[f"{t}.lora_B"]) for t in config["targets"]},
    )


def _from_hub(
    hub: HubWeights,
    shell: Backbone,
    tokenizer: Tokenizer,
    *,
    dtype: torch.dtype,
    device: torch.device | str,
    directory: Path | None,
    options: dict[str, Any],
) -> Backbone:
    """The backbone of the hub form: named by id and commit, never by a path in a file."""
    directory = directory or resolve_directory(
        hub.id,
        what="the backbone of this critic",
        files=BACKBONE_FILES,
        revision=hub.revision,
        hub_only=True,
    )
    loaded = Backbone.from_pretrained(
        str(directory), dtype=dtype, device=device, local_files_only=True, **options
    )
    shapes = {name: tuple(t.shape) for name, t in loaded.model.state_dict().items()}
    if shapes != {name: tuple(t.shape) for name, t in shell.model.state_dict().items()}:
        raise CheckpointError(
            f"expected {hub.id} at {hub.revision} to be the backbone that config.json describes, "
            "found another: get the checkpoint again"
        )
    if hub.adapter is not None:
        hub.adapter.merge_into(loaded.model)
    return Backbone(loaded.model, tokenizer, **options)


def fingerprint(directory: Path) -> str:
    """sha256 (64 hex digits) of all that makes a score: config, tokenizer, weights.

    Facts that change no score (``training``, ``library_version``, the card) are left out.

    Raises:
        CheckpointError: a file is missing or refused.
    """
    config = read_config(directory)
    facts = config.to_json()
    del facts["training"], facts["library_version"]
    return digest_files(directory, facts, (TOKENIZER_NAME, *config.weight_files))


def digest_files(directory: Path, facts: dict[str, Any], names: Iterable[str]) -> str:
    """sha256 (64 hex digits) of plain JSON and of files of a checkpoint, in order.

    Raises:
        CheckpointError: a file is missing or refused.
    """
    root = allowed_root(directory)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in names:
        part = hashlib.sha256()
        with contained_file(directory, name, root=root).open("rb") as file:
            while block := file.read(1 << 20):
                part.update(block)
        digest.update(part.digest())
    return digest.hexdigest()
