"""What the rest of the package knows about a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import at_least, check_fields
from stillmotion.models.features import FRAMES, Reads, Summary
from stillmotion.models.video_clip import LinearHead, VideoCLIP
from stillmotion.training.tuning import Tune


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method is a frozen set of hyper-parameters that builds a model and says what of it trains."""

    needs_text: ClassVar[bool] = False
    """Whether the model compares videos with class names, so that it needs a text tower."""
    objective: ClassVar[Literal["cross_entropy", "contrastive"]] = "cross_entropy"
    """What it is trained with: `contrastive` compares the videos of a batch with the prompts of that batch."""

    pixels_too: ClassVar[bool] = False
    """Whether a method whose image tower is frozen also trains from videos, where random views or mixing ask for them;
    else those need cached views."""

    num_frames: int = 8
    """Frames read from each video."""

    def __post_init__(self) -> None:
        at_least(1, self, "num_frames")

    def reads(self) -> Reads:
        """The outputs of the image tower that the model reads."""
        return FRAMES

    @property
    def frozen(self) -> bool:
        """Whether the image tower stays as it came, so that its outputs may be computed once and kept."""
        return False

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the model for such a backbone, its new parts initialized; the backbone's tensors are loaded after.

        Raises `StillmotionError`: sizes or outputs that the backbone does not have.
        """
        raise NotImplementedError

    def summary(self, backbone: Backbone) -> Summary | None:
        """What stands for all that the model reads of a clip's features, computed once; None: they do themselves."""
        return None

    def tune(self) -> tuple[Tune, ...]:
        """Name patterns of what trains; none for a method that needs no training. By itself, what is new."""
        return tuple(Tune(pattern) for pattern in self.new_parameters())

    def new_parameters(self) -> tuple[str, ...]:
        """Name patterns of the parameters that the backbone's weights do not hold."""
        return ()

    def init_from_backbone(self, model: VideoCLIP) -> None:
        """Initialize what starts from the backbone's own weights; called once these are loaded."""


@dataclass(frozen=True, kw_only=True)
class Probe(Method):
    """A new module that reads a frozen backbone, and a linear head for a closed set of classes."""

    dropout: float = 0.0
    """Dropout before the linear layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self, "in [0, 1)", lambda x: 0 <= x < 1, "dropout")

    def reader(self, backbone: Backbone) -> nn.Module:
        """Build what makes one embedding of a video's features, (B, D) from tokens or (B, E), and initialize it.

        Raises `StillmotionError`: sizes or outputs that the backbone does not have.
        """
        raise NotImplementedError

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build tower, reader and head for these classes."""
        backbone.check(self.reads())
        reader, head, _ = self.on(backbone, len(class_names))
        return VideoCLIP(backbone.visual(self.reads()), reader, head)

    def on(self, backbone: Backbone, classes: int) -> tuple[nn.Module, LinearHead, int]:
        """Build the reader, a head for so many classes, and the width of the embedding between them."""
        reader, width = self.reader(backbone), backbone.width if self.reads().out else backbone.embed_dim
        return reader, LinearHead(width, classes, self.dropout), width

    def new_parameters(self) -> tuple[str, ...]:
        """Reader and head are new."""
        return ("temporal.*", "head.*")

    def reads(self) -> Reads:
        """The tokens of the last block."""
        return Reads(out=(-1,))

    @property
    def frozen(self) -> bool:
        """The backbone is only read."""
        return True
