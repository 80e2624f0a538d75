"""An explanation as figures: strips of frames with maps on them, heads side by side, a looping film, a page, a poster.

`explanation_figures` makes data URIs of all but the text; `templates/explanation.html` is the part of a page that shows
them, for any page to include with `figures` set.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from stillmotion.explain import BEFORE, QUERY, ROLLOUT, TOWER, Explanation
from stillmotion.files import atomic_write
from stillmotion.report.page import data_uri, write_page

Pixels = NDArray[np.uint8]
# Without the black end, which would be darker than a frame that nothing is drawn on.
COLORS = ListedColormap(matplotlib.colormaps["inferno"](np.linspace(0.2, 1, 256)))
GAP, TILE, PANEL, LINE = 4, 112, 256, 26  # pixels: between frames; a head; a panel of the film; a line of text in it
DARK, BRIGHT = 0.5, 0.993  # the quantiles of a map's weights at the ends of its colors
EMPTY = 24  # the gray of a film where nothing is
WAIT, LAST = 400, 1200  # milliseconds of a frame of the film, and of the last
POSTER = 12  # frames of a poster at most


@dataclass(frozen=True)
class Strip:
    """A row of pictures with one map drawn on them: all frames in time, or the heads of a map on one frame.

    image: data URI; pictures are `Figures.side` large and `GAP` apart (heads: smaller, a row for each layer).
    name: of the map; `frames` for the plain ones, which have nothing else.
    about: what it shows, in words.
    low, high: what the ends of the color bar stand for ("0 %", "3.1 % or more").
    shares: (T,) in [0, 1], the part of a query's attention that falls on each frame's patches; else empty.
    """

    image: str
    name: str
    about: str = ""
    low: str = ""
    high: str = ""
    shares: tuple[float, ...] = ()


@dataclass(frozen=True)
class Figures:
    """What a page needs to show an explanation.

    title: the predicted class and its probability.
    top: the most probable classes and their probabilities, at most five.
    strips: plain frames first, then the maps.
    heads: for the tower's last block and the query, every head on the frame that says most of `label`.
    bar: data URI of the color bar, low on the left.
    film: data URI of a looping WebP: the frames one after the other, each beside its maps.
    label, scores: the class that the frames are scored for, and the probability (T,) that each frame alone gives it.
    not_shown: maps that the model does not have, and why, in lines.
    side: (height, width) of a frame in the strips, in pixels.
    """

    title: str
    top: list[tuple[str, float]]
    strips: list[Strip]
    heads: list[Strip]
    bar: str
    film: str
    label: str
    scores: list[float]
    not_shown: list[str]
    side: tuple[int, int]


def explanation_figures(explanation: Explanation, height: int = 160) -> Figures:
    """Draw an explanation; frames are `height` pixels high in the strips."""
    H, W = explanation.frames.shape[-2:]
    side = (height, round(height * W / H))
    strips = [Strip(_uri(_row(_plain(explanation.frames, side))), "frames")]
    for name in order(explanation):
        shown, scale = explanation.maps[name], Scale.of(explanation, name)
        shares = tuple(shown.weights.sum(dim=(1, 2)).tolist()) if shown.sums == "video" else ()
        image = _uri(_row(overlay(explanation.frames, shown.weights, scale, side)))
        strips.append(Strip(image, name, shown.about, *scale.ends, shares))
    best = explanation.prediction
    return Figures(
        title=f"{best.label}, {100 * best.score:.1f} %",
        top=best.top(5),
        strips=strips,
        heads=[_heads(explanation, name) for name in (TOWER, QUERY) if name in explanation.maps],
        bar=_uri(np.tile((255 * COLORS(np.linspace(0, 1, 256))[None, :, :3]).astype(np.uint8), (8, 1, 1)), "png"),
        film=data_uri("webp", _encoded(film(explanation), "webp")),
        label=explanation.label,
        scores=explanation.frame_scores.tolist(),
        not_shown=explanation.not_shown,
        side=side,
    )


@dataclass(frozen=True)
class Scale:
    """Weights to brightness: `low` is dark, `high` and more is bright; both `ends` in words."""

    low: float
    high: float
    ends: tuple[str, str]

    @classmethod
    def of(cls, explanation: Explanation, name: str) -> "Scale":
        """That of a map; before and after tuning have the same."""
        pair = [m for n, m in explanation.maps.items() if n.removesuffix(BEFORE) == name.removesuffix(BEFORE)]
        return cls.over(torch.cat([m.weights.flatten() for m in pair]), explanation.maps[name].sums)

    @classmethod
    def over(cls, weights: Tensor, sums: str) -> "Scale":
        """From the median: half of the patches stay dark. A few far above all others are as bright as the next."""
        low, high = np.quantile(weights.double().numpy(), (DARK, BRIGHT)).tolist()
        text = "{:+.3f}" if sums == "nothing" else "{:.2g} %"
        least, most = (text.format(x if sums == "nothing" else 100 * x) for x in (low, high))
        return cls(low, max(high, low + 1e-9), (f"{least} or less", f"{most} or more"))


def order(explanation: Explanation) -> list[str]:
    """Names of the maps as they are shown: the tower and the query first, as in EVL's figure 4."""
    first = (TOWER, TOWER + BEFORE, QUERY)
    last = (ROLLOUT, ROLLOUT + BEFORE)
    middle = [name for name in explanation.maps if name not in first + last]
    return [name for name in (*first, *middle, *last) if name in explanation.maps]


