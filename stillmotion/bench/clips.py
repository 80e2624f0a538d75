"""The clips of a benchmark's cells: read back, cut, compared by content, and told apart by their sources."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from stillmotion.bench.cells import TEST
from stillmotion.data.entries import Listing
from stillmotion.data.manifest import Manifest, group_key, read_manifest
from stillmotion.data.source import Data, seen_clips
from stillmotion.data.text_features import read_text_features
from stillmotion.errors import DataError, StillmotionError
from stillmotion.eval.report import Scores
from stillmotion.files import Digests, atomic_write
from stillmotion.progress import say


def test_clips(data: Data) -> Manifest:
    """The clips to test on, of a manifest that the benchmark wrote."""
    return read_manifest(data.data, part=TEST)


def without_last(listing: Listing, batch: int) -> tuple[Listing, tuple[str, ...]]:
    """The clips but the last ones to test on that make no whole batch, and the paths of these, which are named.
    Raises `DataError`: none would be left.
    """
    tests = [e for e in listing.entries if e.split == TEST]
    if len(tests) < batch:
        raise DataError(f"drop-last {batch} leaves none of the {len(tests)} test clips; pass a smaller one")
    lost = tuple(entry.path for entry in tests[len(tests) - len(tests) % batch :])
    for path in lost:
        say(f"drop-last {batch}: {path} is not scored")
    kept = tuple(e for e in listing.entries if e.split != TEST or e.path not in lost)
    return replace(listing, entries=kept), lost


def overlap(train: Manifest, test: Manifest, digests: Digests, allowed: bool) -> None:
    """Refuse test clips that are training clips too, by their content, or say how many there are where that is allowed.
    Raises `DataError`: there are some.
    """
    pairs = seen_clips(train, test, digests)
    if not pairs:
        return
    words = f"{len(pairs)} of {len(test)} test clips are training clips too ({pairs[0][0].path} is {pairs[0][1].path})"
    if not allowed:
        raise DataError(f"{words}; give lists that do not overlap, or pass --allow-overlap to score them all the same")
    say(f"{words}; they are scored, as --allow-overlap says")


def rows_of(file: Path, names: Sequence[str], wanted: Sequence[str], width: int, path: Path) -> None:
    """Write those of the class embeddings (names, width) of a `.npy` file that belong to some of the names.
    Raises `StillmotionError`: no such file, or with another number of rows.
    """
    place = {name: i for i, name in enumerate(names)}
    rows = read_text_features(file, len(names), width).numpy()[[place[name] for name in wanted]]
    with atomic_write(path) as temporary, temporary.open("wb") as out:
        np.save(out, rows)


def sources_of(scores: Scores, clips: Manifest, listing: Listing, group: str | None) -> list[str] | None:
    """What each scored clip was cut from: by a regular expression, else as the manifest says; None: nobody knows.
    Raises `StillmotionError`: the expression does not fit every path.
    """
    if group is not None:
        key = group_key(clips, group)
        return [key(clips.clips[i]) for i in scores.indices.tolist()]
    tests = [e for e in listing.entries if e.split == TEST]
    if len(tests) != len(clips):
        raise StillmotionError(f"{len(clips)} clips were read where the manifest has {len(tests)}")
    if any(e.source is None for e in tests):
        return None
    return [str(tests[i].source) for i in scores.indices.tolist()]
