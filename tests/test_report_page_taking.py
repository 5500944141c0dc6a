"""What is taken from the report's page, driven in headless Chromium: lists, tables, the command."""

from __future__ import annotations

import csv
import io
import shlex
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="reports need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.cli import main  # noqa: E402
from eliq.interop import export_csv  # noqa: E402
from eliq.report import build_report  # noqa: E402
from tests.report_pages import (  # noqa: E402
    FORMULA,
    browser_or_skip,
    changed_rows,
    drag_to,
    kept_paths,
    number_kept,
    opened,
    settle,
)

NUM_IMAGES = 300


@pytest.fixture(scope="module")
def browser():
    try:
        with browser_or_skip() as found:
            yield found
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(path of the page, rows): 300 images, of which the first dozen exist."""
    out_dir = tmp_path_factory.mktemp("report") / "scored"
    rows = make_run(out_dir, NUM_IMAGES, originals=12, changed=changed_rows(), thumbnail_px=48)
    return build_report(out_dir), rows


@pytest.fixture
def page(browser, run):
    with opened(browser, run[0]) as found:
        yield found


def test_export_of_what_is_kept(page, run):
    page.locator("#search").fill("a")
    settle(page)
    drag_to(page, "visual_quality", 0.75)
    least = float(page.locator('[data-score="visual_quality"] .handle').get_attribute(
        "aria-valuenow"))  # fmt: skip
    expected = kept_paths(run[1], (least, 0), words="a")
    with page.expect_download() as started:
        page.locator("#export-txt").click()
    text = Path(started.value.path()).read_text(encoding="utf-8")
    assert started.value.suggested_filename == "kept.txt"
    assert text.splitlines() == expected and len(expected) > 10  # in the order of the run
    with page.expect_download() as started:
        page.locator("#export-csv").click()
    table = Path(started.value.path()).read_text(encoding="utf-8-sig")
    lines = list(csv.DictReader(io.StringIO(table, newline="")))
    assert [line["path"] for line in lines] == expected
    by_path = {row["path"]: row for row in run[1]}
    for line in lines:
        row = by_path[line["path"]]
        assert float(line["visual_quality"]) == np.float32(row["visual_quality"])
        if row["prompt"] == FORMULA:
            assert line["prompt"] == f"'{FORMULA}"  # text to a spreadsheet, not a formula


def test_the_table_is_that_of_eliq_export(page, run, tmp_path):
    drag_to(page, "visual_quality", 0.6)
    drag_to(page, "alignment", 0.4)
    least = [
        page.locator(f'[data-score="{name}"] .handle').get_attribute("aria-valuenow")
        for name in ("visual_quality", "alignment")
    ]
    with page.expect_download() as started:
        page.locator("#export-csv").click()
    found = Path(started.value.path()).read_bytes().decode("utf-8-sig")
    text = io.StringIO(newline="")
    by_path = {row["path"]: row for row in run[1]}
    paths = kept_paths(run[1], tuple(map(float, least)))
    export_csv([np_row(by_path[path]) for path in paths], text)
    tables = [list(csv.reader(io.StringIO(one, newline=""))) for one in (found, text.getvalue())]
    assert len(tables[0]) == len(tables[1]) > 10
    for page_line, line in zip(*tables, strict=True):
        # Characters that would steer a line are shown as others on the page, in prompts alone.
        if not set(line[13]) & set("\u202e\u2028\0"):
            assert page_line == line
        assert page_line[:13] == line[:13]


def np_row(row):
    """As it comes back from the run's files: scores as float32."""
    return {
        name: float(np.float32(value)) if isinstance(value, float) else value
        for name, value in row.items()
    }


def test_the_command_on_the_page_lists_the_same(page, run, capsys):
    page.locator("#search").fill("fox -snow")
    page.locator('#flags [data-flag="no_prompt"]').dblclick()
    settle(page)
    drag_to(page, "alignment", 0.6)
    words = shlex.split(page.locator("#command").inner_text())
    assert words[:2] == ["eliq", "keep"] and main(words[1:]) == 0
    assert len(capsys.readouterr().out.splitlines()) == number_kept(page) > 0
