"""How the report's page looks, driven in headless Chromium: what is cut, what stands back."""

from __future__ import annotations

import pytest

pytest.importorskip("pyarrow", reason="reports need pyarrow: pip install 'eliq[bulk]'")
from benchmarks.made_run import make_run  # noqa: E402
from eliq.report import build_report  # noqa: E402
from tests.report_pages import browser_or_skip, drag_to, number_kept, opened, settle  # noqa: E402


@pytest.fixture(scope="module")
def browser():
    try:
        with browser_or_skip() as found:
            yield found
    except LookupError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("report") / "scored"
    long = {"prompt": "a long prompt of many words, " * 40}
    make_run(out_dir, 60, originals=6, changed={i: long for i in range(60)}, thumbnail_px=48)
    return build_report(out_dir)


def test_a_long_prompt_is_cut_after_whole_lines(browser, path):
    with opened(browser, path) as page:
        found = page.locator("#grid .words").first.evaluate(
            """(words) => {
              const style = getComputedStyle(words);
              return [words.clientHeight, parseFloat(style.lineHeight), words.scrollHeight];
            }"""
        )
    height, line, whole = found
    assert whole > height and height == 2 * line, "a third line would show its upper edge"


def test_dropped_images_stand_back_among_others_only(browser, path):
    opacity = "(tile) => getComputedStyle(tile.querySelector('img')).opacity"
    with opened(browser, path) as page:
        page.keyboard.press("r")  # worst first
        settle(page)
        assert page.locator("#grid .is-dropped").first.evaluate(opacity) == "0.45"
        page.keyboard.press("d")
        settle(page)
        assert page.locator("#grid .is-dropped").first.evaluate(opacity) == "1"


def test_a_threshold_of_zero_that_nothing_can_miss_says_so(browser, path):
    with opened(browser, path) as page:
        page.locator("#sort").select_option("alignment")
        field = page.locator('[data-score="alignment"] input')
        field.fill("0")
        field.press("Enter")
        settle(page)
        strip = page.locator('[data-strip="below"] .strip')
        assert strip.inner_text() == "none: 0 asks for nothing"
        field.fill("1")
        field.press("Enter")
        settle(page)
        assert page.locator('[data-strip="above"] .strip').inner_text() == "none"


@pytest.mark.parametrize("width", [320, 390, 800, 1024, 2200])
def test_nothing_is_wider_than_the_screen(browser, path, width):
    with opened(browser, path, viewport={"width": width, "height": 800}) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        right = page.locator("#size").evaluate("(size) => size.getBoundingClientRect().right")
        wide = page.locator("#size").evaluate("(size) => size.getBoundingClientRect().width")
        assert right <= width and wide >= 60, "the slider keeps room to be moved in"


def test_light_dark_and_narrow(browser, path):
    def brightness(page):
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.strip("rgb()").split(",")[:3])

    with opened(browser, path, color_scheme="dark") as page:
        assert brightness(page) < 150
        page.locator("#theme").click()
        assert brightness(page) > 600
    with opened(browser, path, viewport={"width": 390, "height": 800}) as page:
        assert brightness(page) > 600
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        assert page.locator(".counts").is_visible()
        first = page.locator(".strip .tile").first.bounding_box()
        assert first["y"] + first["height"] < 800  # a picture on the first screen
        page.evaluate("window.scrollTo(0, document.documentElement.scrollHeight)")
        settle(page)
        assert page.locator("#grid .tile").last.is_visible()
        page.evaluate("window.scrollTo(0, 0)")
        settle(page)
        before = number_kept(page)
        drag_to(page, "visual_quality", 0.7)
        assert 0 < number_kept(page) < before
