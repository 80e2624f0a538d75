"""Write the table of a finished `make demo` into docs/results.md and README.md.

python benchmarks/demo_table.py [--run runs/demo]
"""

import json
from dataclasses import dataclass
from pathlib import Path

import tyro
from sections import RESULTS, ROOT, machine, markdown, write_section

from stillmotion.report.page import HEADER, Row


@dataclass(frozen=True)
class Options:
    """Where the demo wrote."""

    run: Path = Path("runs/demo")


def main(options: Options) -> None:
    """Read the demo's results and write them as tables."""
    results = json.loads((options.run / "results.json").read_text(encoding="utf-8"))
    rows = [Row(**row).cells() for row in results["rows"]]
    table = markdown(HEADER, rows)
    minutes = results["seconds"] / 60
    write_section(RESULTS, "demo", f"{table}\n\nThe whole run took {minutes:.1f} minutes on {machine()}.")
    if len(rows) == 3:  # not the ablation
        write_section(ROOT / "README.md", "demo", f"{table}\n\nMeasured: {minutes:.1f} minutes on {machine()}.")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
