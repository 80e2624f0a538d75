"""The embedded data set `actors`: rendered clips of puppets in ten actions that form five time-reversed pairs.

A clip and its partner differ in the direction of time alone, so a model that cannot see order is at chance within a
pair. Everything else varies: body, clothes, scale, speed, place, viewing side, room, clutter, camera shake. Actors,
rooms and seeds of the training and the test clips are disjoint, and the same seed gives the same pixels.
"""

import os
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from stillmotion.actors.puppet import Performance, draw_puppet, random_body
from stillmotion.actors.scenery import random_color, random_room
from stillmotion.files import atomic_write
from stillmotion.progress import progress_bar

PAIRS = (
    ("walk_right", "walk_left"), ("stand_up", "sit_down"), ("raise_arm", "lower_arm"), ("pick_up", "put_down"),
    ("push", "pull"),
)  # fmt: skip
ACTIONS = tuple(action for pair in PAIRS for action in pair)
WIDTH, HEIGHT, FPS = 320, 240, 20
MARGIN = 12  # pixels of room for the camera to shake
SUPERSAMPLE = 2


@dataclass(frozen=True, kw_only=True)
class ActorsSpec:
    """Size and seed of the data set; every actor performs every action once."""

    train_actors: int = 12
    test_actors: int = 6
    actions: tuple[str, ...] = ACTIONS
    seed: int = 0


@dataclass(frozen=True)
class _Job:
    path: Path
    action: str
    split: str
    actor: int
    seed: int


def render_actors(root: Path, spec: ActorsSpec = ActorsSpec(), processes: int | None = None) -> Path:
    """Render the data set as H.264 files ROOT/{train,test}/ACTION/actorNN.mp4; files that are there are kept.

    Args:
        processes: renderers side by side; None: one per core.

    Returns:
        The folder, ready for `--data`.
    """
    jobs = [job for job in _jobs(root, spec) if not job.path.is_file()]
    processes = min(processes or os.cpu_count() or 1, max(1, len(jobs)))
    with progress_bar("rendering", len(jobs)) as advance, ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(processes)) if processes > 1 else None
        for _ in pool.map(_render, jobs, chunksize=4) if pool else map(_render, jobs):
            advance()
    return root


def clip_frames(action: str, split: str, actor: int, seed: int) -> Iterator[Image.Image]:
    """Draw the frames of one clip, 320x240 RGB at 20 frames per second."""
    forward = next(pair[0] for pair in PAIRS if action in pair)
    body = random_body(np.random.RandomState(_seed(seed, split, actor)))
    rng = np.random.RandomState(_seed(seed, split, actor, action))
    scale, size = SUPERSAMPLE, ((WIDTH + 2 * MARGIN) * SUPERSAMPLE, (HEIGHT + 2 * MARGIN) * SUPERSAMPLE)
    room, horizon = random_room(*size, rng)
    performance = Performance(forward, rng)
    progress = _progress(rng)
    if action != forward:
        progress = progress[::-1]
    unit = body.height * HEIGHT * scale * rng.uniform(0.9, 1.1)
    ground = min(horizon + rng.uniform(0.25, 0.8) * (size[1] - horizon), size[1] - 1.5 * MARGIN * scale)
    middle = size[0] / 2 + rng.uniform(-0.07, 0.07) * WIDTH * scale
    # Walking right means right on the screen; the other actions face either way.
    facing = 1 if forward == "walk_right" else int(rng.choice([-1, 1]))
    shake = _shake(len(progress), rng) * scale
    prop_color = random_color(rng, 30)
    to_pixel = partial(_to_pixel, middle, ground, facing * unit, unit)
    for s, (dx, dy) in zip(progress, shake):
        canvas = room.copy()
        draw_puppet(ImageDraw.Draw(canvas), body, performance.pose(float(s)), to_pixel, prop_color)
        left, top = MARGIN * scale + dx, MARGIN * scale + dy
        frame = canvas.crop((left, top, left + WIDTH * scale, top + HEIGHT * scale))
        yield frame.reduce(scale)


def _jobs(root: Path, spec: ActorsSpec) -> Iterator[_Job]:
    for split, count in (("train", spec.train_actors), ("test", spec.test_actors)):
        for action in spec.actions:
            for actor in range(count):
                yield _Job(root / split / action / f"actor{actor:02d}.mp4", action, split, actor, spec.seed)


def _render(job: _Job) -> None:
    with atomic_write(job.path) as temporary:
        with av.open(str(temporary), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.time_base = Fraction(1, FPS)
            # One thread, because x264's bits depend on their number.
            stream.options = {"crf": "23", "preset": "veryfast", "threads": "1"}
            for image in clip_frames(job.action, job.split, job.actor, job.seed):
                container.mux(stream.encode(av.VideoFrame.from_image(image)))
            container.mux(stream.encode(None))


def _progress(rng: np.random.RandomState) -> NDArray[np.float64]:
    """Progress of the action at each frame: a hold, an eased motion, a hold; 1.6 to 2.8 seconds."""
    count = int(rng.randint(32, 57))
    start, end = rng.uniform(0, 0.15), rng.uniform(0.85, 1)
    s = np.clip((np.linspace(0, 1, count) - start) / (end - start), 0, 1)
    ease = rng.uniform(0.2, 1)
    return (1 - ease) * s + ease * s * s * (3 - 2 * s)


def _shake(count: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Smooth camera offsets in pixels, within the margin; (count, 2) integers."""
    knots = rng.normal(0, rng.uniform(0.5, 4), (6, 2))
    times = np.linspace(0, 5, count)
    path = np.stack([np.interp(times, np.arange(6), knots[:, axis]) for axis in (0, 1)], axis=1)
    return np.clip(np.rint(path), -MARGIN, MARGIN).astype(np.int64)


def _to_pixel(
    middle: float, ground: float, x_unit: float, y_unit: float, point: tuple[float, float]
) -> tuple[float, float]:
    return middle + point[0] * x_unit, ground - point[1] * y_unit


def _seed(*parts: object) -> int:
    # Not `data.seeds.item_seed`: the data set is what it was when its numbers were published, and NumPy mixes a seed.
    return zlib.crc32(repr(parts).encode())
