"""The scorer: backbone, head and calibration behind one call.

Shapes: B images; everything in a result is float32 [B], in the order of the input.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from .. import __version__
from ..backbone import Backbone
from ..calibration import Calibration
from ..checkpoint import (
    Checkpoint,
    HubWeights,
    fingerprint,
    load_checkpoint,
    locate_checkpoint,
    read_config,
    save_checkpoint,
)
from ..checkpoint.location import BACKBONE_FILES, resolve_directory
from ..errors import BackboneError, CheckpointError, ConfigError
from ..head import ScoringHead
from ..hub import check_is_qwen_vl
from ..scores import SCORE_NAMES, Scores
from .devices import choose_device, choose_dtype, default_batch_px
from .judge import CriticJudge
from .run import ScoringRun

if TYPE_CHECKING:
    from ..images import LoadedImage
    from ..instructions import Instructions
    from ..patches import PatchConfig

__all__ = ["Scorer"]

_LARGE_BYTES = 1 << 30  # of weights on disk: above it, half precision is the default off the CPU
_NO_CALIBRATION = {name: Calibration() for name in SCORE_NAMES}


class Scorer:
    """Scores images for visual quality and for alignment with their prompts.

    Args:
        backbone: where its weights lie, the scorer runs.
        head: None = zero-shot: the low/high margins of the bare model are the raw scores.
        calibration: "visual_quality" and "alignment": raw -> 0..1; None = sigmoid(raw).
        mos_calibration: the same on opinion scores, kept beside; not used by `score`.
        training: facts for the model card.
        hub: where the backbone's weights stay when the critic is saved; None = in the checkpoint.
        source: directory or id that it came from, for `info`.
        directory: the checkpoint that it was loaded from.
        max_batch_px: pixels after resizing that go through the model at once; None = by device.

    Raises:
        ConfigError: parts that do not belong together.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: ScoringHead | None = None,
        *,
        calibration: dict[str, Calibration] | None = None,
        mos_calibration: dict[str, Calibration] | None = None,
        training: dict[str, Any] | None = None,
        hub: HubWeights | None = None,
        source: str | None = None,
        directory: Path | None = None,
        max_batch_px: int | None = None,
    ) -> None:
        calibration = dict(calibration or _NO_CALIBRATION)
        if set(calibration) != set(SCORE_NAMES):
            raise ConfigError(f"calibration: expected {SCORE_NAMES}, found {tuple(calibration)}")
        if head is not None and head.config.hidden_size != backbone.hidden_size:
            raise ConfigError(
                f"head: expected hidden_size {backbone.hidden_size}, that of the backbone, found "
                f"{head.config.hidden_size}"
            )
        self.backbone = backbone.eval()
        self.head = None if head is None else head.to(backbone.device, torch.float32).eval()
        self.calibration = calibration
        self.mos_calibration = dict(mos_calibration or {})
        self.training = dict(training or {})
        self.source = source
        self.directory = directory
        self._hub = hub
        self.max_batch_px = _checked_budget(max_batch_px) or default_batch_px(backbone.device)
        self._fingerprint: str | None = None

    @classmethod
    def from_pretrained(
        cls,
        source: str | os.PathLike[str] | None = None,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        max_batch_px: int | None = None,
        probe: bool = True,
        backbone_dir: Path | None = None,
    ) -> Scorer:
        """A trained critic: the embedded one (None), a checkpoint directory, or a hub id.

        Args:
            revision: commit, branch or tag, for a hub id.
            device: None = CUDA where there is one, else the CPU.
            dtype: of the backbone, "float32", "bfloat16" or "float16"; None = float32, or
                bfloat16 for more than 1 GiB of weights off the CPU. The head runs in float32.
            max_batch_px: pixels after resizing that go through the model at once.
            probe: prove on two small images that one packed pass equals three separate ones.
            backbone_dir: for a critic whose backbone stays on the hub, where it lies on this
                machine; None = the hub's cache, or the hub.

        Raises:
            CheckpointError: missing, damaged, unsafe, or of another version.
            BackboneError: the backbone cannot be loaded or fails its probe.
            ConfigError: a device or dtype that there is not.
        """
        chosen = choose_device(device)
        directory = locate_checkpoint(source, revision=revision)
        config = read_config(directory)
        weights = (directory / name for name in config.weight_files)
        size = sum(path.stat().st_size for path in weights if path.is_file())
        is_large = not config.is_inside or size > _LARGE_BYTES
        checkpoint = load_checkpoint(
            directory,
            device=chosen,
            dtype=choose_dtype(dtype, chosen, is_large=is_large),
            backbone_dir=backbone_dir,
        )
        scorer = cls(
            checkpoint.backbone,
            checkpoint.head,
            calibration=checkpoint.calibration,
            mos_calibration=checkpoint.mos_calibration,
            training=checkpoint.training,
            hub=checkpoint.hub,
            source="embedded" if source is None else os.fspath(source),
            directory=directory,
            max_batch_px=max_batch_px,
        )
        if probe:
            scorer.backbone.probe()
        return scorer

    @classmethod
    def zero_shot(
        cls,
        model_id: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        instructions: Instructions | None = None,
        patches: PatchConfig | None = None,
        max_batch_px: int | None = None,
        probe: bool = True,
    ) -> Scorer:
        """A bare Qwen-VL model from the hub or a directory: no trained head, no calibration.

        Raw visual quality is the mean of the technical and the aesthetic margin, raw alignment
        the alignment margin; a score is the sigmoid of it. Order means something, 0.5 does not.
        Arguments are those of `from_pretrained`.

        Raises:
            BackboneError: there is no such model, or it fails its probe.
            ConfigError: a device or dtype that there is not.
        """
        chosen = choose_device(device)
        named = {"what": "a Qwen-VL model", "revision": revision, "error": BackboneError}
        # The small file first: gigabytes of a model of another kind are not fetched to be refused.
        check_is_qwen_vl(resolve_directory(model_id, files=("config.json",), **named))
        directory = resolve_directory(model_id, files=BACKBONE_FILES, **named)
        backbone = Backbone.from_pretrained(
            str(directory),
            dtype=choose_dtype(dtype, chosen, is_large=True),
            device=chosen,
            instructions=instructions,
            patches=patches,
            local_files_only=True,
        )
        commit = directory.name if directory.parent.name == "snapshots" else revision
        source = os.fspath(model_id) + (f"@{commit}" if commit else "")
        scorer = cls(backbone.requires_grad_(False), source=source, max_batch_px=max_batch_px)
        if probe:
            scorer.backbone.probe()
        return scorer

    def save_pretrained(
        self,
        directory: str | os.PathLike[str],
        *,
        storage_dtype: torch.dtype | None = None,
        card: str | None = None,
    ) -> Path:
        """Save the critic; loaded again in the dtype it has now, it gives the same scores.

        They are equal to the last bit where the type on disk holds that dtype: always with
        storage_dtype None. Loaded in another dtype, a critic answers as that dtype rounds.

        Args:
            storage_dtype: the backbone's type on disk; None = as in memory.
            card: text of README.md; None = that of the checkpoint it was loaded from.

        Raises:
            CheckpointError: a zero-shot scorer, or a directory that is no checkpoint.
        """
        if self.head is None:
            raise CheckpointError(
                "expected a critic with a trained head to save, found a zero-shot scorer: "
                "save the name of its model instead"
            )
        old_card = self.directory / "README.md" if self.directory else None
        if card is None and old_card is not None and old_card.is_file():
            card = old_card.read_text(encoding="utf-8")
        checkpoint = Checkpoint(
            self.backbone,
            self.head,
            self.calibration,
            self.mos_calibration,
            self.training,
            self._hub,
        )
        return save_checkpoint(directory, checkpoint, storage_dtype=storage_dtype, card=card)

    def score(
        self,
        images: Any,
        prompts: Any = None,
        *,
        on_error: str = "flag",
        max_batch_px: int | None = None,
        progress: bool = False,
    ) -> Scores:
        """Score images of any kind and of mixed sizes.

        Args:
            images: path, PIL image, float tensor [3,H,W] or [B,3,H,W] in [0,1], or a list.
            prompts: None, one text for all, or a list of texts and None, one an image.
            on_error: "flag" = an image that cannot be scored becomes a row of NaN that says why,
                "raise" = it raises.
            max_batch_px: for this call, instead of the scorer's own.
            progress: a bar on stderr where that is a terminal.

        Returns:
            `Scores` on the device of the backbone. Without a prompt, alignment is NaN in the
            score, the raw score and the aspect, and the row is flagged ``no_prompt``.

        Raises:
            ImageError: an image of a wrong type, shape or range, or with on_error="raise" any
                that cannot be read.
            PromptError: prompts of a wrong type or number.
        """
        return self._run(on_error, max_batch_px).score(images, prompts, progress=progress)

    def stream(
        self,
        images: Any,
        prompts: Any = None,
        *,
        on_error: str = "flag",
        max_batch_px: int | None = None,
    ) -> Iterator[Scores]:
        """As `score`, but rows come as soon as they are there: for long runs.

        Each part holds the next rows of the input, about two batches of them or 64, so that like
        sizes can still be put together. A failed image moves no border between parts: here too
        it leaves the scores of the others as they are, to the last bit.

        Raises:
            ImageError, PromptError: as `score`; what types tell is raised by this call itself.
        """
        return self._run(on_error, max_batch_px).stream(images, prompts)

    def score_loaded(
        self, images: list[LoadedImage], prompts: list[str | None], *, bar: Any
    ) -> Scores:
        """As `score`, of images that other processes have decoded; all are in memory at once.

        Args:
            bar: ``bar.update(n)`` is called with the number of images of each finished batch.
        """
        return self._run("flag", None).score_loaded(images, prompts, bar)

    def _run(self, on_error: str, max_batch_px: int | None) -> ScoringRun:
        if on_error not in ("flag", "raise"):
            raise ConfigError(f"on_error: expected 'flag' or 'raise', found {on_error!r}")
        return ScoringRun(
            CriticJudge(self.backbone, self.head, self.calibration),
            _checked_budget(max_batch_px) or self.max_batch_px,
            is_raising=on_error == "raise",
        )

    @property
    def is_zero_shot(self) -> bool:
        """Whether the scores are the bare model's margins."""
        return self.head is None

    @property
    def fingerprint(self) -> str | None:
        """sha256 of all that makes a score: of the checkpoint, or of a bare model's name.

        None for a critic in memory that was never saved.
        """
        if self._fingerprint is None:
            if self.directory is not None:
                self._fingerprint = fingerprint(self.directory)
            elif self.head is None:
                facts = {
                    "source": self.source,
                    "instructions": self.backbone.instructions.to_json(),
                    "patches": self.backbone.patches.to_json(),
                    "max_prompt_tokens": self.backbone.max_prompt_tokens,
                }
                text = json.dumps(facts, sort_keys=True).encode()
                self._fingerprint = hashlib.sha256(text).hexdigest()
        return self._fingerprint

    def info(self) -> dict[str, Any]:
        """What this scorer is, as plain JSON."""
        backbone, config = self.backbone, self.backbone.model.config
        return {
            "source": self.source,
            "kind": "zero-shot" if self.head is None else "trained critic",
            "fingerprint": self.fingerprint,
            "library_version": __version__,
            "backbone": {
                "model_type": config.model_type,
                "hub_id": self._hub.id if self._hub else None,
                "revision": self._hub.revision if self._hub else None,
                "num_parameters": sum(p.numel() for p in backbone.parameters()),
                "hidden_size": backbone.hidden_size,
                "is_packed": backbone.is_packed,
            },
            "head": None
            if self.head is None
            else {
                "num_parameters": sum(p.numel() for p in self.head.parameters()),
                **self.head.config.to_json(),
            },
            "device": str(backbone.device),
            "dtype": self._dtype_name(),
            "max_batch_px": self.max_batch_px,
            "patches": backbone.patches.to_json(),
            "max_prompt_tokens": backbone.max_prompt_tokens,
            "instructions": backbone.instructions.to_json(),
            "calibration": {n: c.to_json() for n, c in self.calibration.items()},
            "mos_calibration": {n: c.to_json() for n, c in self.mos_calibration.items()},
            "training": self.training,
        }

    def _dtype_name(self) -> str:
        return str(self.backbone.dtype).removeprefix("torch.")

    def __repr__(self) -> str:
        kind = "zero-shot " if self.head is None else ""
        millions = sum(p.numel() for p in self.backbone.parameters()) / 1e6
        return (
            f"<Scorer {kind}{self.source or 'in memory'}: {millions:.1f}M parameters, "
            f"{self._dtype_name()} on {self.backbone.device}>"
        )


def _checked_budget(max_batch_px: int | None) -> int | None:
    is_count = isinstance(max_batch_px, int) and not isinstance(max_batch_px, bool)
    if max_batch_px is not None and (not is_count or max_batch_px < 1):
        raise ConfigError(f"max_batch_px: expected a whole number above 0, found {max_batch_px!r}")
    return max_batch_px
