"""The page of what has just ended, a run or a benchmark: written where it can be, never in the way of the results."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from stillmotion.errors import StillmotionError, one_line
from stillmotion.progress import say

if TYPE_CHECKING:
    from stillmotion.classifier import Classifier


def write_run_report(folder: Path, classifier: "Classifier | None" = None, *, evaluation: bool = False) -> Path | None:
    """Write the page of a run whose results are in its folder; what stands in the way is said in one line.

    Args:
        folder: of the run.
        classifier: the model, where it is at hand; None: the run's model.safetensors is loaded, if it has mistakes.
        evaluation: write eval_report.html of `stillmotion eval`, not report.html of `stillmotion train`.

    Returns:
        The page, or None where none was written: the extra `report` is missing, say.
    """

    def write() -> Path:
        from stillmotion.report.run_page import write_run_page
        from stillmotion.report.runs import EVALUATED, TRAINED, read_runs

        say("writing the page, for which the worst mistakes are looked at once more")
        kind = EVALUATED if evaluation else TRAINED
        return write_run_page(next(run for run in read_runs(folder, several=True) if run.kind is kind), classifier)

    return _or_say_why(write, folder)


def write_bench_report(folder: Path) -> Path | None:
    """Write the page of a benchmark, in the same way."""

    def write() -> Path:
        from stillmotion.report.bench_page import write_bench_page

        return write_bench_page(folder)

    return _or_say_why(write, folder)


def _or_say_why(write: Callable[[], Path], folder: Path) -> Path | None:
    try:
        return write()
    except StillmotionError as error:
        say(f"no page was written: {error}")
    except Exception as error:  # a bug in a page must not end a run; the command gives its traceback
        say(f"no page was written ({one_line(repr(error))}); stillmotion report {folder} shows where it fails")
    return None
