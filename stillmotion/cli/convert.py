"""`stillmotion convert`: checkpoints of the releases into ours, and back."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, did_you_mean

if TYPE_CHECKING:
    from stillmotion.checkpoint import Card
    from stillmotion.data.many import Reading


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Read a checkpoint of a release (--method), or write one (--to). --method NAME --help adds what it may be told."""

    checkpoint: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CHECKPOINT")]
    """The release's file (or a Hugging Face folder); with --to, a model.safetensors of ours."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """What to write: a .safetensors file; with --to official a .pth file, with --to hf a new folder."""
    method: str | None = None
    """Which release the file is of: evl, vificlip, xclip, actionclip, a5, or zero_shot for CLIP itself."""
    to: Literal["official", "hf"] | None = None
    """Write what the release loads, or what transformers loads (CLIP and X-CLIP)."""
    clip: str | None = None
    """CLIP weights that the checkpoint does not hold: a path, or a name such as ViT-B-16:openai."""
    labels: Path | None = None
    """Class names: CSV lines id,name, or one name per line."""
    image_size: int | None = None
    """Side of the frames in pixels, where it is not that of CLIP's position table."""


def read_options(words: Sequence[str]) -> tuple[Convert, dict[str, Any]]:
    """Read the command line: the options, and beside them what was said of the model that its tensors do not show.
    Raises `StillmotionError`: an unknown release, or an option that it does not have.
    """
    kind: Any = Convert
    told = ["image_size"]
    asked = re.search(r"(?:^|\n)--method[=\n](.+)", "\n".join(words))
    if asked:
        from stillmotion.methods import METHODS
        from stillmotion.releases import RELEASES
        from stillmotion.releases.official import check_names

        name = asked[1]
        if name not in RELEASES:
            raise StillmotionError(f"no release of {name!r} is read{did_you_mean(name, RELEASES)}")
        types, helps = get_type_hints(METHODS[name]), RELEASES[name].options
        others = {key for release in RELEASES.values() for key in release.options}
        flags = [word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")]
        check_names(name, [flag for flag in flags if flag in others], helps)
        more = [
            (key, Annotated[types[key] | None, tyro.conf.arg(help=text)], field(default=None))
            for key, text in helps.items()
        ]
        kind = make_dataclass("Convert", more, bases=(Convert,), frozen=True, kw_only=True)
        kind.__doc__, told = Convert.__doc__, [*told, *helps]
    options: Convert = parse(kind, words, "stillmotion convert")
    return options, {key: getattr(options, key) for key in told if getattr(options, key) is not None}


def run(words: Sequence[str]) -> None:
    """Convert, and say what was written."""
    options, given = read_options(words)
    if (options.method is None) == (options.to is None):
        raise StillmotionError(
            "say either --method NAME, to read a release's file, or --to official or hf, to write one"
        )
    if not options.checkpoint.exists():
        raise StillmotionError(f"no file {options.checkpoint}; pass a checkpoint")
    if options.to is not None:
        _write(options, options.to)
    else:
        _read(options, str(options.method), given)


def _read(options: Convert, method: str, given: dict[str, Any]) -> None:
    from stillmotion.data.manifest import read_label_map
    from stillmotion.official import reading_of
    from stillmotion.releases.base import MissingClip
    from stillmotion.releases.convert import from_release

    classes = read_label_map(options.labels) if options.labels else ()
    reading, places = reading_of(method), (options.checkpoint, method, options.out)
    try:
        card, kept = from_release(*places, reading, clip=options.clip, classes=classes, given=given)
    except MissingClip as error:
        raise StillmotionError(f"{error.why}; pass --clip, {error.which}") from error
    print(f"{options.out}: {card.method}")
    print(f"frames of a view: {card.method.num_frames}")
    origin = "the model that this file was written from" if kept else f"the release of {method}"
    print(f"read as {origin}: {_described(card)}")
    print(f"from a file of SHA-256 {card.training['sha256']}")
    left = ", ".join(tower.rstrip(".") for tower in card.fingerprints)
    if left:
        print(f"not stored, because they are those of {card.backbone_name}: {left}")


def _write(options: Convert, layout: Literal["official", "hf"]) -> None:
    from stillmotion.methods import name_of
    from stillmotion.official import reading_of
    from stillmotion.progress import say
    from stillmotion.releases.convert import to_release

    card = to_release(options.checkpoint, options.out, layout, options.clip)
    method = name_of(card.method)
    print(options.out)
    say(
        f"what loads it there does not know how this model reads videos ({card.method.num_frames} frames; "
        f"{_described(card)}) nor its class names; `stillmotion convert --method {method}` reads them back, and the "
        f"release itself reads {reading_of(method).num_frames} frames; {_described(reading_of(method))}"
    )


def _described(reading: "Card | Reading") -> str:
    sampling, pixels = reading.sampling, reading.preprocess
    words = [sampling.scheme + (f" at stride {sampling.stride}" if sampling.scheme == "dense" else "")]
    words += [f"{n} {what}{'s' * (n > 1)}" for n, what in ((sampling.views, "view"), (sampling.crops, "crop"))]
    words += [f"{pixels.interpolation}{'' if pixels.antialias else ' without antialiasing'}"]
    words += [f"short side {pixels.short_side}"] if pixels.short_side else []
    return ", ".join([*words, "channels reversed"] if pixels.bgr else words)
