"""What a release is to the rest: how its files are read and written, and what their tensors do not show."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor

from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import WeightsError
from stillmotion.methods.base import Method

State = Mapping[str, Tensor]


HIDDEN = ("image_size", "vision_heads", "text_heads", "activation")
"""What the tensors of CLIP do not show: see `CLIPConfig.from_state`."""


class Official(NamedTuple):
    """A checkpoint of a release, read."""

    method: Method
    clip: State
    """OpenAI's names: CLIP's tensors, which show its sizes."""
    state: dict[str, Tensor]
    """All of the model, with our names."""
    num_classes: int | None = None
    """Of a closed set."""


def hidden_sizes(clip: CLIPConfig) -> dict[str, Any]:
    """What the tensors of a CLIP of these sizes do not show, by the names of `HIDDEN`; the image size apart."""
    sizes = {"activation": clip.activation, "vision_heads": clip.vision.heads}
    return sizes | ({"text_heads": clip.text.heads} if clip.text else {})


class Release(NamedTuple):
    """The files of a system's authors, and of its ports, in both directions."""

    read: Callable[..., Official]
    """(tensors without `module.`, CLIP's or None, **options of the method); tensors count more than options."""
    write: Callable[[Any, State], dict[str, Any]]
    """(method, a model's state dict) to the content of a file that the release's own code loads."""
    recipe: str
    """Says how the release reads videos."""
    options: Mapping[str, str]
    """Options of the method that leave no trace in the tensors, or not in all, with a line of help for each."""
    to_hugging_face: Callable[[Any, State, CLIPConfig], tuple[dict[str, Any], dict[str, Tensor]]] | None = None
    """(method, state dict, sizes) to a `config.json` and tensors, where transformers has such a model."""
    beside: Mapping[str, str] = {}
    """A second state dict in its files, by its name, and what to put before the names in it."""


class MissingClip(WeightsError):
    """A checkpoint lacks a part of CLIP that was not given: `why` it is needed, and `which` weights fit."""

    def __init__(self, why: str, which: str):
        super().__init__(f"{why}; pass clip=, {which}")
        self.why, self.which = why, which
