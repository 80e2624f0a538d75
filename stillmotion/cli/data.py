"""`stillmotion data prepare|audit|split`: data sets as manifests."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, at_least, did_you_mean, printable
from stillmotion.progress import say

if TYPE_CHECKING:
    from stillmotion.datasets.building import Prepared

ACTIONS = {
    "prepare": "a manifest of a known data set or any folder: stillmotion data prepare ucf101 --root UCF -o ucf.jsonl",
}
Out = Annotated[Path, tyro.conf.arg(aliases=["-o"])]


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Write one manifest of the clips on this disk, with labels, splits, sources and sizes. Downloads nothing."""

    name: tyro.conf.Positional[str]
    """kinetics400, kinetics600, kinetics700, ssv2, ucf101, hmdb51, diving48, or folder for any other."""
    root: Path
    """Folder that holds the videos, in whatever folders."""
    out: Out
    """The manifest: .jsonl or .parquet. Label maps and the list of missing clips are written beside it."""
    annotations: Path | None = None
    """Folder of the official annotation files; None: --root."""
    lists: tuple[str, ...] = ()
    """Split lists of ViFi-CLIP, X-CLIP, EVL, mmaction2, SlowFast or A5 in place of the official split: FILE, or
    train=FILE, val=FILE, test=FILE where the name does not say."""
    labels: Path | None = None
    """Label map of these lists: CSV lines `id,name`."""
    official: int = 1
    """Number of the official split, for data sets with several."""
    group: str | None = None
    """Regular expression whose first group in a path names a clip's source; None: what the data set's names say."""
    workers: int = 0
    """Processes that open files."""

    def __post_init__(self) -> None:
        at_least(0, self, "workers")
        at_least(1, self, "official")


def run(words: Sequence[str]) -> None:
    """Run one of the actions."""
    if not words or words[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:8} {text}" for name, text in ACTIONS.items())
        print(
            f"usage: stillmotion data ACTION [options]\n\n{lines}\n\nstillmotion data ACTION --help shows its options."
        )
        raise SystemExit(0 if words else 2)
    if words[0] not in ACTIONS:
        raise StillmotionError(f"there is no action {words[0]!r} of `data`{did_you_mean(words[0], ACTIONS)}")
    {"prepare": _prepare}[words[0]](words[1:])


def _prepare(words: Sequence[str]) -> None:
    options: Prepare = parse(Prepare, words, "stillmotion data prepare")
    from stillmotion.data.entries import check_form
    from stillmotion.datasets.building import prepare

    check_form(options.out)  # before every file is opened
    found = prepare(
        options.name,
        options.root,
        annotations=options.annotations,
        lists=options.lists,
        labels=options.labels,
        official=options.official,
        group=options.group,
        workers=options.workers,
    )
    written = found.write(options.out)
    _show(found)
    if found.unreadable:
        say(f"{len(found.unreadable)} files cannot be opened, the first: {found.unreadable[0][1]}")
    if found.missing:
        total = len(found.missing) + len(found.listing.entries)
        say(f"{len(found.missing)} of {total} clips are missing, the first: {found.missing[0]}; {found.get}")
    if found.unlabeled:
        say(f"{found.unlabeled} clips of test sets have no published label and are left out")
    print("\n".join(printable(path) for path in written))


def _show(found: "Prepared") -> None:
    from stillmotion.cli.table import show
    from stillmotion.progress import duration

    entries, rows = found.listing.entries, []
    for split in dict.fromkeys(["train", "val", "test", *(e.split for e in entries)]):
        part = [e for e in entries if e.split == split]
        if part:
            size, seconds = sum(e.bytes or 0 for e in part), sum(e.duration or 0 for e in part)
            sources = len({e.source for e in part if e.source is not None})
            rows.append([split or "no split", f"{len(part):,}", str(len({e.label for e in part})),
                         f"{sources:,}" if sources else "", duration(seconds), f"{size / 1e9:,.2f} GB"])  # fmt: skip
    show(("split", "clips", "classes", "sources", "length", "size"), rows)
