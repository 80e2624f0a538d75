"""`stillmotion compare A B`: switches that differ, the difference on the same videos; or A beside papers."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, at_least

if TYPE_CHECKING:
    from stillmotion.compare import Comparison
    from stillmotion.published.read import Number
    from stillmotion.report.runs import Run

SHOWN = 60
"""Characters of a switch's value on the screen."""


@dataclass(frozen=True, kw_only=True)
class Compare:
    """Compare two finished runs on the same videos, or one with published numbers."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Folders of finished runs, or their predictions.jsonl or eval_predictions.jsonl; one with --published."""
    common: bool = False
    """Compare the videos that both have, where each has others too."""
    group: str | None = None
    """Regular expression that finds a video's recording in its path; whole recordings are drawn by the bootstrap."""
    seed: int = 0
    """Of the bootstrap."""
    resamples: int = 2000
    """Draws of the bootstrap."""
    published: bool = False
    """Set one run beside the numbers of the literature for --data and --setting."""
    data: str | None = None
    """With --published, the data set (UCF101); None: the one that the run's data is named after."""
    setting: str | None = None
    """With --published: supervised, zero-shot, base-to-novel or few-shot; None: all."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        at_least(1, self, "resamples")
        at_least(0, self, "seed")
        if len(self.runs) != (wanted := 1 if self.published else 2):
            raise StillmotionError(
                f"{len(self.runs)} run{'s' * (len(self.runs) != 1)} to compare; name "
                + ("one with --published" if wanted == 1 else "two, or one with --published")
            )
        if not self.published and (self.data or self.setting):
            raise StillmotionError("--data and --setting choose published numbers; pass --published, or leave them out")


def run(words: Sequence[str]) -> None:
    """Compare and print."""
    options: Compare = parse(Compare, words, "stillmotion compare")
    from stillmotion.report.runs import read_run

    runs = [read_run(path) for path in options.runs]
    if options.published:
        _beside(options, runs[0])
        return
    from stillmotion.compare import compare

    group = options.group if options.group is not None else _group(runs)
    found = compare(runs[0], runs[1], options.common, group, options.seed, options.resamples)
    if options.json:
        print(json.dumps(found.to_dict()))
    else:
        _print(found)


def _group(runs: "Sequence[Run]") -> str | None:
    """What both runs were split by, where that is one thing and names a source for every video."""
    from stillmotion.eval.bootstrap import sources_of

    groups = {run.config.get("data", {}).get("group") for run in runs if isinstance(run.config.get("data"), dict)}
    (group,) = groups if len(groups) == 1 else (None,)
    try:
        return group if group is not None and sources_of(runs[0].predictions, group) else None
    except StillmotionError:  # of one source, or of clips that are named otherwise: videos are drawn, as is printed
        return None


def _print(found: "Comparison") -> None:
    from stillmotion.cli.table import show

    if found.switches:
        rows = [(s.name, _short(s.first), _short(s.second)) for s in found.switches]
        show(("switch", found.first.run, found.second.run), rows, words=3, wide=True)
    else:
        print("no switch differs")
    print()
    sides = [
        (s.run, _percent(s.top1), _ends(s.top1_interval), _percent(s.mean_class), _ends(s.mean_class_interval))
        for s in (found.first, found.second)
    ]
    show(("run", "top-1 %", "95 %, bootstrap", "mean class %", "95 %, bootstrap"), sides, wide=True)
    others = max(found.first.scored, found.second.scored) - found.videos
    drawn = f", {found.sources} recordings drawn" if found.sources != found.videos else ""
    left = f" that both have; {found.first.scored} and {found.second.scored} scored" if others else ""
    print(f"\non {found.videos} videos{left}{drawn}")
    ends = _ends(found.difference_interval)
    print(f"difference {100 * found.difference:+.1f} points (paired bootstrap, 95 %: {ends}); "
          f"only the first is right on {found.only_first}, only the second on {found.only_second}: "
          f"p = {found.p_value:.2g} (McNemar, exact)")  # fmt: skip


def _short(value: Any) -> str:
    text = json.dumps(value)
    return (text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}...").replace("[", r"\[")


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _ends(interval: tuple[float, float]) -> str:
    return " to ".join(map(_percent, interval))


def _beside(options: Compare, run: "Run") -> None:
    """The run's top-1 among published ones."""
    from stillmotion.eval.bootstrap import Outcomes, accuracy_interval, sources_of

    rows = literature(options, run)
    outcomes = Outcomes.of(run.predictions, sources_of(run.predictions, options.group))
    interval, top1 = accuracy_interval(outcomes, "top1", options.seed, options.resamples), run.report.top1
    videos = len(run.predictions.paths)
    if options.json:
        mine = {"run": str(run.folder), "method": run.method, "top1": top1, "top1_interval": interval}
        print(json.dumps({"run": mine | {"videos": videos}, "published": [asdict(row) for row in rows]}))
        return
    from stillmotion.cli.published import show_numbers

    print(f"{run.folder}: top-1 {_percent(top1)} % (bootstrap, 95 %: {_ends(interval)}) on {videos} videos")
    below = sum(row.value < 100 * top1 for row in rows)
    print(f"above {below} of these {len(rows)}, if split, frames and class names are theirs\n")
    show_numbers(rows)


def literature(options: Compare, run: "Run") -> "list[Number]":
    """Published top-1 of the data set and the setting, without numbers from memory and wrong ones.
    Raises `StillmotionError`: the data set is not known, or there are no numbers.
    """
    from stillmotion.published.read import dataset_of, published, select

    where = str(run.config.get("data", {}).get("data", "")) or str(run.numbers.get("config", {}).get("data", ""))
    data = options.data or dataset_of(where)
    if data is None:
        raise StillmotionError(
            f"the run's data, {where or 'not recorded'}, names no known data set; pass --data UCF101"
        )
    rows = select(published(), dataset=data, setting=options.setting, metric="top-1")
    good = [row for row in rows if row.status not in ("unverified", "erratum")]
    if not good:
        raise StillmotionError(f"all published numbers of {data!r} are from memory or wrong; see stillmotion results")
    return good
