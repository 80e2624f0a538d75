"""Reading 8 frames of a video: only the groups of pictures that hold them, against decoding from the start.

    python benchmarks/decode.py [--videos FOLDER | --quick]

Without a folder, a moving texture is encoded at three lengths. Medians of interleaved runs; the ratio is what counts.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro
from sections import machine, markdown
from tiny import write_clip

from stillmotion.data.sampling import segments_test
from stillmotion.data.video import Video, open_video


@dataclass(frozen=True)
class Options:
    """What to read."""

    videos: Path | None = None
    """Folder of videos; None: encode some."""
    frames: int = 8
    """Frames to read of each."""
    repeats: int = 5
    """Runs to take the median of."""
    quick: bool = False
    """One run on one small video."""


def main(options: Options) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        paths = (
            sorted(p for p in options.videos.rglob("*") if p.is_file())
            if options.videos
            else encode(Path(folder), options)
        )
        rows = [measure(open_video(path), options) for path in paths]
    print(markdown(["video", "frames", "sparse, ms", "from the start, ms", "ratio"], rows))
    print(f"\n{options.frames} frames each, one thread, {machine()}")


def measure(video: Video, options: Options) -> list[str]:
    """Time both ways in turn, opening included."""
    wanted = {int(i) for i in segments_test(video.num_frames, options.frames).flatten()}
    sparse: list[float] = []
    whole: list[float] = []
    for _ in range(1 if options.quick else options.repeats):
        sparse.append(seconds(lambda: open_video(video.path).frames(sorted(wanted))))
        whole.append(seconds(lambda: video._sequential(wanted)))
    a, b = statistics.median(sparse), statistics.median(whole)
    return [video.path.name, str(video.num_frames), f"{1000 * a:.0f}", f"{1000 * b:.0f}", f"{b / a:.1f}"]


def seconds(call: Callable[[], object]) -> float:
    """Wall time of a call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def encode(folder: Path, options: Options) -> list[Path]:
    """Three H.264 files of 2, 10 and 60 seconds, 640x360 at 25 frames per second; --quick: a small one of 1 second."""
    paths = []
    for length in (1,) if options.quick else (2, 10, 60):
        paths.append(folder / f"{length}s.mp4")
        write_clip(paths[-1], 25 * length, (96, 64) if options.quick else (640, 360))
    return paths


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
