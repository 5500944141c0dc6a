"""Generated negatives in a supervision set: matched, grouped, mismatched across prompt variants."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eliq.errors import SupervisionError
from eliq.supervision import (
    GENERATED_KINDS,
    GeneratedNegative,
    SupervisionConfig,
    TupleRow,
    aspect_of,
    build_supervision,
    check_matched,
    family_of,
    read_generated,
    read_manifest,
)
from eliq.supervision.fitting import fit_to, jpeg_history
from training.dataset import read_supervision
from training.smoke_pictures import write_smoke_pictures

CONFIG = SupervisionConfig(num_tuples=36, num_ladders=2, ai_specific_share=0.7, max_side_px=80)


def write_pool(folder: Path, images: Path, *, size_px: int = 128, skip: tuple = ()) -> Path:
    """One negative of every kind for every positive of a folder."""
    lines = (images / "prompts.jsonl").read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(0)
    rows = []
    for number, line in enumerate(lines):
        positive = json.loads(line)
        for kind in GENERATED_KINDS:
            if kind in skip:
                continue
            is_variant = kind == "prompt_variant"
            name = f"images/{kind}_{number}.png"
            (folder / "images").mkdir(parents=True, exist_ok=True)
            field = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(field).resize((size_px, size_px)).save(folder / name)
            prompt = positive["prompt"].replace("box", "vase") if is_variant else "anything"
            rows.append(
                {
                    "negative_id": f"{kind}_{number}",
                    "kind": kind,
                    "source": positive["path"],
                    "prompt": positive["prompt"],
                    "path": name,
                    "generation_prompt": prompt,
                    "severity": 4.5 if kind == "early_decode" else None,
                    "parameters": {"model": "made-up", "seed": number},
                }
            )
    (folder / "kept.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    return write_smoke_pictures(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="module")
def pool(images, tmp_path_factory) -> Path:
    return write_pool(tmp_path_factory.mktemp("pool"), images)


@pytest.fixture(scope="module")
def built(images, pool, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set")
    report = build_supervision(images, out, CONFIG, generated=pool)
    assert (report.num_tuples, report.skipped) == (36, [])
    return out


def files(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_generated_negatives_stand_where_a_distortion_would(built):
    rows = read_manifest(built)
    base = [row for row in rows if not row.prompt_group]
    for row in base:
        for aspect, negative in (("technical", row.technical), ("aesthetic", row.aesthetic)):
            assert (aspect_of(negative.distortion), family_of(negative.distortion)) == (
                aspect,
                row.family,
            )
            if row.family == "ai_specific":
                assert negative.distortion in GENERATED_KINDS
                assert negative.parameters["model"] == "made-up"
    kinds = {row.technical.distortion for row in base} | {row.aesthetic.distortion for row in base}
    generated = {k for k, kind in GENERATED_KINDS.items() if kind.aspect != "alignment"}
    assert kinds > generated, "every kind was used, and distortions beside them"
    severities = {row.technical.severity for row in base}
    assert {4.5, None} < severities


def test_the_set_is_matched_and_resumes(built, images, pool, tmp_path):
    assert check_matched(built) > 40
    build_supervision(images, tmp_path, SupervisionConfig(**vars(CONFIG) | {"num_tuples": 7}),
                      generated=pool)  # fmt: skip
    build_supervision(images, tmp_path, CONFIG, generated=pool)
    assert files(tmp_path) == files(built)


def test_each_prompt_of_a_variant_is_right_once_and_wrong_once(built):
    rows = [row for row in read_manifest(built) if row.negative_prompt_kind == "variant"]
    right = {row.prompt for row in rows} | {row.prompt for row in read_manifest(built)}
    assert {row.negative_prompt for row in rows} <= right
    of_variants = [row for row in read_manifest(built) if row.source.startswith("variants/")]
    assert of_variants and any(row.negative_prompt_kind == "variant" for row in of_variants)
    for row in of_variants:
        assert row.prompt_group == row.prompt.replace("vase", "box") != row.prompt
        if row.negative_prompt_kind == "variant":
            assert row.negative_prompt == row.prompt_group


def test_a_split_keeps_a_prompt_and_its_variants_together(built):
    supervision = read_supervision(built)
    for seed in range(5):
        train, held_out = supervision.split(0.4, seed=seed)
        groups = [
            {row.prompt.replace("vase", "box") for row in side.tuples} for side in (train, held_out)
        ]
        assert groups[0] and groups[1] and not groups[0] & groups[1]


def test_without_a_pool_nothing_changes(images, tmp_path):
    """Sets from before there were generated negatives go on, and have the same rows."""
    plain, other = tmp_path / "plain", tmp_path / "other"
    build_supervision(images, plain, CONFIG)
    settings = json.loads((plain / "supervision.json").read_text())
    assert not {"generated_share", "variant_share"} & set(settings["config"])
    build_supervision(images, other, SupervisionConfig(**vars(CONFIG) | {"generated_share": 0.1}))
    assert files(plain) == files(other)
    assert b"prompt_group" not in (plain / "manifest.jsonl").read_bytes()


def test_another_pool_does_not_mix(built, images, tmp_path):
    other = write_pool(tmp_path, images, skip=("early_decode",))
    with pytest.raises(SupervisionError, match="other generated negatives"):
        build_supervision(images, built, CONFIG, generated=other)


def test_a_negative_that_would_be_enlarged_is_not_taken(images, tmp_path):
    pool = write_pool(tmp_path / "pool", images, size_px=48, skip=("prompt_variant",))
    build_supervision(images, tmp_path / "out", CONFIG, generated=pool)
    rows = read_manifest(tmp_path / "out")
    assert not {row.technical.distortion for row in rows} & set(GENERATED_KINDS)


def test_fit_to_cuts_the_middle_and_never_enlarges():
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 20:60] = 200
    assert (fit_to(image, 40, 40) == 200).all()
    assert fit_to(image, 20, 20).mean() > 195 and fit_to(image, 41, 41) is None
    assert fit_to(image, 40, 80) is image


def test_a_negative_of_a_jpeg_gets_its_compression(tmp_path):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (48, 48, 3)).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.jpg", quality=35, subsampling=2)
    Image.fromarray(image).save(tmp_path / "a.png")
    history = jpeg_history(tmp_path / "a.jpg")
    by_hand = np.asarray(Image.open(tmp_path / "a.jpg").convert("RGB"))
    assert (history.apply(image) == by_hand).all()
    assert jpeg_history(tmp_path / "a.png") is None


def test_wrong_lists_are_named(images, pool, tmp_path):
    good = json.loads((pool / "kept.jsonl").read_text().splitlines()[0])
    for change, said in (
        ({"kind": "noise"}, "line 1: kind"),
        ({"path": "../a.png"}, "line 1: paths"),
        ({"severity": 9}, "line 1: severity"),
        ({"parameters": 1}, "line 1: 'parameters'"),
        ({"extra": 1}, "line 1: expected"),
        ({"source": "none.png"}, "none of the positives"),
    ):
        (tmp_path / "kept.jsonl").write_text(json.dumps(good | change) + "\n")
        with pytest.raises(SupervisionError, match=said):
            build_supervision(images, tmp_path / "out", CONFIG, generated=tmp_path)
    with pytest.raises(SupervisionError, match="make_negatives"):
        read_generated(tmp_path / "none")
    with pytest.raises(SupervisionError, match="severity"):
        GeneratedNegative.from_json(good | {"severity": 0.5})


def test_a_distortion_keeps_its_severity(built):
    rows = [row.to_json() for row in read_manifest(built)]
    row = next(r for r in rows if r["technical"]["distortion"] not in GENERATED_KINDS)
    for name in ("positive",):
        row[name] = "images/x.png"
    row["technical"] |= {"path": "images/y.png", "severity": None}
    row["aesthetic"]["path"] = "images/z.png"
    with pytest.raises(SupervisionError, match="severity"):
        TupleRow.from_json(row)
