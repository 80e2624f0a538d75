"""Small data sets of clips for the tasks of the field: supervised, few-shot, zero-shot and base-to-novel.

    FOLDER/supervised/{train,val}/CLASS/NNN.mp4      every action, each direction of time a class of its own
    FOLDER/few_shot/K.csv                            K clips of each class of supervised/train
    FOLDER/zero_shot/source/{train,val}/CLASS        actions to train on
    FOLDER/zero_shot/target/val/CLASS                other actions, no clip of which is in source
    FOLDER/base_to_novel/base/{train,val}/CLASS      what is done x what with
    FOLDER/base_to_novel/novel/val/CLASS             compositions that neither base nor any still of pretraining shows

Clips are 96x96 pixels, 16 to 24 frames at 12 per second. Classes are named as captions name them, so that a text tower
can read them, but no still shows the direction of time. The same seed gives the same files.
"""

import os
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from stillmotion.actors.captions import class_name
from stillmotion.actors.puppet import Random
from stillmotion.actors.sample import pick, random_person
from stillmotion.actors.scene import SIZE, Pixels, Scene, Shot, Thing
from stillmotion.actors.vocabulary import ACTIONS, COLORS, HANDLING, OBJECTS, PLACES, held_out_handling
from stillmotion.data.seeds import item_seed
from stillmotion.errors import at_least
from stillmotion.files import atomic_write
from stillmotion.progress import progress_bar

TASKS = ("supervised", "zero_shot/source", "zero_shot/target", "base_to_novel/base", "base_to_novel/novel")
FPS = 12
TARGET = ("jump", "bow", "clap", "kick", "squat", "run", "stretch", "lie_down", "throw", "shake")
"""Actions, with what undoes them, that zero-shot is tested on."""
STILL = ("stand", "sit", "lie", "kneel", "hold")
"""What has no motion is no class."""


@dataclass(frozen=True)
class ClipClass:
    """A class of clips: an action, forwards or backwards, with one kind of object or none."""

    action: str
    reverse: bool = False
    thing: str | None = None

    @property
    def name(self) -> str:
        """As captions write it: `sit down`, `pick up the ball`."""
        return class_name(self.action, self.thing or "", self.reverse)


@dataclass(frozen=True, kw_only=True)
class BenchmarkSpec:
    """Clips of each class, and the seed of everything."""

    train: int = 8
    val: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, self, "train", "val")


@dataclass(frozen=True)
class _Job:
    path: Path
    made: ClipClass
    seed: int


def classes(task: str) -> tuple[ClipClass, ...]:
    """The classes of `supervised`, `zero_shot/source`, `zero_shot/target`, `base_to_novel/base` or its `novel`."""
    if task.startswith("base_to_novel/"):
        return tuple(_compositions(novel=task.endswith("novel")))
    actions = [name for name in ACTIONS if name not in (*STILL, "kick_it")]
    if task != "supervised":
        actions = [name for name in actions if (name in TARGET) == task.endswith("target")]
    return tuple(c for name in actions for c in _directions(name, "ball" if ACTIONS[name].handles else None))


def write_benchmark(
    folder: Path,
    spec: BenchmarkSpec = BenchmarkSpec(),
    processes: int | None = None,
    tasks: Collection[str] = TASKS,
) -> Path:
    """Write every data set of the benchmark; files that are there are kept.

    Args:
        folder: see the module.
        spec: how many clips, and the seed.
        processes: renderers side by side; None: one per core.
        tasks: which of `TASKS`; few-shot lists come with `supervised`.

    Returns:
        The folder.

    Raises `DiskError`: it cannot be written.
    """
    jobs = [job for task in tasks for job in _jobs(folder, task, spec) if not job.path.is_file()]
    processes = min(processes or os.cpu_count() or 1, max(1, len(jobs)))
    with progress_bar("rendering", len(jobs)) as advance, ExitStack() as stack:
        pool = stack.enter_context(ProcessPoolExecutor(processes)) if processes > 1 else None
        for _ in pool.map(_write, jobs, chunksize=8) if pool else map(_write, jobs):
            advance()
    for shots in (k for k in (1, 2, 4, 8, 16) if k <= spec.train and "supervised" in tasks):
        lines = [
            f'"../supervised/train/{c.name}/{i:03d}.mp4","{c.name}"\n'
            for c in classes("supervised")
            for i in range(shots)
        ]
        with atomic_write(folder / "few_shot" / f"{shots}.csv") as temporary:
            temporary.write_text("path,label\n" + "".join(lines), encoding="utf-8")
    return folder


def clip_frames(made: ClipClass, rng: Random) -> Iterator[Pixels]:
    """Draw the frames of one clip of a class, (SIZE, SIZE, 3) uint8 each."""
    thing = None if made.thing is None else Thing(made.thing, pick(tuple(COLORS), rng))
    shot = Shot(Scene(pick(tuple(PLACES), rng), (random_person(rng),), made.action, thing), rng)
    count = int(rng.randint(16, 25))
    start, end, ease = rng.uniform(0, 0.12), rng.uniform(0.88, 1), rng.uniform(0.2, 1)
    s = np.clip((np.linspace(0, 1, count) - start) / (end - start), 0, 1)
    s = (1 - ease) * s + ease * s * s * (3 - 2 * s)
    for progress in s[::-1] if made.reverse else s:
        yield shot.frame(float(progress))


def _compositions(novel: bool) -> Iterator[ClipClass]:
    """Of every handling, forwards and backwards, two objects: those held out, or two others, of each action others."""
    for i, action in enumerate(HANDLING):
        things = [thing for thing in OBJECTS if held_out_handling(action, thing) == novel]
        for k in range(2):
            yield from _directions(action, things[(2 * i + k) % len(things)])


def _directions(action: str, thing: str | None) -> Iterator[ClipClass]:
    yield ClipClass(action, thing=thing)
    if ACTIONS[action].reverse:
        yield ClipClass(action, reverse=True, thing=thing)


def _jobs(folder: Path, task: str, spec: BenchmarkSpec) -> Iterator[_Job]:
    for split, count in (("train", spec.train), ("val", spec.val)):
        if split == "train" and task.endswith(("target", "novel")):
            continue
        for made in classes(task):
            for i in range(count):
                path = folder / task / split / made.name / f"{i:03d}.mp4"
                yield _Job(path, made, item_seed("benchmark", spec.seed, task, split, made.name, i))


def _write(job: _Job) -> None:
    with atomic_write(job.path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.options = {"crf": "18", "preset": "veryfast", "threads": "1"}  # x264's bits depend on their number
        for pixels in clip_frames(job.made, np.random.RandomState(job.seed)):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
