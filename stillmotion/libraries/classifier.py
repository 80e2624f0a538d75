"""Classifiers from models of transformers and torchvision, their classes matched with the data's by name."""

import difflib
from collections.abc import Sequence

import torch

from stillmotion.classifier import Classifier
from stillmotion.data.manifest import clean_name
from stillmotion.data.sampling import Sampling
from stillmotion.errors import WeightsError
from stillmotion.libraries.models import ClassSubset
from stillmotion.libraries.read import read_torchvision, read_transformers
from stillmotion.progress import say

LIBRARIES = ("transformers", "torchvision")


def is_foreign(name: str) -> bool:
    """Whether a name is one of another library's models: `transformers:...` or `torchvision:...`."""
    library, colon, _ = name.partition(":")
    return bool(colon) and library in LIBRARIES


def load_foreign(
    name: str,
    classes: Sequence[str] | None = None,
    *,
    names: Sequence[str] | None = None,
    stride: int | None = None,
    device: str | torch.device | None = None,
) -> Classifier:
    """Build a classifier from a model of another library.

    Args:
        name: `transformers:FOLDER`, `transformers:HUB_NAME`, `torchvision:MODEL`, `torchvision:MODEL:WEIGHTS` (a name
            of its weights enumeration) or `torchvision:MODEL:FILE` (a state dict).
        classes: the classes to tell apart, matched with the model's by name; None: all of the model's.
        names: names of the logits, in their order, of a model that has none of its own.
        stride: frames from one sampled frame to the next; None: torchvision's published one at 30 frames a second, and
            for transformers, whose folders do not say, frames spread over the whole video.
        device: where to run; None: the GPU if there is one.

    Raises `WeightsError`: the library is missing, the weights cannot be had or do not fit, or a class is not the
    model's.
    """
    library, _, rest = name.partition(":")
    read = read_transformers(rest) if library == "transformers" else read_torchvision(rest)
    own = read.classes or tuple(names or ())
    if len(own) != read.count or len(set(own)) < len(own):
        raise WeightsError(
            f"{name} has {read.count} logits and {len(set(own))} class names; pass --labels with one name for each "
            "logit, in their order"
        )
    model = read.model
    if classes is not None and tuple(classes) != own:
        places = match_classes(classes, own, name)
        model = ClassSubset(model, places)
        say(f"{name}: the logits of {len(places)} of its {len(own)} classes, matched with the data's by name")
    return Classifier(
        model,
        preprocess=read.preprocess,
        sampling=read.sampling if stride is None else Sampling(scheme="dense", stride=stride),
        num_frames=read.num_frames,
        classes=own if classes is None else classes,
        device=device,
    )


def match_classes(wanted: Sequence[str], own: Sequence[str], name: str) -> list[int]:
    """Places of the wanted classes among a model's own, by name, or else by the words of the name (`clean_name`).

    Raises `WeightsError`: a class that the model does not have, or two that are one of the model's.
    """
    exact = {c: [i] for i, c in enumerate(own)}
    words: dict[str, list[int]] = {}
    for i, c in enumerate(own):
        words.setdefault(clean_name(c), []).append(i)
    found = [exact.get(c) or words.get(clean_name(c), []) for c in wanted]
    if unknown := [c for c, places in zip(wanted, found) if len(places) != 1]:
        lower = {o.lower(): o for o in reversed(own)}
        near = [lower[difflib.get_close_matches(c.lower(), lower, n=1, cutoff=0.0)[0]] for c in unknown[:5]]
        some = ", ".join(f"{c!r} (the nearest is {n!r})" for c, n in zip(unknown, near))
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise WeightsError(
            f"not among the {len(own)} classes of {name}: {some}{more}; rename them as the model does, or leave "
            "them out"
        )
    places = [place for (place,) in found]
    if len(set(places)) < len(places):
        i = next(p for p in places if places.count(p) > 1)
        both = [c for c, p in zip(wanted, places) if p == i]
        raise WeightsError(f"{both[0]!r} and {both[1]!r} are both the class {own[i]!r} of {name}; join or rename them")
    return places
