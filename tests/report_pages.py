"""A made-up run and its report, opened in headless Chromium, and what tests read from the page."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path

import pytest

from eliq.keep import Selection

HOSTILE = (
    '<img src=x onerror="window.hacked=1"></script><script>window.hacked=2</script>'
    '<svg onload="window.hacked=3">&lt;b&gt; {{7*7}} javascript:window.hacked=4 "\'`\u2028'
)
WORST_NAME = "<b onclick=window.hacked=5> & #?%20 名前 \U0001f98a.png"
FORMULA = '=HYPERLINK("http://example.com","x")'


def changed_rows():
    """Rows of a made-up run that try to break out, in place of made ones."""
    folder = "images/batch_000"
    return {
        3: {"prompt": HOSTILE, "visual_quality": 0.999, "alignment": 0.75, "status": "ok",
            "error_class": None, "error": None, "flags": ["<i>flag</i>"]},
        4: {"path": f"{folder}/{WORST_NAME}", "id": WORST_NAME, "visual_quality": 0.998,
            "alignment": 0.74, "prompt": FORMULA, "status": "ok", "error_class": None,
            "error": None, "flags": []},
        5: {"prompt": "a line\nand \u202eanother\u202c, \u0000 too", "visual_quality": 0.997,
            "alignment": 0.73, "status": "ok", "error_class": None, "error": None, "flags": []},
        6: {"visual_quality": None, "alignment": None, "status": "failed", "flags": [],
            "error_class": "damaged_image", "error": "<script>window.hacked=6</script>"},
        7: {"visual_quality": 0.5, "alignment": 0.5, "status": "ok", "error_class": None,
            "error": None, "flags": []},
    }  # fmt: skip


# Where the thresholds stand when the page of a run opens in which some images have no prompt.
OPENING = (0.5, 0.0)


def kept_paths(rows, least=OPENING, **filters):
    """What the library keeps of the rows, by path: the page has to agree."""
    selection = Selection(*(value or None for value in least), **filters)
    return [row["path"] for row in rows if selection.keeps(row)]


def browser_or_skip():
    """`benchmarks.report.open_browser`, or the reason why the page cannot be driven here."""
    pytest.importorskip("playwright", reason="driving the page needs playwright and Chromium")
    from benchmarks.report import open_browser

    return open_browser()


@contextmanager
def opened(browser, path: Path, **options):
    """The page in a profile of its own; at the end it has thrown nothing and asked nobody."""
    context = browser.new_context(
        **{"viewport": {"width": 1300, "height": 850}, "color_scheme": "light", **options}
    )
    page = context.new_page()
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("dialog", lambda dialog: errors.append(f"dialog: {dialog.message}"))
    page.set_default_timeout(15_000)
    page.goto(path.resolve().as_uri(), wait_until="load")
    yield page
    assert page.evaluate("window.hacked") is None
    assert not errors, errors
    assert not [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    context.close()


def settle(page):
    """Until what was done has been drawn: the next frames, and the pauses of search and strips."""
    page.evaluate(
        """() => new Promise((done) => setTimeout(
        () => requestAnimationFrame(() => requestAnimationFrame(done)), 110))"""
    )


def number_kept(page) -> int:
    return int(page.locator("#num-kept").inner_text().replace(",", ""))


def number_all(page) -> int:
    return int(page.locator("#num-all").inner_text().replace(",", ""))


def listed_names(page) -> list[str]:
    """File names of the tiles in the order of the grid, as far as they exist."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#grid .tile:not([hidden])')]
        .sort((a, b) => a.place - b.place)
        .map((tile) => tile.getAttribute('aria-label').split(': visual quality')[0])"""
    )


def names(rows) -> list[str]:
    return [row["path"].rsplit("/", 1)[1] for row in rows]


def drag_to(page, score: str, value: float) -> None:
    """Drag the handle of a histogram to a value, as a mouse does."""
    plot = page.locator(f'[data-score="{score}"] .plot').bounding_box()
    handle = page.locator(f'[data-score="{score}"] .handle').bounding_box()
    middle = plot["y"] + plot["height"] / 2
    page.mouse.move(handle["x"] + handle["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(plot["x"] + plot["width"] * (value + 0.1), middle, steps=4)
    page.mouse.move(plot["x"] + plot["width"] * value, middle, steps=4)
    page.mouse.up()
    settle(page)
