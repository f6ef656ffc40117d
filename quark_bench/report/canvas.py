"""Canvas: paints a matplotlib figure and writes it as an `<svg>` element for any page, or as a file.

Text stays text and takes the page's colour, the background is transparent, and the same figure gives the same bytes.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import Any

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#010203"
"""Drawn in this colour, text and axes become `currentColor` when the figure is written."""
WIDTH_IN = 8.0
CANVASES = {"svg": (FigureCanvasSVG, 72), "png": (FigureCanvasAgg, 150)}
"""What paints each kind of file, and the dots per inch of a figure whose texts it measures."""

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quark-bench",
    "text.parse_math": False,  # a dollar sign in a user's name is a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlepad": 12,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.minor.width": 0.4,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}


def draw(title: str, height_in: float, paint: Callable[[Figure], None]) -> str:
    """What `paint` puts on a figure of WIDTH_IN by `height_in` inches, as one `<svg>` element named `title`."""
    return _for_page(_painted(height_in, paint, "svg").decode(), title)


def paint_file(height_in: float, paint: Callable[[Figure], None], kind: str) -> bytes:
    """The same as a file of that kind, `svg` or `png`, on white."""
    return _painted(height_in, paint, kind, facecolor="white")


def _painted(height_in: float, paint: Callable[[Figure], None], kind: str, **saving: Any) -> bytes:
    canvas, dpi = CANVASES[kind]
    nothing = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}[kind]
    with mpl.rc_context(SETTINGS), warnings.catch_warnings():
        # The reader's fonts draw the text, so what the layout's font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        # Names that take all the room leave a crowded figure, no broken one.
        warnings.filterwarnings("ignore", message="constrained_layout not applied")
        figure = Figure(figsize=(WIDTH_IN, height_in), dpi=dpi)
        canvas(figure)
        paint(figure)
        ConstrainedLayoutEngine().execute(figure)  # once: a figure that has a layout is drawn twice to be saved
        written = io.BytesIO()
        figure.savefig(written, format=kind, metadata=dict.fromkeys(nothing), **saving)
    return written.getvalue()


def _for_page(svg: str, title: str) -> str:
    """The bare element: named, in the page's colour, scaled by its viewBox, with ids of its own."""
    prefix = re.sub(r"\W+", "-", title.lower()).strip("-")
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*", "", body, flags=re.DOTALL)
    body = re.sub(r'\bid="', f'id="{prefix}-', body)
    body = re.sub(r'(url\(#|href="#)', rf"\g<1>{prefix}-", body)
    body = body.replace(INK, "currentColor").replace("'DejaVu Sans'", "ui-sans-serif, system-ui")
    body = re.sub(r' (?:width|height)="[\d.]+pt"', "", body, count=2)
    return body.replace("<svg ", f'<svg class="figure" role="img" aria-label="{escape(title)}" ', 1).strip()
