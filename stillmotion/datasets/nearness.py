"""Clips that look alike: pairs whose frames have nearly the same perceptual hashes."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BANDS = 4
"""Parts of 16 bits that a hash is cut into: two of up to 3 different bits have one of them in common, and of a few
frames with up to 8 nearly always some do."""
BLOCK = 2000


def near_pairs(hashes: Sequence[Sequence[str]], most: float) -> list[tuple[int, int, float]]:
    """Pairs (i, j, distance), i before j, of clips whose frames differ in at most `most` of 64 bits on average.

    Only frames that both clips have a hash of are compared, and at least three of them. Clips are compared that have 16
    bits of a frame in common, so that a large set is not compared all with all.
    """
    frames = max((len(h) for h in hashes), default=0)
    bits = np.zeros((len(hashes), frames), dtype=np.uint64)
    known = np.zeros((len(hashes), frames), dtype=bool)
    for i, row in enumerate(hashes):
        for t, text in enumerate(row):
            if text:
                bits[i, t], known[i, t] = int(text, 16), True
    found: dict[tuple[int, int], float] = {}
    for t in range(frames):
        for band in range(BANDS):
            part = (bits[:, t] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
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
    step = max(1, BLOCK * BLOCK // len(bucket) // max(1, bits.shape[1]))
    for start in range(0, len(bucket), step):
        rows = bucket[start : start + step]
        both = known[rows][:, None] & known[bucket][None]
        apart = np.bitwise_count(bits[rows][:, None] ^ bits[bucket][None])
        shared = both.sum(axis=2)
        distance = np.where(shared >= 3, (apart * both).sum(axis=2) / np.maximum(shared, 1), np.inf)
        for a, b in zip(*np.nonzero(distance <= most)):
            i, j = int(rows[a]), int(bucket[b])
            if i < j:
                found[i, j] = float(distance[a, b])
