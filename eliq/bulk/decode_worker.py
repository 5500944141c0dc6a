"""A process that decodes: jobs as JSON lines on its input, pictures on its output.

A hostile file may crash it, hang it or fill its memory; the run then loses this process and one
row. Each answer is a line of JSON, followed by as many bytes as it announces: the picture, uint8
RGB [3,h,w], then its thumbnail. Nothing that comes out of a file is ever unpickled or run.
"""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import time
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from PIL import Image

from ..errors import EliqError
from ..image_checks import MAX_ASPECT_RATIO, MAX_IMAGE_PX, RejectedImage, check_size
from ..image_decoding import DECODER_FAILURES, FORMATS, decode_stream, open_file
from ..patches import PatchConfig
from .png_prompts import embedded_prompt, user_comment
from .prompt_texts import MOST_PROMPT_BYTES, bounded_prompt, decoded_beginning
from .resizing import jpeg_thumbnail, resized_bytes

__all__ = ["decode_job", "serve"]

_MOST_MEMORY_BYTES = 2 << 30  # a 64 Mpx picture of 16 bits, or with transparency, takes 1.5
_LAST_ALARM = 10  # times the limit that the run itself sets
_FRAMED = ("GIF", "WEBP", "TIFF", "PNG", "AVIF", "MPO")
_FITS = partial(check_size, max_image_px=MAX_IMAGE_PX, max_aspect_ratio=MAX_ASPECT_RATIO)


def serve() -> None:
    """Answer jobs until the input ends; the first line of the input is the options."""
    jobs = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a decoder's own code prints must not be taken for an answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the run, which ends its workers
    torch.set_num_threads(1)
    options = json.loads(jobs.readline())
    patches = options["patches"] and PatchConfig.from_json(options["patches"])
    timeout_s = options["timeout_s"]
    _available_formats()
    _limit_memory()
    answers.write(b"{}\n")  # ready: imports are over, and count no longer as decoding
    answers.flush()
    for line in iter(jobs.readline, b""):
        # Should the run be killed, this ends a decoder that hangs.
        if hasattr(signal, "alarm"):
            signal.alarm(int(_LAST_ALARM * timeout_s) + 10)
        start_s = time.perf_counter()
        facts, pixels, thumbnail = decode_job(
            json.loads(line), patches=patches, thumbnails=options["thumbnails"]
        )
        facts["ms"] = (time.perf_counter() - start_s) * 1000
        picture = b"" if pixels is None else memoryview(pixels.numpy()).cast("B")
        facts["num_bytes"], facts["num_thumbnail_bytes"] = len(picture), len(thumbnail or b"")
        answers.write(json.dumps(facts).encode() + b"\n")
        answers.write(picture)
        answers.write(thumbnail or b"")
        answers.flush()
        if hasattr(signal, "alarm"):
            signal.alarm(0)


def decode_job(
    job: dict[str, Any], *, patches: PatchConfig | None, thumbnails: bool
) -> tuple[dict[str, Any], torch.Tensor | None, bytes | None]:
    """One image: facts as plain JSON, its pixels (None on failure) and its thumbnail.

    Facts: width, height, format, mode, n_frames of the stored file, prompt and prompt_source
    where the file or a .txt beside it has one, flags, error and error_class.
    """
    facts: dict[str, Any] = {"flags": [], "error": None, "error_class": None}
    try:
        with _open(job) as stream:
            _add_header(facts, stream, wants_prompt=job["wants_prompt"])
            stream.seek(0)
            if job["has_sidecar"]:
                _add_sidecar(facts, job["path"])
            stored, flags = decode_stream(stream, _FITS)
        if _is_constant(stored):
            flags.append("constant_image")
        facts["flags"] = [*flags, *facts["flags"]]
        pixels = resized_bytes(stored, patches)
        facts["shape"] = list(pixels.shape)
        return facts, pixels, jpeg_thumbnail(pixels) if thumbnails else None
    except RejectedImage as reason:
        facts |= {"error": str(reason), "error_class": reason.error_class}
        facts["flags"] = [*reason.flags, *facts["flags"]]
    except (MemoryError, EliqError, *DECODER_FAILURES) as error:
        is_memory = isinstance(error, MemoryError)
        facts |= {
            "error": "not enough memory to decode the image"
            if is_memory
            else "the image could not be decoded: damaged or cut short",
            "error_class": "out_of_memory" if is_memory else "damaged_image",
        }
    return facts, None, None


def _open(job: dict[str, Any]) -> BinaryIO:
    if job["size"] is None:
        return open_file(job["path"])
    if job["size"] == 0:
        raise RejectedImage("empty_file", "the member is empty (0 bytes)")
    try:
        with open(job["path"], "rb") as tar:
            tar.seek(job["offset"])
            data = tar.read(job["size"])
    except OSError as error:
        reason = error.strerror or "cannot be read"
        raise RejectedImage("unreadable_file", f"the tar cannot be read: {reason}") from None
    if len(data) < job["size"]:
        raise RejectedImage("unreadable_file", "the tar is cut short")
    return io.BytesIO(data)


def _is_constant(stored: torch.Tensor) -> bool:
    first = stored[:, :1, :1]  # the first row settles it for nearly every picture
    return bool((stored[:, :1] == first).all()) and bool((stored == first).all())


def _add_header(facts: dict[str, Any], stream: BinaryIO, *, wants_prompt: bool) -> None:
    """What the file says of itself. It is opened a second time to be decoded: reading texts and
    counting frames must not change what is scored."""
    try:
        with Image.open(stream, formats=_available_formats()) as image:
            facts |= {
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "mode": image.mode,
            }
            facts["n_frames"] = 1
            if wants_prompt:
                found = embedded_prompt(image.info, user_comment(image))
                if found is not None:
                    _set_prompt(facts, *found)
            if image.format in _FRAMED:
                facts["n_frames"] = int(getattr(image, "n_frames", 1))
    except (MemoryError, Image.DecompressionBombError, *DECODER_FAILURES):
        return  # decoding says in its own words what is wrong with the file


@lru_cache(maxsize=1)
def _available_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _add_sidecar(facts: dict[str, Any], path: str) -> None:
    """The text beside an image, or of a long one its beginning; a pipe would be read for ever."""
    try:
        sidecar = Path(path).with_suffix(".txt")
        if not sidecar.is_file():
            raise OSError("not a file")
        with sidecar.open("rb") as file:
            text = decoded_beginning(file.read(MOST_PROMPT_BYTES))
    except (OSError, UnicodeDecodeError):
        facts["flags"].append("prompt_unreadable")
        return
    if text:
        _set_prompt(facts, text, "sidecar")


def _set_prompt(facts: dict[str, Any], text: str, source: str) -> None:
    """The prompt, of which there may be another that is left aside, with the flags of it alone."""
    facts["prompt"], flags = bounded_prompt(text)
    facts["prompt_source"] = source
    facts["flags"] = [flag for flag in facts["flags"] if flag != "prompt_truncated"] + [*flags]


def _limit_memory() -> None:
    """Let a file that asks for more fail alone: Pillow reads gigabytes where a chunk says so."""
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
        most = used + _MOST_MEMORY_BYTES
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    except (ImportError, OSError, ValueError, IndexError):
        return  # not Linux: there the time alone is limited
