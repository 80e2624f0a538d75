"""The folder of a benchmark: what its cells share, how each is trained and scored, and what it leaves there."""

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stillmotion.auto import Auto, auto
from stillmotion.bench.cells import Cell, Unit
from stillmotion.bench.clips import overlap, rows_of, sources_of, test_clips, without_last
from stillmotion.bench.memory import Peak
from stillmotion.bench.options import Bench
from stillmotion.bench.presets import drop_last, preset
from stillmotion.bench.scoring import score_cell
from stillmotion.bench.table import Json, cannot, row
from stillmotion.data.entries import Listing
from stillmotion.data.folds import TooFew
from stillmotion.data.manifest import Manifest
from stillmotion.data.source import Data, load_data
from stillmotion.errors import StillmotionError
from stillmotion.eval.bootstrap import Outcomes, accuracy_interval
from stillmotion.eval.card import Made, number_card
from stillmotion.eval.report import Report, Scores, write_predictions
from stillmotion.experiment import Job, Result, fit_together
from stillmotion.files import Digests, short_digest, write_json
from stillmotion.origin import origin
from stillmotion.progress import is_main_process
from stillmotion.recipes.base import Place, Recipe, declared, plain
from stillmotion.source import Caches, feature_folder
from stillmotion.training import run_folder

TRAIN = "recipe.train."
FREE = ("seed", *(name.removeprefix(TRAIN) for name in run_folder.FREE if name.startswith(TRAIN)))
"""Fields of a recipe that a table may go on with other values of; the seed is each cell's own."""


