"""Checkpoints of the official releases, as models of ours."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from stillmotion.backbones.weights import compare
from stillmotion.errors import WeightsError, did_you_mean
from stillmotion.methods import METHODS
from stillmotion.methods.base import Official
from stillmotion.models.video_clip import VideoCLIP
from stillmotion.weights.folders import folder_sizes, read_sharded
from stillmotion.weights.names import to_openai
from stillmotion.weights.readers import open_wrappers, read_state

State = Mapping[str, Tensor]
_BESIDE = {"fusion_model_state_dict": "fusion."}  # ActionCLIP's head lies beside its CLIP


def from_official(
    method: str,
    checkpoint: str | Path | State,
    clip: str | Path | State | None = None,
    class_names: Sequence[str] | None = None,
    **sizes: Any,
) -> VideoCLIP:
    """Build a model from a checkpoint of a method's official release.

    Args:
        method: `evl`, `vificlip`, `xclip`, `actionclip`, `a5`; `zero_shot` for CLIP itself.
        checkpoint: the release's file, or its content or state dict with official names; a folder of Hugging Face's
            `XCLIPModel` or `CLIPModel`.
        clip: CLIP's weights with OpenAI's names, a file or a state dict, where the release does not hold them: for
            `evl` the `visual.*` part is enough, for `vificlip` the token table.
        class_names: names of the classes, for a closed set in the order of its logits; kept as `model.class_names`.
        sizes: what the tensors do not show: `image_size` (height, width), `vision_heads`, `text_heads`, for EVL
            `heads`, `num_frames` (without frame positions) and `taps`, for A5 `prefix` and `postfix`, and any other
            option of the method that its checkpoint is silent about.

    Returns:
        The model in evaluation mode, on the CPU, in float32.

    Raises:
        WeightsError: an unknown method, an unreadable file, tensors that do not fit, or a wrong number of classes.
    """
    official = read_official(method, checkpoint, clip, sizes)
    names = list(class_names or [])
    if official.num_classes is not None:
        if class_names is not None and len(names) != official.num_classes:
            raise WeightsError(
                f"{len(names)} class names for a head of {official.num_classes} classes; give one name per class"
            )
        names = names or [str(i) for i in range(official.num_classes)]
    model = official.method.build(official.clip, names)
    state = {k: v.float() for k, v in official.state.items()}
    compare(model.state_dict(), state, f"the official {method} checkpoint")
    model.load_state_dict(state)
    model.class_names = tuple(names)
    return model.eval()


def read_official(
    method: str, checkpoint: str | Path | State, clip: str | Path | State | None, sizes: dict[str, Any]
) -> Official:
    """Read a checkpoint of a release into our names; arguments and errors as `from_official`."""
    if method not in METHODS:
        raise WeightsError(f"there is no method {method!r}{did_you_mean(method, METHODS)}")
    given = None if clip is None else to_openai(_state(clip))
    for source in (checkpoint, clip):
        if isinstance(source, (str, Path)) and Path(source).is_dir():
            sizes = folder_sizes(Path(source)) | sizes
    try:
        return METHODS[method].official(_state(checkpoint), given, **sizes)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        word = str(error).rsplit("argument", 1)[-1].strip()
        raise WeightsError(
            f"{method} has no size {word}; it is read off the tensors, or not part of {method}"
        ) from error


def _state(source: str | Path | State) -> dict[str, Tensor]:
    if isinstance(source, (str, Path)):
        path = Path(source)
        return read_sharded(path) if path.is_dir() else read_state(path, _BESIDE)
    return open_wrappers(source, _BESIDE)
