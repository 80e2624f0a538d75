"""From recipes to checkpoints: read the data, encode or stream, train one model or many together, evaluate, save."""

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from stillmotion.assemble import backbone_hashes, card, identity, make_learner
from stillmotion.checkpoint import save_model
from stillmotion.data.bad import BadVideos
from stillmotion.data.loader import data_workers, shared_workers
from stillmotion.data.manifest import Manifest
from stillmotion.data.multi_label import refuse_several
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError, reason
from stillmotion.eval.card import Made, number_card
from stillmotion.eval.multi_label import report_of
from stillmotion.eval.order import OrderTest
from stillmotion.eval.report import Report, Scores, read_predictions, write_predictions
from stillmotion.files import Digests, sha256, write_json
from stillmotion.held_out import evaluate, evaluate_in_all_orders, numbers
from stillmotion.origin import origin, write_origin
from stillmotion.progress import say
from stillmotion.recipes.base import HERE, Place, Recipe, declared, plain
from stillmotion.source import (
    Caches,
    FeatureSource,
    PixelSource,
    Source,
    feature_folder,
    fill_together,
)
from stillmotion.training.accelerator import make_accelerator
from stillmotion.training.learner import Diverged, Learner
from stillmotion.training.loop import Callback, Trainer, train_together
from stillmotion.training.run_folder import RunFolder

AUGMENTED = (
    "random views or mixing read every video in every epoch; pass --augment none --flip 0 (and no --mix), or "
    "--cached-views 4, to run it once"
)


