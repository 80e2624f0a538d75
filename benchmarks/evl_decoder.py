"""EVL's decoder, one training step from cached features: what each temporal module costs.

    python benchmarks/evl_decoder.py

ViT-B/16 sizes, 8 frames, 4 layers, random features. Medians of interleaved runs; the ratios are what counts.
"""

import statistics
import time
from dataclasses import dataclass, replace

import torch
import tyro
from sections import machine, markdown

from stillmotion.backbones.clip import VisualFeatures
from stillmotion.backbones.config import CLIPConfig
from stillmotion.features.store import CachedTap
from stillmotion.methods import EVL

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
    repeats: int = 7
    layers: int = 4
    clip: str = "ViT-B-16"


def main(options: Options) -> None:
    """Measure and print."""
    config = CLIPConfig.published(options.clip)
    features = random_features(config.vision.width, config.vision.grid, options)
    base = EVL(layers=options.layers)
    models = {name: replace(base, **changes).build(config, ["a"] * 10) for name, changes in VARIANTS.items()}
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


def random_features(width: int, grid: tuple[int, int], options: Options) -> VisualFeatures:
    """Half-precision taps as the cache gives them."""
    torch.manual_seed(0)
    patches, T = grid[0] * grid[1], 8
    taps = []
    for _ in range(options.layers):
        out_BTLD = torch.randn(options.batch, T, 1 + patches, width).half()
        back, ahead = torch.randn(2, options.batch, T - 1, patches, patches).softmax(-1).half()
        taps.append(CachedTap(out_BTLD, back, ahead))
    return VisualFeatures(torch.randn(options.batch, T, 512), None, tuple(taps))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
