"""What the report is built of: counts of the whole run, columns, thumbnails, one safe file."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow", reason="reports need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.bulk import iterate_rows  # noqa: E402
from eliq.errors import BulkError, ConfigError  # noqa: E402
from eliq.keep import Selection  # noqa: E402
from eliq.report import build_report  # noqa: E402
from eliq.report.flag_words import FLAG_WORDS  # noqa: E402
from eliq.report.survey import NUM_STEPS, SURVEY_COLUMNS, survey_rows  # noqa: E402


def batch_of(quality, alignment, flags=None, reasons=None):
    number = len(quality)
    columns = {
        "visual_quality": pa.array(quality, pa.float32()),
        "alignment": pa.array(alignment, pa.float32()),
        "status": pa.array(["ok"] * number),
        "flags": pa.array(flags or [[]] * number, pa.list_(pa.string())),
        "error_class": pa.array(reasons or [None] * number, pa.string()),
    }
    return pa.RecordBatch.from_pydict(columns)


def data_of(path):
    """The data block of a page."""
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


def test_a_survey_by_hand():
    batches = [
        batch_of([0.5, 0.4999, None], [0.25, None, None], [["a", "b"], ["a"], []],
                 [None, None, "damaged_image"]),
        batch_of([1.0, 0.0], [1.0, float("nan")], [["nonfinite_input"], []],
                 ["nonfinite_input", None]),
    ]  # fmt: skip
    found = survey_rows(batches, 10)
    assert (found.num_images, found.num_failed) == (5, 1)
    assert found.words == {"a": 2, "b": 1, "damaged_image": 1, "nonfinite_input": 1}
    assert found.rows.tolist() == [0, 1, 2, 3, 4]
    cells = np.array(found.joint_cells()).reshape(-1, 3).tolist()
    assert sorted(cells) == [[0, -1, 1], [99, -1, 1], [100, 50, 1], [200, 200, 1]]
    assert found.histogram("visual_quality")[100] == 1 == found.histogram("alignment")[50]
    assert sum(found.histogram("visual_quality")) == 4 and sum(found.histogram("alignment")) == 2


def test_counts_from_the_steps_are_exact_at_every_threshold():
    """Also where a float32 lies just beside a multiple of 1/200."""
    rng = np.random.default_rng(0)
    exact = np.arange(NUM_STEPS + 1) / NUM_STEPS
    near = np.concatenate([exact, np.nextafter(exact.astype(np.float32), 1, dtype=np.float32)])
    quality = np.concatenate([near, rng.random(500)]).astype(np.float32).clip(0, 1)
    alignment = rng.permutation(quality)
    found = survey_rows([batch_of(quality.tolist(), alignment.tolist())], 10)
    cells = np.array(found.joint_cells()).reshape(-1, 3)
    for low, high in ((0.005, 0.7), (0.35, 0.35), (0.7, 0.29), (1.0, 0.005)):
        kept = (quality.astype(float) >= low) & (alignment.astype(float) >= high)
        steps = (cells[:, 0] >= round(low * NUM_STEPS)) & (cells[:, 1] >= round(high * NUM_STEPS))
        assert cells[steps, 2].sum() == kept.sum() > 0


def test_a_sample_is_bounded_and_holds_the_extremes():
    rng = np.random.default_rng(1)
    quality = rng.random(20_000).astype(np.float32)
    batches = [batch_of(part.tolist(), part.tolist()) for part in np.split(quality, 20)]
    found = survey_rows(batches, 500)
    again = survey_rows(batches, 500)
    assert 500 <= len(found.rows) <= 500 + 4 * 250 + 250
    assert found.rows.tolist() == again.rows.tolist() == sorted(set(found.rows.tolist()))
    order = np.argsort(quality)
    assert set(order[:250]) | set(order[-250:]) <= set(found.rows.tolist())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of 1,050 images in two parts."""
    out_dir = tmp_path_factory.mktemp("build") / "scored"
    hostile = {2: {"prompt": "</script><!-- <script> \u2028", "flags": ["]]>"], "error": None}}
    return out_dir, make_run(out_dir, 1050, thumbnail_px=32, changed=hostile)


def test_every_row_is_in_the_page_as_it_is_in_the_run(made):
    out_dir, rows = made
    data = data_of(build_report(out_dir))
    assert data["num_rows"] == data["totals"]["images"] == 1050
    assert data["totals"]["failed"] == sum(row["status"] != "ok" for row in rows)

    def column(name, row):
        stored = data["columns"][name]
        if "constant" in stored:
            return stored["constant"]
        index = stored.get("index")
        return stored["values"][row] if index is None else stored["table"][index[row]]

    for number, row in enumerate(rows):
        folder = column("folder", number)
        assert folder["path"] + column("name", number) == row["path"]
        assert folder["href"] == f"./../{row['path'].rsplit('/', 1)[0]}/"
        for name in ("visual_quality", "alignment"):
            expected = None if row[name] is None else float(np.float32(row[name]))
            assert column(name, number) == expected  # to the last bit: thresholds compare it
        reasons = [row["error_class"]] if row["error_class"] else []
        assert column("flags", number) == row["flags"] + reasons
    assert column("prompt", 2) == "</script><!-- <script> \ufffd"
    assert list(iterate_rows(out_dir, list(SURVEY_COLUMNS)))[0].num_columns == 5


