"""Places of the world: each painted with its own ground, walls and a few random landmarks."""

from collections.abc import Callable

from PIL import Image, ImageDraw

from stillmotion.actors.puppet import Random
from stillmotion.actors.vocabulary import Color

Draw = ImageDraw.ImageDraw


def paint_place(place: str, size: int, rng: Random) -> Image.Image:
    """Paint a place of the vocabulary as a square RGB image of `size` pixels."""
    image = Image.new("RGB", (size, size))
    horizon = size * rng.uniform(0.5, 0.66)
    PAINTERS[place](ImageDraw.Draw(image), size, horizon, rng)
    return image


def _near(color: Color, rng: Random, spread: int = 22) -> Color:
    """A color near another one: its light and its hue both vary."""
    light, hue = rng.randint(-spread, spread + 1), rng.randint(-spread // 2, spread // 2 + 1, 3).tolist()
    r, g, b = (min(255, max(0, c + light + h)) for c, h in zip(color, hue))
    return r, g, b


def _ground(draw: Draw, size: int, y: float, above: Color, below: Color, rng: Random) -> None:
    draw.rectangle((0, 0, size, y), fill=_near(above, rng))
    draw.rectangle((0, y, size, size), fill=_near(below, rng))


def _tree(draw: Draw, x: float, foot: float, height: float, leaf: Color, rng: Random) -> None:
    w = height * 0.07
    draw.rectangle((x - w, foot - height * 0.5, x + w, foot), fill=_near((95, 65, 40), rng))
    r = height * rng.uniform(0.24, 0.32)
    draw.ellipse((x - r, foot - height, x + r, foot - height + 2.2 * r), fill=_near(leaf, rng))


def _pine(draw: Draw, x: float, foot: float, height: float, leaf: Color) -> None:
    for k in range(3):
        top, w = foot - height + k * height * 0.25, height * (0.13 + 0.06 * k)
        draw.polygon((x, top, x - w, top + height * 0.38, x + w, top + height * 0.38), fill=leaf)


def _park(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (165, 210, 240), (115, 185, 85), rng)
    x = rng.uniform(0.1, 0.9) * size
    draw.polygon((x, y, x + 0.05 * size, y, x + 0.3 * size, size, x - 0.1 * size, size), fill=(215, 195, 155))
    for _ in range(rng.randint(2, 5)):
        _tree(
            draw,
            rng.uniform(0, size),
            y + rng.uniform(0, 0.08) * size,
            rng.uniform(0.3, 0.5) * size,
            (60, 140, 55),
            rng,
        )


def _street(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (185, 200, 215), (95, 95, 100), rng)
    x = -rng.uniform(0, 0.2) * size
    while x < size:
        w, top = rng.uniform(0.2, 0.36) * size, y - rng.uniform(0.25, 0.5) * size
        draw.rectangle((x, top, x + w, y), fill=_near((165, 125, 110), rng, 40))
        step = 0.085 * size
        for i in range(int(w / step)):
            for j in range(int((y - top) / step)):
                left, up = x + (i + 0.3) * step, top + (j + 0.3) * step
                draw.rectangle((left, up, left + 0.4 * step, up + 0.5 * step), fill=(235, 225, 160))
        x += w
    draw.rectangle((0, y, size, y + 0.05 * size), fill=(165, 165, 165))
    for i in range(6):
        left = (i * 0.2 + rng.uniform(0, 0.03)) * size
        draw.rectangle((left, 0.87 * size, left + 0.11 * size, 0.895 * size), fill=(240, 240, 235))


def _beach(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (150, 210, 245), (235, 212, 150), rng)
    draw.rectangle((0, y - rng.uniform(0.12, 0.22) * size, size, y), fill=_near((30, 110, 175), rng))
    draw.rectangle((0, y, size, y + 0.02 * size), fill=(240, 248, 250))
    x, r = rng.uniform(0.1, 0.9) * size, 0.06 * size
    draw.ellipse((x - r, 0.06 * size, x + r, 0.06 * size + 2 * r), fill=(255, 235, 120))
    for _ in range(rng.randint(0, 3)):  # sails
        x, foot, h = rng.uniform(0, size), y - 0.06 * size, rng.uniform(0.08, 0.14) * size
        draw.polygon((x, foot - h, x, foot, x + 0.6 * h, foot), fill=(250, 250, 250))


def _snow(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (190, 205, 222), (242, 245, 250), rng)
    for _ in range(rng.randint(1, 4)):
        x, h = rng.uniform(0, size), rng.uniform(0.2, 0.4) * size
        draw.polygon((x, y - h, x - h, y, x + h, y), fill=_near((150, 165, 190), rng, 12))
        draw.polygon((x, y - h, x - 0.35 * h, y - 0.65 * h, x + 0.35 * h, y - 0.65 * h), fill=(250, 250, 253))
    for _ in range(rng.randint(1, 4)):
        _pine(draw, rng.uniform(0, size), y + 0.04 * size, rng.uniform(0.2, 0.35) * size, (225, 235, 240))
    for x, z in zip(rng.uniform(0, size, 30).tolist(), rng.uniform(0, size, 30).tolist()):
        draw.ellipse((x - 1.5, z - 1.5, x + 1.5, z + 1.5), fill=(255, 255, 255))


def _forest(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (60, 95, 60), (85, 90, 50), rng)
    for _ in range(rng.randint(7, 12)):
        x, w = rng.uniform(0, size), rng.uniform(0.015, 0.035) * size
        draw.rectangle((x - w, 0, x + w, y + rng.uniform(0, 0.06) * size), fill=_near((70, 50, 35), rng))
    for _ in range(rng.randint(3, 6)):
        _pine(draw, rng.uniform(0, size), y + 0.03 * size, rng.uniform(0.35, 0.6) * size, _near((25, 75, 40), rng))
    draw.rectangle((0, 0, size, rng.uniform(0.06, 0.16) * size), fill=_near((30, 70, 35), rng))


def _kitchen(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (238, 232, 215), (190, 165, 135), rng)
    step = round(0.075 * size)
    for i in range(0, size, step):  # tiles
        draw.line((i, 0, i, y), fill=(205, 200, 185), width=2)
        draw.line((0, i, size, i) if i < y else (0, y, size, y), fill=(205, 200, 185), width=2)
    wood = _near((200, 150, 95), rng)
    for i in range(4):
        left = i * 0.26 * size + rng.uniform(0, 0.03) * size
        draw.rectangle((left, 0, left + 0.22 * size, 0.2 * size), fill=wood, outline=(110, 80, 50), width=2)
    draw.rectangle((0, y - 0.2 * size, size, y), fill=wood)
    draw.rectangle((0, y - 0.23 * size, size, y - 0.19 * size), fill=(90, 85, 80))
    x = rng.uniform(0.1, 0.7) * size  # the stove
    draw.rectangle((x, y - 0.2 * size, x + 0.2 * size, y), fill=(60, 60, 65))
    draw.rectangle((x + 0.03 * size, y - 0.13 * size, x + 0.17 * size, y - 0.04 * size), fill=(225, 130, 60))


def _office(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (205, 215, 222), (110, 120, 145), rng)
    left = rng.uniform(0.05, 0.5) * size
    draw.rectangle(
        (left, 0.05 * size, left + 0.42 * size, 0.34 * size), fill=(225, 240, 250), outline=(90, 100, 110), width=3
    )
    for i in range(7):  # blinds
        z = (0.07 + 0.04 * i) * size
        draw.line((left, z, left + 0.42 * size, z), fill=(150, 160, 170), width=2)
    for x in (rng.uniform(0, 0.2) * size, rng.uniform(0.6, 0.8) * size):  # desks with screens
        draw.rectangle((x, y - 0.1 * size, x + 0.26 * size, y - 0.06 * size), fill=(165, 130, 95))
        for leg in (x + 0.02 * size, x + 0.22 * size):
            draw.rectangle((leg, y - 0.06 * size, leg + 0.02 * size, y + 0.05 * size), fill=(100, 80, 60))
        draw.rectangle((x + 0.06 * size, y - 0.24 * size, x + 0.21 * size, y - 0.13 * size), fill=(30, 32, 38))
        draw.rectangle((x + 0.12 * size, y - 0.13 * size, x + 0.15 * size, y - 0.1 * size), fill=(60, 60, 65))


def _gym(draw: Draw, size: int, y: float, rng: Random) -> None:
    _ground(draw, size, y, (232, 222, 195), (215, 150, 80), rng)
    for i in range(8):  # boards
        x = size * (i / 8 + 0.03)
        draw.line((x, y, (x - size / 2) * 1.6 + size / 2, size), fill=(180, 120, 60), width=2)
    draw.line((0, 0.86 * size, size, 0.86 * size), fill=(250, 250, 250), width=4)
    draw.rectangle((0, y - 0.08 * size, size, y), fill=_near((70, 100, 160), rng))
    x = rng.uniform(0.05, 0.75) * size  # basket
    draw.rectangle((x, 0.06 * size, x + 0.22 * size, 0.24 * size), fill=(250, 250, 250), outline=(190, 50, 40), width=4)
    draw.ellipse((x + 0.06 * size, 0.2 * size, x + 0.16 * size, 0.25 * size), outline=(235, 95, 35), width=3)
    bars = (x + 0.45 * size) % size  # wall bars
    for i in range(7):
        z = y - (0.1 + 0.055 * i) * size
        draw.line((bars, z, bars + 0.2 * size, z), fill=(140, 90, 50), width=3)


PAINTERS: dict[str, Callable[[Draw, int, float, Random], None]] = {
    "park": _park, "street": _street, "beach": _beach, "snow": _snow, "forest": _forest, "kitchen": _kitchen,
    "office": _office, "gym": _gym,
}  # fmt: skip
