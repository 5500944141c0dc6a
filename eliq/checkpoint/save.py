"""Save a critic: written and synced beside its place, then renamed into it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..errors import CheckpointError
from .config import CARD_NAME, CONFIG_NAME, FORMAT, TOKENIZER_NAME, CheckpointConfig
from .critic import Checkpoint
from .safetensors_checks import read_json
from .tensors import collect, write_shards

__all__ = ["save_checkpoint"]

_MAX_SHARD_BYTES = 4 << 30
_DROPPED_KEYS = ("auto_map", "_name_or_path", "num_labels", "id2label", "label2id",
                 "quantization_config")  # fmt: skip


def save_checkpoint(
    directory: str | os.PathLike[str],
    checkpoint: Checkpoint,
    *,
    storage_dtype: torch.dtype | None = None,
    card: str | None = None,
    max_shard_bytes: int = _MAX_SHARD_BYTES,
) -> Path:
    """Write a critic; `load_checkpoint` gives it back bit for bit.

    Everything is written and synced beside ``directory`` first, then renamed into place: there is
    never a mixture of two checkpoints. A kill between the two renames of a replacement leaves the
    old one whole, as ``.<name>.<random>.old`` beside. Files of an old checkpoint that are not ours
    (a licence, a figure) are kept.

    Args:
        storage_dtype: the backbone's type on disk; None = as in memory (bit-exact).
        card: text of README.md; None = a short one from ``checkpoint.training``.

    Raises:
        CheckpointError: ``directory`` exists and is no checkpoint, or the weights are not finite.
    """
    target = Path(directory).expanduser().absolute()
    is_replacing = _is_replaceable(target)
    hub = checkpoint.hub
    tensors = collect(
        None if hub else checkpoint.backbone,
        checkpoint.head,
        hub.adapter if hub else None,
        storage_dtype=storage_dtype,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.parent / f".{target.name}.{secrets.token_hex(4)}.partial"
    partial.mkdir()
    try:
        names = write_shards(partial, tensors, max_bytes=max_shard_bytes)
        config = _config_of(checkpoint, names)
        text = json.dumps(config.to_json(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        (partial / CONFIG_NAME).write_text(text, encoding="utf-8")
        for name in names:  # safetensors writes for the owner alone; a shared model is for all
            (partial / name).chmod((partial / CONFIG_NAME).stat().st_mode)
        checkpoint.backbone.tokenizer.save(str(partial / TOKENIZER_NAME))
        (partial / CARD_NAME).write_text(card or _short_card(config), encoding="utf-8")
        if is_replacing:
            _keep_others(target, partial)
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        if is_replacing:
            old = partial.with_suffix(".old")
            target.rename(old)
            try:
                partial.rename(target)
            except OSError:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            partial.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise CheckpointError(
            f"expected to write a checkpoint to {target}, found {error.strerror or 'a failure'}: "
            "free space or choose another directory"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _is_replaceable(target: Path) -> bool:
    """Whether ``target`` is a checkpoint to replace; False when it does not exist or is empty."""
    if not target.exists() and not target.is_symlink():
        return False
    if target.is_dir() and not target.is_symlink():
        if not any(target.iterdir()):
            target.rmdir()
            return False
        try:
            if read_json(target / CONFIG_NAME).get("format") == FORMAT:
                return True
        except CheckpointError:
            pass  # said below, for the directory as a whole
    raise CheckpointError(
        f"expected {target} to be new, empty or a checkpoint of eliq, found something else: "
        "choose another directory"
    )


def _keep_others(old: Path, new: Path) -> None:
    for path in old.iterdir():
        ours = path.name in (CONFIG_NAME, TOKENIZER_NAME, CARD_NAME)
        if ours or (path.name.startswith("model") and path.suffix == ".safetensors"):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.copytree(path, new / path.name, symlinks=True)
        else:
            shutil.copy2(path, new / path.name, follow_symlinks=False)


def _sync(path: Path) -> None:
    """fsync a file or directory (on Windows a directory cannot be opened, nor needs to be)."""
    if path.is_symlink() or (path.is_dir() and os.name == "nt"):
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _config_of(checkpoint: Checkpoint, weight_files: tuple[str, ...]) -> CheckpointConfig:
    backbone, hub = checkpoint.backbone, checkpoint.hub
    entry: dict[str, Any] = {
        "weights": "hub" if hub else "inside",
        "config": _plain_config(backbone.model.config.to_dict()),
    }
    if hub:
        entry |= {"id": hub.id, "revision": hub.revision}
        if hub.adapter:
            entry["adapter"] = {
                "rank": hub.adapter.rank,
                "scaling": hub.adapter.scaling,
                "targets": list(hub.adapter.tensors),
            }
    return CheckpointConfig(
        library_version=__version__,
        backbone=entry,
        head=checkpoint.head.config.to_json(),
        instructions=backbone.instructions.to_json(),
        patches=backbone.patches.to_json(),
        max_prompt_tokens=backbone.max_prompt_tokens,
        calibration={name: c.to_json() for name, c in checkpoint.calibration.items()},
        mos_calibration={name: c.to_json() for name, c in checkpoint.mos_calibration.items()},
        weight_files=weight_files,
        training=checkpoint.training,
    )


def _plain_config(config: dict[str, Any]) -> dict[str, Any]:
    """A transformers config without what is refused on loading, readable by 4.57 and by 5.x."""
    plain: dict[str, Any] = {}
    for key, value in config.items():
        if key in _DROPPED_KEYS or key.endswith(("_implementation", "_implementation_internal")):
            continue
        plain[key] = _plain_config(value) if isinstance(value, dict) else value
    text = plain.get("text_config", {})
    if "rope_parameters" in text:  # the name from 5.0; 4.57 reads the two older ones
        scaling = {k: v for k, v in text["rope_parameters"].items() if k != "rope_theta"}
        text["rope_scaling"] = scaling
        text["rope_theta"] = text["rope_parameters"].get("rope_theta")
    plain.get("vision_config", {}).pop("rope_parameters", None)  # fixed, and no key before 5.2x
    return plain


def _short_card(config: CheckpointConfig) -> str:
    facts = json.dumps(config.training, indent=2, ensure_ascii=False)
    return (
        "# A critic for eliq\n\nScores images for visual quality and for alignment with a prompt. "
        "Load it with `eliq.Scorer.from_pretrained`.\n\n"
        f"Written by eliq {config.library_version}. What is known of its training:\n\n"
        f"```json\n{facts}\n```\n"
    )
