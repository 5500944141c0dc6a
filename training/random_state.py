"""The state of every random source of a run, as JSON plus tensors.

Python's `random`, numpy's global generator, torch on the CPU and on every CUDA device, and the
generators that a run names itself. A resumed run that lacks one of them is another run, so
`restore_random_state` fails hard instead of going on with whatever state is there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from eliq.errors import TrainingError

__all__ = ["capture_random_state", "restore_random_state"]

Generators = Mapping[str, "np.random.Generator | torch.Generator"]


def capture_random_state(generators: Generators | None = None) -> dict[str, Any]:
    """All random states, as a dict of numbers, lists and tensors (for `state_tree.flatten`)."""
    numpy_state = np.random.get_state(legacy=False)
    state: dict[str, Any] = {
        "python": random.getstate(),
        "numpy": _plain(numpy_state),
        "torch": torch.get_rng_state(),
        "generators": {name: _capture(name, g) for name, g in (generators or {}).items()},
    }
    # Asking an uninitialised CUDA for its state would initialise it in CPU runs.
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def restore_random_state(state: Mapping[str, Any], generators: Generators | None = None) -> None:
    """Puts every random source back.

    Raises:
        TrainingError: a source is missing from `state`, or was saved and is not here now.
    """
    expected = ["python", "numpy", "torch", "generators"]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        expected.append("cuda")
    for source in expected:
        if source not in state:
            raise TrainingError(
                f"cannot resume: the random state of {source} is missing from the checkpoint"
            )
    generators = generators or {}
    if set(generators) != set(state["generators"]):
        raise TrainingError(
            "cannot resume: the checkpoint holds random generators "
            f"{sorted(state['generators'])}, the run has {sorted(generators)}"
        )
    cuda = state.get("cuda")
    if cuda is not None:
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if found != len(cuda):
            raise TrainingError(
                f"cannot resume: the checkpoint holds the random state of {len(cuda)} CUDA "
                f"devices, this machine has {found}"
            )
        torch.cuda.set_rng_state_all(list(cuda))
    random.setstate(state["python"])
    np.random.set_state(_arrays(state["numpy"]))
    torch.set_rng_state(state["torch"])
    for name, generator in generators.items():
        saved = state["generators"][name]
        if isinstance(generator, torch.Generator):
            generator.set_state(saved)
        else:
            generator.bit_generator.state = _arrays(saved)


def _capture(name: str, generator: Any) -> Any:
    if isinstance(generator, torch.Generator):
        return generator.get_state()
    if isinstance(generator, np.random.Generator):
        return _plain(generator.bit_generator.state)
    raise TrainingError(
        f"generator {name!r}: expected numpy.random.Generator or torch.Generator, "
        f"found {type(generator).__name__}"
    )


def _plain(value: Any) -> Any:
    """numpy's state dicts with arrays as lists of int under a key that says their dtype."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return {"array": value.tolist(), "dtype": str(value.dtype)}
    return value.item() if isinstance(value, np.generic) else value


def _arrays(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"array", "dtype"}:
            return np.array(value["array"], dtype=value["dtype"])
        return {key: _arrays(item) for key, item in value.items()}
    return value
