"""Bodies in every action of the world's vocabulary, as functions of progress; some are the puppets' own (`puppet.py`).

Lengths are in body heights, hands relative to the shoulder, angles in radians, as in `puppet.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from stillmotion.actors.puppet import SHIN, THIGH, TORSO, Performance, Point, Pose, Random

REACH = 0.335
UP = SHIN + THIGH + 0.01  # where the hip is in standing
_PUPPETS = {"sit": "stand_up", "sit_down": "stand_up", "raise_arm": "raise_arm", "pick_up": "pick_up", "push": "push"}


@dataclass(frozen=True)
class Moment:
    """A body at one moment, and where the object is that it handles: the middle, and its size."""

    pose: Pose
    held: tuple[Point, float] | None = None
    chair: Point | None = None


@dataclass(frozen=True)
class Style:
    """One person's way of doing an action; three numbers in [-1, 1], and which arm."""

    a: float
    b: float
    c: float
    near: bool


class Performer:
    """One person's way of doing one action: `moment(s)` for progress s in [0, 1]."""

    def __init__(self, action: str, rng: Random):
        self.action = action
        a, b, c = rng.uniform(-1, 1, 3).tolist()
        self.style = Style(a, b, c, near=bool(rng.randint(2)))
        self.frontal = 0.05 if rng.rand() < 0.6 else 0.012
        self.puppet = Performance(_PUPPETS[action], rng) if action in _PUPPETS else None

    def moment(self, s: float) -> Moment:
        """Where the body and the object are at progress s."""
        if self.puppet is None:
            return MOVES[self.action](s, self.style, self.frontal)
        if self.action in ("sit", "sit_down"):  # the puppet stands up
            pose = self.puppet.pose(0.06 if self.action == "sit" else 1 - s)
            assert pose.prop is not None
            return Moment(_bare(pose), chair=pose.prop[1])
        pose = self.puppet.pose(s)
        return Moment(_bare(pose), held=None if pose.prop is None else (pose.prop[1], pose.prop[2]))


def _bare(pose: Pose) -> Pose:
    return Pose(pose.hip, pose.lean, pose.legs, pose.hands, pose.spread)


def _ease(s: float) -> float:
    return s * s * (3 - 2 * s)


def _mix(a: Point, b: Point, s: float) -> Point:
    return a[0] + s * (b[0] - a[0]), a[1] + s * (b[1] - a[1])


def _hand(angle: float, length: float = REACH) -> Point:
    """A hand at an angle from straight down, towards where the body faces."""
    return length * math.sin(angle), -length * math.cos(angle)


def _upright(hands: tuple[Point, Point], style: Style, spread: float, lean: float = 0.0, swing: float = 0.06) -> Pose:
    hip = (0.01 * style.c, SHIN + THIGH * math.cos(swing) + 0.01)
    return Pose(hip, lean, ((swing, 0.0), (-swing, 0.0)), hands, spread)


def _sides(spread: float) -> tuple[Point, Point]:
    """Arms that hang."""
    out = 0.06 if spread > 0.03 else 0.03
    return (-out, -0.32), (out, -0.32)


def _one_arm(raised: Point, style: Style, spread: float) -> tuple[Point, Point]:
    rest = _sides(spread)
    return (rest[0], raised) if style.near else ((-raised[0], raised[1]) if spread > 0.03 else raised, rest[1])


def _stand(s: float, style: Style, spread: float) -> Moment:
    return Moment(_upright(_sides(spread), style, spread, 0.04 * style.a))


def _gait(size: float, bend: float, lean: float, arms: float) -> Callable[[float, Style, float], Moment]:
    def move(s: float, style: Style, spread: float) -> Moment:
        swing = size * (1 + 0.2 * style.a) * math.cos(2 * math.pi * (2 * s + style.b))
        hip = ((s - 0.5) * 0.35, SHIN + THIGH * math.cos(swing) - 0.03 * bend)
        knees = (bend if swing < 0 else 0.15, bend if swing > 0 else 0.15)
        hands = (_hand(-arms * swing, 0.28), _hand(arms * swing, 0.28))
        return Moment(Pose(hip, lean, ((swing, knees[0]), (-swing, knees[1])), hands, 0.012))

    return move


