"""Sparse decoding gives the pixels of a full decode, on every kind of file; hostile files give one line."""

import os
import random
from pathlib import Path

import numpy as np
import pytest

from stillmotion.data.video import Video, open_video
from stillmotion.errors import VideoError
from tests.videos import decode_in_order, write_audio, write_video

NO_SCENECUT = "scenecut=0"
KINDS = {
    "h264_b_frames.mp4": {"options": {"g": "12", "bf": "3", "x264-params": NO_SCENECUT}},
    "h264_open_gop.mp4": {"options": {"x264-params": f"keyint=12:open-gop=1:bframes=3:b-pyramid=strict:{NO_SCENECUT}"}},
    "h264_open_gop_flat.mp4": {
        "options": {"x264-params": f"keyint=12:open-gop=1:bframes=2:b-pyramid=none:{NO_SCENECUT}"}
    },
    "h264_one_gop.mp4": {"options": {"g": "250", "bf": "2"}},
    "h264_intra_refresh.mp4": {"options": {"x264-params": "keyint=20:intra-refresh=1"}},
    "h264.ts": {"options": {"g": "12", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "keyint=12:open-gop=0:log-level=none"}},
    "hevc_open_gop.mkv": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=12:open-gop=1:bframes=4:log-level=none"},
    },
    "vp9_alt_ref.webm": {
        "codec": "libvpx-vp9",
        "options": {"g": "20", "auto-alt-ref": "6", "lag-in-frames": "16", "deadline": "realtime"},
    },
    "av1.mkv": {"codec": "libsvtav1", "options": {"g": "16", "preset": "12", "svtav1-params": "logical-processors=1"}},
    "mpeg4.mp4": {"codec": "mpeg4", "gop_size": 12, "max_b_frames": 2},
    "mpeg4.avi": {"codec": "mpeg4", "gop_size": 12, "max_b_frames": 0},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "gop_size": 12, "max_b_frames": 2},
    "mpeg2.ts": {"codec": "mpeg2video", "gop_size": 12, "max_b_frames": 2},
    "variable_rate.mp4": {
        "options": {"g": "12", "bf": "2"},
        "times": [i + (i > 10) * 7 + (i > 30) * i for i in range(48)],
    },
    "one_frame.mp4": {"frames": 1},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kinds")


def check_identical(video: Video, truth: list[np.ndarray]) -> None:
    n = len(truth)
    assert video.num_frames == n
    draw = random.Random(0)
    wanted = [[i] for i in range(n)] + [list(range(n)), [n - 1, 0], [0] * 4]
    wanted += [[int((k + 0.5) * n / T) for k in range(T)] for T in (3, 8)]
    wanted += [[draw.randrange(n) for _ in range(5)] for _ in range(8)]
    for indices in wanted:
        frames = video.frames(indices).permute(0, 2, 3, 1).numpy()
        assert np.array_equal(frames, np.stack([truth[i] for i in indices])), f"frames {indices}"


@pytest.mark.parametrize("name", KINDS)
def test_identical_to_full_decoding(folder: Path, name: str) -> None:
    settings = {"frames": 48, **KINDS[name]}
    path = write_video(folder / name, **settings)
    truth = decode_in_order(path)
    assert len(truth) == settings["frames"]
    video = open_video(path)
    assert video.size == (64, 96)
    check_identical(video, truth)


