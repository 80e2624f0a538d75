"""What eight heads over one pass of the feature cache cost, against one.

    python benchmarks/many_heads.py --data my_videos [--recipe linear_probe] [--heads 8]
    python benchmarks/many_heads.py --quick

Every call is a whole `stillmotion sweep` (or `train`) in a process of its own, from a filled cache, one after the other
in turns; medians. The last row trains the eight in eight processes. The last column is of the optimizer steps alone.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from sections import RESULTS, machine, markdown, write_section
from tiny import write_clip, write_tower


@dataclass(frozen=True)
class Options:
    """What is trained."""

    data: Path = Path("weizmann")
    """Labeled videos."""
    recipe: str = "linear_probe"
    """A frozen one."""
    heads: int = 8
    """Seeds."""
    repeats: int = 5
    """Of every call; medians are shown."""
    quick: bool = False
    """Three heads once, on generated clips with a tiny CLIP; the table is only printed."""


Times = tuple[float, float]


def timed(words: list[str], folder: Path) -> Times:
    """Seconds of one call of the command line, and of the optimizer steps in it."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "stillmotion", *words, "--out", str(folder)], check=True, capture_output=True)
    whole = time.perf_counter() - started
    runs = folder.rglob("results.json")
    return whole, sum(json.loads(path.read_text(encoding="utf-8"))["seconds"] for path in runs)


def middle(found: list[Times]) -> Times:
    """The medians of both."""
    return statistics.median(t for t, _ in found), statistics.median(t for _, t in found)


def main(options: Options) -> None:
    """Time and print."""
    with tempfile.TemporaryDirectory() as name:
        place, data, heads, repeats = Path(name), options.data, options.heads, options.repeats
        more: list[str] = []
        if options.quick:
            data, heads, repeats = place / "videos", 3, 1
            for i in range(8):
                write_clip(data / "ab"[i % 2] / f"{i}.mp4", frames=16, seed=i)
            tower = write_tower(place / "tower.safetensors")
            more = ["--backbone", str(tower), "--num-frames", "4", "--epochs", "2", "--cache", str(place / "cache")]
        shared = [
            options.recipe,
            "--data",
            str(data),
            "--val-fraction",
            "0.25",
            "--eval-every",
            "0",
            "--no-report",
            *more,
        ]
        val = ["--seed", "0"]  # one split for all would need a list; each seed has the split that it has alone
        timed(["sweep", *shared, "--seed", *map(str, range(heads))], place / "warm")  # fills the cache
        rows: dict[str, list[Times]] = {"one head": [], f"{heads} heads, sweep": []}
        for i in range(repeats):
            rows["one head"].append(timed(["train", *shared, *val], place / f"one{i}"))
            words = ["sweep", *shared, "--seed", *map(str, range(heads))]
            rows[f"{heads} heads, sweep"].append(timed(words, place / f"all{i}"))
        apart = [timed(["train", *shared, "--seed", str(seed)], place / f"apart{seed}") for seed in range(heads)]
        found = {name: middle(times) for name, times in rows.items()}
        one = found["one head"]
        found[f"{heads} heads, one by one"] = sum(t for t, _ in apart), sum(t for _, t in apart)
        header = ("what", "seconds", "times one head", "seconds in steps", "times one head")
        cells = [(k, f"{a:.1f}", f"{a / one[0]:.2f}", f"{b:.2f}", f"{b / one[1]:.2f}") for k, (a, b) in found.items()]
        table = markdown(header, cells)
    print(table)
    if not options.quick:
        write_section(RESULTS, "many heads", f"`{options.recipe}`, {machine()}.\n\n{table}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
