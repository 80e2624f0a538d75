"""`stillmotion explain MODEL VIDEO`: where a model looks, as a page, a film or a poster."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from stillmotion.cli.model_choice import ModelChoice, open_model
from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, printable

KINDS = (".html", ".gif", ".webp", ".png")


@dataclass(frozen=True, kw_only=True)
class Explain(ModelChoice):
    """Show where a model looks in a video."""

    video: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="VIDEO")]
    """A video file."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """What to write: page.html, film.gif, film.webp or poster.png."""
    classes: Annotated[tuple[str, ...], tyro.conf.arg(name="class")] = ()
    """Classes to look for (several, one after the other), by default the predicted one; each frame is scored for the
    first."""


def run(words: Sequence[str]) -> None:
    """Look, draw and say where."""
    options: Explain = parse(Explain, words, "stillmotion explain")
    if options.out.suffix.lower() not in KINDS:
        raise StillmotionError(f"--out is {options.out}; its ending must be one of {', '.join(KINDS)}")
    from stillmotion.report.explanation import write_explanation  # says what to install before anything is computed

    classifier = open_model(options, options.names())
    explanation = classifier.explain(options.video, options.classes)
    write_explanation(options.out, explanation, f"{options.model}, {options.video.name}")
    best = explanation.prediction
    print(f"{100 * best.score:6.2f} %  {printable(best.label)}")
    for line in explanation.not_shown:
        print(f"not shown: {printable(line)}")
    if explanation.unsure:
        print(explanation.unsure)
    print(f"wrote {printable(options.out)}")
