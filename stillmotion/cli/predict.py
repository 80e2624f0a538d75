"""`stillmotion predict MODEL VIDEO...`: class names and probabilities."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from stillmotion.cli.many import ManyVideos, go_through, open_results
from stillmotion.cli.model_choice import open_model
from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, one_line, printable

if TYPE_CHECKING:
    from stillmotion.cli.results import Row
    from stillmotion.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Predict(ManyVideos):
    """Classify videos."""

    top: int = 5
    """Classes to print; a file has all."""
    threshold: float | None = None
    """Print the classes of at least this probability, in place of the best ones; None: 0.5 for a model of videos with
    several labels, and none for others."""
    json: bool = False
    """Print one JSON object per video: path, label (and labels, with a threshold) and scores, or path and error."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Write to a .csv, .jsonl or .parquet file, and print the file's name; the same command goes on where it was
    stopped, and adds what is new."""


def run(words: Sequence[str]) -> None:
    """Classify, and print or write; those that cannot be read are all named, and the others are done."""
    options: Predict = parse(Predict, words, "stillmotion predict")
    if options.top < 1:
        raise StillmotionError(f"--top is {options.top}; it must be at least 1")
    if options.threshold is not None and not 0 <= options.threshold <= 1:
        raise StillmotionError(f"--threshold is {options.threshold:g}; it must be in [0, 1]")
    paths = options.paths("predict")
    from stillmotion.cli.results import PREDICTIONS, form_of

    if options.out is not None:
        form_of(options.out, PREDICTIONS, paths)  # before the model is read
    classify = open_model(options, options.names())
    from stillmotion.eval.multi_label import THRESHOLD

    threshold = THRESHOLD if options.threshold is None and classify.multi_label else options.threshold
    results = None if options.out is None else open_results(options.out, PREDICTIONS, classify, True, options)

    def show(path: str, result: "Prediction | StillmotionError") -> None:
        if options.json:
            if isinstance(result, StillmotionError):
                print(json.dumps({"path": path, "error": one_line(result)}))
            else:
                found = {} if threshold is None else {"labels": [name for name, _ in result.above(threshold)]}
                scores = dict(result.top(options.top))
                print(json.dumps({"path": path, "label": result.label, **found, "scores": scores}))
        elif options.out is None and not isinstance(result, StillmotionError):
            if len(paths) > 1:
                print(printable(path))
            best = result.top(options.top) if threshold is None else result.above(threshold)
            lines = [f"{100 * score:6.2f} %  {printable(name)}" for name, score in best]
            print("\n".join(lines) or f"no class is at {threshold}; the best is {printable(result.label)}")

    go_through(
        paths, partial(classify.predict, batch=options.batch_views, workers=options.workers), _row, show, results
    )


def _row(prediction: "Prediction") -> "Row":
    return {"label": prediction.label, "score": prediction.score, "scores": prediction.scores}
