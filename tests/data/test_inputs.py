"""What stands for a video: the same frames whatever holds them, and one line for what does not."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stillmotion.data.dataset import read_views
from stillmotion.data.inputs import Frames, name_of, open_input
from stillmotion.data.lists import VIDEO_SUFFIXES
from stillmotion.data.sampling import Sampling
from stillmotion.data.transforms import Preprocess
from stillmotion.data.video import open_video
from stillmotion.errors import StillmotionError, VideoError
from tests.data.test_hostile_videos import CODECS, LISTS, write_growing
from tests.videos import write_audio, write_video

READ = (4, Sampling(views=2, crops=3), Preprocess(size=(32, 40)))


def all_frames(path: Path) -> torch.Tensor:
    video = open_video(path)
    return video.frames(range(video.num_frames)).permute(0, 2, 3, 1)


def forms(path: Path) -> dict[str, Any]:
    frames = all_frames(path)
    return {
        "text": str(path),
        "bytes": path.read_bytes(),
        "bytearray": bytearray(path.read_bytes()),
        "file in memory": io.BytesIO(path.read_bytes()),
        "opened": open_video(path),
        "opened bytes": open_video(path.read_bytes()),
        "tensor": frames,
        "copied tensor": frames.contiguous(),
        "array": frames.numpy(),
        "other strides": np.asfortranarray(frames.numpy()),
        "list of arrays": list(frames.numpy()),
        "tuple of tensors": tuple(frames),
    }


@pytest.mark.parametrize("frames", [1, 3, 21])
@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_views_are_the_same_bit_for_bit(tmp_path: Path, frames: int, codec: str) -> None:
    path = write_video(tmp_path / ("a.mp4" if codec == "libx264" else "a.avi"), frames, codec, size=(176, 144))
    expected = read_views(path, *READ)
    assert expected.shape == (6, 4, 3, 32, 40)
    for name, video in forms(path).items():
        assert torch.equal(read_views(video, *READ), expected), name
    with path.open("rb") as file:
        assert torch.equal(read_views(file, *READ), expected)


def test_pictures_of_pil(video: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(frame) for frame in all_frames(video).numpy()]
    assert torch.equal(read_views(pictures, *READ), read_views(video, *READ))
    gray = [picture.convert("L") for picture in pictures]
    again = [picture.convert("RGB") for picture in gray]
    assert torch.equal(read_views(gray, *READ), read_views(again, *READ))


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_bytes_of_every_kind_of_file(tmp_path: Path, suffix: str) -> None:
    codec = CODECS.get(suffix, "libx264")
    path = write_video(tmp_path / f"clip{suffix}", 12, codec, pix_fmt="rgb8" if codec == "gif" else "yuv420p")
    assert torch.equal(read_views(path.read_bytes(), *READ), read_views(path, *READ))


def frames(*shape: int, dtype: Any = np.uint8) -> np.ndarray:
    return np.zeros(shape, dtype)


WRONG = {
    "address": ("rtsp://cam/1", r"rtsp://cam/1 is an address, not a file; download it, or record .* to a file"),
    "address as a path": (Path("https://a.b/c.mp4"), "is an address, not a file"),
    "camera": (0, "0 is a number; cameras are not read: record to a file, or pass frames"),
    "nothing": (None, "a NoneType is no video; pass a path, bytes"),
    "table": ({"a": 1}, "a dict is no video"),
    "no bytes": (b"", r"is empty \(0 bytes\)"),
    "other bytes": (b"no video at all" * 99, r"this video in memory cannot be read as a video"),
    "text file": (io.StringIO("x"), r"gives text; open it with open\(path, 'rb'\)"),
    "read file": (io.BytesIO(), r"was read to its end; seek\(0\) before"),
    "floats": (
        frames(2, 8, 8, 3, dtype=np.float32),
        r"frames of shape \(2, 8, 8, 3\) are float32, not uint8; multiply",
    ),
    "bfloats": (torch.zeros(2, 8, 8, 3, dtype=torch.bfloat16), "are bfloat16, not uint8; multiply"),
    "integers": (frames(2, 8, 8, 3, dtype=np.int64), "are int64, not uint8; bring the values to"),
    "channels first": (frames(2, 3, 8, 8), r"have channels first; pass \(T, H, W, 3\): permute .* by \(0, 2, 3, 1\)"),
    "one channel": (frames(2, 8, 8, 1), r"are not \(T, H, W, 3\) in RGB; pass \(T, H, W, 3\)"),
    "one image": (frames(8, 8, 3), "pass one image as a list of one"),
    "several videos": (frames(2, 2, 8, 8, 3), r"are not \(T, H, W, 3\) in RGB"),
    "no frames": (frames(0, 8, 8, 3), r"there are no frames \(T is 0\)"),
    "no images": ([], r"there are no frames \(the list is empty\)"),
    "no pixels": (frames(2, 0, 8, 3), "are 8x0 pixels; pass at least one pixel"),
    "too long": (frames(1, 2, 60, 3), "these frames has frames of 60x2 pixels"),
    "two sizes": ([frames(8, 8, 3), frames(8, 9, 3)], "image 1 is 9x8 pixels, the first one 8x8; make all of one size"),
    "paths": (["a.mp4", "b.mp4"], "item 0 of the list is a path; pass one video, or several to `predict`"),
    "numbers": ([1, 2], "item 0 of the list is a int; pass PIL images"),
    "channels first in a list": ([frames(3, 8, 8)], r"image 0 of shape \(3, 8, 8\) have channels first"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_no_video_is_one_line(kind: str) -> None:
    video, message = WRONG[kind]
    with pytest.raises(VideoError, match=message) as error:
        read_views(video, *READ)
    assert "\n" not in str(error.value) and isinstance(error.value, StillmotionError)


def test_a_closed_file() -> None:
    file = io.BytesIO(b"x")
    file.close()
    with pytest.raises(VideoError, match="cannot read this open file"):
        open_video(file)


@pytest.mark.parametrize("kind", LISTS)
def test_bytes_that_are_lists_are_no_videos(tmp_path: Path, video: Path, kind: str) -> None:
    """As files: nothing on the disk or in the network is opened because a list names it."""
    (tmp_path / "good.mp4").write_bytes(video.read_bytes())
    write_video(tmp_path / "good.ts", frames=5)
    content = (
        LISTS[kind].format(name=tmp_path / "good.mp4", folder=tmp_path).replace("file good", f"file {tmp_path}/good")
    )
    with pytest.raises(VideoError, match="this video in memory cannot be read as a video"):
        open_video(content.encode())


def test_bytes_obey_the_bounds_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    large = write_growing(tmp_path / "grows.mov", [(64, 64), (6410, 6410)]).read_bytes()
    with pytest.raises(VideoError, match=r"this video in memory has frames of 6410x6410 pixels; at most 40 million"):
        open_video(large).frames([0, 1])
    with pytest.raises(VideoError, match="has frames of 4096x64 pixels"):
        open_video(write_growing(tmp_path / "long.mov", [(4096, 64)]).read_bytes())
    sound = write_audio(tmp_path / "sound.mp4").read_bytes()
    with pytest.raises(VideoError, match="this video in memory has no video track"):
        open_video(sound)
    monkeypatch.setattr("stillmotion.data.video.MAX_BYTES", 1000)
    for source in (sound, io.BytesIO(sound)):
        with pytest.raises(VideoError, match="write it to a file and pass its path"):
            open_video(source)

    class Endless(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            assert 0 < size <= 1001, "never asked for all"
            return bytes(size)

    with pytest.raises(VideoError, match="write it to a file"):
        open_video(Endless())  # type: ignore[arg-type]


def test_representations_are_short(video: Path, tmp_path: Path) -> None:
    assert repr(open_video(video)) == f"<Video {video}: 50 frames of 96x64 at 25 per second>"
    assert repr(open_video(video.read_bytes())) == "<Video this video in memory: 50 frames of 96x64 at 25 per second>"
    avi = write_video(tmp_path / "a.avi", 7, "mpeg4")
    assert repr(open_video(avi)) == f"<Video {avi}: about 7 frames of 96x64 at 25 per second>"
    assert repr(open_input(frames(5, 8, 6, 3))) == "<Frames: 5 of 6x8>"
    assert [name_of(v) for v in (video, frames(5, 8, 6, 3), b"x")] == [str(video), "frames (5, 8, 6, 3)", "bytes"]


def test_videos_in_memory_can_be_sent(video: Path) -> None:
    for source in (open_video(video), open_video(video.read_bytes()), open_input(all_frames(video))):
        again = pickle.loads(pickle.dumps(source))
        assert torch.equal(read_views(again, *READ), read_views(video, *READ))
    assert isinstance(open_input(all_frames(video)), Frames)
