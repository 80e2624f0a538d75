"""How time grows with frames, pixels, classes, clips and heads, and what large sets cost: docs/scale.md.

    python benchmarks/scale.py
    python benchmarks/scale.py --quick

Medians of interleaved runs with random weights; an exponent is the slope between the last two points on doubly
logarithmic axes (1: linear). What sets cost is arithmetic: clips times the seconds and bytes of one.
"""

import json
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import tyro
from evl_decoder import random_features
from floors import interleaved
from sections import ROOT, machine, markdown, write_section
from speed_rows import Sizes

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.clip import describe
from stillmotion.data.bad import BadVideos
from stillmotion.data.manifest import Clip, read_manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.features.encode import views_of
from stillmotion.features.packing import packs
from stillmotion.features.store import FeatureSpec, FeatureStore
from stillmotion.files import Digests
from stillmotion.methods import EVL
from stillmotion.models.features import Reads
from stillmotion.progress import size_of

PAGE = ROOT / "docs" / "scale.md"
SETS = {"UCF-101": 13_320, "Something-Something v2": 220_847, "Kinetics-400": 260_232, "a hundred million": 10**8}
"""Clips: the first by its readme, the second by its lists, the third by those of EVL's release."""
A100 = 312e12
"""Operations a second of bfloat16 that its maker states; half of it is what a good encoder reaches."""


@dataclass(frozen=True)
class Options:
    """What to run."""

    repeats: int = 3
    """Turns to take the median of."""
    quick: bool = False
    """Two small points of each curve with a tiny tower, printed and written nowhere."""


Curve = dict[int, float]


def exponent(curve: Curve) -> float:
    """Of the growth between the last two points."""
    (a, s), (b, t) = list(curve.items())[-2:]
    return math.log(t / s) / math.log(b / a)


def over(points: Sequence[int], make: Callable[[int], Callable[[], object]], repeats: int) -> Curve:
    """Median seconds at every point, measured in turns."""
    found = interleaved({str(n): make(n) for n in points}, repeats)
    return {int(n): seconds for n, seconds in found.items()}


def tower_curves(sizes: Sizes, points: dict[str, Sequence[int]], repeats: int) -> dict[str, Curve]:
    """The tower over frames and over pixels, the decoder's step over frames, layers and classes."""

    def encode(side: int, frames: int) -> Callable[[], object]:
        vision = replace(sizes.config.vision, image_size=(side, side))
        tower = describe(replace(sizes.config, vision=vision)).visual(EVL(layers=min(4, vision.layers)).reads()).eval()
        video = torch.randn(1, frames, 3, side, side)
        return lambda: torch.no_grad()(tower)(video)

    def step(frames: int = 8, layers: int = 4, classes: int = 400) -> Callable[[], object]:
        method = EVL(num_frames=frames, layers=layers)
        model = method.build(sizes.backbone, [str(i) for i in range(classes)])
        features = random_features(sizes.backbone, method, 2)

        def run() -> None:
            model.head(model.temporal(features), None, features).logsumexp(-1).sum().backward()
            model.zero_grad()

        return run

    return {
        "encode, over frames": over(points["frames"], lambda n: encode(sizes.side, n), repeats),
        "encode 8 frames, over pixels of a side": over(points["pixels"], lambda n: encode(n, 8), repeats),
        "EVL step, over frames": over(points["frames"], lambda n: step(frames=n), repeats),
        "EVL step, over layers": over(points["layers"], lambda n: step(layers=n), repeats),
        "EVL step, over classes": over(points["classes"], lambda n: step(classes=n), repeats),
    }


def listing_curves(points: Sequence[int], repeats: int, folder: Path) -> dict[str, Curve]:
    """Before the first step of a second run: a list is read, digests are recalled, the cache's index is opened."""
    spec = FeatureSpec(backbone="b" * 64, num_frames=8, preprocess=Preprocess(), sampling=Sampling())
    lists, clips = dict[int, Path](), dict[int, tuple[Clip, ...]]()
    for n in points:
        place = folder / str(n)
        (place / "videos").mkdir(parents=True)
        for i in range(n):
            (place / "videos" / f"{i}.mp4").write_bytes(i.to_bytes(8, "big"))
        lists[n] = place / "list.txt"
        lists[n].write_text("".join(f"videos/{i}.mp4 {i % 10}\n" for i in range(n)), encoding="utf-8")
        clips[n] = read_manifest(lists[n]).clips
        Digests.CLOCK, clock = 0, Digests.CLOCK  # the files are younger than a memo may trust
        views = views_of(clips[n], Sampling(), BadVideos(None, n, 0.0), Digests(place))
        Digests.CLOCK = clock
        store = FeatureStore(place, spec)
        for found in views:
            store.add(found[0].items()[0], {"frames": torch.zeros(8, 512)})
        store.flush()

    def second(n: int) -> Callable[[], object]:
        def run() -> int:
            place, outputs = lists[n].parent, ("frames",)
            views = views_of(clips[n], Sampling(), BadVideos(None, n, 0.0), Digests(place))
            store = FeatureStore(place, spec)
            return sum(not store.lacking(found[0].items()[0], outputs) for found in views)

        return run

    return {
        "read a list, over clips": over(points, lambda n: lambda: read_manifest(lists[n]), repeats),
        "recall digests and open the cache, over clips": over(points, second, repeats),
    }


