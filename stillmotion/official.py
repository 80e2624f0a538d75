"""A release's file as a classifier, which reads videos as its authors do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stillmotion.classifier import Classifier
from stillmotion.data.many import Reading
from stillmotion.recipes import RECIPES
from stillmotion.releases import RELEASES
from stillmotion.releases.convert import read_release
from stillmotion.releases.official import release_of


def reading_of(method: str) -> Reading:
    """How the release of a method reads videos."""
    recipe = RECIPES[RELEASES[method].recipe]()
    return Reading(num_frames=recipe.method.num_frames, preprocess=recipe.preprocess(), sampling=recipe.sampling)


def load_official(
    method: str,
    checkpoint: str | Path,
    clip: str | None = None,
    classes: Sequence[str] = (),
    *,
    device: str | torch.device | None = None,
    **sizes: Any,
) -> Classifier:
    """Load a checkpoint of a method's official release as a classifier; it is what `stillmotion convert` would write.
    Raises `WeightsError`: as `from_official`.

    Args:
        method: `evl`, `vificlip`, `xclip`, `actionclip`, `a5`; `zero_shot` for CLIP itself.
        checkpoint: the release's file, or a folder of Hugging Face's `XCLIPModel` or `CLIPModel`.
        clip: CLIP's weights, where the release does not hold them, by the names of the command line.
        classes: names of the classes: of a closed set in the order of its logits (none: their numbers), any of an open
            vocabulary.
        device: where to run; None: the GPU if there is one.
        sizes: what the tensors do not show, see `from_official`.
    """
    release_of(method)
    official, card, _ = read_release(
        Path(checkpoint), method, reading_of(method), clip=clip, classes=tuple(classes), given=sizes
    )
    model = card.method.build(card.backbone, card.names)
    model.load_state_dict(official.state)
    return Classifier(
        model,
        preprocess=card.preprocess,
        sampling=card.sampling,
        num_frames=card.method.num_frames,
        classes=card.classes,
        names=card.names,
        device=device,
    )
