"""`stillmotion count METHOD`: parameters and multiply-accumulates, tower by tower."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

from stillmotion.cli.parse import parse
from stillmotion.cli.table import show
from stillmotion.errors import StillmotionError, at_least
from stillmotion.libraries.classifier import is_foreign
from stillmotion.methods import METHODS, Method
from stillmotion.recipes import RECIPES, find

if TYPE_CHECKING:
    from stillmotion.backbones.config import CLIPConfig
    from stillmotion.count import Counts

M = TypeVar("M", bound=Method)
CLIP_MODEL = "ViT-B-16"


@dataclass(frozen=True, kw_only=True)
class CountForeign:
    """Count a model of torchvision or transformers, as it is published."""

    views: int = 1
    """Views of a video at test time, temporal times spatial."""
    json: bool = False
    """Print one JSON object."""

    def __post_init__(self) -> None:
        at_least(1, self, "views")


@dataclass(frozen=True, kw_only=True)
class Count(CountForeign, Generic[M]):
    """Count parameters and multiply-accumulates (GMAC; papers print them as GFLOPs) without weights or videos."""

    method: M
    clip_model: str = CLIP_MODEL
    """Sizes of CLIP: a ViT by open_clip's name."""
    image_size: int | None = None
    """Input size in pixels; None: that of the model."""
    classes: int = 400
    """Classes to tell apart."""
    text_tokens: int | None = None
    """Tokens of a prompt; None: the whole context."""


def run(words: Sequence[str]) -> None:
    """Count and print."""
    if not words:
        raise StillmotionError("METHOD is missing: stillmotion count evl; see stillmotion count --help")
    if words[0] in ("-h", "--help"):
        names = ", ".join(dict.fromkeys([*METHODS, *RECIPES]))
        print("usage: stillmotion count METHOD [options]\n"
              f"       stillmotion count METHOD... [--throughput]\n\nMETHOD is a recipe or a method: {names}\n\n"
              "stillmotion count METHOD --help shows its options.")  # fmt: skip
        raise SystemExit(0)
    name, *rest = words
    if measured(words):
        from stillmotion.cli.count_many import run_many

        run_many(words, defaults)
        return
    if name.startswith("-"):
        raise StillmotionError("name a method or a recipe before the options: stillmotion count evl --num-frames 16")
    if is_foreign(name):
        _run_foreign(name, rest)
        return
    base = defaults(name)
    options: Count[Method] = parse(Count[type(base.method)], rest, f"stillmotion count {name}", base)  # type: ignore[misc]
    from stillmotion.backbones.clip import describe
    from stillmotion.backbones.config import CLIPConfig
    from stillmotion.count import count

    clip = replace(CLIPConfig.published(options.clip_model), activation="quick_gelu")
    clip = clip if options.image_size is None else clip.at(options.image_size)
    counts = count(options.method, describe(clip), options.classes, options.text_tokens)
    if options.json:
        print(json.dumps(_plain(name, options, counts)))
    else:
        _print(name, options, clip, counts)


def measured(words: Sequence[str]) -> bool:
    """Whether several methods are named, or speed is asked for: one table then, `cli/count_many.py`."""
    return not words[0].startswith("-") and (
        (len(words) > 1 and not words[1].startswith("-")) or "--throughput" in words
    )


def _run_foreign(name: str, words: Sequence[str]) -> None:
    options: CountForeign = parse(CountForeign, words, f"stillmotion count {name}")
    from stillmotion.libraries.count import count_foreign

    counts = count_foreign(name)
    if options.json:
        print(json.dumps({"model": name, "views": options.views, **asdict(counts)}))
        return
    size = "x".join(map(str, counts.image_size))
    print(f"{name}: {counts.num_frames} frames of {size}, {counts.parameters / 1e6:.2f} M parameters")
    work = f"{counts.macs / 1e9:.2f} GMAC per view"
    several = f", {options.views * counts.macs / 1e9:.2f} in {options.views} views" if options.views > 1 else ""
    print(work + several)


def defaults(name: str) -> Count[Method]:
    """What a recipe counts at its own sizes, or a method that has no recipe of its name.

    Raises `StillmotionError`: there is none of that name.
    """
    if name in METHODS and name not in RECIPES:
        return Count(method=METHODS[name]())
    recipe = find(name)
    model, colon, _ = recipe.backbone.partition(":")
    return Count(
        method=recipe.method,
        clip_model=model if colon and model.startswith("ViT") else CLIP_MODEL,
        image_size=recipe.image_size,
        views=recipe.sampling.views * recipe.sampling.crops,
    )


def _plain(name: str, options: Count[Method], counts: "Counts") -> dict[str, object]:
    given, video, total = asdict(options), counts.video, counts.total
    del given["json"]
    return {
        "name": name,
        **given,
        "text_tokens": counts.text_tokens,
        "parts": {key: asdict(getattr(counts, key)) for key in ("visual", "temporal", "head", "text")},
        **{key: getattr(total, key) for key in ("parameters", "trained", "new")},
        "macs_per_view": video.macs,
        "plain_macs_per_view": video.plain_macs,
        "macs_per_video": options.views * video.macs,
        "macs_per_class_list": counts.text.macs,
    }


def _print(name: str, options: Count[Method], clip: "CLIPConfig", counts: "Counts") -> None:
    size = "x".join(str(n) for n in reversed(clip.vision.image_size))
    views = f"{options.views} view{'s' * (options.views > 1)}"
    frames = f"{options.method.num_frames} frame{'s' * (options.method.num_frames > 1)} of {size}"
    print(f"{name} on {options.clip_model}: {frames}, {views}, {options.classes} classes\n")
    text, video = counts.text, counts.video
    parts = {"visual": counts.visual, "temporal": counts.temporal, "head": counts.head, "a video": video}
    rows = []
    for title, part in (parts | ({"text": text, "total": counts.total} if text.parameters else {})).items():
        work = (part.macs, part.plain_macs, options.views * part.macs) if title in parts else ()
        sizes = (part.parameters, part.trained, part.new)
        rows.append((title, *(f"{n:,}" for n in sizes), *(f"{n / 1e9:,.2f}" for n in work)))
    show(("", "parameters", "trained", "new", "GMAC a view", "as written", f"GMAC, {views}"), rows)
    if text.macs:
        print(f"\ntext, once per class list: {text.macs / 1e9:,.2f} GMAC; "
              f"{text.macs / options.classes / 1e9:.2f} a class at {counts.text_tokens} tokens a prompt, "
              "fewer where the longest prompt is shorter")  # fmt: skip
    if video.macs != video.plain_macs:
        print("\nas written: the method's equations without our exact short cuts, as a release computes them")
