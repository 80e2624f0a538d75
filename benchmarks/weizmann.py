"""Weizmann (90 clips, 10 actions, 9 actors): what a frozen CLIP ViT-B/16 gives with and without temporal modules.

    python benchmarks/weizmann.py --data weizmann
    python benchmarks/weizmann.py --quick

The data folder has one folder per action, and clips named ACTOR_ACTION.avi. Test actors are never seen in training:
three folds of three actors, and leave one actor out. Stopped at any time, it goes on where it was, cell by cell; the
tables in docs/results.md are written at the end, and by --collect. Nothing was chosen on these clips.
"""

import statistics
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from nine_actors import read_clips, write_clips
from sections import RESULTS, machine, markdown, write_section
from tiny import write_tower

from stillmotion.data.source import Data
from stillmotion.demo import NO_MOTION, folder_name
from stillmotion.experiment import fit
from stillmotion.files import atomic_write, write_json
from stillmotion.recipes.base import Place, Recipe
from stillmotion.recipes.evl import evl
from stillmotion.recipes.linear_probe import linear_probe, single_frame

Maker = Callable[[], Recipe[Any]]


def evl_with(**changes: Any) -> Maker:
    """The recipe `evl` with other temporal modules or another initialization."""

    def recipe() -> Recipe[Any]:
        return replace(evl(), method=replace(evl().method, **changes))

    return recipe


RELEASE = "EVL, all, the release's initialization"
MOTION = "EVL, all, initialized from motion"
SYSTEMS: dict[str, Maker] = {
    "single middle frame, linear": single_frame,
    "mean-pooled frames, linear": linear_probe,
    "EVL, no temporal module": evl_with(**NO_MOTION),
    "EVL, all temporal modules": evl,
    "EVL, convolution alone": evl_with(**NO_MOTION | {"conv": True}),
    "EVL, positions alone": evl_with(**NO_MOTION | {"positions": True}),
    "EVL, cross-frame attention alone": evl_with(**NO_MOTION | {"cross_attention": True}),
    RELEASE: evl_with(init="release"),
    MOTION: evl_with(init="motion"),
}
MAIN = tuple(SYSTEMS)[:4]  # with every seed; the others with one
QUICK = ("mean-pooled frames, linear", "EVL, all temporal modules")


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action."""
    out: Path = Path("runs/weizmann")
    """Folder of the cells; those that are done are kept."""
    seeds: int = 3
    """Seeds of the main systems."""
    backbone: str = "auto"
    """CLIP weights."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's cache folder."""
    share: tuple[int, int] = (0, 1)
    """Run the cells number A, A + B, A + 2B, ...: several processes with one thread each (OMP_NUM_THREADS=1) are faster
    than one with several. A run without this collects what is done and writes the tables."""
    collect: bool = False
    """Train nothing; write the tables from the cells that are done."""
    quick: bool = False
    """Two systems for one epoch on generated clips of two actions, with a tiny CLIP; the table is only printed."""


@dataclass(frozen=True)
class Cell:
    """One training run."""

    protocol: str
    system: str
    part: str
    seed: int
    test_actors: tuple[str, ...]

    @property
    def name(self) -> str:
        """A folder name."""
        return f"{self.protocol}/{folder_name(self.system)}/{self.part}-seed{self.seed}"


def main(options: Options) -> None:
    """Run everything, or a small part of it in a folder of its own."""
    if not options.quick:
        run(options)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tower = write_tower(folder / "tower.safetensors")
        made = {
            "data": write_clips(folder / "clips"),
            "out": folder / "runs",
            "cache": folder / "cache",
            "backbone": str(tower),
        }
        run(replace(options, seeds=1, **made))


