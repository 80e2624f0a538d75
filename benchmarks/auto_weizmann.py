"""What `train auto` chooses on Weizmann (90 clips, 10 actions, 9 actors), beside every candidate, with order tests.

    python benchmarks/auto_weizmann.py --data weizmann --seeds 3
    python benchmarks/auto_weizmann.py --quick

Three folds of three actors are held out, once for each seed; `auto` sees the other six actors, which stay whole in its
own folds. Then every candidate is trained on these six actors and scored on the three. Stopped at any time, it goes on
where it was, cell by cell; the table in docs/results.md is of the cells that are done.
"""

import json
import statistics
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import tyro
from nine_actors import read_clips, write_clips, write_fold
from sections import RESULTS, machine, markdown, write_section
from tiny import write_tower

from stillmotion.auto import Auto, auto
from stillmotion.data.source import Data
from stillmotion.experiment import Job, fit_together, make_caches
from stillmotion.files import write_json
from stillmotion.recipes.base import Place
from stillmotion.search import Search
from stillmotion.training.learner import Diverged

ORDERS = ("full", "shuffled", "reversed", "frozen")


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action, and clips named ACTOR_ACTION.avi."""
    out: Path = Path("runs/auto_weizmann")
    """Folder of the cells."""
    seeds: int = 3
    """Of training, and of auto's folds."""
    backbone: str = "auto"
    """The pretrained model."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""
    epochs: int | None = None
    """Of every candidate; None: as each recipe has it."""
    share: tuple[int, int] = (0, 1)
    """The first cell and the step to the next, so that processes share the work; one without it writes the table."""
    collect: bool = False
    """Train nothing; write the table of the cells that are done."""
    quick: bool = False
    """One cell of two actions with a tiny CLIP; the table is only printed."""


def cell(options: Options, fold: int, seed: int) -> dict[str, Any]:
    """Run `auto`, then every candidate, with one fold of actors held out; or read what they gave before."""
    folder = options.out / f"fold{fold}-seed{seed}"
    done = folder / "cell.json"
    if done.is_file():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    train, val = write_fold(folder, *read_clips(options.data), fold)
    data = Data(data=train, val=val, group=r"/(\w+)_\w+\.avi")
    choosing = Auto(seed=seed, backbone=options.backbone, epochs=options.epochs, device="cpu")
    choosing = replace(choosing, candidates=("linear_probe", "step"), folds=2) if options.quick else choosing
    place = Place(out=folder / "auto", cache=options.cache)
    choice = auto(choosing, data, place)
    recipes = choosing.recipes()
    caches = make_caches(next(iter(recipes.values())), place)
    search = Search(recipes, data, place, caches)
    jobs = [
        Job(recipe=recipe, clips=search.clips, data=data, place=replace(place, out=folder / name.replace(" ", "_")))
        for name, recipe in recipes.items()
    ]
    held_out = {}
    for job, name, result in zip(jobs, recipes, fit_together(jobs, caches, keep=True)):
        if isinstance(result, Diverged):
            raise result
        held_out[name] = dict(search.other_orders(job.recipe, result).top1)
        result.folder.model.unlink()  # 130 MB each
    found = {"auto": choice.to_dict(), "candidates": held_out}
    write_json(done, found)
    return found


def table(cells: list[dict[str, Any]]) -> str:
    """The means over the cells."""
    rows = []

    def row(name: str, found: list[dict[str, float]], note: str) -> None:
        spread = f"{statistics.stdev(f['full'] for f in found):.3f}" if len(found) > 1 else ""
        rows.append([name, *(f"{statistics.mean(f[order] for f in found):.3f}" for order in ORDERS), spread, note])

    winners = Counter(c["auto"]["winner"] for c in cells)
    row("`train auto`", [c["auto"]["order"] for c in cells], "")
    for name in cells[0]["candidates"]:
        row(name, [c["candidates"][name] for c in cells], f"{winners[name]} of {len(cells)}")
    for name in winners.keys() - cells[0]["candidates"].keys():
        count = winners[name]
        rows.append([name, *[""] * (len(ORDERS) + 1), f"{count} of {len(cells)}"])
    return markdown(["held-out actors", *ORDERS, "spread of full", "chosen"], rows)


def main(options: Options) -> None:
    """Run the cells, fold by fold and seed by seed, and write the table."""
    if options.quick:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            made = {
                "data": write_clips(folder / "clips"),
                "out": folder / "runs",
                "cache": folder / "cache",
                "epochs": 1,
            }
            small = replace(options, backbone=str(write_tower(folder / "tower.safetensors")), **made)
            print(table([cell(small, 0, 0)]))
        return
    cells = []
    first, step = options.share
    for seed, fold in list(product(range(options.seeds), range(3)))[first::step]:
        if not options.collect or (options.out / f"fold{fold}-seed{seed}" / "cell.json").is_file():
            print(f"fold {fold}, seed {seed}", file=sys.stderr, flush=True)
            cells.append(cell(options, fold, seed))
    if step == 1:
        text = f"Top-1 on actors never seen in training, mean of {len(cells)} cells (fold, seed); {machine()}."
        write_section(RESULTS, "auto weizmann", f"{text}\n\n{table(cells)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