class Work:
    """Fills cells in the folder `options.out`; frozen methods share one cache."""

    def __init__(self, options: Bench):
        self.options, self.out = options, options.out
        self.caches = Caches(options.cache, Digests(feature_folder(options.cache)))
        self._compared = dict[tuple[int, int], Unit]()  # which keeps the lists, whose places in memory are the keys
        self._written = dict[Path, Listing]()

    def describe(self, units: Sequence[Unit]) -> Json:
        """What is trained, in words, and a digest of what is scored: a folder goes on only with the same."""

        def clips(listing: Listing | None) -> Any:
            return listing and [[e.path, e.label, e.split] for e in listing.entries]

        text = self.options.text_features
        content = [
            [unit.contender.name, clips(unit.train), [[cell.name, clips(tests)] for cell, tests in unit.tests.items()]]
            for unit in units
        ]
        return {
            "methods": {unit.contender.name: self._settings(unit, unit.contender.recipe) for unit in units},
            "clips": short_digest([content, text and self.caches.digests.digest(text)]),
        }

    def defaults(self, units: Sequence[Unit]) -> Json:
        """What settings mean that the folder of an older version lacks."""
        return {"methods": {u.contender.name: self._settings(u, declared(u.contender.recipe)) for u in units}}

    def _settings(self, unit: Unit, recipe: Recipe[Any] | Auto) -> Json:
        """The settings of a unit's method but those that change no number, and its seed, which is the cell's."""
        start = unit.contender.start_from
        found = recipe.to_dict() if isinstance(recipe, Recipe) else plain(recipe)
        for name in FREE:
            found.pop(name, None)
            found.get("train", {}).pop(name, None)
        return found | {"start_from": start and self.caches.digests.digest(start)}

    def clear(self) -> None:
        """Remove an earlier table and its cells."""
        for path in (*(self.out / "cells").iterdir(), self.out / "splits"):
            if path.is_dir():
                shutil.rmtree(path)
        for name in ("table.json", "origin.json", "report.html"):
            (self.out / name).unlink(missing_ok=True)

    def ready(self, unit: Unit) -> Unit:
        """A unit with the switches of the preset."""
        recipe, name = unit.contender.recipe, self.options.preset
        batch = self.options.drop_last or drop_last(recipe, name)
        if isinstance(recipe, Recipe) and name is not None:
            weights = self.caches.weights(recipe, unit.contender.start_from, self.options.text_features)
            changed = preset(recipe, name, unit.names, weights.backbone.pixels.size[0], unit.contender.given)
            unit = replace(unit, contender=replace(unit.contender, recipe=changed))
        if batch > 1:
            cut = {id(listing): without_last(listing, batch) for listing in unit.tests.values()}
            tests = {cell: cut[id(listing)][0] for cell, listing in unit.tests.items()}
            lost = {cell: cut[id(listing)][1] for cell, listing in unit.tests.items()}
            train, _ = cut.get(id(unit.train), (unit.train, ()))
            unit = replace(unit, tests=tests, train=train, left_out=batch, lost=lost)
        return unit

    def fill(self, units: Sequence[Unit]) -> Iterator[Json]:
        """The rows of units that train on the same clips."""
        todo = [unit for unit in units if not all(self._file(cell).is_file() for cell in unit.tests)]
        with Peak() as peak:
            trained = self._train([unit for unit in todo if unit.learns])
        for unit in todo:
            self._fill(unit, trained.get(unit.contender.name), peak.megabytes)
        for unit in units:
            for cell in unit.tests:
                yield json.loads(self._file(cell).read_text(encoding="utf-8"))

    def _train(self, units: Sequence[Unit]) -> dict[str, Result | StillmotionError]:
        """Train what is not finished: heads on frozen towers together."""
        jobs, found = dict[str, Job](), dict[str, Result | StillmotionError]()
        for unit in units:
            cell, recipe = next(iter(unit.tests)), unit.contender.recipe
            assert unit.train is not None
            data, place = self._data(unit, unit.train, cell), self._place(unit, cell)
            seed = recipe.seed if isinstance(recipe, Auto) else recipe.train.seed
            clips = load_data(data, seed, self.caches.digests)
            self._compare(unit, clips)
            if isinstance(recipe, Auto):
                try:
                    found[unit.contender.name] = auto(recipe, data, place).result
                except TooFew as error:  # of one shot of a class nothing is left to choose by
                    found[unit.contender.name] = error
                continue
            jobs[unit.contender.name] = Job(recipe=recipe, clips=clips, data=data, place=place)
        results = fit_together(list(jobs.values()), self.caches, keep=True)
        return found | dict(zip(jobs, results))

    def _compare(self, unit: Unit, clips: tuple[Manifest, Manifest]) -> None:
        """Refuse tests that hold training clips; of each pair of sets once."""
        for cell, listing in unit.tests.items():
            if (key := (id(unit.train), id(listing))) not in self._compared:
                tests = clips[1] if listing is unit.train else test_clips(self._data(unit, listing, cell))
                overlap(clips[0], tests, self.caches.digests, self.options.allow_overlap)
                self._compared[key] = unit

    def _fill(self, unit: Unit, outcome: Result | StillmotionError | None, megabytes: float) -> None:
        """Write every cell of a unit, and then let its model go."""
        for cell, listing in unit.tests.items():
            if self._file(cell).is_file():
                continue
            if isinstance(outcome, StillmotionError):
                written = cannot(cell, str(outcome))
            elif isinstance(outcome, Result) and listing is unit.train:
                clips = test_clips(self._data(unit, listing, cell))
                written = self._row(cell, outcome.scores, clips, listing, outcome.seconds, megabytes)
            elif not unit.contender.reads_names and unit.train is not None and unit.train is not listing:
                written = cannot(cell, "its head knows the classes that it was trained on, and no others")
            else:
                written = self._tested(unit, cell, listing, outcome)
            if lost := unit.lost.get(cell):
                written |= {"note": f"drop-last {unit.left_out}: not scored: {', '.join(lost)}"}
            if is_main_process():
                write_json(self._file(cell), written)
        if isinstance(outcome, Result) and not self.options.keep_models and is_main_process():
            outcome.folder.model.unlink(missing_ok=True)

    def _tested(self, unit: Unit, cell: Cell, listing: Listing, outcome: Result | None) -> Json:
        """Score clips that a model was not trained beside, and keep what the number is of."""
        recipe, place, data = unit.contender.recipe, self._place(unit, cell), self._data(unit, listing, cell)
        assert isinstance(recipe, Recipe) and place.out is not None
        clips, model = test_clips(data), None if outcome is None else outcome.folder.model
        started = time.perf_counter()
        with Peak() as peak:
            scores = score_cell(recipe, model, clips, data, place, self.caches)
        seconds, report = time.perf_counter() - started, Report.of(scores, clips.classes)
        if is_main_process():
            weights = self.caches.weights(recipe, place.start_from, data.text_features)
            hashes = {"backbone": weights.fingerprint()}
            if outcome is not None:
                card = json.loads(outcome.folder.results.read_text(encoding="utf-8")).get("card", {})
                hashes = card.get("weights", hashes)
            switches = {"recipe": recipe.to_dict(), "data": plain(data)}
            made = Made(switches, {"train": recipe.train.seed}, {"test": clips}, hashes, origin())
            write_json(place.out / "config.json", switches)
            write_predictions(place.out / "predictions.jsonl", scores, [c.path for c in clips.clips], clips.classes)
            card = number_card(scores, report, made, self.options.group)
            write_json(place.out / "results.json", report.to_dict() | {"seconds": seconds, "card": card})
        return self._row(cell, scores, clips, listing, seconds, peak.megabytes)

    def _row(
        self, cell: Cell, scores: Scores, clips: Manifest, listing: Listing, seconds: float, megabytes: float
    ) -> Json:
        report = Report.of(scores, clips.classes)
        outcomes = Outcomes.of(scores, sources_of(scores, clips, listing, self.options.group))
        low, high = accuracy_interval(outcomes)
        # Of all right or all wrong the bootstrap has no width, and Wilson's interval does.
        interval = report.top1_interval if low == high else (low, high)
        return row(cell, report, interval, seconds, megabytes)

    def _data(self, unit: Unit, listing: Listing, cell: Cell) -> Data:
        """Write the clips of a cell as a manifest, and name it: `stillmotion train` takes the same file."""
        left_out = f"drop-last-{unit.left_out}" if unit.left_out > 1 else ""
        name = "_".join(filter(None, (replace(cell, method="").name, left_out))) or "all"
        path, options = self.out / "splits" / f"{name}.jsonl", self.options
        text = options.text_features
        if is_main_process():
            if self._written.get(path) is not listing:  # methods of one table share it
                self._written[path] = listing
                path.parent.mkdir(parents=True, exist_ok=True)
                listing.write(path)
            if text is not None and isinstance(recipe := unit.contender.recipe, Recipe):
                width = self.caches.weights(recipe, unit.contender.start_from, text).backbone.embed_dim
                rows_of(text, unit.names, listing.header.classes, width, path.with_suffix(".npy"))
        clean = options.preset == "strict" if options.clean_names is None else options.clean_names
        return Data(
            data=path,
            clean_names=clean,
            text_features=None if text is None or not unit.contender.reads_names else path.with_suffix(".npy"),
            max_bad=options.max_bad,
            duplicates="keep",  # looked for in `overlap`
        )

    def _place(self, unit: Unit, cell: Cell) -> Place:
        out = self.out / "cells" / cell.name
        return Place(out=out, cache=self.options.cache, start_from=unit.contender.start_from, report=False)

    def _file(self, cell: Cell) -> Path:
        return self.out / "cells" / cell.name / "cell.json"
