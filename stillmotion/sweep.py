"""Many settings of one recipe, trained over the same passes of the feature cache."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.data.multi_label import refuse_several
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError
from stillmotion.experiment import Job, Result, fit_together, make_caches, refuse_untrained
from stillmotion.files import write_json
from stillmotion.progress import is_main_process, say
from stillmotion.recipes.base import HERE, Place, Recipe
from stillmotion.training.learner import Diverged

Values = Mapping[str, str]
"""What sets a model of a sweep apart: values of options, by name."""


@dataclass(frozen=True)
class Setting:
    """One row of a sweep: what was set, and the result of every run with it (several where seeds were swept)."""

    values: Values
    results: tuple[Result, ...]

    @property
    def mean(self) -> float:
        """Mean top-1 over the runs, in [0, 1]."""
        return statistics.fmean(r.report.top1 for r in self.results)

    @property
    def spread(self) -> float | None:
        """Standard deviation of top-1 over the runs; None: there is one."""
        return statistics.stdev(r.report.top1 for r in self.results) if len(self.results) > 1 else None


def sweep(
    settings: Sequence[tuple[Values, Recipe[Any]]], data: Data, place: Place = HERE, name: str = "sweep"
) -> list[Setting]:
    """Train every setting, evaluate each on the validation clips, and write `sweep.json`; best first.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there, and what is finished is kept.

    Each model lies in a folder of its own inside `place.out`, with the bits that it would have from training it alone.
    A setting whose loss is not finite is named in `sweep.json`, and the others are trained.
    Where clips are split off for validation, the seed decides which, as it does in training alone.
    """
    out = place.out or Path("runs") / name
    for _, recipe in settings:
        refuse_untrained(recipe)
    caches = make_caches(settings[0][1], place)
    clips = {seed: load_data(data, seed, caches.digests) for seed in {r.train.seed for _, r in settings}}
    for train, _ in clips.values():
        refuse_several(train, "a sweep")
    if len({tuple(clip.path for clip in val.clips) for _, val in clips.values()}) > 1:
        say("each seed splits off validation clips of its own; pass --val to score every model on the same")
    jobs = [
        Job(recipe=r, clips=clips[r.train.seed], data=data, place=replace(place, out=out / folder_name(values)))
        for values, r in settings
    ]
    for (one, a), (other, b) in itertools.combinations(settings, 2):
        if a == b:
            same = " and ".join(" ".join(f"{n} {v}" for n, v in values.items()) for values in (one, other))
            raise StillmotionError(f"{same} are one setting; give each value once")
    file = out / "sweep.json"
    if is_main_process():
        file.unlink(missing_ok=True)  # of an earlier sweep
    results = fit_together(jobs, caches, keep=True)
    good = [(values, r) for (values, _), r in zip(settings, results) if isinstance(r, Result)]
    failed = [(values, r) for (values, _), r in zip(settings, results) if isinstance(r, Diverged)]
    if not good:
        raise failed[0][1]
    rows = _by_setting(good)
    if is_main_process():
        diverged = [{"values": dict(values), "error": str(error)} for values, error in failed]
        write_json(file, {"settings": [_plain(row, out) for row in rows], "diverged": diverged})
    return rows


def folder_name(values: Values) -> str:
    """The folder of a setting, such as `lr-0.001_seed-0`."""
    return "_".join(f"{name}-{value}".replace("/", "-").replace(":", "-") for name, value in values.items())


def _by_setting(found: Sequence[tuple[Values, Result]]) -> list[Setting]:
    grouped: dict[tuple[tuple[str, str], ...], list[Result]] = {}
    for value, result in found:
        grouped.setdefault(tuple((k, v) for k, v in value.items() if k != "seed"), []).append(result)
    rows = [Setting(dict(key), tuple(results)) for key, results in grouped.items()]
    return sorted(rows, key=lambda row: -row.mean)


def _plain(row: Setting, out: Path) -> dict[str, Any]:
    runs = [
        {
            "folder": result.folder.path.relative_to(out).as_posix(),
            "top1": result.report.top1,
            "mean_class": result.report.mean_class,
            "parameters": result.trained_parameters,
            "seconds": result.seconds,
        }
        for result in row.results
    ]
    return {"values": dict(row.values), "mean": row.mean, "spread": row.spread, "runs": runs}
