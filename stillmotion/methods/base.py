"""What the rest of the package knows about a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor

from stillmotion.backbones.backbone import Backbone
from stillmotion.backbones.config import CLIPConfig
from stillmotion.errors import StillmotionError, WeightsError
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

    @classmethod
    def official(cls, checkpoint: Mapping[str, Tensor], clip: Mapping[str, Tensor] | None, **sizes: Any) -> "Official":
        """Translate a checkpoint of the official release, with its own names, into ours.

        Raises:
            WeightsError: the method has no release, or the tensors are not of it.
        """
        raise WeightsError(f"{cls.__name__} has no official checkpoints; it is ours alone")

    def release(self, state: Mapping[str, Tensor]) -> dict[str, Any]:
        """Translate a model's state into the content of a file that the official release loads.

        Raises:
            WeightsError: the method has no release.
        """
        raise WeightsError(f"{type(self).__name__} has no official release to write a checkpoint for")

    def hugging_face(self, state: Mapping[str, Tensor], clip: CLIPConfig) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Translate a model into a `config.json` and tensors that `transformers` loads.

        Raises:
            WeightsError: `transformers` has no such model.
        """
        raise WeightsError(f"transformers has plain CLIP and X-CLIP, no {type(self).__name__}; write --to official")


@dataclass(frozen=True, kw_only=True)
class Official:
    """An official checkpoint, read: the method it holds, the CLIP sizes, and a state dict with our names."""

    method: Method
    clip: CLIPConfig
    state: dict[str, Tensor]
    num_classes: int | None = None
