"""What a release is to the rest: how its files are read and written, and what their tensors do not show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from stillmotion.backbones.config import CLIPConfig
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.errors import WeightsError
from stillmotion.methods.base import Method

State = Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the tensors of CLIP do not show."""

    image_size: int | tuple[int, int] | None = None
    """One side, or (height, width), in pixels; None: a square of as many patches as CLIP has positions for."""
    vision_heads: int | None = None
    """Attention heads of the image tower; None: one per 64 channels."""
    text_heads: int | None = None
    """The same of the text tower."""
    activation: Literal["quick_gelu", "gelu"] = "quick_gelu"

    def config(self, state: State) -> CLIPConfig:
        """Sizes of the CLIP whose tensors these are, by OpenAI's names; raises as `CLIPConfig.from_state`."""
        return CLIPConfig.from_state(state, **self.__dict__)


def hidden_sizes(clip: CLIPConfig) -> dict[str, Any]:
    """What the tensors of a CLIP of these sizes do not show, by the names of `Sizes`; the image size apart."""
    sizes = {"activation": clip.activation, "vision_heads": clip.vision.heads}
    return sizes | ({"text_heads": clip.text.heads} if clip.text else {})


@dataclass(frozen=True, kw_only=True)
class Official:
    """A checkpoint of a release, read: the method it holds, the CLIP sizes, and a state dict with our names."""

    method: Method
    clip: CLIPConfig
    state: dict[str, Tensor]
    num_classes: int | None = None
    """Of a closed set."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """The files of a system's authors, and of its ports, in both directions."""

    read: Callable[..., Official]
    """(checkpoint, clip, sizes: Sizes, **options of the method) to `Official`; what the tensors show counts more than
    an option. Raises a WeightsError where the tensors are not of this release, a MissingClip where CLIP is needed."""
    write: Callable[[Any, State], dict[str, Any]]
    """(method, a model's state dict) to the content of a file that the release's own code loads."""
    recipe: str
    """The recipe that says how the release reads videos."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of the method that leave no trace in the tensors, or not in all, and a line of help for each."""
    beside: Mapping[str, str] = field(default_factory=dict)
    """A second state dict in its files, by its name, and what to put before the names in it."""
    to_hugging_face: Callable[[Any, State, CLIPConfig], tuple[dict[str, Any], dict[str, Tensor]]] | None = None
    """(method, state dict, sizes) to the `config.json` and the tensors that transformers loads, where it has such a
    model."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a release reads videos."""

    num_frames: int
    preprocess: Preprocess
    sampling: Sampling


class MissingClip(WeightsError):
    """A checkpoint that lacks a part of CLIP, which was not given; `why` it is needed and `which` weights it takes."""

    def __init__(self, why: str, which: str):
        super().__init__(f"{why}; pass clip=, {which}")
        self.why, self.which = why, which