@pytest.mark.parametrize(
    "name", ["h264_b_frames.mp4", "h264_open_gop_flat.mp4", "hevc_open_gop.mkv", "vp9_alt_ref.webm"]
)
def test_sparse_path_is_taken(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(folder / f"sparse_{name}", frames=48, **KINDS[name])

    def refuse(*_: object) -> None:
        raise AssertionError("decoded everything")

    monkeypatch.setattr(Video, "_sequential", refuse)
    assert open_video(path).frames([3, 30, 44]).shape == (3, 3, 64, 96)


def test_edit_list(tmp_path: Path) -> None:
    """A cut without re-encoding starts between key frames: packets before the cut are decoded and not shown."""
    import av

    source = write_video(tmp_path / "whole.mp4", frames=60, options={"g": "20", "bf": "2", "x264-params": NO_SCENECUT})
    cut = tmp_path / "cut.mp4"
    with av.open(str(source)) as reader, av.open(str(cut), "w") as writer:
        stream = writer.add_stream_from_template(reader.streams.video[0])
        packets = [p for p in reader.demux(reader.streams.video[0]) if p.size][20:]
        shift = 26 * packets[0].duration  # six frames behind the first packet's key frame
        for packet in packets:
            packet.pts, packet.dts, packet.stream = packet.pts - shift, packet.dts - shift, stream
            writer.mux(packet)
    truth = decode_in_order(cut)
    assert 0 < len(truth) < 40
    check_identical(open_video(cut), truth)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_is_applied(tmp_path: Path, turn: int) -> None:
    """FFmpeg's display rotation is counter-clockwise."""
    plain = write_video(tmp_path / "plain.mp4", frames=5)
    turned = open_video(write_video(tmp_path / "turned.mp4", frames=5, rotation=turn))
    assert turned.rotation == -turn % 360
    assert turned.size == ((96, 64) if turn != 180 else (64, 96))
    upright = np.rot90(open_video(plain).frames([2])[0].permute(1, 2, 0).numpy(), k=turn // 90)
    assert np.array_equal(turned.frames([2])[0].permute(1, 2, 0).numpy(), upright)


def test_frames_lie_channels_last(video: Path) -> None:
    frames = open_video(video).frames([0, 1])
    assert frames.dtype.is_floating_point is False
    assert frames.stride()[1] == 1


def test_facts(video: Path) -> None:
    opened = open_video(str(video))
    assert (opened.fps, opened.num_frames, opened.size, opened.rotation) == (25.0, 50, (64, 96), 0)
    assert opened.duration == pytest.approx(2.0)


def damaged(path: Path, seed: int, count: int) -> Path:
    content = bytearray(path.read_bytes())
    draw = random.Random(seed)
    for _ in range(count):
        content[draw.randrange(len(content) // 10, len(content))] = draw.randrange(256)
    broken = path.with_name(f"broken{seed}_{path.name}")
    broken.write_bytes(content)
    return broken


@pytest.mark.parametrize("name", ["h264_b_frames.mp4", "mpeg4.avi", "vp9_alt_ref.webm"])
def test_damaged_files_are_read_as_a_full_decode_reads_them(folder: Path, name: str) -> None:
    path = write_video(folder / f"for_damage_{name}", frames=48, **KINDS[name])
    equal = 0
    for seed in range(8):
        broken = damaged(path, seed, count=40)
        try:
            indices, frames = open_video(broken).sample(lambda n: [int((k + 0.5) * n / 8) for k in range(8)])
        except VideoError as error:
            assert "\n" not in str(error)
            assert broken.name in str(error)
            continue
        truth = decode_in_order(broken)
        if len({image.shape for image in truth}) == 1:
            assert np.array_equal(frames.permute(0, 2, 3, 1).numpy(), np.stack([truth[i] for i in indices]))
            equal += 1
    assert equal >= 4, "most of them hold frames that can be decoded"


def test_truncated_file_gives_what_is_left(folder: Path) -> None:
    path = write_video(folder / "whole.mkv", frames=48, options={"g": "12"})
    content = path.read_bytes()
    cut = path.with_name("cut.mkv")
    cut.write_bytes(content[: len(content) * 6 // 10])
    truth = decode_in_order(cut)
    assert 5 < len(truth) < 48
    opened = open_video(cut)
    indices, frames = opened.sample(lambda n: [0, n // 2, n - 1])
    assert indices[-1] == len(truth) - 1 == opened.num_frames - 1
    assert np.array_equal(frames[-1].permute(1, 2, 0).numpy(), truth[-1])


def hostile(tmp_path: Path) -> dict[str, tuple[Path, str]]:
    """Files that are not videos, and a word that the message must hold."""
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no video\n" * 50)
    (tmp_path / "folder.mp4").mkdir()
    whole = write_video(tmp_path / "near.mp4", frames=20)
    (tmp_path / "headless.mp4").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    write_video(tmp_path / "wide.mkv", frames=2, codec="ffv1", size=(100_000, 1), pix_fmt="bgr0")
    playlist = "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n"
    (tmp_path / "playlist.mp4").write_text(playlist)
    return {
        "empty": (tmp_path / "empty.mp4", "0 bytes"),
        "text": (tmp_path / "text.mp4", "cannot be read as a video"),
        "folder": (tmp_path / "folder.mp4", "is a folder"),
        "missing": (tmp_path / "nearr.mp4", "did you mean 'near.mp4'"),
        "headless": (tmp_path / "headless.mp4", "cannot be read as a video"),
        "audio": (write_audio(tmp_path / "sound.m4a"), "no video track"),
        "wide": (tmp_path / "wide.mkv", "100000x1"),
        "playlist": (tmp_path / "playlist.mp4", "cannot be read as a video"),
    }


@pytest.mark.parametrize("kind", ["empty", "text", "folder", "missing", "headless", "audio", "wide", "playlist"])
def test_hostile_files_give_one_line(tmp_path: Path, kind: str) -> None:
    path, word = hostile(tmp_path)[kind]
    with pytest.raises(VideoError) as error:
        open_video(path)
    assert word in str(error.value)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_permissions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "locked.mp4", frames=2)
    path.chmod(0)
    if os.access(path, os.R_OK):  # the superuser reads everything: let the system refuse another way

        def refuse(self: Path, *_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", str(self))

        monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(VideoError, match=r"cannot read .*locked\.mp4 \(Permission denied\)"):
        open_video(path)


def test_index_past_the_end(video: Path) -> None:
    with pytest.raises(VideoError, match=r"frame 50 of 50; use 0 to 49"):
        open_video(video).frames([0, 50])


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="no scheduling policies here")
def test_no_codec_leaves_a_real_time_process(tmp_path: Path) -> None:
    """SVT-AV1 as root does, and threads that spin then starve the machine."""
    before = os.sched_getscheduler(0)
    write_video(tmp_path / "a.mp4", frames=10, codec="libsvtav1")
    open_video(tmp_path / "a.mp4").frames([0, 9])
    assert os.sched_getscheduler(0) == before
