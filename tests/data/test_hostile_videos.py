"""Files made to mislead: lists that pose as videos, frames that grow behind a small header, tracks out of nowhere."""

import os
import tracemalloc
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from stillmotion.data.dataset import VideoDataset, read_train_view, read_views
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.manifest import Clip, Manifest
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Augment, Preprocess
from stillmotion.data.video import Video, open_video
from stillmotion.errors import VideoError
from tests.videos import decode_in_order, picture, write_video

SMALL = Preprocess(size=(32, 32))
NULL_PACKET = bytes([0x47, 0x1F, 0xFF, 0x10]) + b"\xff" * 184


@pytest.fixture(scope="module")
def late_track(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transport stream whose second half has sound; padding keeps FFmpeg from seeing that when it opens the file."""
    folder = tmp_path_factory.mktemp("late")
    plain = write_video(folder / "plain.ts", frames=100, options={"g": "100"}).read_bytes()
    with av.open(str(folder / "sound.ts"), "w") as container:
        video, sound = container.add_stream("libx264", rate=25), container.add_stream("aac", rate=44100, layout="mono")
        video.width, video.height, video.pix_fmt = 96, 64, "yuv420p"
        for i in range(24):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture(i, 96, 64), format="rgb24")))
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.rate, silence.pts = 44100, 1024 * i
            container.mux(sound.encode(silence))
        for stream in (video, sound):
            container.mux(stream.encode(None))
    path = folder / "late.ts"
    path.write_bytes(plain + NULL_PACKET * 1000 + (folder / "sound.ts").read_bytes() + NULL_PACKET * 3000 + plain)
    return path


def test_a_track_announced_midway_ends_nothing(late_track: Path) -> None:
    with av.open(str(late_track)) as container, pytest.raises(IndexError):
        list(container.demux(container.streams.video[0]))
    video = open_video(late_track)
    assert not video._index.trusted
    assert video.num_frames == 224
    first = decode_in_order(late_track.with_name("plain.ts"))[0]
    assert np.array_equal(video.frames([0])[0].permute(1, 2, 0).numpy(), first)
    sample = VideoDataset(Manifest((Clip(late_track, 0),), ("a",)), 4, Sampling(), SMALL)[0, 0]
    assert sample.bad is None
    assert sample.views.shape == (1, 4, 3, 32, 32)


@pytest.mark.parametrize("error", [IndexError("list index"), KeyError("x"), TypeError("no"), MemoryError()])
def test_whatever_decoding_raises_is_a_bad_video(
    video: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(Video, "_sparse", fail)
    with pytest.raises(VideoError, match=r"moving\.mp4 cannot be decoded \(.+\); replace or remove it"):
        read_views(video, 4, Sampling(), SMALL)


def write_growing(path: Path, sizes: list[tuple[int, int]]) -> Path:
    """JPEG frames of any (width, height) in one track, whose header tells the first frame's size."""
    with av.open(str(path), "w") as container:
        track = container.add_stream("mjpeg", rate=25)
        track.width, track.height, track.pix_fmt = *sizes[0], "yuvj420p"
        for i, (width, height) in enumerate(sizes):
            encoder = av.CodecContext.create("mjpeg", "w")
            encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = (
                width,
                height,
                "yuvj420p",
                Fraction(1, 25),
            )
            frame = av.VideoFrame(width, height, "yuvj420p")
            for plane in frame.planes:
                plane.update(bytes([40 * i % 256]) * plane.buffer_size)
            frame.pts = i
            for packet in encoder.encode(frame):
                packet.stream, packet.pts, packet.dts = track, i, i
                container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["mov", "mkv", "avi"])
def test_frames_that_grow_behind_the_header_are_left_out(tmp_path: Path, suffix: str) -> None:
    """49 million pixels: the decoder does not even take the memory."""
    path = write_growing(tmp_path / f"grows.{suffix}", [(64, 64)] * 3 + [(7000, 7000)] * 2 + [(64, 64)])
    tracemalloc.start()
    frames = open_video(path).sample(lambda n: list(range(n)))[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.shape == (4, 3, 64, 64)
    assert peak < 10e6


def test_a_frame_a_little_too_large_is_refused(tmp_path: Path) -> None:
    path = write_growing(tmp_path / "grows.mov", [(64, 64), (6410, 6410)])
    with pytest.raises(VideoError, match=r"grows\.mov has frames of 6410x6410 pixels; at most 40 million"):
        open_video(path).frames([0, 1])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1], [1, 2]])
def test_a_size_that_changes_is_refused_with_the_name(tmp_path: Path, order: list[int]) -> None:
    path = write_growing(tmp_path / "turns.mkv", [(64, 64), (64, 64), (80, 64), (80, 64)])
    for change in (None, SMALL.scale):
        with pytest.raises(VideoError, match=r"turns\.mkv: the frame size changes within the video; re-encode it"):
            open_video(path).sample(lambda _: order, change)
        assert len(open_video(path).sample(lambda _: [3, 2], change)[1]) == 2


