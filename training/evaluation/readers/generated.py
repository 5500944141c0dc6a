"""Benchmarks of generated images: AGIQA-1K, AGIQA-3K, AIGCIQA2023, AIGIQA-20K.

Each takes the folder in which the benchmark was unpacked, and the layout is the published one.
"""

from __future__ import annotations

from pathlib import Path

from eliq.errors import EvaluationError

from ..rated import RatedImage, RatedSet, collect
from ..tables import read_csv, read_mat, read_sheet, score, text
from .folders import file_in, folder_with, plain_name, root_of

__all__ = ["agiqa_1k", "agiqa_3k", "aigciqa2023", "aigiqa_20k"]

_FOLDERS = ("file", "image", "images", "img", ".")
_AIGCIQA_MODELS = ("Controlnet", "DALLE", "Glide", "Lafite", "stable-diffusion", "Unidiffuser")
_AIGCIQA_PROMPTS, _AIGCIQA_REPEATS = 100, 4


def agiqa_1k(root: str | Path) -> RatedSet:
    """AGIQA-1K (Zhang et al. 2023): 1,080 rows, 2 generators, one opinion score 0..5.

    `AIGC_MOS_Zscore.xlsx` with Image, Prompt, MOS; images in `file/`. The published sheet lists
    dreamStudio_8_9_1_1.jpg twice with different scores, so 1,078 images are left. A group is a
    prompt without its style, its last part ("..., realistic style"), as in published splits.
    """
    root = root_of(root, "agiqa_1k")
    sheet = root / "AIGC_MOS_Zscore.xlsx"
    table = read_sheet(sheet, ["Image", "Prompt", "MOS"])
    names = [plain_name(row["Image"], sheet) for row in table]
    folder = folder_with(root, names, *_FOLDERS)
    rows = []
    for name, row in zip(names, table, strict=True):
        prompt = text(row["Prompt"])
        rows.append(
            RatedImage(
                id=name,
                path=folder / name,
                quality=score(row["MOS"], f"{sheet}, {name}"),
                prompt=prompt,
                generator=name.partition("_")[0],
                group=prompt.rpartition(",")[0] or prompt if prompt else None,
            )
        )
    return collect("agiqa_1k", rows, sheet)


def agiqa_3k(root: str | Path) -> RatedSet:
    """AGIQA-3K (Li et al. 2023): 2,982 images of 300 prompts, 10 settings of 6 generators.

    `data.csv` with name, prompt, mos_quality and mos_align (0..5); images in `file/`, named
    `{setting}_{prompt}.jpg`. The generator of a row is its setting, such as "sd1.5_lowstep".
    """
    root = root_of(root, "agiqa_3k")
    sheet = root / "data.csv"
    table = read_csv(sheet, ["name", "prompt", "mos_quality", "mos_align"])
    names = [plain_name(row["name"], sheet) for row in table]
    folder = folder_with(root, names, *_FOLDERS)
    rows = [
        RatedImage(
            id=name,
            path=folder / name,
            quality=score(row["mos_quality"], f"{sheet}, {name}"),
            alignment=score(row["mos_align"], f"{sheet}, {name}"),
            prompt=text(row["prompt"]),
            generator=name.rpartition("_")[0] or None,
        )
        for name, row in zip(names, table, strict=True)
    ]
    return collect("agiqa_3k", rows, sheet)


def aigciqa2023(root: str | Path) -> RatedSet:
    """AIGCIQA2023 (Wang et al. 2023): 2,400 images, 6 generators x 100 prompts x 4, 0..100.

    `DATA/MOS/mosz1.mat` (quality) and `mosz3.mat` (correspondence), key MOSz, 2,400 numbers in the
    order of `Image/allimg/0.png` .. `2399.png`: 400 consecutive files a generator, 4 consecutive
    ones a prompt. `AIGCIQA2023_Prompts.xlsx` has no header; its third column is the prompt.
    Authenticity (`mosz2.mat`) is neither of our two scores and is not read.
    """
    root = root_of(root, "aigciqa2023")
    number = len(_AIGCIQA_MODELS) * _AIGCIQA_PROMPTS * _AIGCIQA_REPEATS
    scores = {}
    for name, key in (("quality", "mosz1"), ("alignment", "mosz3")):
        file = file_in(root, f"DATA/MOS/{key}.mat", f"MOS/{key}.mat", f"{key}.mat")
        scores[name] = read_mat(file, "MOSz")
        if len(scores[name]) != number:
            raise EvaluationError(
                f"{file}: expected {number} scores (6 generators x 100 prompts x 4), "
                f"found {len(scores[name])}"
            )
    sheet = file_in(root, "AIGCIQA2023_Prompts.xlsx", "DATA/AIGCIQA2023_Prompts.xlsx")
    prompts = [text(row.get("2")) for row in read_sheet(sheet, None)]
    if len(prompts) != _AIGCIQA_PROMPTS or None in prompts:
        raise EvaluationError(
            f"{sheet}: expected {_AIGCIQA_PROMPTS} rows without a header and a prompt in the third "
            f"column, found {len(prompts)} rows of which {prompts.count(None)} have none"
        )
    folder = folder_with(root, ["0.png", f"{number - 1}.png"], "Image/allimg", "allimg")
    per_model = number // len(_AIGCIQA_MODELS)
    rows = [
        RatedImage(
            id=f"{i}.png",
            path=folder / f"{i}.png",
            quality=score(scores["quality"][i], f"mosz1.mat, {i}"),
            alignment=score(scores["alignment"][i], f"mosz3.mat, {i}"),
            prompt=prompts[i % per_model // _AIGCIQA_REPEATS],
            generator=_AIGCIQA_MODELS[i // per_model],
        )
        for i in range(number)
    ]
    return collect("aigciqa2023", rows, root)


def aigiqa_20k(root: str | Path) -> RatedSet:
    """AIGIQA-20K (Li et al. 2024): 20,000 images of 15 generators, one score 0..5 for everything.

    `info_train.csv`, `info_val.csv` and `info_test.csv` with name, prompt, mos (14,000 / 2,000 /
    4,000 rows); a mirror may lack some, at least one must be there. Images lie in `train/`, `val/`,
    `test/`, or together in `images/`; they are named `{generator}_{number}.png`. People were asked
    one question about looks and prompt together; as in the paper it is taken for visual quality.
    """
    root = root_of(root, "aigiqa_20k")
    sheets = {s: root / f"info_{s}.csv" for s in ("train", "val", "test")}
    present = {split: sheet for split, sheet in sheets.items() if sheet.is_file()}
    if not present:
        raise EvaluationError(f"aigiqa_20k: expected info_train.csv, _val or _test in {root}")
    rows = []
    for split, sheet in present.items():
        table = read_csv(sheet, ["name", "prompt", "mos"])
        names = [plain_name(row["name"], sheet) for row in table]
        folder = folder_with(root, names, split, "images", "image", ".")
        rows += [
            RatedImage(
                id=name,
                path=folder / name,
                quality=score(row["mos"], f"{sheet}, {name}"),
                prompt=text(row["prompt"]),
                generator=name.rpartition("_")[0] or None,
                split=split,
            )
            for name, row in zip(names, table, strict=True)
        ]
    return collect("aigiqa_20k", rows, root)
