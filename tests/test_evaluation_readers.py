"""training.evaluation.readers: every published layout is read exactly, and said to be wrong."""

from __future__ import annotations

import json

import pytest

from eliq.errors import EvaluationError
from tests import rated_layouts as layouts
from training.evaluate import describe, describe_table
from training.evaluation import READERS

pytest.importorskip("openpyxl")
pytest.importorskip("scipy")

IMAGES = {
    "agiqa_1k": 3, "agiqa_3k": 4, "aigciqa2023": 2400, "aigiqa_20k": 4, "koniq_10k": 3, "spaq": 3,
    "evalmuse_40k": 2, "genai_bench": 3, "csv": 3,
}  # fmt: skip
OPINIONS = {
    "agiqa_1k": ["quality"], "agiqa_3k": ["quality", "alignment"],
    "aigciqa2023": ["quality", "alignment"], "aigiqa_20k": ["quality"], "koniq_10k": ["quality"],
    "spaq": ["quality"], "evalmuse_40k": ["alignment"], "genai_bench": ["alignment"],
    "csv": ["quality", "alignment"],
}  # fmt: skip


def write(name, root):
    return layouts.own_csv(root) if name == "csv" else getattr(layouts, name)(root)


@pytest.mark.parametrize("name", READERS)
def test_every_layout_is_read(name, tmp_path):
    rated = READERS[name](write(name, tmp_path / "set"))
    assert len(rated) == IMAGES[name]
    assert rated.opinions() == OPINIONS[name]
    assert rated.name == ("ratings" if name == "csv" else name)
    assert all(row.path.is_file() for row in rated.rows)
    assert len({row.id for row in rated.rows}) == len(rated)
    assert rated.counts.num_missing == 0


@pytest.mark.parametrize("name", READERS)
def test_a_folder_that_is_not_there_is_one_line(name, tmp_path):
    with pytest.raises(EvaluationError) as caught:
        READERS[name](tmp_path / "nowhere")
    assert "nowhere" in str(caught.value) and "\n" not in str(caught.value)


def test_agiqa_1k_leaves_the_image_listed_twice_out(tmp_path):
    rated = READERS["agiqa_1k"](layouts.agiqa_1k(tmp_path))
    assert [row.id for row in rated.rows][-1] == "dreamStudio_0_0_0_0.jpg"
    assert rated.counts.num_listed == 5 and rated.counts.num_conflicting == 2
    assert rated.counts.conflicting == ("dreamStudio_8_9_1_1.jpg",)
    first, second, third = rated.rows
    assert (first.quality, first.generator, first.alignment) == (2.79, "deepai", None)
    assert first.group_key == second.group_key == "bird, driving aircraft, city"
    assert third.generator == "dreamStudio"


def test_agiqa_3k_reads_both_opinions(tmp_path):
    row = READERS["agiqa_3k"](layouts.agiqa_3k(tmp_path)).rows[1]
    assert (row.quality, row.alignment) == (1.4, 0.43)
    assert row.prompt == "a hall, sharp, anime style" and row.generator == "AttnGAN_normal"


def test_aigciqa2023_finds_prompt_and_model_by_number(tmp_path):
    rows = READERS["aigciqa2023"](layouts.aigciqa2023(tmp_path)).rows
    # 400 files a model, 4 a prompt: 1209 = 3 * 400 + 2 * 4 + 1.
    row = rows[1209]
    assert row.id == "1209.png" and row.path.name == "1209.png"
    assert (row.quality, row.alignment) == (1209.0, 11209.0)
    assert row.prompt == "prompt 2" and row.generator == "Lafite"
    assert rows[0].prompt == "prompt 0", "the first row of a sheet without a header is a prompt"
    assert rows[2399].prompt == "prompt 99" and rows[2399].generator == "Unidiffuser"


def test_aigciqa2023_says_how_many_scores_it_expects(tmp_path):
    from scipy.io import savemat

    root = layouts.aigciqa2023(tmp_path)
    savemat(root / "DATA" / "MOS" / "mosz3.mat", {"MOSz": [[1.0], [2.0]]})
    with pytest.raises(EvaluationError, match="expected 2400 scores .* found 2"):
        READERS["aigciqa2023"](root)
    savemat(root / "DATA" / "MOS" / "mosz3.mat", {"other": [[1.0]]})
    with pytest.raises(EvaluationError, match="variable MOSz, found"):
        READERS["aigciqa2023"](root)


def test_aigciqa2023_refuses_a_sheet_with_a_header(tmp_path):
    root = layouts.aigciqa2023(tmp_path)
    rows = [["a", "b", "prompt"]] + [["a", "b", f"prompt {i}"] for i in range(100)]
    layouts.write_xlsx(root / "AIGCIQA2023_Prompts.xlsx", rows)
    with pytest.raises(EvaluationError, match="100 rows without a header"):
        READERS["aigciqa2023"](root)


