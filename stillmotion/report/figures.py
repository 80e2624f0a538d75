"""Figures of a report, as images that stand inside the page."""

import base64
import io
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from stillmotion.attention import AttentionMap

# Color-blind safe (Okabe and Ito).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


def confusion_figure(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Counts of predicted (columns) against true classes (rows), as a data URI."""
    counts = np.array(confusion)
    side = 2.2 + 0.42 * len(classes)
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            color = "white" if share[row, column] > 0.55 else "black"
            axes.text(column, row, str(count), ha="center", va="center", fontsize=9, color=color)
    axes.set_xticks(range(len(classes)), classes, rotation=55, ha="right")
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    return _data_uri(figure)


def curves_figure(runs: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Training loss and held-out top-1 by epoch of several runs, as a data URI.

    Args:
        runs: for each name the lines of its metrics file.
    """
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for (name, lines), color in zip(runs.items(), COLORS * 3):
        tested = [line for line in lines if "top1" in line]
        losses = [line for line in lines if "loss" in line]
        per_epoch = max(1, round(tested[-1]["step"] / tested[-1]["epoch"])) if tested else 1
        means = [
            np.mean([line["loss"] for line in losses[i : i + per_epoch]]) for i in range(0, len(losses), per_epoch)
        ]
        left.plot(range(1, len(means) + 1), means, color=color, label=name)
        right.plot([t["epoch"] for t in tested], [100 * t["top1"] for t in tested], color=color, marker=".", label=name)
    for axes, label in ((left, "training loss"), (right, "held-out top-1, %")):
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    right.set_ylim(0, 102)
    left.legend(frameon=False, fontsize=9)
    return _data_uri(figure)


def attention_figure(attention: AttentionMap) -> str:
    """The frames, the same with attention drawn on them, and attention over time, as a data URI."""
    weights = attention.mean().numpy()
    T, (gh, gw) = weights.shape[0], weights.shape[1:]
    frames = attention.frames.permute(0, 2, 3, 1).numpy()
    height, width = frames.shape[1:3]
    figure = Figure(figsize=(1.35 * T, 3.6), layout="constrained")
    grid = figure.subplots(3, T, height_ratios=(height, height, 0.4 * height), squeeze=False)
    strength = weights / weights.max()
    time = weights.sum(axis=(1, 2))
    colors = matplotlib.colormaps["inferno"]
    for t in range(T):
        grid[0][t].imshow(frames[t])
        smooth = np.kron(strength[t], np.ones((height // gh, width // gw)))
        glow = colors(smooth)[..., :3]
        alpha = 0.15 + 0.7 * smooth[..., None]
        grid[1][t].imshow(frames[t] * (1 - alpha) + glow * alpha)
        grid[2][t].bar([0], [time[t]], color=COLORS[1])
        grid[2][t].set_ylim(0, time.max() * 1.05)
        grid[2][t].text(0, 0, f"{100 * time[t]:.0f} %", ha="center", va="bottom", fontsize=8)
        for axes in (grid[0][t], grid[1][t], grid[2][t]):
            axes.set_axis_off()
    return _data_uri(figure, dpi=80)


def _data_uri(figure: Figure, dpi: int = 110) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
