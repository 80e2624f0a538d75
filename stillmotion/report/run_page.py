"""The page of one run: what it got right, what it got wrong, and how it was made."""

from pathlib import Path

from stillmotion.classifier import Classifier, load
from stillmotion.errors import StillmotionError
from stillmotion.eval.multi_label import THRESHOLD, MultiLabelReport
from stillmotion.report.about import about
from stillmotion.report.choice import choice
from stillmotion.report.examples import example, mistakes, with_frames
from stillmotion.report.figures import COLORS, DASHES, curves_figures
from stillmotion.report.multi_label_page import per_class_ap
from stillmotion.report.page import confusion, per_class, write_page
from stillmotion.report.runs import TRAINED, Run
from stillmotion.report.similar import side_by_side, similarity

SHOWN, LISTED, CONFUSED = 6, 200, 6
"""Mistakes shown with their frames, and listed at most; pairs of classes that are named."""


def write_run_page(run: Run, classifier: Classifier | None = None, page: Path | None = None) -> Path:
    """Write the page of a run, in its folder unless `page` says where, and return its path.
    Raises `StillmotionError`: a file of the run is damaged, or the disk is full.

    Args:
        classifier: the model, where it is at hand; None: it is loaded from the run, if there are mistakes to look at.
    """
    predictions, report = run.predictions, run.report
    if isinstance(report, MultiLabelReport):
        return _write_multi_label(run, report, page or run.page)
    p, labels = predictions.probabilities.numpy(), predictions.labels.numpy()
    order = side_by_side(similarity(report.confusion, p, labels))
    wrong = [example(predictions, place) for place in mistakes(predictions)]
    page, no_model = page or run.page, ""
    if wrong and classifier is None:
        classifier, no_model = _model(run)
    figures = curves_figures({run.name: run.metrics})
    write_page(
        page,
        "run",
        title=_title(run),
        run=run,
        report=report,
        recordings=_recordings(run),
        usual=max(report.support) / report.scored,
        classes=per_class(report, order),
        confusion=confusion(report.confusion, report.classes, order),
        pairs=confused(run),
        wrong=list(with_frames(wrong[:SHOWN], classifier)),
        listed=wrong[:LISTED],
        total_wrong=len(wrong),
        no_model=no_model,
        figures=figures,
        colors=COLORS,
        dashes=DASHES,
        facts=about(run),
        command=run.origin.get("command", ""),
        **choice(run.auto, run.numbers.get("order")),
    )
    return page


def _recordings(run: Run) -> tuple[int, float, float] | None:
    """How many whole recordings the number's card drew for an interval, and its ends; None: it drew videos."""
    found = run.numbers.get("card", {}).get("intervals", {})
    if not str(found.get("drawn", "")).startswith("recordings"):
        return None
    return found["draws_of"], *found["bootstrap_top1"]


def _write_multi_label(run: Run, report: MultiLabelReport, page: Path) -> Path:
    """The page where videos have several labels, and no class is taken for another."""
    write_page(
        page,
        "multi_label",
        title=_title(run),
        run=run,
        report=report,
        threshold=THRESHOLD,
        classes=per_class_ap(report),
        figures=curves_figures({run.name: run.metrics}),
        colors=COLORS,
        dashes=DASHES,
        facts=about(run),
        command=run.origin.get("command", ""),
    )
    return page


def confused(run: Run) -> list[tuple[str, str, int, int]]:
    """The most frequent mistakes: true class, predicted class, how many videos, of how many of the true class."""
    report, classes = run.report, run.report.classes
    cells = [(count, i, j) for i, row in enumerate(report.confusion) for j, count in enumerate(row) if i != j and count]
    cells.sort(key=lambda cell: (-cell[0] / report.support[cell[1]], -cell[0], cell[1], cell[2]))
    return [(classes[i], classes[j], count, report.support[i]) for count, i, j in cells[:CONFUSED]]


def _model(run: Run) -> tuple[Classifier | None, str]:
    """The model of a run, or why it cannot be asked."""
    if run.model is None:
        return None, "the model's file is not there, so plain frames are shown"
    try:
        return load(run.model), ""
    except StillmotionError as error:
        return None, f"the model cannot be loaded, so plain frames are shown ({error})"


def _title(run: Run) -> str:
    data = run.config.get("data", {}) if run.kind is TRAINED else run.numbers.get("config", {})
    what = Path(str(data.get("val") or data.get("data") or run.folder)).name
    if run.kind is TRAINED:
        return f"{run.method or run.name} on {what}"
    model = str(data.get("model", run.name))
    path = Path(model)
    return f"{path.parent.name or path.stem if path.suffix == '.safetensors' else model} on {what}"
