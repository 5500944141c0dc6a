"""File names that carry scores. Nothing of ComfyUI, nothing written.

A prefix is what the user typed: a name, or folders and a name, below ComfyUI's output folder.
%vq%, %al% and %index% in it are of one image; whatever else stands between percent signs is left
for ComfyUI, which knows %width%, %year% and more.
"""

from __future__ import annotations

import math
import re

__all__ = ["image_prefix", "record_prefix"]

_DEFAULT = "ELIQ"
# What Windows refuses, what hides in a name, and halves of characters that no name can hold.
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f\ud800-\udfff]')
_MOST_BYTES = 220  # of a name: file systems end at 255, and a counter is still to come


def image_prefix(prefix: str, *, visual_quality: float, alignment: float, position: int) -> str:
    """The prefix of one image: "fox_%vq%" becomes "fox_0.731".

    Three decimals, so that names sort as scores do; a score that does not exist is "none". The
    position counts from 0 (ComfyUI's own %batch_num% is the same number without leading zeros).

    Raises:
        ValueError: a prefix that leaves the output folder, or a name that is too long.
    """
    return _checked(_replaced(prefix, _values(visual_quality, alignment, position)))


def record_prefix(prefix: str, *, visual_quality: float, alignment: float, position: int) -> str:
    """The same folder with a name that says nothing of one image: "fox_%vq%" becomes "fox".

    So images beside each other share one record, whatever their names are.

    Raises:
        ValueError: as `image_prefix`.
    """
    _checked(prefix)  # before its name is stripped: ".." would be no more than a pair of dots
    values = _values(visual_quality, alignment, position)
    cut = max(prefix.rfind("/"), prefix.rfind("\\")) + 1
    name = _replaced(prefix[cut:], dict.fromkeys(values, ""))
    name = re.sub(r"([_\-. ])[_\-. ]+", r"\1", name).strip("_-. ")
    return _checked(_replaced(prefix[:cut], values) + name)


def _values(visual_quality: float, alignment: float, position: int) -> dict[str, str]:
    return {
        "%vq%": _number(visual_quality),
        "%al%": _number(alignment),
        "%index%": f"{position:03d}",
        "%batch_num%": str(position),
    }


def _number(score: float) -> str:
    return f"{score:.3f}" if math.isfinite(score) else "none"


def _replaced(text: str, values: dict[str, str]) -> str:
    for token, value in values.items():
        text = text.replace(token, value)
    return text


def _checked(prefix: str) -> str:
    """The prefix with a name in it and no character that a file system refuses.

    ComfyUI refuses a folder outside its output too; here the message says what to type instead.
    """
    prefix = prefix.strip()
    *folders, name = re.split(r"[/\\]", prefix)
    if ".." in (*folders, name) or prefix[:1] in ("/", "\\") or re.match("[A-Za-z]:", prefix):
        raise ValueError(
            "filename_prefix: expected a name or folders below the output folder, found "
            f"{prefix!r}: leave out '..' and the leading slash or drive"
        )
    if not name.strip(" ."):
        prefix = prefix[: len(prefix) - len(name)] + _DEFAULT
    prefix = _UNSAFE.sub("_", prefix)
    longest = max(len(part.encode()) for part in re.split(r"[/\\]", prefix))
    if longest > _MOST_BYTES:
        raise ValueError(
            f"filename_prefix: expected names of at most {_MOST_BYTES} bytes, found {longest}: "
            "shorten it"
        )
    return prefix
