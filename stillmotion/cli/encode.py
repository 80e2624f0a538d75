"""`stillmotion encode RECIPE`: compute the features that training will read, and stop there."""

from collections.abc import Sequence

from stillmotion.cli.train import read_options
from stillmotion.data.bad import BadVideos
from stillmotion.data.source import load_data
from stillmotion.errors import StillmotionError


def run(words: Sequence[str]) -> None:
    """Encode what the cache lacks."""
    from pathlib import Path

    from stillmotion.experiment import backbone_weights, prepare
    from stillmotion.train.accelerator import make_accelerator

    name, (recipe, data, place) = read_options("encode", words)
    if recipe.method.cached_taps() is None:
        raise StillmotionError(f"{name} trains CLIP itself, so it has no features to keep; use evl or linear_probe")
    train, val = load_data(data, recipe.train.seed)
    folder = place.out or Path("runs") / name
    bad = BadVideos(folder / "bad_videos.jsonl", len(train) + len(val), data.max_bad)
    weights, accelerator = backbone_weights(recipe, place.start_from), make_accelerator(recipe.train)
    prepare(recipe, weights, train, val, accelerator, bad, place.cache)
    print(bad.summary() or f"{len(train) + len(val)} videos are encoded")