def test_aigiqa_20k_keeps_the_split_and_takes_what_is_there(tmp_path):
    root = layouts.aigiqa_20k(tmp_path)
    rows = {row.id: row for row in READERS["aigiqa_20k"](root).rows}
    assert rows["LCM_SDXL_0447.png"].generator == "LCM_SDXL"
    assert rows["LCM_SDXL_0447.png"].split == "train"
    assert rows["MJ_0106.png"].prompt == 'a horse, "riding"'
    (root / "info_train.csv").unlink()
    assert {row.split for row in READERS["aigiqa_20k"](root).rows} == {"val", "test"}


def test_koniq_takes_the_larger_images_and_the_official_split(tmp_path):
    root = layouts.koniq_10k(tmp_path)
    rows = READERS["koniq_10k"](root).rows
    assert [row.split for row in rows] == ["train", "test", "val"]
    assert rows[0].quality == 77.38 and rows[0].prompt is None
    assert rows[0].path.parent.name == "512x384"
    layouts.touch(*(root / "1024x768" / row.id for row in rows))
    assert READERS["koniq_10k"](root).rows[0].path.parent.name == "1024x768"


def test_koniq_reads_the_sheet_of_the_database_page(tmp_path):
    root = layouts.koniq_10k_page(tmp_path)
    rows = READERS["koniq_10k"](root).rows
    assert [row.quality for row in rows] == [77.3836206897, 68.7285714286], "not MOS, on 1..5"
    assert [row.split for row in rows] == [None, None]
    layouts.koniq_10k(root)  # with both, the one that has the split is taken
    assert [row.split for row in READERS["koniq_10k"](root).rows] == ["train", "test", "val"]


def test_spaq_keeps_names_with_leading_zeros(tmp_path):
    rows = READERS["spaq"](layouts.spaq(tmp_path)).rows
    assert [(row.id, row.quality) for row in rows] == [
        ("00001.jpg", 36.5), ("00002.jpg", 27.0), ("00003.jpg", 61.25)
    ]  # fmt: skip


def test_alignment_scores_are_the_mean_of_the_raters(tmp_path):
    rows = READERS["evalmuse_40k"](layouts.evalmuse_40k(tmp_path / "e")).rows
    assert rows[0].alignment == pytest.approx(10 / 3) and rows[0].generator == "SDXL-Turbo"
    assert rows[1].path.parent.name == "Dreamina v2.0Pro"
    rows = READERS["genai_bench"](layouts.genai_bench(tmp_path / "g")).rows
    assert {row.id: row.alignment for row in rows} == {
        "DALLE_3/00000.jpeg": pytest.approx(14 / 3),
        "SDXL_Turbo/00000.jpeg": 3.0,
        "DALLE_3/00001.jpeg": pytest.approx(10 / 3),
    }


def test_own_csv_takes_mos_for_quality_where_neither_opinion_is_there(tmp_path):
    sheet = layouts.own_csv(tmp_path)
    sheet = sheet / "ratings.csv" if sheet.is_dir() else sheet
    lines = sheet.read_text(encoding="utf-8").splitlines()
    image = lines[1].split(",")[lines[0].split(",").index("path")]
    sheet.write_text(f"path,mos\n{image},3.5\n", encoding="utf-8")
    (row,) = READERS["csv"](sheet).rows
    assert row.quality == 3.5 and row.alignment is None
    sheet.write_text(f"path,mos,alignment\n{image},3.5,2\n", encoding="utf-8")
    (row,) = READERS["csv"](sheet).rows
    assert row.quality is None and row.alignment == 2


def test_own_csv_takes_prompts_that_differ_for_one_image(tmp_path):
    path = layouts.own_csv(tmp_path)
    with open(path, "a", encoding="utf-8") as file:
        file.write("a.png,a hen,,4,mine\n")
    rows = READERS["csv"](path).rows
    assert [row.id for row in rows] == ["a.png | a fox", "sub/b.png", "c.png", "a.png | a hen"]
    assert rows[2].prompt is None and rows[2].group_key == "image:c.png"


def test_missing_files_are_counted_and_named(tmp_path):
    root = layouts.agiqa_3k(tmp_path)
    (root / "file" / "sd1.5_lowstep_000.jpg").unlink()
    rated = READERS["agiqa_3k"](root)
    assert len(rated) == 3
    assert rated.counts.num_missing == 1 and rated.counts.missing == ("sd1.5_lowstep_000.jpg",)


