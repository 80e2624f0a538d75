"""Many videos one after another: read ahead by processes, put together for one forward pass, handed on in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stillmotion.data.dataset import read_views
from stillmotion.data.inputs import Frames, VideoInput, name_of, open_input
from stillmotion.data.loader import batches
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.data.video import Video
from stillmotion.errors import StillmotionError, VideoError, at_least
from stillmotion.progress import progress_bar

T = TypeVar("T")
Read = Tensor | StillmotionError
"""The views of a video (V, T, 3, H, W), or why it cannot be read."""


@dataclass(frozen=True, repr=False)
class Outcome(Generic[T]):
    """What became of one of many videos: its value, or the error that says why there is none.

    `video` is what was given; `value` is None where `error` is not.
    """

    video: VideoInput
    value: T | None
    error: StillmotionError | None = None

    def __repr__(self) -> str:
        found = f"value={self.value!r}" if self.error is None else f"error={self.error!r}"
        return f"Outcome({self.name!r}, {found})"

    @property
    def name(self) -> str:
        """The video's path, or what it is."""
        return name_of(self.video)

    def get(self) -> T:
        """The value. Raises `StillmotionError`: there is none."""
        if self.error is not None:
            raise self.error
        assert self.value is not None
        return self.value


@dataclass(frozen=True)
class Reading(Dataset[Read]):
    """How videos are read; it is indexed by the videos themselves, whatever stands for one, and gives their views."""

    num_frames: int
    sampling: Sampling
    preprocess: Preprocess

    def __getitem__(self, video: VideoInput | StillmotionError) -> Read:
        if isinstance(video, StillmotionError):
            return video
        try:
            return read_views(video, self.num_frames, self.sampling, self.preprocess)
        except StillmotionError as error:
            return error

    def lost(self, video: VideoInput, why: str) -> Read:
        """What stands for a video that ends the process that reads it."""
        return VideoError(f"{name_of(video)}: {why}; replace or remove it")


@dataclass(frozen=True)
class Pace:
    """How fast many videos are gone through.

    `batch` is the number of views in one forward pass, of one or several videos; `workers` are the processes that read
    (0: this one, between forward passes).
    """

    batch: int = 8
    workers: int = 0

    def __post_init__(self) -> None:
        at_least(1, self, "batch")
        at_least(0, self, "workers")


def outcomes(
    videos: Iterable[VideoInput],
    reading: Reading,
    forward: Callable[[Tensor], Tensor],
    one: Callable[[Tensor, str], T],
    pace: Pace,
    description: str,
) -> Iterator[Outcome[T]]:
    """Yield what becomes of each video, in their order, as soon as its batch is done.

    Args:
        videos: any iterable; it is read no further ahead than `pace` asks for.
        forward: from views, of some videos one after another, to what the model gives for each view.
        one: from what it gives for the views of one video, and the video's name, to the value; its errors are those of
            that video alone.
        description: stands beside the progress bar.
    """
    waiting: deque[VideoInput] = deque()

    def keys() -> Iterator[Any]:
        for video in videos:
            waiting.append(video)
            yield _portable(video)

    total = len(videos) if isinstance(videos, Sized) else None
    with progress_bar(description, total) as advance:
        for group in _groups(batches(reading, pace.workers, keys=keys(), ahead=1), pace.batch):
            given = [waiting.popleft() for _ in group]
            good = [read for read in group if isinstance(read, Tensor)]
            outputs = iter(forward(torch.cat(good)).split([len(read) for read in good]) if good else ())
            for video, read in zip(given, group):
                advance()
                try:
                    if isinstance(read, StillmotionError):
                        raise read
                    value = one(next(outputs), name_of(video))
                except StillmotionError as error:
                    yield Outcome(video, None, error)
                else:
                    yield Outcome(video, value)


def several(videos: Iterable[VideoInput]) -> Iterable[VideoInput]:
    """The videos, where they are several. Raises `StillmotionError`: one video, whose parts would be taken for some."""
    one = isinstance(videos, (str, os.PathLike, bytes, bytearray, memoryview, Video, Frames)) or hasattr(videos, "read")
    if one or getattr(videos, "ndim", 5) <= 4:
        raise StillmotionError(f"{name_of(videos)} is one video; pass a list of videos")  # type: ignore[arg-type]
    if not isinstance(videos, Iterable):
        raise StillmotionError(f"a {type(videos).__name__} holds no videos; pass a list of videos")
    return videos


def _groups(reads: Iterable[Read], batch: int) -> Iterator[list[Read]]:
    held: list[Read] = []
    count = 0
    for read in reads:
        held.append(read)
        count += len(read) if isinstance(read, Tensor) else 1
        if count >= batch:
            yield held
            held, count = [], 0
    if held:
        yield held


def _portable(video: Any) -> Any:
    """The same as can be sent to another process: a path or bytes, or what they hold, opened here."""
    if isinstance(video, (str, os.PathLike, bytes, bytearray)):
        return video
    try:  # a tensor would be moved to shared memory where it is, away from under arrays that share it
        return open_input(video)
    except StillmotionError as error:
        return error
