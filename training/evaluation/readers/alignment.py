"""Benchmarks that rate alignment alone: EvalMuse-40K and GenAI-Bench."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from eliq.errors import EvaluationError

from ..rated import RatedImage, RatedSet, collect
from ..tables import read_json, score, text
from .folders import folder_with, root_of

__all__ = ["evalmuse_40k", "genai_bench"]


def evalmuse_40k(root: str | Path) -> RatedSet:
    """EvalMuse-40K (Han et al. 2024): the 30k public pairs, alignment 1..5 of three raters.

    `train_list.json`: a list of {prompt_id, prompt, img_path: "SDXL-Turbo/00110.png",
    total_score: [4, 3, 3], element_score: {element: [0/1, ...]}, ...}; images in `images/`,
    unpacked from `images.zip`. The score is the mean of total_score; the elements are not read.
    `test.json` has no scores, and is not an evaluation set here.
    """
    root = root_of(root, "evalmuse_40k")
    sheet = root / "train_list.json"
    table = read_json(sheet, list)
    names = [_relative(_field(row, "img_path", sheet, i), sheet) for i, row in enumerate(table)]
    folder = folder_with(root, names, "images", "dataset/images", ".")
    rows = []
    for i, (name, row) in enumerate(zip(names, table, strict=True)):
        prompt = text(_field(row, "prompt", sheet, i))
        where = f"{sheet}, entry {i}"
        rows.append(
            RatedImage(
                id=name,
                path=folder / name,
                alignment=_mean(_field(row, "total_score", sheet, i), where),
                prompt=prompt,
                generator=str(PurePosixPath(name).parent),
            )
        )
    return collect("evalmuse_40k", rows, sheet)


def genai_bench(root: str | Path) -> RatedSet:
    """GenAI-Bench (Li et al. 2024), images: 527 or 1,600 prompts x 6 generators, alignment 1..5.

    `genai_image.json`: {"00000": {"prompt": ..., "models": {"DALLE_3": [5, 5, 4], ...}}, ...};
    images `{MODEL}/{number}.jpeg`. The score is the mean of the three ratings. A generator that an
    entry does not name was not rated for that prompt.
    """
    root = root_of(root, "genai_bench")
    sheet = root / "genai_image.json"
    rows = []
    for key, entry in read_json(sheet, dict).items():
        where = f"{sheet}, prompt {key}"
        if not isinstance(entry, dict) or not isinstance(entry.get("models"), dict):
            raise EvaluationError(f"{where}: expected an object with prompt and models")
        for model, ratings in entry["models"].items():
            name = _relative(f"{model}/{key}.jpeg", sheet)
            rows.append(
                RatedImage(
                    id=name,
                    path=root / name,
                    alignment=_mean(ratings, f"{where}, {model}"),
                    prompt=text(entry.get("prompt")),
                    generator=model,
                )
            )
    return collect("genai_bench", rows, sheet)


def _mean(values: Any, where: str) -> float | None:
    """Mean of the ratings that are numbers (a mirror stores the mean itself); None of none."""
    ratings = [score(v, where) for v in (values if isinstance(values, list) else [values])]
    known = [rating for rating in ratings if rating is not None]
    return sum(known) / len(known) if known else None


def _field(row: Any, key: str, sheet: Path, position: int) -> Any:
    if not isinstance(row, dict) or key not in row:
        found = sorted(row) if isinstance(row, dict) else type(row).__name__
        raise EvaluationError(f"{sheet}, entry {position}: expected {key}, found {found}")
    return row[key]


def _relative(value: Any, sheet: Path) -> str:
    """A path below the folder of images; anything that leaves it is refused."""
    name = text(value) or ""
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or "\\" in name:
        raise EvaluationError(f"{sheet}: expected a path inside the benchmark, found {value!r}")
    return str(path)