def overlay(frames: Tensor, weights: Tensor, scale: Scale, side: tuple[int, int]) -> Pixels:
    """Draw weights (T, gh, gw) on (T, 3, H, W) frames, smooth between patches: (T, height, width, 3) uint8."""
    plain = F.interpolate(frames, side, mode="bicubic", antialias=True).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    smooth = F.interpolate(weights[:, None], side, mode="bilinear", align_corners=False)[:, 0].numpy()
    strength = np.clip((smooth - scale.low) / (scale.high - scale.low), 0, 1)
    gray = plain.mean(axis=-1, keepdims=True)
    dim = 0.62 * (0.35 * plain + 0.65 * gray)  # so that color is the map's alone
    alpha = (0.8 * strength**0.7)[..., None]
    return np.asarray(255 * (dim * (1 - alpha) + COLORS(strength)[..., :3] * alpha), dtype=np.uint8)


def _plain(frames: Tensor, side: tuple[int, int]) -> Pixels:
    sized = F.interpolate(frames, side, mode="bicubic", antialias=True).clamp(0, 1)
    return (255 * sized).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def _row(pictures: Pixels) -> NDArray[np.uint8]:
    """(T, h, w, 3) pictures side by side, with a transparent gap behind each, so that T columns are equally wide."""
    opaque = np.pad(pictures, ((0, 0), (0, 0), (0, 0), (0, 1)), constant_values=255)
    return np.concatenate([np.pad(p, ((0, 0), (0, GAP), (0, 0))) for p in opaque], axis=1)


def _heads(explanation: Explanation, name: str) -> Strip:
    """Every head of the tower's last block, or of all layers of the query, on the frame that says most of the class."""
    shown, t = explanation.maps[name], int(explanation.frame_scores.argmax())
    assert shown.heads is not None
    layers = shown.heads[-1:, :, t] if name == TOWER else shown.heads[:, :, t]
    scale, (H, W) = Scale.over(layers, shown.sums), explanation.frames.shape[-2:]
    side = (TILE, round(TILE * W / H))
    frame = explanation.frames[t : t + 1].expand(layers.shape[1], -1, -1, -1)
    rows = [np.pad(_row(overlay(frame, heads, scale, side)), ((0, GAP), (0, 0), (0, 0))) for heads in layers]
    where = "the last block" if name == TOWER else f"{len(rows)} layers, from the top down"
    about = f"each head on frame {t + 1}, {where}"
    return Strip(_uri(np.concatenate(rows)), f"heads of {name}", about, *scale.ends)