def _flat(turn: float) -> Pose:
    """Upright at turn 0, on the ground at 1, over the knees."""
    knees = math.sin(math.pi * min(1.0, turn)) * 1.1
    angle = turn * 1.5
    hip = (-0.1 * turn, (1 - turn) * (UP - 0.12 * knees) + turn * 0.075)
    legs = ((-angle + knees * 0.9, knees), (-angle + knees * 0.9 + 0.05, knees))
    return Pose(hip, angle, legs, (_hand(angle * 0.9 + 0.2 * turn), _hand(angle + 0.3 * turn)), 0.012)


def _lie(s: float, style: Style, spread: float) -> Moment:
    return Moment(_flat(1.0))


def _lie_down(s: float, style: Style, spread: float) -> Moment:
    return Moment(_flat(_ease(s)))


def _kneel(s: float, style: Style, spread: float) -> Moment:
    hip = (0.0, THIGH + 0.05)
    hands = (_hand(0.25, 0.3), _hand(0.35 + 0.1 * style.a, 0.3))
    return Moment(Pose(hip, 0.06 * style.b, ((0.05, 1.55), (-0.05, 1.6)), hands, 0.012))


def _squat(s: float, style: Style, spread: float) -> Moment:
    down = _ease(1 - abs(2 * s - 1))
    bend = down * (1.75 + 0.15 * style.a)
    hip = (-0.1 * down, SHIN * math.cos(bend * 0.5) + THIGH * math.cos(bend) + 0.02)
    front = _hand(1.4 * down + 0.1, 0.33)
    return Moment(Pose(hip, 0.35 * down, ((bend, 1.5 * bend), (bend - 0.05, 1.5 * bend)), (front, front), 0.012))


def _bow(s: float, style: Style, spread: float) -> Moment:
    down = _ease(1 - abs(2 * s - 1))
    lean = down * (1.25 + 0.2 * style.a)
    pose = _upright((_hand(0.1), _hand(0.15 + 0.1 * style.b)), style, 0.012, lean)
    return Moment(pose)


def _wave(s: float, style: Style, spread: float) -> Moment:
    angle = 2.55 + 0.45 * math.sin(2 * math.pi * (2.5 * s + style.a))
    return Moment(_upright(_one_arm(_hand(angle, 0.31), style, 0.05), style, 0.05))


def _raise_arms(s: float, style: Style, spread: float) -> Moment:
    angle = 0.15 + _ease(s) * (2.75 + 0.15 * style.a - 0.15)
    return Moment(_upright((_hand(-angle), _hand(angle)), style, 0.05))


def _stretch(s: float, style: Style, spread: float) -> Moment:
    angle = 1.57 + 0.12 * style.a + 0.1 * math.sin(4 * math.pi * s)
    return Moment(_upright((_hand(-angle), _hand(angle)), style, 0.05))


def _clap(s: float, style: Style, spread: float) -> Moment:
    gap = 0.09 * (1 + math.cos(2 * math.pi * (3 * s + style.a))) / 2
    y = -0.1 + 0.04 * style.b
    return Moment(_upright(((0.09 - gap, y), (-0.09 + gap, y)), style, 0.055))


def _jump(s: float, style: Style, spread: float) -> Moment:
    high = math.sin(math.pi * s)
    hip = (0.0, UP + (0.2 + 0.05 * style.a) * high)
    bend = 0.55 * high + 0.1
    arms = 0.3 + 1.9 * high
    hands = (_hand(-arms), _hand(arms))
    return Moment(Pose(hip, 0.0, ((bend, 2 * bend), (-bend * 0.6, 1.2 * bend)), hands, 0.045))


