"""Turn still-image CLIP models into video recognizers, cheaply."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stillmotion.data.video import Video as Video
    from stillmotion.data.video import open_video as open_video
    from stillmotion.deploy.attention import attention_map as attention_map
    from stillmotion.deploy.classifier import Classifier as Classifier
    from stillmotion.deploy.classifier import Prediction as Prediction
    from stillmotion.deploy.classifier import load as load
    from stillmotion.deploy.official import from_official as from_official
    from stillmotion.errors import StillmotionError as StillmotionError
    from stillmotion.models.video_clip import VideoCLIP as VideoCLIP

_PUBLIC = {
    "Classifier": "deploy.classifier",
    "Prediction": "deploy.classifier",
    "load": "deploy.classifier",
    "attention_map": "deploy.attention",
    "from_official": "deploy.official",
    "open_video": "data.video",
    "Video": "data.video",
    "VideoCLIP": "models.video_clip",
    "StillmotionError": "errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    # Looked up when first used, so that `stillmotion --help` does not import PyTorch.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'stillmotion' has no attribute {name!r}")
    return getattr(import_module(f"stillmotion.{_PUBLIC[name]}"), name)
