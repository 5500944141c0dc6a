"""`eliq keep`: what is taken away, under which names, and that originals stay as they are."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="runs need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.bulk import RunConfig, plan_run  # noqa: E402
from eliq.cli import main  # noqa: E402
from eliq.errors import BulkError, ConfigError  # noqa: E402
from eliq.keep import Selection, take_away  # noqa: E402
from eliq.keep.marks import png_with_text, rating, xmp_sidecar  # noqa: E402
from eliq.keep.names import relative_name  # noqa: E402
from tests.bulk_sets import picture_bytes, run_inline, write_folder, write_tar  # noqa: E402

GOOD = {"status": "ok", "error_class": None, "error": None, "flags": [], "alignment": 0.8}
BAD_NAMES = [
    "a.png", "sub/a.png", "\u540d\u524d \U0001f98a.png", "x" * 230 + ".png", "-rf.png", "con.png",
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run of ten: six files with odd names and two of one manifest row, good; two others bad."""
    changed = {
        number: {**GOOD, "id": name, "path": f"images/{name}", "visual_quality": 0.9}
        for number, name in enumerate(BAD_NAMES)
    }
    changed[6] = {**changed[0], "id": "a.png#2"}  # the same file, listed twice
    changed[7] = {**GOOD, "id": "/etc/../a.png", "path": "images/other/a.png",
                  "visual_quality": 0.8}  # fmt: skip
    changed[8] = {**GOOD, "visual_quality": 0.2}
    changed[9] = {**GOOD, "visual_quality": None, "status": "failed", "alignment": None}
    make_run(tmp_path / "scored", 10, originals=8, changed=changed, thumbnail_px=16)
    return tmp_path / "scored"


def fingerprint(folder: Path):
    """Name, bytes, time and mode of every file below."""
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def files(folder: Path):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# The second row of one file is there already: the same target, inode or bytes.
EXPECTED = {"a.png", "sub/a.png", "\u540d\u524d \U0001f98a.png", "-rf.png", "_con.png", "etc/a.png"}


@pytest.mark.parametrize("how", ["link", "hardlink", "copy"])
def test_kept_files_arrive_and_originals_stay(run, tmp_path, how):
    images, out = tmp_path / "images", tmp_path / "kept"
    before = fingerprint(images)
    counts = take_away(run, Selection(0.5, 0.5), out, how=how)
    found = files(out)
    (shortened,) = (name for name in found if name.startswith("xxx"))
    if how == "link":
        assert Path(os.readlink(out / "sub/a.png")) == images / "sub/a.png"
    assert found - {shortened} == EXPECTED
    assert len(os.fsencode(shortened)) <= 200 and shortened.endswith(".png")
    assert counts.num_kept == 8 and counts.num_taken == 7 and counts.num_there == 1
    for name in ("sub/a.png", "-rf.png"):
        assert (out / name).read_bytes() == (images / name).read_bytes()
    again = take_away(run, Selection(0.5, 0.5), out, how=how)
    assert (again.num_taken, again.num_there) == (0, 8) and files(out) == found
    assert fingerprint(images) == before
    assert not [name for name in found if name.endswith(".partial")]


def test_names_that_clash_get_a_number_and_nothing_is_overwritten(run, tmp_path):
    out = tmp_path / "kept"
    out.mkdir()
    (out / "a.png").write_text("mine")
    counts = take_away(run, Selection(0.5), out, how="copy", flat=True)
    assert (out / "a.png").read_text() == "mine"
    # a.png of three folders, one of them listed twice
    assert {"a~2.png", "a~3.png", "a~4.png"} <= files(out) and "a~5.png" not in files(out)
    assert counts.num_renamed == 4
    again = take_away(run, Selection(0.5), out, how="copy", flat=True)
    assert again.num_taken == 0 and again.num_there == 8


def test_no_name_leads_out_of_the_target():
    def name(ident, member=None, path="p/a.png"):
        return relative_name({"id": ident, "path": path, "member": member}).as_posix()

    assert name("../../a.png") == "a.png" and name("/abs/a.png") == "abs/a.png"
    assert name("C:\\x\\a.png") == "C_/x/a.png" and name("a/./b//c.png") == "a/b/c.png"
    assert name("..") == "image" and name("a\x00\n.png") == "a__.png"
    assert name("s.tar/../../b.png", member="../../b.png") == "s.tar/b.png"
    assert name("a.png#2") == "a.png" and name("a#2") == "a#2"


def test_a_link_in_the_target_leads_nowhere_else(run, tmp_path):
    out = tmp_path / "kept"
    out.mkdir()
    (out / "sub").symlink_to(tmp_path / "images" / "sub")
    with pytest.raises(BulkError, match="leads out"):
        take_away(run, Selection(0.5), out, how="copy")


