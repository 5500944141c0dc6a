"""The pictures of docs/report.md: a real run over damaged photographs, and its page.

    python benchmarks/report_pictures.py --out docs/pictures

Hardware and time: 2 CPU cores, Chromium without a display, about two minutes.
Expect: report-light.jpg, report-dark.jpg, report-view.jpg and report-narrow.jpg in --out.

Eight photographs (benchmarks/common.py), whole and with eight distortions at three severities, are
scored by `eliq run` with the embedded critic. Two in three have their own prompt, the others that
of another photograph or none, so that alignment has something to say too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import load_photographs, run
from benchmarks.report import open_browser

PROMPTS = {
    "astronaut": "a portrait of an astronaut in an orange suit before a flag",
    "chelsea": "a close photograph of a tabby cat",
    "china": "a Chinese pagoda with green roofs among trees",
    "coffee": "a cup of coffee on a wooden table",
    "flower": "a red dahlia in full bloom",
    "hubble": "thousands of galaxies in deep space",
    "motorcycle": "a motorcycle in a garage",
    "rocket": "a rocket at night on its launch pad",
}
DISTORTIONS = 8


def main(argv: list[str] | None = None) -> list[Path]:
    """Makes the pictures and returns their paths."""
    arguments = _parser().parse_args(argv)
    from eliq.cli import main as eliq

    out = Path(arguments.out)
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(arguments.keep or folder)
        write_images(kept / "photographs", smoke=arguments.smoke)
        out, before = out.absolute(), Path.cwd()
        os.chdir(kept)  # the pictures show relative paths, as those of a user's run are
        try:
            code = eliq(["run", "photographs", "--out", "scored", "--quiet"])
            if code != 0:
                sys.exit(f"eliq run ended with {code}")
            with open_browser() as browser:
                return take_pictures(browser, Path("scored/report.html"), out)
        finally:
            os.chdir(before)


def write_images(folder: Path, *, smoke: bool) -> None:
    """The photographs, whole and damaged, and their prompts."""
    import numpy as np
    from PIL import Image

    from eliq.supervision import distort, distortion_names

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    every = distortion_names()
    names = every[:: len(every) // DISTORTIONS][:DISTORTIONS]
    photographs = load_photographs(2 if smoke else None, side_px=256)
    for subject, pixels in photographs.items():
        versions = {subject: pixels}
        for name in names[:2] if smoke else names:
            for severity in (1, 3, 5):
                versions[f"{subject}_{name}_{severity}"] = distort(pixels, name, severity, 0)[0]
        for name, version in versions.items():
            Image.fromarray(version).save(folder / f"{name}.png")
            chance = rng.random()
            prompt = PROMPTS[subject] if chance < 2 / 3 else str(rng.choice(list(PROMPTS.values())))
            if chance < 0.95:
                (folder / f"{name}.txt").write_text(prompt, encoding="utf-8")


def take_pictures(browser: Any, page_path: Path, out: Path) -> list[Path]:
    """Screenshots of the page, wide and narrow, light and dark, and of its large view."""
    shots = {
        "light": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
        "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
        "view": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "light"},
        "narrow": {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"},
    }
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, options in shots.items():
        context = browser.new_context(**options)
        page = context.new_page()
        page.goto(page_path.resolve().as_uri(), wait_until="load")
        if name == "dark":
            page.keyboard.press("2")
            page.keyboard.press("k")
        if name == "view":
            page.locator('[data-strip="above"] .tile').first.click()
        page.wait_for_timeout(800)
        paths.append(out / f"report-{name}.jpg")
        page.screenshot(path=paths[-1], type="jpeg", quality=86)
        context.close()
    print(json.dumps([str(path) for path in paths]))
    return paths


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", default="docs/pictures", metavar="DIR")
    parser.add_argument("--keep", metavar="DIR", help="leave the images and the run in DIR")
    parser.add_argument("--smoke", action="store_true", help="a dozen images")
    return parser


if __name__ == "__main__":
    run(main)
