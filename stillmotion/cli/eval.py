"""`stillmotion eval MODEL --data VIDEOS`: every video scored once."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from stillmotion.cli.model_choice import ModelChoice, open_model
from stillmotion.cli.parse import parse
from stillmotion.errors import DataError, at_least

if TYPE_CHECKING:
    from stillmotion.classifier import Classifier
    from stillmotion.data.dataset import VideoDataset


@dataclass(frozen=True, kw_only=True)
class Eval(ModelChoice):
    """Score a model on labeled videos; without --labels the classes are the model's, or those found in the data."""

    data: Path
    """Folder with one folder per class (or a val or test folder of those), a list file, or a manifest."""
    split: str | None = None
    """Of a manifest: the split to score (test, train), or the number of an official one (2, 2:train); None: val."""
    root: Path | None = None
    """Folder that relative paths in list files start from; None: the list file's own."""
    views: int | None = None
    """Temporal views, averaged; None: as the model was trained to be tested."""
    crops: Literal[1, 3] | None = None
    """Spatial crops, averaged; None: as the model was trained to be tested."""
    average: Literal["softmax", "logits"] | None = None
    """What of the views is averaged: probabilities, or logits; None: as the model was trained to be tested."""
    batch_views: int = 8
    """Views in one forward pass; those of a video may be split over several."""
    workers: int | None = None
    """Processes that decode; None: 0 on a CPU, 8 with a GPU."""
    max_bad: float = 0.01
    """Part of the videos that may be unreadable before the evaluation fails."""
    order_test: bool = False
    """Score each video also with its frames shuffled, reversed and frozen to the middle one: does the model use the
    order of frames?"""
    cached: bool = True
    """Read the outputs of a frozen backbone from the feature cache, for the videos that are in it."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's cache folder."""
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for eval.json, eval_predictions.jsonl and eval_report.html; None: beside the model, or runs/MODEL."""
    report: bool = True
    """Write a page of what it got wrong, which looks at the worst mistakes once more."""

    def __post_init__(self) -> None:
        at_least(0, self, "workers", hint=", or left out")


def run(words: Sequence[str]) -> None:
    """Evaluate, print the numbers, and write them."""
    options: Eval = parse(Eval, words, "stillmotion eval")
    from stillmotion.data.bad import BadVideos
    from stillmotion.data.multi_label import as_scored
    from stillmotion.data.source import Data, load_test_data
    from stillmotion.eval.card import Made, number_card
    from stillmotion.eval.evaluate import score_orders
    from stillmotion.eval.multi_label import report_of
    from stillmotion.eval.order import FULL
    from stillmotion.eval.report import write_predictions
    from stillmotion.files import write_json
    from stillmotion.origin import origin, write_origin
    from stillmotion.recipes.base import plain
    from stillmotion.run_report import write_run_report

    data = Data(data=options.data, root=options.root, split=options.split, max_bad=options.max_bad)
    known = options.names()
    named = load_test_data(data, known) if options.by_name() else None
    accelerator = options.accelerator()
    # The device of this process, under `accelerate launch`.
    model = open_model(options, named.classes if named else known, str(accelerator.device))
    if not model.classes:  # a converted model, which reads any names: those of the data
        model = model.with_classes(load_test_data(data, None).classes, clean=options.clean_names)
    manifest = as_scored(named or load_test_data(data, model.classes), model.multi_label)
    out = options.out or (
        Path("runs") / re.sub(r"[^\w.-]+", "_", options.model) if named else Path(options.model).parent
    )
    videos = model.dataset(manifest, options.views, options.crops, options.average)
    dataset, wanted = _dataset(options, model, videos)
    bad = BadVideos(out / "bad_videos.jsonl", len(manifest), options.max_bad)
    _say_what(options, videos, len(wanted))
    found = score_orders(model.model, dataset, wanted, accelerator, model.text, options.batch_views, options.workers)
    scores = found.pop(FULL)
    for video in scores.bad:
        bad.add(video)
    report = report_of(scores, model.classes, found)
    if accelerator.is_main_process:
        print(report)  # before anything that a full disk could stop
        if report.order is not None:
            print(f"order: {report.order}")
        config = plain(options)
        made = Made(config, {}, {"test": manifest}, _hashes(options, model), origin())
        card = number_card(scores, report, made)
        write_json(out / "eval.json", report.to_dict() | {"config": config, "card": card})
        write_predictions(out / "eval_predictions.jsonl", scores, [c.path for c in manifest.clips], model.classes)
        write_origin(out / "eval_origin.json")
        print(out / "eval.json")
        if options.report and (page := write_run_report(out, model, evaluation=True)):
            print(page)


def _say_what(options: Eval, videos: "VideoDataset", orders: int) -> None:
    """Say how much there is to do, and whether the model has seen these clips before."""
    from stillmotion.data.manifest import read_manifest
    from stillmotion.data.source import seen_clips
    from stillmotion.files import Digests
    from stillmotion.progress import say
    from stillmotion.source import feature_folder
    from stillmotion.training.run_folder import CLIPS

    ways = f" in {orders} orders of their frames" if orders > 1 else ""
    each = videos.sampling.views * videos.sampling.crops
    say(f"scoring {len(videos)} videos{ways}, {each} view{'s' * (each > 1)} of each")
    known = Path(options.model).parent / CLIPS
    if options.by_name() or not known.is_file():
        return
    try:
        trained = read_manifest(known, part="train")
    except DataError as error:  # a file that was left beside another model, say; the scores do not need it
        say(f"{error}; so nobody looks whether the model has seen these clips")
        return
    if seen := seen_clips(trained, videos.manifest, Digests(feature_folder(options.cache))):
        say(
            f"warning: the model was trained on {len(seen)} of these clips, the first {seen[0][0].path}; results.json "
            "beside it has the numbers on clips that it did not see"
        )


def _hashes(options: Eval, model: "Classifier") -> dict[str, str]:
    """SHA-256 of the model's file, where it is one, and of all tensors that ran."""
    from stillmotion.eval.card import tensors_hash
    from stillmotion.files import sha256

    file = {} if options.by_name() else {"model": sha256(Path(options.model))}
    return file | {"tensors": tensors_hash(model.model)}


def _dataset(options: Eval, model: "Classifier", videos: "VideoDataset") -> tuple[Any, tuple[str, ...]]:
    """The clips, with those of a trained model taken from the feature cache where they are in it, and the orders of
    frames that they are to be scored in.
    """
    from stillmotion.eval.order import FULL
    from stillmotion.models.order import ORDERS, orders

    every, wanted = (orders(model.num_frames), (FULL, *ORDERS)) if options.order_test else ({}, (FULL,))
    videos = videos.in_orders(every)
    if options.by_name() or not options.cached:
        return videos, wanted
    from stillmotion.checkpoint import read_card
    from stillmotion.progress import say
    from stillmotion.source import cached_videos

    card = read_card(Path(options.model))
    mixed = cached_videos(card, videos, options.cache)
    if mixed is None or (options.order_test and not card.backbone.frames_alone):
        return videos, wanted
    mixed = mixed.in_orders(every)
    if not (count := sum(mixed.held(0, index) for index in range(len(mixed)))):
        return videos, wanted
    say(f"{count} of {len(videos)} videos are in the feature cache")
    return mixed, wanted
