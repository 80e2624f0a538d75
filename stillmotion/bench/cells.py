"""What a benchmark is made of: cells of a table, clips to score, and models that are trained for them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from stillmotion.auto import Auto
from stillmotion.data.entries import Entry, Listing, chosen_to_score, of_split
from stillmotion.datasets.splitting import fractions
from stillmotion.errors import DataError
from stillmotion.recipes.base import Recipe

TRAIN, TEST = "train", "test"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One number of a table, by what sets it apart; None where a protocol has no such part."""

    method: str
    shots: int | None = None
    """Training clips of each class."""
    seed: int | None = None
    split: str | None = None
    """Clips that it is tested on, where there are several sets of them."""
    part: str | None = None
    """`base` or `novel`: the half of the classes."""

    @property
    def name(self) -> str:
        """The folder of its files, such as `evl_2-shots_seed-0`."""
        shots = None if self.shots is None else f"{self.shots}-shots"
        seed = None if self.seed is None else f"seed-{self.seed}"
        return "_".join(part.replace("/", "-") for part in (self.method, shots, seed, self.split, self.part) if part)

    def keys(self) -> dict[str, Any]:
        """What sets it apart from other cells of its method, JSON-ready."""
        content = asdict(self)
        del content["method"]
        return content


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method of the table: its name there, the recipe (or the options of `auto`), and a model to start from."""

    name: str
    recipe: Recipe[Any] | Auto
    start_from: Path | None = None
    given: tuple[str, ...] = ()
    """Names of the recipe's fields that were given, which no preset changes."""

    def seeded(self, seed: int) -> "Contender":
        """The same with another seed."""
        if isinstance(self.recipe, Auto):
            return replace(self, recipe=replace(self.recipe, seed=seed))
        return replace(self, recipe=replace(self.recipe, train=replace(self.recipe.train, seed=seed)))

    @property
    def reads_names(self) -> bool:
        """Whether it compares videos with class names, so that it can be tested on others."""
        return isinstance(self.recipe, Recipe) and self.recipe.method.needs_text

    @property
    def trains(self) -> bool:
        """Whether there is something to train."""
        return isinstance(self.recipe, Auto) or bool(self.recipe.method.tune())


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One model: what it trains on (None: nothing, or it does not train), and the clips of every cell that it fills.

    Each listing has clips of split `train` and `test`, and classes of its own.
    """

    contender: Contender
    train: Listing | None
    tests: Mapping[Cell, Listing]
    names: tuple[str, ...]
    """Names of all classes of the data set, of which a listing may have some."""
    left_out: int = 1
    """The last test clips that make no whole batch of so many are left out."""
    lost: Mapping[Cell, tuple[str, ...]] = field(default_factory=dict)
    """Those that were left out."""

    @property
    def learns(self) -> bool:
        """Whether it has to be trained: a head of the training classes alone is of no use to tests of others."""
        fills = self.contender.reads_names or any(listing is self.train for listing in self.tests.values())
        return self.train is not None and self.contender.trains and fills


def two_parts(listing: Listing, split: str | None, fraction: float, group: str | None, source: Any) -> Listing:
    """The same clips in the splits `train` and `test` alone: as the manifest (or its official split) has them, or,
    where it has none, with so large a part of every class to test on.
    Raises `DataError`: no such split, or nothing to test on.
    """
    train, test = chosen_to_score(listing, split, source)
    if test is None and train is None:
        divided = fractions(listing, (1 - fraction, 0, fraction), group=group)
        return replace(divided, entries=tuple(e for e in divided.entries if e.split in (TRAIN, TEST)))
    if test is None:
        raise DataError(f"{source} has no clips to test on; give it a val or test split: stillmotion data split")
    return replace(listing, entries=(*_as(listing, train, TRAIN), *_as(listing, test, TEST)))


def only_test(listing: Listing, split: str | None, source: Any) -> Listing:
    """The clips to test on: those of the split, or all where the clips have none."""
    _, test = chosen_to_score(listing, split, source)
    entries = listing.entries if test is None else _as(listing, test, TEST)
    return replace(listing, entries=tuple(replace(e, split=TEST, splits=None) for e in entries))


def with_classes(listing: Listing, names: tuple[str, ...]) -> Listing:
    """The clips of some classes, with these classes alone, in the order that they had."""
    header = listing.header
    kept = [i for i, name in enumerate(header.classes) if name in set(names)]
    prompts = tuple(header.prompts[i] for i in kept) if header.prompts else ()
    few = replace(header, classes=tuple(header.classes[i] for i in kept), prompts=prompts)
    return replace(listing, header=few, entries=tuple(e for e in listing.entries if e.label in few.classes))


def _as(listing: Listing, name: str | None, split: str) -> tuple[Entry, ...]:
    if name is None:
        return ()
    return tuple(replace(e, split=split, splits=None) for e in of_split(listing, name))
