"""Tensors of a checkpoint: their closed table, and the way between files and modules.

Names: ``backbone.<name in the transformers model's state_dict>``, ``head.<name>``, and in the hub
form ``adapter.<module>.lora_A`` [r, in] and ``.lora_B`` [out, r]. A tied ``lm_head`` is left out.
The head is float32 on disk and in memory; the backbone may be of any float type on disk.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..backbone import Backbone
from ..errors import CheckpointError, EliqError
from ..head import HeadConfig, ScoringHead
from ..instructions import Instructions
from ..patches import PatchConfig
from .safetensors_checks import TensorEntry, check_table, header_cap_bytes, read_header

__all__ = [
    "Adapter",
    "assign_backbone",
    "check_files",
    "collect",
    "expected_table",
    "finite_on_cpu",
    "read_tensors",
    "shell_of_backbone",
    "shell_of_head",
    "write_shards",
]

TIED_NAME = "lm_head.weight"
_BACKBONE_DTYPES = ("F32", "F16", "BF16")
_PARAMETER_FACTORIES = {torch.empty, torch.ones, torch.zeros, torch.rand, torch.randn}


@dataclass(frozen=True)
class Adapter:
    """LoRA tensors: W + scaling * B @ A for each target, A float32 [r, in], B float32 [out, r]."""

    scaling: float
    tensors: dict[str, tuple[Tensor, Tensor]]  # target module of the transformers model -> A, B

    @property
    def rank(self) -> int:
        """r, one for all targets."""
        return next(iter(self.tensors.values()))[0].shape[0]

    @torch.no_grad()
    def merge_into(self, model: nn.Module) -> None:
        """Add the adapter to the weights of ``model`` in float32, then round to their dtype.

        Raises:
            CheckpointError: a target that the model lacks, or of another shape.
        """
        parameters = dict(model.named_parameters())
        for target, (low, high) in self.tensors.items():
            weight = parameters.get(f"{target}.weight")
            if weight is None or tuple(weight.shape) != (high.shape[0], low.shape[1]):
                raise CheckpointError(
                    f"expected a weight of shape {[high.shape[0], low.shape[1]]} at {target} of "
                    "the backbone, found another: the adapter was trained on another backbone"
                )
            delta = high.to(weight.device) @ low.to(weight.device)
            weight.copy_((weight.float() + self.scaling * delta).to(weight.dtype))


class _ParametersOnMeta(TorchFunctionMode):
    """Modules made inside have parameters without memory, and real buffers.

    Rotary frequencies are buffers that no state_dict holds. They are computed from ``arange``,
    which is left alone; ``torch.device("meta")`` would lose them.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func in _PARAMETER_FACTORIES:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)


def shell_of_backbone(
    config: dict[str, Any],
    tokenizer: Tokenizer,
    *,
    instructions: Instructions,
    patches: PatchConfig,
    max_prompt_tokens: int,
) -> Backbone:
    """A backbone whose parameters have shapes but no memory.

    Raises:
        CheckpointError: a config that transformers cannot build a model from.
        BackboneError: parts that do not belong together.
    """
    try:
        with _ParametersOnMeta():
            return Backbone.from_config(
                config,
                tokenizer,
                instructions=instructions,
                patches=patches,
                max_prompt_tokens=max_prompt_tokens,
                seed=None,
            )
    except EliqError:
        raise
    except Exception as error:  # of any class, and another one in each version of transformers
        raise CheckpointError(
            "backbone.config: expected sizes and options of a Qwen3-VL, found some that "
            f"transformers builds no model from ({type(error).__name__}): get the checkpoint again"
        ) from error


def shell_of_head(config: HeadConfig) -> ScoringHead:
    """A head whose parameters have shapes but no memory.

    Raises:
        CheckpointError: sizes beyond any head.
    """
    sizes = (config.hidden_size, config.model_dim, config.ffn_dim)
    if max(sizes) > 1 << 16 or config.num_layers > 64:
        raise CheckpointError(
            f"head: expected sizes up to 65536 and up to 64 layers, found {config}: "
            "get the checkpoint again"
        )
    with torch.device("meta"):
        return ScoringHead(config)


def expected_table(
    backbone: Backbone, head: ScoringHead, *, is_inside: bool, adapter: Mapping[str, Any] | None
) -> dict[str, TensorEntry]:
    """The tensors that a checkpoint must hold, no more and no fewer.

    ``adapter`` is ``backbone.adapter`` of the config (rank, targets), or None.

    Raises:
        CheckpointError: an adapter target that the backbone lacks.
    """
    state = backbone_state(backbone)
    table = {
        f"head.{name}": TensorEntry(tuple(tensor.shape), ("F32",))
        for name, tensor in head.state_dict().items()
    }
    if is_inside:
        for name, tensor in state.items():
            table[f"backbone.{name}"] = TensorEntry(tuple(tensor.shape), _BACKBONE_DTYPES)
    for target in adapter["targets"] if adapter else ():
        weight = state.get(f"{target}.weight")
        if weight is None or weight.ndim != 2:
            raise CheckpointError(
                f"backbone.adapter.targets: expected linear modules of the backbone, found "
                f"{target!r}: get the checkpoint again"
            )
        rank, (rows, columns) = adapter["rank"], weight.shape
        table[f"adapter.{target}.lora_A"] = TensorEntry((rank, columns), ("F32",))
        table[f"adapter.{target}.lora_B"] = TensorEntry((rows, rank), ("F32",))
    return table