@dataclass(frozen=True, repr=False)
class Result:
    """What a run gives: the checkpoint, the numbers on the validation clips, and the scores behind them."""

    folder: RunFolder
    report: Report
    scores: Scores
    trained_parameters: int
    seconds: float
    """Time spent in optimizer steps, over all resumptions."""

    def __repr__(self) -> str:
        return f"<Result: top-1 {100 * self.report.top1:.1f} %, {self.report.scored} videos, {self.folder.path}>"


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model to train: a recipe, training and validation clips with the same classes, and a folder, `place.out`."""

    recipe: Recipe[Any]
    clips: tuple[Manifest, Manifest]
    data: Data
    """Where the clips came from."""
    place: Place
    save: bool = True
    """Keep the trained model; else its numbers alone."""

    @property
    def together(self) -> object:
        """Equal for jobs that one loop can train."""
        train = self.recipe.train
        return (train.precision, train.device) if self.recipe.cached else self.place.out


def fit(
    recipe: Recipe[Any],
    data: Data,
    place: Place = HERE,
    name: str = "run",
    keep: bool = False,
    callback: Callback | None = None,
) -> Result:
    """Train one model and evaluate it on the validation clips.
    Raises `StillmotionError`: anything that the user can mend; `Stopped`: a signal asked to stop; the same call goes on
    from there.

    Args:
        place: where the run takes place, and from what.
        name: of the run's folder, where `place.out` does not say.
        keep: read the result of a finished run of the same configuration instead of refusing to train it again.
        callback: called with every line of the metrics.
    """
    refuse_untrained(recipe)
    caches = make_caches(recipe, place)
    caches.weights(recipe, place.start_from, data.text_features)  # before many files are read
    clips = load_data(data, recipe.train.seed, caches.digests)
    if place.order_test:
        refuse_several(clips[0], "the order test")
    place = replace(place, out=place.out or Path("runs") / name)
    return fit_job(Job(recipe=recipe, clips=clips, data=data, place=place), caches, keep, callback)


def fit_job(job: Job, caches: Caches, keep: bool = False, callback: Callback | None = None) -> Result:
    """Train one model; see `fit`."""
    (result,) = fit_together([job], caches, keep, callback)
    if isinstance(result, Diverged):
        raise result
    return result


def fit_together(
    jobs: Sequence[Job], caches: Caches, keep: bool = False, callback: Callback | None = None
) -> list[Result | Diverged]:
    """Train several models over the same passes of the feature cache; raises as `fit`, whose other arguments they are.

    Each ends with the bits that it has alone. Methods that train the backbone are trained one after the other. Of
    several that are trained together, the place of one whose loss is not finite has that error.
    """
    if len(jobs) > 1 and any(job.recipe.train.track for job in jobs):
        raise StillmotionError("--track follows one run; leave it out, and train the best setting with it")
    results: dict[int, Result | Diverged] = {}
    for kind in dict.fromkeys(job.together for job in jobs):
        alike = [i for i, job in enumerate(jobs) if job.together == kind]
        with contextlib.ExitStack() as stack:
            runs = [stack.enter_context(contextlib.closing(_Run(jobs[i], caches, keep))) for i in alike]
            todo = [run for run in runs if not run.folder.finished]
            caches.remember(all(run.reads_here(together=len(todo) > 1) for run in todo))
            for run in todo:
                run.prepare(caches)
            fill_together([(run.source, run.recipe.method.reads(), run.job.place.order_test) for run in todo])
            if todo:
                train_together([run.start(callback) for run in todo])
            for run in todo:
                run.finish()
            results |= {i: run.result or read_result(run.folder) for i, run in zip(alike, runs)}
            for run in todo:
                run.forget()
    return [results[i] for i in range(len(jobs))]


class _Run:
    """A job while it is done."""

    learner: Learner
    source: Source
    trainer: Trainer
    result: Result | Diverged | None = None

    def __init__(self, job: Job, caches: Caches, keep: bool):
        recipe, place = job.recipe, job.place
        assert place.out is not None
        self.job, self.recipe = job, recipe
        self.accelerator = make_accelerator(recipe.train, place.out)
        files = (place.start_from, job.data.text_features)
        self.weights = caches.weights(recipe, *files)
        with self.accelerator.main_process_first():
            own = identity(recipe, self.weights, job.clips, files, caches.digests)
            self.config = configuration(recipe, job.data, place)
            defaults = configuration(*map(declared, (recipe, job.data, place)))
            self.folder = RunFolder(place.out, self.config | own, place.overwrite, keep, defaults | own)
        self.bad = BadVideos(self.folder.bad_videos, sum(map(len, job.clips)), job.data.max_bad)
        self.seen: dict[int, Scores] = {}

    def close(self) -> None:
        """Let others have the folder, and end its tracker."""
        self.folder.close()
        if self.accelerator.num_processes == 1:  # with others it would wait for them, who may be gone
            self.accelerator.end_training()

    def reads_here(self, together: bool) -> bool:
        """Whether this process reads the clips, when the run is alone or together with others."""
        workers = self.recipe.train.workers
        return (shared_workers(workers) if together else data_workers(workers, self.accelerator.device.type)) == 0

    def forget(self) -> None:
        """Let go of what trained: run and trainer know each other, and would stay until Python looks for such pairs."""
        del self.trainer, self.learner, self.source

    def prepare(self, caches: Caches) -> None:
        """Build what trains, and where its batches come from."""
        train, _ = self.job.clips
        self.learner = make_learner(self.recipe, self.weights, train, self.job.data, self.job.place, self.accelerator)
        if self.recipe.cached:
            given = (self.recipe, self.weights, self.job.clips, caches, self.accelerator, self.bad)
            self.source = FeatureSource(*given, self.folder.runtime)
            self.folder.note_runtime(self.source.runtime)
            self.learner.model.visual = nn.Identity()  # batches are its outputs; its memory is free for them
        else:
            if self.recipe.method.frozen:
                say(f"CLIP is frozen and {AUGMENTED}")
            self.source = PixelSource(self.recipe, self.weights, self.job.clips, self.accelerator.device.type)

    def start(self, callback: Callback | None) -> Trainer:
        """What trains the learner."""
        if self.accelerator.is_main_process:
            write_origin(self.folder.path / "origin.json")
        self.trainer = Trainer(self.learner, self.source.train, self.folder, self.bad, self._look, callback)
        return self.trainer

    def _look(self, epoch: int) -> dict[str, float]:
        self.seen[epoch] = evaluate(self.learner, self.source.val, quiet=True)
        self.seen = {e: s for e, s in self.seen.items() if e in (epoch, self.trainer.best.epoch)}
        return numbers(self.seen[epoch], self.job.clips[0].classes)

    def _scores(self, epoch: int) -> tuple[Scores, dict[str, Scores]]:
        seen, clips = self.seen.get(epoch), self.source.val
        if not self.job.place.order_test:
            return seen or evaluate(self.learner, clips), {}
        return evaluate_in_all_orders(self.learner, clips, self.recipe, self.weights, self.job.clips[1], seen)

    def finish(self) -> None:
        """Score the validation clips, and write down what came of it, the model before the numbers."""
        if self.trainer.diverged is not None:
            self.result = self.trainer.diverged
            return
        (train, val), folder, epoch = self.job.clips, self.folder, self.trainer.last_epoch
        scores, orders = self._scores(epoch)
        if not self.trainer.best.decided:
            self.trainer.log(self.learner.plan.total_steps, epoch=epoch, **numbers(scores, train.classes))
        for video in {bad.path: bad for found in (scores, *orders.values()) for bad in found.bad}.values():
            self.bad.add(video)
        report = report_of(scores, train.classes, orders)
        model: Any = self.learner.model
        trained, seconds = sum(p.numel() for p in model.parameters() if p.requires_grad), folder.training_seconds()
        if self.accelerator.is_main_process:
            # What `read_result` reads.
            write_predictions(folder.path / "predictions.jsonl", scores, [c.path for c in val.clips], val.classes)
            folder.write_clips(train, val)
            if self.job.save:
                names = self.job.data.names(train.classes)
                described = card(
                    self.recipe, self.weights, model, names, report, self.config, self.source.runtime, epoch
                )
                save_model(folder.model, model.state_dict(), described)
            more = {"trained_parameters": trained, "seconds": seconds, "epoch": epoch}
            content = report.to_dict() | more
            if self.job.save:
                hashes = backbone_hashes(self.recipe, self.weights) | {"model": sha256(folder.model)}
                seeds, group = {"train": self.recipe.train.seed}, None if self.job.data.val else self.job.data.group
                made = Made(self.config, seeds, {"train": train, "test": val}, hashes, origin())
                content["card"] = number_card(scores, report, made, group)
            write_json(folder.results, content)
            folder.finish()
        self.accelerator.wait_for_everyone()
        if self.bad.found:
            say(self.bad.summary())
        self.result = Result(folder, report, scores, trained, seconds)


def refuse_untrained(recipe: Recipe[Any]) -> None:
    """Refuse a method that has nothing to train. Raises `StillmotionError`: it has."""
    if not recipe.method.tune():
        raise StillmotionError("nothing of this method trains; use it with `stillmotion eval` or `predict`")


def make_caches(recipe: Recipe[Any], place: Place) -> Caches:
    """The feature caches for a recipe's runs; digests are remembered where there is a cache at all."""
    return Caches(place.cache, Digests(feature_folder(place.cache) if recipe.cached else None))


