"""Articulated paper puppets: bodies, clothes, and the poses of ten actions that form five time-reversed pairs.

Lengths are in body heights, angles in radians from straight down and positive towards where the puppet faces; y points
up and the floor is y = 0.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import ImageDraw

from stillmotion.actors.scenery import random_color

Point = tuple[float, float]
Color = tuple[int, int, int]
Random = np.random.RandomState

THIGH, SHIN, TORSO, NECK, UPPER_ARM, FOREARM = 0.245, 0.245, 0.3, 0.05, 0.17, 0.17


@dataclass(frozen=True)
class Body:
    """One actor: build and clothes."""

    height: float  # of the frame, in [0, 1]
    girth: float
    skin: Color
    hair: Color
    shirt: Color
    trousers: Color
    shoes: Color
    sleeves: bool
    hat: bool


@dataclass(frozen=True)
class Pose:
    """A body at one moment, and the object it handles."""

    hip: Point
    lean: float  # of the torso, forward
    legs: tuple[tuple[float, float], tuple[float, float]]  # (hip angle, knee bend) of the far and the near leg
    hands: tuple[Point, Point]  # where the far and the near hand are, relative to the shoulder
    spread: float  # half the width between shoulders and hips as seen: 0 from the side
    prop: tuple[str, Point, float] | None = None  # kind, middle, size


def random_body(rng: Random) -> Body:
    """Draw an actor."""
    tones = [(250, 220, 190), (235, 190, 150), (200, 150, 110), (150, 100, 70), (100, 65, 45)]
    hair = [(30, 25, 20), (90, 60, 30), (190, 150, 80), (150, 60, 30), (170, 170, 170)]
    return Body(
        height=rng.uniform(0.5, 0.72),
        girth=rng.uniform(0.8, 1.35),
        skin=tones[rng.randint(len(tones))],
        hair=hair[rng.randint(len(hair))],
        shirt=random_color(rng, 30),
        trousers=random_color(rng, 30),
        shoes=tuple(rng.randint(20, 120, 3).tolist()),
        sleeves=bool(rng.rand() < 0.6),
        hat=bool(rng.rand() < 0.25),
    )


class Performance:
    """One actor's way of doing one action: `pose(s)` for progress s in [0, 1].

    Every action is written forwards; its partner is the same with time running backwards, so that no single frame, and
    no set of frames without their order, tells the two apart.
    """

    def __init__(self, action: str, rng: Random):
        self.action = action
        traits = ("stride", "reach", "bend", "sway", "phase", "size", "depth")
        self.style = {trait: rng.uniform(-1, 1) for trait in traits}
        self.side = int(rng.randint(2))  # which arm
        self.frontal = bool(rng.rand() < 0.5)
        self.travel = rng.uniform(0.6, 1.0)  # of a walk; in two seconds a real one is nearer 1.8

    def pose(self, s: float) -> Pose:
        """The pose at progress s; x is 0 at the middle of the motion."""
        pose: Pose = getattr(self, f"_{self.action}")(s)
        return pose

    def _walk_right(self, s: float) -> Pose:
        # Seen from the front: no face and no foot says which way it goes.
        swing = (0.28 + 0.1 * self.style["stride"]) * math.sin(2 * math.pi * (1.6 * s + self.style["phase"]))
        x = (s - 0.5) * self.travel
        arms = ((-0.03 - 0.12 * swing, -0.32), (0.03 - 0.12 * swing, -0.32))
        return Pose((x, _standing(swing)), 0, ((swing, 0.15), (-swing, 0.15)), arms, 0.045)

    def _stand_up(self, s: float) -> Pose:
        bend = (1 - s) * (math.pi / 2 - 0.1)
        hip = (-THIGH * math.sin(bend), SHIN + THIGH * math.cos(bend))
        lean = 0.05 + (0.45 + 0.15 * self.style["bend"]) * math.sin(math.pi * s)
        hands = ((0.1 * (1 - s) + 0.05, -0.26), (0.12 * (1 - s) + 0.04, -0.27))
        return Pose(hip, lean, ((bend, bend), (bend, bend)), hands, 0.012, ("chair", (-THIGH - 0.02, SHIN - 0.02), 0.3))

    def _raise_arm(self, s: float) -> Pose:
        top = 2.5 + 0.45 * self.style["reach"]
        angle, length = 0.12 + s * (top - 0.12), UPPER_ARM + FOREARM * (0.9 + 0.08 * self.style["bend"])
        outward = -1 if self.side == 0 and self.frontal else 1
        raised = (outward * length * math.sin(angle), -length * math.cos(angle))
        rest = (-outward * 0.05 if self.frontal else 0.03, -0.32)
        hands = (raised, rest) if self.side == 0 else (rest, raised)
        sway = 0.02 * self.style["sway"] * math.sin(2 * math.pi * s)
        spread = 0.05 if self.frontal else 0.012
        return Pose((sway, _standing(0.06)), 0, ((0.06, 0.0), (-0.06, 0.0)), hands, spread)

    def _pick_up(self, s: float) -> Pose:
        down = _ease(math.sin(math.pi * (s if s < 0.5 else 1 - s)))
        bend = down * (0.7 + 0.25 * self.style["bend"])
        hip = (-0.1 * down - 0.02, SHIN * math.cos(bend * 0.5) + THIGH * math.cos(bend))
        lean = 0.05 + down * (1.25 - 0.3 * self.style["bend"])
        shoulder = _shoulder(hip, lean)
        size = 0.1 + 0.03 * self.style["size"]
        floor, carried = (0.2 + 0.03 * self.style["reach"], size / 2), (0.18, 0.6)
        lift = _ease(max(0.0, 2 * s - 1))
        held = _between(floor, carried, lift)
        grip = (held[0] - shoulder[0], held[1] - shoulder[1])
        hand = _between((0.05, -0.32), grip, _ease(min(1.0, 2 * s)))  # from where it hangs
        return Pose(hip, lean, ((bend, 1.5 * bend), (bend, 1.5 * bend)), (hand, hand), 0.012, ("ball", held, size))

    def _push(self, s: float) -> Pose:
        swing = (0.4 + 0.1 * self.style["stride"]) * math.sin(2 * math.pi * (1.3 * s + self.style["phase"]))
        x = (s - 0.5) * self.travel * 0.8 - 0.25  # with the box in front, the two are in the middle
        hip, lean = (x, _standing(swing) - 0.02), 0.32 + 0.1 * self.style["bend"]
        size = 0.54 + 0.06 * self.style["size"]
        box = (x + 0.34 + size / 2, size / 2)
        shoulder = _shoulder(hip, lean)
        grip = (box[0] - size / 2 - shoulder[0], 0.92 * size - shoulder[1])
        return Pose(
            hip, lean, ((swing, 0.3), (-swing, 0.3)), (grip, (grip[0], grip[1] - 0.04)), 0.012, ("box", box, size)
        )


def draw_puppet(draw: ImageDraw.ImageDraw, body: Body, pose: Pose, to_pixel: Any, prop_color: Color) -> None:
    """Draw a pose; `to_pixel` maps a point in body heights to pixels."""
    unit = math.dist(to_pixel((0.0, 0.0)), to_pixel((0.0, 1.0)))
    limb = 0.06 * body.girth * unit
    hip, neck = pose.hip, _shoulder(pose.hip, pose.lean)
    if pose.prop and pose.prop[0] == "chair":
        _prop(draw, pose.prop, to_pixel, prop_color)
    sleeve = body.shirt if body.sleeves else body.skin
    for near in (0, 1):
        offset = pose.spread * (1 if near else -1)
        _leg(draw, body, (hip[0] + offset, hip[1]), pose.legs[near], to_pixel, limb)
        if not near:
            _arm(draw, body, sleeve, (neck[0] - offset * 1.6, neck[1]), pose.hands[0], to_pixel, limb)
    _capsule(draw, to_pixel(hip), to_pixel(neck), (2.1 if pose.spread < 0.03 else 2.7) * limb, body.shirt)
    _head(draw, body, neck, pose.lean, to_pixel, unit)
    if pose.prop and pose.prop[0] != "chair":
        _prop(draw, pose.prop, to_pixel, prop_color)
    _arm(draw, body, sleeve, (neck[0] + pose.spread * 1.6, neck[1]), pose.hands[1], to_pixel, limb)


def _leg(draw: Any, body: Body, hip: Point, leg: tuple[float, float], to_pixel: Any, limb: float) -> None:
    angle, bend = leg
    knee = (hip[0] + THIGH * math.sin(angle), hip[1] - THIGH * math.cos(angle))
    ankle = (knee[0] + SHIN * math.sin(angle - bend), knee[1] - SHIN * math.cos(angle - bend))
    _capsule(draw, to_pixel(hip), to_pixel(knee), 1.25 * limb, body.trousers)
    _capsule(draw, to_pixel(knee), to_pixel(ankle), limb, body.trousers)
    _disc(draw, to_pixel(ankle), 0.6 * limb, body.shoes)


def _arm(draw: Any, body: Body, sleeve: Color, shoulder: Point, reach: Point, to_pixel: Any, limb: float) -> None:
    """Two links to where the hand is; the elbow hangs down or back."""
    distance = min(math.hypot(*reach), UPPER_ARM + FOREARM - 1e-6)
    aim = math.atan2(reach[0], -reach[1])
    inner = math.acos(max(-1.0, min(1.0, distance / 2 / UPPER_ARM)))
    elbow_angle = aim - inner if reach[0] >= 0 else aim + inner
    elbow = (shoulder[0] + UPPER_ARM * math.sin(elbow_angle), shoulder[1] - UPPER_ARM * math.cos(elbow_angle))
    hand = (shoulder[0] + distance * math.sin(aim), shoulder[1] - distance * math.cos(aim))
    _capsule(draw, to_pixel(shoulder), to_pixel(elbow), 0.85 * limb, body.shirt)
    _capsule(draw, to_pixel(elbow), to_pixel(hand), 0.75 * limb, sleeve)
    _disc(draw, to_pixel(hand), 0.5 * limb, body.skin)


def _head(draw: Any, body: Body, neck: Point, lean: float, to_pixel: Any, unit: float) -> None:
    tilt = 0.6 * lean
    center = (neck[0] + (NECK + 0.06) * math.sin(tilt), neck[1] + (NECK + 0.06) * math.cos(tilt))
    _capsule(draw, to_pixel(neck), to_pixel(center), 0.05 * unit, body.skin)
    _disc(draw, to_pixel(center), 0.068 * unit, body.skin)
    x, y = to_pixel((center[0], center[1] + 0.03))
    r = 0.068 * unit
    draw.pieslice((x - r, y - r, x + r, y + r), 180, 360, fill=body.hair)
    if body.hat:
        draw.rectangle((x - 1.25 * r, y - 0.2 * r, x + 1.25 * r, y), fill=body.shoes)


def _prop(draw: Any, prop: tuple[str, Point, float], to_pixel: Any, color: Color) -> None:
    kind, (x, y), size = prop
    if kind == "ball":
        radius = abs(to_pixel((size / 2, 0.0))[0] - to_pixel((0.0, 0.0))[0])
        _disc(draw, to_pixel((x, y)), radius, color)
    elif kind == "box":
        corners = [to_pixel((x - size / 2, 0.0)), to_pixel((x + size / 2, size))]
        (x0, x1), (y0, y1) = sorted(c[0] for c in corners), sorted(c[1] for c in corners)
        draw.rectangle((x0, y0, x1, y1), fill=color, outline=tuple(c // 2 for c in color), width=4)
        draw.line((x0, y0, x1, y1), fill=tuple(c // 2 for c in color), width=4)
    else:
        width = abs(to_pixel((0.03, 0.0))[0] - to_pixel((0.0, 0.0))[0])
        seat, front = to_pixel((x - 0.08, y - 0.03)), to_pixel((x + 0.16, y - 0.03))
        back, legs = to_pixel((x - 0.08, y + 0.33)), [to_pixel((x - 0.08, 0.0)), to_pixel((x + 0.16, 0.0))]
        for a, b in ((seat, front), (seat, back), (seat, legs[0]), (front, legs[1])):
            draw.line((*a, *b), fill=color, width=max(2, round(width)))


def _shoulder(hip: Point, lean: float) -> Point:
    return hip[0] + TORSO * math.sin(lean), hip[1] + TORSO * math.cos(lean)


def _standing(swing: float) -> float:
    return SHIN + THIGH * math.cos(swing) + 0.01


def _between(a: Point, b: Point, s: float) -> Point:
    return a[0] + s * (b[0] - a[0]), a[1] + s * (b[1] - a[1])


def _ease(s: float) -> float:
    return s * s * (3 - 2 * s)


def _capsule(draw: Any, a: Point, b: Point, width: float, color: Color) -> None:
    draw.line((*a, *b), fill=color, width=max(1, round(width)))
    _disc(draw, a, width / 2, color)
    _disc(draw, b, width / 2, color)


def _disc(draw: Any, center: Point, radius: float, color: Color) -> None:
    x, y = center
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