def check_files(paths: list[Path], expected: Mapping[str, TensorEntry], *, where: str) -> None:
    """Check the headers of all weight files against the table; no tensor is read.

    Raises:
        CheckpointError: see `safetensors_checks`; also a tensor that is in two files.
    """
    found: dict[str, TensorEntry] = {}
    cap = header_cap_bytes(len(expected))
    for path in paths:
        entries = read_header(path, max_header_bytes=cap)
        if twice := found.keys() & entries.keys():
            raise CheckpointError(
                f"expected each tensor once in {where}, found {min(twice)[:80]} in two files: "
                "export the checkpoint again"
            )
        found |= entries
    check_table(found, expected, where=where)


def read_tensors(
    paths: list[Path], *, device: torch.device, backbone_dtype: torch.dtype
) -> dict[str, Tensor]:
    """All tensors of checked files on ``device``: backbone in its dtype, the rest in float32.

    Raises:
        CheckpointError: values that are not finite, or a file that changed since it was checked.
    """
    tensors: dict[str, Tensor] = {}
    for path in paths:
        try:
            with safe_open(path, framework="pt") as file:
                for name in file.keys():  # noqa: SIM118 (not a mapping)
                    dtype = backbone_dtype if name.startswith("backbone.") else torch.float32
                    # A copy: the mapped file may be replaced while the model is in use.
                    tensor = file.get_tensor(name).to(device, dtype, copy=True)
                    if not bool(torch.isfinite(tensor).all()):
                        raise CheckpointError(
                            f"expected finite weights in {path}, found NaN or infinity in {name} "
                            f"(as {str(dtype).removeprefix('torch.')}): the checkpoint is damaged, "
                            "or needs dtype bfloat16 or float32"
                        )
                    tensors[name] = tensor
        except (SafetensorError, OSError):
            raise CheckpointError(
                f"expected to read the tensors of {path}, found it unreadable: get it again"
            ) from None
    return tensors


def assign_backbone(backbone: Backbone, tensors: dict[str, Tensor]) -> None:
    """Give the shell of a backbone its weights: the tensors themselves, not copies."""
    backbone.model.load_state_dict(tensors, strict=False, assign=True)
    if backbone.model.config.tie_word_embeddings:
        backbone.model.lm_head.weight = backbone.model.get_input_embeddings().weight
    empty = [n for n, t in (*backbone.named_parameters(), *backbone.named_buffers()) if t.is_meta]
    if empty:
        raise CheckpointError(
            f"expected weights for all of the backbone, found none for {empty[0]}: "
            "this transformers version is not supported, please report it"
        )


def backbone_state(backbone: Backbone) -> dict[str, Tensor]:
    """The state_dict of the transformers model without a tied lm_head."""
    state = backbone.model.state_dict()
    if backbone.model.config.tie_word_embeddings:
        state.pop(TIED_NAME, None)
    return state


def collect(
    backbone: Backbone | None,
    head: ScoringHead,
    adapter: Adapter | None,
    *,
    storage_dtype: torch.dtype | None,
) -> dict[str, Tensor]:
    """Tensors to write, on the CPU; ``backbone`` None in the hub form.

    Raises:
        CheckpointError: values that are not finite, or a language-model head that is not tied
            though the config says so: such a checkpoint could not be loaded as it was.
    """
    if backbone and backbone.model.config.tie_word_embeddings:
        rows = backbone.model.get_input_embeddings().weight
        if not torch.equal(backbone.model.lm_head.weight, rows):
            raise CheckpointError(
                "expected lm_head to equal the input embeddings, as tie_word_embeddings says, "
                "found another: set tie_word_embeddings in the text_config of the backbone too"
            )
    named: dict[str, Tensor] = {}
    for name, tensor in backbone_state(backbone).items() if backbone else ():
        named[f"backbone.{name}"] = tensor.to(storage_dtype or tensor.dtype)
    for name, tensor in head.state_dict().items():
        named[f"head.{name}"] = tensor.float()
    for target, (low, high) in adapter.tensors.items() if adapter else ():
        named[f"adapter.{target}.lora_A"], named[f"adapter.{target}.lora_B"] = low, high
    return finite_on_cpu(named)


def finite_on_cpu(named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors ready to be written.

    Raises:
        CheckpointError: values that are not finite.
    """
    ready: dict[str, Tensor] = {}
    for name, tensor in named.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(
                f"expected finite weights to save, found NaN or infinity in {name}: "
                "go back to an earlier state of the training run"
            )
        ready[name] = tensor.detach().to("cpu").contiguous()
    return ready


def _shards(tensors: dict[str, Tensor], max_bytes: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    size = 0
    for name, tensor in tensors.items():
        num_bytes = tensor.numel() * tensor.element_size()
        if shard and size + num_bytes > max_bytes:
            yield shard
            shard, size = {}, 0
        shard[name] = tensor
        size += num_bytes
    yield shard


def write_shards(directory: Path, tensors: dict[str, Tensor], *, max_bytes: int) -> tuple[str, ...]:
    """Write model.safetensors, or numbered shards of at most ``max_bytes``; their names.

    Raises:
        CheckpointError: a shard cannot be written, as on a full disk.
    """
    shards = list(_shards(tensors, max_bytes))
    names = [f"model-{n:05d}-of-{len(shards):05d}.safetensors" for n in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        try:
            save_file(shard, directory / name, metadata={"format": "pt"})
        except SafetensorError as error:  # what a full disk is to safetensors
            raise CheckpointError(
                f"cannot write {directory / name} ({error}): make room; what was saved before is "
                "whole"
            ) from error
    return tuple(names)
