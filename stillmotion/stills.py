"""What a CLIP knows of rendered stills: zero-shot accuracy for every attribute, and for compositions held out.

Each question has stills with one true answer, and all answers as prompts; the embedding of a still is compared with
those of the prompts. The stills come from seeds that pretraining does not use.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from stillmotion.actors.captions import article, caption, plural
from stillmotion.actors.puppet import Random
from stillmotion.actors.sample import HeldOut, held_out, pick, random_person, random_scene
from stillmotion.actors.scene import Scene, Thing, draw_still
from stillmotion.actors.vocabulary import ACTIONS, ALONE, COLORS, HANDLING, NUMBERS, OBJECTS, PEOPLE, PLACES, THINGS
from stillmotion.backbones.weights import Weights
from stillmotion.data.seeds import item_seed
from stillmotion.data.transforms import Preprocess
from stillmotion.eval.intervals import Interval, wilson
from stillmotion.models.features import FRAMES
from stillmotion.models.tokenizer import tokenize

PROMPT = "a photo of {}"
Draw = Callable[[Random], Scene]
Name = Callable[[Scene], str]


@dataclass(frozen=True)
class Question:
    """Stills, what is true of each, and what else could be."""

    name: str
    answers: tuple[str, ...]
    """Prompts."""
    draw: Draw
    true: Name
    """The prompt that is true of a scene."""


@dataclass(frozen=True)
class Answer:
    """How often the true prompt was the nearest, in [0, 1], and what guessing gives."""

    name: str
    accuracy: float
    interval: Interval
    answers: int

    @property
    def chance(self) -> float:
        """Of one in all answers."""
        return 1 / self.answers


class StillReader:
    """A CLIP of two towers on stills and prompts."""

    def __init__(self, weights: Weights):
        backbone = weights.backbone
        visual, text = backbone.visual(FRAMES), backbone.text_tower()
        assert text is not None, "a CLIP with a text tower"
        visual.load_state_dict({k.removeprefix("visual."): v for k, v in weights.state.items() if k[:7] == "visual."})
        text.load_state_dict({k: v for k, v in weights.state.items() if k[:7] != "visual." and k != "logit_scale"})
        self.visual, self.text, self.tokenizer = visual.eval(), text.eval(), backbone.tokenizer
        pixels = backbone.pixels
        self.preprocess = Preprocess(**asdict(pixels))

    @torch.inference_mode()
    def images(self, stills: Sequence[np.ndarray]) -> Tensor:
        """uint8 (H, W, 3) stills to (N, E) embeddings of length 1."""
        frames = torch.from_numpy(np.stack(stills)).permute(0, 3, 1, 2)
        views = torch.cat([self.preprocess(part)[0] for part in frames.split(64)])
        return F.normalize(torch.cat([self.visual(part[None])["frames"][0] for part in views.split(64)]), dim=-1)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Prompts to (N, E) embeddings of length 1."""
        return F.normalize(self.text(tokenize(texts, self.tokenizer)), dim=-1)

    def ask(self, question: Question, count: int, seed: int = 0) -> Answer:
        """Ask a question of `count` stills."""
        rng = np.random.RandomState(item_seed("stills", question.name, seed))
        scenes = [question.draw(rng) for _ in range(count)]
        stills = [draw_still(scene, rng, ACTIONS[scene.action].window) for scene in scenes]
        nearest = (self.images(stills) @ self.texts(question.answers).T).argmax(dim=1).tolist()
        right = sum(question.answers[i] == question.true(scene) for i, scene in zip(nearest, scenes))
        return Answer(question.name, right / count, wilson(right, count), len(question.answers))

    def retrieve(self, count: int, seed: int = 0) -> tuple[float, float]:
        """Of `count` new stills and their captions: how often the nearest caption is the still's, and the reverse.

        Scenes are as in training; captions that two of them share count for either.
        """
        rng = np.random.RandomState(item_seed("retrieval", seed))
        scenes = [random_scene(rng) for _ in range(count)]
        stills = [draw_still(scene, rng, ACTIONS[scene.action].window) for scene in scenes]
        captions = [max((caption(scene, rng) for _ in range(12)), key=len) for scene in scenes]  # with much in them
        cosines = self.images(stills) @ self.texts(captions).T
        there, back = cosines.argmax(dim=1).tolist(), cosines.argmax(dim=0).tolist()
        same = [sum(captions[j] == captions[i] for i, j in enumerate(found)) / count for found in (there, back)]
        return same[0], same[1]


DIRECTIONS = ("a person sitting down", "a person standing up")


def questions() -> list[Question]:
    """Every attribute, every kind of composition as training shows it and as it does not, and what no still shows."""
    direction = Question(
        "sit down or stand up",
        DIRECTIONS,
        lambda rng: replace(_single(rng, "sit_down"), number=1 + int(rng.randint(2))),  # the number says which it is
        lambda scene: DIRECTIONS[scene.number - 1],
    )
    return [*_attributes(), *_compositions(), direction]


