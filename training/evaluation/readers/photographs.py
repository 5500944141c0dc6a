"""Benchmarks of photographs, which have no prompt and no alignment: KonIQ-10k and SPAQ."""

from __future__ import annotations

from pathlib import Path

from eliq.errors import EvaluationError

from ..rated import RatedImage, RatedSet, collect
from ..tables import read_csv, read_sheet, score
from .folders import file_in, folder_with, plain_name, root_of

__all__ = ["koniq_10k", "spaq"]

_SPLITS = {"training": "train", "validation": "val", "test": "test"}


def koniq_10k(root: str | Path) -> RatedSet:
    """KonIQ-10k (Hosu et al. 2020): 10,073 photographs, MOS 1..100.

    Two sheets are published. `koniq10k_distributions_sets.csv` (the authors' code) with image_name,
    c1..c5, c_total, MOS, SD, set has the official split and is taken where it is there.
    `koniq10k_scores_and_distributions.csv` (the database's page) has image_name, c1..c5, c_total,
    MOS, SD, MOS_zscore and no split; its MOS is on 1..5, and MOS_zscore is what the other sheet
    calls MOS. Images in `1024x768/` or, halved, `512x384/`; the larger ones where both are there.
    """
    root = root_of(root, "koniq_10k")
    sheet = file_in(root, *_with_metadata("koniq10k_distributions_sets.csv"))
    page = file_in(root, *_with_metadata("koniq10k_scores_and_distributions.csv"))
    has_split = sheet.is_file() or not page.is_file()  # with neither, the first is the one missed
    if has_split:
        mos, table = "MOS", read_csv(sheet, ["image_name", "MOS", "set"])
    else:
        sheet, mos = page, "MOS_zscore"
        table = read_csv(sheet, ["image_name", mos])
    names = [plain_name(row["image_name"], sheet) for row in table]
    folder = folder_with(root, names, "1024x768", "512x384")
    rows = []
    for name, row in zip(names, table, strict=True):
        if has_split and row["set"] not in _SPLITS:
            raise EvaluationError(
                f"{sheet}, {name}: expected the set to be one of {list(_SPLITS)}, "
                f"found {row['set']!r}"
            )
        rows.append(
            RatedImage(
                id=name,
                path=folder / name,
                quality=score(row[mos], f"{sheet}, {name}"),
                split=_SPLITS[row["set"]] if has_split else None,
            )
        )
    return collect("koniq_10k", rows, sheet)


def _with_metadata(name: str) -> tuple[str, str]:
    """Where a sheet of KonIQ-10k lies: beside the images, or as in the authors' code."""
    return name, f"metadata/{name}"


def spaq(root: str | Path) -> RatedSet:
    """SPAQ (Fang et al. 2020): 11,125 photographs of smartphones, MOS 0..100, no official split.

    `Annotations/MOS and Image attribute scores.xlsx` with Image name and MOS (and brightness,
    colourfulness, contrast, noisiness, sharpness, which are not read); `TestImage/00001.jpg`.
    """
    root = root_of(root, "spaq")
    title = "MOS and Image attribute scores.xlsx"
    sheet = file_in(root, f"Annotations/{title}", title)
    table = read_sheet(sheet, ["Image name", "MOS"])
    names = [plain_name(row["Image name"], sheet) for row in table]
    folder = folder_with(root, names, "TestImage", "SPAQ/TestImage", "img")
    rows = [
        RatedImage(id=name, path=folder / name, quality=score(row["MOS"], f"{sheet}, {name}"))
        for name, row in zip(names, table, strict=True)
    ]
    return collect("spaq", rows, sheet)
