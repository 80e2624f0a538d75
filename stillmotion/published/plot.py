"""Accuracy against the arithmetic of a video (as EVL's figures 1 and 5 show it), as a picture or a page."""

import html
import io
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stillmotion.errors import StillmotionError, missing
from stillmotion.files import atomic_write
from stillmotion.published.read import ACCURACIES, Number

ENDS = (".png", ".svg", ".html")
# Color-blind safe (Okabe and Ito).
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vPX"


def check_plot(path: Path) -> None:
    """Refuse a plot that could not be drawn, before anything is counted for it.
    Raises `StillmotionError`: another end than `ENDS`, or matplotlib is missing.
    """
    if path.suffix not in ENDS:
        raise StillmotionError(f"--plot {path}: a plot is a file that ends in {', '.join(ENDS)}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing("report", f"--plot {path}") from error


def write_plot(path: Path, rows: Sequence[Number], counts: Mapping[Number, float], title: str) -> None:
    """Draw the rows over their printed GFLOPs (filled) and over our own count (hollow), for all views of a video.
    Raises `StillmotionError`: no row has either, the rows are of several metrics, or as `check_plot`; `DiskError`.

    Args:
        counts: GMAC of a video by our count, of the rows that have one.
    """
    check_plot(path)
    if not set(metrics := {row.metric for row in rows}) <= set(ACCURACIES) or len(metrics) > 1:
        raise StillmotionError(f"a plot shows one metric, not {', '.join(sorted(metrics))}; pass --metric top-1")
    points = {row: (row.gflops_per_video, counts.get(row)) for row in rows}
    points = {row: costs for row, costs in points.items() if costs != (None, None)}
    if not points:
        raise StillmotionError("none of these numbers has a cost, printed or of our own count; choose others to plot")
    svg = path.suffix != ".png"
    drawn = _draw(points, title, "svg" if svg else "png")
    with atomic_write(path) as temporary:
        temporary.write_bytes(_page(drawn, points, title) if path.suffix == ".html" else drawn)


Points = Mapping[Number, tuple[float | None, float | None]]


def _draw(points: Points, title: str, form: str) -> bytes:
    import matplotlib
    from matplotlib.figure import Figure

    groups = defaultdict(list)
    for row, costs in points.items():
        groups[row.method, row.backbone].append((row, costs))
    figure = Figure(figsize=(8.6, 5.2), dpi=150, layout="constrained")
    axes = figure.subplots()
    looks = itertools.product(_MARKERS, _COLORS)
    for (method, backbone), found in sorted(groups.items()):
        marker, color = next(looks)
        style: dict[str, Any] = {"marker": marker, "markersize": 7, "linestyle": "none", "color": color}
        printed = [(x, row.value) for row, (x, _) in found if x is not None]
        ours = [(x, row.value) for row, (_, x) in found if x is not None]
        name: str | None = f"{method}, {backbone}"
        if printed:
            axes.plot(*zip(*printed), **style, label=name)
            name = None
        if ours:
            axes.plot(*zip(*ours), **style, markerfacecolor="none", label=name)
        main = sorted({(x or y, row.value) for row, (x, y) in found if not row.variant and not row.status})
        axes.plot(*zip(*main), color=color, linewidth=1, alpha=0.5) if len(main) > 1 else None
    axes.set_xscale("log")
    axes.set_xlabel("GFLOPs a video, all views (multiply and add as one); filled: as printed, hollow: our count")
    axes.set_ylabel(f"{next(iter(points)).metric}, %")
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(alpha=0.25, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(buffer, format=form, metadata={"Date": None} if form == "svg" else None)
    return buffer.getvalue()


def _page(svg: bytes, points: Points, title: str) -> bytes:
    """The plot and the points under it, without another file."""
    text = svg.decode("utf-8")
    header = ("method", "backbone", "frames", "views", "%", "printed GFLOPs", "our GMAC", "source", "note")
    lines = []
    for row, costs in points.items():
        numbers = ["" if cost is None else f"{cost:,.0f}" for cost in costs]
        cells = (row.method, row.backbone, row.frames or "", row.views, row.value, *numbers, row.source)
        note = " ".join(filter(None, (f"{row.status}:" if row.status else "", row.variant, row.note)))
        lines.append("".join(f"<td>{html.escape(str(cell))}</td>" for cell in (*cells, note)))
    head = "".join(f"<th>{name}</th>" for name in header)
    body = "".join(f"<tr>{line}</tr>\n" for line in lines)
    style = (
        "body{font:14px system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;"
        "background:#fff;color:#111}"
        "svg{width:100%;height:auto}table{border-collapse:collapse}td,th{text-align:left;padding:.2rem .6rem;"
        "border-bottom:1px solid #ddd}"
    )
    return (
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{style}</style>\n<h1>{html.escape(title)}</h1>\n{text[text.index('<svg') :]}\n"
        f"<table><tr>{head}</tr>\n{body}</table></html>\n"
    ).encode()
