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
    from stillmotion.data.entries import Listing

ACTIONS = {
    "prepare": "a manifest of a known data set or any folder: stillmotion data prepare ucf101 --root UCF -o ucf.jsonl",
}
ACTIONS["audit"] = "unreadable, repeated and leaking clips, counts, a page: stillmotion data audit ucf.jsonl -o audit"
ACTIONS["split"] = "few-shot, base and novel classes, train, val and test: stillmotion data split ucf.jsonl -o s.jsonl"
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


@dataclass(frozen=True, kw_only=True)
class Audit:
    """Look at every clip: unreadable, repeated and leaking ones, counts, sizes; goes on where it was stopped."""

    source: tyro.conf.Positional[Path]
    """A manifest of `data prepare`, a folder with one folder per class, or a list file."""
    out: Out
    """Folder for audit.json, audit.html and what was seen of each clip."""
    root: Path | None = None
    """Folder that relative paths start from; None: as the manifest says, or the list file's own."""
    against: tuple[Path, ...] = ()
    """Other manifests, to find classes, sources and clips that both have (Kinetics-400 beside zero-shot lists)."""
    near: float = 0.08
    """Part of the bits that perceptual hashes of two clips' frames may differ in, on average, for near copies."""
    workers: int = 0
    """Processes that decode."""
    strict: bool = False
    """Exit with code 2 and one line where anything is wrong."""

    def __post_init__(self) -> None:
        at_least(0, self, "workers")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Split a manifest, folder or list by a seed; where several are asked for: fractions, then halves, then shots."""

    source: tyro.conf.Positional[Path]
    """A manifest of `data prepare`, a folder with one folder per class, or a list file."""
    out: Out
    """The new manifest: .jsonl or .parquet; of --base-novel two, NAME.base.jsonl and NAME.novel.jsonl."""
    root: Path | None = None
    """Folder that relative paths start from; None: as the manifest says, or the list file's own."""
    fractions: tuple[float, ...] = ()
    """Parts of train, val and test (.8 .1 .1); clips of one source stay together."""
    group: str | None = None
    """Regular expression whose first group in a path names a clip's source; None: the manifest's sources."""
    shots: int | None = None
    """Training clips of each class to keep."""
    nested: bool = False
    """The clips of fewer shots are among those of more, with the same seed."""
    base_novel: bool = False
    """Halve the classes: the frequent half of the training clips is base; of equal ones the later in their order."""
    base_lists: tuple[Path, ...] = ()
    """Published lists of the base classes' clips, or of their names, in place of counting."""
    novel_lists: tuple[Path, ...] = ()
    """The same of the novel classes."""
    seed: int = 0
    """The same seed gives the same split, whatever the order of the input."""

    def __post_init__(self) -> None:
        if not (self.fractions or self.shots is not None or self.base_novel or self.base_lists or self.novel_lists):
            raise StillmotionError("no split is asked for; pass --fractions .8 .1 .1, --shots 4 or --base-novel")
        if self.group is not None and not self.fractions:
            raise StillmotionError("--group is for --fractions, which are not given; pass --fractions .8 .1 .1")
        if self.nested and self.shots is None:
            raise StillmotionError("--nested is for --shots, which are not given; pass --shots 4")


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
    {"prepare": _prepare, "audit": _audit, "split": _split}[words[0]](words[1:])


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
    _show(found.listing)
    if found.unreadable:
        count = len(found.unreadable)
        say(f"{count} file{'s' * (count > 1)} cannot be opened, the first: {found.unreadable[0][1]}")
    if found.missing:
        total = len(found.missing) + len(found.listing.entries)
        say(f"{len(found.missing):,} of {total:,} clips are missing, the first: {found.missing[0]}; {found.get}")
    if found.unlabeled:
        say(f"{found.unlabeled} clips of test sets have no published label and are left out")
    print("\n".join(printable(path) for path in written))


def _audit(words: Sequence[str]) -> None:
    options: Audit = parse(Audit, words, "stillmotion data audit")
    from stillmotion.cli.table import show
    from stillmotion.datasets.auditing import audit
    from stillmotion.datasets.looking import error_of

    found = audit(
        options.source,
        options.out,
        root=options.root,
        against=options.against,
        near=options.near,
        workers=options.workers,
    )
    page = options.out / "audit.html"
    if found.problems:
        show(("found", "how many"), [(name, f"{count:,}") for name, count in found.problems.items()])
    else:
        print(f"{len(found.seen):,} clips: nothing is wrong")
    for number, count in found.official.items():
        say(f"{count} training clips are tested on by official split {number}: score on your own split alone")
    for sentence in found.copy:
        say(sentence)
    print(f"{printable(options.out / 'audit.json')}\n{printable(page)}")
    if found.problems and options.strict:
        raise error_of([f"{count:,} {name}" for name, count in found.problems.items()], page)
    if found.problems:
        say(f"the audit found {sum(found.problems.values()):,} faults; look at {page} before you train")


def _split(words: Sequence[str]) -> None:
    options: Split = parse(Split, words, "stillmotion data split")
    from stillmotion.data.entries import check_form
    from stillmotion.datasets.building import open_source
    from stillmotion.datasets.splitting import base_novel, few_shot, fractions

    check_form(options.out)
    listing = open_source(options.source, options.root)
    if options.fractions:
        listing = fractions(listing, options.fractions, seed=options.seed, group=options.group)
    halves = {"": listing}
    if options.base_novel or options.base_lists or options.novel_lists:
        base, novel = base_novel(listing, base=options.base_lists, novel=options.novel_lists)
        halves = {".base": base, ".novel": novel}
    if options.shots is not None:
        first, *_ = halves  # nothing is trained on novel classes
        halves[first] = few_shot(halves[first], options.shots, seed=options.seed, nested=options.nested)
    for end, half in halves.items():
        path = options.out.with_name(f"{options.out.stem}{end}{options.out.suffix}")
        half.write(path)
        _show(half)
        print(printable(path))


def _show(listing: "Listing") -> None:
    from stillmotion.cli.table import show
    from stillmotion.progress import duration, size_of

    entries, rows = listing.entries, []
    for split in dict.fromkeys(["train", "val", "test", *(e.split for e in entries)]):
        part = [e for e in entries if e.split == split]
        if part:
            sizes, seconds = [e.bytes for e in part if e.bytes], [e.duration for e in part if e.duration]
            sources = len({e.source for e in part if e.source is not None})
            rows.append([split or "no split", f"{len(part):,}", str(len({e.label for e in part})),
                         f"{sources:,}" if sources else "", duration(sum(seconds)) if seconds else "",
                         size_of(sum(sizes)) if sizes else ""])  # fmt: skip
    show(("split", "clips", "classes", "sources", "length", "size"), rows)
