"""Clips on a page: their frames side by side in one picture, which a style sheet shows as a strip and plays in a loop.

A model's attention is another such picture, to be laid over them.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stillmotion.data.sampling import Sampling
from stillmotion.data.video import open_video
from stillmotion.report.page import data_uri

HEIGHT, HEAT = 224, 64
"""Rows in pixels of a frame, and side in pixels of a map of attention, which a browser scales up smoothly."""
MOST_WIDE = 400
FAINT = 0.1
"""Attention below this part of the strongest is not drawn."""

# Inferno without its black end, at quarters: what lies below is to be seen, so little attention is transparent.
_GLOW = ((87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
_OPACITY = (0.0, 0.4, 0.65, 0.8)

Frames = NDArray[np.uint8]
Maps = NDArray[np.float64]


@dataclass(frozen=True)
class Strip:
    """T frames of a clip; pictures are data URIs of all of them side by side.

    heat: attention over them, empty where there is none; note: what the heat is; under: lines of text for each frame.
    """

    frames: str
    count: int
    aspect: float
    """Width of a frame over its height."""
    heat: str = ""
    note: str = ""
    under: tuple[str, ...] = ()


def strip(frames: Frames, heat: Maps | None = None, note: str = "", under: Sequence[str] = ()) -> Strip:
    """Put frames (T, H, W, 3) in one picture, and maps of attention (T, gh, gw), at least 0, in another.

    Maps are scaled by the strongest place of the clip, and made smooth.
    """
    height, width = frames.shape[1:3]
    wide = min(MOST_WIDE, max(1, round(HEIGHT * width / height)))
    small = [Image.fromarray(f).resize((wide, HEIGHT), Image.Resampling.LANCZOS) for f in frames]
    look = "" if heat is None else _uri(_heat(heat), "PNG")
    return Strip(_uri(small, "JPEG"), len(frames), wide / HEIGHT, look, note, tuple(under))


def plain_strip(path: Path, sampling: Sampling, count: int) -> Strip:
    """The frames of one test view of a video, as they are. Raises `VideoError`: the file cannot be read."""
    video = open_video(path)
    _, frames = video.sample(lambda n: sampling.test(n, count)[sampling.views // 2].tolist())
    return strip(frames.permute(0, 2, 3, 1).numpy())


def _heat(maps: Maps) -> list[Image.Image]:
    strength = maps / max(float(maps.max()), 1e-12)
    stops, found = np.linspace(FAINT, 1, len(_GLOW)), []
    for one in strength:
        smooth = Image.fromarray(one.astype(np.float32)).resize((HEAT, HEAT), Image.Resampling.BICUBIC)
        values = np.clip(np.asarray(smooth), 0, 1)
        color = [np.interp(values, stops, channel) for channel in zip(*_GLOW)]
        alpha = 255 * np.interp(values, stops, _OPACITY)
        found.append(Image.fromarray(np.stack([*color, alpha], axis=-1).round().astype(np.uint8)))
    return found


def _uri(images: Sequence[Image.Image], kind: str) -> str:
    """Pictures of one size side by side, as a data URI."""
    width, height = images[0].size
    whole = Image.new(images[0].mode, (width * len(images), height))
    for i, image in enumerate(images):
        whole.paste(image, (i * width, 0))
    buffer = io.BytesIO()
    whole.save(buffer, format=kind, quality=82, optimize=True)
    return data_uri(kind.lower(), buffer.getvalue())
