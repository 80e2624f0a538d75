"""Write the table of a finished `make demo` into docs/results.md and README.md.

python benchmarks/demo_table.py [--run runs/demo | --quick]
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path

import tyro
from sections import RESULTS, ROOT, machine, markdown, write_section
from tiny import write_tower

from stillmotion.demo import HEADER, Demo, Row, demo


@dataclass(frozen=True)
class Options:
    """Where the demo wrote."""

    run: Path = Path("runs/demo")
    """Folder of the demo."""
    quick: bool = False
    """Run the demo with two actors, one epoch and a tiny CLIP, and print its table."""


def main(options: Options) -> None:
    """Read the demo's results and write them as tables."""
    if options.quick:
        with tempfile.TemporaryDirectory() as folder:
            place, tower = Path(folder) / "demo", write_tower(Path(folder) / "tower.safetensors")
            small = {"epochs": 1, "train_actors": 1, "test_actors": 1}
            demo(Demo(out=place, cache=place, backbone=str(tower), **small))
            results = json.loads((place / "results.json").read_text(encoding="utf-8"))
    else:
        results = json.loads((options.run / "results.json").read_text(encoding="utf-8"))
    rows = [Row(**row).cells() for row in results["rows"]]
    table = markdown(HEADER, rows)
    minutes = results["seconds"] / 60
    if options.quick:
        print(table)
        return
    write_section(RESULTS, "demo", f"{table}\n\nThe whole run took {minutes:.1f} minutes on {machine()}.")
    if len(rows) == 3:  # not the ablation
        write_section(ROOT / "README.md", "demo", f"{table}\n\nMeasured: {minutes:.1f} minutes on {machine()}.")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
