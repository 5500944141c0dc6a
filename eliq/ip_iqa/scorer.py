"""IP-IQA behind the same door as the label-free critic: images and prompts in, `Scores` out.

What means the same stands in the same place, what this model does not have is NaN and flagged:

    raw                      predicted ratings, on the scale of the raters
    visual_quality, alignment  the same between the ends of that scale: 0 the lowest opinion
                             possible, 1 the highest; 0.5 is its middle, not the point where a good
                             and a degraded image are equally likely, as it is for a critic
    aspects                  NaN: there is no language model that was asked

Shapes: B images of a batch.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .. import __version__
from ..checkpoint.config import CARD_NAME
from ..errors import CheckpointError, ConfigError
from ..images import LoadedImage
from ..scorer.devices import choose_device, choose_dtype, default_batch_px
from ..scorer.judge import NUM_COLUMNS
from ..scorer.run import ScoringRun
from ..scores import SCORE_NAMES, Scores
from .checkpoint import StoredIPIQA, fingerprint, load_stored, locate_stored, save_stored
from .model import IPIQAModel
from .pixels import model_pixels
from .scale import RatingScale
from .tokens import PromptTokenizer

__all__ = ["IPIQA", "IPIQA_FLAGS"]

_FLAG_OF_OUTPUTS = {
    ("visual_quality", "alignment"): (),
    ("visual_quality",): ("alignment_not_predicted",),
    ("alignment",): ("visual_quality_not_predicted",),
    ("overall",): ("overall_score",),
}
#: Words that `IPIQA.score` may put to every image, beside those of a critic.
IPIQA_FLAGS = frozenset(flag for flags in _FLAG_OF_OUTPUTS.values() for flag in flags)


class IPIQA:
    """Predicts the ratings of an image and its prompt.

    Args:
        model: where its weights lie, the scorer runs; float32. It is put into eval mode.
        tokenizer: of its text tower.
        scale: for each output of the model the lowest and the highest rating possible.
        training: facts for the model card.
        source: directory or id that it came from, for `info`.
        directory: the checkpoint that it was loaded from.
        max_batch_px: pixels after resizing that go through the model at once; None = by device.

    Raises:
        ConfigError: parts that do not belong together.
    """

    def __init__(
        self,
        model: IPIQAModel,
        tokenizer: Tokenizer,
        *,
        scale: dict[str, RatingScale],
        training: dict[str, Any] | None = None,
        source: str | None = None,
        directory: Path | None = None,
        max_batch_px: int | None = None,
    ) -> None:
        if set(scale) != set(model.config.outputs):
            raise ConfigError(
                f"scale: expected one for each of {model.config.outputs}, found {sorted(scale)}"
            )
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.encoder = PromptTokenizer(tokenizer, model.config)
        self.scale = dict(scale)
        self.training = dict(training or {})
        self.source = source
        self.directory = directory
        self.max_batch_px = _checked_budget(max_batch_px) or default_batch_px(self.device)
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
    ) -> IPIQA:
        """A trained model from a checkpoint directory or a hub id; none comes with the package.

        Args:
            source: the directory or hub id; None is refused, where a critic has a default.
            revision: commit, branch or tag, for a hub id.
            device: None = CUDA where there is one, else the CPU.
            dtype: None or "float32", in which the model was trained and runs.
            max_batch_px: pixels after resizing that go through the model at once.

        Raises:
            CheckpointError: missing, damaged, unsafe, or of another kind or version.
            ConfigError: a device that there is not, or another dtype.
        """
        if source is None:
            raise CheckpointError(
                "expected a directory or hub id of an IP-IQA model, found none: it is trained on "
                "ratings, and no such weights come with the package"
            )
        chosen = choose_device(device)
        if choose_dtype(dtype, chosen, is_large=False) != torch.float32:
            raise ConfigError(f"dtype: expected float32, in which IP-IQA runs, found {dtype!r}")
        directory = locate_stored(source, revision=revision)
        stored = load_stored(directory, device=chosen)
        return cls(
            stored.model,
            stored.tokenizer,
            scale=stored.scale,
            training=stored.training,
            source=os.fspath(source),
            directory=directory,
            max_batch_px=max_batch_px,
        )

    def save_pretrained(
        self, directory: str | os.PathLike[str], *, card: str | None = None
    ) -> Path:
        """Save the model; loaded again it gives the same scores, to the last bit.

        Args:
            card: text of README.md; None = that of the checkpoint it was loaded from.

        Raises:
            CheckpointError: a directory that holds something else, or weights that are not finite.
        """
        old_card = self.directory / CARD_NAME if self.directory else None
        if card is None and old_card is not None and old_card.is_file():
            card = old_card.read_text(encoding="utf-8")
        stored = StoredIPIQA(self.model, self.tokenizer, self.scale, self.training)
        return save_stored(directory, stored, card=card)

    def score(
        self,
        images: Any,
        prompts: Any = None,
        *,
        on_error: str = "flag",
        max_batch_px: int | None = None,
        progress: bool = False,
    ) -> Scores:
        """Score images of any kind and of mixed sizes; each is squashed to the model's square.

        Without a prompt alignment is NaN and the row flagged ``no_prompt``; the quality is then
        predicted for the empty text, which no training of the paper's kind has seen. A model that
        was trained on one overall opinion gives it as ``visual_quality``, flagged
        ``overall_score``; one that lacks an output gives NaN there, flagged
        ``alignment_not_predicted`` or ``visual_quality_not_predicted``.

        Args, returns and errors are those of `eliq.Scorer.score`.
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
        """As `score`, but rows come as soon as they are there; see `eliq.Scorer.stream`."""
        return self._run(on_error, max_batch_px).stream(images, prompts)

    def score_loaded(
        self, images: list[LoadedImage], prompts: list[str | None], *, bar: Any
    ) -> Scores:
        """As `score`, of decoded images; see `eliq.Scorer.score_loaded`."""
        return self._run("flag", None).score_loaded(images, prompts, bar)

    def _run(self, on_error: str, max_batch_px: int | None) -> ScoringRun:
        if on_error not in ("flag", "raise"):
            raise ConfigError(f"on_error: expected 'flag' or 'raise', found {on_error!r}")
        judge = _RatingJudge(self.model, self.encoder, self.scale)
        budget = _checked_budget(max_batch_px) or self.max_batch_px
        return ScoringRun(judge, budget, is_raising=on_error == "raise")

    @property
    def device(self) -> torch.device:
        """Where it runs."""
        return next(self.model.parameters()).device

    @property
    def fingerprint(self) -> str | None:
        """sha256 of all that makes a score; None for a model that was never saved."""
        if self._fingerprint is None and self.directory is not None:
            self._fingerprint = fingerprint(self.directory)
        return self._fingerprint

    def info(self) -> dict[str, Any]:
        """What this scorer is, as plain JSON."""
        return {
            "source": self.source,
            "kind": "IP-IQA",
            "fingerprint": self.fingerprint,
            "library_version": __version__,
            "num_parameters": sum(p.numel() for p in self.model.parameters()),
            "model": self.model.config.to_json(),
            "device": str(self.device),
            "dtype": "float32",
            "max_batch_px": self.max_batch_px,
            "scale": {name: scale.to_json() for name, scale in self.scale.items()},
            "training": self.training,
        }

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        return (
            f"<IPIQA {self.source or 'in memory'}: {millions:.1f}M parameters, predicts "
            f"{' and '.join(self.model.config.outputs)} on {self.device}>"
        )


