"""Clips that look alike: pairs whose frames have nearly the same perceptual hashes."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

SIDE = 16
"""Rows and columns of a hash (pHash of 256 bits). Of 64 bits, two actions of one person in one place are as near as a
copy: on Weizmann's clips 2 % of the bits differ, where resized and re-encoded copies have 1 to 4 %; of 256, 10 % and
2 to 7 %."""
NEAR = 0.08
"""Part of the bits below which two clips are near copies: between the two."""
WORDS = SIDE * SIDE // 64
BANDS = range(0, 64, 16)
BLOCK = 2000
"""Clips that are compared with as many others at a time."""


def near_pairs(hashes: Sequence[Sequence[str]], most: float) -> list[tuple[int, int, float]]:
    """Pairs (i, j, distance), i before j, of clips whose hashes differ in a part `most` of their bits, or less.

    Hashes are those of each frame, of 256 bits as hexadecimal digits, or "" for a frame that says nothing. Only
    frames that both clips have a hash of are compared, and at least three of them. Clips are compared that have 16
    bits of a frame in common, so that a large set is not compared all with all.
    """
    frames = max((len(h) for h in hashes), default=0)
    bits = np.zeros((len(hashes), frames, WORDS), dtype=np.uint64)
    known = np.zeros((len(hashes), frames), dtype=bool)
    for i, row in enumerate(hashes):
        for t, text in enumerate(row):
            if text:
                bits[i, t], known[i, t] = [int(text[k : k + 16], 16) for k in range(0, len(text), 16)], True
    found: dict[tuple[int, int], float] = {}
    for t, word, shift in product(range(frames), range(WORDS), BANDS):
        part = (bits[:, t, word] >> np.uint64(shift)) & np.uint64(0xFFFF)
        buckets: dict[int, list[int]] = defaultdict(list)
        for place in np.flatnonzero(known[:, t]).tolist():
            buckets[int(part[place])].append(place)
        for bucket in buckets.values():
            if len(bucket) > 1:
                _compare(np.array(bucket), bits, known, most, found)
    return [(i, j, d) for (i, j), d in sorted(found.items())]


def _compare(
    bucket: NDArray[np.int64],
    bits: NDArray[np.uint64],
    known: NDArray[np.bool_],
    most: float,
    found: dict[tuple[int, int], float],
) -> None:
    """Add the near pairs of a bucket, a block of its rows at a time, so that memory stays small."""
    step = max(1, BLOCK * BLOCK // len(bucket) // bits[0].size)
    for start in range(0, len(bucket), step):
        rows = bucket[start : start + step]
        both = known[rows][:, None] & known[bucket][None]
        apart = np.bitwise_count(bits[rows][:, None] ^ bits[bucket][None]).sum(axis=3) / (SIDE * SIDE)
        shared = both.sum(axis=2)
        distance = np.where(shared >= 3, (apart * both).sum(axis=2) / np.maximum(shared, 1), np.inf)
        for a, b in zip(*np.nonzero(distance <= most)):
            i, j = int(rows[a]), int(bucket[b])
            if i < j:
                found[i, j] = float(distance[a, b])
