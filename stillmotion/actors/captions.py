"""What is said of a scene: a small grammar of captions, from `a red ball` to whole sentences, and the field's prompts.

`caption(scene, rng)` draws one true caption of many; it names some of what there is, never what there is not.
"""

from stillmotion.actors.puppet import Random
from stillmotion.actors.sample import pick
from stillmotion.actors.scene import Person, Scene
from stillmotion.actors.vocabulary import ACTIONS, COLORS, NUMBERS, PEOPLE, PLACES, THINGS, Wording

SENTENCES = (
    "{}", "{}.", "a photo of {}", "a photo of {}.", "a picture of {}", "an image of {}", "a video of {}",
    "a photo of the scene: {}",
)  # fmt: skip
"""What is put around what is seen."""
PROMPTS = (
    "{}", "{}.", "a photo of a {}.", "a photo of {}.", "a photo of a person {}.", "a person {}",
    "a video of a person {}.",
    "a video of {}", "a photo of action {}", "a picture of action {}", "human action of {}", "{}, an action",
    "{}, this is an action", "{}, a video of action", "playing action of {}", "playing a kind of action, {}",
    "doing a kind of action, {}", "look, the human is {}", "can you recognize the action of {}?",
    "video classification of {}", "the man is {}", "the woman is {}",
)  # fmt: skip
"""What papers put around the name of an action (CLIP, ViFi-CLIP, ActionCLIP)."""
_MEN, _WOMEN = "the man is {}", "the woman is {}"
_PLURAL = {"box": "boxes"}


def caption(scene: Scene, rng: Random) -> str:
    """Draw a caption of a scene, in lower case."""
    if rng.rand() < 0.06:
        return pick(SENTENCES, rng).format(_place_alone(scene))
    if not scene.people:
        return pick(SENTENCES, rng).format(things(scene, rng) + _place(scene, rng))
    if len(scene.people) == 1 and rng.rand() < 0.3:
        return _prompt(scene, rng)
    return pick(SENTENCES, rng).format(_who(scene, rng) + _does(scene, rng) + _place(scene, rng))


def words() -> list[str]:
    """Texts that together hold every word that a caption can have."""
    said = [w for action in ACTIONS.values() for w in (*action.words, *action.reverse)]
    forms = [form for w in said for form in (w.base, w.third, w.ing)]
    places = [phrase for phrases in PLACES.values() for phrase in phrases]
    people = [*PEOPLE, *PEOPLE.values(), "person", "people", "someone"]
    kinds = [*THINGS, *(plural(thing) for thing in THINGS)]
    rest = ["is are and the a an in with wearing shirt trousers skirt single"]
    return [*forms, *places, *people, *kinds, *COLORS, *PLACES, *NUMBERS, *SENTENCES, *PROMPTS, *rest]


def plural(thing: str) -> str:
    """Several of a thing."""
    return _PLURAL.get(thing, f"{thing}s")


def article(noun: str) -> str:
    """A noun with `a` or `an`."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def things(scene: Scene, rng: Random) -> str:
    """The things that lie there: how many, mostly their color."""
    assert scene.thing is not None
    color = f"{scene.thing.color} " if rng.rand() < 0.8 else ""
    if scene.number > 1:
        return f"{NUMBERS[scene.number - 1]} {color}{plural(scene.thing.kind)}"
    noun = f"{color}{scene.thing.kind}"
    return pick((article(noun), article(noun), f"one {noun}", f"a single {noun}", f"the {noun}"), rng)


def class_name(action: str, noun: str = "", reverse: bool = False) -> str:
    """The name of an action as a class: `sit down`; `pick up the red ball`, with `red ball` as the noun."""
    wording = (ACTIONS[action].reverse if reverse else ACTIONS[action].words)[0]
    return wording.base.format(f"the {noun}")


def _prompt(scene: Scene, rng: Random) -> str:
    """The action alone in a prompt of the field, as a class name would stand there."""
    wording, kind = _wording(scene, rng), scene.people[0].kind
    choices = [p for p in PROMPTS if not (p == _MEN and kind != "man") and not (p == _WOMEN and kind != "woman")]
    form = pick((wording.base, wording.ing, wording.ing), rng)
    return pick(choices, rng).format(form.format(_object(scene, rng)))


def _who(scene: Scene, rng: Random) -> str:
    people = scene.people
    same = all(p.kind == people[0].kind for p in people)
    if len(people) > 1:
        return f"{NUMBERS[len(people) - 1]} {PEOPLE[people[0].kind] if same and rng.rand() < 0.6 else 'people'}"
    person = people[0]
    kind = person.kind if rng.rand() < 0.65 else "person"
    return pick((f"a {kind}", f"a {kind}", f"the {kind}", f"one {kind}", "someone"), rng) + _clothes(person, rng)


def _clothes(person: Person, rng: Random) -> str:
    kind = rng.randint(8)
    legs = "skirt" if person.kind == "woman" else "trousers"
    lower = article(f"{person.legs} skirt") if legs == "skirt" else f"{person.legs} trousers"
    if kind >= 6:
        return ""
    if kind < 3:
        return f" {pick(('in', 'wearing', 'with'), rng)} {article(person.shirt + ' shirt')}"
    if kind == 3:
        return f" {pick(('in', 'wearing'), rng)} {lower}"
    return f" {pick(('in', 'wearing'), rng)} {article(person.shirt + ' shirt')} and {lower}"


def _does(scene: Scene, rng: Random) -> str:
    if rng.rand() < 0.1:
        return ""
    wording, several = _wording(scene, rng), len(scene.people) > 1
    verb = pick(
        (f"{'are' if several else 'is'} {wording.ing}", wording.ing, wording.base if several else wording.third), rng
    )
    return " " + verb.format(_object(scene, rng))


def _wording(scene: Scene, rng: Random) -> Wording:
    """The action or, where that looks the same in a still, the one that undoes it."""
    action = ACTIONS[scene.action]
    return pick(action.reverse if action.reverse and rng.rand() < 0.5 else action.words, rng)


def _object(scene: Scene, rng: Random) -> str:
    if scene.thing is None:
        return ""
    noun = f"{scene.thing.color} {scene.thing.kind}" if rng.rand() < 0.75 else scene.thing.kind
    return f"the {noun}" if rng.rand() < 0.5 else article(noun)


def _place(scene: Scene, rng: Random) -> str:
    return f" {pick(PLACES[scene.place], rng)}" if rng.rand() < 0.6 else ""


def _place_alone(scene: Scene) -> str:
    return "the snow" if scene.place == "snow" else article(scene.place)