def test_the_originals_own_folder_is_refused(run, tmp_path):
    before = fingerprint(tmp_path / "images")
    for how in ("link", "copy"):
        with pytest.raises(BulkError, match="originals themselves"):
            take_away(run, Selection(0.5), tmp_path / "images", how=how, xmp=True)
    assert fingerprint(tmp_path / "images") == before


def test_members_of_tars_are_extracted_by_copy_alone(tmp_path):
    data = io.BytesIO()
    Image.new("RGB", (9, 9), (1, 2, 3)).save(data, "PNG")
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("x/1.png", "x/2.png"):
            member = tarfile.TarInfo(name)
            member.size = len(data.getvalue())
            tar.addfile(member, io.BytesIO(data.getvalue()))
    before = (tmp_path / "s.tar").read_bytes()
    changed = {
        number: {**GOOD, "id": f"s.tar/{member}", "path": "s.tar", "shard": "s.tar",
                 "member": member, "visual_quality": 0.9}
        for number, member in enumerate(["x/1.png", "x/2.png", "x/gone.png"])
    }  # fmt: skip
    make_run(tmp_path / "scored", 3, changed=changed, thumbnail_px=16)
    with pytest.raises(BulkError, match="use --copy"):
        take_away(tmp_path / "scored", Selection(), tmp_path / "kept")
    counts = take_away(tmp_path / "scored", Selection(), tmp_path / "kept", how="copy")
    assert files(tmp_path / "kept") == {"s.tar/x/1.png", "s.tar/x/2.png"}
    assert (tmp_path / "kept/s.tar/x/1.png").read_bytes() == data.getvalue()
    assert len(counts.missing) == 1 and (tmp_path / "s.tar").read_bytes() == before


def test_stars_and_text_only_on_request(run, tmp_path):
    plain, marked = tmp_path / "plain", tmp_path / "marked"
    take_away(run, Selection(0.85), plain, how="copy")
    assert not [name for name in files(plain) if not name.endswith(".png")]
    counts = take_away(run, Selection(0.85), marked, how="copy", xmp=True, png_text=True)
    assert counts.num_without_text == 0
    packet = ElementTree.fromstring((marked / "a.png.xmp").read_bytes())
    description = packet.find(".//{*}Description")
    assert description.get("{http://ns.adobe.com/xap/1.0/}Rating") == "5"  # 0.9 of 5 is 4.5
    with Image.open(marked / "a.png") as copy, Image.open(plain / "a.png") as original:
        assert json.loads(copy.text["eliq"])["visual_quality"] == pytest.approx(0.9)
        assert "eliq" not in original.text and copy.tobytes() == original.tobytes()
    with pytest.raises(ConfigError, match="needs copies"):
        take_away(run, Selection(), tmp_path / "x", how="link", png_text=True)


