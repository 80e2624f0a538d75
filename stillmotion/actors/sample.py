"""Random scenes of the world: of training, without the compositions that are held out; or of these alone."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from stillmotion.actors.puppet import Random
from stillmotion.actors.scene import Person, Scene, Thing
from stillmotion.actors.vocabulary import (
    ALONE,
    COLORS,
    HANDLING,
    OBJECTS,
    PEOPLE,
    PLACES,
    THINGS,
    held_out_color,
    held_out_count,
    held_out_handling,
    held_out_place,
)

T = TypeVar("T")
HeldOut = Literal["color", "handling", "place", "count"]


def _handled(scene: Scene) -> bool:
    return bool(scene.people) and scene.thing is not None and held_out_handling(scene.action, scene.thing.kind)


_HELD_OUT: dict[HeldOut, Callable[[Scene], bool]] = {
    "color": lambda s: s.thing is not None and held_out_color(s.thing.color, s.thing.kind),
    "handling": _handled,
    "place": lambda s: bool(s.people) and held_out_place(s.action, s.place),
    "count": lambda s: not s.people and s.thing is not None and held_out_count(s.number, s.thing.kind),
}


def pick(choices: Sequence[T], rng: Random) -> T:
    """One of them, each as likely."""
    return choices[int(rng.randint(len(choices)))]


def held_out(scene: Scene) -> set[HeldOut]:
    """The kinds of compositions in a scene that training never shows."""
    return {name for name, shows in _HELD_OUT.items() if shows(scene)}


def random_scene(rng: Random, only: HeldOut | None = None) -> Scene:
    """Draw a scene: of training, or one that is held out in this one way."""
    wanted = set() if only is None else {only}
    while True:
        scene = _any_scene(rng)
        if held_out(scene) == wanted:
            return scene


def random_person(rng: Random) -> Person:
    """Draw a person: what kind, and the colors of the clothes, which differ."""
    shirt, legs = (list(COLORS)[int(i)] for i in rng.permutation(len(COLORS))[:2])
    return Person(pick(tuple(PEOPLE), rng), shirt, legs)


def _any_scene(rng: Random) -> Scene:
    place, kind = pick(tuple(PLACES), rng), rng.rand()
    color = pick(tuple(COLORS), rng)
    if kind < 0.22:
        number = 1 + int(rng.rand() < 0.55) * int(rng.randint(1, 4))
        return Scene(place, thing=Thing(pick(THINGS, rng), color), number=number)
    if kind < 0.4:
        people = tuple(random_person(rng) for _ in range(rng.randint(2, 5)))
        if rng.rand() < 0.5:  # all of one kind, so that they can be called men or women
            people = tuple(Person(people[0].kind, p.shirt, p.legs) for p in people)
        return Scene(place, people, pick(("stand", "wave", "raise_arms", "kneel", "clap", "sit", "squat"), rng))
    if kind < 0.7:
        return Scene(place, (random_person(rng),), pick(ALONE, rng))
    return Scene(place, (random_person(rng),), pick(HANDLING, rng), Thing(pick(OBJECTS, rng), color))
