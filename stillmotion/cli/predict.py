"""`stillmotion predict MODEL VIDEO...`: class names and probabilities."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from stillmotion.cli.model_choice import ModelChoice, open_model
from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, one_line, printable
from stillmotion.progress import say


@dataclass(frozen=True, kw_only=True)
class Predict(ModelChoice):
    """Classify videos."""

    videos: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Video files."""
    top: int = 5
    """Classes to print."""
    json: bool = False
    """Print one JSON object per video: path, label and scores, or path and error."""


def run(words: Sequence[str]) -> None:
    """Classify and print; those that cannot be read are all named, and the others are done."""
    options: Predict = parse(Predict, words, "stillmotion predict")
    if not options.videos:
        raise StillmotionError(f"there are no videos; name some: stillmotion predict {options.model} surf.mp4")
    if options.top < 1:
        raise StillmotionError(f"--top is {options.top}; it must be at least 1")
    classify = open_model(options, options.names())
    failed = []
    for path in options.videos:
        try:
            prediction = classify(path)
        except StillmotionError as error:
            failed.append(error)
            if options.json:
                print(json.dumps({"path": str(path), "error": one_line(error)}))
            if len(options.videos) > 1:
                say(f"error: {error}")
            continue
        best = prediction.top(options.top)
        if options.json:
            print(json.dumps({"path": str(path), "label": best[0][0], "scores": dict(best)}))
            continue
        if len(options.videos) > 1:
            print(printable(path))
        print("\n".join(f"{100 * score:6.2f} %  {printable(name)}" for name, score in best))
    if failed and len(options.videos) == 1:
        raise failed[0]
    if failed:
        raise StillmotionError(f"{len(failed)} of {len(options.videos)} videos could not be classified, named above")
