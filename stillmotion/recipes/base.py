"""A recipe, everything that decides a number, and the place of a run of it: frozen data both."""

import json
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, get_type_hints

import tyro

from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import IMAGENET_MEAN, IMAGENET_STD, Augmentation, Preprocess
from stillmotion.errors import at_least, check_fields
from stillmotion.methods import Method, describe
from stillmotion.recipes.published import Published
from stillmotion.training.config import Train

M = TypeVar("M", bound=Method)


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[M]):
    """What is trained and how: with the videos, all that decides a number."""

    method: M
    train: Train
    sampling: Sampling = Sampling()
    backbone: str = "auto"
    """Pretrained: MODEL:TAG as in open_clip, ViT-B-16:openai-int8, tiny, a path, timm:NAME, vjepa2:FOLDER, or auto."""
    runtime: str = "auto"
    """How a frozen backbone runs: fp32, fp16, bf16, int8, openvino; auto: the run's precision on a GPU, on a CPU the
    fastest that is near enough to fp32 on your first clips."""
    stored: Literal["float16", "int8"] = "float16"
    """How tokens are kept in the feature cache: int8 takes half their room."""
    image_size: int | None = None
    """Input size in pixels; None: that of the weights. Another one interpolates CLIP's position table."""
    statistics: Literal["weights", "imagenet", "bgr"] = "weights"
    """Pixel mean and std: those of the CLIP weights, or ImageNet's (ViFi-CLIP, X-CLIP), or those of the weights on
    frames whose channels are reversed (A5)."""
    resize: Literal["weights", "bilinear"] = "weights"
    """How frames are scaled: as the CLIP weights were trained, or bilinear without antialiasing, as OpenCV and the
    releases of EVL, ViFi-CLIP and X-CLIP do."""
    short_side: int | None = None
    """Side that a frame is scaled to before one crop is taken from its middle (256 in ViFi-CLIP, X-CLIP, ActionCLIP);
    None: as much as covers the crop."""
    augment: Augmentation = "none"
    """Random views in training."""
    flip: float = 0.0
    """Probability of a mirror image in training; wrong where left and right matter."""
    cached_views: int = 0
    """Random views of each training clip kept in the feature cache; 0: the middle test view alone."""
    published: tyro.conf.Suppress[tyro.conf.Fixed[tuple[Published, ...]]] = ()
    """What its authors print for it."""

    def __post_init__(self) -> None:
        check_fields(self, "in [0, 1]", lambda x: 0 <= x <= 1, "flip")
        at_least(1, self, "short_side", hint=", and not below the input size")
        at_least(0, self, "cached_views")

    @property
    def cached(self) -> bool:
        """Whether a run reads what a frozen image tower gave once, and no videos."""
        random = self.train.mix or ((self.augment != "none" or self.flip > 0) and not self.cached_views)
        return self.method.frozen and not (random and self.method.pixels_too)

    def preprocess(self, pixels: Preprocess | None = None) -> Preprocess:
        """How frames become what the model reads; `pixels` are the CLIP weights' own size and statistics."""
        pixels = pixels or Preprocess()
        if self.statistics == "imagenet":
            pixels = replace(pixels, mean=IMAGENET_MEAN, std=IMAGENET_STD)
        pixels = replace(pixels, bgr=self.statistics == "bgr", short_side=self.short_side)
        return pixels if self.resize == "weights" else replace(pixels, interpolation="bilinear", antialias=False)

    def to_dict(self) -> dict[str, Any]:
        """What decides a run, JSON-ready; published numbers do not."""
        content = plain(replace(self, published=()))
        del content["published"]
        return content | {"method": json.loads(json.dumps(describe(self.method), default=str))}


Maker = Callable[[], Recipe[Any]]
SIZES = {"ViT-B-32": "B/32", "ViT-B-16": "B/16", "ViT-L-14": "L/14", "ViT-L-14-336": "L/14 at 336 pixels"}


def row(name: str, title: str, setting: str, recipe: Recipe[Any], note: str = "") -> Maker:
    """A published recipe: a function without arguments, whose docstring is its title, size, frames and setting."""

    def maker() -> Recipe[Any]:
        return recipe

    size = SIZES[recipe.backbone.removesuffix(":openai")]
    words = f"{title} {size}, {recipe.method.num_frames} frames, {setting}.\n\n{note}"
    maker.__name__, maker.__doc__ = name, words.strip()
    return maker


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run takes place, and from what."""

    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder of the run; None: runs/NAME."""
    cache: Path | None = None
    """Folder of the feature cache; None: the user's cache folder."""
    start_from: Path | None = None
    """A model.safetensors of a run, or of `convert`, to start from in place of --backbone: its CLIP; of the same method
    also what else has the same name and shape, the last layer for the same classes in the same order alone. Not the way
    to resume: an interrupted run goes on by itself."""
    explain: bool = False
    """Print what trains, at what rate, and what is frozen, before training starts."""
    order_test: bool = False
    """Score the held-out clips at the end also with their frames shuffled, reversed and frozen to the middle one: does
    the model use the order of frames? `auto` always does."""
    overwrite: bool = False
    """Throw away an earlier run in the same folder."""
    report: bool = True
    """Write report.html when the run is done: the mistakes are looked at once more, which takes some seconds."""


HERE = Place()


def plain(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, JSON-ready."""
    content: dict[str, Any] = json.loads(json.dumps(asdict(config), default=str))
    return content


def declared(config: Any) -> Any:
    """The same kinds of dataclasses with their declared defaults: what a field means where an older file lacks it."""
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    changed = {k: declared(v) for k, v in values.items() if is_dataclass(v)}
    given = {f.name: f.default for f in fields(config) if f.default is not MISSING and f.name not in changed}
    return replace(config, **given, **changed)


def values_of(config: Any) -> dict[str, Any]:
    """Names of all values of a dataclass, at any depth, and the types that they are declared with."""
    hints, found = get_type_hints(type(config)), dict[str, Any]()
    for f in fields(config):
        value = getattr(config, f.name)
        found |= values_of(value) if is_dataclass(value) else {f.name: hints[f.name]}
    return found
