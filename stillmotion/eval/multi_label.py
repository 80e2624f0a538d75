"""Numbers where videos have several labels: average precision of every class, and what a threshold finds."""

from collections.abc import Mapping
from dataclasses import dataclass

from stillmotion.errors import StillmotionError
from stillmotion.eval.intervals import wilson
from stillmotion.eval.report import Report, Scores

THRESHOLD = 0.5
"""Probability from which on a class counts as found."""


@dataclass(frozen=True, kw_only=True, repr=False)
class MultiLabelReport(Report):
    """Numbers of one evaluation on videos with several labels.

    `top1` is the part of the videos whose most probable class is one of theirs; `mean_class` the mean recall of classes
    that occur; precision, recall and F1 are at `THRESHOLD`; there is no confusion.
    """

    mean_ap: float
    """Mean of the average precisions of the classes that occur."""
    average_precision: tuple[float | None, ...]
    """Of every class (scikit-learn's, no interpolation); None for one without videos."""
    without_positives: int
    """Classes without videos, which `mean_ap` leaves out."""

    @classmethod
    def of_targets(cls, scores: Scores, classes: tuple[str, ...]) -> "MultiLabelReport":
        """Compute the numbers of scores with `targets`. Raises `StillmotionError`: no video has a label."""
        from sklearn.metrics import average_precision_score  # takes a second that others need not wait

        assert scores.targets is not None
        p, y, N = scores.probabilities.double(), scores.targets.bool(), len(scores.targets)
        support, called, found = y.sum(dim=0), (p >= THRESHOLD).sum(dim=0), (y & (p >= THRESHOLD)).sum(dim=0).double()
        if not bool(support.any()):
            raise StillmotionError("no video that could be read has a label of the model; check the list's labels")
        ap = [
            float(average_precision_score(y[:, k].numpy(), p[:, k].numpy())) if support[k] else None
            for k in range(len(classes))
        ]
        known = [value for value in ap if value is not None]
        recall = found / support.clamp(min=1)
        hits = int(y.gather(1, p.argmax(dim=1, keepdim=True)).sum())
        return cls(
            classes=classes,
            videos=scores.total,
            scored=N,
            bad=tuple({"path": b.path, "reason": b.reason} for b in scores.bad),
            top1=hits / N,
            top1_interval=wilson(hits, N),
            top5=y.gather(1, p.topk(min(5, len(classes))).indices).any(dim=1).double().mean().item(),
            mean_class=recall[support > 0].mean().item(),
            support=tuple(support.tolist()),
            precision=tuple((found / called.clamp(min=1)).tolist()),
            recall=tuple(recall.tolist()),
            f1=tuple((2 * found / (support + called).clamp(min=1)).tolist()),
            confusion=(),
            seconds=scores.seconds,
            mean_ap=sum(known) / len(known),
            average_precision=tuple(ap),
            without_positives=len(ap) - len(known),
        )

    @property
    def counted(self) -> int:
        """Classes that `mean_ap` is the mean of."""
        return len(self.classes) - self.without_positives

    def __repr__(self) -> str:
        return f"<MultiLabelReport: mAP {100 * self.mean_ap:.1f} %, {self.scored} videos, {self.counted} classes>"

    def __str__(self) -> str:
        skipped = f", {len(self.bad)} of {self.videos} videos could not be read" if self.bad else ""
        left = f" ({self.without_positives} without videos left out)" if self.without_positives else ""
        return (
            f"mAP {100 * self.mean_ap:.1f} % over {self.counted} classes{left}, most probable class right "
            f"{100 * self.top1:.1f} % on {self.scored} videos{skipped}"
        )


def report_of(scores: Scores, classes: tuple[str, ...], orders: Mapping[str, Scores] | None = None) -> Report:
    """The numbers of scores, whether videos have one label or several.
    Raises `StillmotionError`: several, and other orders of frames, whose test is of one.
    """
    if scores.targets is None:
        return Report.of(scores, classes, orders)
    if orders:
        raise StillmotionError("the order test is of videos with one label, and these have several; leave it out")
    return MultiLabelReport.of_targets(scores, classes)


def headline(report: Report) -> dict[str, float]:
    """What the metrics say of an evaluation, the number that epochs are chosen by first."""
    found = {name: getattr(report, name) for name in ("top1", "top5", "mean_class")}
    return {"mean_ap": report.mean_ap} | found if isinstance(report, MultiLabelReport) else found