def configuration(recipe: Recipe[Any], data: Data, place: Place) -> dict[str, Any]:
    """What a run's folder says of it, JSON-ready."""
    return {"recipe": recipe.to_dict(), "data": plain(data), "place": plain(place)}


def fill_cache(recipe: Recipe[Any], data: Data, place: Place = HERE, name: str = "run") -> BadVideos:
    """Compute what a recipe reads; returns the videos that cannot be read.
    Raises `StillmotionError`: a method that trains the backbone, or anything else that the user can mend.
    """
    if recipe.method.frozen and not recipe.cached:
        raise StillmotionError(f"{name} has nothing to keep: {AUGMENTED}")
    if not recipe.cached:
        raise StillmotionError(f"{name} trains CLIP itself, so it has no features to keep; use evl or linear_probe")
    caches, folder = make_caches(recipe, place), place.out or Path("runs") / name
    clips = load_data(data, recipe.train.seed, caches.digests)
    bad = BadVideos(folder / "bad_videos.jsonl", sum(map(len, clips)), data.max_bad)
    weights, accelerator = caches.weights(recipe, place.start_from), make_accelerator(recipe.train)
    source = FeatureSource(recipe, weights, clips, caches, accelerator, bad)
    source.fill(recipe.method.reads(), place.order_test)
    return bad


def read_result(folder: RunFolder) -> Result:
    """Read what a finished run gave. Raises `StillmotionError`: a file of it is missing or damaged."""
    file, scores = folder.results, read_predictions(folder.path / "predictions.jsonl", several=True)
    try:
        numbers = json.loads(file.read_text(encoding="utf-8"))
        trained, seconds = int(numbers["trained_parameters"]), float(numbers["seconds"])
        order = None if "order" not in numbers else OrderTest.from_dict(numbers["order"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StillmotionError(f"cannot read {file} ({reason(error)}); pass --overwrite to train again") from error
    report = replace(report_of(scores, scores.classes), order=order)
    return Result(folder, report, scores, trained, seconds)
