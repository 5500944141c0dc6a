"""A critic under ComfyUI's model management: moved, offloaded and freed with the other models.

Shapes: images [B,3,H,W] float in 0..1; all scores [B].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import comfy.model_management as model_management
import comfy.model_patcher
import torch
from torch import Tensor, nn

from ..eliq import Scorer, Scores, load_scorer
from ..eliq.scorer.devices import default_batch_px
from .batch_cost import cost_of
from .critic_memory import module_bytes
from .critic_source import CriticSource, weight_bytes
from .transformers_version import check_transformers

__all__ = ["ManagedCritic", "embedded_critic", "load_managed"]

_LARGE_BYTES = 1 << 30  # of weights on disk
_SHARE_OF_MEMORY = 8  # a batch may take one eighth of the device beside the weights


class CriticWeights(nn.Module):
    """Every weight of a critic in one module, as ComfyUI's patchers want it.

    A transformers model cannot be handed to them itself: its `device` cannot be set.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, module in modules.items():
            self.add_module(name, module)
        self.device = None  # the patcher keeps it


class ManagedCritic:
    """A scorer whose weights lie where ComfyUI puts them.

    Args:
        scorer: an `eliq.Scorer` or an `eliq.ip_iqa.IPIQA`, on the CPU. From here on it may only be
            used through this object.

    Attributes:
        patcher: ComfyUI's handle; what finds it on an output or in another model's
            `set_additional_models` can load and free the critic.
        source: "embedded", a folder or an id.
        fingerprint: sha256 of all that makes its scores, None where it is not known.
    """

    def __init__(self, scorer: Any) -> None:
        self.source = scorer.source or "in memory"
        self.fingerprint = scorer.fingerprint
        self._cost = cost_of(scorer)
        self.scorer = scorer
        weights = CriticWeights(self._cost.weights)
        self.patcher = comfy.model_patcher.CoreModelPatcher(
            weights,
            load_device=_run_device(),
            offload_device=model_management.text_encoder_offload_device(),
            size=module_bytes(weights),
        )
        self._is_probed = False

    @property
    def device(self) -> torch.device:
        """Where it runs when it runs."""
        return self.patcher.load_device

    def estimate_bytes(self, batch: int, height: int, width: int) -> int:
        """Memory beside the weights that scoring ``batch`` images of this size takes at most."""
        cells = self._cost.num_cells([(height, width)])
        return self._cost.bytes_of(cells * min(batch, self._at_once(cells)))

    def _at_once(self, cells: int) -> int:
        """How many images of so many cells go through the model together, at least one."""
        count = max(1, default_batch_px(self.device) // (cells * self._cost.cell_px))
        room = model_management.get_total_memory(self.device) // _SHARE_OF_MEMORY
        while count > 1 and self._cost.bytes_of(count * cells) > room:
            count //= 2
        return count

    def load(self, memory_bytes: int = 0) -> None:
        """Bring the weights to the device, as ComfyUI does with every model before its use.

        Raises:
            BackboneError: at the first time, answers of this model on this device that cannot be
                trusted.
        """
        model_management.load_models_gpu(
            [self.patcher], memory_required=memory_bytes, force_full_load=True
        )
        if not self._is_probed:
            self._cost.probe()
            self._is_probed = True

    def score(
        self,
        images: Tensor | Sequence[Tensor],
        prompts: str | None | Sequence[str | None] = None,
        *,
        on_batch: Callable[[int], None] | None = None,
    ) -> Scores:
        """Score images [B,3,H,W], or a list of [3,H,W] of mixed sizes; an interrupt is heard.

        Args:
            prompts: None, one text for all, or one an image.
            on_batch: called with the number of images done, after each batch.

        Returns:
            `eliq.Scores` on the CPU, in order. An image that cannot be scored is a row of NaN.

        Raises:
            ImageError, PromptError: as `eliq.Scorer.score`.
            BackboneError: see `load`.
        """
        images = list(images)
        texts = [prompts] * len(images) if prompts is None or isinstance(prompts, str) else prompts
        if not images:
            return Scores.empty_rows(0)
        cells = self._cost.num_cells({tuple(image.shape[-2:]) for image in images})
        size = self._at_once(cells)
        budget_px = default_batch_px(self.device)  # the scorer was made on the CPU, with its budget
        self.load(self._cost.bytes_of(cells * min(size, len(images))))
        parts = []
        for start in range(0, len(images), size):
            model_management.throw_exception_if_processing_interrupted()
            part = slice(start, start + size)
            scores = self.scorer.score(images[part], list(texts[part]), max_batch_px=budget_px)
            parts.append(scores.to("cpu"))
            if on_batch is not None:
                on_batch(min(start + size, len(images)))
        return Scores.concatenate(parts)

    def info(self) -> dict[str, Any]:
        """What it is, in plain JSON: `eliq.Scorer.info`."""
        return self.scorer.info()


@lru_cache(maxsize=1)
def embedded_critic() -> ManagedCritic:
    """The critic in the package, 13 MB, loaded once: what nodes use when none is linked."""
    check_transformers()
    return ManagedCritic(Scorer.from_pretrained(device="cpu", probe=False))


def load_managed(source: CriticSource, *, dtype: str = "auto") -> ManagedCritic:
    """Load the weights of ``source`` to the CPU; ComfyUI moves them when they are needed.

    Args:
        dtype: "auto", "float32", "bfloat16" or "float16".

    Raises:
        EliqError: files that are damaged, refused, or of another kind of model.
    """
    if source.folder is None and dtype in ("auto", "float32"):
        return embedded_critic()
    check_transformers()
    if source.is_ip_iqa:  # float32, however large: in which it was trained
        scorer = load_scorer(source.folder, device="cpu", dtype=None if dtype == "auto" else dtype)
        scorer.source = source.name
        return ManagedCritic(scorer)
    options = {"device": "cpu", "dtype": _dtype(source, dtype), "probe": False}
    if source.is_zero_shot:
        scorer = Scorer.zero_shot(source.folder, **options)
    else:
        scorer = Scorer.from_pretrained(
            source.folder, backbone_dir=source.backbone_folder, **options
        )
    scorer.source = source.name  # not a path of this machine: it goes into records
    return ManagedCritic(scorer)


def _run_device() -> torch.device:
    """Where ComfyUI runs its models; with --novram the CPU, where its text encoders run then.

    It would leave the weights in RAM and expect layers of its own, which fetch them one by one.
    """
    if model_management.vram_state == model_management.VRAMState.NO_VRAM:
        return torch.device("cpu")
    return model_management.get_torch_device()


def _dtype(source: CriticSource, dtype: str) -> str:
    """ "auto": half precision for large models, off the CPU and where the device knows it."""
    if dtype != "auto":
        return dtype
    device = _run_device()
    is_large = source.folder is not None and weight_bytes(source) > _LARGE_BYTES
    can_half = not model_management.is_device_cpu(device) and model_management.supports_cast(
        device, torch.bfloat16
    )
    return "bfloat16" if is_large and can_half else "float32"
