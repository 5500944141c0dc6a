"""What of a pipeline decides an image besides its arguments: model, types, scheduler, LoRAs."""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
from collections.abc import Mapping
from importlib import metadata
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from .. import __version__
from ..errors import DiffusionError
from .decoding import is_upcast
from .pipelines import execution_device

__all__ = [
    "describe_state",
    "describe_versions",
    "fingerprint_tensors",
    "from_plain",
    "plain_config",
    "state_differences",
]

logger = logging.getLogger("eliq")
_CACHED = re.compile(r"models--([^/\\]+?)--([^/\\]+)[/\\]snapshots[/\\]([0-9a-f]{7,64})")
_MUST_AGREE = ("pipeline", "model", "dtypes", "guider", "loras")
_FLOAT = "float"  # key of a dict that stands for a number which JSON has not
_PLAIN = (str, int, float, bool, type(None))


def describe_state(pipe: Any) -> dict[str, Any]:
    """Class, model id and revision, types, device, scheduler and LoRAs of a pipeline, plain JSON.

    A local directory is named by its last part only: records go into files that people share.
    """
    modules = {n: m for n, m in _components(pipe).items() if isinstance(m, nn.Module)}
    dtypes = {name: _dtype_name(module) for name, module in modules.items()}
    if "vae" in dtypes and is_upcast(pipe, modules["vae"]):
        # As it decodes: AuraFlow leaves it so, and is the same pipeline before and after a run.
        dtypes["vae"] = "float32"
    main = next((n for n in ("transformer", "unet", "prior") if n in dtypes), None)
    device = execution_device(pipe)
    return {
        "pipeline": type(pipe).__name__,
        "model": _model(pipe),
        "dtype": dtypes[main] if main else None,
        "dtypes": dtypes,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "scheduler": plain_config(getattr(pipe, "scheduler", None)),
        "guider": plain_config(getattr(pipe, "guider", None)),  # of modular pipelines and others
        "loras": _loras(modules) + _fused_loras(pipe),
    }


