"""`stillmotion encode RECIPE`: compute the features that training will read, and stop there."""

from collections.abc import Sequence

from stillmotion.cli.train import read_options


def run(words: Sequence[str]) -> None:
    """Encode what the cache lacks."""
    from stillmotion.experiment import fill_cache

    name, (recipe, data, place) = read_options("encode", words)
    bad = fill_cache(recipe, data, place, name)
    print(bad.summary() or f"{bad.total} videos are encoded")
