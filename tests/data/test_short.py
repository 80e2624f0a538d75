"""More frames asked than clips have: said once, and not where it is so of a few."""

from pathlib import Path

import pytest

from stillmotion.cli import main
from stillmotion.data.manifest import Clip
from stillmotion.data.short import say_if_short
from stillmotion.data.video import announced
from tests.videos import write_video

WARNING = (
    "warning: num-frames is {}, and 12 of 12 clips looked at have fewer, about 18: the same frames are read several"
)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.webm", "a.ts"])
def test_headers_announce_frames(tmp_path: Path, name: str) -> None:
    codec = {"a.avi": "mpeg4", "a.webm": "libvpx-vp9"}.get(name, "libx264")
    assert abs(announced(write_video(tmp_path / name, 25, codec)).frames - 25) <= 1


def clips(folder: Path, *frames: int) -> list[Clip]:
    return [Clip(write_video(folder / f"{i}.mp4", count), 0) for i, count in enumerate(frames)]


def test_it_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = clips(tmp_path, 5, 9, 7)
    for _ in range(2):
        say_if_short(few, 8)
    err = capsys.readouterr().err
    assert err.count("warning: num-frames is 8, and 2 of 3 clips looked at have fewer, about 6") == 1
    assert "pass --num-frames 3, say" in err
    say_if_short(few, 6)
    (tmp_path / "bad.mp4").write_text("no video")
    say_if_short([Clip(tmp_path / "bad.mp4", 0), Clip(tmp_path / "none.mp4", 0)], 7)
    say_if_short([], 7)
    assert capsys.readouterr().err == "", "it is so of a few alone, or nothing is known"


@pytest.mark.parametrize("method", ["linear_probe", "vificlip"])
def test_training_says_it(
    capsys: pytest.CaptureFixture[str], folder_of_videos: Path, tiny_clip: Path, tmp_path: Path, method: str
) -> None:
    words = ["train", method, "--data", folder_of_videos, "--val", folder_of_videos, "--duplicates", "keep"]
    words += ["--backbone", tiny_clip, "--out", tmp_path / "r", "--device", "cpu", "--num-frames"]
    more = ["--epochs", "1", *(["--warmup", "0"] if method == "vificlip" else [])]
    frames = 40 if method == "vificlip" else 44
    main([str(w) for w in [*words, frames, *more]])
    assert capsys.readouterr().err.count(WARNING.format(frames)) == 1
    main([str(w) for w in [*words, 4, *more, "--overwrite"]])
    assert "warning" not in capsys.readouterr().err