def _attributes() -> Iterator[Question]:
    yield _question(
        "color of a ball", [f"{article(c)} ball" for c in COLORS], _ball, lambda s: f"{article(_thing(s).color)} ball"
    )
    yield _question("thing", map(article, THINGS), _lying, lambda s: article(_thing(s).kind))
    yield _question("place", map(_spot, PLACES), _single, lambda s: _spot(s.place))
    shirts = [f"a person in {article(c)} shirt" for c in COLORS]
    yield _question("color of a shirt", shirts, _single, lambda s: f"a person in {article(s.people[0].shirt)} shirt")
    yield _question("man, woman or child", map(article, PEOPLE), _single, lambda s: article(s.people[0].kind))
    yield _question("pose", map(_does, ALONE), _single, lambda s: _does(s.action))
    yield _question(
        "handling of a ball", (_does(a, "ball") for a in HANDLING), _with_ball, lambda s: _does(s.action, "ball")
    )
    people = [f"{n} {'person' if n == 'one' else 'people'}" for n in NUMBERS]
    yield _question("number of people", people, _crowd, lambda s: people[len(s.people) - 1])
    yield _question(
        "number of balls", (_count(n, "ball") for n in (1, 2, 3, 4)), _balls, lambda s: _count(s.number, "ball")
    )


def _compositions() -> Iterator[Question]:
    """Each twice: compositions of training, and held-out ones, among the same answers."""
    for out in (False, True):
        mark = "held out" if out else "seen"
        colored = [f"{article(c)} {t}" for c, t in product(COLORS, THINGS)]
        yield _question(
            f"color and thing, {mark}",
            colored,
            _such(_lying, "color", out),
            lambda s: f"{article(_thing(s).color)} {_thing(s).kind}",
        )
        handled = [_does(a, o) for a, o in product(HANDLING, OBJECTS)]
        yield _question(
            f"handling and object, {mark}",
            handled,
            _such(lambda rng: replace(_with_ball(rng), thing=_any_thing(rng, OBJECTS)), "handling", out),
            lambda s: _does(s.action, _thing(s).kind),
        )
        there = [f"{_does(a)} {PLACES[p][0]}" for a, p in product(ALONE, PLACES)]
        yield _question(
            f"pose and place, {mark}",
            there,
            _such(_single, "place", out),
            lambda s: f"{_does(s.action)} {PLACES[s.place][0]}",
        )
        counted = [_count(n, t) for n, t in product((1, 2, 3, 4), THINGS)]
        yield _question(
            f"number and thing, {mark}",
            counted,
            _such(lambda rng: replace(_lying(rng), number=int(rng.randint(2, 5))), "count", out),
            lambda s: _count(s.number, _thing(s).kind),
        )


def _question(name: str, answers: Iterable[str], draw: Draw, true: Name) -> Question:
    """A question whose answers are put into CLIP's prompt."""
    return Question(name, tuple(map(PROMPT.format, answers)), draw, lambda scene: PROMPT.format(true(scene)))


def _such(draw: Draw, kind: HeldOut, out: bool) -> Draw:
    """Only scenes that are held out in this one way, or in none."""
    wanted = {kind} if out else set()

    def drawn(rng: Random) -> Scene:
        while held_out(scene := draw(rng)) != wanted:
            pass
        return scene

    return drawn


def _single(rng: Random, action: str | None = None) -> Scene:
    return Scene(pick(tuple(PLACES), rng), (random_person(rng),), action or pick(ALONE, rng))


def _crowd(rng: Random) -> Scene:
    people = tuple(random_person(rng) for _ in range(rng.randint(1, 5)))
    return Scene(pick(tuple(PLACES), rng), people, pick(("stand", "wave", "kneel"), rng))


def _any_thing(rng: Random, kinds: Sequence[str] = THINGS) -> Thing:
    return Thing(pick(kinds, rng), pick(tuple(COLORS), rng))


def _lying(rng: Random) -> Scene:
    return Scene(pick(tuple(PLACES), rng), thing=_any_thing(rng))


def _ball(rng: Random) -> Scene:
    return Scene(pick(tuple(PLACES), rng), thing=_any_thing(rng, ("ball",)))


def _balls(rng: Random) -> Scene:
    return replace(_ball(rng), number=int(rng.randint(1, 5)))


def _with_ball(rng: Random) -> Scene:
    return Scene(pick(tuple(PLACES), rng), (random_person(rng),), pick(HANDLING, rng), _any_thing(rng, ("ball",)))


def _thing(scene: Scene) -> Thing:
    assert scene.thing is not None
    return scene.thing


def _spot(place: str) -> str:
    return "the snow" if place == "snow" else article(place)


def _does(action: str, thing: str = "") -> str:
    return f"a person {ACTIONS[action].words[0].ing.format(article(thing) if thing else '')}"


def _count(number: int, thing: str) -> str:
    return f"{NUMBERS[number - 1]} {thing if number == 1 else plural(thing)}"
