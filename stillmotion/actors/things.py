"""Objects of the world: each drawn around a middle point, in pixels."""

from collections.abc import Callable
from typing import Any

from PIL import ImageDraw

from stillmotion.actors.vocabulary import Color


def draw_thing(draw: ImageDraw.ImageDraw, thing: str, middle: tuple[float, float], size: float, color: Color) -> None:
    """Draw a thing of the vocabulary, `size` pixels high and about as wide."""
    SHAPES[thing](_Pen(draw, middle, size, color))


class _Pen:
    """Shapes in units of the thing: (0, 0) its middle, y down, -0.5 to 0.5 within it."""

    def __init__(self, draw: ImageDraw.ImageDraw, middle: tuple[float, float], size: float, color: Color):
        self.draw, self.middle, self.size, self.color = draw, middle, size, color
        light = sum(color) / 3
        shade = 0.55 if light > 70 else 0.0
        self.dark: Color = tuple(int(c * shade) if shade else c + 60 for c in color)  # type: ignore[assignment]

    def at(self, *points: float) -> list[float]:
        """Pixels of x, y, x, y, ..."""
        return [self.middle[i % 2] + p * self.size for i, p in enumerate(points)]

    def disc(self, x: float, y: float, r: float, color: Color, ry: float | None = None) -> None:
        ry = r if ry is None else ry
        self.draw.ellipse(self.at(x - r, y - ry, x + r, y + ry), fill=color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        self.draw.rectangle(self.at(x0, y0, x1, y1), fill=color)

    def area(self, color: Color, *points: float) -> None:
        self.draw.polygon(self.at(*points), fill=color)

    def line(self, color: Color, width: float, *points: float) -> None:
        self.draw.line(self.at(*points), fill=color, width=max(1, round(width * self.size)))

    def arc(self, x0: float, y0: float, x1: float, y1: float, *, width: float, color: Color) -> None:
        self.draw.arc(self.at(x0, y0, x1, y1), 0, 360, fill=color, width=max(1, round(width * self.size)))


METAL, WOOD = (150, 150, 155), (150, 105, 60)


def _ball(pen: _Pen) -> None:
    pen.disc(0, 0, 0.5, pen.color)
    pen.arc(-0.2, -0.5, 0.2, 0.5, width=0.06, color=pen.dark)
    pen.line(pen.dark, 0.06, -0.5, 0, 0.5, 0)


def _box(pen: _Pen) -> None:
    pen.box(-0.5, -0.5, 0.5, 0.5, pen.color)
    pen.line(pen.dark, 0.07, -0.5, -0.5, 0.5, -0.5, 0.5, 0.5, -0.5, 0.5, -0.5, -0.5, 0.5, 0.5)


def _bag(pen: _Pen) -> None:
    pen.arc(-0.25, -0.6, 0.25, 0.1, width=0.09, color=pen.dark)
    pen.area(pen.color, -0.4, -0.2, 0.4, -0.2, 0.52, 0.5, -0.52, 0.5)


def _book(pen: _Pen) -> None:
    pen.area(pen.color, -0.6, -0.4, 0, -0.28, 0.6, -0.4, 0.6, 0.32, 0, 0.44, -0.6, 0.32)
    pen.area((245, 245, 235), -0.4, -0.14, -0.1, -0.08, -0.1, 0.12, -0.4, 0.06)
    pen.area((245, 245, 235), 0.4, -0.14, 0.1, -0.08, 0.1, 0.12, 0.4, 0.06)


def _bottle(pen: _Pen) -> None:
    pen.box(-0.09, -0.6, 0.09, -0.2, pen.color)
    pen.box(-0.11, -0.66, 0.11, -0.54, pen.dark)
    pen.box(-0.22, -0.2, 0.22, 0.55, pen.color)
    pen.box(-0.22, 0.05, 0.22, 0.28, (225, 225, 215) if sum(pen.color) < 600 else pen.dark)


def _umbrella(pen: _Pen) -> None:
    pen.line(METAL, 0.07, 0, -0.4, 0, 0.55)
    pen.draw.pieslice(pen.at(-0.75, -0.7, 0.75, 0.7), 180, 360, fill=pen.color)
    for x in (-0.4, 0.0, 0.4):
        pen.line(pen.dark, 0.05, x * 0.4, -0.68, x, 0)


def _balloon(pen: _Pen) -> None:
    pen.line((90, 90, 90), 0.04, 0, 0.2, 0.08, 0.7)
    pen.disc(0, -0.3, 0.4, pen.color, 0.5)
    pen.area(pen.color, 0, 0.15, -0.1, 0.28, 0.1, 0.28)
    pen.disc(-0.14, -0.48, 0.09, (250, 250, 250))


def _flag(pen: _Pen) -> None:
    pen.line(METAL, 0.08, -0.4, -0.75, -0.4, 0.6)
    pen.area(pen.color, -0.36, -0.72, 0.15, -0.62, 0.65, -0.74, 0.65, -0.12, 0.15, 0, -0.36, -0.1)


def _cup(pen: _Pen) -> None:
    pen.arc(0.1, -0.25, 0.6, 0.25, width=0.1, color=pen.color)
    pen.area(pen.color, -0.4, -0.4, 0.34, -0.4, 0.26, 0.45, -0.32, 0.45)
    pen.disc(-0.03, -0.4, 0.37, pen.dark, 0.1)


def _guitar(pen: _Pen) -> None:
    pen.line(WOOD, 0.12, 0.05, 0, 0.6, -0.6)
    pen.disc(-0.28, 0.3, 0.36, pen.color)
    pen.disc(-0.02, 0.04, 0.26, pen.color)
    pen.disc(-0.12, 0.14, 0.12, pen.dark)


def _chair(pen: _Pen) -> None:
    pen.line(pen.color, 0.14, -0.32, -0.55, -0.32, 0.5)
    pen.line(pen.color, 0.14, 0.32, 0.05, 0.32, 0.5)
    pen.line(pen.color, 0.16, -0.38, 0.05, 0.38, 0.05)


def _dog(pen: _Pen) -> None:
    for x in (-0.35, -0.2, 0.15, 0.28):
        pen.line(pen.color, 0.1, x, 0.1, x, 0.5)
    pen.disc(-0.03, 0.06, 0.43, pen.color, 0.19)
    pen.disc(0.42, -0.2, 0.2, pen.color, 0.18)
    pen.disc(0.58, -0.13, 0.12, pen.color, 0.09)
    pen.area(pen.dark, 0.26, -0.36, 0.4, -0.3, 0.3, -0.05)
    pen.line(pen.color, 0.09, -0.4, 0.0, -0.62, -0.3)


SHAPES: dict[str, Callable[[Any], None]] = {
    "ball": _ball, "box": _box, "bag": _bag, "book": _book, "bottle": _bottle, "umbrella": _umbrella,
    "balloon": _balloon, "flag": _flag, "cup": _cup, "guitar": _guitar, "chair": _chair, "dog": _dog,
}  # fmt: skip
