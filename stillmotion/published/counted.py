"""What published numbers cost by our own count, where their configuration is one of ours."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

from stillmotion.backbones.clip import describe
from stillmotion.backbones.config import CLIPConfig
from stillmotion.count import count
from stillmotion.methods import A5, EVL, METHODS, XCLIP, ActionCLIP, Method, ViFiCLIP
from stillmotion.progress import progress_bar
from stillmotion.published.read import CLASSES, Number

CLIP_MODELS = {
    "CLIP B/32": "ViT-B-32",
    "CLIP B/16": "ViT-B-16",
    "CLIP L/14": "ViT-L-14",
    "CLIP L/14@336": "ViT-L-14-336",
}
_METHODS: dict[str, Callable[[int], Method]] = {
    "EVL": lambda T: EVL(num_frames=T, init="release"),
    "X-CLIP": lambda T: XCLIP(num_frames=T),
    "ActionCLIP": lambda T: ActionCLIP(num_frames=T),
    "A5": lambda T: A5(num_frames=T),
    "A6": lambda T: A5(num_frames=T, layers=3),
    "Vanilla CLIP": lambda T: METHODS["zero_shot"](num_frames=T),
    **{name: lambda T: ViFiCLIP(num_frames=T) for name in ("ViFi-CLIP", "CLIP image-FT", "CLIP text-FT")},
}
_LAYERS = re.compile(r"(\d+) decoder layers?")


def counted(rows: Sequence[Number]) -> dict[Number, float]:
    """GMAC of a video, all views, of the rows of which method, size of CLIP, frames and views are known and ours.

    The text tower, which is paid once per class list, is left out, as in the papers. The arithmetic is that of the
    equations as written, without our short cuts; EVL has all its temporal modules, as its release trains it.
    """
    known = [(row, method) for row in rows if (method := method_of(row)) is not None]
    found = {}
    with progress_bar("counting", len(known)) as advance:
        for row, method in known:
            found[row] = (row.total_views or 1) * _gmac(method, row.backbone, CLASSES.get(row.dataset, 400))
            advance()
    return found


def method_of(row: Number) -> Method | None:
    """Our method in the configuration of a row; None: another method, a variant of it, or too little is known."""
    if row.method not in _METHODS or row.backbone not in CLIP_MODELS or not row.frames or not row.views:
        return None
    method = _METHODS[row.method](row.frames)
    layers = _LAYERS.fullmatch(row.variant)
    if isinstance(method, EVL) and layers:
        return replace(method, layers=int(layers[1]))
    return None if row.variant else method


@cache
def _gmac(method: Method, backbone: str, classes: int) -> float:
    clip = replace(CLIPConfig.published(CLIP_MODELS[backbone]), activation="quick_gelu")
    return count(method, describe(clip), classes).video.plain_macs / 1e9