def _leg_swing(s: float, style: Style) -> tuple[Pose, float]:
    out = -0.5 + 2.0 * _ease(1 - abs(2 * s - 1)) * (0.85 + 0.1 * style.a)
    hip = (-0.05, UP - 0.01)
    return Pose(hip, -0.1, ((0.0, 0.05), (out, 0.1)), (_hand(0.7), _hand(-0.7)), 0.012), out


def _kick(s: float, style: Style, spread: float) -> Moment:
    return Moment(_leg_swing(s, style)[0])


def _kick_it(s: float, style: Style, spread: float) -> Moment:
    pose, _ = _leg_swing(s, style)
    away = max(0.0, s - 0.35)
    return Moment(pose, held=((0.42 + 0.8 * away, 0.1 + 0.45 * away), 0.2))


def _punch(s: float, style: Style, spread: float) -> Moment:
    out = 0.5 + 0.5 * math.sin(2 * math.pi * (2 * s + style.a))
    near, far = _mix((0.12, 0.02), (0.335, 0.02), out), _mix((0.335, 0.0), (0.12, 0.0), out)
    return Moment(Pose((0.0, UP - 0.03), 0.1, ((0.3, 0.2), (-0.3, 0.1)), (far, near), 0.012))


def _holding(lean: float, hand: Point, style: Style, size: float) -> Moment:
    pose = _upright((hand, hand), style, 0.012, lean)
    shoulder = (pose.hip[0] + TORSO * math.sin(lean), pose.hip[1] + TORSO * math.cos(lean))
    return Moment(pose, held=((shoulder[0] + hand[0] + 0.03, shoulder[1] + hand[1]), size))


def _hold(s: float, style: Style, spread: float) -> Moment:
    return _holding(0.0, (0.2 + 0.03 * style.a, -0.17 + 0.04 * style.b), style, 0.23)


def _lift(s: float, style: Style, spread: float) -> Moment:
    return _holding(0.0, _hand(1.0 + _ease(s) * (1.95 + 0.1 * style.a), 0.31), style, 0.25)


def _throw(s: float, style: Style, spread: float) -> Moment:
    swing = -2.6 if s < 0.25 else -2.6 + (min(s, 0.7) - 0.25) / 0.45 * -2.3  # from behind, over the head, to the front
    hand = _hand(swing % (2 * math.pi), 0.32)
    pose = _upright((_hand(0.9), hand), style, 0.012, 0.25 * min(1.0, s * 1.4) - 0.1, 0.25)
    shoulder = (pose.hip[0] + TORSO * math.sin(pose.lean), pose.hip[1] + TORSO * math.cos(pose.lean))
    away = max(0.0, s - 0.55)
    spot = (shoulder[0] + hand[0] + 0.9 * away, shoulder[1] + hand[1] + 0.25 * away)
    return Moment(pose, held=(spot, 0.2))


def _shake(s: float, style: Style, spread: float) -> Moment:
    angle = 2.1 + 0.6 * math.sin(2 * math.pi * (2.5 * s + style.a))
    hand = _hand(angle, 0.32)
    pose = _upright((_sides(0.012)[0], hand), style, 0.012)
    return Moment(pose, held=((pose.hip[0] + hand[0], pose.hip[1] + TORSO + hand[1]), 0.2))


MOVES: dict[str, Callable[[float, Style, float], Moment]] = {
    "stand": _stand, "walk": _gait(0.42, 0.5, 0.04, 0.9), "run": _gait(0.75, 1.5, 0.22, 1.3), "lie": _lie,
    "lie_down": _lie_down, "kneel": _kneel, "squat": _squat, "bow": _bow, "wave": _wave, "raise_arms": _raise_arms,
    "stretch": _stretch, "clap": _clap, "jump": _jump, "kick": _kick, "kick_it": _kick_it, "punch": _punch,
    "hold": _hold, "lift": _lift, "throw": _throw, "shake": _shake,
}  # fmt: skip
