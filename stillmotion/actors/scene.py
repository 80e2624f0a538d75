"""A scene of the world, and its pixels: one still, or the frames of a clip."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stillmotion.actors.places import paint_place
from stillmotion.actors.poses import Moment, Performer
from stillmotion.actors.puppet import THIGH, TORSO, Body, Pose, Random, draw_puppet
from stillmotion.actors.things import draw_thing
from stillmotion.actors.vocabulary import COLORS, Color

SIZE = 96
"""Side of stills and frames in pixels."""
SUPERSAMPLE = 2
Pixels = NDArray[np.uint8]
_SKIN = ((250, 220, 190), (235, 190, 150), (200, 150, 110), (150, 100, 70), (100, 65, 45))
_HAIR = ((30, 25, 20), (90, 60, 30), (190, 150, 80), (150, 60, 30), (170, 170, 170))


@dataclass(frozen=True)
class Person:
    """Who, and in what."""

    kind: str
    shirt: str
    legs: str
    """Color of the trousers, or of a woman's skirt."""


@dataclass(frozen=True)
class Thing:
    """An object and its color."""

    kind: str
    color: str


@dataclass(frozen=True)
class Scene:
    """What a still or a clip shows, in words of the vocabulary; everything else about it is drawn by chance.

    People all do the same action. A thing is handled by the one person there is, or lies there: `number` of it.
    """

    place: str
    people: tuple[Person, ...] = ()
    action: str = "stand"
    thing: Thing | None = None
    number: int = 1


def draw_still(scene: Scene, rng: Random, window: tuple[float, float] = (0.0, 1.0)) -> Pixels:
    """Draw a scene at a moment of its action, with progress in `window`; (SIZE, SIZE, 3) uint8."""
    return Shot(scene, rng).frame(float(rng.uniform(*window)))


class Shot:
    """A scene with everything that chance decides: light, camera, builds, ways of moving. `frame(s)` draws it."""

    def __init__(self, scene: Scene, rng: Random):
        self.scene, self.side = scene, SIZE * SUPERSAMPLE
        self.room = paint_place(scene.place, self.side, rng)
        count = max(1, len(scene.people))
        self.bodies = [_body(person, rng) for person in scene.people]
        self.performers = [Performer(scene.action, rng) for _ in scene.people]
        self.shifts = rng.uniform(-0.04, 0.04, count).tolist()
        self.facing = rng.choice([-1, 1], count).tolist()
        self.scale = rng.uniform(0.64, 0.76) if count == 1 else rng.uniform(0.46, 0.54)
        self.ground = rng.uniform(0.9, 0.96, count).tolist()
        self.spots = _spots(scene.number, rng)
        self.color = _tint(COLORS[scene.thing.color], rng) if scene.thing else (0, 0, 0)
        self.chair = _tint(COLORS[list(COLORS)[rng.randint(len(COLORS))]], rng)
        self.light = _light(rng)
        self.grain = np.frombuffer(rng.bytes(SIZE * SIZE), np.uint8).reshape(SIZE, SIZE, 1).astype(np.float32) / 16 - 8

    def frame(self, s: float) -> Pixels:
        """The pixels at progress s in [0, 1]; (SIZE, SIZE, 3) uint8."""
        canvas = self.room.copy()
        draw = ImageDraw.Draw(canvas)
        if not self.scene.people and self.scene.thing:
            for x, y, size in self.spots:
                middle = (x * self.side, y * self.side)
                draw_thing(draw, self.scene.thing.kind, middle, size * self.side, self.color)
        for i in range(len(self.scene.people)):
            self._person(draw, i, self.performers[i].moment(s))
        pixels = np.asarray(canvas.reduce(SUPERSAMPLE), dtype=np.float32)
        return np.clip(pixels * self.light + self.grain, 0, 255).astype(np.uint8)

    def _person(self, draw: ImageDraw.ImageDraw, i: int, moment: Moment) -> None:
        person, body, thing = self.scene.people[i], self.bodies[i], self.scene.thing
        middle = ((i + 0.5) / len(self.scene.people) + self.shifts[i]) * self.side
        unit = self.scale * body.height * self.side
        place = partial(_place, middle, self.ground[i] * self.side, self.facing[i] * unit, unit)
        if moment.chair is not None:
            x, y = moment.chair
            seat = place((x + 0.05, y + 0.02))
            mirrored = [(-0.13, 0.34), (-0.13, -0.22), (0.15, -0.01), (0.15, -0.22)]
            back, foot, front, leg = (place((x + 0.05 + a, y + b)) for a, b in mirrored)
            width = max(2, round(0.04 * unit))
            for a, b in ((back, foot), (front, leg), ((back[0], seat[1]), front)):
                draw.line((*a, *b), fill=self.chair, width=width)
        if person.kind == "woman":
            _long_hair(draw, body, moment.pose, place, unit)
        draw_puppet(draw, body, moment.pose, place, self.chair)
        if person.kind == "woman":
            _skirt(draw, body, moment.pose, place)
        if moment.held is not None and thing is not None:
            point, size = moment.held
            draw_thing(draw, thing.kind, place(point), max(size, 0.2) * unit * 1.15, self.color)


