"""How fast the report opens, and how fast a moved threshold is on the screen.

    python benchmarks/report.py
    python benchmarks/report.py --rows 20000 --repeats 9

Hardware and time: 2 CPU cores, Chromium without a display, about a minute.
Expect: with 10,000 rows the page opens in less than 2 s and shows a new threshold in less than
100 ms, and asks the network for nothing; ends with 1 where that is not so. With `--smoke` nothing
is judged.

A make-believe run of that many images is written, its report is built, and headless Chromium opens
it anew each time (own profile, nothing cached). "Open" is from the start of the navigation until
the page has drawn its plots and the tiles in sight and has fired `load`. "Re-threshold" is from a
pointer's move over the histogram until the frame after the one in which counts, plots and tiles
have changed. The four strips follow a pause after it, so that their pictures hold up no drag;
"strips" is the time until they show the new neighbours of the threshold. Gates are for the median.

Needs playwright and Chromium (`pip install playwright`; its own browser, or the system's, found by
the name chromium, chromium-browser or google-chrome).
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import environment, markdown_table, number, run, write_json
from benchmarks.made_run import make_run

GATES = {"open_s": 2.0, "rethreshold_ms": 100.0}
# Moves the threshold as a pointer does, and waits until what follows from it has been painted.
_MOVE = """async ([x, y]) => {
  const plot = document.querySelector('[data-score="visual_quality"] .plot');
  const handle = plot.querySelector('[role=slider]');
  const before = handle.getAttribute('aria-valuetext');
  const start = performance.now();
  plot.dispatchEvent(new PointerEvent('pointermove', {pointerId: 1, clientX: x, clientY: y}));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  await frame();
  await frame();
  return [performance.now() - start, handle.getAttribute('aria-valuetext') !== before];
}"""

# The same, until the strip of the images just above the threshold shows other ones.
_STRIP = """async ([x, y]) => {
  const plot = document.querySelector('[data-score="visual_quality"] .plot');
  const strip = document.querySelector('[data-strip="above"] .strip');
  const before = strip.textContent;
  const start = performance.now();
  plot.dispatchEvent(new PointerEvent('pointermove', {pointerId: 1, clientX: x, clientY: y}));
  const frame = () => new Promise((done) => requestAnimationFrame(done));
  while (strip.textContent === before && performance.now() - start < 5000) await frame();
  await frame();
  return performance.now() - start;
}"""


@contextmanager
def open_browser() -> Iterator[Any]:
    """A headless Chromium of playwright, or of the system.

    Raises:
        LookupError: there is no playwright, or no Chromium, in one line.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise LookupError("playwright is not installed: pip install playwright") from error
    names = ("chromium", "chromium-browser", "google-chrome")
    system = next((path for name in names if (path := shutil.which(name))), None)
    with sync_playwright() as playwright:
        try:
            # Without the sandbox, which needs rights that containers do not give.
            browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        except Error as error:
            raise LookupError(f"no Chromium: {str(error).splitlines()[0]}") from error
        try:
            yield browser
        finally:
            browser.close()


def main(argv: list[str] | None = None) -> dict:
    """Runs the benchmark and returns what `--json` writes."""
    arguments = _parser().parse_args(argv)
    from eliq.report import build_report

    with tempfile.TemporaryDirectory() as folder:
        out_dir = Path(arguments.keep or folder) / "scored"
        rows = 200 if arguments.smoke else arguments.rows
        make_run(out_dir, rows, originals=min(rows, 24))
        start = time.perf_counter()
        page_path = build_report(out_dir)
        build_s = time.perf_counter() - start
        try:
            with open_browser() as browser:
                repeats = 1 if arguments.smoke else arguments.repeats
                found = [measure(browser, page_path) for _ in range(repeats)]
        except LookupError as error:
            sys.exit(str(error))
        beside = sum(f.stat().st_size for f in (out_dir / "report_files").rglob("*.jpg"))
        result = {
            "rows": rows,
            "build_s": build_s,
            "page_mib": page_path.stat().st_size / 2**20,
            "beside_mib": beside / 2**20,
            "open_s": [one["open_s"] for one in found],
            "rethreshold_ms": [ms for one in found for ms in one["rethreshold_ms"]],
            "strips_ms": [one["strips_ms"] for one in found],
            "requests": sum(one["requests"] for one in found),
            "environment": environment(),
        }
    result["missed_gates"] = [] if arguments.smoke else missed_gates(result)
    _show(result)
    write_json(arguments.json, result)
    if result["missed_gates"]:
        sys.exit("; ".join(result["missed_gates"]))
    return result


def missed_gates(result: dict[str, Any]) -> list[str]:
    """What is not as it should be, a line each."""
    middle = {name: statistics.median(result[name]) for name in GATES}
    missed = [
        f"{name}: median {middle[name]:.2f}, expected less than {gate:g}"
        for name, gate in GATES.items()
        if not middle[name] < gate
    ]
    if result["requests"]:
        missed.append(f"{result['requests']} requests to the network, expected none")
    return missed


def measure(browser: Any, page_path: Path) -> dict[str, Any]:
    """Open the page once in a fresh profile and drag its threshold over 20 places."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    start = time.perf_counter()
    page.goto(page_path.resolve().as_uri(), wait_until="load")
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done()))")
    open_s = time.perf_counter() - start
    if not page.evaluate("performance.getEntriesByName('eliq-ready').length"):
        raise RuntimeError("the page's script did not run to its end")
    page.wait_for_timeout(300)
    box = page.locator('[data-score="visual_quality"] .plot').bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 0.3 * box["width"], middle)
    page.mouse.down()
    times = []
    for step in range(20):
        x = box["x"] + (0.3 + 0.025 * step + 0.01) * box["width"]
        elapsed_ms, has_changed = page.evaluate(_MOVE, [x, middle])
        if not has_changed:
            raise RuntimeError("the threshold moved and the counts did not")
        times.append(elapsed_ms)
    page.wait_for_timeout(300)
    strips_ms = page.evaluate(_STRIP, [box["x"] + 0.5 * box["width"], middle])
    page.mouse.up()
    context.close()
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:"))]
    return {
        "open_s": open_s,
        "rethreshold_ms": times,
        "strips_ms": strips_ms,
        "requests": len(outside),
    }


def _show(result: dict[str, Any]) -> None:
    table = []
    for name, unit in (("open_s", "s"), ("rethreshold_ms", "ms"), ("strips_ms", "ms")):
        values = result[name]
        gate = GATES.get(name)
        met = "" if gate is None else "yes" if statistics.median(values) < gate else "NO"
        middle, slowest = number(statistics.median(values)), number(max(values))
        table.append(
            [f"{name.split('_')[0]} ({unit})", middle, slowest, f"< {gate:g}" if gate else "", met]
        )
    print(f"{result['rows']:,} rows; built in {result['build_s']:.1f} s; page "
          f"{result['page_mib']:.1f} MiB, thumbnails beside it {result['beside_mib']:.1f} MiB; "
          f"network requests: {result['requests']}\n")  # fmt: skip
    print(markdown_table(["what", "median", "slowest", "gate", "met"], table))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5, help="how often the page is opened")
    parser.add_argument("--keep", metavar="DIR", help="leave the run and its report in DIR")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument("--smoke", action="store_true", help="200 rows, opened once")
    return parser


if __name__ == "__main__":
    run(main)
