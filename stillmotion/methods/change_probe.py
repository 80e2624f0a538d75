"""A linear layer on how the frames of a clip change, which sees the direction of time and nothing that stands still."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError, at_least
from stillmotion.methods.base import Probe
from stillmotion.models.change import change
from stillmotion.models.features import Features, Reads, Summary, resolve
from stillmotion.models.video_clip import LinearHead

CHANGE = "change"


class ChangeReader(nn.Module):
    """The changes of some blocks, one behind the other, (B, N); it has no parameters, so that they may be kept."""

    def __init__(self, blocks: Sequence[int], prefix: int, count: int):
        super().__init__()
        self.blocks, self.prefix, self.count = tuple(blocks), prefix, count

    def forward(self, features: Features) -> Tensor:
        if CHANGE in features:
            return features[CHANGE]
        return torch.cat([change(features[f"out.{i}"], self.prefix, self.count) for i in self.blocks], dim=-1)

    def one(self, features: Features) -> Features:
        """All that the model reads of one view's features, without batch axis."""
        return {CHANGE: self({name: tensor[None] for name, tensor in features.items()})[0]}


@dataclass(frozen=True, kw_only=True)
class ChangeProbe(Probe):
    """A linear layer on cosine coefficients, over time, of the means and deviations of a frozen CLIP's patches."""

    blocks: int = 4
    """Blocks read, the last ones."""
    coefficients: int = 2
    """Cosine coefficients over time: 1 compares the end with the beginning, 2 the middle with the ends, and so on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, self, "blocks", "coefficients")

    def reads(self) -> Reads:
        """The tokens of the last blocks."""
        return Reads(out=tuple(range(-self.blocks, 0)))

    def new_parameters(self) -> tuple[str, ...]:
        """The head is new."""
        return ("head.*",)

    def reader(self, backbone: Backbone) -> ChangeReader:
        """Build what reads the changes.

        Raises `StillmotionError`: as many coefficients as steps of time, or more; or more blocks than there are.
        """
        steps = backbone.steps(self.num_frames)
        if self.coefficients >= steps:
            raise StillmotionError(
                f"coefficients is {self.coefficients}, a clip has {steps} steps of time; they must be fewer"
            )
        return ChangeReader(resolve(self.reads().out, backbone.layers), backbone.prefix_tokens, self.coefficients)

    def summary(self, backbone: Backbone) -> Summary:
        """The changes, 12,288 numbers of a clip of ViT-B/16."""
        return Summary(repr(self), self.reader(backbone).one)

    def on(self, backbone: Backbone, classes: int) -> tuple[nn.Module, LinearHead, int]:
        """Build the reader, and a head without norm, which would make a still clip as loud as others."""
        width = 2 * self.blocks * self.coefficients * backbone.width
        return self.reader(backbone), LinearHead(width, classes, self.dropout, norm=False), width
