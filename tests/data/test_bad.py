"""The list of bad videos: each one once, whoever meets it, and read no more often than it grows."""

import json
from pathlib import Path

import pytest

from stillmotion.data.bad import BadVideo, BadVideos
from stillmotion.errors import DataError


def bad(i: int) -> BadVideo:
    return BadVideo(f"{i}.mp4", f"{i}.mp4 is empty")


def listed(path: Path) -> list[str]:
    return [json.loads(line)["path"] for line in path.read_text().splitlines()]


def test_processes_and_continued_runs_list_a_video_once(tmp_path: Path) -> None:
    path = tmp_path / "run" / "bad.jsonl"
    first, second = BadVideos(path, 10, 1.0), BadVideos(path, 10, 1.0)
    for videos, i in (
        (first, 0),
        (second, 0),
        (second, 1),
        (first, 1),
        (first, 2),
        (second, 3),
        (first, 3),
        (first, 3),
    ):
        videos.add(bad(i))
    BadVideos(path, 10, 1.0).add(bad(2))
    assert listed(path) == ["0.mp4", "1.mp4", "2.mp4", "3.mp4"]


def test_the_list_is_not_read_again_for_every_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was read whole for each one: 1,500 times half of 80 kB."""
    read, path = 0, tmp_path / "bad.jsonl"
    plain = Path.open

    def count(self: Path, mode: str = "r", *args: object, **options: object):
        nonlocal read
        file = plain(self, mode, *args, **options)
        if "r" in mode:
            inner = file.read

            def counted(*size: int) -> object:
                nonlocal read
                content = inner(*size)
                read += len(content)
                return content

            file.read = counted
        return file

    monkeypatch.setattr(Path, "open", count)
    videos = BadVideos(path, 1500, 1.0)
    for i in range(1500):
        videos.add(bad(i))
    monkeypatch.undo()
    assert listed(path) == [f"{i}.mp4" for i in range(1500)]
    assert read <= path.stat().st_size


def test_a_last_line_that_was_not_finished_hides_no_other(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text(json.dumps({"path": "0.mp4", "reason": "0.mp4 is empty"}) + "\n" + '{"path": "half')
    videos = BadVideos(path, 10, 1.0)
    videos.add(bad(0))
    assert path.read_text().count("0.mp4 is empty") == 1


def test_too_many(tmp_path: Path) -> None:
    videos = BadVideos(tmp_path / "bad.jsonl", 10, 0.2)
    videos.add(bad(0))
    videos.add(bad(0))
    videos.add(bad(1))
    with pytest.raises(DataError, match=r"3 of 10 videos cannot be read, more than --max-bad 0\.2 allows"):
        videos.add(bad(2))
    assert "3 of 10" in videos.summary()
