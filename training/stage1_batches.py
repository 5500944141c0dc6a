"""Micro-batches of stage 1: images, the questions asked of each, and their pseudo-labels.

What is supervised (paper 3.3.1): I+ is high in technical, aesthetic and alignment with p; I-tec is
low in technical only, I-aes in aesthetic only, (I+, p-ali) in alignment only. Non-primary aspects
are not asked at all. A ladder's images are asked the aspect of its distortion, without a label:
its margins are ranked.

Micro-batch number k of a run always holds the same rows, whatever was resumed: it is a function
of (seed, k).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from eliq.errors import TrainingError
from eliq.images import load_image
from eliq.prompts import clean_prompt

from .asking import Question
from .dataset import ASPECTS, LadderRow, Supervision, TupleRow
from .order import shuffled_index

__all__ = [
    "HIGH",
    "IGNORED",
    "LOW",
    "MicroBatch",
    "MicroBatches",
    "alignment_question",
    "load_pixels",
    "make_batch",
]

LOW, HIGH, IGNORED = 0, 1, -100
VISUAL = ASPECTS[:2]


@dataclass(frozen=True)
class MicroBatch:
    """Rows of one forward.

    Attributes:
        images: [3,H,W] float32 in [0,1], sizes mixed.
        questions: for each image what is asked of it; N in all.
        labels: int64 [N], LOW, HIGH or IGNORED.
        tuples: int64 [T,6], places among the N answers of I+ technical, aesthetic, alignment(p),
            alignment(p-ali), I-tec technical, I-aes aesthetic; -1 where an aspect is not asked.
        ladders: int64 [L,S+1], places of the positive and of the steps; -1 where a ladder has
            fewer steps than the longest.
    """

    images: list[Tensor]
    questions: list[list[Question]]
    labels: Tensor
    tuples: Tensor
    ladders: Tensor


class MicroBatches(Dataset):
    """Micro-batch k, for k = 0, 1, ... without end, in an order shuffled anew each epoch."""

    def __init__(
        self, supervision: Supervision, *, num_tuples: int, num_ladders: int, seed: int
    ) -> None:
        if not supervision.tuples:
            raise TrainingError("stage 1 needs at least one tuple, found none")
        self.supervision = supervision
        self.num_tuples = num_tuples
        self.num_ladders = num_ladders if supervision.ladders else 0
        self.seed = seed

    def __getitem__(self, k: int) -> MicroBatch:
        tuples, ladders = self.supervision.tuples, self.supervision.ladders
        rows = [
            tuples[self._index(k * self.num_tuples + i, len(tuples), 0)]
            for i in range(self.num_tuples)
        ]
        return make_batch(
            rows,
            [
                ladders[self._index(k * self.num_ladders + i, len(ladders), 1)]
                for i in range(self.num_ladders)
            ],
            [self.supervision.aspects(row) for row in rows],
        )

    def _index(self, position: int, number: int, stream: int) -> int:
        return shuffled_index(position, number, seed=self.seed, stream=stream)


def make_batch(
    tuples: list[TupleRow],
    ladders: list[LadderRow],
    aspects: Sequence[Sequence[str]] | None = None,
) -> MicroBatch:
    """The micro-batch of these rows; `aspects` of each tuple are asked (None: all three).

    Raises:
        TrainingError: an image cannot be read.
    """
    images: list[Tensor] = []
    questions: list[list[Question]] = []
    labels: list[int] = []
    tuple_places, ladder_places = [], []

    def ask(path: str, asked: list[Question], answers: list[int]) -> list[int]:
        images.append(load_pixels(path))
        questions.append(asked)
        labels.extend(answers)
        return list(range(len(labels) - len(asked), len(labels)))

    for row, asked in zip(tuples, aspects or [ASPECTS] * len(tuples), strict=True):
        places = [-1] * 6
        positive = [(i, Question(name), HIGH) for i, name in enumerate(VISUAL) if name in asked]
        if "alignment" in asked:
            positive += [
                (2, alignment_question(row.prompt), HIGH),
                (3, alignment_question(row.negative_prompt), LOW),
            ]
        found = ask(row.positive, [q for _, q, _ in positive], [label for *_, label in positive])
        for (place, _, _), where in zip(positive, found, strict=True):
            places[place] = where
        for place, name, negative in ((4, VISUAL[0], row.technical), (5, VISUAL[1], row.aesthetic)):
            if name in asked:
                places[place] = ask(negative.path, [Question(name)], [LOW])[0]
        tuple_places.append(places)
    longest = max((len(row.steps) for row in ladders), default=0)
    for row in ladders:
        places = []
        for path in row.paths:
            places += ask(path, [Question(row.aspect)], [IGNORED])
        ladder_places.append(places + [-1] * (longest + 1 - len(places)))
    return MicroBatch(
        images,
        questions,
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(tuple_places, dtype=torch.int64).reshape(-1, 6),
        torch.tensor(ladder_places, dtype=torch.int64).reshape(-1, longest + 1),
    )


def alignment_question(prompt: str | None) -> Question:
    """The alignment question about a prompt cleaned as the scorer cleans it."""
    return Question("alignment", clean_prompt(prompt).text or None)


def load_pixels(path: str) -> Tensor:
    """[3,H,W] float32 in [0,1] of a training image, read as the scorer reads it."""
    loaded = load_image(path)
    if loaded.pixels is None:
        raise TrainingError(f"training image {path} cannot be used: {loaded.error}")
    return loaded.pixels
