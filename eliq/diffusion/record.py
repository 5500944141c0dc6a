"""Records: all that makes one image again, as plain JSON or in the text of a PNG file.

A record is written for an image, not for a batch: `regenerate` makes that image alone. On one
machine and with one set of versions it gives the same bits if the image was made alone (batch
size 1), and the same but for rounding (measured <= 1e-5 in float32) if it was made in a batch.
"""

from __future__ import annotations

import inspect
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import DiffusionError
from .call_arguments import check_seed, make_generator
from .candidates import without_nan
from .generation import call_for_tensors, images_and_replaced, returning_models
from .pipeline_state import (
    describe_state,
    describe_versions,
    fingerprint_tensors,
    from_plain,
    plain_config,
    state_differences,
)
from .pipelines import check_call_kwargs, supported_kwargs
from .pixels import save_image, to_pil

__all__ = ["RECORD_FORMAT", "make_record", "read_record", "regenerate", "save_png"]

logger = logging.getLogger("eliq")
RECORD_FORMAT = "eliq.diffusion/1"
_PNG_KEY = "eliq"
_MAX_BYTES = 1 << 20  # of text: a record has a few kilobytes
_SET_HERE = {"generator", "num_images_per_prompt", "output", "output_type", "return_dict"}


def make_record(
    pipe: Any,
    arguments: Mapping[str, Any],
    *,
    seed: int,
    generator_device: str = "cpu",
    prompt: str | None = None,
    size_px: tuple[int, int] | None = None,
    batch_size: int = 1,
    scorer: Any = None,
    scores: Mapping[str, float] | None = None,
    state: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The record of one image.

    Args:
        arguments: of the call that made this image alone, the generator left out.
        prompt: what it was scored with, if it is not among the arguments.
        size_px: height and width of the image.
        batch_size: how many images were made with it at once.
        scorer: of its scores; its source and fingerprint are kept.
        scores: ``visual_quality``, ``alignment``, ``score``.
        state: `describe_state(pipe)`, for many records of one run.
        more: facts to keep beside, such as the cuts of a pruned run.

    Returns:
        A dict that ``json.dumps`` accepts. Tensors and images are kept as fingerprints only;
        functions are named in ``not_recorded``.
    """
    plain, tensors, left_out = fingerprint_tensors(arguments)
    defaults = _number_defaults(pipe)
    height, width = size_px or (plain.get("height"), plain.get("width"))
    info = {name: getattr(scorer, name, None) for name in ("source", "fingerprint")}
    facts = {
        "format": RECORD_FORMAT,
        "prompt": plain.get("prompt", prompt),
        "seed": seed,
        "generator_device": str(generator_device),
        "height": height,
        "width": width,
        "num_inference_steps": _num_steps(plain, defaults),
        "guidance_scale": plain.get("guidance_scale", defaults.get("guidance_scale")),
        **(describe_state(pipe) if state is None else dict(state)),
        "call": plain,
        "tensors": tensors,
        "not_recorded": left_out,
        "batch_size": batch_size,
        "critic": None if scorer is None else {n: v and str(v) for n, v in info.items()},
        "scores": None if scores is None else dict(scores),
        "versions": describe_versions(),
        **more,
    }
    return without_nan(facts)


def regenerate(
    pipe: Any,
    record: Mapping[str, Any],
    *,
    output_type: str = "pil",
    strict: bool = True,
    **tensors: Any,
) -> Any:
    """Make the image of a record again, alone.

    The scheduler of the record takes the pipeline's place for this one call, if it is another.

    Args:
        pipe: the pipeline that made it: same class, weights, types and LoRAs.
        record: from a candidate, or from `read_record`.
        output_type: "pil", or "pt" = float tensor [3,H,W] in [0,1] on the pipeline's device.
        strict: refuse a pipeline that differs from the record; False = a warning in the log.
        tensors: what the record knows by fingerprint only, such as ``latents`` [1,...], or by
            name only (``not_recorded``), such as a callback; a warning names those left out.

    Returns:
        PIL image, or tensor.

    Raises:
        DiffusionError: no record, another pipeline, or tensors that are missing or others.
    """
    record = check_record(record)
    if output_type not in ("pil", "pt"):
        raise DiffusionError(f"output_type: expected 'pil' or 'pt', found {output_type!r}")
    state_differences(pipe, record, strict=strict)
    arguments = _arguments_of(pipe, record, tensors)
    generator = make_generator(record["seed"], record["generator_device"])
    with _scheduler_of(pipe, record), returning_models(pipe):
        output = call_for_tensors(pipe, arguments, generator)
    images, _ = images_and_replaced(output, 1)
    return to_pil(images[0]) if output_type == "pil" else images[0].float()


def save_png(image: Any, path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Write an image as PNG with its record in a text chunk named ``eliq``.

    Args:
        image: PIL image, or float tensor [3,H,W] in [0,1].

    Raises:
        DiffusionError: no record.
        OSError: the file cannot be written.
    """
    text = json.dumps(check_record(record), ensure_ascii=False)
    # A lone surrogate in a prompt is fine in JSON's own escapes, but not in UTF-8.
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    save_image(image, path, {_PNG_KEY: text})


def read_record(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The record in a PNG file that `save_png` wrote, or in a JSON file.

    Raises:
        DiffusionError: the file has none, or a damaged one.
        OSError: the file cannot be read.
    """
    file = Path(path)
    if file.suffix.lower() == ".json":
        if file.stat().st_size > _MAX_BYTES:
            raise DiffusionError(f"{file.name}: expected a record, found more than 1 MiB")
        text: Any = file.read_bytes()
    else:
        text = _png_text(file)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise DiffusionError(f"{file.name}: expected a record in JSON, found other text") from None
    return check_record(found, where=f"{file.name}: ")


def check_record(record: Any, *, where: str = "") -> dict[str, Any]:
    """``record``, if it is one.

    Raises:
        DiffusionError: another format, or a part that is missing or of a wrong type.
    """
    if not isinstance(record, Mapping) or record.get("format") != RECORD_FORMAT:
        found = record.get("format") if isinstance(record, Mapping) else type(record).__name__
        raise DiffusionError(
            f"{where}expected a record of format {RECORD_FORMAT!r}, found {found!r}"
        )
    kinds = {
        "call": dict,
        "tensors": dict,
        "generator_device": str,
        "scheduler": (dict, type(None)),
    }
    for name, kind in kinds.items():
        if not isinstance(record.get(name), kind):
            raise DiffusionError(f"{where}expected a record with {name!r}, found none in it")
    check_seed(record.get("seed"))
    return dict(record)


def _png_text(file: Path) -> str:
    try:
        with Image.open(file, formats=("PNG",)) as image:
            image.load()  # a text chunk may stand behind the pixels
            text = getattr(image, "text", {}).get(_PNG_KEY)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise DiffusionError(f"{file.name}: expected a PNG file, found none that opens") from None
    if text is None or len(text) > _MAX_BYTES:
        raise DiffusionError(f"{file.name}: expected a PNG text chunk named {_PNG_KEY!r}")
    return str(text)


def _arguments_of(pipe: Any, record: Mapping[str, Any], tensors: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the call: what was given, and the defaults of the time that were not."""
    _, given, _ = fingerprint_tensors(tensors)
    if given != record["tensors"]:
        expected = ", ".join(record["tensors"]) or "none"
        raise DiffusionError(
            f"regenerate: expected the very tensors and images that made it ({expected}), found "
            f"{', '.join(given) or 'none'}: pass them by name"
        )
    if taken := sorted(_SET_HERE & set(record["call"])):
        raise DiffusionError(
            f"regenerate: expected a record whose call leaves out {', '.join(sorted(_SET_HERE))}, "
            f"found {', '.join(taken)}"
        )
    check_call_kwargs(pipe, record["call"])
    left_out = [name for name in record.get("not_recorded") or () if name not in tensors]
    if left_out:
        logger.warning(
            "regenerate: %s could not be recorded and was not passed again; the image may differ",
            ", ".join(map(str, left_out)),
        )
    names = ("height", "width", "num_inference_steps", "guidance_scale")
    resolved = supported_kwargs(pipe, **{name: record.get(name) for name in names})
    return {**resolved, **from_plain(record["call"]), **tensors}


def _num_steps(plain: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    """Steps of the call; a schedule of the user's own says how many, whatever the default is."""
    for name in ("timesteps", "sigmas"):
        if isinstance(plain.get(name), list):
            return len(plain[name])
    return plain.get("num_inference_steps", defaults.get("num_inference_steps"))


def _number_defaults(pipe: Any) -> dict[str, Any]:
    return {
        name: parameter.default
        for name, parameter in inspect.signature(type(pipe).__call__).parameters.items()
        if isinstance(parameter.default, (int, float)) and not isinstance(parameter.default, bool)
    }


@contextmanager
def _scheduler_of(pipe: Any, record: Mapping[str, Any]) -> Iterator[None]:
    """The scheduler of the record in the pipeline's place, if it is another one."""
    wanted = record["scheduler"]
    current = getattr(pipe, "scheduler", None)
    if wanted is None or current is None or wanted == plain_config(current):
        yield
        return
    import diffusers

    kind = getattr(diffusers, str(wanted.get("class")), None)
    if not isinstance(kind, type) or not issubclass(kind, diffusers.SchedulerMixin):
        raise DiffusionError(
            f"regenerate: expected a scheduler of diffusers, found {wanted.get('class')!r} in the "
            "record"
        )
    pipe.scheduler = kind.from_config(from_plain(wanted.get("config") or {}))
    try:
        yield
    finally:
        pipe.scheduler = current
