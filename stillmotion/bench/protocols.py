"""The four protocols of ViFi-CLIP (section 4) as lists of models to train and cells to fill."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stillmotion.bench.cells import Cell, Contender, Unit, with_classes
from stillmotion.data.entries import Listing
from stillmotion.data.seeds import item_seed
from stillmotion.datasets.splitting import few_shot
from stillmotion.errors import DataError

BASE, NOVEL = "base", "novel"


def supervised(contenders: Sequence[Contender], clips: Listing, seeds: Sequence[int]) -> Iterator[Unit]:
    """Train on all training clips, test on all test clips."""
    names = clips.header.classes
    for seed in seeds:
        for one in contenders:
            yield Unit(
                contender=one.seeded(seed), train=clips, tests={Cell(method=one.name, seed=seed): clips}, names=names
            )


def few_shots(
    contenders: Sequence[Contender], clips: Listing, shots: Sequence[int], seeds: Sequence[int], nested: bool = False
) -> Iterator[Unit]:
    """Train on K clips of each class, test on all test clips; a draw of clips and of weights for each seed.
    Raises `DataError`: a class with fewer training clips than shots.
    """
    for K in shots:
        for seed in seeds:
            few = few_shot(clips, K, seed=seed, nested=nested)
            for one in contenders:
                cell = Cell(method=one.name, shots=K, seed=seed)
                yield Unit(contender=one.seeded(seed), train=few, tests={cell: few}, names=clips.header.classes)


def base_to_novel(
    contenders: Sequence[Contender], clips: Listing, shots: int, seeds: Sequence[int], halves: tuple[Listing, Listing]
) -> Iterator[Unit]:
    """Train on K clips of each base class; test base and novel classes, each within their own names."""
    base, novel = halves
    for seed in seeds:
        few = few_shot(base, shots, seed=seed)
        for one in contenders:
            cells = {part: Cell(method=one.name, shots=shots, seed=seed, part=part) for part in (BASE, NOVEL)}
            tests = {cells[BASE]: few, cells[NOVEL]: novel}
            yield Unit(contender=one.seeded(seed), train=few, tests=tests, names=clips.header.classes)


def zero_shot(
    contenders: Sequence[Contender], train: Listing | None, tests: Mapping[str, Listing], seeds: Sequence[int]
) -> Iterator[Unit]:
    """Train on one set, or not at all; test on others, each within its own class names."""
    names = tuple(dict.fromkeys(name for clips in tests.values() for name in clips.header.classes))
    for seed in seeds:
        for one in contenders:
            cells = {Cell(method=one.name, seed=seed, split=name): clips for name, clips in tests.items()}
            yield Unit(contender=one.seeded(seed), train=train, tests=cells, names=names)


def draws(name: str, clips: Listing, count: int, classes: int) -> dict[str, Listing]:
    """Random draws of some of the classes, as Kinetics-600 is tested with three draws of 160, and UCF-101 in some
    papers with ten of half its classes: named NAME.draw1, NAME.draw2, ...
    Raises `DataError`: more classes are asked for than there are, or fewer than two.
    """
    names = clips.header.classes
    if not 2 <= classes <= len(names):
        raise DataError(f"draw-classes is {classes}; {name} has {len(names)} classes, and at least 2 are compared")
    found = {}
    for number in range(1, count + 1):
        rng = np.random.RandomState(item_seed(0, "draw", number) % 2**32)
        kept = sorted(rng.permutation(len(names))[:classes])
        found[f"{name}.draw{number}"] = with_classes(clips, tuple(names[i] for i in kept))
    return found
