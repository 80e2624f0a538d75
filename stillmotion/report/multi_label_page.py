"""The part of a run's page that differs where videos have several labels: average precision of every class."""

from stillmotion.eval.multi_label import MultiLabelReport
from stillmotion.report.page import NOTHING, Bar, Cell, Table


def per_class_ap(report: MultiLabelReport) -> Table:
    """Average precision, precision, recall and F1 of every class, the worst first; those without videos at the end."""

    def bar(value: float | None, of: int = 1) -> Cell:
        return Bar(f"{100 * value:.0f} %", value) if of and value is not None else NOTHING

    ap, support = report.average_precision, report.support
    order = sorted(range(len(ap)), key=lambda k: (ap[k] is None, ap[k] or 0.0))
    return Table(
        ("class", "videos", "average precision", "at random", "precision", "recall", "F1"),
        [
            (
                report.classes[k],
                str(support[k]),
                bar(ap[k]),
                bar(support[k] / report.scored, support[k]),
                bar(report.precision[k]),
                bar(report.recall[k], support[k]),
                bar(report.f1[k], support[k]),
            )
            for k in order
        ],
    )
