"""The page of a drift report: what it is, alarms, numbers, picture, and the images that differ.

One file, no script, no network. Every text is escaped: prompts and names come from anywhere.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

from eliq.contact_sheet.entry import SheetEntry, load_thumbnail
from eliq.shown_text import one_line

from .alarms import agreement_in_words
from .anchors import Anchors
from .drift import DriftReport

__all__ = ["drift_page"]

_THUMB_PX = (384, 320)
_TITLE = "What changed between the old and the new critic"
_ABOUT = (
    "Both critics scored the anchors: images with prompts that no version is trained on. The new "
    "critic's scores are shown on the old one's scale (shifted and stretched to it), unless an "
    "alarm says that the two could not be linked. An alarm is no error: it asks for a look. "
    "Below a correlation (SRCC) of 0.8, scores before and after should not be compared."
)
_SORTED = (
    "{shown} of {num} anchors, those first on which old and new differ most, in either score. "
    "Shown is what was done to the picture or to its prompt."
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; \
style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --page: #f1f3f6; --card: #fff; --edge: #d8dde4; --ink: #1c2128;
  --dim: #5c6570; --alarm: #be313c; }}
@media (prefers-color-scheme: dark) {{ :root {{ --page: #14171b; --card: #1e2227; --edge: #30363e;
  --ink: #e3e7ec; --dim: #959fab; --alarm: #ff7b84; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 1500px; padding: 28px; background: var(--page);
  color: var(--ink); font: 14px/1.45 system-ui, "Segoe UI", "Noto Sans", sans-serif; }}
h1 {{ margin: 0 0 8px; font-size: 26px; font-weight: 600; }}
h2 {{ margin: 26px 0 6px; font-size: 18px; font-weight: 600; }}
p, ul {{ margin: 4px 0; max-width: 95ch; }}
.alarm {{ color: var(--alarm); }}
table {{ border-collapse: collapse; margin: 6px 0; }}
td, th {{ padding: 3px 12px 3px 0; text-align: left; font-weight: normal; vertical-align: top; }}
th {{ color: var(--dim); }}
.picture {{ width: 100%; height: auto; background: #fff; border: 1px solid var(--edge); }}
main {{ display: grid; gap: 16px; margin-top: 12px;
  grid-template-columns: repeat(auto-fill, minmax(236px, 1fr)); }}
article {{ background: var(--card); border: 1px solid var(--edge); border-radius: 10px;
  overflow: hidden; }}
article img {{ display: block; width: 100%; height: 200px; object-fit: contain; }}
.body {{ padding: 8px 12px 12px; overflow-wrap: anywhere; }}
.what {{ font-weight: 600; }}
.dim {{ color: var(--dim); font-size: 12px; }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{about}</p>
<h2>Alarms</h2>
{alarms}
<h2>Numbers</h2>
{numbers}
{picture}
<h2>Images on which they differ most</h2>
<p>{order}</p>
<main>
{cells}
</main>
</body>
</html>
"""


def drift_page(report: DriftReport, anchors: Anchors, picture: bytes | None) -> str:
    """The page as text; `picture` is that of `draw_drift`."""
    alarms = "<p>None.</p>"
    if report.alarms:
        alarms = "\n".join(
            ["<ul>", *(f'<li class="alarm">{_safe(text)}</li>' for text in report.alarms), "</ul>"]
        )
    shown = f"{len(report.disagreements)}"
    return _PAGE.format(
        title=_TITLE,
        about=_ABOUT,
        alarms=alarms,
        numbers=_numbers(report),
        picture=""
        if picture is None
        else f'<img class="picture" alt="scores and known orders" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">',
        order=_SORTED.format(shown=shown, num=len(anchors.points)),
        cells="\n".join(_cell(row, anchors) for row in report.disagreements),
    )


def _numbers(report: DriftReport) -> str:
    rows = [
        (
            f"anchors of {era}",
            f"{n['prompts']} prompts, {n['images']} images, {n['anchors']} anchors",
        )
        for era, n in report.anchors.items()
    ]
    if report.num_failed:
        rows.append(("not scored", f"{report.num_failed} anchors, by one critic or both"))
    for name, drift in report.scores.items():
        numbers, title = drift.numbers, name.replace("_", " ")
        order, spread = numbers["known_order"], numbers["spread"]
        kept = "none among the anchors"
        if order["num"]:
            kept = f"{order['num_old']} of {order['num']} pairs by the old critic, "
            kept += f"{order['num_new']} by the new one"
        spreads = f"old {spread['old']['std']:.3f}, new {spread['new']['std']:.3f}"
        spreads += f", new on its own scale {spread['new_own_scale']['std']:.3f}"
        rows += [
            (f"{title}: old and new", agreement_in_words(numbers)),
            (f"{title}: known orders kept", kept),
            (f"{title}: spread (standard deviation)", spreads),
            (f"{title}: largest difference", f"{numbers['largest_difference']:.3f} of 0..1"),
        ]
        for era, mean in numbers["mean_positive"].items():
            said = f"old {_number(mean['old'])}, new {_number(mean['new'])}, mean of {mean['num']}"
            rows.append((f"{title}: undamaged images of {era}", said))
    cells = [f"<tr><th>{_safe(a)}</th><td>{_safe(b)}</td></tr>" for a, b in rows]
    return "\n".join(["<table>", *cells, "</table>"])


def _cell(row: dict[str, Any], anchors: Anchors) -> str:
    path = str(anchors.folder / row["file"])
    scores = [
        f"<div>{name.replace('_', ' ')} {row[name]['old']:.2f} → {row[name]['new']:.2f}</div>"
        for name in ("visual_quality", "alignment")
        if name in row
    ]
    named = f"{row['source']}, {row['era']}" if row["source"] else row["era"]
    parts = [
        "<article>",
        _thumbnail(path),
        '<div class="body">',
        f'<div class="what">{_safe(row["what"])}</div>',
        *scores,
        f'<div dir="auto">{_safe(row["prompt"])}</div>',
        f'<div class="dim" title="{_safe(row["file"])}">{_safe(named)}</div>',
        "</div>",
        "</article>",
    ]
    return "\n".join(parts)


def _thumbnail(path: str) -> str:
    image = load_thumbnail(SheetEntry(path), *_THUMB_PX)
    if image is None:
        return '<div class="body dim">no picture</div>'
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<img alt="" src="data:image/jpeg;base64,{data}">'


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _safe(text: str) -> str:
    return escape(one_line(text)[:2000], quote=True)
