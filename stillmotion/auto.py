"""Which head for these clips? Candidates on folds of the training clips, the winner once on the held-out ones."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.candidates import Candidate, average_of, choose, drop_worse
from stillmotion.data.folds import folds
from stillmotion.data.source import Data
from stillmotion.errors import StillmotionError, at_least, did_you_mean
from stillmotion.eval.order import OrderTest
from stillmotion.experiment import Result, make_caches
from stillmotion.files import write_json
from stillmotion.progress import duration, is_main_process, say
from stillmotion.recipes.auto import CANDIDATES, COMBINATIONS
from stillmotion.recipes.base import HERE, Place, Recipe, declared, plain
from stillmotion.search import Search
from stillmotion.training.loop import Callback


@dataclass(frozen=True, kw_only=True)
class Auto:
    """How the choice is made, and what all candidates share."""

    folds: int = 3
    """Folds of the training clips; fewer where a class has fewer clips (or groups)."""
    candidates: tuple[str, ...] = tuple(CANDIDATES)
    """Names of candidates."""
    all_folds: bool = False
    """Train every candidate on every fold; else one that is clearly worse on the first is dropped."""
    backbone: str = "auto"
    """The pretrained model, as for a recipe."""
    runtime: str = "auto"
    """How it runs, as for a recipe; fp32 is exact."""
    num_frames: int = 8
    """Frames read from each video."""
    epochs: int | None = None
    """Passes over the training clips; None: as each recipe has it."""
    seed: int = 0
    """Of the split, the folds and training."""
    device: str = "auto"
    """Where to run: cpu, cuda, cuda:1, ..., mps; auto: the GPU if there is one."""
    workers: int | None = None
    """Processes that decode; None: 0 on a CPU, 8 with a GPU."""
    save_minutes: float = 2.0
    """Minutes between saved states to resume from; 0: every step."""

    def __post_init__(self) -> None:
        at_least(2, self, "folds")
        at_least(1, self, "num_frames", "epochs")
        for name in self.candidates:
            if name not in CANDIDATES:
                raise StillmotionError(f"there is no candidate {name!r}{did_you_mean(name, CANDIDATES)}")
        if not self.candidates:
            raise StillmotionError(f"there are no candidates; choose from {', '.join(CANDIDATES)}")

    def recipes(self) -> dict[str, Recipe[Any]]:
        """The candidates as recipes, in the order of the table: cheap ones first."""
        return {name: self._recipe(maker()) for name, maker in CANDIDATES.items() if name in self.candidates}

    def _recipe(self, recipe: Recipe[Any]) -> Recipe[Any]:
        names = ("seed", "device", "workers", "save_minutes", "epochs")
        shared: dict[str, Any] = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.epochs is not None:  # the same part of a shorter run
            shared["warmup"] = recipe.train.warmup * self.epochs / recipe.train.epochs
        return replace(
            recipe,
            method=replace(recipe.method, num_frames=self.num_frames),
            train=replace(recipe.train, **shared, eval_every=0),
            backbone=self.backbone,
            runtime=self.runtime,
        )


@dataclass(frozen=True)
class Choice:
    """What `auto` found: the candidates, the winner, its run, and what of its accuracy is order."""

    candidates: Sequence[Candidate]
    winner: Candidate
    reason: str
    """Why it is that one, as a sentence."""
    result: Result
    order: OrderTest

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in auto.json."""
        report = self.result.report
        held_out = {"top1": report.top1, "mean_class": report.mean_class, "videos": report.scored}
        return {
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "winner": self.winner.name,
            "reason": self.reason,
            "held_out": held_out,
            "order": self.order.to_dict(),
        }


def auto(options: Auto, data: Data, place: Place = HERE, callback: Callback | None = None) -> Choice:
    """Choose a head for labeled clips by folds of the training clips, train it on all of them, test it once.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there, and what is finished is kept.

    The backbone runs once over every clip. On a fold the candidates are trained together, so that a clip is read from
    the cache once for all. Those that are worse than the best of the first fold (a sign test on the clips that one of
    the two gets right, at one in a hundred) are not trained on the others. Averages of two that are left are candidates
    too. Of those whose mean is within one standard error of the best mean the one with the fewest trained parameters
    wins (`candidates.choose`).

    `callback` is called with every line of the metrics of the training on all clips.
    """
    out = place.out or Path("runs") / "auto"
    place = replace(place, out=out)
    asked = options.recipes()
    caches = make_caches(next(iter(asked.values())), place)
    search = Search(asked, data, place, caches)
    parts = folds(search.clips[0], options.folds, options.seed, data.group)
    with contextlib.closing(search.claim(plain(options), plain(declared(options)))):
        search.encode()
        candidates = [Candidate(name, (recipe,)) for name, recipe in search.recipes.items()]
        for number, part in enumerate(parts, start=1):
            left = [candidate for candidate in candidates if not candidate.dropped]
            if number > 1 and len(left) == 1 < len(candidates):
                say(f"{left[0].name} alone is left; no more folds are needed")
                break
            say(f"fold {number} of {len(parts)}: {len(part[0])} clips to train, {len(part[1])} to compare")
            started = time.monotonic()
            search.fold(left, part, number)
            if number == 1 and not options.all_folds:
                drop_worse([candidate for candidate in left if not candidate.dropped])
            if number < len(parts):
                some = f"{len(parts) - number} more fold{'s' * (len(parts) - number > 1)}"
                say(f"{some}, of up to {duration(time.monotonic() - started)} each")
        kept = {candidate.name: candidate for candidate in candidates if not candidate.dropped}
        together = [average_of([kept[n] for n in names]) for names in COMBINATIONS if kept.keys() >= {*names}]
        winner, reason = choose([*kept.values(), *together])
        say(f"{reason} Training {winner.name} on all {len(search.clips[0])} training clips")
        recipe, result = search.train(winner.recipes, callback)
        table = [candidate for candidate in candidates if candidate.scores]
        choice = Choice([*table, *together], winner, reason, result, search.other_orders(recipe, result))
        if is_main_process():
            write_json(out / "auto.json", choice.to_dict())
    return choice
