"""Small image sets, and a pool that decodes in this process, for the tests of runs."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from eliq.bulk import RunConfig, UnitScorer, finish_run, plan_run
from eliq.bulk.decode_worker import decode_job
from eliq.bulk.decoding import Decoded
from eliq.bulk.parts import iterate_rows

__all__ = ["InlinePool", "picture", "rows_of", "run_inline", "write_folder", "write_tar"]


class InlinePool:
    """As `DecodePool`, without processes; ``before`` is called with each item."""

    def __init__(self, patches, *, thumbnails=True, before=lambda item: None):
        self.patches, self.thumbnails, self.before = patches, thumbnails, before

    def stream(self, items):
        for item in items:
            self.before(item)
            job = {
                "path": item.path,
                "offset": item.offset,
                "size": item.size,
                "has_sidecar": item.has_sidecar,
                "wants_prompt": item.prompt is None,
            }
            if item.problem is not None:
                facts = {"flags": [], "error": item.problem, "error_class": "damaged_archive"}
                yield Decoded(item, facts)
                continue
            yield Decoded(item, *decode_job(job, patches=self.patches, thumbnails=self.thumbnails))

    def close(self):
        pass


def picture(seed: int, *, height: int = 64, width: int = 64) -> Image.Image:
    """Coloured squares that no two seeds share."""
    squares = np.random.default_rng(seed).integers(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    large = np.kron(squares, np.ones((8, 8, 1))).astype(np.uint8)
    return Image.fromarray(large[:height, :width])


def picture_bytes(seed: int, kind: str = "PNG", **size: int) -> bytes:
    buffer = io.BytesIO()
    picture(seed, **size).save(buffer, kind)
    return buffer.getvalue()


def write_folder(folder: Path, count: int, *, prompts: bool = True) -> Path:
    """``00000.png``... of mixed sizes; every second one with a .txt beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        size = {"height": 40 + 8 * (number % 5), "width": 48 + 16 * (number % 3)}
        picture(number, **size).save(folder / f"{number:05d}.png")
        if prompts and number % 2 == 0:
            (folder / f"{number:05d}.txt").write_text(f"picture {number}\n")
    return folder


def write_tar(path: Path, members: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> Path:
    """A tar with these files, in this order."""
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def png_with_text(path: Path, seed: int = 0, **texts: str) -> Path:
    """A PNG with these texts in it."""
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    picture(seed).save(path, pnginfo=info)
    return path


def run_inline(scorer, source: Path | str, out_dir: Path, *, before=lambda item: None, **options):
    """One whole run in this process: plan, score, sum up; returns the summary."""
    config = RunConfig(str(source), out_dir, **options)
    plan = plan_run(config)
    pool = InlinePool(scorer.backbone.patches, thumbnails=config.thumbnails, before=before)
    with UnitScorer(config, plan, scorer=scorer, pool=pool) as units:
        list(units.score_units(plan.units()))
    return finish_run(out_dir)


def rows_of(out_dir: Path, *, timing: bool = False) -> list[dict]:
    """All rows of a run; without the columns that differ between two runs."""
    rows = [row for batch in iterate_rows(out_dir) for row in batch.to_pylist()]
    return rows if timing else [{k: v for k, v in row.items() if k != "ms"} for row in rows]
