"""Scatter plots of scores against opinions, one panel a scorer."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from eliq.errors import ConfigError, EvaluationError

from .metrics import fit_logistic

__all__ = ["scatter_plots"]

_MAX_COLOURS = 15  # generators beyond that are drawn in one grey
_WIDE = 3


def scatter_plots(part: Mapping[str, Any], title: str) -> bytes | None:
    """A PNG: score on the x axis, opinion on the y axis, the fitted logistic curve through it.

    `part` is one opinion of `measure_set`; points are coloured by generator where there are few.
    None where matplotlib is not installed or nothing was scored.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    scores = part["scores"]
    if not scores:
        return None
    columns = min(len(scores), _WIDE)
    rows = math.ceil(len(scores) / columns)
    figure = Figure(figsize=(4.2 * columns, 3.8 * rows), dpi=100, layout="constrained")
    panels = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).reshape(-1)
    opinions = np.asarray(part["opinions"])
    generators = [name or "" for name in part["generators"]]
    names = sorted(set(generators))
    is_coloured = 1 < len(names) <= _MAX_COLOURS
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    size = max(2.0, min(24.0, 4000 / len(opinions)))
    srcc = {column["title"]: column["srcc"] for column in part["columns"]}
    for panel, (scorer, values) in zip(panels, scores.items(), strict=False):
        x = np.asarray(values)
        for i, name in enumerate(names if is_coloured else [None]):
            mine = np.asarray([name is None or g == name for g in generators])
            colour = palette(i) if is_coloured else "0.45"
            panel.scatter(x[mine], opinions[mine], s=size, color=colour, alpha=0.6, linewidths=0,
                          label=name)  # fmt: skip
        try:
            grid = np.linspace(x.min(), x.max(), 200)
            panel.plot(grid, fit_logistic(x, opinions)(grid), color="black", linewidth=1.2)
        except (ConfigError, EvaluationError):
            pass  # constant scores, too few images, or no scipy: the points alone
        value = srcc.get(scorer)
        panel.set_title(f"{_short(scorer)}\nSRCC {'-' if value is None else f'{value:.3f}'}",
                        fontsize=9)  # fmt: skip
        panel.set(xlabel="score", ylabel="mean opinion")
        panel.grid(alpha=0.3)
    for panel in panels[len(scores) :]:
        panel.set_visible(False)
    if is_coloured:
        panels[0].legend(fontsize=6, markerscale=2, loc="best")
    figure.suptitle(title, fontsize=11)
    file = io.BytesIO()
    FigureCanvasAgg(figure).print_png(file)
    return file.getvalue()


def _short(text: str, most: int = 48) -> str:
    plain = text.replace("$", "")  # which matplotlib would read as the start of a formula
    return plain if len(plain) <= most else "…" + plain[1 - most :]
