"""Makes examples/images/ from its sources: photographs and rendered scenes, clean and degraded.

    python -m training.embedded.example_scenes runs/example_scenes
    python examples/make_example_images.py --scenes runs/example_scenes

Needs the `dev` extra (scikit-image and scikit-learn carry the photographs); a few seconds on one
core. Expect 24 JPEG files, below 2.5 MB together. The files are in the repository already: run this
to see where they come from, or to change them.

Clean and degraded images go through the same steps: shrunk to at most 512 px, degraded or not, and
stored with the same codec at the same quality. Neither size nor codec tells them apart.
"""

from __future__ import annotations

import argparse
import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from eliq.supervision import distort

HERE = Path(__file__).resolve().parent
LONG_SIDE_PX = 512
JPEG_QUALITY = 92
SEED = 9_100_000  # of the distortions; held out like the seeds of the scenes


@dataclass(frozen=True)
class Photo:
    """A photograph that a package carries, and what is done to its degraded copy."""

    name: str
    package: str  # "skimage" or "sklearn"
    file: str
    prompt: str
    license: str
    degradation: tuple[str, int]  # distortion, severity


PHOTOS = (
    Photo("astronaut", "skimage", "astronaut.png",
          "a portrait of a smiling astronaut in an orange space suit, a flag behind her",
          "public domain (NASA)", ("noise", 5)),
    Photo("coffee", "skimage", "coffee.png",
          "a cup of espresso on a red saucer, on a wooden table", "CC0-1.0", ("jpeg", 5)),
    Photo("cat", "skimage", "chelsea.png",
          "a close-up of a ginger tabby cat with green eyes", "CC0-1.0", ("blur", 4)),
    Photo("rocket", "skimage", "rocket.jpg",
          "a rocket on its launch pad at dusk, between lightning towers",
          "public domain (SpaceX)", ("posterize", 5)),
    Photo("pagoda", "sklearn", "china.jpg",
          "a Chinese pagoda on a hill above a lake", "CC-BY-2.0", ("dark", 4)),
    Photo("dahlia", "sklearn", "flower.jpg",
          "an orange dahlia in front of dark green leaves", "CC-BY-2.0", ("motion", 5)),
)  # fmt: skip

# Scene by seed -> name, and either a distortion with its severity or the kind of a wrong prompt.
SCENES: dict[int, tuple[str, tuple[str, int] | str]] = {
    9_000_000: ("umbrellas", "object"),
    9_000_005: ("tulips", "count"),
    9_000_010: ("butterflies", ("noise", 5)),
    9_000_019: ("bell", ("duplicate", 5)),
    9_000_027: ("bicycles", ("premature_denoise", 5)),
    9_000_029: ("eagles", "background"),
}
SCENE_LICENSE = "Apache-2.0 (emoji: Noto Color Emoji, OFL-1.1)"


def package_file(photo: Photo) -> Path:
    """Where the package keeps the photograph."""
    if photo.package == "skimage":
        import skimage

        return Path(skimage.__file__).parent / "data" / photo.file
    import sklearn

    return Path(sklearn.__file__).parent / "datasets" / "images" / photo.file


def shrunk(path: Path) -> np.ndarray:
    """The image as uint8 [H,W,3], at most 512 px on its long side."""
    with Image.open(path) as image:
        rgb = image.convert("RGB")
    rgb.thumbnail((LONG_SIDE_PX, LONG_SIDE_PX), Image.Resampling.LANCZOS)
    return np.asarray(rgb)


def save(pixels: np.ndarray, path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True)
    path.write_bytes(buffer.getvalue())


def make(out_dir: Path, scenes_dir: Path) -> list[dict]:
    """Write the images into ``out_dir``; returns the rows of prompts.jsonl."""
    rows: list[dict] = []

    def add(name: str, pixels: np.ndarray, prompt: str, degradation: dict | None, **facts) -> None:
        save(pixels, out_dir / f"{name}.jpg")
        rows.append({"path": f"{name}.jpg", "prompt": prompt, "degradation": degradation, **facts})

    def add_degraded(name: str, clean: np.ndarray, prompt: str, what: tuple, **facts) -> None:
        distortion, severity = what
        pixels, parameters = distort(clean, distortion, severity, SEED + len(rows))
        degradation = {"distortion": distortion, "severity": severity, "seed": SEED + len(rows)}
        degradation["parameters"] = parameters
        add(f"{name}_{distortion}", pixels, prompt, degradation, **facts)

    for photo in PHOTOS:
        facts = {"source": f"{photo.package}:{photo.file}", "license": photo.license}
        clean = shrunk(package_file(photo))
        add(f"photo_{photo.name}", clean, photo.prompt, None, **facts)
        add_degraded(f"photo_{photo.name}", clean, photo.prompt, photo.degradation, **facts)

    for line in (scenes_dir / "scenes.jsonl").read_text(encoding="utf-8").splitlines():
        scene = json.loads(line)
        name, what = SCENES[scene["seed"]]
        facts = {"source": f"scene:{scene['seed']}", "license": SCENE_LICENSE}
        clean = shrunk(scenes_dir / scene["path"])
        add(f"scene_{name}", clean, scene["prompt"], None, **facts)
        if isinstance(what, str):
            degradation = {"wrong_prompt": what, "true_prompt": scene["prompt"]}
            wrong = scene["swaps"][what]
            add(f"scene_{name}_wrong_{what}", clean, wrong, degradation, **facts)
        else:
            add_degraded(f"scene_{name}", clean, scene["prompt"], what, **facts)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", type=Path, required=True, help="folder with scenes.jsonl")
    parser.add_argument("--out", type=Path, default=HERE / "images")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows = make(arguments.out, arguments.scenes)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
    (arguments.out / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")
    size = sum((arguments.out / row["path"]).stat().st_size for row in rows)
    print(f"{len(rows)} images, {size / 1e6:.2f} MB, in {arguments.out}")


if __name__ == "__main__":
    main()
