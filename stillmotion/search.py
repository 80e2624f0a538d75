"""What `auto` does with candidates: claim a folder, encode once, train on folds, train the winner, take order away."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stillmotion.average import average, averaged
from stillmotion.candidates import Candidate
from stillmotion.checkpoint import load_model
from stillmotion.data.bad import BadVideos
from stillmotion.data.dataset import VideoDataset
from stillmotion.data.manifest import Manifest
from stillmotion.data.multi_label import refuse_several
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError
from stillmotion.eval.evaluate import score_orders
from stillmotion.eval.order import OrderTest
from stillmotion.eval.report import Report
from stillmotion.experiment import Job, Result, fit_job, fit_together
from stillmotion.files import short_digest
from stillmotion.models.features import Reads
from stillmotion.models.order import ORDERS, orders
from stillmotion.progress import is_main_process, say
from stillmotion.recipes.base import Place, Recipe, plain
from stillmotion.source import Caches, FeatureSource
from stillmotion.training.accelerator import make_accelerator
from stillmotion.training.learner import Diverged
from stillmotion.training.run_folder import RunFolder


class Search:
    """Candidates on one frozen backbone, by name; those that read what it does not give are left out and named.
    Raises `StillmotionError`: none is left, or the clips, training and held-out ones, do not hold together.
    """

    def __init__(self, recipes: Mapping[str, Recipe[Any]], data: Data, place: Place, caches: Caches):
        assert place.out is not None
        self.data, self.caches, self.out = data, caches, place.out
        self.place = replace(place, order_test=False)  # the winner is tested by `other_orders`, once
        self.recipes: dict[str, Recipe[Any]] = {}
        refused = StillmotionError("there are no candidates")
        for name, recipe in recipes.items():
            try:
                backbone, reads = caches.weights(recipe, place.start_from).backbone, recipe.method.reads()
                backbone.check(reads)
                reads.names(backbone.layers)  # refuses blocks that the tower does not have
            except StillmotionError as error:
                refused = error
                say(f"{name} is left out: {error}")
            else:
                self.recipes[name] = recipe
        if not self.recipes:
            raise refused
        self.first = next(iter(self.recipes.values()))
        self.clips = load_data(data, self.first.train.seed, caches.digests)
        refuse_several(self.clips[0], "auto")

    def claim(self, options: Mapping[str, Any], defaults: Mapping[str, Any]) -> RunFolder:
        """Hold the folder until the search is closed, and begin there, or go on.
        Raises `StillmotionError`: a search with other options or clips is in it, or one that is running.
        """
        place, folder = self.place, self.out / "folds"
        if place.overwrite and is_main_process():
            for path in (self.out / "parts", *folder.glob("[0-9]*")):
                shutil.rmtree(path, ignore_errors=True)
            (self.out / "auto.json").unlink(missing_ok=True)
        chosen = {name: value for name, value in options.items() if name not in _FREE}
        clips = [[(c.path.name, c.label) for c in part.clips] for part in self.clips]
        config = {"auto": chosen, "data": plain(self.data), "clips": short_digest(clips)}
        with make_accelerator(self.first.train).main_process_first():
            claimed = RunFolder(folder, config, place.overwrite, True, {"auto": defaults})
        claimed.log(step=0, candidates=list(self.recipes))
        return claimed

    def encode(self) -> None:
        """Fill the cache with what all candidates read, and with the affinities of other orders of held-out clips.
        Raises `DataError`: too many videos that cannot be read.
        """
        first, reads = self.first, Reads()
        for recipe in self.recipes.values():
            reads |= recipe.method.reads()
        bad = BadVideos(self.out / "bad_videos.jsonl", sum(map(len, self.clips)), self.data.max_bad)
        weights = self.caches.weights(first, self.place.start_from)
        source = FeatureSource(first, weights, self.clips, self.caches, make_accelerator(first.train), bad)
        source.fill(reads, orders=True)

    def fold(self, candidates: Sequence[Candidate], clips: tuple[Manifest, Manifest], number: int) -> None:
        """Train candidates on a fold, and add its result to each; one whose loss is not finite is dropped.
        Raises `StillmotionError`: none is left.
        """
        known_bad = replace(self.data, max_bad=1.0)  # they were counted when all clips were encoded
        jobs = []
        for candidate in candidates:
            there = replace(self.place, out=self.out / "folds" / str(number) / candidate.name.replace(" ", "_"))
            recipe = candidate.recipes[0]
            jobs.append(Job(recipe=recipe, clips=clips, data=known_bad, place=there, save=False))
        results = fit_together(jobs, self.caches, keep=True)
        for candidate, result in zip(candidates, results):
            if isinstance(result, Diverged):
                candidate.dropped = True
            else:
                candidate.add(result)
        errors = [result for result in results if isinstance(result, Diverged)]
        if len(errors) == len(results):
            raise errors[0]

    def train(self, recipes: Sequence[Recipe[Any]], callback: Any = None) -> tuple[Recipe[Any], Result]:
        """Train the winner on all training clips, and score it once; an average is trained part by part."""
        if len(recipes) == 1:
            job = Job(recipe=recipes[0], clips=self.clips, data=self.data, place=self.place)
            return job.recipe, fit_job(job, self.caches, True, callback)
        parts = []
        for number, recipe in enumerate(recipes, start=1):
            there = replace(self.place, out=self.out / "parts" / str(number))
            job = Job(recipe=recipe, clips=self.clips, data=self.data, place=there)
            parts.append(fit_job(job, self.caches, True, callback))
        job = Job(recipe=averaged(recipes), clips=self.clips, data=self.data, place=self.place)
        return job.recipe, average(job, parts)

    def other_orders(self, recipe: Recipe[Any], result: Result) -> OrderTest:
        """Test a trained model with the frames of the held-out clips in other orders.

        They come from the cache, where its backbone sees every frame alone, else from the videos.
        """
        model, card = load_model(result.folder.model)
        accelerator = make_accelerator(recipe.train)
        clips: Any = VideoDataset(self.clips[1], card.method.num_frames, card.sampling, card.preprocess)
        if card.backbone.frames_alone:
            weights = self.caches.weights(recipe, self.place.start_from)
            bad = BadVideos(None, sum(map(len, self.clips)), 1.0)
            clips = FeatureSource(recipe, weights, self.clips, self.caches, accelerator, bad).val
        clips = clips.in_orders(orders(card.method.num_frames))
        found = score_orders(model.to(accelerator.device), clips, ORDERS, accelerator, quiet=True)
        order = Report.of(result.scores, card.classes, found).order
        assert order is not None
        return order


_FREE = ("device", "workers", "save_minutes")
"""Options that decide no number."""
