"""Backbones by name: the Hugging Face hub, its cache, or a directory in its layout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from .errors import BackboneError

__all__ = ["check_is_qwen_vl", "load_hub_model"]

Triple = tuple[float, float, float]


def load_hub_model(
    model_id: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype = torch.bfloat16,
    local_files_only: bool = False,
) -> tuple[nn.Module, Tokenizer, Triple, Triple]:
    """A Qwen-VL model on the CPU, its tokenizer, and the mean and std of its preprocessing.

    Safetensors weights only; code that lies in a repository is never run.

    Raises:
        BackboneError: nothing under that name, no network, or not a Qwen-VL with an image tower.
    """
    from transformers import AutoConfig, AutoModelForImageTextToText

    common: dict[str, Any] = {
        "revision": revision,
        "local_files_only": local_files_only,
        "trust_remote_code": False,
    }
    try:
        config = AutoConfig.from_pretrained(model_id, **common)
    except (OSError, ValueError) as error:
        raise BackboneError(_missing(model_id, "config.json", local_files_only)) from error
    if "qwen" not in config.model_type or getattr(config, "vision_config", None) is None:
        raise BackboneError(_not_qwen_vl(model_id, config.model_type))
    try:
        model = AutoModelForImageTextToText.from_pretrained(
            model_id, dtype=dtype, attn_implementation="sdpa", use_safetensors=True, **common
        )
    except (OSError, ValueError) as error:
        raise BackboneError(_missing(model_id, "weights", local_files_only)) from error
    tokenizer = Tokenizer.from_file(str(_file(model_id, "tokenizer.json", common)))
    mean, std = _mean_and_std(model_id, common)
    return model, tokenizer, mean, std


def check_is_qwen_vl(directory: Path) -> None:
    """Refuse a directory whose config.json is of another model; one without it passes here.

    Raises:
        BackboneError: not a Qwen-VL with an image tower.
    """
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # loading says what is wrong with it
    kind = str(config.get("model_type")) if isinstance(config, dict) else "no table"
    if "qwen" not in kind or not config.get("vision_config"):
        raise BackboneError(_not_qwen_vl(str(directory), kind))


def _not_qwen_vl(name: str, kind: str) -> str:
    return (
        f"the backbone must be a Qwen-VL model, but {name} is {kind!r}: "
        "try Qwen/Qwen3-VL-4B-Instruct"
    )


def _missing(model_id: str, what: str, local_files_only: bool) -> str:
    if Path(model_id).exists():
        return f"no {what} of a Qwen-VL model could be read in {model_id}: check the directory"
    if local_files_only or _is_offline():
        return (
            f"the {what} of {model_id} must be in the local Hugging Face cache because this run is "
            f"offline, but is not: run `hf download {model_id}` where there is a network"
        )
    return (
        f"the {what} of {model_id} could not be read from the Hugging Face hub: check the name, "
        "the network, and `hf auth login` if the model is gated"
    )


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def _file(model_id: str, name: str, common: dict[str, Any]) -> Path:
    if Path(model_id).is_dir():
        path = Path(model_id) / name
        if path.is_file():
            return path
        raise BackboneError(f"{model_id} must hold {name}, but does not: complete the directory")
    from huggingface_hub import hf_hub_download

    try:
        return Path(
            hf_hub_download(
                model_id,
                name,
                revision=common["revision"],
                local_files_only=common["local_files_only"],
            )
        )
    except (OSError, ValueError) as error:
        raise BackboneError(_missing(model_id, name, common["local_files_only"])) from error


def _mean_and_std(model_id: str, common: dict[str, Any]) -> tuple[Triple, Triple]:
    try:
        path = _file(model_id, "preprocessor_config.json", common)
    except BackboneError as error:
        # A processor that transformers 5 has saved keeps that of its images in a file with others.
        try:
            path = _file(model_id, "processor_config.json", common)
        except BackboneError:
            raise error from None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        data = data.get("image_processor", data)
        mean, std = (
            tuple(float(value) for value in data.get(name, (0.5, 0.5, 0.5)))
            for name in ("image_mean", "image_std")
        )
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BackboneError(
            f"{path} must be a JSON table with image_mean and image_std, but is not: get it again"
        ) from error
    return mean, std
