"""EVL's decoder, one training step from cached features: what each temporal module costs.

    python benchmarks/evl_decoder.py [--quick]

ViT-B/16 sizes, 8 frames, 4 layers, random features. Medians of interleaved runs; the ratios are what counts.
"""

import statistics
import time
from dataclasses import dataclass, replace

import torch
import tyro
from sections import machine, markdown
from tiny import CONFIG

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.methods import EVL
from stillmotion.models.features import Features

VARIANTS = {
    "no temporal module": {"conv": False, "positions": False, "cross_attention": False},
    "convolution": {"positions": False, "cross_attention": False},
    "positions": {"conv": False, "cross_attention": False},
    "cross-attention": {"conv": False, "positions": False},
    "all": {},
}


@dataclass(frozen=True)
class Options:
    """What to run."""

    batch: int = 8
    """Clips in a step."""
    repeats: int = 7
    """Steps to take the median of."""
    layers: int = 4
    """Layers of the decoder."""
    model: str = "ViT-B-16"
    """Sizes of the image tower, by open_clip's name."""
    quick: bool = False
    """One step of one clip with the sizes of a tiny tower."""


def main(options: Options) -> None:
    """Measure and print."""
    if options.quick:
        options = replace(options, batch=1, repeats=1)
    backbone = describe(CONFIG if options.quick else CLIPConfig.published(options.model))
    method = EVL(layers=options.layers)
    features = random_features(backbone, method, options.batch)
    models = {name: replace(method, **changes).build(backbone, ["a"] * 10) for name, changes in VARIANTS.items()}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(options.repeats):
        for name, model in models.items():
            start = time.perf_counter()
            model.head(model.temporal(features), None, features).logsumexp(-1).sum().backward()
            times[name].append((time.perf_counter() - start) / options.batch)
            model.zero_grad()
    least = statistics.median(times["no temporal module"])
    rows = []
    for name, values in times.items():
        median = statistics.median(values)
        rows.append([name, f"{1000 * median:.0f}", f"{median / least:.1f}"])
    print(markdown(["temporal modules", "ms per clip, forward and backward", "ratio"], rows))
    print(f"\nbatch {options.batch}, {options.layers} layers, {machine()}")


def random_features(backbone: Backbone, method: EVL, batch: int) -> Features:
    """Half-precision outputs as the cache gives them."""
    torch.manual_seed(0)
    patches, T = backbone.grid[0] * backbone.grid[1], method.num_frames
    features = {}
    for name in method.reads().names(backbone.layers):
        if name.startswith("affinity"):
            features[name] = torch.randn(batch, T - 1, 2, patches, patches).softmax(-1).half()
        elif name.startswith("out"):
            features[name] = torch.randn(batch, T, backbone.prefix_tokens + patches, backbone.width).half()
        else:
            features[name] = torch.randn(batch, T, backbone.embed_dim or backbone.width)
    return features


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
