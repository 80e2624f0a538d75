"""Which copy of Kinetics lies on a disk: videos vanish, and copies differ in which are left and in their size."""

from collections import Counter
from collections.abc import Sequence

from stillmotion.data.entries import Listing
from stillmotion.datasets.looking import Seen

VALIDATION = {
    19877: "the list that ViFi-CLIP ships",
    19761: "the copy in issue 3 of VoV3D",
    19881: "CVDF's copy, as in issue 51 of kinetics-dataset",
    17747: "the crawl in issue 94 of VideoMAE",
}
"""Validation clips of copies of Kinetics-400 that numbers were published on, or users report."""
MOST = 0.95


def which_copy(listing: Listing, seen: Sequence[Seen]) -> tuple[str, ...]:
    """What sizes and counts say of a copy of Kinetics, a sentence each; nothing of other data sets."""
    if not listing.header.dataset.startswith("kinetics"):
        return ()
    good = [one for one in seen if one.frames]
    told = [_size(good)] if good else []
    if listing.header.dataset == "kinetics400":
        bad = {one.path for one in seen if one.fault in ("missing", "empty", "unreadable")}
        count = sum(e.split == "val" and e.path not in bad for e in listing.entries)
        near = min(VALIDATION, key=lambda n: abs(n - count))
        if count == near:
            told.append(f"Its {count:,} validation clips are as many as in {VALIDATION[near]}.")
        elif count:
            others = ", ".join(f"{n:,} ({VALIDATION[n]})" for n in sorted(VALIDATION))
            told.append(f"Its {count:,} validation clips are as many as in no known copy: {others}. Say the count "
                        "beside each accuracy.")  # fmt: skip
    return tuple(told)


def _size(good: Sequence[Seen]) -> str:
    total = len(good)
    sizes = Counter((one.width, one.height) for one in good)
    sides = Counter(min(one.width, one.height) for one in good)
    (side, same), ((width, height), equal) = sides.most_common(1)[0], sizes.most_common(1)[0]
    if equal >= MOST * total and (width, height) == (340, 256):
        return f"{equal:,} of {total:,} clips are 340x256: a copy squeezed to one size, whose aspect ratios are lost."
    if same >= MOST * total:
        return f"{same:,} of {total:,} clips have a short side of {side} pixels: a resized and re-encoded copy."
    return (
        f"Short sides go from {min(sides)} to {max(sides)} pixels ({side} in {same:,} of {total:,} clips): sizes as "
        "they were uploaded, not a resized copy."
    )
