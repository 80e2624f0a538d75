"""What the rest of the package knows about a method."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from stillmotion.backbones.backbone import Backbone
from stillmotion.errors import StillmotionError
from stillmotion.models.features import FRAMES, Reads
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.train.tuning import Tune


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method is a frozen set of hyper-parameters that builds a model and says what of it trains."""

    needs_text: ClassVar[bool] = False
    """Whether the model compares videos with class names, so that it needs a text tower."""
    objective: ClassVar[Literal["cross_entropy", "contrastive"]] = "cross_entropy"
    """What it is trained with: `contrastive` compares the videos of a batch with the prompts of that batch."""

    num_frames: int = 8
    """Frames read from each video."""

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise StillmotionError(f"num-frames is {self.num_frames}; it must be at least 1")

    def reads(self) -> Reads:
        """The outputs of the image tower that the model reads."""
        return FRAMES

    @property
    def frozen(self) -> bool:
        """Whether the image tower stays as it came, so that its outputs may be computed once and kept."""
        return False

    def build(self, backbone: Backbone, class_names: Sequence[str]) -> VideoCLIP:
        """Build the model for such a backbone, its new parts initialized; the backbone's tensors are loaded after.

        Raises:
            StillmotionError: sizes or outputs that the backbone does not have.
        """
        raise NotImplementedError

    def tune(self) -> tuple[Tune, ...]:
        """Name patterns of what trains; none for a method that needs no training."""
        raise NotImplementedError

    def new_parameters(self) -> tuple[str, ...]:
        """Name patterns of the parameters that the backbone's weights do not hold."""
        return ()

    def init_from_backbone(self, model: VideoCLIP) -> None:
        """Initialize what starts from the backbone's own weights; called once these are loaded."""
