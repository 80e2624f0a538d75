"""Read exact frames of a video, and decode no more of it than they need.

The packets of a file are listed without decoding. Where that list can be trusted, only the groups of pictures that
hold a wanted frame are decoded, and of those no picture that nothing else needs: 1.3 to 4.5 times faster than reading
from the start (benchmarks/decode.py), with the same pixels. Everything else, AVI and damaged files included, is decoded
in order from the first packet to the last, past damage.

A frame's index is its place in that full decode, from 0, in the order of display.
"""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stillmotion.data.packets import PacketIndex, open_container, packets, video_stream
from stillmotion.errors import VideoError, did_you_mean

MAX_PIXELS = 40_000_000  # a little over 8K UHD
MAX_ASPECT = 20

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Video:
    """An opened video file; `open_video` makes it. It holds no file handle, so it can be kept, copied and sent.

    `fps` is frames per second, 0 when the file does not say; `coded_size` is (height, width) in pixels as stored.
    """

    path: Path
    fps: float
    coded_size: tuple[int, int]
    _index: PacketIndex

    @cached_property
    def num_frames(self) -> int:
        """Frames that can be decoded. Free for most files; one decode for AVI and for damaged ones."""
        if self._index.trusted:
            return len(self._index.shown)
        return self._sequential(set())[0]

    @cached_property
    def rotation(self) -> int:
        """Clockwise degrees (0, 90, 180 or 270) by which the file asks to turn its frames; `frames` does so."""
        with open_container(self.path) as container:
            for frame in _decode_all(container, video_stream(container, self.path)):
                return _clockwise(frame)
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

        The memory lies channels-last, which is what makes resizing fast.

        Raises:
            VideoError: an index past the last frame, or a file that cannot be decoded.
        """
        chosen = [int(i) for i in indices]

        def pick(num_frames: int) -> list[int]:
            outside = [i for i in chosen if not 0 <= i < num_frames]
            if outside:
                raise VideoError(f"{self.path}: frame {outside[0]} of {num_frames}; use 0 to {num_frames - 1}")
            return chosen

        return self.sample(pick)[1]

    def sample(self, pick: Callable[[int], Sequence[int]]) -> tuple[list[int], Tensor]:
        """Let `pick` choose indices from the frame count, and decode them; the count is right even for broken files.

        Returns:
            The indices, and the frames as `frames` returns them.
        """
        if self._index.trusted:
            indices = [int(i) for i in pick(len(self._index.shown))]
            images = self._sparse(set(indices))
            if images is not None:
                return indices, _stack([images[i] for i in indices])
        guess = len(self._index.shown)
        indices = [int(i) for i in pick(guess)] if guess else []
        count, images = self._sequential(set(indices))
        if count == 0:
            raise VideoError(f"{self.path}: no frame can be decoded; the file is damaged, replace or remove it")
        if count != guess:  # the file has more or fewer frames than packets: choose again, from the true count
            indices = [int(i) for i in pick(count)]
            if not images.keys() >= set(indices):
                count, images = self._sequential(set(indices))
        return indices, _stack([images[i] for i in indices])

    def _sparse(self, wanted: set[int]) -> dict[int, Image] | None:
        """Decode only the groups of pictures that hold wanted frames; None when the file does not keep its promise."""
        index = self._index
        pending_by_start: dict[int, set[int]] = {}
        for i in wanted:
            key = max(0, bisect.bisect_right(index.key_pts, index.shown[i]) - 1)
            pending_by_start.setdefault(index.key_packets[key], set()).add(index.shown[i])
        numbers = {pts: i for i, pts in enumerate(index.shown)}
        images: dict[int, Image] = {}
        pending: set[int] = set()
        waiting = sorted(pending_by_start)
        start_pts = 0
        try:
            with open_container(self.path) as container:
                stream = video_stream(container, self.path)
                context = stream.codec_context
                context.options = {"err_detect": "explode"}  # how damage is concealed depends on all before it
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
                    _collect(context.decode(packet), pending, numbers, images)
                if pending:
                    context.skip_frame = "DEFAULT"
                    _collect(context.decode(None), pending, numbers, images)
        except (av.error.FFmpegError, EOFError):
            return None
        return images if images.keys() >= wanted else None

    def _sequential(self, wanted: set[int]) -> tuple[int, dict[int, Image]]:
        """Decode everything in order, past damage; returns the frame count and the wanted frames."""
        images: dict[int, Image] = {}
        count = 0
        with open_container(self.path) as container:
            for frame in _decode_all(container, video_stream(container, self.path)):
                if count in wanted:
                    images[count] = _image(frame)
                count += 1
        return count, images


def open_video(path: str | Path) -> Video:
    """Open a video file and list its packets, without decoding it.

    Raises:
        VideoError: no such file, a folder, no right to read it, not a video, no video track, or sizes out of bounds
            (at most 40 million pixels, and 20 times as long as wide).
    """
    path = Path(path)
    _check_file(path)
    try:
        with open_container(path) as container:
            stream = video_stream(container, path)
            context = stream.codec_context
            width, height = context.width, context.height
            _check_size(path, width, height)
            index = PacketIndex.read(container, stream)
            rate = stream.average_rate or stream.guessed_rate
    except av.error.FFmpegError as error:
        raise _not_a_video(path, error) from error
    return Video(path, float(rate) if rate else 0.0, (height, width), index)


def _decode_all(container: Any, stream: Any) -> Iterator[Any]:
    context = stream.codec_context
    try:
        for packet in packets(container, stream):
            try:
                yield from context.decode(packet)
            except av.error.FFmpegError:  # a damaged packet: its frame is lost, the next ones are not
                continue
    except av.error.FFmpegError:  # cut short
        pass
    try:
        yield from context.decode(None)
    except (av.error.FFmpegError, EOFError):
        return


def _collect(decoded: list[Any], pending: set[int], numbers: dict[int, int], images: dict[int, Image]) -> None:
    for frame in decoded:
        if frame.pts in pending:
            pending.discard(frame.pts)
            images[numbers[frame.pts]] = _image(frame)


def _image(frame: Any) -> Image:
    image: Image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, k=-_clockwise(frame) // 90)


def _clockwise(frame: Any) -> int:
    return -round(frame.rotation / 90) * 90 % 360


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise VideoError(f"{path} is a folder, not a video; pass a file")
    if not path.exists():
        near = [p.name for p in list(path.parent.iterdir())[:500]] if path.parent.is_dir() else []
        raise VideoError(f"no video {path}{did_you_mean(path.name, near) if near else ''}")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise VideoError(f"cannot read {path} ({error.strerror}); mend its permissions or remove it") from error
    if empty:
        raise VideoError(f"{path} is empty (0 bytes); replace or remove it")


def _check_size(path: Path, width: int, height: int) -> None:
    if not width or not height:
        raise VideoError(f"{path} does not say its frame size; it is damaged or not a video, replace or remove it")
    if width * height > MAX_PIXELS or max(width, height) > MAX_ASPECT * min(width, height):
        raise VideoError(
            f"{path} has frames of {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} million pixels and "
            f"sides of {MAX_ASPECT} to 1 are read; rescale or remove it"
        )


def _not_a_video(path: Path, error: Exception) -> VideoError:
    reason = getattr(error, "strerror", None) or type(error).__name__
    return VideoError(f"{path} cannot be read as a video ({reason}); replace or remove it")


def _stack(images: list[Image]) -> Tensor:
    if len({image.shape for image in images}) > 1:
        raise VideoError("the frame size changes within the video; re-encode it at one size")
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