LISTS = {
    "concatenation": "ffconcat version 1.0\nfile good.mp4\nfile good.mp4\n",
    "itself": "ffconcat version 1.0\nfile {name}\n",
    "nested": "ffconcat version 1.0\nfile inner.ffconcat\n",
    "playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\ngood.ts\n#EXT-X-ENDLIST\n",
    "absolute": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{folder}/good.ts\n#EXT-X-ENDLIST\n",
    "network": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
    "session": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".m3u8", ".ts", ".ffconcat", ".txt", ".avi", ".sdp"])
@pytest.mark.parametrize("kind", LISTS)
def test_lists_are_no_videos(tmp_path: Path, video: Path, kind: str, suffix: str) -> None:
    (tmp_path / "good.mp4").write_bytes(video.read_bytes())
    write_video(tmp_path / "good.ts", frames=5)
    (tmp_path / "inner.ffconcat").write_text("ffconcat version 1.0\nfile good.mp4\n")
    path = tmp_path / f"list{suffix}"
    path.write_text(LISTS[kind].format(name=path.name, folder=tmp_path))
    with pytest.raises(VideoError, match=r"list\.\w+ cannot be read as a video") as error:
        open_video(path)
    assert "\n" not in str(error.value)


CODECS = {
    ".avi": "mpeg4", ".flv": "flv", ".gif": "gif", ".mpg": "mpeg1video", ".mpeg": "mpeg2video", ".wmv": "wmv2",
    ".ogv": "libvpx", ".webm": "libvpx-vp9",
}  # fmt: skip


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_every_kind_of_file_that_folders_are_searched_for_is_read(tmp_path: Path, suffix: str) -> None:
    codec = CODECS.get(suffix, "libx264")
    path = write_video(tmp_path / f"clip{suffix}", 12, codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p")
    truth = decode_in_order(path)
    assert len(truth) == 12
    assert np.array_equal(open_video(path).frames([7])[0].permute(1, 2, 0).numpy(), truth[7])


@pytest.mark.parametrize("name", ["pipe.mp4", "zero.mp4"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    if name == "zero.mp4":
        (tmp_path / name).symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / name)
    with pytest.raises(VideoError, match=rf"{name} is not a file"):
        open_video(tmp_path / name)


@pytest.mark.parametrize("path", ["a\0b.mp4", "a\ud800b.mp4", "\0/a.mp4"])
def test_paths_that_no_file_can_have(path: str) -> None:
    with pytest.raises(VideoError, match="no video"):
        open_video(path)


def test_only_videos_are_suggested_and_few_of_them(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"clip{i:02d}.mp4").touch()
        (tmp_path / f"zebra{i:02d}.json").touch()
    with pytest.raises(VideoError) as error:
        open_video(tmp_path / "zebra.mkv")
    assert "json" not in str(error.value)
    assert str(error.value).count("clip") == 8
    assert str(error.value).endswith(" and 22 more")


# Frames one pair at a time


@pytest.fixture(scope="module")
def textured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(
        tmp_path_factory.mktemp("textured") / "video.mp4", frames=21, size=(176, 144), options={"g": "7"}
    )


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("flip", [0.0, 0.5])
@pytest.mark.parametrize("recipe", ["none", "crop", "vificlip", "evl", "actionclip"])
def test_training_views_are_those_of_whole_clips(textured: Path, recipe: str, flip: float, threads: int) -> None:
    """Bit for bit, for even and odd numbers of frames, one alone, and frames that are repeated."""
    preprocess = Preprocess(size=(280, 288))  # of more pixels than float32 can sum exactly
    augment, video, before = Augment(recipe, preprocess, flip), open_video(textured), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for T, seed in ((4, 1), (5, 2), (1, 3), (4, 4), (30, 5)):
            indices = Sampling().train(21, T, np.random.RandomState(seed))
            whole = augment(video.frames(indices.tolist()), seed)
            assert torch.equal(read_train_view(textured, T, Sampling(), augment, seed), whole)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("crops", [1, 3])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("antialias", [True, False])
def test_test_views_are_those_of_whole_clips(textured: Path, crops: int, interpolation: str, antialias: bool) -> None:
    preprocess = Preprocess(size=(48, 56), interpolation=interpolation, antialias=antialias, short_side=60)
    sampling = Sampling(views=2, crops=crops)
    frames = open_video(textured).frames(sampling.test(21, 5).flatten().tolist())
    whole = torch.cat([preprocess(view, crops) for view in frames.split(5)])
    assert torch.equal(read_views(textured, 5, sampling, preprocess), whole)


@pytest.mark.parametrize("kind", ["test", "evl", "vificlip"])
def test_memory_does_not_hold_all_frames_at_full_size(tmp_path: Path, kind: str) -> None:
    path = write_video(tmp_path / "large.mp4", frames=24, size=(1280, 720), options={"g": "24"})
    frame = 1280 * 720 * 3
    tracemalloc.start()
    if kind == "test":
        read_views(path, 24, Sampling(), SMALL)
    else:
        read_train_view(path, 24, Sampling(), Augment(kind, SMALL), 0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 * frame