def _body(person: Person, rng: Random) -> Body:
    child = person.kind == "child"
    return Body(
        height=rng.uniform(0.68, 0.76) if child else rng.uniform(0.95, 1.05),
        girth=rng.uniform(1.1, 1.4),
        skin=_SKIN[rng.randint(len(_SKIN))],
        hair=_HAIR[rng.randint(len(_HAIR))],
        shirt=_tint(COLORS[person.shirt], rng),
        trousers=_tint(COLORS[person.legs], rng),
        shoes=tuple(rng.randint(20, 120, 3).tolist()),
        sleeves=bool(rng.rand() < 0.75),
        hat=False,
    )


def _spots(number: int, rng: Random) -> list[tuple[float, float, float]]:
    """Where things lie: apart from each other, (x, y, size) in parts of the side."""
    size = rng.uniform(0.32, 0.42) if number == 1 else rng.uniform(0.2, 0.26)
    columns = rng.permutation(4)[:number] if number > 1 else [1.5]
    return [
        (0.14 + 0.24 * float(c) + rng.uniform(-0.02, 0.02), rng.uniform(0.6, 0.84) if number > 1 else 0.7, size)
        for c in columns
    ]


def _skirt(draw: ImageDraw.ImageDraw, body: Body, pose: Pose, place: partial[tuple[float, float]]) -> None:
    """From the hip to the knees, wherever they are."""
    knees = [(pose.hip[0] + THIGH * np.sin(a), pose.hip[1] - THIGH * np.cos(a)) for a, _ in pose.legs]
    low = sorted(knees)
    across, along = np.cos(pose.lean) * 0.06, np.sin(pose.lean) * 0.06
    points = [
        (pose.hip[0] - across, pose.hip[1] + along + 0.04), (pose.hip[0] + across, pose.hip[1] - along + 0.04),
        (low[1][0] + 0.07, low[1][1]), (low[0][0] - 0.07, low[0][1]),
    ]  # fmt: skip
    draw.polygon([c for point in points for c in place(point)], fill=body.trousers)


def _long_hair(
    draw: ImageDraw.ImageDraw, body: Body, pose: Pose, place: partial[tuple[float, float]], unit: float
) -> None:
    neck = (pose.hip[0] + TORSO * np.sin(pose.lean), pose.hip[1] + TORSO * np.cos(pose.lean))
    tilt = 0.6 * pose.lean
    head = (neck[0] + 0.11 * np.sin(tilt), neck[1] + 0.11 * np.cos(tilt))
    (x0, y0), (x1, y1), r = place(head), place((neck[0] - 0.02, neck[1] - 0.02)), 0.09 * unit
    draw.line((x0, y0, x1, y1), fill=body.hair, width=max(2, round(2 * r)))
    draw.ellipse((x0 - r, y0 - r, x0 + r, y0 + r), fill=body.hair)


def _tint(color: Color, rng: Random) -> Color:
    """The same color in another light."""
    gain, shift = rng.uniform(0.88, 1.1), rng.randint(-10, 11, 3).tolist()
    r, g, b = (int(min(255, max(0, c * gain + d))) for c, d in zip(color, shift))
    return r, g, b


def _light(rng: Random) -> NDArray[np.float32]:
    """Uneven light as a gain for every pixel, (SIZE, SIZE, 1)."""
    coarse = Image.fromarray(rng.uniform(200, 255, (3, 3)).astype(np.uint8)).resize((SIZE, SIZE))
    return np.asarray(coarse, dtype=np.float32)[..., None] / np.float32(240)


def _place(
    middle: float, ground: float, x_unit: float, y_unit: float, point: tuple[float, float]
) -> tuple[float, float]:
    return middle + point[0] * x_unit, ground - point[1] * y_unit
