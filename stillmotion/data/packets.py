"""The packets of a video file: opened safely, listed without decoding."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from stillmotion.errors import VideoError

TRUSTED_CODECS = frozenset({"h264", "hevc", "vp8", "vp9", "av1", "mpeg4"})
# Containers that hold their frames themselves: a playlist or a list of files that poses as a video could name itself,
# any other file of the disk, or one file a million times.
CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,gif,asf,ogg,mpegvideo,h264,hevc,m4v,ivf,obu,dv,mjpeg,"
    "nut,rm,wtv,mxf"
)
MAX_PIXELS = 40_000_000  # a little over 8K UHD
# Told to the decoder, because frames may grow behind a small header. It counts sides rounded up to whole blocks.
DECODER_OPTIONS = {"max_pixels": str(MAX_PIXELS * 9 // 8)}


@dataclass(frozen=True)
class PacketIndex:
    """What the packets say: times of the shown frames in order of display, and where groups of pictures begin."""

    shown: tuple[int, ...]  # pts; only its length has a meaning when the index is not trusted
    key_packets: tuple[int, ...]
    key_pts: tuple[int, ...]
    trusted: bool

    @classmethod
    def read(cls, container: Any, stream: Any) -> "PacketIndex":
        """List the packets of a track, without decoding; a container that ends early gives what came before."""
        pts: list[int | None] = []
        key_packets: list[int] = []
        key_pts: list[int] = []
        faults: list[Exception] = []
        sound = True
        try:
            for number, packet in enumerate(packets(container, stream, faults)):
                sound = sound and not packet.is_corrupt
                if packet.is_keyframe:
                    key_packets.append(number)
                    key_pts.append(packet.pts if packet.pts is not None else -1)
                if not packet.is_discard:  # an edit list hides it; it may still be needed to decode others
                    pts.append(packet.pts)
        except av.error.FFmpegError:  # cut short: what came before is still there
            sound = False
        times = sorted(p for p in pts if p is not None)
        trusted = (
            sound
            and not faults
            and bool(times)
            and len(set(times)) == len(times) == len(pts)
            and key_packets[:1] == [0]
            and key_pts == sorted(key_pts)
            and container.format.name != "avi"  # has no times of display, only a count
            and stream.codec_context.codec.canonical_name in TRUSTED_CODECS
        )
        return cls(tuple(times) if trusted else (0,) * len(pts), tuple(key_packets), tuple(key_pts), trusted)


def open_container(source: Path | bytes) -> Any:
    """Open a file, or the content of one, with FFmpeg, as a PyAV container."""
    # Some HMDB-51 files have metadata that is not text.
    options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
    place: Any = io.BytesIO(source) if isinstance(source, bytes) else str(source)
    return av.open(place, metadata_errors="ignore", options=options)


def video_stream(container: Any, name: object) -> Any:
    """The first video track, set to decode on one thread. Raises `VideoError`: none, or no such codec."""
    if not container.streams.video:
        raise VideoError(f"{name} has no video track (audio only?); remove it or replace it")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{name} names a codec that does not exist; it is damaged, replace or remove it")
    # One thread: several clips are decoded side by side by data workers, and PyAV can deadlock when a frame-threaded
    # decoder closes early while FFmpeg logs.
    stream.codec_context.thread_type = "NONE"
    stream.codec_context.options = DECODER_OPTIONS
    return stream


def packets(container: Any, stream: Any, faults: list[Exception] | None = None) -> Iterator[Any]:
    """Yield the packets of a track that hold data, in order of decoding.

    A transport stream may announce another track midway, at which PyAV raises `IndexError`: that packet is left out
    and the error added to `faults`.
    """
    while True:
        try:
            for packet in container.demux(stream):
                if packet.size:
                    yield packet
            return
        except IndexError as error:  # each call reads on, so this ends
            if faults is not None:
                faults.append(error)