def film(explanation: Explanation) -> list[Image.Image]:
    """The pictures of a looping film: every frame beside its maps, in two columns."""
    frames, T = explanation.frames, len(explanation.frames)
    side = (PANEL, round(PANEL * frames.shape[-1] / frames.shape[-2]))
    panels = {"frame": _plain(frames, side)}
    for name in _two_columns(explanation):
        panels[name] = np.full_like(panels["frame"], EMPTY)
        if name:
            panels[name] = overlay(frames, explanation.maps[name].weights, Scale.of(explanation, name), side)
    rows, (height, width) = -(-len(panels) // 2), side
    pictures = []
    for t in range(T):
        sheet = Image.new("RGB", (2 * width + GAP, rows * (height + LINE)), (EMPTY,) * 3)
        draw = ImageDraw.Draw(sheet)
        for place, (name, panel) in enumerate(panels.items()):
            x, y = (place % 2) * (width + GAP), place // 2 * (height + LINE)
            alone = f"frame {t + 1} of {T}: {100 * explanation.frame_scores[t]:.0f} % {explanation.label}"
            draw.text((x + 4, y + LINE // 2), alone if name == "frame" else name, "#e6e9ef", _font(), anchor="lm")
            sheet.paste(Image.fromarray(panel[t]), (x, y + LINE))
        pictures.append(sheet)
    return pictures


def _two_columns(explanation: Explanation) -> list[str]:
    """Maps behind the plain frame, so that before and after tuning are side by side; an empty name is left free."""
    names = order(explanation)
    pairs = [name for name in names if {name, name + BEFORE} <= {*names} or name.endswith(BEFORE)]
    alone = [name for name in names if name not in pairs]
    return [*alone, *([""] if pairs and len(alone) % 2 == 0 else []), *pairs]


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), 14)


def poster(explanation: Explanation, title: str) -> Figure:
    """The whole as one picture for a paper or a slide, of at most `POSTER` frames."""
    T = len(explanation.frames)
    chosen = torch.linspace(0, T - 1, min(T, POSTER)).round().long()
    frames, names = explanation.frames[chosen], order(explanation)
    side, n = (224, round(224 * frames.shape[-1] / frames.shape[-2])), len(chosen)
    figure = Figure(figsize=(1.9 * n + 2.6, 2.0 * (len(names) + 1) + 1.7), layout="constrained")
    best = explanation.prediction
    figure.suptitle(f"{title}: {best.label}, {100 * best.score:.1f} %", fontsize=15)
    grid = figure.subplots(len(names) + 2, n, squeeze=False, height_ratios=[1.0] * (len(names) + 1) + [0.35])
    for t, picture in enumerate(_plain(frames, side)):
        grid[0][t].imshow(picture)
        grid[0][t].set_title(f"frame {int(chosen[t]) + 1}", fontsize=10)
    for line, name in zip(grid[1:], names):
        shown, scale = explanation.maps[name], Scale.of(explanation, name)
        for t, picture in enumerate(overlay(frames, shown.weights[chosen], scale, side)):
            line[t].imshow(picture)
        line[0].set_ylabel(name, fontsize=12)
        colors = matplotlib.cm.ScalarMappable(matplotlib.colors.Normalize(scale.low, scale.high), COLORS)
        bar = figure.colorbar(colors, ax=list(line), fraction=0.02, pad=0.01)
        bar.set_ticks([scale.low, scale.high], labels=list(scale.ends), fontsize=9)
    scores = explanation.frame_scores[chosen].tolist()
    for t, score in enumerate(scores):
        axes = grid[-1][t]
        axes.bar([0], [score], width=0.7, color="#0072B2")
        axes.set(xlim=(-0.5, 0.5), ylim=(0, 1))
        axes.set_xlabel(f"{100 * score:.0f} %", fontsize=10)
    grid[-1][0].set_ylabel("each frame\nalone", fontsize=10)
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
    return figure


def write_explanation(path: Path, explanation: Explanation, title: str) -> None:
    """Write a page (.html, one file that needs no other), a film (.gif, .webp) or a poster (.png), by the ending.
    Raises `DiskError`: no room, or no right to write.
    """
    kind = path.suffix.lower().lstrip(".")
    if kind == "html":
        write_page(path, "explanation_page", title=title, figures=explanation_figures(explanation))
        return
    with atomic_write(path) as temporary:
        if kind == "png":
            poster(explanation, title).savefig(temporary, format="png", dpi=100)
        else:
            temporary.write_bytes(_encoded(film(explanation), kind))


def _encoded(pictures: Sequence[Image.Image], kind: str) -> bytes:
    buffer, times = io.BytesIO(), [WAIT] * (len(pictures) - 1) + [LAST]
    more = {"quality": 80} if kind == "webp" else {}
    if kind == "gif":  # has 256 colors: without dithering, maps would have steps
        pictures = [p.quantize(palette=p.quantize(), dither=Image.Dither.FLOYDSTEINBERG) for p in pictures]
    pictures[0].save(buffer, kind, save_all=True, append_images=pictures[1:], duration=times, loop=0, **more)
    return buffer.getvalue()


def _uri(picture: NDArray[np.uint8], kind: str = "webp") -> str:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, kind, quality=85)
    return data_uri(kind, buffer.getvalue())