def run(options: Options) -> None:
    """Run the cells that are missing, the control and the cheap ones first."""
    clips, actors = read_clips(options.data)
    first, step = options.share
    done: dict[Cell, float] = {}
    cells = list(plan(actors, options.seeds))
    if options.quick:
        cells = [cell for cell in cells if cell.protocol == "folds" and cell.system in QUICK]
    for number in range(first, len(cells), step):
        cell = cells[number]
        if options.collect and not (options.out / cell.name / "model.safetensors").is_file():
            continue
        print(f"[{number + 1}/{len(cells)}] {cell.name}", flush=True)
        done[cell] = train(cell, clips, options)
    if step == 1:
        report(done, options)


def plan(actors: list[str], seeds: int) -> Iterator[Cell]:
    """All cells: one seed of everything in three folds, then the other seeds, then the long ones."""
    names = sorted(SYSTEMS, key=lambda name: name == "mean-pooled frames, linear")  # it can read EVL's cache
    for seed in range(seeds):
        for system in names:
            if system in MAIN or (seed == 0 and system not in (RELEASE, MOTION)):
                for fold in range(3):
                    yield Cell("folds", system, f"fold{fold}", seed, tuple(actors[3 * fold : 3 * fold + 3]))
    for system in MAIN:
        if system != "EVL, no temporal module":
            for actor in actors:
                yield Cell("leave-one-actor-out", system, actor, 0, (actor,))
    for system in (RELEASE, MOTION):
        for fold in range(3):
            yield Cell("folds", system, f"fold{fold}", 0, tuple(actors[3 * fold : 3 * fold + 3]))


def train(cell: Cell, clips: list[Path], options: Options) -> float:
    """Train and score one cell, or read what it gave before; returns top-1 on the test actors."""
    folder = options.out / cell.name
    lists = {}
    for name in ("train", "val"):
        lists[name] = folder.with_name(folder.name + f"-{name}.txt")
        with atomic_write(lists[name]) as temporary:
            held = [c for c in clips if (c.stem.split("_")[0] in cell.test_actors) == (name == "val")]
            temporary.write_text("".join(f"{c.resolve().as_posix()} {c.parent.name}\n" for c in held), encoding="utf-8")
    data = Data(data=lists["train"], val=lists["val"])
    recipe = SYSTEMS[cell.system]()
    train = replace(recipe.train, seed=cell.seed, eval_every=0)
    train = replace(train, epochs=1) if options.quick else train
    recipe = replace(recipe, backbone=options.backbone, train=train)
    return fit(recipe, data, Place(out=folder, cache=options.cache), keep=True).report.top1


def report(done: dict[Cell, float], options: Options) -> None:
    """Write the two tables."""
    by_seed: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, top1 in done.items():
        by_seed[cell.protocol, cell.system][cell.seed].append(top1)
    for (protocol, _), found in by_seed.items():  # a mean over some of the actors is none
        for seed in [s for s, values in found.items() if len(values) < (3 if protocol == "folds" else 9)]:
            del found[seed]
    text = [f"Top-1 on actors never seen in training; {machine()}.", ""]
    rows = []
    for system in SYSTEMS:
        if seeds := by_seed.get(("folds", system)):
            values = [v for part in seeds.values() for v in part]
            means = [statistics.mean(part) for part in seeds.values()]
            spread = f"{statistics.stdev(means):.3f}" if len(means) > 1 else "one seed"
            rows.append([system, f"{statistics.mean(values):.3f}", spread, f"{min(values):.3f} to {max(values):.3f}"])
    header = ["three folds (6 actors train, 3 test)", "mean", "spread over seeds", "range over folds and seeds"]
    text += [markdown(header, rows), ""]
    rows = []
    for system in SYSTEMS:
        if seeds := by_seed.get(("leave-one-actor-out", system)):
            values = seeds[0]
            rows.append([system, f"{statistics.mean(values):.3f}", f"{min(values):.3f} to {max(values):.3f}"])
    if rows:
        text.append(markdown(["leave one actor out (9 runs, one seed)", "mean", "range over actors"], rows))
    write_json(options.out / "results.json", [{**vars(cell), "top1": top1} for cell, top1 in done.items()])
    if options.quick:
        print("\n".join(text))
    else:
        write_section(RESULTS, "weizmann", "\n".join(text))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
