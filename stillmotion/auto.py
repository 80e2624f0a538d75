"""Which head for these clips? Candidates on folds of the training clips, the winner once on the held-out ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillmotion.average import average, averaged
from stillmotion.candidates import Candidate, average_of, choose, drop_worse
from stillmotion.checkpoint import Card, load_model
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.folds import folds
from stillmotion.data.manifest import Manifest
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError, at_least, did_you_mean
from stillmotion.eval.order import OrderTest, order_test
from stillmotion.experiment import Job, Result, fit_together, make_caches
from stillmotion.files import write_json
from stillmotion.models.features import Reads
from stillmotion.models.order import ORDERS, frame_order
from stillmotion.progress import say
from stillmotion.recipes.auto import CANDIDATES, COMBINATIONS
from stillmotion.recipes.base import HERE, Place, Recipe
from stillmotion.source import Caches, FeatureSource
from stillmotion.training.accelerator import make_accelerator
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
        shared: dict[str, Any] = {
            name: getattr(self, name) for name in ("seed", "device", "workers", "save_minutes", "epochs")
        }
        if self.epochs is None:
            del shared["epochs"]
        return replace(
            recipe,
            method=replace(recipe.method, num_frames=self.num_frames),
            train=replace(recipe.train, **shared, eval_every=0),
            backbone=self.backbone,
        )


@dataclass(frozen=True)
class Choice:
    """What `auto` found: the candidates, the winner, its run, and what of its accuracy is order."""

    candidates: Sequence[Candidate]
    winner: Candidate
    result: Result
    order: OrderTest

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as in auto.json."""
        report = self.result.report
        held_out = {"top1": report.top1, "mean_class": report.mean_class, "videos": report.scored}
        return {
            "candidates": [candidate.to_dict() for candidate in self.candidates],
            "winner": self.winner.name,
            "held_out": held_out,
            "order": self.order.to_dict(),
        }


def auto(options: Auto, data: Data, place: Place = HERE, callback: Callback | None = None) -> Choice:
    """Choose a head for labeled clips by folds of the training clips, train it on all of them, test it once.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there, and what is finished is kept.

    The backbone runs once over every clip. On a fold the candidates are trained together, so that a clip is read from
    the cache once for all. Those that are worse than the best of the first fold beyond doubt (a sign test on the clips
    that one of the two gets right) are not trained on the others. Averages of two that are left are candidates too. Of
    those whose mean is within one standard error of the best mean the one with the fewest trained parameters wins
    (Breiman et al., 1984, section 3.4.3).

    `callback` is called with every line of the metrics of the training on all clips.
    """
    out = place.out or Path("runs") / "auto"
    place = replace(place, out=out)
    asked = options.recipes()
    caches = make_caches(next(iter(asked.values())), place)
    recipes = usable(asked, place, caches)
    clips = load_data(data, options.seed, caches.digests)
    parts = folds(clips[0], options.folds, options.seed, data.group)
    encode(list(recipes.values()), clips, data, place, caches)
    candidates = [Candidate(name, (recipe,)) for name, recipe in recipes.items()]
    for number, part in enumerate(parts, start=1):
        left = [candidate for candidate in candidates if not candidate.dropped]
        if number > 1 and len(left) == 1:
            say(f"{left[0].name} is the best beyond doubt; no more folds are needed")
            break
        say(f"fold {number} of {len(parts)}: {len(part[0])} clips to train, {len(part[1])} to compare")
        _train_fold(left, part, data, place, caches, number)
        if number == 1 and not options.all_folds:
            drop_worse(left)
    kept = {candidate.name: candidate for candidate in candidates if not candidate.dropped}
    together = [average_of([kept[n] for n in names]) for names in COMBINATIONS if kept.keys() >= {*names}]
    winner = choose([*kept.values(), *together])
    say(f"training {winner.name} on all {len(clips[0])} training clips")
    recipe, result = train_winner(winner, clips, data, place, caches, callback)
    orders = other_orders(result, recipe, clips, place, caches)
    choice = Choice([*candidates, *together], winner, result, orders)
    write_json(out / "auto.json", choice.to_dict())
    return choice


