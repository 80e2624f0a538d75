"""Read exact frames of a video, and decode no more of it than they need.

The packets of a file are listed without decoding. Where that list can be trusted, only the groups of pictures that
hold a wanted frame are decoded, and of those no picture that nothing else needs: 1.3 to 4.5 times faster than reading
from the start (benchmarks/decode.py), with the same pixels. Everything else, AVI and damaged files included, is decoded
in order from the first packet to the last, past damage.

A frame's index is its place in that full decode, from 0, in the order of display.
"""

import bisect
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import av
import av.error
from torch import Tensor

from stillmotion.data.frames import Change, Kept, check_size, clockwise
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.packets import DECODER_OPTIONS, PacketIndex, open_container, packets, video_stream
from stillmotion.errors import VideoError, did_you_mean, printable, reason

MAX_BYTES = 2 * 10**9
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+:/")  # of which `Path` leaves one slash


@dataclass(frozen=True, repr=False)
class Video:
    """An opened video; `open_video` makes it. It holds no file handle, so it can be kept, copied and sent.

    `name` is for messages, `path` is None for a video in memory; `fps` is frames per second, 0 when the file does not
    say; `coded_size` is (height, width) in pixels as stored.
    """

    name: str
    path: Path | None
    fps: float
    coded_size: tuple[int, int]
    _source: Path | bytes
    _index: PacketIndex

    def __repr__(self) -> str:
        (height, width), count = self.coded_size, len(self._index.shown)
        about = "" if self._index.trusted else "about "
        return f"<Video {printable(self.name)}: {about}{count} frames of {width}x{height} at {self.fps:g} per second>"

    @cached_property
    def num_frames(self) -> int:
        """Frames that can be decoded. Free for most files; one decode for AVI and for damaged ones."""
        if self._index.trusted:
            return len(self._index.shown)
        return self._sequential(set())[0]

    @cached_property
    def rotation(self) -> int:
        """Clockwise degrees (0, 90, 180 or 270) by which the file asks to turn its frames; `frames` does so."""
        with open_container(self._source) as container:
            for frame in _decode_all(container, video_stream(container, self.name)):
                return clockwise(frame)
        return 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels of the frames as shown, after rotation."""
        height, width = self.coded_size
        return (width, height) if self.rotation in (90, 270) else (height, width)

    @property
    def duration(self) -> float:
        """Length in seconds; 0 when the file does not say its frame rate."""
        return self.num_frames / self.fps if self.fps else 0.0

    def frames(self, indices: Sequence[int]) -> Tensor:
        """Decode the frames with these indices (any order, repeats allowed): (N, 3, H, W) uint8 RGB in [0, 255].
        Raises `VideoError`: no index, one past the last frame, or a file that cannot be decoded.

        The memory lies channels-last, which is what makes resizing fast.
        """
        chosen = [int(i) for i in indices]
        if not chosen:
            raise VideoError(f"{self.name}: no frame is asked for; name at least one, 0 to {self.num_frames - 1}")

        def pick(num_frames: int) -> list[int]:
            outside = [i for i in chosen if not 0 <= i < num_frames]
            if outside:
                raise VideoError(f"{self.name}: frame {outside[0]} of {num_frames}; use 0 to {num_frames - 1}")
            return chosen

        return self.sample(pick)[1]

    def sample(self, pick: Callable[[int], Sequence[int]], change: Change | None = None) -> tuple[list[int], Tensor]:
        """Let `pick` choose indices from the frame count, and decode them; the count is right even for broken files.
        Raises `VideoError`: a file that cannot be decoded, or whose wanted frames are of more than one size.

        Returns the indices, and the frames as `frames` does, or what `change` made of them: it makes frames small as
        soon as they are decoded, a pair at a time (see `Kept`), so that memory never holds all of them at full size.
        """
        if self._index.trusted:
            indices = [int(i) for i in pick(len(self._index.shown))]
            kept = self._sparse(set(indices), change)
            if kept is not None:
                return indices, kept.of(indices)
        guess = len(self._index.shown)
        indices = [int(i) for i in pick(guess)] if guess else []
        count, kept = self._sequential(set(indices), change)
        if count == 0:
            raise VideoError(f"{self.name}: no frame can be decoded; the file is damaged, replace or remove it")
        if count != guess:  # the file has more or fewer frames than packets: choose again, from the true count
            indices = [int(i) for i in pick(count)]
            if not kept.sizes.keys() >= set(indices):
                count, kept = self._sequential(set(indices), change)
        return indices, kept.of(indices)

    def _sparse(self, wanted: set[int], change: Change | None = None) -> Kept | None:
        """Decode only the groups of pictures that hold wanted frames; None when the file does not keep its promise."""
        index = self._index
        pending_by_start: dict[int, set[int]] = {}
        for i in wanted:
            key = max(0, bisect.bisect_right(index.key_pts, index.shown[i]) - 1)
            pending_by_start.setdefault(index.key_packets[key], set()).add(index.shown[i])
        numbers = {pts: i for i, pts in enumerate(index.shown)}
        kept = Kept(self.name, change)
        pending: set[int] = set()
        waiting = sorted(pending_by_start)
        start_pts = 0
        try:
            with open_container(self._source) as container:
                stream = video_stream(container, self.name)
                context = stream.codec_context
                # How damage is concealed depends on all before it.
                context.options = DECODER_OPTIONS | {"err_detect": "explode"}
                for number, packet in enumerate(packets(container, stream)):
                    if waiting and number == waiting[0]:
                        if not pending:
                            context.flush_buffers()
                            start_pts = packet.pts
                        pending |= pending_by_start[waiting.pop(0)]
                    if not pending:
                        if not waiting:
                            break
                        continue
                    if packet.pts < start_pts:
                        continue  # shown before the key frame: refers to the group before, which was not decoded
                    # Skipping pictures that no other one refers to leaves the rest bit-exact.
                    context.skip_frame = "DEFAULT" if packet.pts in pending else "NONREF"
                    kept.take(context.decode(packet), pending, numbers)
                if pending:
                    context.skip_frame = "DEFAULT"
                    kept.take(context.decode(None), pending, numbers)
        except (av.error.FFmpegError, EOFError):
            return None
        return kept if kept.sizes.keys() >= wanted else None

    def _sequential(self, wanted: set[int], change: Change | None = None) -> tuple[int, Kept]:
        """Decode everything in order, past damage; returns the frame count and the wanted frames."""
        kept = Kept(self.name, change)
        count = 0
        with open_container(self._source) as container:
            for frame in _decode_all(container, video_stream(container, self.name)):
                if count in wanted:
                    kept.add(count, frame)
                count += 1
        return count, kept


def open_video(source: str | os.PathLike[str] | bytes | BinaryIO) -> Video:
    """Open a video file and list its packets, without decoding it.
    Raises `VideoError`: no such file, a folder, an address, no right to read it, not a video, no video track, or sizes
    out of bounds (at most 40 million pixels, and 20 times as long as wide).

    `source` is a path, the content of a file, or an open binary file, which is read to its end (at most 2 GB).
    """
    place: Path | bytes
    if isinstance(source, (str, os.PathLike)):
        place, name = _check_file(source), str(source)
    else:
        place, name = _in_memory(source)
    try:
        with open_container(place) as container:
            stream = video_stream(container, name)
            context = stream.codec_context
            width, height = context.width, context.height
            check_size(name, width, height)
            index = PacketIndex.read(container, stream)
            rate = stream.average_rate or stream.guessed_rate
    except av.error.FFmpegError as error:
        raise _not_a_video(name, error) from error
    path = place if isinstance(place, Path) else None
    return Video(name, path, float(rate) if rate else 0.0, (height, width), place, index)


@dataclass(frozen=True)
class Announced:
    """What the header of a file says: frames and seconds (0 where it does not), height and width in pixels."""

    frames: int
    seconds: float
    height: int
    width: int


def announced(path: Path) -> Announced:
    """What a file's header says of it, of frames by count or by length and rate. Reads no more.
    Raises `VideoError`: as `open_video`.
    """
    _check_file(path)
    try:
        with open_container(path) as container:
            stream, seconds = video_stream(container, path), (container.duration or 0) / 1e6
            rate, context = float(stream.average_rate or 0), stream.codec_context
            frames = int(stream.frames or round(seconds * rate))
            return Announced(frames, frames / rate if rate else seconds, context.height, context.width)
    except av.error.FFmpegError as error:
        raise _not_a_video(str(path), error) from error


def _decode_all(container: Any, stream: Any) -> Iterator[Any]:
    context = stream.codec_context
    with suppress(av.error.FFmpegError):  # cut short
        for packet in packets(container, stream):
            with suppress(av.error.FFmpegError):  # a damaged packet: its frame is lost, the next ones are not
                yield from context.decode(packet)
    with suppress(av.error.FFmpegError, EOFError):
        yield from context.decode(None)


def _check_file(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    try:
        if path.is_dir():
            raise VideoError(f"{path} is a folder, not a video; pass a file")
        if not path.exists():
            if _ADDRESS.match(str(source)):
                raise VideoError(
                    f"{source} is an address, not a file; download it, or record a part of a stream to a file, and "
                    "pass that file, or pass frames"
                )
            near = [p.name for p in islice(path.parent.iterdir(), 5000)] if path.parent.is_dir() else []
            videos = [name for name in near if Path(name).suffix.lower() in VIDEO_SUFFIXES]
            raise VideoError(f"no video {path}{did_you_mean(path.name, videos)}")
        if not path.is_file():  # a pipe, say, which may never end
            raise VideoError(f"{path} is not a file; copy the video into one")
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"cannot read {path} ({error.strerror}); mend its permissions or remove it") from error
    if empty:
        raise VideoError(f"{path} is empty (0 bytes); replace or remove it")
    return path


def _in_memory(source: bytes | BinaryIO) -> tuple[bytes, str]:
    """The content of a file, and what to call it."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        content, name = bytes(source), "this video in memory"
    else:
        name = f"this open file {getattr(source, 'name', '')}".rstrip()
        try:
            content = source.read(MAX_BYTES + 1)
        except (OSError, ValueError) as error:
            raise VideoError(f"cannot read {name} ({reason(error)}); open it with open(path, 'rb')") from error
        if not isinstance(content, bytes):
            raise VideoError(f"{name} gives text; open it with open(path, 'rb')")
        if not content:
            raise VideoError(f"{name} is empty, or was read to its end; seek(0) before")
    if not content:
        raise VideoError(f"{name} is empty (0 bytes); pass the content of a video file")
    if len(content) > MAX_BYTES:
        raise VideoError(f"{name} has more than {MAX_BYTES // 10**9} GB; write it to a file and pass its path")
    return content, name


def _not_a_video(name: str, error: Exception) -> VideoError:
    why = getattr(error, "strerror", None) or type(error).__name__
    if isinstance(error, av.error.ArgumentError):  # what FFmpeg says of a format that is not allowed
        why = "damaged, or in a container that holds no frames itself"
    return VideoError(f"{name} cannot be read as a video ({why}); replace or remove it")
