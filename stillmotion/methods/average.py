"""Several trained heads on one frozen backbone whose class probabilities are averaged."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.methods.base import Method, Probe
from stillmotion.models.features import Features, Reads
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.training.tuning import Tune


class Readers(nn.Module):
    """The embeddings of several readers, one behind the other: (B, D1 + D2 + ...).

    Where it looks is where the first reader looks that has an `attention`.
    """

    def __init__(self, parts: Sequence[nn.Module]):
        super().__init__()
        self.parts = nn.ModuleList(parts)
        looking = [part for part in parts if hasattr(part, "attention")]
        if looking:
            self.attention = looking[0].attention

    def forward(self, features: Features) -> Tensor:
        return torch.cat([part(features) for part in self.parts], dim=-1)


class AverageHead(nn.Module):
    """Log of the mean of the class probabilities that several heads give, each for its embedding."""

    def __init__(self, parts: Sequence[nn.Module], widths: Sequence[int]):
        super().__init__()
        self.parts, self.widths = nn.ModuleList(parts), list(widths)

    def forward(self, video_BD: Tensor, text: Tensor | None, features: Features) -> Tensor:
        given = zip(self.parts, video_BD.split(self.widths, dim=-1))
        logs = [head(video, text, features).float().log_softmax(dim=-1) for head, video in given]
        return torch.stack(logs).logsumexp(dim=0) - math.log(len(logs))


@dataclass(frozen=True, kw_only=True)
class Average(Method):
    """The average of probes that were trained apart; it has nothing to train, its parts have."""

    frozen = True

    parts: tuple[Method, ...] = ()
    """Two probes or more, of the same number of frames."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.parts) < 2 or not all(isinstance(part, Probe) and part.frozen for part in self.parts):
            raise StillmotionError(f"an average is of two probes or more on a frozen backbone, not of {self.parts!r}")
        if any(part.num_frames != self.num_frames for part in self.parts):
            raise StillmotionError(f"the parts of an average read {self.num_frames} frames each; give them as many")

    def reads(self) -> Reads:
        """What all parts read."""
        reads = Reads()
        for part in self.parts:
            reads |= part.reads()
        return reads

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build one tower, and every part's reader and head."""
        backbone.check(self.reads())
        made = [part.on(backbone, len(class_names)) for part in self.parts if isinstance(part, Probe)]
        readers, heads, widths = zip(*made)
        return VideoCLIP(backbone.visual(self.reads()), Readers(readers), AverageHead(heads, widths))

    def tune(self) -> tuple[Tune, ...]:
        """Nothing."""
        return ()

    def new_parameters(self) -> tuple[str, ...]:
        """Readers and heads are new."""
        return ("temporal.*", "head.*")
