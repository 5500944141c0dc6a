"""Benchmarks of human opinions in miniature, each in its published layout.

Names, columns, sheets and folders are those of the published files; scores and prompts are made
up. Image files are empty where a reader only asks whether they are there.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def write_xlsx(path: Path, rows: list[list]) -> None:
    from openpyxl import Workbook

    path.parent.mkdir(parents=True, exist_ok=True)
    book = Workbook()
    for row in rows:
        book.active.append(row)
    book.save(path)


def agiqa_1k(root: Path) -> Path:
    """Four images; the last is listed twice with different scores, as in the published sheet."""
    rows = [
        ["deepai_0_0_0_0.jpg", "bird, driving aircraft, city, anime style", 2.79],
        ["deepai_0_0_0_1.jpg", "bird, driving aircraft, city, realistic style", 4.16],
        ["dreamStudio_0_0_0_0.jpg", "bird, having pizza, city, anime style", 2.13],
        ["dreamStudio_8_9_1_1.jpg", "alien, wearing shirt, wild, realistic style", 0.44],
        ["dreamStudio_8_9_1_1.jpg", "alien, wearing shirt, wild, realistic style", 2.08],
    ]
    write_xlsx(root / "AIGC_MOS_Zscore.xlsx", [["Image", "Prompt", "MOS"], *rows])
    touch(*(root / "file" / row[0] for row in rows))
    return root


def agiqa_3k(root: Path) -> Path:
    """Two prompts, two settings; one prompt has a comma, one row has adjectives and a style."""
    header = "name,prompt,adj1,adj2,style,mos_quality,std_quality,mos_align,std_align".split(",")
    rows = [
        ["AttnGAN_normal_000.jpg", "statue of a man", "", "", "", 0.97, 0.22, 0.41, 0.62],
        ["AttnGAN_normal_001.jpg", "a hall, sharp, anime style", "sharp", "", "anime", 1.4, 0.6,
         0.43, 0.67],
        ["sd1.5_lowstep_000.jpg", "statue of a man", "", "", "", 2.0, 0.2, 1.41, 0.6],
        ["sd1.5_lowstep_001.jpg", "a hall, sharp, anime style", "sharp", "", "anime", 2.4, 0.6,
         1.43, 0.7],
    ]  # fmt: skip
    write_csv(root / "data.csv", header, rows)
    touch(*(root / "file" / row[0] for row in rows))
    return root


def aigciqa2023(root: Path) -> Path:
    """All 2,400 scores; score i of quality is i, of correspondence 10000 + i."""
    from scipy.io import savemat

    (root / "DATA" / "MOS").mkdir(parents=True)
    for number, first in ((1, 0), (2, 5000), (3, 10000)):
        column = (first + np.arange(2400.0))[:, None]
        savemat(root / "DATA" / "MOS" / f"mosz{number}.mat", {"MOSz": column})
    prompts = [["Basic", "Simple Detail", f"prompt {i}"] for i in range(100)]
    write_xlsx(root / "AIGCIQA2023_Prompts.xlsx", prompts)  # without a header
    touch(*(root / "Image" / "allimg" / f"{i}.png" for i in range(2400)))
    return root


def aigiqa_20k(root: Path) -> Path:
    rows = {
        "train": [["DALLE3_0119.png", "a cat", 3.2], ["LCM_SDXL_0447.png", "a dog", 1.2]],
        "val": [["SD1.4_0096.png", "a hen", 2.0]],
        "test": [["MJ_0106.png", 'a horse, "riding"', 4.5]],
    }
    for split, listed in rows.items():
        write_csv(root / f"info_{split}.csv", ["name", "prompt", "mos"], listed)
        touch(*(root / split / row[0] for row in listed))
    return root


def koniq_10k(root: Path) -> Path:
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set".split(",")
    rows = [
        ["10004473376.jpg", 0.0, 0.0, 0.24, 0.7, 0.07, 105, 77.38, 0.53, "training"],
        ["10007357496.jpg", 0.0, 0.03, 0.47, 0.49, 0.01, 96, 68.73, 0.58, "test"],
        ["10043785683.jpg", 0.0, 0.0, 0.43, 0.57, 0.0, 106, 71.2, 0.5, "validation"],
    ]
    write_csv(root / "koniq10k_distributions_sets.csv", header, rows)
    touch(*(root / "512x384" / row[0] for row in rows))
    return root


def koniq_10k_page(root: Path) -> Path:
    """The sheet of the database's page: MOS on 1..5, MOS_zscore on 1..100, no split."""
    header = "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,MOS_zscore".split(",")
    rows = [
        ["10004473376.jpg", 0, 0, 25, 73, 7, 105, 3.82857142857, 0.527277894494, 77.3836206897],
        ["10007357496.jpg", 0, 3, 45, 47, 1, 96, 3.47916666667, 0.580003024795, 68.7285714286],
    ]
    write_csv(root / "koniq10k_scores_and_distributions.csv", header, rows)
    touch(*(root / "1024x768" / row[0] for row in rows))
    return root


