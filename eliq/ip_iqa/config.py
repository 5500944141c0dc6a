"""What an IP-IQA model is made of: plain sizes that check themselves and go to and from JSON.

The defaults are those of the published model: CLIP RN50 at 512 px (Qu, Li, Gao: "Bringing Textual
Prompt to AI-Generated Image Quality Assessment", and its released code where the paper is silent).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from ..errors import ConfigError

__all__ = ["OUTPUTS", "IPIQAConfig", "ResNetConfig", "TextConfig", "ViTConfig"]

#: The sets of numbers that a model may give. ``overall`` is one opinion in which quality and
#: alignment are mixed, as raters of AGIQA-1K gave it.
OUTPUTS = (
    ("visual_quality",),
    ("alignment",),
    ("overall",),
    ("visual_quality", "alignment"),
)
STREAMS = ("image_and_prompt", "image", "prompt")
POOLING_STARTS = ("clip", "random")
MAP_NORMS = ("next", "last", "none")
VIT_POOLINGS = ("class", "attention")
_ACTIVATIONS = ("quick_gelu", "gelu")
_MOST = 1 << 16  # a size beyond any CLIP: a hostile file must not allocate by a bare number
_MOST_LAYERS = 256


@dataclass(frozen=True)
class ResNetConfig:
    """CLIP's modified ResNet (RN50: the defaults). Its map is what its attention pooling reads.

    Attributes:
        layers: bottlenecks in each of the four stages.
        width: channels after the stem; the map has 32 times as many, at 1/32 of the side.
        num_heads: of CLIP's attention pooling.
    """

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    width: int = 64
    num_heads: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.layers, (list, tuple)) or len(self.layers) != 4:
            raise ConfigError(f"visual.layers: expected four numbers, found {self.layers!r}")
        object.__setattr__(self, "layers", tuple(self.layers))
        for count in self.layers:
            _whole("visual.layers", count, _MOST_LAYERS)
        _whole("visual.width", self.width, 1024)
        _whole("visual.num_heads", self.num_heads)
        if self.width % 2:
            raise ConfigError(f"visual.width: expected an even number, found {self.width}")
        _divides("visual.num_heads", self.num_heads, "the map's width", self.map_dim)

    @property
    def map_dim(self) -> int:
        """Channels of the spatial map."""
        return 32 * self.width

    @property
    def stride_px(self) -> int:
        """Side of one cell of the map, in px of the image."""
        return 32


@dataclass(frozen=True)
class ViTConfig:
    """A CLIP vision transformer, and how the spatial map is taken from it.

    Attributes:
        hidden_size, num_layers, num_heads, mlp_dim, patch_size, activation: as in transformers.
        map_layer: the map is the patch tokens after this layer, 1 to ``num_layers``; -1 = the last,
            -2 = the one before it: what the last layer's attention reads.
        map_norm: the layer norm that they go through: "next", the first one of the layer behind
            ``map_layer``, as its attention reads them; "last", CLIP's own for the class token; or
            "none".
        pooling: what makes the image vector: the "class" token, as in every published CLIP ViT, or
            "attention": the attention pooling of a CLIP ResNet reads the map.
    """

    hidden_size: int = 768
    num_layers: int = 12
    num_heads: int = 12
    mlp_dim: int = 3072
    patch_size: int = 16
    activation: str = "quick_gelu"
    map_layer: int = -2
    map_norm: str = "next"
    pooling: str = "class"

    def __post_init__(self) -> None:
        for name in ("hidden_size", "num_heads", "mlp_dim", "patch_size"):
            _whole(f"visual.{name}", getattr(self, name))
        _whole("visual.num_layers", self.num_layers, _MOST_LAYERS)
        _divides("visual.num_heads", self.num_heads, "visual.hidden_size", self.hidden_size)
        _one_of("visual.activation", self.activation, _ACTIVATIONS)
        _one_of("visual.map_norm", self.map_norm, MAP_NORMS)
        _one_of("visual.pooling", self.pooling, VIT_POOLINGS)
        if not _is_int(self.map_layer) or self.map_layer not in (-1, -2):
            _whole("visual.map_layer (or -1, -2)", self.map_layer, self.num_layers)
        if self.map_norm == "next" and self.map_after == self.num_layers:
            raise ConfigError(
                "visual.map_norm: expected 'last' or 'none' behind the last layer, found 'next': "
                "or take map_layer -2"
            )

    @property
    def map_after(self) -> int:
        """How many layers the map has gone through, 0 to ``num_layers``."""
        return self.map_layer if self.map_layer > 0 else self.num_layers + 1 + self.map_layer

    @property
    def map_has_values(self) -> bool:
        """Whether the map is the very input of the attention that the image vector comes from."""
        if self.pooling == "attention":
            return True
        return self.map_norm == "next" and self.map_after == self.num_layers - 1

    @property
    def map_dim(self) -> int:
        """Channels of the spatial map."""
        return self.hidden_size

    @property
    def stride_px(self) -> int:
        """Side of one cell of the map, in px of the image."""
        return self.patch_size


@dataclass(frozen=True)
class TextConfig:
    """CLIP's text transformer and its control tokens; the defaults belong to RN50.

    ``context_length`` counts SOT, EOT and the [QA] token too.
    """

    vocab_size: int = 49408
    context_length: int = 77
    width: int = 512
    num_layers: int = 12
    num_heads: int = 8
    mlp_dim: int = 2048
    activation: str = "quick_gelu"
    sot_id: int = 49406
    eot_id: int = 49407
    pad_id: int = 0

    def __post_init__(self) -> None:
        _whole("text.vocab_size", self.vocab_size, 1 << 20)
        _whole("text.num_layers", self.num_layers, _MOST_LAYERS)
        for name in ("context_length", "width", "num_heads", "mlp_dim"):
            _whole(f"text.{name}", getattr(self, name))
        _divides("text.num_heads", self.num_heads, "text.width", self.width)
        _one_of("text.activation", self.activation, _ACTIVATIONS)
        if self.context_length < 4:
            raise ConfigError(
                "text.context_length: expected 4 or more (SOT, [QA], a word, EOT), "
                f"found {self.context_length}"
            )
        for name in ("sot_id", "eot_id", "pad_id"):
            value = getattr(self, name)
            if not _is_int(value) or not 0 <= value < self.vocab_size:
                raise ConfigError(
                    f"text.{name}: expected an id below {self.vocab_size}, found {value!r}"
                )
        if self.sot_id == self.eot_id:
            raise ConfigError(f"text: sot_id and eot_id are both {self.sot_id}")


@dataclass(frozen=True)
class IPIQAConfig:
    """The whole model.

    Attributes:
        visual: ResNetConfig or ViTConfig.
        text: TextConfig.
        embed_dim: size of CLIP's shared space.
        image_size_px: images are squashed to this square; a multiple of the map's stride.
        outputs: one of `OUTPUTS`, in the order of the head's outputs.
        streams: "image_and_prompt", or one of them alone (ablations).
        fusion: True = the text vector pools the map (cross-modality attention pooling); False =
            the text vector itself stands in its place.
        qa_token: whether the trainable [QA] token follows SOT.
        cross_dim: inner width of the cross-modality pooling; None = that of the map.
        cross_heads: its heads.
        pooling_start: what the cross-modality pooling starts from: "clip", CLIP's own values, which
            know what a word looks like (`pooling_start`), or "random", as in the released code.
        head_dim, dropout: of the regression head.
        mean, std: of CLIP's pixels, RGB in 0..1.

    Raises:
        ConfigError: a value that no model can have, or parts that do not go together.
    """

    visual: ResNetConfig | ViTConfig = field(default_factory=ResNetConfig)
    text: TextConfig = field(default_factory=TextConfig)
    embed_dim: int = 1024
    image_size_px: int = 512
    outputs: tuple[str, ...] = ("visual_quality", "alignment")
    streams: str = "image_and_prompt"
    fusion: bool = True
    qa_token: bool = True
    cross_dim: int | None = None
    cross_heads: int = 32
    pooling_start: str = "clip"
    head_dim: int = 2048
    dropout: float = 0.5
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        if not isinstance(self.visual, (ResNetConfig, ViTConfig)):
            raise ConfigError(
                f"visual: expected a ResNetConfig or ViTConfig, found {type(self.visual).__name__}"
            )
        if not isinstance(self.text, TextConfig):
            raise ConfigError(f"text: expected a TextConfig, found {type(self.text).__name__}")
        for name in ("outputs", "mean", "std"):
            if not isinstance(getattr(self, name), (list, tuple)):
                raise ConfigError(f"{name}: expected a list, found {getattr(self, name)!r}")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        _one_of("outputs", self.outputs, OUTPUTS)
        _one_of("streams", self.streams, STREAMS)
        for name in ("embed_dim", "cross_heads", "head_dim"):
            _whole(name, getattr(self, name))
        _whole("image_size_px", self.image_size_px, 4096)
        if self.cross_dim is not None:
            _whole("cross_dim", self.cross_dim)
        _divides("cross_heads", self.cross_heads, "cross_dim", self.inner_dim)
        for name in ("fusion", "qa_token"):
            _boolean(name, getattr(self, name))
        _one_of("pooling_start", self.pooling_start, POOLING_STARTS)
        if self.image_size_px % self.visual.stride_px:
            raise ConfigError(
                f"image_size_px: expected a multiple of {self.visual.stride_px}, the stride of the "
                f"visual tower, found {self.image_size_px}"
            )
        if self.fusion and self.streams != "image_and_prompt":
            raise ConfigError(f"fusion: expected false where streams is {self.streams!r}")
        if self.fusion and self.pooling_start == "clip":
            self._check_clip_start()
        if self.qa_token and self.streams == "image":
            raise ConfigError(
                "qa_token: expected false where streams is 'image': no prompt is read"
            )
        if not _is_number(self.dropout) or not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout: expected 0 to below 1, found {self.dropout!r}")
        for name in ("mean", "std"):
            values = getattr(self, name)
            if len(values) != 3 or not all(_is_number(v) and -10 < v < 10 for v in values):
                raise ConfigError(f"{name}: expected three numbers, found {values!r}")
        if min(self.std) <= 0:
            raise ConfigError(f"std: expected positive numbers, found {self.std!r}")

    def _check_clip_start(self) -> None:
        """That CLIP has values of these cells: its projections take the map, and no other one."""
        if self.inner_dim != self.visual.map_dim:
            raise ConfigError(
                f"cross_dim: expected {self.visual.map_dim}, the width of CLIP's values, where "
                f"pooling_start is 'clip', found {self.inner_dim}: leave it out, or start 'random'"
            )
        if isinstance(self.visual, ViTConfig) and not self.visual.map_has_values:
            raise ConfigError(
                "pooling_start: expected a map that CLIP's last attention reads (map_layer -2, "
                f"map_norm 'next'), found map_layer {self.visual.map_layer}, map_norm "
                f"{self.visual.map_norm!r}: take that map, or start 'random'"
            )

    @property
    def inner_dim(self) -> int:
        """Width of queries, keys and values of the cross-modality pooling."""
        return self.visual.map_dim if self.cross_dim is None else self.cross_dim

    @property
    def grid(self) -> int:
        """Cells on a side of the map."""
        return self.image_size_px // self.visual.stride_px

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens that are left for the prompt beside SOT, EOT and [QA]."""
        return self.text.context_length - 2 - int(self.qa_token)

    @classmethod
    def rn50(cls, **changes: Any) -> IPIQAConfig:
        """The published model: CLIP RN50 at 512 px."""
        return cls(**changes)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON form; ``visual.kind`` says which tower it is."""
        data = asdict(self)
        kind = "resnet" if isinstance(self.visual, ResNetConfig) else "vit"
        data["visual"] = {"kind": kind, **data["visual"]}
        return _plain(data)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IPIQAConfig:
        """Inverse of :meth:`to_json`; a key that is not known raises ConfigError."""
        data = dict(_table("config", data))
        visual = dict(_table("visual", data.pop("visual", None)))
        kind = visual.pop("kind", None)
        _one_of("visual.kind", kind, ("resnet", "vit"))
        tower = _made(ResNetConfig if kind == "resnet" else ViTConfig, visual, "visual")
        text = _made(TextConfig, dict(_table("text", data.pop("text", None))), "text")
        return _made(cls, {**data, "visual": tower, "text": text}, "config")


def _made(kind: type, data: dict[str, Any], name: str) -> Any:
    known = {entry.name for entry in fields(kind)}
    if unknown := set(data) - known:
        raise ConfigError(f"{name}: no setting is called {min(unknown, key=str)!r}")
    if missing := known - set(data):  # a file says everything that makes a score
        raise ConfigError(f"{name}: expected the setting {min(missing)!r}, found none")
    return kind(**data)


def _table(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name}: expected a table, found {type(value).__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(name: str, value: Any, most: int = _MOST) -> None:
    if not _is_int(value) or not 1 <= value <= most:
        raise ConfigError(f"{name}: expected a whole number from 1 to {most}, found {value!r}")


def _boolean(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise ConfigError(f"{name}: expected true or false, found {value!r}")


def _one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name}: expected one of {list(allowed)}, found {value!r}")


def _divides(name: str, part: int, whole_name: str, whole: int) -> None:
    if whole % part:
        raise ConfigError(f"{name}: expected a divisor of {whole_name} ({whole}), found {part}")
