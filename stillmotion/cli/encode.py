"""`stillmotion encode RECIPE`: compute the features that training will read, and stop there."""

from collections.abc import Sequence

from stillmotion.cli.train import read_run
from stillmotion.data.bad import BadVideos
from stillmotion.data.source import load_data
from stillmotion.errors import StillmotionError


def run(words: Sequence[str]) -> None:
    """Encode what the cache lacks."""
    from pathlib import Path

    from stillmotion.experiment import clip_weights, prepare
    from stillmotion.train.accelerator import make_accelerator

    name, config = read_run("encode", words)
    if config.method.cached_taps() is None:
        raise StillmotionError(f"{name} trains CLIP itself, so it has no features to keep; use evl or linear_probe")
    train, val = load_data(config.data, config.train.seed)
    folder = config.out or Path("runs") / name
    bad = BadVideos(folder / "bad_videos.jsonl", len(train) + len(val), config.data.max_bad)
    prepare(config, clip_weights(config), train, val, make_accelerator(config.train), bad)
    print(bad.summary() or f"{len(train) + len(val)} videos are encoded")
