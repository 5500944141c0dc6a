"""The contact sheet as one HTML page that needs no network: thumbnails inside, no script.

Every text comes from files and prompts that nobody vouches for: all of it is escaped, and the
page's own policy forbids scripts and requests, should anything slip through.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from ..shown_text import one_line
from .entry import SheetEntry, load_thumbnail

__all__ = ["html_sheet"]

_THUMB_PX = (384, 320)
_MAX_PROMPT_CHARS = 2000

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
{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p>{note}</p>
</header>
<main>
{cells}
</main>
</body>
</html>
"""

_STYLE = """\
:root { color-scheme: light dark; --page: #f1f3f6; --card: #fff; --edge: #d8dde4; --ink: #1c2128;
  --dim: #68717d; --track: #e4e8ed; --matte: #e2e6eb; --bad: #be313c; --quality: #2563c3;
  --alignment: #0f8a70; --pill: #faf0d6; --pill-ink: #7a5408; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1e2227; --edge: #30363e;
  --ink: #e3e7ec; --dim: #959fab; --track: #30363e; --matte: #15181c; --bad: #ff7b84;
  --quality: #6aa2f7; --alignment: #3fc3a2; --pill: #3c3218; --pill-ink: #ecca7c; } }
* { box-sizing: border-box; }
body { margin: 0; padding: 28px; background: var(--page); color: var(--ink);
  font: 14px/1.4 system-ui, -apple-system, "Segoe UI", "Noto Sans", sans-serif; }
h1 { margin: 0; font-size: 26px; font-weight: 600; }
header p { margin: 4px 0 22px; color: var(--dim); }
main { display: grid; gap: 16px; grid-template-columns: repeat(auto-fill, minmax(236px, 1fr)); }
article { display: flex; flex-direction: column; overflow: hidden; position: relative;
  background: var(--card); border: 1px solid var(--edge); border-radius: 10px; }
.thumb { display: flex; align-items: center; justify-content: center; height: 200px;
  background: var(--matte); color: var(--dim); }
.thumb img { width: 100%; height: 100%; object-fit: contain; }
.rank { position: absolute; top: 8px; left: 8px; min-width: 26px; padding: 1px 7px;
  border-radius: 11px; text-align: center; color: #fff; background: #1c2128d2; }
.body { display: flex; flex-direction: column; flex: 1; padding: 10px 12px; }
.score { display: grid; grid-template-columns: 66px 1fr 34px; gap: 8px; align-items: center;
  font-size: 13px; color: var(--dim); }
.score b { font-weight: 500; text-align: right; color: var(--ink);
  font-variant-numeric: tabular-nums; }
.bar { height: 8px; border-radius: 4px; background: var(--track); overflow: hidden; }
.bar i { display: block; height: 100%; border-radius: 4px; }
.quality i { background: var(--quality); }
.alignment i { background: var(--alignment); }
.prompt { margin: 8px 0; flex: 1; overflow-wrap: anywhere; unicode-bidi: isolate;
  display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; }
.none { color: var(--dim); }
.error { color: var(--bad); }
.flags { margin: 0 0 6px; }
.flags span { display: inline-block; margin: 0 4px 4px 0; padding: 1px 8px; font-size: 12px;
  border-radius: 9px; background: var(--pill); color: var(--pill-ink); }
.name { color: var(--dim); font-size: 12px; overflow-wrap: anywhere; }
@media print { article { break-inside: avoid; } }
"""


def html_sheet(numbered: Sequence[tuple[int, SheetEntry]], *, title: str, note: str) -> str:
    """The page as text, cells in the order given."""
    cells = "\n".join(_cell(number, entry) for number, entry in numbered)
    return _PAGE.format(title=_safe(title), note=_safe(note), style=_STYLE, cells=cells)


def _cell(number: int, entry: SheetEntry) -> str:
    if entry.error is not None:
        prompt = f'<p class="prompt error">{_safe(entry.error)}</p>'
    elif entry.prompt and entry.prompt.strip():
        prompt = f'<p class="prompt" dir="auto">{_safe(entry.prompt)}</p>'
    else:
        prompt = '<p class="prompt none">no prompt</p>'
    flags = "".join(f"<span>{_safe(flag.replace('_', ' '))}</span>" for flag in entry.flags)
    parts = [
        "<article>",
        f'<div class="thumb">{_thumbnail(entry)}</div><span class="rank">{number}</span>',
        '<div class="body">',
        _score("quality", entry.visual_quality),
        _score("alignment", entry.alignment),
        prompt,
        f'<p class="flags">{flags}</p>' if flags else "",
        f'<div class="name" title="{_safe(entry.path)}">{_safe(entry.name)}</div>',
        "</div>",
        "</article>",
    ]
    return "\n".join(part for part in parts if part)


def _score(label: str, score: float | None) -> str:
    number = "–" if score is None else f"{score:.2f}"
    percent = 0.0 if score is None else 100.0 * min(1.0, max(0.0, score))
    return (
        f'<div class="score {label}"><span>{label}</span>'
        f'<div class="bar"><i style="width:{percent:.1f}%"></i></div><b>{number}</b></div>'
    )


def _thumbnail(entry: SheetEntry) -> str:
    image = load_thumbnail(entry, *_THUMB_PX)
    if image is None:
        return "not scored" if entry.error is not None else "no picture"
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return (
        f'<img alt="" width="{image.width}" height="{image.height}" '
        f'src="data:image/jpeg;base64,{data}">'
    )


def _safe(text: str) -> str:
    return escape(one_line(text)[:_MAX_PROMPT_CHARS], quote=True)