def test_without_any_image_it_says_where_it_looked(tmp_path):
    root = layouts.spaq(tmp_path)
    for path in (root / "TestImage").iterdir():
        path.unlink()
    with pytest.raises(EvaluationError, match="3 have no file.*looked in .*TestImage"):
        READERS["spaq"](root)


def test_repeats_are_kept_once_and_empty_scores_left_out(tmp_path):
    path = layouts.own_csv(tmp_path)
    with open(path, "a", encoding="utf-8") as file:
        file.write("a.png,a fox,3,2,mine\nd.png,a cat,,,mine\nc.png,,nan,,other\n")
    counts = READERS["csv"](path).counts
    assert (counts.num_repeated, counts.num_unrated, counts.num_conflicting) == (1, 1, 2)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a.png,a fox,high,2,mine", "row 5: expected a number, found 'high'"),
        (",a fox,1,2,mine", "row 5: expected the path"),
        ("a.png", None),  # cells that are not there are empty ones
        ("a.png,a fox,1,2,mine,", None),  # and so are cells without a column
        ("a.png,a fox,1,2,mine, says she", "row 5: more cells than columns .* double quotes"),
    ],
)
def test_own_csv_names_the_row_that_is_wrong(line, message, tmp_path):
    path = layouts.own_csv(tmp_path)
    with open(path, "a", encoding="utf-8") as file:
        file.write(line + "\n")
    if message is None:
        assert READERS["csv"](path).counts.num_listed == 4
        return
    with pytest.raises(EvaluationError, match=message):
        READERS["csv"](path)


def test_a_column_that_stands_twice_is_named(tmp_path):
    sheet = tmp_path / "r.csv"
    sheet.write_text("path,quality,quality\na.png,1,2\n", encoding="utf-8")
    with pytest.raises(EvaluationError, match="column quality stands twice"):
        READERS["csv"](sheet)


def test_a_workbook_whose_rows_are_longer_than_its_header_is_read(tmp_path):
    from openpyxl import Workbook

    root = layouts.spaq(tmp_path)
    book = Workbook(write_only=True)  # says nothing of its width, as sheets of programs often do
    rows = book.create_sheet()
    for row in (["Image name", "MOS"], ["00001.jpg", 36.5, "a note"], ["00002.jpg"]):
        rows.append(row)
    book.save(root / "Annotations" / "MOS and Image attribute scores.xlsx")
    rated = READERS["spaq"](root)
    assert [row.quality for row in rated.rows] == [36.5] and rated.counts.num_unrated == 1


def test_a_renamed_column_and_a_damaged_workbook_are_named(tmp_path):
    root = layouts.spaq(tmp_path)
    sheet = root / "Annotations" / "MOS and Image attribute scores.xlsx"
    layouts.write_xlsx(sheet, [["Image", "MOS"], ["00001.jpg", 1]])
    with pytest.raises(EvaluationError, match=r"columns \['Image name'\], found \['Image', 'MOS'"):
        READERS["spaq"](root)
    sheet.write_bytes(b"no workbook")
    with pytest.raises(EvaluationError, match="expected an Excel workbook"):
        READERS["spaq"](root)


@pytest.mark.parametrize("name", ["../outside.jpg", "/etc/passwd", "sub/../../x.png"])
def test_a_sheet_cannot_point_outside_its_benchmark(name, tmp_path):
    root = layouts.agiqa_3k(tmp_path / "a")
    sheet = (root / "data.csv").read_text(encoding="utf-8")
    (root / "data.csv").write_text(sheet.replace("AttnGAN_normal_000.jpg", name))
    with pytest.raises(EvaluationError, match="name of an image"):
        READERS["agiqa_3k"](root)
    root = layouts.evalmuse_40k(tmp_path / "e")
    rows = json.loads((root / "train_list.json").read_text())
    rows[0]["img_path"] = name
    (root / "train_list.json").write_text(json.dumps(rows))
    with pytest.raises(EvaluationError, match="inside the benchmark"):
        READERS["evalmuse_40k"](root)


def test_json_of_another_form_is_named(tmp_path):
    root = layouts.genai_bench(tmp_path / "g")
    (root / "genai_image.json").write_text("[]")
    with pytest.raises(EvaluationError, match="JSON dict, found list"):
        READERS["genai_bench"](root)
    root = layouts.evalmuse_40k(tmp_path / "e")
    (root / "train_list.json").write_text('[{"prompt": "a"}]')
    with pytest.raises(EvaluationError, match="entry 0: expected img_path"):
        READERS["evalmuse_40k"](root)


def test_a_set_is_described_in_words(tmp_path):
    found = describe(READERS["csv"](layouts.own_csv(tmp_path)))
    text = describe_table({"mine": found})
    assert text.startswith("mine: 3 images, ")
    assert "left out: " in text and "  quality " in text and "  alignment " in text