def spaq(root: Path) -> Path:
    header = ["Image name", "MOS", "Brightness", "Colorfulness", "Contrast", "Noisiness",
              "Sharpness"]  # fmt: skip
    rows = [
        ["00001.jpg", 36.5, 53, 44, 50, 43, 41],
        ["00002.jpg", 27, 44, 40, 44, 29, 30],
        ["00003.jpg", 61.25, 60, 50, 44, 49, 60],
    ]
    write_xlsx(root / "Annotations" / "MOS and Image attribute scores.xlsx", [header, *rows])
    touch(*(root / "TestImage" / row[0] for row in rows))
    return root


def evalmuse_40k(root: Path) -> Path:
    """`promt_meaningless`, and elements that are a string of Python, are the published spelling."""
    rows = [
        {
            "prompt_id": "00110",
            "prompt": "A puffin sitting in a booth",
            "type": "real",
            "img_path": "SDXL-Turbo/00110.png",
            "total_score": [4, 3, 3],
            "element_score": "{'puffin (animal)': [1, 1, 1], 'booth (object)': [1, 0, 1]}",
            "promt_meaningless": [0, 0, 0],
            "split_confidence": [0, 0, 0],
            "attribute_confidence": [1, 1, 1],
            "fidelity_label": ["", "", ""],
        },
        {
            "prompt_id": "00111",
            "prompt": "Two red cubes",
            "type": "synthetic",
            "img_path": "Dreamina v2.0Pro/00111.png",
            "total_score": [5, 5, 4],
            "element_score": "{'two (counting)': [1, 1, 0], 'cubes (object)': [1, 1, 1]}",
            "promt_meaningless": [0, 0, 0],
            "split_confidence": [0, 0, 0],
            "attribute_confidence": [1, 1, 1],
            "fidelity_label": ["", "", ""],
        },
    ]
    root.mkdir(parents=True)
    (root / "train_list.json").write_text(json.dumps(rows), encoding="utf-8")
    touch(*(root / "images" / row["img_path"] for row in rows))
    return root


def genai_bench(root: Path) -> Path:
    entries = {
        "00000": {"id": "00000", "prompt": "A baker pulling bread out of an oven.",
                  "models": {"DALLE_3": [5, 5, 4], "SDXL_Turbo": [2, 4, 3]}},
        "00001": {"id": "00001", "prompt": "Three cats, none of them black.",
                  "models": {"DALLE_3": [3, 3, 4]}},
    }  # fmt: skip
    root.mkdir(parents=True)
    (root / "genai_image.json").write_text(json.dumps(entries), encoding="utf-8")
    touch(*(root / m / f"{key}.jpeg" for key, entry in entries.items() for m in entry["models"]))
    return root


def own_csv(root: Path) -> Path:
    header = ["path", "prompt", "quality", "alignment", "generator"]
    rows = [
        ["a.png", "a fox", 3, 2, "mine"],
        ["sub/b.png", "a hen", 4, 1, "mine"],
        ["c.png", "", 2.5, "", "other"],
    ]
    write_csv(root / "ratings.csv", header, rows)
    touch(*(root / row[0] for row in rows))
    return root / "ratings.csv"
