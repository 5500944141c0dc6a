"""Nested state (dicts, lists, tensors, numbers) as plain JSON plus named tensors, without pickle.

`flatten` turns what `optimizer.state_dict()` returns into a JSON-ready tree in which every tensor
is a reference, and a flat dict of tensors for a safetensors file; `unflatten` is its inverse, with
the same key types (optimizers key their state by int), tuples as tuples and tensors bit-equal.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from eliq.errors import TrainingError

from .sharding import whole

__all__ = ["flatten", "unflatten"]

_PLAIN = (str, int, float, bool, type(None))


def flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The JSON-ready form of `value`; its tensors are added to `tensors` under `name` + path.

    Tensors are cloned to the CPU, so that the caller may go on training while they are written.

    Raises:
        TrainingError: `value` holds something that is neither a container, a tensor nor plain.
    """
    if isinstance(value, Tensor):
        tensors[name] = whole(value.detach()).to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        pairs = []
        for key, item in value.items():
            if not isinstance(key, _PLAIN):
                raise TrainingError(
                    f"state at {name}: a key of type {type(key).__name__} cannot be saved; "
                    "use a str or an int"
                )
            pairs.append([key, flatten(item, f"{name}.{key}", tensors)])
        return {"dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [flatten(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return {"tuple" if isinstance(value, tuple) else "list": items}
    if isinstance(value, _PLAIN):
        return {"plain": value}
    raise TrainingError(
        f"state at {name}: a value of type {type(value).__name__} cannot be saved; "
        "expected tensors, numbers, strings, None, lists, tuples or dicts"
    )


def unflatten(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """The value that `flatten` was given. Raises TrainingError where a tensor is missing."""
    if not isinstance(tree, dict) or len(tree) != 1:
        raise TrainingError("saved state is damaged: a node that is not one of the known kinds")
    ((kind, content),) = tree.items()
    if kind == "plain":
        return content
    if kind == "dict":
        return {key: unflatten(item, tensors) for key, item in content}
    if kind in ("list", "tuple"):
        items = [unflatten(item, tensors) for item in content]
        return tuple(items) if kind == "tuple" else items
    if kind == "tensor":
        if content not in tensors:
            raise TrainingError(f"saved state is incomplete: tensor {content} is missing")
        return tensors[content]
    raise TrainingError(f"saved state is damaged: unknown kind {kind!r}")