def train_winner(
    winner: Candidate,
    clips: tuple[Manifest, Manifest],
    data: Data,
    place: Place,
    caches: Caches,
    callback: Callback | None,
) -> tuple[Recipe[Any], Result]:
    """Train the winner on all training clips, and score it once; an average is trained part by part."""
    assert place.out is not None
    if len(winner.recipes) == 1:
        job = Job(recipe=winner.recipes[0], clips=clips, data=data, place=place)
        return job.recipe, fit_together([job], caches, True, callback)[0]
    jobs = []
    for number, recipe in enumerate(winner.recipes, start=1):
        there = replace(place, out=place.out / "parts" / str(number))
        jobs.append(Job(recipe=recipe, clips=clips, data=data, place=there))
    job = Job(recipe=averaged(winner.recipes), clips=clips, data=data, place=place)
    return job.recipe, average(job, fit_together(jobs, caches, True, callback))


def usable(recipes: Mapping[str, Recipe[Any]], place: Place, caches: Caches) -> dict[str, Recipe[Any]]:
    """The candidates that read what the backbone gives; the others are named.
    Raises `StillmotionError`: there is none.
    """
    found: dict[str, Recipe[Any]] = {}
    refused = StillmotionError("there are no candidates")
    weights = caches.weights(next(iter(recipes.values())), place.start_from)
    for name, recipe in recipes.items():
        try:
            weights.backbone.check(recipe.method.reads())
        except StillmotionError as error:
            refused = error
            say(f"{name} is left out: {error}")
        else:
            found[name] = recipe
    if not found:
        raise refused
    return found


def encode(
    recipes: Sequence[Recipe[Any]], clips: tuple[Manifest, Manifest], data: Data, place: Place, caches: Caches
) -> None:
    """Fill the cache with what all candidates read, and with the affinities of other orders of the held-out clips."""
    assert place.out is not None
    first, reads = recipes[0], Reads()
    for recipe in recipes:
        reads |= recipe.method.reads()
    weights = caches.weights(first, place.start_from)
    bad = BadVideos(place.out / "bad_videos.jsonl", sum(map(len, clips)), data.max_bad)
    source = FeatureSource(first, weights, clips, caches, make_accelerator(first.train), bad)
    source.fill(reads, val=reads | Reads(orders=tuple(order for order in ORDERS if order != "reversed")))


def other_orders(
    result: Result, recipe: Recipe[Any], clips: tuple[Manifest, Manifest], place: Place, caches: Caches
) -> OrderTest:
    """Test the winner with the frames of the held-out clips in other orders: from the cache, where its backbone sees
    every frame alone, else from the videos.
    """
    model, card = load_model(result.folder.model)
    accelerator = make_accelerator(recipe.train)
    orders: dict[str, Any]
    if sees_frames_alone(card):
        weights = caches.weights(recipe, place.start_from)
        bad = BadVideos(None, sum(map(len, clips)), 1.0)
        features = FeatureSource(recipe, weights, clips, caches, accelerator, bad).val
        orders = {order: features.reordered(order) for order in ORDERS}
    else:
        T = recipe.method.num_frames
        videos = VideoDataset(clips[1], T, card.sampling, card.preprocess)
        orders = {order: videos.reordered(frame_order(order, T)) for order in ORDERS}
    return order_test(model.to(accelerator.device), result.report, orders, accelerator)


def sees_frames_alone(card: Card) -> bool:
    """Whether another order of frames is the same order of the backbone's outputs."""
    return card.backbone.time_stride == 1


def _train_fold(
    candidates: Sequence[Candidate],
    clips: tuple[Manifest, Manifest],
    data: Data,
    place: Place,
    caches: Caches,
    number: int,
) -> None:
    assert place.out is not None
    known_bad = replace(data, max_bad=1.0)  # they were counted when all clips were encoded
    jobs = []
    for candidate in candidates:
        where = place.out / "folds" / str(number) / candidate.name.replace(" ", "_")
        there = replace(place, out=where)
        jobs.append(Job(recipe=candidate.recipes[0], clips=clips, data=known_bad, place=there, save=False))
    for candidate, result in zip(candidates, fit_together(jobs, caches, keep=True)):
        candidate.add(result)
