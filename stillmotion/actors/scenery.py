"""Rooms for the puppets: a wall, a floor, and clutter, all random."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Random = np.random.RandomState


def random_room(width: int, height: int, rng: Random) -> tuple[Image.Image, float]:
    """Paint a room of this size in pixels; returns it and the y of the line where its floor begins."""
    horizon = height * rng.uniform(0.66, 0.78)
    image = Image.new("RGB", (width, height), random_color(rng))
    draw = ImageDraw.Draw(image)
    _texture(draw, (0, 0, width, int(horizon)), rng)
    floor = random_color(rng, 40, 180)
    draw.rectangle((0, horizon, width, height), fill=floor)
    _texture(draw, (0, int(horizon), width, height), rng)
    for _ in range(rng.randint(2, 7)):
        _clutter(draw, width, horizon, height, rng)
    return _weather(image, rng), horizon


def _texture(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], rng: Random) -> None:
    x0, y0, x1, y1 = box
    kind, step, color = rng.randint(5), int(rng.randint(18, 70)), random_color(rng)
    if kind == 0:  # stripes
        for x in range(x0, x1, step):
            draw.rectangle((x, y0, x + step // 3, y1), fill=color)
    elif kind == 1:  # boards
        for y in range(y0, y1, step):
            draw.line((x0, y, x1, y), fill=color, width=3)
    elif kind == 2:  # bricks
        for i, y in enumerate(range(y0, y1, step // 2 + 6)):
            draw.line((x0, y, x1, y), fill=color, width=2)
            for x in range(x0 + (i % 2) * step, x1, 2 * step):
                draw.line((x, y, x, min(y1, y + step // 2 + 6)), fill=color, width=2)
    elif kind == 3:  # dots
        for x, y in zip(rng.randint(x0, x1, 120).tolist(), rng.randint(y0, max(y0 + 1, y1), 120).tolist()):
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=color)


def _clutter(draw: ImageDraw.ImageDraw, width: int, horizon: float, height: int, rng: Random) -> None:
    x, size, color, kind = rng.randint(width), rng.uniform(0.08, 0.25) * height, random_color(rng), rng.randint(5)
    if kind == 0:  # picture on the wall
        y = rng.uniform(0.05, 0.4) * horizon
        draw.rectangle((x, y, x + size, y + 0.7 * size), fill=color, outline=random_color(rng), width=6)
    elif kind == 1:  # window
        y = rng.uniform(0.05, 0.25) * horizon
        draw.rectangle((x, y, x + size, y + 1.2 * size), fill=(190, 215, 235), outline=color, width=6)
        draw.line((x + size / 2, y, x + size / 2, y + 1.2 * size), fill=color, width=4)
    elif kind == 2:  # cupboard
        draw.rectangle((x, horizon - 1.4 * size, x + size, horizon + 8), fill=color, outline=random_color(rng), width=4)
    elif kind == 3:  # plant
        draw.rectangle((x, horizon - size * 0.4, x + size * 0.35, horizon + 6), fill=color)
        for angle in rng.uniform(-1, 1, 9):
            tip = (x + size * (0.17 + 0.5 * angle), horizon - size * (0.6 + 0.5 * (1 - abs(angle))))
            draw.line((x + size * 0.17, horizon - size * 0.4, *tip), fill=(40, int(rng.randint(90, 170)), 50), width=6)
    else:  # ball or box on the floor
        y = rng.uniform(horizon, height)
        shape = draw.ellipse if rng.rand() < 0.5 else draw.rectangle
        shape((x, y - size * 0.4, x + size * 0.4, y), fill=color)


def _weather(image: Image.Image, rng: Random) -> Image.Image:
    """Uneven light and soft stains, as every real wall has."""
    pixels: NDArray[np.float32] = np.asarray(image, dtype=np.float32)
    coarse = Image.fromarray(rng.uniform(0, 255, (7, 9)).astype(np.uint8)).resize(image.size, Image.Resampling.BICUBIC)
    light = 0.75 + 0.5 * np.asarray(coarse, dtype=np.float32)[..., None] / 255
    grain = rng.normal(0, 5, (*pixels.shape[:2], 1)).astype(np.float32)
    return Image.fromarray(np.clip(pixels * light + grain, 0, 255).astype(np.uint8))


def random_color(rng: Random, low: int = 50, high: int = 230) -> tuple[int, int, int]:
    """Draw red, green and blue, each from `low` to below `high`."""
    r, g, b = rng.randint(low, high, 3).tolist()
    return r, g, b
