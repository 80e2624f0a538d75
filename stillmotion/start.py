"""Start a run from a trained model: its backbone, and whatever else it has in common with the new one."""

from pathlib import Path

from stillmotion.checkpoint import read_card
from stillmotion.errors import WeightsError
from stillmotion.methods import Method
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.progress import say
from stillmotion.weights.readers import read_safetensors


def start_from(model: VideoCLIP, path: Path, method: Method, classes: tuple[str, ...]) -> None:
    """Fill what is not the backbone with what a trained model of the same method has; what was taken and left is said.
    Raises `WeightsError`: the file is not one of ours.

    A closed set's head is taken only for the same classes in the same order.
    """
    card, given, own = read_card(path), read_safetensors(path), model.state_dict()
    same_method = type(card.method) is type(method)
    closed = not method.needs_text and card.classes != classes
    taken = {}
    for key, value in given.items():
        fits = key in own and value.shape == own[key].shape
        if fits and (same_method or key.startswith(("visual.", "text."))) and not (closed and key.startswith("head.")):
            taken[key] = value
    if not taken and not card.fingerprints:
        raise WeightsError(f"{path} has no tensor of this model; start from a model.safetensors of a run")
    model.load_state_dict(taken, strict=False)
    new = {_group(k) for k in own if k not in taken and not k.startswith(("visual.", "text."))}
    left = {_group(k) for k in given if k not in taken}
    said = [f"starting from {path}"]
    said += [f"{word} {', '.join(sorted(names))}" for word, names in (("new:", new), ("left out:", left)) if names]
    say("; ".join(said))


def _group(name: str) -> str:
    return ".".join(name.split(".")[:2])
