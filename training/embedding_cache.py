"""Embeddings of a supervision set by the frozen backbone, in safetensors shards on disk.

Stage 2 trains the head alone, so each image passes through the backbone once. The alignment
question is asked with three prompts: the image's own p, the mismatched p-ali and none. The paper
needs the first two, for positives only; the others let stage 2 teach s_vis to ignore the prompt.

    runs/critic/cache/fingerprint.json  tuples-00000.safetensors ...  ladders-00000.safetensors ...

Shapes: N tuples; images of a tuple in the order I+, I-tec, I-aes; M ladders of S steps (padded,
with `ladder_valid`); prompts in the order of PROMPTS; h hidden size.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from eliq.backbone import Backbone
from eliq.errors import TrainingError

from .asking import Asking, Question
from .dataset import ASPECTS, LadderRow, Supervision, TupleRow
from .fingerprints import module_sha256
from .run_state import StopRequest, first_difference
from .stage1_batches import alignment_question, load_pixels
from .step_lines import StepLines
from .tensor_files import read_tensors, replace_tensors

__all__ = ["PROMPTS", "EmbeddingCache", "build_cache", "load_cache"]

PROMPTS = ("own", "negative", "none")


@dataclass(frozen=True)
class EmbeddingCache:
    """All embeddings, float32 on the CPU, with the ids that say which row is which.

    Attributes:
        tuple_technical, tuple_aesthetic: z_tec, z_aes [N,3,h].
        tuple_alignment: z_ali [N,3,3,h], images by prompts.
        tuple_margins: [N,3,5], logit(high) - logit(low) of technical, aesthetic and the three
            alignment questions.
        ladder_technical, ladder_aesthetic: [M,S+1,h], the positive first.
        ladder_alignment: [M,S+1,3,h]; "negative" repeats "own", since a ladder has one prompt.
        ladder_margins: [M,S+1,5].
        ladder_valid: bool [M,S+1].
        tuple_ids, ladder_ids: in the order of the rows.
        tuple_kinds: for each tuple the technical distortion, the aesthetic one, and the kind of
            the mismatched prompt.
        tuple_supervised: bool [N,3], whether the technical, aesthetic and alignment negative count
            in losses (`Supervision.left_out`); None where all do.
    """

    tuple_technical: Tensor
    tuple_aesthetic: Tensor
    tuple_alignment: Tensor
    tuple_margins: Tensor
    ladder_technical: Tensor
    ladder_aesthetic: Tensor
    ladder_alignment: Tensor
    ladder_margins: Tensor
    ladder_valid: Tensor
    tuple_ids: tuple[str, ...]
    ladder_ids: tuple[str, ...]
    tuple_kinds: tuple[tuple[str, str, str], ...]
    tuple_supervised: Tensor | None = None

    @property
    def hidden_size(self) -> int:
        return self.tuple_technical.shape[-1]

    def select(self, side: Supervision) -> EmbeddingCache:
        """The rows of one side of a split, in its order.

        Raises:
            TrainingError: a row that the cache does not hold.
        """
        tuples = _places(self.tuple_ids, [row.tuple_id for row in side.tuples])
        ladders = _places(self.ladder_ids, [row.ladder_id for row in side.ladders])
        values: dict[str, Any] = {
            field.name: getattr(self, field.name)[
                tuples if field.name.startswith("tuple") else ladders
            ]
            for field in fields(self)
            if not field.name.endswith(("_ids", "_kinds", "_supervised"))
        }
        return EmbeddingCache(
            **values,
            tuple_ids=tuple(row.tuple_id for row in side.tuples),
            ladder_ids=tuple(row.ladder_id for row in side.ladders),
            tuple_kinds=_kinds(side),
            tuple_supervised=_supervised(side),
        )


def build_cache(
    backbone: Backbone,
    supervision: Supervision,
    cache_dir: str | Path,
    *,
    rows_per_forward: int = 2,
    rows_per_shard: int = 256,
    rank: int = 0,
    world_size: int = 1,
    stop: StopRequest | None = None,
    progress: bool = True,
) -> bool:
    """Writes the shards that are missing; True when all are there, False when `stop` came first.

    The backbone is used as it is (its device and dtype), without gradients. Of `world_size`
    processes that share `cache_dir` and have the same weights, each writes every so-manieth shard.

    Raises:
        TrainingError: `cache_dir` holds embeddings of other weights or of another set.
    """
    cache_dir = Path(cache_dir)
    cache_dir.mkdir(parents=True, exist_ok=True)
    was_training = backbone.training
    backbone.eval()
    fingerprint = {
        "backbone_sha256": module_sha256(backbone),
        "instructions": backbone.instructions.to_json(),
        "patches": backbone.patches.to_json(),
        "max_prompt_tokens": backbone.max_prompt_tokens,
        "supervision_sha256": supervision.sha256,
        "rows_sha256": supervision.rows_sha256,
        "num_rows": [len(supervision.tuples), len(supervision.ladders)],
        "rows_per_shard": rows_per_shard,
    }
    _check_fingerprint(cache_dir, fingerprint)
    asking = Asking(backbone)
    longest = max((len(row.steps) for row in supervision.ladders), default=0)
    shards = [
        (name, start, rows[start : start + rows_per_shard])
        for name, rows in (("tuples", supervision.tuples), ("ladders", supervision.ladders))
        for start in range(0, len(rows), rows_per_shard)
    ][rank::world_size]
    total = sum(len(rows) for _, _, rows in shards)
    finished = True

    def path_of(name: str, start: int) -> Path:
        return cache_dir / f"{name}-{start // rows_per_shard:05d}.safetensors"

    before = sum(len(rows) for name, start, rows in shards if path_of(name, start).is_file())
    with StepLines("embedding", total, unit="rows", done=before, shown=progress) as bar:
        for name, start, rows in shards:
            path = path_of(name, start)
            if path.is_file():  # renamed into place only when whole
                continue
            parts = []
            for first in range(0, len(rows), rows_per_forward):
                if stop is not None and stop.requested:
                    finished = False
                    break
                some = rows[first : first + rows_per_forward]
                parts.append(_embed(asking, some, longest))
                bar.update(len(some))
            if not finished:
                break
            replace_tensors(path, {k: torch.cat([part[k] for part in parts]) for k in parts[0]})
    backbone.train(was_training)
    return finished


def load_cache(cache_dir: str | Path, supervision: Supervision) -> EmbeddingCache:
    """The whole cache of a set in memory.

    Raises:
        TrainingError: shards are missing (`build_cache` was not finished) or of another set.
    """
    cache_dir = Path(cache_dir)
    try:
        saved = json.loads((cache_dir / "fingerprint.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{cache_dir} is no embedding cache: run build_cache first") from error
    for key, ours in (
        ("supervision_sha256", supervision.sha256),
        ("rows_sha256", supervision.rows_sha256),
    ):
        if saved.get(key) != ours:
            raise TrainingError(
                f"{cache_dir} belongs to another supervision set or split ({key}): build it anew"
            )
    values: dict[str, Any] = {}
    for name, ids in (
        ("tuple", [row.tuple_id for row in supervision.tuples]),
        ("ladder", [row.ladder_id for row in supervision.ladders]),
    ):
        shards = [read_tensors(path) for path in sorted(cache_dir.glob(f"{name}s-*.safetensors"))]
        found = sum(len(shard[f"{name}_technical"]) for shard in shards)
        if found != len(ids):
            raise TrainingError(
                f"{cache_dir} holds {found} of {len(ids)} {name}s: run build_cache to the end"
            )
        values[f"{name}_ids"] = tuple(ids)
        if shards:
            values |= {key: torch.cat([shard[key] for shard in shards]) for key in shards[0]}
    if not supervision.ladders:
        h = values["tuple_technical"].shape[-1]
        values |= {
            "ladder_technical": torch.zeros(0, 2, h),
            "ladder_aesthetic": torch.zeros(0, 2, h),
            "ladder_alignment": torch.zeros(0, 2, len(PROMPTS), h),
            "ladder_margins": torch.zeros(0, 2, 2 + len(PROMPTS)),
            "ladder_valid": torch.zeros(0, 2, dtype=torch.bool),
        }
    return EmbeddingCache(**values, tuple_kinds=_kinds(supervision))


def _kinds(supervision: Supervision) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        (row.technical.distortion, row.aesthetic.distortion, row.negative_prompt_kind)
        for row in supervision.tuples
    )


def _supervised(side: Supervision) -> Tensor | None:
    if not side.left_out:
        return None
    asked = [side.aspects(row) for row in side.tuples]
    return torch.tensor([[name in names for name in ASPECTS] for names in asked])


@torch.inference_mode()
def _embed(
    asking: Asking, rows: tuple[TupleRow, ...] | tuple[LadderRow, ...], longest: int
) -> dict[str, Tensor]:
    """Tensors of a shard, for a few rows."""
    kind = "tuple" if isinstance(rows[0], TupleRow) else "ladder"
    width = 3 if kind == "tuple" else longest + 1
    device = asking.backbone.device
    images, questions = [], []
    valid = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        valid[i, : len(row.paths)] = True
        negative = row.negative_prompt if isinstance(row, TupleRow) else row.prompt
        asked = [Question("technical"), Question("aesthetic")]
        asked += [alignment_question(prompt) for prompt in (row.prompt, negative, None)]
        for path in row.paths:
            images.append(load_pixels(path).to(device))
            questions.append(asked)
    answers = asking(images, questions)
    per_image = 2 + len(PROMPTS)
    states = answers.states.cpu().view(len(images), per_image, -1)
    z = states.new_zeros(len(rows), width, *states.shape[1:])
    z[valid] = states
    margins = states.new_zeros(len(rows), width, per_image)
    margins[valid] = answers.margins.cpu().view(len(images), per_image)
    out = {
        f"{kind}_technical": z[:, :, 0],
        f"{kind}_aesthetic": z[:, :, 1],
        f"{kind}_alignment": z[:, :, 2:],
        f"{kind}_margins": margins,
    }
    if kind == "ladder":
        out["ladder_valid"] = valid
    return {key: value.contiguous() for key, value in out.items()}


def _check_fingerprint(cache_dir: Path, fingerprint: dict[str, Any]) -> None:
    path = cache_dir / "fingerprint.json"
    fingerprint = json.loads(json.dumps(fingerprint))
    if path.is_file():
        saved = json.loads(path.read_text(encoding="utf-8"))
        differing = first_difference(saved, fingerprint)
        if differing is not None:
            field, was, now = differing
            raise TrainingError(
                f"{cache_dir} holds embeddings made with another {field} ({was}, now {now}): "
                "choose another directory or delete it"
            )
        return
    temporary = path.with_suffix(f".part-{os.getpid()}")  # several processes may write it
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(fingerprint, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _places(ids: tuple[str, ...], wanted: list[str]) -> Tensor:
    place = {row_id: i for i, row_id in enumerate(ids)}
    missing = [row_id for row_id in wanted if row_id not in place]
    if missing:
        raise TrainingError(f"the embedding cache lacks {len(missing)} rows, first {missing[0]}")
    return torch.tensor([place[row_id] for row_id in wanted], dtype=torch.int64)
