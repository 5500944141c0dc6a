"""CLIP's published weights into IP-IQA's towers, from either of the two layouts they come in.

- open_clip's: a folder or hub id with `open_clip_config.json` and `open_clip_model.safetensors`
  (such as timm/resnet50_clip.openai), or ``open_clip:RN50:openai`` where open_clip itself is
  installed (`pip install "eliq[ip-iqa]"`) and fetches them. ResNets come in this layout only.
- transformers': a folder or hub id whose `config.json` says ``"model_type": "clip"``. ViTs.

Tables of positions are fitted to the new image size: index 0 is kept, the grid is interpolated
bicubically (align_corners False), as the released code of IP-IQA does.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional as F

from ..checkpoint.location import resolve_directory
from ..checkpoint.safetensors_checks import read_json
from ..errors import BackboneError
from .clip_layouts import (
    from_open_clip,
    from_transformers,
    open_clip_settings,
    transformers_settings,
)
from .config import IPIQAConfig
from .model import IPIQAModel
from .pooling_start import start_pooling

__all__ = ["ClipStart", "load_clip", "resize_positions"]

_FILES = (
    "config.json",
    "open_clip_config.json",
    "open_clip_model.safetensors",
    "model.safetensors",
    "tokenizer.json",
)
_WHAT = "a CLIP model"


class ClipStart(NamedTuple):
    """A model whose towers are CLIP's, and CLIP's tokenizer.

    Its cross-modality pooling starts as its config says; its head and [QA] token are random.
    """

    model: IPIQAModel
    tokenizer: Tokenizer


def load_clip(
    source: str | os.PathLike[str],
    *,
    image_size_px: int = 512,
    tokenizer: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    seed: int = 0,
    map_layer: int = -2,
    map_norm: str = "next",
    **changes: Any,
) -> ClipStart:
    """CLIP's towers at ``image_size_px``, the rest from them or ``seed``: where training starts.

    Args:
        source: a folder or hub id in one of the two layouts, or ``open_clip:NAME:TAG``.
        tokenizer: a folder, hub id or `tokenizer.json` of CLIP's tokenizer; None = that of source.
        map_layer, map_norm: how the map is taken from a ViT, see `ViTConfig`.
        changes: other settings of `IPIQAConfig`, such as ``outputs`` or ``pooling_start``.

    Raises:
        BackboneError: nothing there, not a CLIP, or weights that do not fit.
        ConfigError: settings that do not go together.
    """
    text = os.fspath(source)
    if text.startswith("open_clip:"):
        settings, state, directory = _by_open_clip(text)
    else:
        directory = resolve_directory(
            source, what=_WHAT, files=_FILES, revision=revision, error=BackboneError
        )
        settings, state = _from_directory(directory, map_layer, map_norm)
    words = _tokenizer(tokenizer, directory)
    settings = {**settings, "image_size_px": image_size_px, **_fitting(settings)}
    config = IPIQAConfig(**{**settings, **changes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = IPIQAModel(config)
    _fill(model, state, text)
    start_pooling(model)
    return ClipStart(model.eval(), words)


def resize_positions(table: Tensor, grid: int) -> Tensor:
    """A position table [1+n*n,C] for a map of ``grid`` x ``grid`` cells: [1+grid*grid,C].

    Raises:
        BackboneError: a table that is not of a square map.
    """
    old = math.isqrt(len(table) - 1)
    if old * old != len(table) - 1:
        raise BackboneError(
            f"positions: expected a table of 1 + n * n rows, found {len(table)}: not a CLIP tower"
        )
    if old == grid:
        return table
    cells = table[1:].float().T.reshape(1, -1, old, old)
    cells = F.interpolate(cells, size=(grid, grid), mode="bicubic", align_corners=False)
    return torch.cat([table[:1].float(), cells.flatten(2)[0].T]).to(table.dtype)


def _fitting(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Heads of the cross-modality pooling as published, 64 wide each, whatever the tower."""
    dim = settings["visual"].map_dim
    return {"cross_heads": 1 if dim % 64 else dim // 64}


def _from_directory(
    directory: Path, map_layer: int, map_norm: str
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if (directory / "open_clip_config.json").is_file():
        data = read_json(directory / "open_clip_config.json", max_bytes=1 << 20)
        model = data.get("model_cfg", data) if isinstance(data, dict) else {}
        state = _tensors(directory / "open_clip_model.safetensors")
        means = data.get("preprocess_cfg", {})
        return open_clip_settings(model, means), from_open_clip(state)
    config = directory / "config.json"
    data = read_json(config, max_bytes=1 << 20) if config.is_file() else {}
    if not isinstance(data, dict) or data.get("model_type") != "clip":
        raise BackboneError(
            f"expected open_clip_config.json or a config.json of a CLIP in {directory}, found "
            "neither: name the folder or hub id of a CLIP"
        )
    settings = transformers_settings(data, map_layer, map_norm)
    return settings, from_transformers(_tensors(directory / "model.safetensors"))


def _by_open_clip(source: str) -> tuple[dict[str, Any], dict[str, Tensor], Path | None]:
    """``open_clip:NAME:TAG``, where TAG is one of open_clip's, or a file of weights."""
    _, _, rest = source.partition(":")
    name, _, tag = rest.partition(":")
    try:
        import open_clip
    except (ImportError, RuntimeError) as error:  # torchvision of another torch: RuntimeError
        raise BackboneError(
            f"{source} needs open_clip and a torchvision for this torch "
            f'({str(error)[:80]}): pip install "eliq[ip-iqa]", or name a folder in its layout'
        ) from error
    if not name or not tag:
        raise BackboneError(
            f"expected open_clip:NAME:TAG, such as open_clip:RN50:openai, found {source}"
        )
    try:
        model = open_clip.create_model(name, pretrained=tag)
        data = dict(open_clip.get_model_config(name) or {})
    except Exception as error:  # of many classes, by its version
        raise BackboneError(
            f"open_clip has no {name} with weights {tag} ({type(error).__name__}: "
            f"{str(error)[:120]}): see open_clip.list_pretrained()"
        ) from error
    activation = type(model.transformer.resblocks[0].mlp[1]).__name__
    data["quick_gelu"] = activation == "QuickGELU"
    return open_clip_settings(data, {}), from_open_clip(model.state_dict()), None


def _fill(model: IPIQAModel, state: Mapping[str, Tensor], source: str) -> None:
    """Gives the towers their weights; every tensor of either side must find the other."""
    state = dict(state)
    grid = model.config.grid
    for name in (
        "visual.resnet.attnpool.positional_embedding",
        "visual.vit.vision_model.embeddings.position_embedding.weight",
    ):
        if name in state:
            state[name] = resize_positions(state[name], grid)
    own = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if name.startswith(("visual.", "text.")) and not name.endswith(".qa")
    }
    # Counters of batches, on which nothing depends, are left out of some files.
    missing = sorted(n for n in set(own) - set(state) if not n.endswith("num_batches_tracked"))
    left = sorted(set(state) - set(own))
    wrong = [n for n in own.keys() & state.keys() if own[n].shape != state[n].shape]
    if missing or left or wrong:
        first = (missing or left or wrong)[0]
        raise BackboneError(
            f"expected the weights of a CLIP in {source}, found {len(missing)} missing, "
            f"{len(left)} unknown and {len(wrong)} of another shape, first {first[:100]}: "
            "config and weights do not belong together"
        )
    model.load_state_dict({**model.state_dict(), **state}, strict=True)


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise BackboneError(
            f"expected weights in {path}, found none that can be read "
            f"({type(error).__name__}): get the model again, as safetensors"
        ) from None


def _tokenizer(given: str | os.PathLike[str] | None, directory: Path | None) -> Tokenizer:
    path = None if directory is None else directory / "tokenizer.json"
    if given is not None:
        path = Path(given).expanduser()
        if not path.is_file():
            found = resolve_directory(
                given, what="CLIP's tokenizer", files=("tokenizer.json",), error=BackboneError
            )
            path = found / "tokenizer.json"
    if path is None or not path.is_file():
        raise BackboneError(
            "expected CLIP's tokenizer.json beside its weights, found none: name one by tokenizer="
            "'openai/clip-vit-base-patch32', which has the same words, or a folder"
        )
    try:
        return Tokenizer.from_file(str(path))
    except Exception:  # the library raises bare Exceptions
        raise BackboneError(
            f"expected a tokenizer in {path}, found none that can be read: get it again"
        ) from None