def bytes_of(backbone: Backbone, reads: Reads, frames: int, packed: bool) -> int:
    """Of one view in the cache."""
    sizes = {name: math.prod(backbone.shape(name, frames)) for name in reads.names(backbone.layers)}
    return sum(size if packed and packs(name) else 2 * size for name, size in sizes.items())


def costs(seconds: float, threads: int) -> str:
    """Core-hours, GPU-hours and bytes of whole sets, ViT-B/16 and 8 frames."""
    sizes, method = Sizes("ViT-B-16"), EVL()
    operations, blocks = sizes.operations(8), method.reads()
    tiers = {
        "pooled": bytes_of(sizes.backbone, Reads(frames=True), 8, False),
        "tokens": bytes_of(sizes.backbone, blocks, 8, False),
        "tokens-int8": bytes_of(sizes.backbone, blocks, 8, True),
    }
    rows = []
    for name, clips in SETS.items():
        core, gpu = clips * seconds * threads / 3600, clips * operations / (A100 / 2) / 3600
        rows.append(
            [name, f"{clips:,}", f"{core:,.0f}", f"{gpu:,.2g}" if gpu < 100 else f"{gpu:,.0f}"]
            + [size_of(clips * size) for size in tiers.values()]
        )
    table = markdown(["set", "clips", "core-hours", "A100-hours", *tiers], rows)
    per_clip = ", ".join(f"{name} {size_of(size)}" for name, size in tiers.items())
    return (
        f"One clip: {operations / 1e9:.0f} GFLOP; {seconds:.2f} s with {threads} thread(s) in float32; {per_clip}. "
        f"Decoding is not in it. A100-hours are arithmetic, at half of its {A100 / 1e12:.0f} TFLOP/s.\n\n{table}"
    )


def draw(curves: dict[str, Curve], path: Path) -> None:
    """Every curve, each point as a share of its first."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.5, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        first, start = next(iter(curve.items()))
        axes.plot([n / first for n in curve], [s / start for s in curve.values()], marker=".", label=name)
    ends = [1, max(list(curve)[-1] / next(iter(curve)) for curve in curves.values())]
    axes.plot(ends, ends, color="0.6", linestyle=":", label="linear")
    axes.set(xscale="log", yscale="log", xlabel="size, in first sizes", ylabel="seconds, in first seconds")
    axes.legend(fontsize=7)
    figure.savefig(path, dpi=110)


def table(curves: dict[str, Curve]) -> str:
    """Points and exponents."""
    rows = []
    for name, curve in curves.items():
        points = ", ".join(f"{n:,}: {1000 * seconds:.3g}" for n, seconds in curve.items())
        rows.append([name, points, f"{exponent(curve):.2f}"])
    return markdown(["what", "ms at each size", "exponent"], rows)


def main(options: Options) -> None:
    """Measure, print and write."""
    sizes = Sizes("tiny" if options.quick else "ViT-B-16")
    points: dict[str, Sequence[int]] = {
        "frames": (8, 16, 32, 64), "pixels": (224, 336), "layers": (1, 2, 4, 8), "classes": (10, 100, 1000),
    }  # fmt: skip
    listed: Sequence[int] = (100, 1000, 10_000, 100_000)
    if options.quick:
        points = {"frames": (2, 4), "pixels": (32, 64), "layers": (1, 2), "classes": (3, 6)}
        listed = (3, 6)
    repeats = 1 if options.quick else options.repeats
    curves = tower_curves(sizes, points, repeats)
    with tempfile.TemporaryDirectory() as name:
        curves |= listing_curves(listed, repeats, Path(name))
    text = f"{machine()}, {torch.get_num_threads()} threads.\n\n{table(curves)}"
    print(text)
    if options.quick:
        return
    draw(curves, PAGE.parent / "scale.png")
    write_section(PAGE, "curves", f"{text}\n\n![](scale.png)")
    write_section(PAGE, "sets", costs(curves["encode, over frames"][8], torch.get_num_threads()))
    print(json.dumps({name: exponent(curve) for name, curve in curves.items()}, indent=2))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
