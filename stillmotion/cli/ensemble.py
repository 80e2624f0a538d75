"""`stillmotion ensemble A B`: a weighted average of models' probabilities, beside each of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, printable

if TYPE_CHECKING:
    from stillmotion.eval.report import Predictions


@dataclass(frozen=True, kw_only=True)
class Ensemble:
    """Average the class probabilities of several models on the same videos."""

    members: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Predictions of each model: a run's folder, or a file that train (predictions.jsonl) or eval
    (eval_predictions.jsonl) wrote."""
    weights: tuple[float, ...] | None = None
    """One weight for each model; None: equal ones."""
    choose_on: tuple[Path, ...] | None = None
    """The same models' predictions on validation videos, in the same order: the best weights there are used."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("runs/ensemble")
    """Folder for ensemble.json and ensemble_predictions.jsonl."""


def run(words: Sequence[str]) -> None:
    """Average, print every member's numbers and the ensemble's, and write them."""
    options: Ensemble = parse(Ensemble, words, "stillmotion ensemble")
    from stillmotion.eval.ensemble import align, average, mixed, normalize, predictions_file
    from stillmotion.eval.report import Report, read_predictions, write_predictions
    from stillmotion.files import write_json
    from stillmotion.progress import say

    count = len(options.members)
    if count < 2:
        raise StillmotionError(f"an ensemble of {count}; name the predictions of two models or more")
    if options.weights is not None and options.choose_on is not None:
        raise StillmotionError("--weights and --choose-on both give the weights; pass one of them")
    members = [read_predictions(predictions_file(path)) for path in options.members]
    _check_files(members, options.out)
    weights = normalize(options.weights or [1.0] * count, count)
    choice: dict[str, Any] = {}
    if options.choose_on is not None:
        weights, choice = _choose(members, options.choose_on)
    aligned, bad = align(members)
    if bad:
        say(f"left out of all models, because one could not read them: {', '.join(b.path for b in bad)}")
    ensemble = mixed(aligned[0], average(aligned, weights), bad)
    reports = [Report.of(mixed(m, m.probabilities, bad), m.classes) for m in aligned]
    together = Report.of(ensemble, ensemble.classes)
    content = {
        "members": [{"file": m.name, "weight": w, "report": r.to_dict()} for m, w, r in zip(aligned, weights, reports)],
        "ensemble": together.to_dict(),
        **choice,
    }
    write_predictions(options.out / "ensemble_predictions.jsonl", ensemble, ensemble.paths, ensemble.classes)
    write_json(options.out / "ensemble.json", content)
    for member, weight, numbers in zip(aligned, weights, reports):
        print(f"weight {weight:.3f}  {numbers}  {printable(member.name)}")
    print(f"ensemble      {together}")
    print(options.out / "ensemble.json")


def _choose(members: Sequence["Predictions"], paths: Sequence[Path]) -> tuple[tuple[float, ...], dict[str, Any]]:
    """Weights chosen on validation videos, and how, for the record."""
    from stillmotion.eval.ensemble import align, check_separate, choose, predictions_file
    from stillmotion.eval.report import read_predictions
    from stillmotion.progress import say

    if len(paths) != len(members):
        raise StillmotionError(f"--choose-on has {len(paths)} files for {len(members)} models; give one for each")
    validation = [read_predictions(predictions_file(path)) for path in paths]
    check_separate(members, validation)
    aligned, bad = align(validation)
    weights, top1 = choose(aligned)
    left = f", {len(bad)} that could not be read left out" if bad else ""
    say(f"weights chosen on {len(aligned[0].paths)} other videos{left}: top-1 {100 * top1:.1f} % there")
    return weights, {"chosen_on": [m.name for m in validation], "chosen_top1": top1}


def _check_files(members: Sequence["Predictions"], out: Path) -> None:
    files = [Path(member.name).resolve() for member in members]
    if len(set(files)) < len(files):
        twice = next(m.name for m, f in zip(members, files) if files.count(f) > 1)
        raise StillmotionError(f"{twice} is given twice; name each model once, and use --weights to count one more")
    if (out / "ensemble_predictions.jsonl").resolve() in files:
        raise StillmotionError(f"{out} holds one of the models; choose another --out")
