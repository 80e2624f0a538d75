"""The world of stills: everything in its vocabulary can be drawn and said, and what is held out is never shown."""

import re

import numpy as np
import pytest

from stillmotion.actors.benchmark import STILL
from stillmotion.actors.captions import caption, class_name, words
from stillmotion.actors.sample import held_out, random_scene
from stillmotion.actors.scene import SIZE, Person, Scene, Shot, Thing, draw_still
from stillmotion.actors.vocabulary import (
    ACTIONS,
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
from stillmotion.models.tokenizer import tokenize


def scene_of(action: str, thing: str = "ball") -> Scene:
    return Scene("gym", (Person("man", "red", "blue"),), action, Thing(thing, "green") if action in HANDLING else None)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_is_drawn_and_moves_where_it_has_two_directions(action: str) -> None:
    first, middle, last = (
        Shot(scene_of(action), np.random.RandomState(3)).frame(s).astype(int) for s in (0.0, 0.37, 1.0)
    )
    assert first.shape == (SIZE, SIZE, 3)
    assert (np.abs(middle - first).mean() > 0.1) == (action not in STILL)
    if ACTIONS[action].reverse:
        assert np.abs(last - first).mean() > 0.3, "played backwards, it is another clip"


def test_every_place_thing_and_person_looks_its_own() -> None:
    def still(scene: Scene) -> np.ndarray:
        return draw_still(scene, np.random.RandomState(5)).astype(int)

    shown = [still(Scene(place)) for place in PLACES]
    shown += [still(Scene("park", thing=Thing(thing, "red"))) for thing in THINGS]
    shown += [still(Scene("park", (Person(kind, "red", "blue"),))) for kind in PEOPLE]
    for i, one in enumerate(shown):
        assert all(np.abs(one - other).mean() > 0.2 for other in shown[:i])


def test_a_color_is_what_it_says() -> None:
    for name, color in COLORS.items():
        ball = draw_still(Scene("park", thing=Thing("ball", name)), np.random.RandomState(1))
        around = np.abs(ball.astype(int) - color).sum(axis=2)
        assert np.sort(around, axis=None)[150] < 110, name


def test_the_same_seed_gives_the_same_still() -> None:
    one, two, other = (draw_still(scene_of("wave"), np.random.RandomState(seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two) and not np.array_equal(one, other)


def test_training_shows_no_composition_that_is_held_out() -> None:
    rng = np.random.RandomState(0)
    scenes = [random_scene(rng) for _ in range(3000)]
    assert not any(held_out(scene) for scene in scenes)
    seen = {s.thing.kind for s in scenes if s.thing} | {s.thing.color for s in scenes if s.thing}
    seen |= {s.action for s in scenes} | {s.place for s in scenes} | {p.kind for s in scenes for p in s.people}
    assert seen == {*THINGS, *COLORS, *ACTIONS, *PLACES, *PEOPLE}, "every word is seen somewhere"
    assert {len(s.people) for s in scenes} == {0, 1, 2, 3, 4} and {s.number for s in scenes} == {1, 2, 3, 4}


@pytest.mark.parametrize("kind", ["color", "handling", "place", "count"])
def test_scenes_can_be_drawn_that_are_held_out_in_one_way(kind) -> None:
    rng = np.random.RandomState(0)
    assert all(held_out(random_scene(rng, kind)) == {kind} for _ in range(20))


def test_about_a_tenth_is_held_out_and_no_word_altogether() -> None:
    tables = {
        "color": [[held_out_color(c, t) for c in COLORS] for t in THINGS],
        "handling": [[held_out_handling(a, o) for a in HANDLING] for o in OBJECTS],
        "place": [[held_out_place(a, p) for a in ALONE] for p in PLACES],
        "count": [[held_out_count(n, t) for n in (1, 2, 3, 4)] for t in THINGS],
    }
    for name, table in tables.items():
        share = np.array(table)
        assert 0.05 < share.mean() < 0.25, name
        assert not share.all(axis=0).any() and not share.all(axis=1).any(), name


def test_captions_are_true_and_their_words_are_listed() -> None:
    rng = np.random.RandomState(0)
    known, every = set(tokenize([text.replace("{}", "") for text in words()]).flatten().tolist()), []
    for _ in range(600):
        scene = random_scene(rng)
        said = caption(scene, rng)
        every.append(said)
        tokens = set(re.findall(r"[a-z]+", said))
        colors = {c for p in scene.people for c in (p.shirt, p.legs)} | ({scene.thing.color} if scene.thing else set())
        assert tokens & set(COLORS) <= colors, said
        assert tokens & (set(PLACES)) <= {scene.place}, said
        assert "{" not in said and "  " not in said
        kinds = {p.kind for p in scene.people}
        assert tokens & set(PEOPLE) <= kinds, said
    assert set(tokenize(every).flatten().tolist()) <= known


def test_class_names() -> None:
    assert class_name("sit_down", reverse=True) == "stand up"
    assert class_name("pick_up", "red ball") == "pick up the red ball"
    assert class_name("pick_up", "box", reverse=True) == "put down the box"
