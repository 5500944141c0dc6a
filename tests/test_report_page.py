"""The report's page, driven in headless Chromium: thresholds, filters, order, keys, exports."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pyarrow", reason="reports need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.report import build_report  # noqa: E402
from tests.report_pages import (  # noqa: E402
    HOSTILE,
    WORST_NAME,
    browser_or_skip,
    changed_rows,
    drag_to,
    kept_paths,
    listed_names,
    names,
    number_all,
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


def by(rows, score):
    """Rows that have the score, best first."""
    known = [row for row in rows if row[score] is not None]
    return sorted(known, key=lambda row: -row[score])


def test_dragging_a_threshold_counts_as_the_library_does(page, run):
    rows = run[1]
    assert number_all(page) == NUM_IMAGES
    assert number_kept(page) == len(kept_paths(rows))
    for score, value, least in (
        ("visual_quality", 0.7, (0.7, 0.0)),
        ("alignment", 0.62, (0.7, 0.62)),
        ("visual_quality", 0.0, (0.0, 0.62)),
    ):
        drag_to(page, score, value)
        handle = page.locator(f'[data-score="{score}"] .handle')
        assert float(handle.get_attribute("aria-valuenow")) == pytest.approx(value, abs=0.004)
        exact = {
            name: float(
                page.locator(f'[data-score="{name}"] .handle').get_attribute("aria-valuenow")
            )
            for name in ("visual_quality", "alignment")
        }
        assert least == pytest.approx(tuple(exact.values()), abs=0.004)
        assert number_kept(page) == len(kept_paths(rows, tuple(exact.values())))
    dropped = page.locator("#num-dropped").inner_text()
    failed = page.locator("#num-failed").inner_text()
    assert number_kept(page) + int(dropped) + int(failed) == NUM_IMAGES


def test_a_threshold_is_typed_and_moved_by_keys(page, run):
    field = page.locator('[data-score="alignment"] input')
    field.fill("0.737")
    settle(page)
    assert number_kept(page) == len(kept_paths(run[1], (0.5, 0.737)))
    field.fill("0.735")
    settle(page)
    assert number_kept(page) == len(kept_paths(run[1], (0.5, 0.735)))
    handle = page.locator('[data-score="alignment"] .handle')
    handle.focus()
    for key, value in (("ArrowRight", "0.745"), ("PageDown", "0.645"), ("Home", "0"), ("End", "1")):
        page.keyboard.press(key)
        settle(page)
        assert handle.get_attribute("aria-valuenow") == value == field.input_value()
    assert number_kept(page) == 0 and page.locator("#export-txt").is_disabled()
    page.keyboard.press("Home")
    settle(page)
    assert number_kept(page) == len(kept_paths(run[1], (0.5, 0.0)))  # those without a prompt too


def test_filters_by_text_and_by_flag(page, run):
    rows = run[1]
    for words in ("fox", "FOX -snow", '"red fox"', "batch_000/00001", "nothing-like-it"):
        page.locator("#search").fill(words)
        settle(page)
        matching = [row for row in rows if words_match(row, words)]
        assert number_all(page) == len(matching), words
        assert number_kept(page) == len(kept_paths(rows, words=words)), words
    assert page.locator("#empty").is_visible()
    page.locator("#clear").click()
    settle(page)
    assert number_all(page) == NUM_IMAGES
    chip = page.locator('#flags [data-flag="no_prompt"]')
    with_flag = sum("no_prompt" in row["flags"] for row in rows)
    assert with_flag and chip.inner_text() == f"no prompt {with_flag}"
    for expected in (with_flag, NUM_IMAGES - with_flag, NUM_IMAGES):
        chip.click()
        settle(page)
        assert number_all(page) == expected
    reason = page.locator('#flags [data-flag="damaged_image"]')
    reason.click()
    page.locator('[data-show="failed"]').click()
    settle(page)
    failed = [row for row in rows if row["error_class"] == "damaged_image"]
    assert sorted(listed_names(page)) == sorted(names(failed))


def words_match(row, words):
    text = f"{row['prompt'] or ''} {row['path']}".lower()
    found = {"fox": "fox" in text, "FOX -snow": "fox" in text and "snow" not in text,
             '"red fox"': "red fox" in text}  # fmt: skip
    return found.get(words, words in text)


def test_the_grid_is_sorted_and_holds_only_what_is_in_sight(page, run):
    rows = run[1]
    for score in ("visual_quality", "alignment"):
        page.locator("#sort").select_option(score)
        settle(page)
        seen = listed_names(page)
        assert 8 < len(seen) < 100
        assert seen == names(by(rows, score))[: len(seen)]
    page.locator("#direction").click()
    settle(page)
    seen = listed_names(page)
    assert seen == names(by(rows, "alignment")[::-1])[: len(seen)]
    page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
    settle(page)
    last = listed_names(page)
    assert len(last) < 100
    without = {name for name, row in zip(names(rows), rows, strict=True) if not row["alignment"]}
    assert last[-1] in without  # what has no such score is last, either way
    page.locator('[data-show="dropped"]').click()
    settle(page)
    kept = {path.rsplit("/", 1)[1] for path in kept_paths(rows)}
    assert listed_names(page) and not kept & set(listed_names(page))


def test_by_path_the_first_name_comes_first(page, run):
    def listed(order):
        page.locator("#sort").select_option(order)
        settle(page)
        return listed_names(page), page.locator("#direction").get_attribute("aria-label")

    inorder = names(sorted(run[1], key=lambda row: row["path"]))
    seen, label = listed("path")
    regular = [name for name in inorder if name != WORST_NAME]  # collated elsewhere
    assert [name for name in seen if name != WORST_NAME] == regular[: len(seen) - 1]
    assert label == "First first" and "last first" not in page.locator("#grid-note").inner_text()
    seen, label = listed("visual_quality")
    assert seen == names(by(run[1], "visual_quality"))[: len(seen)] and label == "Best first"


def test_thresholds_outlast_a_reload(page, run):
    page.locator('[data-score="visual_quality"] input').fill("0.612")
    page.locator('[data-score="alignment"] input').fill("0")
    for _ in range(50):  # the page's policy forbids what wait_for_function does
        if page.evaluate("location.hash") == "#quality=0.612&alignment=0":
            break
        settle(page)
    page.reload()
    settle(page)
    assert page.locator('[data-score="visual_quality"] input').input_value() == "0.612"
    assert number_kept(page) == len(kept_paths(run[1], (0.612, 0.0)))
    page.evaluate("location.hash = 'quality=<b>&alignment=7&x'")
    page.reload()
    settle(page)
    assert number_kept(page) == len(kept_paths(run[1], (0.5, 1.0)))


def test_strips_show_both_ends_and_both_sides_of_the_threshold(page, run):
    drag_to(page, "visual_quality", 0.6)
    least = float(page.locator('[data-score="visual_quality"] .handle').get_attribute(
        "aria-valuenow"))  # fmt: skip
    ordered = by(run[1], "visual_quality")
    above = [row for row in ordered if row["visual_quality"] >= least]
    expected = {
        "best": ordered[:12],
        "worst": ordered[::-1][:12],
        "above": above[::-1][:12],
        "below": ordered[len(above) :][:12],
    }
    for strip, rows in expected.items():
        labels = page.evaluate(
            f"""() => [...document.querySelectorAll('[data-strip={strip}] .tile')]
            .map((tile) => tile.getAttribute('aria-label').split(': visual quality')[0])"""
        )
        assert labels == names(rows), strip


def test_the_large_view(page, run):
    rows = by(run[1], "visual_quality")
    page.locator("#grid .tile").first.click()
    view = page.locator("#view")
    assert view.is_visible() and page.locator("#view-name").inner_text() == names(rows)[0]
    # The original, 512 px, not the thumbnail of 48.
    page.wait_for_selector("#view-image")
    settle(page)
    assert page.evaluate("document.getElementById('view-image').naturalWidth") == 512
    assert "0.999" in page.locator("#view-scores").inner_text()
    page.keyboard.press("ArrowRight")
    settle(page)
    assert page.locator("#view-name").inner_text() == WORST_NAME
    assert page.evaluate("document.getElementById('view-image').naturalWidth") == 512
    record = page.locator("#view-record").inner_text()
    assert "model id" in record and f"images/batch_000/{WORST_NAME}" in record
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # round to the last, which was not scored
    settle(page)
    assert "Not scored" in page.locator("#view-state").inner_text()
    page.keyboard.press("Escape")
    assert not view.is_visible()
    settle(page)
    number = names(rows).index("000200.png")  # its original is not there
    page.evaluate("window.scrollTo(0, 0)")
    page.locator("#search").fill("000200.png")
    settle(page)
    page.locator("#grid .tile").first.click()
    settle(page)
    assert "thumbnail" in page.locator("#view-place").inner_text() and number >= 0
    assert page.evaluate("document.getElementById('view-image').naturalWidth") == 48


def test_keys(page, run):
    def press(*keys):
        for key in keys:
            page.keyboard.press(key)
        settle(page)

    press("2")
    assert page.locator("#sort").input_value() == "alignment"
    press("]", "]", "[")
    alignment = page.locator('[data-score="alignment"] .handle')
    assert alignment.get_attribute("aria-valuenow") == "0.01"
    press("1", "k")
    assert page.locator('[data-show="kept"]').get_attribute("aria-pressed") == "true"
    press("a", "r")
    assert page.locator("#direction").get_attribute("aria-pressed") == "false"
    press("r", "/")
    page.keyboard.type("k2")  # letters go into the field, and do nothing else
    settle(page)
    assert page.locator("#search").input_value() == "k2"
    assert page.locator("#sort").input_value() == "visual_quality"
    page.locator("#search").fill("")
    settle(page)
    page.locator("#grid .tile").first.focus()
    press("ArrowRight", "ArrowRight", "ArrowLeft")
    assert page.evaluate("document.activeElement.place") == 1
    press("End")
    assert page.evaluate("document.activeElement.place") == NUM_IMAGES - 1
    press("Home", "Enter")
    assert page.locator("#view-name").inner_text() == names(by(run[1], "visual_quality"))[0]
    press("ArrowRight", "Escape")
    assert page.evaluate("document.activeElement.place") == 1  # the focus went along
    press("?")
    assert page.locator("#help").is_visible()
    press("Escape")


def test_an_image_without_a_prompt_is_dropped_only_when_asked(browser, page, run, tmp_path):
    """The page opens with 0 where a run has one, else with 0.5; its words do not contradict."""
    reach = page.locator('[data-score="alignment"] .reach')
    without = sum(row["alignment"] is None and row["status"] == "ok" for row in run[1])
    assert without and reach.inner_text() == (
        f"0 asks for nothing · {without} without alignment pass too"
    )
    drag_to(page, "alignment", 0.5)
    least = float(page.locator('[data-score="alignment"] .handle').get_attribute("aria-valuenow"))
    aligned = [row for row in run[1] if row["alignment"] is not None]
    reaching = sum(row["alignment"] >= least for row in aligned)
    assert reach.inner_text() == (
        f"{reaching} of {len(aligned)} reach it · {without} without alignment miss it"
    )
    good = {"status": "ok", "error_class": None, "error": None, "flags": [], "alignment": 0.6,
            "visual_quality": 0.7}  # fmt: skip
    make_run(tmp_path / "scored", 20, thumbnail_px=16, changed={n: good for n in range(20)})
    with opened(browser, build_report(tmp_path / "scored")) as other:
        handle = other.locator('[data-score="alignment"] .handle')
        assert handle.get_attribute("aria-valuenow") == "0.5"
        assert other.locator('[data-score="alignment"] .reach').inner_text() == "20 of 20 reach it"


def test_what_was_not_scored_shows_its_name_and_why(page, run):
    page.locator('[data-show="failed"]').click()
    settle(page)
    tile = page.locator("#grid .tile", has_text="window.hacked=6").first
    name = run[1][6]["path"].rsplit("/", 1)[1]
    assert name in tile.locator(".words").inner_text()
    assert "<script>window.hacked=6</script>" in tile.inner_text()
    assert tile.locator(".mark").inner_text().endswith("!")
    assert tile.get_attribute("title").startswith(f"{name}\nNot scored: <script>")


def test_strips_follow_the_order_of_the_grid(page, run):
    page.locator("#sort").select_option("lower")
    settle(page)
    known = [row for row in run[1] if row["visual_quality"] is not None]

    def lower(row):
        both = (row["visual_quality"], row["alignment"])
        return min(np.float32(each) for each in both if each is not None)

    best = page.locator("[data-strip=best]")
    assert best.locator("h3").inner_text() == "Best by lower of both"
    label = best.locator(".tile").first.get_attribute("aria-label")
    assert label.split(": visual quality")[0] in names(
        [row for row in known if lower(row) == max(map(lower, known))]
    )
    best.locator(".tile").first.click()
    assert page.locator("#view-place").inner_text().startswith("1 of 12 in “Best by lower of both”")
    page.keyboard.press("Escape")
    page.locator("#grid .tile").first.click()
    assert page.locator("#view-place").inner_text().startswith(f"1 of {NUM_IMAGES} images")


def test_hostile_text_is_shown_as_text(page, run):
    assert page.locator("#grid .tile .words").first.inner_text().startswith("<img src=x onerror=")
    page.locator("#grid .tile").first.click()
    settle(page)
    shown = page.locator("#view-prompt").evaluate("(node) => node.textContent")
    assert shown == HOSTILE.replace("\u2028", "\ufffd")
    assert page.locator("#view-prompt *").count() == 0
    assert page.locator("#view-flags b").inner_text() == "<i>flag</i>"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    settle(page)
    shown = page.locator("#view-prompt").evaluate("(node) => node.textContent")
    assert shown == "a line\nand another, \ufffd too"
    page.keyboard.press("Escape")
    page.locator('[data-show="failed"]').click()
    settle(page)
    assert "<script>window.hacked=6</script>" in page.locator("#grid").inner_text()
    # Whatever slipped through would meet the policy: no markup from strings, no request.
    refused = page.evaluate(
        """async () => {
        const tried = [];
        try { document.body.innerHTML = '<b>x</b>'; } catch (e) { tried.push(e.name); }
        try { await fetch('https://example.com/'); } catch (e) { tried.push(e.name); }
        const script = document.createElement('script');
        try { script.src = 'data:text/javascript,window.hacked=7'; }
        catch (e) { tried.push(e.name); }
        document.head.append(script);
        return tried;
        }"""
    )
    assert refused == ["TypeError"] * 3
    settle(page)


def test_a_dot_of_the_scatter_opens_its_image(page, run):
    row = run[1][3]
    box = page.locator("#scatter").bounding_box()
    x = box["x"] + 2 + row["visual_quality"] * (box["width"] - 4)
    y = box["y"] + 2 + (1 - row["alignment"]) * (box["height"] - 4)
    page.mouse.move(x, y)
    assert page.locator("#scatter-tip").is_visible()
    page.mouse.click(x, y)
    assert page.locator("#view-name").inner_text() == "000003.png"


def test_a_sample_of_a_run_counts_all_of_it(browser, tmp_path):
    rows = make_run(tmp_path / "scored", 1100, thumbnail_px=32)
    path = build_report(tmp_path / "scored", max_rows=100, max_inline_bytes=0)
    with opened(browser, path) as page:
        assert number_all(page) == 1100 and number_kept(page) == len(kept_paths(rows))
        drag_to(page, "visual_quality", 0.8)
        least = float(page.locator('[data-score="visual_quality"] .handle').get_attribute(
            "aria-valuenow"))  # fmt: skip
        assert number_kept(page) == len(kept_paths(rows, (least, 0)))
        assert "sample" in page.locator("#counts-note").inner_text()
        # Thumbnails lie beside the page.
        width = page.evaluate("document.querySelector('#grid .tile img').naturalWidth")
        assert width == 32 and (tmp_path / "scored" / "report_files").is_dir()
        best = names(by(rows, "visual_quality"))[:12]
        assert listed_names(page)[:12] == best  # the extremes are in every sample
