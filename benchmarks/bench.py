"""How fast the parts of the work are, beside the release's computation and what the machine can do: `make bench`.

    python benchmarks/bench.py
    python benchmarks/bench.py --quick

The release's side is stated plainly in `benchmarks/reference/`. Medians of interleaved runs with one thread and with
all; ratios of one run are what counts. Writes DIR/bench.json and, without --quick, a section of docs/speed.md.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import tyro
from floors import Floors, measure
from sections import ROOT, machine, markdown, write_section
from speed_rows import Row, Sizes, decode_rows, decoder_rows, encode_rows, vificlip_row
from speed_whole import whole_rows

from stillmotion.files import write_json

PAGE = ROOT / "docs" / "speed.md"


@dataclass(frozen=True)
class Options:
    """What to run."""

    out: Path = Path("runs/bench")
    """Folder of bench.json."""
    threads: tuple[int, ...] = (1, os.cpu_count() or 1)
    """Numbers of threads, each measured."""
    repeats: int = 5
    """Turns to take the median of."""
    quick: bool = False
    """One turn on a tiny tower, printed and written nowhere."""


def rows(options: Options) -> tuple[dict[int, Floors], list[Row]]:
    """Everything, for each number of threads."""
    sizes = Sizes("tiny" if options.quick else "ViT-B-16")
    repeats, scale = 1 if options.quick else options.repeats, 8 if options.quick else 1
    floors, found = {}, list[Row]()
    for threads in dict.fromkeys(options.threads):
        torch.set_num_threads(threads)
        floors[threads] = measure(repeats, scale)
        found += encode_rows(sizes, floors[threads], repeats)
        found.append(vificlip_row(sizes, min(repeats, 3), *((2, 3) if options.quick else ())))
        found += decoder_rows(sizes, floors[threads], repeats, (2,) if options.quick else (4, 8))
    return floors, [*found, *decode_rows(options.quick, repeats), *whole_rows(options.quick, repeats)]


def table(found: list[Row]) -> str:
    """The rows for people."""
    lines = []
    for row in found:
        content = row.to_dict()
        share, ratio = content["share_of_floor"], content["ratio"]
        of_floor = "" if share is None else f"{100 * share:.0f} %"
        times = (f"{1000 * seconds:.0f}" if seconds else "" for seconds in (row.ours, row.reference))
        lines.append([row.what, str(row.threads), *times, "" if ratio is None else f"{ratio:.2f}", of_floor])
    return markdown(["what", "threads", "ours, ms", "beside, ms", "ratio", "of the floor"], lines)


def floor_table(floors: dict[int, Floors]) -> str:
    """What the machine can do."""
    lines = [
        [str(n), *(f"{rate / 1e9:.0f}" if rate else "" for rate in (f.fp32, f.bf16, f.int8, f.memory))]
        for n, f in floors.items()
    ]
    return markdown(["threads", "fp32, GFLOP/s", "bf16, GFLOP/s", "int8, GOP/s", "memory, GB/s"], lines)


def main(options: Options) -> None:
    """Measure, print and write."""
    floors, found = rows(options)
    text = f"{machine()}.\n\n{table(found)}\n\n{floor_table(floors)}"
    print(text)
    if options.quick:
        return
    content = {
        "machine": machine(),
        "floors": {str(n): asdict(f) for n, f in floors.items()},
        "rows": [row.to_dict() for row in found],
    }
    write_json(options.out / "bench.json", content)
    write_section(PAGE, "bench", text)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
