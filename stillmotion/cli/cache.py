"""`stillmotion cache ls|verify|rm|merge`: what the feature cache holds, and how it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, did_you_mean, printable

ACTIONS = {
    "ls": "what it holds and how large that is: stillmotion cache ls",
    "verify": "read everything and compare checksums: stillmotion cache verify",
    "rm": "remove parts of it, by name: stillmotion cache rm 20a4",
    "merge": "take over what another cache has: stillmotion cache merge /other/disk/cache",
}


@dataclass(frozen=True, kw_only=True)
class Ls:
    """List what the cache holds: one line for each backbone and way of reading frames."""

    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Compare the checksum of every tensor; exits with 2 where one is wrong."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Parts to look at, by name or how it begins; none: all."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""
    remove: bool = False
    """Remove what is damaged; it is computed again when it is needed."""


@dataclass(frozen=True, kw_only=True)
class Rm:
    """Remove parts of the cache; they are computed again when they are needed."""

    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """Parts, by name or how it begins."""
    all: bool = False
    """Remove everything."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""

    def __post_init__(self) -> None:
        if bool(self.names) == self.all:
            raise StillmotionError("name what to remove (stillmotion cache ls shows the names), or pass --all")


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Copy what another cache has and this one lacks; what is damaged there is left out and named."""

    source: tyro.conf.Positional[Path]
    """Folder of the other cache."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's."""


def run(words: Sequence[str]) -> None:
    """Run one of the actions."""
    if not words or words[0] in ("-h", "--help"):
        lines = "\n".join(f"  {name:8} {text}" for name, text in ACTIONS.items())
        print(
            f"usage: stillmotion cache ACTION [options]\n\n{lines}\n\n"
            "stillmotion cache ACTION --help shows its options."
        )
        raise SystemExit(0 if words else 2)
    if words[0] not in ACTIONS:
        raise StillmotionError(f"there is no action {words[0]!r} of `cache`{did_you_mean(words[0], ACTIONS)}")
    {"ls": _ls, "verify": _verify, "rm": _rm, "merge": _merge}[words[0]](words[1:])


def _ls(words: Sequence[str]) -> None:
    options: Ls = parse(Ls, words, "stillmotion cache ls")
    from stillmotion.cli.table import show
    from stillmotion.features.care import kept
    from stillmotion.progress import size_of
    from stillmotion.source import feature_folder

    root = feature_folder(options.cache)
    found = kept(root)
    if not found:
        print(f"{printable(root)} holds no features")
        return
    rows = [(one.folder.name, one.about, f"{one.views:,}", str(len(one.outputs)), size_of(one.bytes)) for one in found]
    show(("name", "backbone, frames, runtime", "views", "outputs", "size"), rows, words=2, wide=True)
    print(f"{size_of(sum(one.bytes for one in found))} in {printable(root)}")


def _verify(words: Sequence[str]) -> None:
    options: Verify = parse(Verify, words, "stillmotion cache verify")
    from stillmotion.features.care import find, remove_shard, verify
    from stillmotion.progress import say
    from stillmotion.source import feature_folder

    bad = 0
    for index, why in verify(find(feature_folder(options.cache), options.names)):
        bad += 1
        say(f"{index.with_suffix('.safetensors')} is damaged: {why}")
        if options.remove:
            remove_shard(index)
    if bad and not options.remove:
        raise StillmotionError(f"{bad} of the shards are damaged, named above; pass --remove, or delete them")
    print(f"{bad} damaged shards were removed" if bad else "every tensor has its checksum")


def _rm(words: Sequence[str]) -> None:
    options: Rm = parse(Rm, words, "stillmotion cache rm")
    from stillmotion.features.care import find, remove
    from stillmotion.progress import size_of
    from stillmotion.source import feature_folder

    for folder in find(feature_folder(options.cache), options.names):  # no names stand for --all
        print(f"{folder.name}: {size_of(remove(folder))} are free")


def _merge(words: Sequence[str]) -> None:
    options: Merge = parse(Merge, words, "stillmotion cache merge")
    from stillmotion.features.care import merge
    from stillmotion.progress import say
    from stillmotion.source import feature_folder

    copied, bad = merge(options.source, feature_folder(options.cache))
    for index, why in bad:
        say(f"{index.with_suffix('.safetensors')} is damaged and was left out: {why}")
    print(f"{copied} shard{'s' * (copied != 1)} copied" if copied else "nothing that is not here already")
