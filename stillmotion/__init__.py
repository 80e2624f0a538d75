"""Turn still-image CLIP models into video recognizers, cheaply."""

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from stillmotion.version import __version__

if TYPE_CHECKING:
    from stillmotion.api import evaluate as evaluate
    from stillmotion.api import train as train
    from stillmotion.classifier import Classifier as Classifier
    from stillmotion.classifier import load as load
    from stillmotion.data.inputs import VideoInput as VideoInput
    from stillmotion.data.many import Outcome as Outcome
    from stillmotion.data.video import Video as Video
    from stillmotion.data.video import open_video as open_video
    from stillmotion.errors import StillmotionError as StillmotionError
    from stillmotion.errors import VideoError as VideoError
    from stillmotion.eval.report import Report as Report
    from stillmotion.experiment import Result as Result
    from stillmotion.explain import Explanation as Explanation
    from stillmotion.models.video_clip import VideoCLIP as VideoCLIP
    from stillmotion.official import load_official as load_official
    from stillmotion.open_vocabulary import from_backbone as from_backbone
    from stillmotion.prediction import Prediction as Prediction
    from stillmotion.releases.official import from_official as from_official

_PUBLIC = {
    "Classifier": "classifier",
    "Outcome": "data.many",
    "Prediction": "prediction",
    "Explanation": "explain",
    "Report": "eval.report",
    "Result": "experiment",
    "StillmotionError": "errors",
    "Video": "data.video",
    "VideoCLIP": "models.video_clip",
    "VideoError": "errors",
    "VideoInput": "data.inputs",
    "evaluate": "api",
    "train": "api",
    "from_backbone": "open_vocabulary",
    "from_official": "releases.official",
    "load": "classifier",
    "load_official": "official",
    "open_video": "data.video",
}

__all__ = ["__version__", *_PUBLIC]

if not TYPE_CHECKING:  # so that type checkers know what is not there

    def __getattr__(name: str) -> Any:
        # Looked up when first used, so that `stillmotion --help` does not import PyTorch.
        if name not in _PUBLIC:
            raise AttributeError(f"module 'stillmotion' has no attribute {name!r}")
        return getattr(import_module(f"stillmotion.{_PUBLIC[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


def _one_thread() -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


if hasattr(os, "register_at_fork"):
    # A forked process has none of the threads that PyTorch counts on, and would wait for them for ever.
    os.register_at_fork(after_in_child=_one_thread)
