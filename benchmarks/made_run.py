"""A make-believe run: the files that `eliq run` writes, with scores and pictures made up.

The report is measured and tested on it: no score in it means anything. Pictures are drawn, and
the worse the made-up visual quality, the more they are blurred and speckled, so that a strip of
the worst looks like one.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np

PART_SIZE = 1000
_SUBJECTS = ("red fox", "blue mug", "glass house", "old lighthouse", "paper boat", "tabby cat",
             "stone bridge", "yellow tram", "snow owl", "clay teapot")  # fmt: skip
_PLACES = ("in snow", "at night", "on a wooden table", "by the sea", "in soft morning light",
           "under a starry sky", "in the style of a woodcut", "seen from above")  # fmt: skip


def make_run(
    out_dir: Path,
    num_images: int,
    *,
    seed: int = 0,
    originals: int = 0,
    changed: dict[int, dict[str, Any]] | None = None,
    thumbnail_px: int = 192,
) -> list[dict[str, Any]]:
    """Write a run of ``num_images`` into ``out_dir``; returns its rows.

    Args:
        originals: so many images, the first ones, also exist as files, in ``images/`` beside
            ``out_dir``; the paths of the others lead nowhere.
        changed: row -> columns to set there, such as a hostile prompt.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from eliq.bulk.columns import SCHEMA, THUMBNAIL_SCHEMA

    rng = np.random.default_rng(seed)
    changed = changed or {}
    rows = [{**_row(number, rng), **changed.get(number, {})} for number in range(num_images)]
    pictures = _Pictures(seed, thumbnail_px)
    for folder in ("parts", "thumbnails"):
        (out_dir / folder).mkdir(parents=True, exist_ok=True)
    (out_dir.parent / "images").mkdir(exist_ok=True)
    for number in range(originals):
        row = rows[number]
        (out_dir.parent / row["path"]).parent.mkdir(parents=True, exist_ok=True)
        (out_dir.parent / row["path"]).write_bytes(pictures.draw(row, number, 512, "PNG"))
    for part, start in enumerate(range(0, num_images, PART_SIZE)):
        name = f"part-{part:06d}-0000.parquet"
        some = rows[start : start + PART_SIZE]
        small = [
            {"id": row["id"], "thumbnail": pictures.thumbnail(row, start + number)}
            for number, row in enumerate(some)
        ]
        pq.write_table(
            pa.Table.from_pylist(small, schema=THUMBNAIL_SCHEMA), out_dir / "thumbnails" / name
        )
        pq.write_table(pa.Table.from_pylist(some, schema=SCHEMA), out_dir / "parts" / name)
    run = {
        "format": "eliq-run", "version": 1, "fingerprint": {},
        "cwd": str(out_dir.parent.resolve()),
    }  # fmt: skip
    (out_dir / "run.json").write_text(json.dumps(run), encoding="utf-8")
    (out_dir / "plan.json").write_text(json.dumps({"source": "images"}), encoding="utf-8")
    return rows


def _row(number: int, rng: np.random.Generator) -> dict[str, Any]:
    """One row with plausible scores; one in 200 failed, one in 50 has no prompt."""
    path = f"images/batch_{number // 500:03d}/{number:06d}.png"
    quality = float(np.float32(rng.beta(5, 3)))
    alignment = float(np.float32(np.clip(0.35 * quality + 0.65 * rng.beta(4, 2.5), 0, 1)))
    has_prompt = rng.random() >= 0.02
    failed = rng.random() < 0.005
    subject, place = rng.choice(_SUBJECTS), rng.choice(_PLACES)
    flags = [] if has_prompt else ["no_prompt"]
    shares = {"alpha_composited": 0.03, "exif_rotated": 0.01, "constant_image": 0.002}
    flags += [flag for flag, share in shares.items() if rng.random() < share]
    row: dict[str, Any] = {
        "id": path.removeprefix("images/"), "path": path, "shard": None, "member": None,
        "width": 1024, "height": int(rng.choice([768, 1024, 1344])), "format": "PNG", "mode": "RGB",
        "n_frames": 1, "prompt": f"a {subject} {place}, no. {number}" if has_prompt else None,
        "prompt_source": "png_comfyui" if has_prompt else None,
        "visual_quality": quality, "alignment": alignment if has_prompt else None,
        "aspect_technical": float(np.clip(quality + rng.normal(0, 0.1), 0, 1)),
        "aspect_aesthetic": float(np.clip(quality + rng.normal(0, 0.15), 0, 1)),
        "aspect_alignment": float(np.clip(alignment + rng.normal(0, 0.1), 0, 1))
        if has_prompt else None,
        "raw_visual_quality": quality * 6 - 3,
        "raw_alignment": alignment * 6 - 3 if has_prompt else None,
        "status": "ok", "error_class": None, "error": None, "flags": flags,
        "model_id": "made up", "revision": None, "head_sha256": "0" * 64, "dtype": "float32",
        "max_pixels": 262_144, "lib_version": "0.1.0", "ms": float(rng.gamma(4, 8)),
    }  # fmt: skip
    if failed:
        row |= {name: None for name in row if name.startswith(("aspect_", "raw_"))}
        row |= {"visual_quality": None, "alignment": None, "status": "failed",
                "error_class": "damaged_image", "error": "the file ends early"}  # fmt: skip
    return row


class _Pictures:
    """Simple drawings by number; thumbnails of 400 of them are used again and again."""

    def __init__(self, seed: int, thumbnail_px: int) -> None:
        self._seed, self._side = seed, thumbnail_px
        self._made: dict[tuple[int, int], bytes] = {}

    def thumbnail(self, row: dict[str, Any], number: int) -> bytes | None:
        if row["status"] != "ok":
            return None
        key = (number % 40, int(row["visual_quality"] * 9.999))
        if key not in self._made:
            self._made[key] = self.draw(row, key[0], self._side, "JPEG")
        return self._made[key]

    def draw(self, row: dict[str, Any], number: int, side_px: int, codec: str) -> bytes:
        from PIL import Image, ImageDraw, ImageFilter

        rng = np.random.default_rng((self._seed, number))
        low, high, ink = rng.integers(40, 230, (3, 3))
        ramp = np.linspace(0, 1, side_px)[:, None, None]
        image = Image.fromarray(
            np.broadcast_to(low * (1 - ramp) + high * ramp, (side_px, side_px, 3)).astype(np.uint8)
        )
        pen = ImageDraw.Draw(image)
        for _ in range(4):
            x, y, r = rng.uniform(0.1, 0.9, 3) * side_px
            box = (x - r / 3, y - r / 3, x + r / 3, y + r / 3)
            shape = pen.ellipse if rng.random() < 0.6 else pen.rectangle
            shape(box, fill=tuple(int(value) for value in (ink + rng.integers(-40, 40, 3)) % 256))
        badness = 1 - (row["visual_quality"] or 0)
        image = image.filter(ImageFilter.GaussianBlur(badness**2 * side_px / 24))
        noisy = np.asarray(image) + rng.normal(0, 55 * badness**2, (side_px, side_px, 3))
        buffer = io.BytesIO()
        options = {"quality": 80} if codec == "JPEG" else {}
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, codec, **options)
        return buffer.getvalue()
