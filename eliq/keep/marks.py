"""Scores written beside or into a copy, on request: an XMP rating, a text of a PNG."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any

from ..errors import ImageError

__all__ = ["RATE_BY", "png_with_text", "rating", "xmp_sidecar"]

RATE_BY = ("visual_quality", "alignment", "lower", "mean")
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEYWORD = b"eliq"  # as the ComfyUI nodes name it
_FACTS = ("visual_quality", "alignment", "model_id", "revision", "head_sha256", "dtype")

_XMP = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:eliq="urn:eliq:scores:1"
    xmp:Rating="{rating}"{scores}/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


def rating(row: Mapping[str, Any], by: str = "visual_quality") -> int:
    """0 to 5 stars: five times the score, rounded half up; 0 where there is no such score.

    ``lower`` and ``mean`` are of the scores that there are.
    """
    known = [row[name] for name in ("visual_quality", "alignment") if row[name] is not None]
    if by in ("visual_quality", "alignment"):
        value = row[by]
    elif known:
        value = min(known) if by == "lower" else sum(known) / len(known)
    else:
        value = None
    # A float32 of 0.9 lies just below it: what is shown as 0.9 is rounded as 0.9.
    return 0 if value is None else int(round(min(1.0, max(0.0, value)), 6) * 5 + 0.5)


def xmp_sidecar(row: Mapping[str, Any], by: str = "visual_quality") -> bytes:
    """An XMP packet with the rating, and both scores (ISO 16684-1). Only numbers enter it."""
    scores = "".join(
        f'\n    eliq:{words}="{float(row[name]):.6f}"'
        for name, words in (("visual_quality", "VisualQuality"), ("alignment", "Alignment"))
        if row[name] is not None
    )
    return _XMP.format(rating=rating(row, by), scores=scores).encode("utf-8")


def png_with_text(data: bytes, row: Mapping[str, Any]) -> bytes:
    """The PNG ``data`` with the text ``eliq``, JSON, before its end; pixels and all other chunks
    stay as they are, byte for byte. A text of that name that was there is replaced.

    Raises:
        ImageError: not a whole PNG.
    """
    facts = {name: row[name] for name in _FACTS if row.get(name) is not None}
    text = json.dumps(facts).encode("ascii")
    pieces = [_SIGNATURE]
    at = len(_SIGNATURE)
    if data[:at] != _SIGNATURE:
        raise ImageError("expected a PNG, found another kind of file")
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(data):
            break
        if kind == b"IEND":
            return b"".join([*pieces, _chunk(b"tEXt", _KEYWORD + b"\0" + text), data[at:]])
        is_ours = kind in (b"tEXt", b"iTXt", b"zTXt") and data[at + 8 :].startswith(
            _KEYWORD + b"\0"
        )
        if not is_ours:
            pieces.append(data[at:end])
        at = end
    raise ImageError("expected a whole PNG, found one that ends early")


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
