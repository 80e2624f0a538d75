"""An explanation as figures: strips of frames with maps on them, a looping film, a page of its own."""

from dataclasses import dataclass

from stillmotion.explain import Explanation


@dataclass(frozen=True)
class Strip:
    """All frames in a row, left to right in time, with one map drawn on them.

    image: data URI, `Figures.width` x `Figures.height` pixels.
    name: of the map, `frames` for the plain ones, whose `about`, `low` and `high` are empty.
    about: what it shows, in words.
    low, high: what the ends of the color bar stand for, with units ("0 %", "3.1 % or more").
    """

    image: str
    name: str
    about: str = ""
    low: str = ""
    high: str = ""


@dataclass(frozen=True)
class Figures:
    """What a page needs to show an explanation; `explanation.html` draws it: include it with `figures` set.

    title: what is shown: the predicted class and its probability.
    strips: plain frames first, then the maps.
    bar: data URI of the color bar, low on the left.
    film: data URI of a looping WebP: the frames one after the other, each beside its maps.
    label, scores: the class that the frames are scored for, and the probability (T,) that each frame alone gives it.
    missing: maps that the model does not have, and why.
    frames: T.
    side: pixels of a frame in the strips, (height, width).
    """

    title: str
    strips: list[Strip]
    bar: str
    film: str
    label: str
    scores: list[float]
    missing: dict[str, str]
    frames: int
    side: tuple[int, int]


def explanation_figures(explanation: Explanation, height: int = 192) -> Figures:
    """Draw an explanation; frames are `height` pixels high in the strips."""
    raise NotImplementedError