def test_the_page_is_one_file_under_a_strict_policy(made):
    path = build_report(made[0])
    text = path.read_text(encoding="utf-8")
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "parts", "plan.json", "report.html", "run.json", "thumbnails"
    ]  # fmt: skip
    policy = html.unescape(re.search(r'Content-Security-Policy" content="([^"]+)"', text)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'" and "connect-src" not in rules
    assert rules["require-trusted-types-for"] == "'script'"
    for tag, rule in (("style", "style-src"), ("script", "script-src")):
        body = re.search(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    for banned in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(",
                   "fetch(", "XMLHttpRequest", "http://", "https://"):  # fmt: skip
        assert banned not in script, banned
    assert not re.search(r'(?:src|href)="(?!data:,|#)', text)
    assert text.count("</script>") == 2 + data_of(path)["num_rows"] // 100 + 1


def test_thumbnails_lie_inside_or_beside_and_old_ones_go(made):
    out_dir, rows = made
    path = build_report(out_dir, max_inline_bytes=0)
    data = data_of(path)
    folder = out_dir / data["thumbnails"]["folder"]
    assert data["thumbnails"]["mode"] == "files"
    jpegs = {int(jpeg.stem): jpeg for jpeg in folder.rglob("*.jpg")}
    missing = [number for number, row in enumerate(rows) if row["status"] != "ok"]
    assert data["thumbnails"]["missing"] == missing and missing
    assert sorted([*jpegs, *missing]) == list(range(len(rows)))
    assert jpegs[1001].parent.name == "1" and jpegs[1001].read_bytes()[:2] == b"\xff\xd8"
    stranger = out_dir / "report_files" / "notes.txt"
    stranger.write_text("mine")
    assert data_of(build_report(out_dir))["thumbnails"]["mode"] == "inline"
    assert not folder.exists() and stranger.exists()
    stranger.unlink()
    build_report(out_dir)


def test_a_run_of_tars_and_of_absolute_paths(tmp_path):
    changed = {
        0: {"path": "shards/a.tar", "shard": "a.tar", "member": "x/0001.png"},
        1: {"path": "/elsewhere/50% #1/\u00e4.png"},
        2: {"path": "javascript:x/../y.png"},
        3: {"path": "plain.png"},
    }
    make_run(tmp_path / "scored", 4, changed=changed, thumbnail_px=16)
    columns = data_of(build_report(tmp_path / "scored"))["columns"]
    folders = [columns["folder"]["table"][index] for index in columns["folder"]["index"]]
    assert folders[0] == {"path": "shards/a.tar/", "href": None}
    assert columns["name"]["values"][:2] == ["x/0001.png", "\u00e4.png"]
    assert folders[1]["href"].endswith("/elsewhere/50%25%20%231/")
    assert folders[2]["href"].startswith("./") and ":" not in folders[2]["href"]
    assert folders[3] == {"path": "", "href": "./../"}
    assert all(folder["href"] is None or folder["href"][:2] == "./" for folder in folders)


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    with pytest.raises(BulkError, match="no run.json"):
        build_report(tmp_path)
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(BulkError, match="JSON object"):
        build_report(tmp_path)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BulkError, match="no finished part"):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
    with pytest.raises(ConfigError, match="max_rows"):
        build_report(tmp_path, max_rows=0)


def test_every_flag_and_reason_has_its_words():
    from eliq.bulk.decoding import BULK_ERROR_CLASSES
    from eliq.images import IMAGE_FLAGS
    from eliq.prompts import PROMPT_FLAGS

    missing = {*BULK_ERROR_CLASSES, *IMAGE_FLAGS, *PROMPT_FLAGS} - set(FLAG_WORDS)
    assert not missing, f"eliq/report/flag_words.py does not explain {sorted(missing)}"


def test_the_selection_of_the_library_by_hand():
    row = {"visual_quality": 0.6, "alignment": None, "flags": ["no_prompt"], "error_class": None,
           "prompt": None, "path": "Foxes/A.png", "member": None}  # fmt: skip
    assert Selection().keeps(row) and Selection(0.6, 0.0).keeps(row)
    assert not Selection(0.61).keeps(row) and not Selection(0.1, 0.01).keeps(row)
    assert not Selection().keeps({**row, "visual_quality": None})
    assert Selection(flags=("no_prompt",)).keeps(row)
    assert not Selection(without_flags=("no_prompt",)).keeps(row)
    assert Selection(words="fox -dog").keeps(row) and not Selection(words="-fox").keeps(row)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Selection(float("nan"))
