"""Write small real video files with PyAV, for the tests."""

import contextlib
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def picture(i: int, width: int, height: int, seed: int = 0, direction: int = 1) -> np.ndarray:
    """Frame i: a textured background with a bright square that moves."""
    rng = np.random.RandomState(seed)
    image = rng.randint(0, 120, (height, width, 3)).astype(np.uint8)
    x = (width // 4 + direction * 2 * i) % max(1, width - 12)
    y = (height // 3 + i) % max(1, height - 12)
    image[y : y + 12, x : x + 12] = (250, 40 + 5 * (i % 40), 255 - 5 * (i % 40))
    return image


@contextlib.contextmanager
def usual_priority() -> Iterator[None]:
    """Undo what SVT-AV1 does as root: it makes its caller a real-time thread, as are then all that the caller starts,
    and a few of these that wait by spinning stop everything else on the machine.
    """
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def write_video(
    path: Path,
    frames: int = 30,
    codec: str = "libx264",
    size: tuple[int, int] = (96, 64),
    seed: int = 0,
    direction: int = 1,
    options: dict[str, str] | None = None,
    times: list[int] | None = None,
    rotation: int | None = None,
    pix_fmt: str = "yuv420p",
    **settings: Any,
) -> Path:
    """Write a video; `times` gives display times in ticks of 1/25 s for a variable frame rate."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with usual_priority(), av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = *size, pix_fmt
        stream.options = options or {}
        stream.codec_context.time_base = Fraction(1, 25)
        for name, value in settings.items():
            setattr(stream.codec_context, name, value)
        if rotation is not None:
            stream.set_display_rotation(rotation)
        for i in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(i, *size, seed=seed, direction=direction), format="rgb24")
            frame.pts = i if times is None else times[i]
            frame.time_base = Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_audio(path: Path) -> Path:
    """Write a file with a sound track alone."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44100, layout="mono")
        for i in range(20):
            samples = np.zeros((1, 1024), dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
            frame.rate, frame.pts = 44100, 1024 * i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def decode_in_order(path: Path) -> list[np.ndarray]:
    """Every frame of a file, decoded from the first packet to the last, past damage: the truth to compare with."""
    images: list[np.ndarray] = []
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_type = "NONE"
        try:
            for packet in container.demux(stream):
                if packet.size:
                    try:
                        decoded = stream.codec_context.decode(packet)
                    except av.error.FFmpegError:
                        continue
                    images += [frame.to_ndarray(format="rgb24") for frame in decoded]
        except av.error.FFmpegError:
            pass
        with contextlib.suppress(av.error.FFmpegError, EOFError):
            images += [frame.to_ndarray(format="rgb24") for frame in stream.codec_context.decode(None)]
    return images
