"""Settings of both stages by the size of a backbone, and how a user overrides them.

Used by every script that trains: defaults for a small or a large backbone or a smoke run, then a
settings file (JSON, or TOML from Python 3.11), then KEY=VALUE on the command line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from eliq.errors import ConfigError

from .stage1_config import Stage1Config
from .stage2_config import Stage2Config

__all__ = ["key_values", "read_settings", "stage_configs"]

#: A backbone of fewer parameters is tuned in full by default, a larger one by LoRA.
SMALL_PARAMETERS = 100_000_000
SMALL_STAGE1 = {
    "tuning": "full",
    "optimizer": "muon",
    "learning_rate": 2e-4,  # as the embedded critic's own stage 1, from which such a run starts
    "tuples_per_forward": 4,  # 24 images a forward: some GB at 512 px, where 16 took a desktop's
    "ladders_per_forward": 2,
    "grad_accumulation": 4,
    "gradient_checkpointing": False,
}
SMOKE_STAGE1 = SMALL_STAGE1 | {
    "num_steps": 8,
    "learning_rate": 1e-3,
    "ladders_per_forward": 1,
    "grad_accumulation": 1,
    "validate_every": 8,
    "precision": "float32",
}
SMOKE_STAGE2 = {
    "num_steps": 40,
    "learning_rate": 1e-3,
    "model_dim": 32,
    "num_heads": 4,
    "ffn_dim": 64,
    "validate_every": 20,
}


def stage_configs(
    num_parameters: int,
    stage1: Mapping[str, Any],
    stage2: Mapping[str, Any],
    *,
    seed: int = 0,
    smoke: bool = False,
) -> tuple[Stage1Config, Stage2Config]:
    """What is given over what suits a backbone of so many parameters.

    Raises:
        ConfigError: a key or value that the stages refuse.
    """
    base1 = SMALL_STAGE1 if num_parameters < SMALL_PARAMETERS else {}
    base1, base2 = (SMOKE_STAGE1, SMOKE_STAGE2) if smoke else (base1, {})
    return (
        Stage1Config.from_json({**base1, "seed": seed, **stage1}),
        Stage2Config.from_json({**base2, "seed": seed, **stage2}),
    )


def read_settings(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """The object in a .json or .toml file, of which only `known` keys are allowed.

    Raises:
        ConfigError: unreadable, of another form, or with an unknown key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".toml":
            try:
                import tomllib
            except ImportError as error:
                raise ConfigError(
                    f"{path}: reading TOML needs Python 3.11 or later; write JSON instead"
                ) from error
            data = tomllib.loads(text)
        else:
            data = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"--config: expected JSON or TOML, cannot read {path}: {error}"
        ) from error
    known = list(known)
    if not isinstance(data, dict):
        raise ConfigError(f"{path}: expected an object with {', '.join(known)}, found another form")
    unknown = sorted(set(data) - set(known))
    if unknown:
        raise ConfigError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(known)}")
    for key in ("stage1", "stage2"):
        if not isinstance(data.get(key, {}), dict):
            raise ConfigError(f"{path}: {key}: expected an object, found {data[key]!r}")
    return data


def key_values(pairs: Iterable[str]) -> dict[str, Any]:
    """["tuning=lora", "num_steps=2000"] as a dict; values are JSON, or else plain words.

    Raises:
        ConfigError: a text without "=".
    """
    values = {}
    for pair in pairs:
        key, found, text = pair.partition("=")
        if not found:
            raise ConfigError(f"expected KEY=VALUE, found {pair!r}")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text  # a plain word such as lora
    return values
