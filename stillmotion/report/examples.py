"""Clips to look at: the worst mistakes, with what the model saw of them."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stillmotion.classifier import Classifier
from stillmotion.data.sampling import Sampling
from stillmotion.errors import StillmotionError
from stillmotion.eval.report import Predictions
from stillmotion.progress import progress_bar
from stillmotion.report.clips import Strip, plain_strip, strip

FRAMES, BEST = 8, 3
"""Frames shown of a clip whose model is not there to say how many it reads; its most probable classes that are."""


@dataclass(frozen=True)
class Example:
    """One clip: where it lies, what it is, what it was called, and its frames or why there are none (`gap`)."""

    path: str
    truth: str
    predicted: str
    best: list[tuple[str, float]]
    """The most probable classes, with their probabilities."""
    strip: Strip | None = None
    gap: str = ""


def mistakes(predictions: Predictions) -> list[int]:
    """Places of the wrongly classified videos, those with the highest probability on the wrong class first."""
    best = predictions.probabilities.max(dim=1)
    wrong = (best.indices != predictions.labels).nonzero().flatten().tolist()
    return sorted(wrong, key=lambda i: (-float(best.values[i]), predictions.paths[i]))


def example(predictions: Predictions, place: int) -> Example:
    """A scored video without its frames."""
    p, classes = predictions.probabilities[place], predictions.classes
    best = [(classes[i], float(p[i])) for i in p.argsort(descending=True, stable=True).tolist()]
    truth = classes[int(predictions.labels[place])]
    return Example(predictions.paths[place], truth, best[0][0], best[:BEST])


def with_frames(examples: Sequence[Example], classifier: Classifier | None) -> Iterator[Example]:
    """The same with their frames, and where the model looks if it is here and can say; a file that is gone leaves a
    gap that says so.
    """
    if classifier is not None:
        classifier = copy.copy(classifier)
        classifier.untuned = None  # what training changed is not shown, and would be loaded for every clip
    with progress_bar("looking at clips", len(examples)) as advance:
        for one in examples:
            try:
                yield replace(one, strip=look(Path(one.path), classifier))
            except StillmotionError as error:
                yield replace(one, gap=str(error))
            advance()


def look(path: Path, classifier: Classifier | None) -> Strip:
    """A video as a model sees it, with the map that its video query has, or else its image tower; without a model that
    is quick to ask, eight frames of it.
    Raises `StillmotionError`: the file cannot be read.
    """
    if classifier is None or not quick_to_explain(classifier):
        return plain_strip(path, Sampling(), FRAMES)
    seen = classifier.explain(path)
    found = [seen.maps[name] for name in ("query", "tower") if name in seen.maps]
    under = [f"alone {100 * score:.0f} %" for score in seen.frame_scores.tolist()]
    frames = _bytes(seen.frames)
    if not found:
        return strip(frames, under=under)
    maps = found[0].weights.double()
    if found[0].sums == "video":
        under = [f"attention {100 * share:.0f} %\n{text}" for share, text in zip(maps.sum(dim=(1, 2)).tolist(), under)]
    return strip(frames, maps.numpy(), found[0].about, under)


def quick_to_explain(classifier: Classifier) -> bool:
    """Whether an explanation costs little more than a prediction.

    A tower that mixes frames, or another library's model, runs once again for every frame: minutes without a GPU.
    """
    return classifier.device.type != "cpu" or bool(
        getattr(getattr(classifier.model, "visual", None), "by_frame", False)
    )


def _bytes(frames: Tensor) -> Any:
    """(T, 3, H, W) in [0, 1] as (T, H, W, 3) uint8."""
    return (255 * frames.float()).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
