"""The words of the world: colors, objects, places, people, actions; and which of them never meet in pretraining.

A still is a moment of an action. Two actions that are each other played backwards (`sit down`, `stand up`) share their
stills, so a still carries a pose and says nothing of the direction of time, and its caption names either of the two.
"""

from dataclasses import dataclass

Color = tuple[int, int, int]

COLORS: dict[str, Color] = {
    "red": (205, 35, 40),
    "orange": (245, 135, 25),
    "yellow": (245, 220, 50),
    "green": (40, 155, 65),
    "blue": (40, 85, 205),
    "purple": (125, 50, 165),
    "pink": (248, 140, 185),
    "brown": (120, 75, 40),
    "black": (28, 28, 32),
    "white": (240, 240, 238),
}
OBJECTS = ("ball", "box", "bag", "book", "bottle", "umbrella", "balloon", "flag", "cup", "guitar")
"""What a person can handle."""
THINGS = (*OBJECTS, "chair", "dog")
"""What may lie or stand there alone."""
PLACES: dict[str, tuple[str, ...]] = {
    "park": ("in a park", "in the park"),
    "street": ("on a street", "in the street"),
    "beach": ("on a beach", "at the beach"),
    "snow": ("in the snow", "on snow"),
    "forest": ("in a forest", "in the forest"),
    "kitchen": ("in a kitchen", "in the kitchen"),
    "office": ("in an office", "in the office"),
    "gym": ("in a gym", "in the gym"),
}
PEOPLE = {"man": "men", "woman": "women", "child": "children"}
"""One and several; any of them may be called a person."""
NUMBERS = ("one", "two", "three", "four")


@dataclass(frozen=True)
class Wording:
    """One way to say an action: `sit down`, `sits down`, `sitting down`; `{}` is the object."""

    base: str
    third: str
    ing: str


@dataclass(frozen=True)
class Action:
    """What people do: how it is said, forwards and backwards, and which part of it stills are taken from."""

    name: str
    words: tuple[Wording, ...]
    reverse: tuple[Wording, ...] = ()
    """How it is said with time running backwards; empty: nobody would tell, or there is no word."""
    window: tuple[float, float] = (0.0, 1.0)
    """Progress at which stills of it are taken, so that they show it."""

    @property
    def handles(self) -> bool:
        """Whether it needs an object."""
        return "{}" in self.words[0].base


def _say(*forms: str) -> tuple[Wording, ...]:
    """`sit/sits/sitting down` to a wording."""
    said = []
    for form in forms:
        verb, _, rest = form.partition(" ")
        said.append(Wording(*(f"{v} {rest}".strip() for v in verb.split("/"))))
    return tuple(said)


ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (
        Action("stand", _say("stand/stands/standing", "stand/stands/standing still")),
        Action("walk", _say("walk/walks/walking", "step/steps/stepping")),
        Action("run", _say("run/runs/running")),
        Action("sit", _say("sit/sits/sitting", "sit/sits/sitting on a chair")),
        Action("sit_down", _say("sit/sits/sitting down"), _say("stand/stands/standing up"), window=(0.3, 0.75)),
        Action("lie", _say("lie/lies/lying", "lie/lies/lying on the ground")),
        Action("lie_down", _say("lie/lies/lying down"), _say("get/gets/getting up"), window=(0.45, 0.85)),
        Action("kneel", _say("kneel/kneels/kneeling")),
        Action("squat", _say("squat/squats/squatting", "crouch/crouches/crouching"), window=(0.35, 0.65)),
        Action("bow", _say("bow/bows/bowing", "bend/bends/bending forward"), window=(0.35, 0.65)),
        Action("wave", _say("wave/waves/waving", "wave/waves/waving a hand", "wave/waves/waving one hand")),
        Action(
            "raise_arm",
            _say("raise/raises/raising an arm", "raise/raises/raising one arm"),
            _say("lower/lowers/lowering an arm", "lower/lowers/lowering one arm"),
            window=(0.45, 0.8),
        ),
        Action(
            "raise_arms",
            _say("raise/raises/raising both arms", "raise/raises/raising two arms"),
            _say("lower/lowers/lowering both arms"),
            window=(0.6, 1.0),
        ),
        Action("stretch", _say("stretch/stretches/stretching the arms", "stretch/stretches/stretching")),
        Action("clap", _say("clap/claps/clapping", "clap/claps/clapping hands")),
        Action("jump", _say("jump/jumps/jumping"), window=(0.35, 0.65)),
        Action("kick", _say("kick/kicks/kicking"), window=(0.35, 0.65)),
        Action("punch", _say("punch/punches/punching", "box/boxes/boxing"), window=(0.3, 0.7)),
        Action("hold", _say("hold/holds/holding {}", "carry/carries/carrying {}")),
        Action(
            "pick_up",
            _say("pick/picks/picking up {}", "take/takes/taking {} from the ground"),
            _say("put/puts/putting down {}", "put/puts/putting {} on the ground"),
            window=(0.35, 0.7),
        ),
        Action("lift", _say("lift/lifts/lifting {}"), _say("lower/lowers/lowering {}"), window=(0.6, 1.0)),
        Action("throw", _say("throw/throws/throwing {}"), _say("catch/catches/catching {}"), window=(0.55, 0.85)),
        Action("push", _say("push/pushes/pushing {}"), _say("pull/pulls/pulling {}")),
        Action("shake", _say("shake/shakes/shaking {}", "swing/swings/swinging {}")),
        Action("kick_it", _say("kick/kicks/kicking {}"), window=(0.35, 0.65)),
    )
}
ALONE = tuple(name for name, action in ACTIONS.items() if not action.handles)
HANDLING = tuple(name for name, action in ACTIONS.items() if action.handles)


# What is held out on purpose: about one in ten of each kind of composition, every word of which is seen elsewhere.
def held_out_color(color: str, thing: str) -> bool:
    """Whether no still of training shows a thing of this color."""
    return (list(COLORS).index(color) + 3 * THINGS.index(thing)) % len(COLORS) == 0


def held_out_handling(action: str, thing: str) -> bool:
    """Whether no still of training, and no clip of a base class, shows this done with such an object."""
    return (HANDLING.index(action) + 2 * OBJECTS.index(thing)) % 5 == 0


def held_out_place(action: str, place: str) -> bool:
    """Whether no still of training shows this done at such a place."""
    return (ALONE.index(action) + 3 * list(PLACES).index(place)) % 9 == 0 if action in ALONE else False


def held_out_count(number: int, thing: str) -> bool:
    """Whether no still of training shows so many of a thing, 1 to 4; one of anything is seen."""
    return number > 1 and (number + THINGS.index(thing)) % 4 == 0