def describe_versions() -> dict[str, str | None]:
    """Versions of the libraries that an image depends on."""
    found: dict[str, str | None] = {"eliq": __version__}
    for name in ("diffusers", "torch", "transformers", "peft"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def plain_config(component: Any) -> dict[str, Any] | None:
    """Class and config of a scheduler or guider, from which it can be built again."""
    if component is None:
        return None
    config = dict(getattr(component, "config", None) or {})
    kept = {name: _plain(value) for name, value in config.items() if not name.startswith("_")}
    return {"class": type(component).__name__, "config": kept}


def state_differences(pipe: Any, record: Mapping[str, Any], *, strict: bool) -> list[str]:
    """In what the pipeline differs from the record, one line each.

    Args:
        strict: raise for what makes another image; False = a warning in the log. Other versions
            of libraries, and another device, are only ever a warning.

    Raises:
        DiffusionError: with ``strict``, the pipeline would make another image.
    """
    now = describe_state(pipe)
    found = [
        f"{name}: expected {record[name]}, found {now[name]}"
        for name in _MUST_AGREE
        if record.get(name) is not None and _differs(record[name], now[name])
    ]
    if found and strict:
        raise DiffusionError(
            f"regenerate: the pipeline is not that of the record ({'; '.join(found)}): load that "
            "one, or pass strict=False"
        )
    soft = {"device": now["device"], "versions": describe_versions()}
    also = [
        f"{name}: {record[name]} then, {value} now"
        for name, value in soft.items()
        if record.get(name) is not None and record[name] != value
    ]
    for line in found + also:
        logger.warning("regenerate: %s; the image may differ", line)
    return found + also


def fingerprint_tensors(
    arguments: Mapping[str, Any],
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Arguments in three parts: plain JSON, fingerprints of tensors and images, other names."""
    plain: dict[str, Any] = {}
    prints: dict[str, Any] = {}
    others: list[str] = []
    for name, value in arguments.items():
        if _is_plain(value):
            plain[name] = _plain(value)
        elif (found := _fingerprint(value)) is not None:
            prints[name] = found
        else:
            others.append(name)
    return plain, prints, sorted(others)


def from_plain(value: Any) -> Any:
    """What `plain_config` and `fingerprint_tensors` made plain, with its infinities again."""
    if isinstance(value, dict):
        if set(value) == {_FLOAT} and value[_FLOAT] in ("inf", "-inf", "nan"):
            return float(value[_FLOAT])
        return {key: from_plain(item) for key, item in value.items()}
    return [from_plain(item) for item in value] if isinstance(value, list) else value


def _components(pipe: Any) -> dict[str, Any]:
    found = getattr(pipe, "components", None)
    return dict(found) if isinstance(found, Mapping) else {}


def _model(pipe: Any) -> dict[str, str | None]:
    """Hub id and revision; the revision from where a part of it lies in the hub's cache."""
    source = getattr(pipe, "name_or_path", None)
    places = [source]
    for part in _components(pipe).values():
        config = getattr(part, "config", None)
        places.append(getattr(config, "_name_or_path", None) or getattr(part, "name_or_path", None))
    cached = [m for place in places if isinstance(place, str) for m in [_CACHED.search(place)] if m]
    if not isinstance(source, str) or not source:
        return {"id": None, "revision": None}
    if match := _CACHED.search(source):
        return {"id": f"{match[1]}/{match[2]}", "revision": match[3]}
    if os.path.isabs(source) or os.path.exists(source):
        return {"id": PurePath(source).name, "revision": None}
    same = [match for match in cached if f"{match[1]}/{match[2]}" == source]
    return {"id": source, "revision": same[0][3] if same else None}


def _loras(modules: Mapping[str, nn.Module]) -> list[dict[str, Any]]:
    """Active adapters of every part, and by which factors they are applied."""
    found = []
    for part, module in modules.items():
        factors: dict[str, set[float]] = {}
        for layer in module.modules():
            scaling = getattr(layer, "scaling", None)
            active = getattr(layer, "active_adapters", None)
            # PEFT's layers; asked for by what they have, so that peft need not be here.
            if isinstance(scaling, dict) and isinstance(active, (list, tuple)):
                for name in active:
                    if name in scaling:
                        factors.setdefault(name, set()).add(round(float(scaling[name]), 6))
        found += [
            {"part": part, "name": name, "factors": sorted(values)}
            for name, values in sorted(factors.items())
        ]
    return found


def _fused_loras(pipe: Any) -> list[dict[str, Any]]:
    """LoRAs that were added to the weights for good; by which factors is not known any more."""
    names = sorted(getattr(pipe, "fused_loras", None) or ())
    return [{"part": "fused", "name": name, "factors": None} for name in names]


def _dtype_name(module: nn.Module) -> str | None:
    parameter = next((p for p in module.parameters() if p.is_floating_point()), None)
    return None if parameter is None else str(parameter.dtype).removeprefix("torch.")


def _differs(then: Any, now: Any) -> bool:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        # What one of the two does not know (a revision, a part) is no difference.
        return any(
            now.get(key) is not None and value is not None and now[key] != value
            for key, value in then.items()
        )
    return then != now


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(item) for item in value)
    if isinstance(value, (np.generic, np.ndarray)):
        return value.ndim <= 1 and value.dtype.kind in "biufU"  # sigmas, not images
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(item) for k, item in value.items())
    return isinstance(value, _PLAIN)


def _plain(value: Any) -> Any:
    """``value`` as JSON has it; an enum or an array of a config as text or list."""
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}  # -inf stands in the config of some schedulers
    if isinstance(value, bool) or value is None or type(value) in (str, int, float):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return str(value)


def _fingerprint(value: Any) -> Any:
    """sha256 of what a tensor, an image, or a list of these holds; None for anything else."""
    if isinstance(value, Tensor):
        data = value.detach().cpu().contiguous()
        raw = data.view(torch.uint8) if data.ndim else data.reshape(1).view(torch.uint8)
        kind = str(data.dtype).removeprefix("torch.")
        digest = hashlib.sha256(raw.numpy().tobytes()).hexdigest()
        return {"sha256": digest, "shape": list(data.shape), "dtype": kind}
    if isinstance(value, Image.Image):
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        return {"sha256": digest, "shape": [value.height, value.width], "dtype": value.mode}
    if isinstance(value, (list, tuple)) and value:
        parts = [_fingerprint(item) for item in value]
        return None if any(part is None for part in parts) else parts
    return None
