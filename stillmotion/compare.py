"""Two finished runs: which switches differ, and whether the difference on the same videos can be luck."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from stillmotion.eval.bootstrap import RESAMPLES, Outcomes, accuracy_interval, difference_interval, sources_of
from stillmotion.eval.ensemble import align, common
from stillmotion.eval.intervals import Interval, Paired
from stillmotion.eval.report import Predictions, Report
from stillmotion.report.runs import EVALUATED, Run, flat
from stillmotion.training.run_folder import FREE

# Options of an evaluation that decide no number, or whose content is compared: classes, videos.
_FREE_IN_EVALUATION = {"model", "data", "root", "labels", "text_features", "cache", "out", "report"}
_FREE_IN_EVALUATION |= {"device", "workers", "batch_views", "max_bad"}


@dataclass(frozen=True)
class Switch:
    """An option that two runs have another value of; None where a run does not have it."""

    name: str
    first: Any
    second: Any


@dataclass(frozen=True, kw_only=True)
class Side:
    """One run on the videos that are compared; accuracies are in [0, 1], with 95 % bootstrap intervals."""

    run: str
    scored: int
    """Videos that the run itself scored."""
    top1: float
    top1_interval: Interval
    mean_class: float
    mean_class_interval: Interval


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two runs on the same videos; `difference` is the top-1 of the first less that of the second, in [-1, 1]."""

    first: Side
    second: Side
    videos: int
    sources: int
    """What was drawn: recordings, or the videos where these are not known."""
    switches: tuple[Switch, ...]
    difference: float
    difference_interval: Interval
    """Paired bootstrap, 95 %."""
    mean_class_difference_interval: Interval
    only_first: int
    """Videos that the first alone gets right."""
    only_second: int
    p_value: float
    """McNemar's exact test, two-sided."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def compare(
    first: Run,
    second: Run,
    shared: bool = False,
    group: str | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compare two runs.
    Raises `DataError`: they scored other videos (and not `shared`), have other classes, or disagree on labels.

    Args:
        shared: compare the videos that both scored, where each has others too.
        group: regular expression that finds a video's recording in its path; recordings are drawn then.
    """
    found = [first.predictions, second.predictions]
    (a, b), _ = align(common(found) if shared else found, ", or pass --common to compare what both have")
    sources = sources_of(a, group)
    one, other = Outcomes.of(a, sources), Outcomes.of(b, sources)
    paired = Paired.of([bool(x) for x in one.right], [bool(x) for x in other.right])
    return Comparison(
        first=_side(first, a, one, seed, resamples),
        second=_side(second, b, other, seed, resamples),
        videos=paired.videos,
        sources=one.num_sources,
        switches=tuple(switches(first, second)),
        difference=paired.difference,
        difference_interval=difference_interval(one, other, "top1", seed, resamples),
        mean_class_difference_interval=difference_interval(one, other, "mean_class", seed, resamples),
        only_first=paired.only_first,
        only_second=paired.only_second,
        p_value=paired.p_value,
    )


def _side(run: Run, scores: Predictions, outcomes: Outcomes, seed: int, resamples: int) -> Side:
    report = Report.of(scores, scores.classes)
    return Side(
        run=str(run.folder),
        scored=len(run.predictions.paths),
        top1=report.top1,
        top1_interval=accuracy_interval(outcomes, "top1", seed, resamples),
        mean_class=report.mean_class,
        mean_class_interval=accuracy_interval(outcomes, "mean_class", seed, resamples),
    )


def switches(first: Run, second: Run) -> Iterator[Switch]:
    """The options that differ in meaning: not where things lie, nor on which device.

    A backbone's name is a place; it counts where the weights themselves differ, by their hash.
    """
    a, b = settings(first), settings(second)
    same_weights = first.config.get("backbone") == second.config.get("backbone")
    named = a.get("recipe.backbone") != b.get("recipe.backbone")
    for name in sorted(a.keys() | b.keys()):
        hidden = (name == "backbone" and named) or (
            name == "recipe.backbone" and same_weights and "backbone" in first.config
        )
        if not hidden and a.get(name) != b.get(name):
            yield Switch(name, a.get(name), b.get(name))


def settings(run: Run) -> dict[str, Any]:
    """What decided a run's numbers, by dotted names: its resolved configuration, and the options of an evaluation."""
    free = tuple(name for name in FREE if name != "recipe.backbone")
    found = {name: x for name, x in flat(run.config) if not any(name == f or name.startswith(f"{f}.") for f in free)}
    evaluation = run.numbers.get("config") if run.kind is EVALUATED else None
    if isinstance(evaluation, dict):
        found |= {f"eval.{name}": x for name, x in evaluation.items() if name not in _FREE_IN_EVALUATION}
    return found