@dataclass(frozen=True)
class _RatingJudge:
    """The model under the scoring run; see `eliq.scorer.judge.Judge`."""

    model: IPIQAModel
    encoder: PromptTokenizer
    scale: dict[str, RatingScale]

    @property
    def answers(self) -> Sequence[int]:
        places = [SCORE_NAMES.index(_place(name)) for name in self.model.config.outputs]
        return [*places, *(len(SCORE_NAMES) + place for place in places)]

    @property
    def flags(self) -> Sequence[str]:
        return _FLAG_OF_OUTPUTS[self.model.config.outputs]

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32

    @property
    def px_per_token(self) -> int:
        return 1024  # a cell of RN50's map; the text tower is the smaller one

    def size_px(self, height: int, width: int) -> tuple[int, int]:
        return (self.model.config.image_size_px,) * 2

    def num_prompt_tokens(self, text: str) -> int:
        limit = self.model.config.text.context_length
        return min(len(text.encode()) + 3, limit)  # a token is at least a byte

    def prompt_is_truncated(self, text: str) -> bool:
        return bool(text) and self.encoder([text]).truncated[0]

    @torch.inference_mode()
    def columns(self, images: list[Tensor], texts: list[str]) -> Tensor:
        pixels = model_pixels(images, self.model.config.image_size_px, self.device)
        tokens = self.encoder(texts).ids.to(self.device)
        # A caller's autocast would make scores depend on it.
        with torch.autocast(self.device.type, enabled=False):
            ratings = self.model(pixels, tokens).float()  # [B, outputs]
        columns = ratings.new_full((NUM_COLUMNS, len(images)), torch.nan)
        for name, rating in zip(self.model.config.outputs, ratings.unbind(1), strict=True):
            place = SCORE_NAMES.index(_place(name))
            columns[place] = self.scale[name].to_unit(rating)
            columns[len(SCORE_NAMES) + place] = rating
        return columns


def _place(output: str) -> str:
    """The score in which an output stands."""
    return "visual_quality" if output == "overall" else output


def _checked_budget(max_batch_px: int | None) -> int | None:
    is_count = isinstance(max_batch_px, int) and not isinstance(max_batch_px, bool)
    if max_batch_px is not None and (not is_count or max_batch_px < 1):
        raise ConfigError(f"max_batch_px: expected a whole number above 0, found {max_batch_px!r}")
    return max_batch_px