def test_the_folder_loads_as_an_imagefolder(run, tmp_path, capsys, monkeypatch):
    """With the images themselves, links too, and with what an earlier selection brought."""
    out, words = tmp_path / "kept", ["--link", str(tmp_path / "kept"), "--metadata", "-q"]
    assert main(["keep", str(run), "--min-visual-quality", ".85", *words]) == 0
    lines = [json.loads(line) for line in (out / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert {line["file_name"] for line in lines} == files(out) - {"metadata.jsonl"}
    assert all(line["visual_quality"] > 0.85 and line["flags"] == "" for line in lines)
    assert main(["keep", str(run), "--words", "other/a.png", *words]) == 0
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    loaded = datasets.load_dataset(
        "imagefolder", data_dir=str(out), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert len(loaded) == len(lines) + 1 and {row["image"].size for row in loaded} == {(512, 512)}
    assert loaded["alignment"] == pytest.approx([0.8] * len(loaded))
    (out / "metadata.jsonl").write_text("my notes")
    assert main(["keep", str(run), *words]) == 1
    assert (out / "metadata.jsonl").read_text() == "my notes"
    assert "expected lines with file_name" in capsys.readouterr().err


def test_stars_by_hand():
    rows = [({"visual_quality": 0.09, "alignment": None}, 0), ({"visual_quality": 0.1,
            "alignment": None}, 1), ({"visual_quality": 0.5, "alignment": 1.0}, 3),
            ({"visual_quality": 1.0, "alignment": 0.0}, 5)]  # fmt: skip
    assert [rating(row) for row, _ in rows] == [stars for _, stars in rows]
    assert [rating(row, "alignment") for row, _ in rows] == [0, 0, 5, 0]
    assert [rating(row, "lower") for row, _ in rows] == [0, 1, 3, 0]
    assert [rating(row, "mean") for row, _ in rows] == [0, 1, 4, 3]
    assert b'Rating="0"' in xmp_sidecar(rows[0][0]) and b"Alignment" not in xmp_sidecar(rows[0][0])


def test_png_text_keeps_all_other_chunks():
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("prompt", '{"3": "workflow"}')
    buffer = io.BytesIO()
    Image.new("RGB", (5, 5), (9, 8, 7)).save(buffer, "PNG", pnginfo=text)
    row = {"visual_quality": 0.25, "alignment": None}
    once = png_with_text(buffer.getvalue(), row)
    twice = png_with_text(once, {**row, "visual_quality": 0.75})
    assert len(once) == len(twice)  # replaced, not added
    with Image.open(io.BytesIO(twice)) as image:
        image.load()
        assert image.text["prompt"] == '{"3": "workflow"}'
        assert json.loads(image.text["eliq"]) == {"visual_quality": 0.75}
    for broken in (b"", b"\xff\xd8jpeg", once[:60]):
        with pytest.raises(Exception, match="PNG"):
            png_with_text(broken, row)


def call(capsys, *argv):
    code = main([str(word) for word in argv])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_listed_paths_can_be_opened_from_here(run, tmp_path, capsys, monkeypatch):
    (tmp_path / "deep").mkdir()
    for here, expected in (("", "images/a.png"), ("deep", str(tmp_path / "images/a.png"))):
        monkeypatch.chdir(tmp_path / here)
        code, out, _ = call(capsys, "keep", run, "--min-visual-quality", ".85")
        assert code == 0 and out.splitlines()[0] == expected and Path(expected).exists()
        code, out, _ = call(capsys, "keep", run, "--min-visual-quality", ".85", "--json")
        assert json.loads(out.splitlines()[0])["path"] == expected
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", "1")
    assert code == 0 and out == "" and err.startswith("eliq: no image of ") and err.count("\n") == 1
    assert call(capsys, "keep", run, "--min-visual-quality", "1", "-q") == (0, "", "")


def test_the_command_lists_links_and_counts(run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", ".5", "--list")
    assert code == 0 and len(out.splitlines()) == 8 and not err
    assert out.splitlines()[0] == "images/a.png"
    code, out, _ = call(capsys, "keep", run, "--min-visual-quality", ".5", "--null")
    assert out.count("\0") == 8 and "\n" not in out
    code, out, _ = call(capsys, "keep", run, "--min-alignment", ".5", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 9 and rows[-1]["visual_quality"] == pytest.approx(0.2)
    code, out, _ = call(capsys, "keep", run, "--min-visual-quality", ".5", "--link",
                        tmp_path / "kept")  # fmt: skip
    assert code == 0 and "7 of 8 linked" in out and "1 were there" in out
    (tmp_path / "images" / "-rf.png").unlink()
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", ".5", "--copy",
                          tmp_path / "copies", "--json")  # fmt: skip
    assert code == 3 and json.loads(out)["missing"] == 1 and "1 original is not there" in err


def test_images_of_an_earlier_selection_are_counted_and_stay(run, tmp_path, capsys):
    kept = tmp_path / "kept"
    words = ["--copy", kept, "--xmp", "--metadata"]
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", ".5", *words, "--json")
    assert code == 0 and json.loads(out)["others"] == 0 and not err
    (kept / "notes.txt").write_text("no image")
    before = files(kept)
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", ".85", *words)
    assert code == 0 and files(kept) == before and err.count("\n") == 1
    assert f"eliq: {kept} also holds 1 image that this command did not put there" in err
    (tmp_path / "images/sub/a.png").unlink()  # its copy is none of another selection
    code, out, err = call(capsys, "keep", run, "--min-visual-quality", ".5", *words, "--json")
    assert code == 3 and json.loads(out)["others"] == 0


def test_what_was_taken_in_another_way_counts_as_others(run, tmp_path, capsys):
    """And a missing original's own copies do not, whatever number they got."""
    kept = tmp_path / "kept"
    words = ["keep", run, "--min-visual-quality", ".85", "--json"]
    assert json.loads(call(capsys, *words, "--link", kept, "--flat")[1])["others"] == 0
    facts = json.loads(call(capsys, *words, "--copy", kept, "--flat")[1])
    assert facts["others"] == facts["taken"] == 6
    for name in ("images/a.png", "images/sub/a.png"):
        (tmp_path / name).unlink()
    facts = json.loads(call(capsys, *words, "--copy", kept, "--flat")[1])
    assert facts["missing"] == 3
    links = [path for path in kept.iterdir() if path.is_symlink()]
    assert facts["others"] == len(links) - 2  # both links are called as the missing ones


@pytest.mark.parametrize(
    ("target", "is_found"),
    [("images/kept", True), ("images/sub/kept", True), ("images/.kept", False),
     ("images/out/kept", False), ("kept", False)],
)  # fmt: skip
def test_a_target_is_said_where_the_next_run_would_find_it(
    tiny_scorer, tmp_path, capsys, target, is_found
):
    folder = write_folder(tmp_path / "images", 2)
    run_inline(tiny_scorer, folder, folder / "out")
    code, _, err = call(capsys, "keep", folder / "out", "--copy", tmp_path / target)
    assert code == 0 and (err == "") != is_found
    if is_found:
        assert err.startswith(f"eliq: {tmp_path / target} lies inside {folder}, which this run")
    config = RunConfig(os.fspath(folder), folder / "again", part_size=8)
    assert plan_run(config).num_items == (4 if is_found else 2)


def test_a_target_inside_a_folder_of_tars_is_said(tiny_scorer, tmp_path, capsys):
    """The next run would score the copies instead."""
    (tmp_path / "tars").mkdir()
    write_tar(tmp_path / "tars/s.tar", {"x.png": picture_bytes(1)})
    run_inline(tiny_scorer, tmp_path / "tars", tmp_path / "out")
    code, _, err = call(capsys, "keep", tmp_path / "out", "--copy", tmp_path / "tars/kept")
    assert code == 0 and "lies inside" in err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--min-visual-quality", "1.5"], "from 0 to 1"),
        (["--list", "--link", "x"], "choose one"),
        (["--xmp"], "need --link"),
        (["--link", "x", "--png-text"], "needs --copy"),
        (["--link", "x", "--null"], "--null goes with --list"),
    ],
)
def test_wrong_usage(run, capsys, words, reason):
    code, out, err = call(capsys, "keep", run, *words)
    assert code == 2 and reason in err and not out and err.count("\n") == 1


def test_what_is_no_run(tmp_path, capsys):
    for command in (["keep"], ["report"], ["export", "--to", "csv"]):
        code, out, err = call(capsys, command[0], tmp_path, *command[1:])
        assert code == 1 and "run.json" in err and not out and err.count("\n") == 1


def test_report_says_where_it_is(run, capsys):
    assert call(capsys, "report", run)[:2] == (0, f"{run / 'report.html'}\n")
    code, out, _ = call(capsys, "report", run, "--json", "--one-file", "--rows", "5")
    assert code == 0 and json.loads(out) == {"report": str(run / "report.html")}
    assert call(capsys, "report", run, "--quiet")[:2] == (0, "")


def test_another_file_of_the_same_relative_name_is_never_taken(run, tmp_path, monkeypatch):
    """The original is gone, and a file below the current folder has its name."""
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "images").mkdir(parents=True)
    (tmp_path / "images/a.png").rename(elsewhere / "images/a.png")
    monkeypatch.chdir(elsewhere)
    for how in ("copy", "link"):
        counts = take_away(run, Selection(0.85), tmp_path / how, how=how)
        assert counts.missing == ["images/a.png"] * 2  # listed twice
        assert not (tmp_path / how / "a.png").exists() and (tmp_path / how / "sub/a.png").exists()


def test_members_of_one_name_are_each_themselves(tiny_scorer, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for number in range(3):
            info = tarfile.TarInfo("a.png")
            info.size = len(picture_bytes(number))
            tar.addfile(info, io.BytesIO(picture_bytes(number)))
    run_inline(tiny_scorer, tmp_path / "s.tar", tmp_path / "out")
    assert take_away(tmp_path / "out", Selection(), tmp_path / "kept", how="copy").num_taken == 3
    for number, name in enumerate(("a.png", "a~2.png", "a~3.png")):
        assert (tmp_path / "kept/s.tar" / name).read_bytes() == picture_bytes(number)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX only")
def test_a_file_whose_name_is_no_text_is_taken(tiny_scorer, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    try:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.png")).write_bytes(picture_bytes(1))
    except OSError:
        pytest.skip("this file system takes only text")
    write_tar(tmp_path / "s.tar", {os.fsdecode(b"\xfe.png"): picture_bytes(2)})
    for source, number in ((folder, 1), (tmp_path / "s.tar", 2)):
        out, kept = tmp_path / f"out{number}", tmp_path / f"kept{number}"
        run_inline(tiny_scorer, source, out)
        counts = take_away(out, Selection(), kept, how="copy")
        assert counts.num_taken == 1 and not counts.missing
        (place,) = (path for path in kept.rglob("*") if path.is_file())
        assert place.name == "_.png" and place.read_bytes() == picture_bytes(number)
