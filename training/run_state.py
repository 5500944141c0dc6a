"""Atomic, resumable checkpoints of a training run.

A checkpoint is a directory `step-00001200-00/` that holds the modules and optimizers as
safetensors and the rest as JSON (no pickle). It is written into a temporary directory, every file
and the directory are fsynced, the directory is renamed, and the marker `COMPLETE.json`, with the
size of every file, is written last. A directory without a marker that matches does not exist for
`latest_complete`, so a run that is killed at any moment resumes from the last good state.

    state = RunState("runs/critic", {"learning_rate": 1e-3, "seed": 0}, keep=2)
    resumed = state.load_latest(modules={"model": model}, optimizers={"adamw": optimizer})
    first_step = resumed["step"] if resumed else 0
    with StopRequest() as stop:
        for step in range(first_step, num_steps):
            ...
            if stop.requested or (step + 1) % 500 == 0:
                state.save(step + 1, modules={"model": model}, optimizers={"adamw": optimizer},
                           extra={"cursor": cursor})
            if stop.requested:
                break
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eliq.errors import TrainingError

from .random_state import Generators, capture_random_state, restore_random_state
from .sharding import sliced_like, whole
from .state_tree import flatten, unflatten
from .stop_request import StopRequest
from .tensor_files import read_tensors, write_tensors

__all__ = ["RunState", "StopRequest", "first_difference", "latest_complete"]

MARKER = "COMPLETE.json"
_STEP_DIR = re.compile(r"step-(\d{8,})-(\d{2,})")
_TEMPORARY = ".writing-"


def latest_complete(run_dir: str | Path) -> Path | None:
    """The newest complete checkpoint directory under `run_dir`, or None."""
    complete = _complete_dirs(Path(run_dir))
    return complete[-1] if complete else None


class RunState:
    """Saves and restores everything that a run needs to go on as if it had not stopped.

    `fingerprint` is the configuration that makes two runs comparable (plain JSON); a checkpoint
    of another fingerprint is refused, naming the field. `keep` complete checkpoints are kept.
    `trainable_only` names the modules of which only parameters that require a gradient are saved
    (the adapter of a large frozen backbone).
    """

    def __init__(
        self,
        run_dir: str | Path,
        fingerprint: Mapping[str, Any],
        *,
        keep: int = 2,
        trainable_only: tuple[str, ...] = (),
    ) -> None:
        if keep < 1:
            raise TrainingError(f"keep must be at least 1, found {keep}")
        self.run_dir = Path(run_dir)
        self.fingerprint = _through_json(fingerprint, "fingerprint")
        self.keep = keep
        self.trainable_only = tuple(trainable_only)

    def save(
        self,
        step: int,
        *,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Any] | None = None,
        schedulers: Mapping[str, Any] | None = None,
        generators: Generators | None = None,
        extra: Mapping[str, Any] | None = None,
        write: bool = True,
    ) -> Path | None:
        """Writes the state after `step` steps and returns its directory.

        `optimizers` and `schedulers` are objects with `state_dict` and `load_state_dict`;
        `generators` are random generators beside the global ones; `extra` is plain JSON
        (data cursor, best score, ...). Where the modules are sharded all processes call this
        together, and one of them with `write`; the others return None.

        Raises:
            TrainingError: something cannot be written without pickle, or the disk refuses tensors.
            OSError: the disk refuses (in both cases the previous checkpoints are untouched).
        """
        if not write:  # the very same gathering, in the same order
            for name, module in modules.items():
                _module_tensors(module, name in self.trainable_only)
            for objects in (optimizers, schedulers):
                for name, item in (objects or {}).items():
                    flatten(item.state_dict(), name, {})
            return None
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self._sweep_unfinished()
        target = self._free_dir(step)
        temporary = self.run_dir / f"{_TEMPORARY}{target.name}"
        temporary.mkdir()
        try:
            state: dict[str, Any] = {
                "step": step,
                "fingerprint": self.fingerprint,
                "extra": _through_json(extra or {}, "extra"),
                "modules": {},
                "optimizers": {},
                "schedulers": {},
            }
            for name, module in modules.items():
                tensors, aliases = _module_tensors(module, name in self.trainable_only)
                write_tensors(temporary / f"module.{name}.safetensors", tensors)
                state["modules"][name] = {"aliases": aliases}
            for kind, objects in (("optimizers", optimizers), ("schedulers", schedulers)):
                for name, item in (objects or {}).items():
                    tensors = {}
                    state[kind][name] = flatten(item.state_dict(), name, tensors)
                    write_tensors(temporary / f"{kind}.{name}.safetensors", tensors)
            tensors = {}
            state["random"] = flatten(capture_random_state(generators), "random", tensors)
            write_tensors(temporary / "random.safetensors", tensors)
            (temporary / "state.json").write_text(json.dumps(state), encoding="utf-8")
            sizes = {}
            for path in sorted(temporary.iterdir()):
                _fsync(path)
                sizes[path.name] = path.stat().st_size
            _fsync(temporary)
            os.rename(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        _fsync(self.run_dir)
        _write_marker(target, {"step": step, "sizes": sizes})
        self._prune()
        return target

    def load_latest(
        self,
        modules: Mapping[str, nn.Module],
        optimizers: Mapping[str, Any] | None = None,
        *,
        schedulers: Mapping[str, Any] | None = None,
        generators: Generators | None = None,
    ) -> dict[str, Any] | None:
        """Restores the newest complete checkpoint in place; returns its `extra` plus "step".

        Returns None where there is no complete checkpoint (a new run). Nothing is restored in
        part: everything is read and checked before the first object is changed.

        Raises:
            TrainingError: the fingerprint differs, or anything that the run needs (a module,
                a tensor, an optimizer, a random state) is missing.
        """
        found = latest_complete(self.run_dir)
        if found is None:
            return None
        state = _read_json(found / "state.json")
        for key in ("step", "fingerprint", "extra", "modules", "optimizers", "schedulers"):
            if key not in state:
                raise TrainingError(f"cannot resume from {found}: {key} is missing")
        self._check_fingerprint(state["fingerprint"], found)
        if "random" not in state:
            raise TrainingError(f"cannot resume from {found}: the random state is missing")
        groups = {"modules": modules, "optimizers": optimizers, "schedulers": schedulers}
        for kind, objects in groups.items():
            if set(objects or {}) != set(state[kind]):
                raise TrainingError(
                    f"cannot resume from {found}: it holds {kind} {sorted(state[kind])}, "
                    f"the run has {sorted(objects or {})}"
                )
        module_tensors = {}
        for name, module in modules.items():
            tensors = read_tensors(found / f"module.{name}.safetensors")
            for alias, original in state["modules"][name]["aliases"].items():
                tensors[alias] = tensors[original]
            expected = self._check_module(name, module, tensors, found)
            module_tensors[name] = {k: sliced_like(t, expected[k]) for k, t in tensors.items()}
        restored: list[tuple[str, Any, Any]] = []
        for kind, objects in (("optimizers", optimizers), ("schedulers", schedulers)):
            for name, item in (objects or {}).items():
                tensors = read_tensors(found / f"{kind}.{name}.safetensors")
                restored.append((f"{kind}.{name}", item, unflatten(state[kind][name], tensors)))
        random_tensors = read_tensors(found / "random.safetensors")
        random_state = unflatten(state["random"], random_tensors)

        for name, module in modules.items():
            module.load_state_dict(module_tensors[name], strict=name not in self.trainable_only)
        for label, item, saved in restored:
            _load_state(label, item, saved)
        restore_random_state(random_state, generators)
        return {**state["extra"], "step": state["step"]}

    def forget_after(self, step: int) -> None:
        """Removes checkpoints of later steps, which a run that resumes at `step` never took."""
        for path in _complete_dirs(self.run_dir):
            if int(_STEP_DIR.fullmatch(path.name)[1]) > step:
                _remove(path)

    def _check_fingerprint(self, saved: Any, found: Path) -> None:
        differing = first_difference(saved, self.fingerprint)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"cannot resume from {found}: {field} was {was} and is now {now}; "
                "restore the value or start in a new directory"
            )

    def _check_module(self, name: str, module: nn.Module, saved: dict, found: Path) -> dict:
        expected = _state_tensors(module, name in self.trainable_only)
        if set(expected) != set(saved):
            differing = sorted(set(expected) ^ set(saved))
            raise TrainingError(
                f"cannot resume from {found}: module {name} differs in {len(differing)} tensors, "
                f"first {differing[0]}"
            )
        for key, tensor in expected.items():
            if tensor.shape != saved[key].shape or tensor.dtype != saved[key].dtype:
                raise TrainingError(
                    f"cannot resume from {found}: {name}.{key} is {tuple(saved[key].shape)} "
                    f"{saved[key].dtype}, the run has {tuple(tensor.shape)} {tensor.dtype}"
                )
        return expected

    def _free_dir(self, step: int) -> Path:
        # A step that is saved twice gets a second directory: replacing one in place would leave
        # a moment without any.
        attempt = 0
        while (target := self.run_dir / f"step-{step:08d}-{attempt:02d}").exists():
            attempt += 1
        return target

    def _sweep_unfinished(self) -> None:
        complete = set(_complete_dirs(self.run_dir))
        for path in self.run_dir.iterdir():
            unfinished = _STEP_DIR.fullmatch(path.name) and path not in complete
            if path.is_dir() and (unfinished or path.name.startswith(_TEMPORARY)):
                shutil.rmtree(path, ignore_errors=True)

    def _prune(self) -> None:
        for path in _complete_dirs(self.run_dir)[: -self.keep]:
            _remove(path)


def _remove(path: Path) -> None:
    # The marker goes first, so that a kill in the middle leaves no half that looks whole.
    with contextlib.suppress(FileNotFoundError):
        (path / MARKER).unlink()
    shutil.rmtree(path, ignore_errors=True)


def _complete_dirs(run_dir: Path) -> list[Path]:
    if not run_dir.is_dir():
        return []
    found = []
    for path in run_dir.iterdir():
        match = _STEP_DIR.fullmatch(path.name)
        if match and _is_complete(path):
            found.append((int(match[1]), int(match[2]), path))
    return [path for _, _, path in sorted(found)]


def _is_complete(path: Path) -> bool:
    try:
        sizes = json.loads((path / MARKER).read_text(encoding="utf-8"))["sizes"]
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False  # torn or absent: the checkpoint was never finished


def _write_marker(target: Path, content: dict[str, Any]) -> None:
    temporary = target / f"{MARKER}.part"
    temporary.write_text(json.dumps(content), encoding="utf-8")
    _fsync(temporary)
    os.rename(temporary, target / MARKER)
    _fsync(target)


def _fsync(path: Path) -> None:
    if path.is_dir() and os.name == "nt":
        return  # Windows cannot open a directory
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _state_tensors(module: nn.Module, trainable_only: bool) -> dict[str, Tensor]:
    state = module.state_dict()
    if not trainable_only:
        return state
    trainable = {name for name, p in module.named_parameters() if p.requires_grad}
    return {name: tensor for name, tensor in state.items() if name in trainable}


def _module_tensors(module: nn.Module, trainable_only: bool) -> tuple[dict, dict[str, str]]:
    """CPU tensors by name, and name -> name for tied ones, which safetensors refuses twice."""
    tensors: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    seen: dict[tuple, str] = {}
    for name, tensor in _state_tensors(module, trainable_only).items():
        # Gathered before it may be left out: a process whose slice is empty sees no ties.
        full = whole(tensor.detach())
        if full is not tensor and hasattr(tensor, "to_local"):
            tensor = tensor.to_local()
        key = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and key in seen:
            aliases[name] = seen[key]
            continue
        seen[key] = name
        tensors[name] = full.to("cpu", copy=True).contiguous()
    return tensors, aliases


def _load_state(label: str, item: Any, saved: Any) -> None:
    is_optimizer = isinstance(item, torch.optim.Optimizer)
    parameters = [p for group in item.param_groups for p in group["params"]] if is_optimizer else []
    states = saved.get("state", {}) if is_optimizer else {}
    for index, parameter in enumerate(parameters):
        for key, value in states.get(index, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                states[index][key] = sliced_like(value, parameter)
    try:
        item.load_state_dict(saved)
    except (ValueError, KeyError, RuntimeError) as error:
        raise TrainingError(
            f"cannot resume: {label} does not fit the run ({type(error).__name__}); "
            "its parameters or groups changed"
        ) from error
    # torch casts floating state to the dtype of its parameter; float32 moments of a bfloat16
    # parameter would lose bits, and the run would no longer be the unbroken one.
    for index, entries in states.items():
        for key, value in entries.items():
            current = item.state[parameters[index]].get(key)
            if isinstance(value, Tensor) and current is not None and current.dtype != value.dtype:
                item.state[parameters[index]][key] = value.to(current.device)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"cannot resume: {path} cannot be read as JSON") from error


def _through_json(value: Mapping[str, Any], what: str) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(dict(value)))
    except (TypeError, ValueError) as error:
        raise TrainingError(f"{what} must be plain JSON: {error}") from error


def first_difference(was: Any, now: Any, field: str = "") -> tuple[str, str, str] | None:
    """Dotted name and both values of the first field that differs, or None."""
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted(set(was) | set(now)):
            name = f"{field}.{key}" if field else key
            if key not in was or key not in now:
                absent = "absent"
                return name, repr(was.get(key, absent)), repr(now.get(key, absent))
            found = first_difference(was[key], now[key], name)
            if found is not None:
                return found
        return None
    return None if was == now else (field or "fingerprint", repr(was), repr(now))
