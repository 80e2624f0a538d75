"""From options and methods to the models of a benchmark and the cells that each fills."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from stillmotion.bench.cells import Contender, Unit, only_test, two_parts
from stillmotion.bench.options import SEEDS, SHOTS, Bench, Protocol
from stillmotion.bench.protocols import base_to_novel, draws, few_shots, supervised, zero_shot
from stillmotion.data.entries import Listing
from stillmotion.datasets.building import open_source
from stillmotion.datasets.splitting import base_novel
from stillmotion.errors import StillmotionError


def plan(protocol: Protocol, options: Bench, contenders: Sequence[Contender]) -> list[Unit]:
    """Every model to train or test, in the order in which it is done: those that share clips one after the other.
    Raises `StillmotionError`: clips or options that do not fit the protocol; nothing is written before.
    """
    options.check(protocol)
    seeds = options.seeds or SEEDS.get(protocol, (0,))
    shots = options.shots or SHOTS.get(protocol, ())
    if protocol == "zero-shot":
        train = None if options.train is None else _one(options, options.train)
        learners = [one for one in contenders if one.trains]
        if train is None and learners:
            raise StillmotionError(
                f"{learners[0].name} must be trained before it is tested; name a set to train on (--train), or a model "
                "that needs no training (zero_shot)"
            )
        tests = dict(_tests(options))
        if options.text_features and len(options.data) > 1:
            raise StillmotionError("--text-features are of one set's classes; test one set at a time with them")
        others = [one for one in contenders if not one.trains]  # no seed makes a difference to them
        return [*zero_shot(others, None, tests, seeds[:1]), *zero_shot(learners, train, tests, seeds)]
    clips = _one(options, options.data[0])
    if protocol == "supervised":
        return list(supervised(contenders, clips, seeds))
    if protocol == "few-shot":
        return list(few_shots(contenders, clips, shots, seeds, options.nested))
    halves = base_novel(clips, base=options.base_lists, novel=options.novel_lists)
    return list(base_to_novel(contenders, clips, shots[0], seeds, halves))


def _one(options: Bench, source: Path) -> Listing:
    split = options.split[0] if options.split and options.train is None else None
    listing = open_source(source, options.root)
    return two_parts(listing, split, options.val_fraction, options.group, source)


def _tests(options: Bench) -> Iterator[tuple[str, Listing]]:
    """Sets to test on by name: every set, every official split of it, and every draw of its classes."""
    names = [path.name if path.is_dir() else path.stem for path in options.data]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise StillmotionError(f"two sets are named {twice!r}; rename one file, for the table tells them by name")
    for name, path in zip(names, options.data):
        whole = open_source(path, options.root)
        for split in options.split or (None,):
            clips = only_test(whole, split, path)
            if not clips.entries:
                raise StillmotionError(f"{path} has no clips to test on")
            if len(clips.header.classes) < 2:
                raise StillmotionError(
                    f"{path} has one class, {clips.header.classes[0]!r}; at least two are compared: name a folder with "
                    "one folder per class"
                )
            label = f"{name}.{split}" if split is not None and len(options.split) > 1 else name
            if options.draws:
                yield from draws(label, clips, options.draws, options.draw_classes).items()
            else:
                yield label, clips
