"""Figures of a page as inline SVG: transparent, in the page's own font and ink, so that they are right in the dark."""

import html
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Color-blind safe (Okabe and Ito), those that can be seen on white and on black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", "--", ":", "-.")
DASHES = ("solid", "dashed", "dotted", "double")
_INK = "#010203"  # stands for the page's ink, which a style sheet sets

Lines = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Level:
    """A bar: its name, its height and its 95 % interval in [0, 1], and the numbers that it is the mean of; height None:
    there is none, and `text` says why.
    """

    name: str
    height: float | None
    interval: tuple[float, float] | None = None
    points: tuple[float, ...] = ()
    text: str = ""


def curves_figures(runs: Mapping[str, Lines]) -> list[str]:
    """Training loss, and validation top-1, by epoch, of several runs: an SVG each; none of what no run has.

    They hold no names; the color of run i is `COLORS[i % 6]`, its dashes are `STYLES[i // 6 % 4]`.

    Args:
        runs: for each name the lines of its metrics file.
    """
    losses = {name: points for name, lines in runs.items() if (points := losses_by_epoch(lines))}
    tops = {
        name: [(t["epoch"], 100 * t["top1"]) for t in lines if t.get("top1") is not None and t.get("epoch")]
        for name, lines in runs.items()
    }
    tops = {name: points for name, points in tops.items() if points}
    tops = tops if any(len(points) > 1 for points in tops.values()) else {}  # a point is no curve
    found = [_curves("training loss", losses, list(runs))] if losses else []
    return found + ([_curves("validation top-1, %", tops, list(runs), top=102)] if tops else [])


def losses_by_epoch(lines: Lines) -> list[tuple[float, float]]:
    """Mean training loss of every epoch, at the epoch's end; of every step where no line tells of epochs."""
    steps = [(line["step"], line["loss"]) for line in lines if isinstance(line.get("loss"), float)]
    ends = [line["step"] / line["epoch"] for line in lines if line.get("epoch") and "loss" not in line]
    per_epoch = max(1.0, ends[0]) if ends else 1.0
    sums: dict[int, list[float]] = {}
    for step, loss in steps:
        sums.setdefault(int(step // per_epoch) + 1, []).append(loss)
    return [(epoch, float(np.mean(values))) for epoch, values in sorted(sums.items())]


def _curves(
    title: str, lines: Mapping[str, Sequence[tuple[float, float]]], names: Sequence[str], top: float | None = None
) -> str:
    figure = Figure(figsize=(6, 3.1), layout="constrained")
    axes = figure.subplots()
    for name, points in lines.items():
        round_, color = divmod(names.index(name), len(COLORS))
        style = STYLES[round_ % len(STYLES)]
        axes.plot(*zip(*points), style, color=COLORS[color], marker="o", markersize=3.5, linewidth=2)
    axes.set_title(title, loc="left", fontsize=11, color=_INK)
    axes.set_xlabel("epoch", color=_INK)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(0, top)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["bottom", "left"]].set_color(_INK)
    axes.tick_params(colors=_INK)
    return _svg(figure, f"{title} by epoch")


def bars_figure(title: str, levels: Sequence[Level], colors: Sequence[str]) -> str:
    """Accuracies under each other as an SVG, each with its name, in its color, on one scale from 0 to 100 %."""
    figure = Figure(figsize=(6, 0.75 + 0.42 * len(levels)), layout="constrained")
    axes = figure.subplots()
    for y, (level, color) in enumerate(zip(levels, colors)):
        height = 100 * (level.height or 0.0)
        axes.barh(y, height, color=color, height=0.62, alpha=0.55)
        end = height
        if level.interval is not None:
            low, high = (100 * value for value in level.interval)
            axes.errorbar(
                (low + high) / 2, y, xerr=(high - low) / 2, fmt="none", ecolor=_INK, elinewidth=1.6, capsize=4
            )
            end = max(end, high)
        if len(level.points) > 1:
            axes.plot([100 * x for x in level.points], [y] * len(level.points), "o", color=_INK, markersize=3.2)
            end = max(end, *(100 * x for x in level.points))
        text = f"{height:.1f}" if level.height is not None else level.text
        axes.text(end + 1.5, y, text, va="center", fontsize=10, color=_INK, parse_math=False)
    axes.set_yticks(range(len(levels)), [_short(level.name) for level in levels], fontsize=10, parse_math=False)
    axes.set_title(title, loc="left", fontsize=11, color=_INK, parse_math=False)
    axes.set_ylim(len(levels) - 0.45, -0.55)
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines["bottom"].set_bounds(0, 100)
    axes.spines[["bottom", "left"]].set_color(_INK)
    axes.tick_params(colors=_INK)
    return _svg(figure, title)


def _short(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"{name[: most // 2 - 1]}\N{HORIZONTAL ELLIPSIS}{name[-most // 2 :]}"


def _svg(figure: Figure, label: str) -> str:
    """A figure as an SVG element that takes the width it is given."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": label}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor")
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)  # inside HTML they are known
    text = re.sub(r'\sid="[\w.]+_\d+"', "", text).replace("xlink:href", "href")  # ids that every figure has
    text = re.sub(r"font(-family)?: ([\d.]+px )?'[^;\"]*", lambda m: f"font-size: {m[2]}" if m[2] else "", text)
    head, rest = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(label)}">{rest}'
