"""`stillmotion convert`: checkpoints of the releases into ours, and back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from stillmotion.cli.parse import parse
from stillmotion.errors import StillmotionError, did_you_mean

# The recipe that says how a release reads videos.
RELEASED = {
    "evl": "evl_k400_b16_8f",
    "vificlip": "vificlip_zero_shot",
    "xclip": "xclip_k400_b16_8f",
    "actionclip": "actionclip_k400_b16_8f",
    "a5": "a5_hmdb51",
    "zero_shot": "zero_shot",
}


@dataclass(frozen=True, kw_only=True)
class Convert:
    """Read a checkpoint of a release (--method), or write one (--to)."""

    checkpoint: tyro.conf.Positional[Path]
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
    num_frames: int | None = None
    """Frames of a view, where the tensors do not show them; None: as in the release's first setting, which is said."""
    taps: tuple[int, ...] | None = None
    """EVL: blocks read, one per layer; None: the last ones."""
    prefix: int | None = None
    """A5: learned vectors before the class name; None: 16."""
    postfix: int | None = None
    """A5: learned vectors behind it; None: 16."""
    initial_words: str | None = None
    """ViFi-CLIP: the words that its text prompts started from, where it is not filler words."""


SIZES = ("image_size", "num_frames", "taps", "prefix", "postfix", "initial_words")


def run(words: Sequence[str]) -> None:
    """Convert, and say what was written."""
    options: Convert = parse(Convert, words, "stillmotion convert")
    if (options.method is None) == (options.to is None):
        raise StillmotionError(
            "say either --method NAME, to read a release's file, or --to official or hf, to write one"
        )
    if not options.checkpoint.exists():
        raise StillmotionError(f"no file {options.checkpoint}; pass a checkpoint")
    from stillmotion.data.manifest import read_label_map
    from stillmotion.recipes import RECIPES
    from stillmotion.releases import convert

    if options.to is not None:
        convert.to_release(options.checkpoint, options.out, options.to, options.clip)
        print(options.out)
        return
    method = str(options.method)
    if method not in RELEASED:
        raise StillmotionError(
            f"no release of {method!r} is read{did_you_mean(method, RELEASED)}; use {', '.join(RELEASED)}"
        )
    recipe = RECIPES[RELEASED[method]]()
    sizes = {name: getattr(options, name) for name in SIZES if getattr(options, name) is not None}
    if method != "xclip":  # which shows its frames; the others do where they have positions for them
        sizes = {"num_frames": recipe.method.num_frames} | sizes
    card = convert.from_release(
        options.checkpoint,
        method,
        options.out,
        clip=options.clip,
        classes=read_label_map(options.labels) if options.labels else (),
        preprocess=recipe.preprocess(),
        sampling=recipe.sampling,
        sizes=sizes,
    )
    print(f"{options.out}: {card.method}")
    print(f"frames of a view: {card.method.num_frames}")
    print(f"from a file of SHA-256 {card.training['sha256']}")
    left = ", ".join(tower.rstrip(".") for tower in card.fingerprints)
    if left:
        print(f"not stored, because they are those of {card.clip_name}: {left}")
