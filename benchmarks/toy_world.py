"""The four protocols on the rendered world with the tiny CLIP, without a hub: `make benchmark`.

    python benchmarks/toy_world.py
    python benchmarks/toy_world.py --quick

Renders the clips (`stillmotion.actors.benchmark`), trains stage 1 of *bridge and prompt* on the source classes of
zero-shot, fills a table for each protocol, and writes docs/benchmark.md. Stopped at any time, it goes on where it was.
"""

import contextlib
import io
import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tyro
from sections import ROOT, machine, markdown, write_section

from stillmotion.actors.benchmark import BenchmarkSpec, write_benchmark
from stillmotion.bench.options import PROTOCOLS
from stillmotion.cli import main as stillmotion
from stillmotion.data.entries import Listing
from stillmotion.datasets import open_source

PAGE = ROOT / "docs" / "benchmark.md"
CLIP = "CLIP = zero_shot"
PROMPTS = "prompts after the bridge = vificlip --tuned prompts --vision-prompts 4 --text-prompts 4 --vision-depth 4 "
TUNED = (
    "image-FT = vificlip --tuned image",
    "text-FT = vificlip --tuned text",
    "ViFi-CLIP = vificlip",
    "X-CLIP = xclip",
    "ActionCLIP = actionclip",
)
FROZEN = ("A5 = a5", "EVL = evl", "STEP = step", "attentive probe = attentive_probe", "linear probe = linear_probe")
RATE = "--batch-size 16 --warmup 0 --workers 1 --augment none --eval-every 0 --lr"
"""Of tuned towers, at 1e-4: at the recipes' rates, for CLIPs that know more, this one does not move in so few steps."""
EPOCHS = {"zero-shot": 2, "base-to-novel": 4, "few-shot": 10, "supervised": 2}
"""Few passes over many clips: with 8 clips a class and 8 passes every tuned model fell below the CLIP it came from."""


@dataclass(frozen=True)
class Options:
    """How much is run."""

    out: Path = Path("runs/benchmark")
    """Folder of clips and tables."""
    epochs: int | None = None
    """Of methods that train a tower or prompts; None: by protocol, 2 to 10. Heads on a frozen tower have ten."""
    shots: tuple[int, ...] = (2, 4)
    """Of few-shot."""
    clips: int = 32
    """Training clips of each class."""
    seed: int = 0
    """Of clips and training."""
    quick: bool = False
    """One epoch of two methods on a clip or two of each class; the tables are only printed."""


def whole(world: Path) -> Path:
    """Base and novel classes as one manifest: the novel ones have no training clips, so they are the rare half."""
    places = {"base": world / "base_to_novel" / "base", "novel/val": world / "base_to_novel" / "novel" / "val"}
    base, novel = map(open_source, places.values())
    header = replace(
        base.header,
        classes=(*base.header.classes, *novel.header.classes),
        prompts=(*base.header.prompts, *novel.header.prompts),
    )
    inside = [
        replace(e, path=f"{place}/{e.path}", split=e.split or "val")
        for place, listing in zip(places, (base, novel))
        for e in listing.entries
    ]
    path = world / "base_to_novel.jsonl"
    Listing(header, tuple(inside), world / "base_to_novel").write(path)
    return path


def tables(options: Options) -> dict[str, dict[str, Any]]:
    """Fill every table; by name of the protocol."""
    spec = BenchmarkSpec(train=options.clips, val=max(1, min(8, options.clips // 2)), seed=options.seed)
    world = write_benchmark(options.out / "world", spec)
    shared = ["--backbone", "tiny", "--cache", str(options.out / "cache"), "--device", "cpu"]
    bridge = options.out / "stage1"
    if not (bridge / "model.safetensors").is_file() or not (bridge / "results.json").is_file():
        words = ["train", "vificlip", "--data", str(world / "zero_shot" / "source"), "--out", str(bridge)]
        words += ["--epochs", str(options.epochs or EPOCHS["zero-shot"]), *RATE.split(), "1e-4", "--no-report"]
        quiet([*words, *shared])

    def methods(protocol: str) -> list[str]:
        """All of a protocol; in a quick run one of each kind."""
        epochs = options.epochs or EPOCHS[protocol]
        tuned = [f"{name} --epochs {epochs} {RATE} 1e-4" for name in (TUNED[2:3] if options.quick else TUNED)]
        frozen = [f"{name} --epochs {1 if options.quick else 10} --warmup 0" for name in FROZEN]
        frozen = frozen[-1:] if options.quick else frozen
        prompts = f"{PROMPTS} --text-depth 2 --epochs {epochs} {RATE} 1e-3 --start-from {bridge / 'model.safetensors'}"
        open_ones = frozen[:1] if protocol == "zero-shot" else frozen
        return [CLIP, *tuned, *([prompts] if protocol in ("base-to-novel", "few-shot") else []), *open_ones]

    one, few = ["--seeds", str(options.seed)], ["--shots", str(min(options.clips, 16))]
    whole_world, source = str(world / "supervised"), str(world / "zero_shot" / "source")
    target = str(world / "zero_shot" / "target" / "val")
    wanted: dict[str, list[str]] = {
        "zero-shot": [*methods("zero-shot"), "--train", source, "--data", target],
        "base-to-novel": [*methods("base-to-novel"), "--data", str(whole(world)), *one, *few],
        "few-shot": [
            *methods("few-shot"), "--data", whole_world, *one, "--shots", *map(str, options.shots),
        ],
        "supervised": [*methods("supervised"), "--data", whole_world, *one],
    }  # fmt: skip
    found = {}
    for protocol, words in wanted.items():
        out = options.out / protocol
        quiet(["bench", protocol, *words, "--out", str(out), *shared, *(["--no-report"] if options.quick else [])])
        found[protocol] = json.loads((out / "table.json").read_text(encoding="utf-8"))
    return found


def quiet(words: list[str]) -> None:
    """A command without what it prints at its end."""
    with contextlib.redirect_stdout(io.StringIO()):
        stillmotion(words)


def rows(table: dict[str, Any]) -> str:
    """The summary of a table, with the intervals of its cells: there is one for each line, of one seed."""
    named = [name for name in ("shots", "part") if any(line[name] is not None for line in table["summary"])]
    intervals = {(row["method"], row["cell"]["shots"], row["cell"]["part"]): row["interval"] for row in table["rows"]}
    lines = []
    for line in table["summary"]:
        top1 = "cannot" if line["top1"] is None else f"{100 * line['top1']:.1f} %"
        ends = intervals.get((line["method"], line["shots"], line["part"]))
        sure = "" if ends is None else f"{100 * ends[0]:.0f} to {100 * ends[1]:.0f} %"
        lines.append([line["method"], *(str(line[name] or "") for name in named), top1, sure])
    return markdown(["method", *named, "top-1", "95 %"], lines)


def main(options: Options) -> None:
    """Run, and write the page."""
    if options.quick:
        with tempfile.TemporaryDirectory() as name:
            small = replace(options, out=Path(name), epochs=1, shots=(1,), clips=2)
            for protocol, table in tables(small).items():
                print(f"{protocol}\n\n{rows(table)}\n")
        return
    text = "\n\n".join(f"### {protocol}\n\n{rows(table)}" for protocol, table in tables(options).items())
    folders = [str(options.out / name) for name in PROTOCOLS]
    stillmotion(["report", *folders, "-o", str(options.out / "report.html")])
    write_section(PAGE, "toy world", f"Seed {options.seed}; {machine()}.\n\n{text}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
