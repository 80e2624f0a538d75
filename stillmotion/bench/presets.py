"""Named switches: what each paper's code did, and what makes numbers comparable.

Numbers of this field disagree for reasons that are switches of an evaluation, not of a method. Each is an option of its
own; a preset sets several, and options that are given win over it.

    switch                            release                                     strict
    --statistics (pixel mean, std)    ImageNet's (ViFi-CLIP, X-CLIP, CLIP in      those of the weights
                                      their tables), CLIP's on BGR (A5)
    --resize                          bilinear as OpenCV does                     as the weights were trained
    --short-side                      8/7 of the input (256 for 224)              the crop covers the short side
    --clean-names                     raw names (UCF-101: ApplyEyeMakeup)         words
    --flip                            one half in training, everywhere            none where left and right are classes
    --drop-last                       the last video of an odd number (batches    every video is scored
                                      of 2, ViFi-CLIP, X-CLIP)

The views are fixed in both: the release's random test views cannot be had twice.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from stillmotion.methods import A5, EVL, XCLIP, ActionCLIP, ViFiCLIP, ZeroShot
from stillmotion.recipes.base import Recipe

Preset = Literal["release", "strict"]
_SIDES = re.compile(r"\b(left|right|clockwise|counterclockwise)\b|from (left|right) to", re.IGNORECASE)
RELEASE: dict[type, dict[str, Any]] = {
    ViFiCLIP: {"statistics": "imagenet", "resize": "bilinear", "flip": 0.5},
    XCLIP: {"statistics": "imagenet", "resize": "bilinear", "flip": 0.5},
    ZeroShot: {"statistics": "imagenet", "resize": "bilinear"},
    EVL: {"statistics": "weights", "resize": "bilinear", "flip": 0.0},
    ActionCLIP: {"statistics": "weights", "flip": 0.5},
    A5: {"statistics": "bgr"},
}
"""Fields of a recipe as each release has them (ViFi-CLIP, X-CLIP and EVL: code and settings; A5: features)."""
SHORT_SIDE = (ViFiCLIP, XCLIP, ZeroShot, ActionCLIP)
"""Methods whose release scales the short side to 256 for crops of 224."""
DROP_LAST = {ViFiCLIP: 2, XCLIP: 2, ZeroShot: 2}
"""Batch of the release's test loader, which drops the last one where it is not full."""


def preset(
    recipe: Recipe[Any], name: Preset, classes: Sequence[str], size: int, given: Sequence[str] = ()
) -> Recipe[Any]:
    """A recipe with the switches of a preset but those that were `given`; `size` is its input's side in pixels."""
    kind, switches = type(recipe.method), dict[str, Any]()
    if name == "strict":
        switches |= {"statistics": "weights", "resize": "weights", "short_side": None}
        switches |= {"flip": 0.0} if sided(classes) else {}
    else:
        switches |= RELEASE.get(kind, {})
        switches |= {"short_side": round(size * 8 / 7)} if kind in SHORT_SIDE else {}
        if recipe.cached and not recipe.cached_views:
            switches.pop("flip", None)  # of training clips that are read as test clips are
    return replace(recipe, **{field: value for field, value in switches.items() if field not in given})


def drop_last(recipe: Any, name: Preset | None) -> int:
    """Batch size of a loader that drops its last batch where it is not full; 1: every video is scored."""
    return DROP_LAST.get(type(getattr(recipe, "method", None)), 1) if name == "release" else 1


def sided(classes: Sequence[str]) -> bool:
    """Whether left and right are told apart by the names of classes, so that a mirror image changes the class."""
    return any(_SIDES.search(name.replace("_", " ")) for name in classes)
