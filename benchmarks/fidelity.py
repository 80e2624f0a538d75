"""What lower precision costs on real clips with the real ViT-B/16: cosines with float32, and EVL's accuracy.

    python benchmarks/fidelity.py --data weizmann
    python benchmarks/fidelity.py --quick

Cosines over twelve clips: of frame embeddings, of the tokens behind the last four blocks (mean, and the value that one
in a hundred is below), and the relative error of affinities. Accuracy is EVL's without temporal modules, trained on six
actors and tested on three others, three folds and three seeds, each with the runtime and the storage of its row.
"""

import statistics
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import tyro
from nine_actors import read_clips, write_clips, write_fold
from sections import ROOT, machine, markdown, write_section
from tiny import write_tower
from torch import Tensor

from stillmotion.backbones.load import load_backbone
from stillmotion.backbones.runtimes import RUNTIMES, usable
from stillmotion.backbones.weights import image_tower
from stillmotion.data.dataset import read_views
from stillmotion.data.source import Data
from stillmotion.experiment import fit
from stillmotion.features.packing import pack, packs, unpack
from stillmotion.methods import EVL
from stillmotion.models.features import Features
from stillmotion.recipes.base import Place
from stillmotion.recipes.evl import evl

PAGE, CPU = ROOT / "docs" / "speed.md", torch.device("cpu")
WAYS = {"fp32": ("fp32", "float16"), "bf16": ("bf16", "float16"), "int8": ("int8", "float16")}
WAYS |= {"openvino": ("openvino", "float16")}
WAYS |= {"fp32, tokens stored in int8": ("fp32", "int8"), "int8, tokens stored in int8": ("int8", "int8")}


@dataclass(frozen=True)
class Options:
    """Where things are."""

    data: Path = Path("weizmann")
    """Folder with one folder per action, and clips named ACTOR_ACTION.avi."""
    out: Path = Path("runs/fidelity")
    """Folder of the runs."""
    backbone: str = "auto"
    """The pretrained model."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of training."""
    epochs: int = 15
    """Of training."""
    clips: int = 12
    """Whose cosines are taken."""
    quick: bool = False
    """One fold of two actions with a tiny CLIP; the table is only printed."""


def cosines(options: Options) -> dict[str, list[str]]:
    """Of every way: frames, tokens, one token in a hundred, affinities."""
    weights, recipe = load_backbone(options.backbone), evl()
    reads, preprocess = replace(EVL().reads(), frames=True), recipe.preprocess(weights.backbone.pixels)
    paths = read_clips(options.data)[0]
    paths = paths[:: max(1, len(paths) // options.clips)][: options.clips]
    videos = [read_views(path, recipe.method.num_frames, recipe.sampling, preprocess) for path in paths]
    able = {runtime for runtime, _ in ways_of(options).values()}
    ways = {runtime: RUNTIMES[runtime](image_tower(weights, reads), CPU) for runtime in able}
    truth = [ways["fp32"](video) for video in videos]
    found = {}
    for name, (runtime, stored) in ways_of(options).items():
        given = [kept(ways[runtime](video), stored) for video in videos]
        tokens = torch.cat([cosine(a, b, "out.") for a, b in zip(truth, given)])
        frames = torch.cat([cosine(a, b, "frames") for a, b in zip(truth, given)])
        motion = max(float((a[k] - b[k]).norm() / a[k].norm()) for a, b in zip(truth, given) for k in a if k[0] == "a")
        numbers = (frames.mean(), tokens.mean(), tokens.kthvalue(1 + tokens.numel() // 100).values)
        found[name] = [*(f"{float(x):.5f}" for x in numbers), f"{motion:.3f}"]
    return found


def ways_of(options: Options) -> dict[str, tuple[str, str]]:
    """Those that this machine runs; a test does not load OpenVINO, which its process would keep."""
    return {name: way for name, way in WAYS.items() if usable(way[0]) and not (options.quick and way[0] == "openvino")}


def kept(features: Features, stored: str) -> Features:
    """As they come out of a cache."""
    found = {}
    for name, tensor in features.items():
        if stored == "int8" and packs(name):
            (view,) = tensor
            found[name] = unpack(*pack(name, view).values())[None].float()
        else:
            found[name] = tensor.half().float()
    return found


def cosine(a: Features, b: Features, kind: str) -> Tensor:
    """Of all rows of the outputs whose names begin so."""
    pairs = [(a[name].double(), b[name].double()) for name in a if name.startswith(kind)]
    return torch.cat([torch.nn.functional.cosine_similarity(x, y, dim=-1).flatten() for x, y in pairs])


def accuracy(options: Options, folds: int) -> dict[str, str]:
    """Top-1 of EVL with every way, mean and deviation over seeds of the mean over folds."""
    clips, actors = read_clips(options.data)
    method: Any = EVL(conv=False, positions=False, cross_attention=False, init="identity")
    found = {}
    for name, (runtime, stored) in ways_of(options).items():
        if runtime == "bf16":
            continue  # between the two others
        means = []
        for seed in options.seeds:
            tops = []
            for fold in range(folds):
                folder = options.out / f"fold{fold}"
                write_fold(folder, clips, actors, fold)
                base = evl()
                train = replace(base.train, epochs=options.epochs, eval_every=0, seed=seed, device="cpu")
                recipe: Any = replace(
                    base, method=method, train=train, backbone=options.backbone, runtime=runtime, stored=stored
                )
                out = folder / f"{runtime}_{stored}_seed{seed}"
                place = Place(out=out, cache=options.out / "cache", report=False)
                data = Data(data=folder / "train.txt", val=folder / "val.txt")
                tops.append(fit(recipe, data, place, keep=True).report.top1)
            means.append(statistics.fmean(tops))
        spread = f" ± {statistics.stdev(means):.3f}" if len(means) > 1 else ""
        found[name] = f"{statistics.fmean(means):.3f}{spread}"
    return found


def table(options: Options, folds: int = 3) -> str:
    """Both in one."""
    near, top = cosines(options), accuracy(options, folds)
    header = ["runtime", "frames", "tokens", "1 % of tokens", "affinities", "EVL top-1"]
    return markdown(header, [[name, *numbers, top.get(name, "")] for name, numbers in near.items()])


def main(options: Options) -> None:
    """Run, and write the table."""
    if options.quick:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            tower = str(write_tower(place / "tower.safetensors"))
            made: dict[str, Any] = {"data": write_clips(place / "clips"), "out": place / "runs", "backbone": tower}
            print(table(replace(options, epochs=1, seeds=(0,), clips=2, **made), folds=1))
        return
    write_section(PAGE, "fidelity", f"{machine()}.\n\n{table(options)}")


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
