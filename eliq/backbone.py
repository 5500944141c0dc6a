"""The backbone: a Qwen-VL model asked three questions about an image in one forward pass.

Shapes: B images, L tokens of a row, Q questions, h hidden size of the language model.

Qwen3-VL answers all three in one packed row (:mod:`.packing`). Other Qwen-VL architectures, such
as those with linear attention, in which a mask cannot separate the questions, take three passes.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from .errors import BackboneError
from .instructions import ChatLayout, Instructions
from .packing import PackedRows, pack_rows
from .patch_projection import project_by_product
from .patches import PatchConfig, patchify, target_size
from .vision_grids import grid_arguments

__all__ = ["PACKED_MODEL_TYPES", "Backbone", "Embeddings", "ProbeReport"]

PACKED_MODEL_TYPES = ("qwen3_vl", "qwen3_vl_moe")


@dataclass(frozen=True)
class Embeddings:
    """What the backbone says of B images, float32.

    Attributes:
        technical, aesthetic, alignment: z_tec, z_aes, z_ali [B,h] (Eqs. 6-8), the state of the
            last token of each question after the final norm.
        margins: [B,3], logit(high) - logit(low) in the order of ``ASPECTS``.
    """

    technical: Tensor
    aesthetic: Tensor
    alignment: Tensor
    margins: Tensor


@dataclass(frozen=True)
class ProbeReport:
    """Result of :meth:`Backbone.probe`.

    ``max_difference`` is the largest distance of a packed embedding from that of a separate pass,
    as a share of the latter's length; ``spread`` the change of the margins between two images.
    """

    packed: bool
    max_difference: float
    spread: float


class Backbone(nn.Module):
    """A Qwen-VL model, its tokenizer, questions and preprocessing.

    Args:
        model: a ``Qwen3VLForConditionalGeneration``, or another Qwen-VL with ``model.model`` and
            ``model.lm_head``.
        tokenizer: the ``tokenizers.Tokenizer`` that belongs to it.
        instructions: the three questions.
        patches: the preprocessing; its patch sizes must be those of the vision tower.
        max_prompt_tokens: prompts are cut to this many tokens.

    Raises:
        BackboneError: parts that do not belong together.
    """

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Tokenizer,
        *,
        instructions: Instructions | None = None,
        patches: PatchConfig | None = None,
        max_prompt_tokens: int = 512,
    ) -> None:
        super().__init__()
        project_by_product(model)
        self.model = model
        self.tokenizer = tokenizer
        self.patches = patches or patches_of(model.config.vision_config)
        self.instructions = instructions or Instructions()
        self.max_prompt_tokens = max_prompt_tokens
        self.layout = ChatLayout(tokenizer, self.instructions, max_prompt_tokens=max_prompt_tokens)
        self.is_packed = model.config.model_type in PACKED_MODEL_TYPES
        self._check()

    def _check(self) -> None:
        config, vision = self.model.config, self.model.config.vision_config
        found = (self.patches.patch_px, self.patches.temporal, self.patches.merge)
        wanted = (vision.patch_size, vision.temporal_patch_size, vision.spatial_merge_size)
        if found != wanted:
            raise BackboneError(
                f"patches (patch_px, temporal, merge) must be {wanted} for this backbone, "
                f"not {found}: use the preprocessing that belongs to it"
            )
        if config.image_token_id != self.layout.image_token_id:
            raise BackboneError(
                f"the tokenizer's <|image_pad|> must be id {config.image_token_id}, "
                f"not {self.layout.image_token_id}: use the tokenizer that belongs to the backbone"
            )
        if self.is_packed and self._attention() not in ("sdpa", "eager"):
            raise BackboneError(
                "packing needs sdpa attention in the language model, not "
                f"{self._attention()!r}: load the backbone with attn_implementation='sdpa'"
            )

    def _attention(self) -> str:
        return self.model.model.language_model.config._attn_implementation

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        tokenizer: Tokenizer,
        *,
        instructions: Instructions | None = None,
        patches: PatchConfig | None = None,
        max_prompt_tokens: int = 512,
        seed: int | None = 0,
    ) -> Backbone:
        """A Qwen3-VL (or its MoE) with random weights, float32, from a plain JSON config.

        The global random state is left as it was; ``seed`` None leaves the weights uninitialised
        only as far as the caller's own context (such as ``torch.device("meta")``) does.
        """
        config_class, model_class = _classes(config.get("model_type", "qwen3_vl"))
        model_config = config_class(**{k: v for k, v in config.items() if k != "model_type"})
        model_config._attn_implementation = "sdpa"
        with torch.random.fork_rng(devices=[]):
            if seed is not None:
                torch.manual_seed(seed)
            model = model_class(model_config)
        return cls(
            model.eval(),
            tokenizer,
            instructions=instructions,
            patches=patches,
            max_prompt_tokens=max_prompt_tokens,
        )

    @classmethod
    def from_pretrained(
        cls,
        model_id: str,
        *,
        revision: str | None = None,
        dtype: torch.dtype = torch.bfloat16,
        device: torch.device | str = "cpu",
        instructions: Instructions | None = None,
        patches: PatchConfig | None = None,
        max_prompt_tokens: int = 512,
        local_files_only: bool = False,
    ) -> Backbone:
        """A Qwen-VL from the hub, its cache, or a directory in the hub's layout.

        Remote code is never run.

        Raises:
            BackboneError: nothing to load under that name, or a model that is no Qwen-VL.
        """
        from .hub import load_hub_model

        model, tokenizer, image_mean, image_std = load_hub_model(
            model_id, revision=revision, dtype=dtype, local_files_only=local_files_only
        )
        if patches is None:
            patches = patches_of(model.config.vision_config, mean=image_mean, std=image_std)
        return cls(
            model.eval(),
            tokenizer,
            instructions=instructions,
            patches=patches,
            max_prompt_tokens=max_prompt_tokens,
        ).to(device)

    @property
    def hidden_size(self) -> int:
        """h, the width of an embedding."""
        return self.model.config.text_config.hidden_size

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.model.lm_head.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return self.model.lm_head.weight.dtype

    def num_tokens(self, height: int, width: int) -> int:
        """Image tokens that the language model reads for an image of this size in px."""
        h, w = target_size(height, width, self.patches)
        return (h // self.patches.factor_px) * (w // self.patches.factor_px)

    def prompt_is_truncated(self, prompt: str) -> bool:
        """Whether a prompt is longer than ``max_prompt_tokens``."""
        return self.layout.prompt_ids(prompt)[1]

    def pixels(self, images: list[Tensor]) -> tuple[Tensor, Tensor]:
        """``pixel_values`` of RGB images [3,H,W], float in [0,1] or uint8; grids on the CPU."""
        return patchify([image.to(self.device) for image in images], self.patches)

    def pack(self, grid_thw: Tensor, suffixes: list[list[list[int]]]) -> PackedRows:
        """Rows for images of these grids, each with its own suffixes of token ids."""
        merge = self.patches.merge
        grids = [(rows // merge, columns // merge) for _, rows, columns in grid_thw.tolist()]
        return pack_rows(self.layout, grids, suffixes).to(self.device)

    def hidden_states(self, rows: PackedRows, pixel_values: Tensor, grid_thw: Tensor) -> Tensor:
        """States [B,L,h] of every token of packed rows, after the final norm.

        ``model.model`` is called rather than the causal model: the stack's own
        ``hidden_states[-1]`` is before the final norm in transformers 4.57 and after it from 5.0.
        """
        if not self.is_packed:
            raise BackboneError(f"{self.model.config.model_type} cannot be packed")
        mask = rows.mask
        if self._attention() == "eager":
            # Eager attention adds the mask to the logits: a boolean one would be silently wrong.
            dtype = self.dtype
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        return self.model.model(
            input_ids=rows.input_ids,
            attention_mask=mask,
            position_ids=rows.position_ids,
            pixel_values=pixel_values,
            use_cache=False,
            **grid_arguments(self.model.model, grid_thw, self.device),
        ).last_hidden_state

    def read(self, hidden: Tensor, rows: PackedRows) -> Tensor:
        """States [B,Q,h] at the last token of each suffix."""
        index = rows.last[:, :, None].expand(-1, -1, hidden.shape[-1])
        return hidden.gather(1, index)

    def margins(self, states: Tensor) -> Tensor:
        """logit(high) - logit(low), float32, of states [...,h] -> [...].

        Only the two rows of the language-model head are used, so it is never multiplied out.
        """
        weight = self.model.lm_head.weight
        direction = weight[self.layout.high_id].float() - weight[self.layout.low_id].float()
        return (states.float() * direction).sum(-1)  # a product `@` is in bfloat16 under autocast

    def label_logits(self, states: Tensor) -> Tensor:
        """Logits over the whole vocabulary [...,V] of states [...,h], for Eq. 5."""
        return self.model.lm_head(states)

    def forward(self, images: list[Tensor], prompts: list[str | None]) -> Embeddings:
        """Embeddings (Eqs. 6-8) and low/high margins of B images, with gradients.

        Args:
            images: [3,H,W] tensors, RGB, float in [0,1] or uint8, sizes may differ.
            prompts: one for each image; None and "" ask about an empty text.

        Returns:
            :class:`Embeddings`, float32.
        """
        pixel_values, grid_thw = self.pixels(images)
        suffixes = [self.layout.suffixes(prompt) for prompt in prompts]
        if self.is_packed:
            rows = self.pack(grid_thw, suffixes)
            states = self.read(self.hidden_states(rows, pixel_values, grid_thw), rows)
        else:
            states = self.separate_states(pixel_values, grid_thw, suffixes)
        return Embeddings(*states.float().unbind(1), self.margins(states))

    @torch.inference_mode()
    def embed(self, images: list[Tensor], prompts: list[str | None]) -> Embeddings:
        """:meth:`forward` without gradients."""
        return self(images, prompts)

    def separate_states(
        self, pixel_values: Tensor, grid_thw: Tensor, suffixes: list[list[list[int]]]
    ) -> Tensor:
        """States [B,Q,h], every question in a plain causal pass of its own.

        The exact slow path: the model's own mask and positions, no padding, one row at a time.
        """
        counts = grid_thw.prod(-1).tolist()
        states = []
        for pixels, grid, row in zip(pixel_values.split(counts), grid_thw, suffixes, strict=True):
            num_image_tokens = int(grid.prod()) // self.patches.merge**2
            prefix = [
                *self.layout.prefix_head,
                *[self.layout.image_token_id] * num_image_tokens,
                *self.layout.prefix_tail,
            ]
            states.append(
                torch.stack([self._one_pass(pixels, grid, [*prefix, *ids]) for ids in row])
            )
        return torch.stack(states)

    def _one_pass(self, pixels: Tensor, grid: Tensor, ids: list[int]) -> Tensor:
        inner = self.model.model
        input_ids = torch.tensor([ids], device=self.device)
        kwargs: dict[str, Any] = {}
        if "mm_token_type_ids" in inspect.signature(inner.get_rope_index).parameters:  # from 5.x
            kwargs["mm_token_type_ids"] = (input_ids == self.layout.image_token_id).int()
        return inner(
            input_ids=input_ids,
            attention_mask=torch.ones_like(input_ids),
            pixel_values=pixels,
            image_grid_thw=grid[None].to(self.device),
            use_cache=False,
            **kwargs,
        ).last_hidden_state[0, -1]

    @torch.inference_mode()
    def probe(self, tolerance: float | None = None) -> ProbeReport:
        """Prove on two small images that packed equals separate, and that answers vary.

        Args:
            tolerance: largest allowed distance of a packed embedding from its separate one, as a
                share of the length of the latter; by default 1e-5 in float32 on the CPU, 1e-3 in
                float32 elsewhere (kernels may round products to TF32), 0.1 in half precision. A
                wrong mask gives 0.5 and more.

        Raises:
            BackboneError: a backbone whose scores could not be trusted.
        """
        if tolerance is None:
            exact = 1e-5 if self.device.type == "cpu" else 1e-3
            tolerance = exact if self.dtype == torch.float32 else 0.1
        side = 2 * self.patches.factor_px
        ramp = torch.linspace(0, 1, side).expand(3, side, side).clone()
        ripple = 0.5 + 0.5 * torch.sin(torch.arange(3 * side * (side + 32)) * 12.9898)
        images = [ramp.to(self.device), ripple.view(3, side, -1).to(self.device)]
        prompts = ["two red circles", "a blue square to the left of a dog"]
        pixel_values, grid_thw = self.pixels(images)
        suffixes = [self.layout.suffixes(prompt) for prompt in prompts]
        difference = 0.0
        with torch.autocast(self.device.type, enabled=False):
            separate = self.separate_states(pixel_values, grid_thw, suffixes).float()
            if self.is_packed:
                rows = self.pack(grid_thw, suffixes)
                packed = self.read(self.hidden_states(rows, pixel_values, grid_thw), rows).float()
                # By the length of the whole embedding: large models have a few outlier channels,
                # of which rounding alone is many times the root mean square.
                distance = (packed - separate).norm(dim=-1) / separate.norm(dim=-1)
                difference = float(distance.max())
        if not bool(torch.isfinite(separate).all()):
            raise BackboneError(
                "the backbone's answers must be finite, but its probe gave NaN: "
                "load it in bfloat16 or float32"
            )
        margins = self.margins(separate)
        spread = float((margins[0] - margins[1]).abs().max())
        if not spread > 0:
            raise BackboneError(
                "two different images got the same answer, so no score of this backbone means "
                "anything: its weights or this transformers version are broken"
            )
        if not difference <= tolerance:
            raise BackboneError(
                f"one packed pass must equal three separate ones to {tolerance:g}, but differs by "
                f"{difference:.2g}: this transformers version is not supported, please report it"
            )
        return ProbeReport(self.is_packed, difference, spread)


def _classes(model_type: str) -> tuple[type, type]:
    """Config and model class of a packed architecture."""
    import transformers

    names = {
        "qwen3_vl": ("Qwen3VLConfig", "Qwen3VLForConditionalGeneration"),
        "qwen3_vl_moe": ("Qwen3VLMoeConfig", "Qwen3VLMoeForConditionalGeneration"),
    }
    if model_type not in names:
        raise BackboneError(
            f"the backbone's model_type must be one of {PACKED_MODEL_TYPES}, not {model_type!r}"
        )
    config_name, model_name = names[model_type]
    return getattr(transformers, config_name), getattr(transformers, model_name)


def patches_of(
    vision_config: Any,
    *,
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5),
    std: tuple[float, float, float] = (0.5, 0.5, 0.5),
) -> PatchConfig:
    """The preprocessing that a stock vision tower expects, with ELIQ's pixel budget."""
    return PatchConfig(
        patch_px=vision_config.patch_size,
        temporal=vision_config.temporal_patch_size,
        merge=vision_config.spatial_merge_size,
        mean=mean,
        std=std,
    )
