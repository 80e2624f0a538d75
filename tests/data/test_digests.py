"""Files are read once for their digest, by whoever asks, unless they could have changed since."""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from stillmotion.data.manifest import Clip, Manifest, find_duplicates
from stillmotion.errors import DiskError
from stillmotion.files import Digests, sha256

HOUR = 3_600_000_000_000


def make(folder: Path, count: int, age: int = HOUR) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{i}.mp4" for i in range(count)]
    for i, path in enumerate(paths):
        path.write_bytes(f"content {i // 2:06d}".encode())
        set_time(path, time.time_ns() - age)
    return paths


def set_time(path: Path, when: int) -> None:
    os.utime(path, ns=(when, when))


def refuse(path: Path) -> str:
    raise AssertionError(f"read {path}")


def test_a_second_pass_opens_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make(tmp_path / "videos", 20)
    manifest = Manifest(tuple(Clip(p, 0) for p in paths), ("a",))
    pairs = find_duplicates([manifest], Digests(tmp_path / "cache"))
    assert len(pairs) == 10
    expected = [sha256(p) for p in paths]
    monkeypatch.setattr("stillmotion.files.sha256", refuse)
    monkeypatch.chdir(tmp_path)
    again = Digests(tmp_path / "cache")
    assert find_duplicates([manifest], again) == pairs
    assert [again.digest(Path("videos") / p.name) for p in paths] == expected
    before = again.memo.read_bytes()
    again.save()
    assert again.memo.read_bytes() == before


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, digests = make(tmp_path / "videos", 1)[0], Digests(None)
    digest = digests.digest(path)
    digests.save()
    monkeypatch.setattr("stillmotion.files.sha256", refuse)
    assert digests.digest(path) == digest
    assert [p.name for p in tmp_path.iterdir()] == ["videos"]


@pytest.mark.parametrize("change", ["size", "content", "content and time"])
def test_a_change_is_noticed(tmp_path: Path, change: str) -> None:
    path = make(tmp_path, 1)[0]
    when = path.stat().st_mtime_ns
    digests = Digests(tmp_path / "cache")
    old = digests.digest(path)
    digests.save()
    path.write_bytes(b"content 00000" + (b"12" if change == "size" else b"1"))
    if change == "content and time":
        time.sleep(0.02)  # of the clock that cannot be set back
        set_time(path, when)
    assert Digests(tmp_path / "cache").digest(path) == sha256(path) != old


@pytest.mark.parametrize("age", [0, -HOUR])
def test_a_file_that_is_new_is_read_again(tmp_path: Path, age: int) -> None:
    """A second change within one tick of the clock leaves size and time as they were."""
    path = make(tmp_path, 1, age)[0]
    when = path.stat().st_mtime_ns
    digests = Digests(tmp_path / "cache")
    digests.digest(path)
    digests.save()
    path.write_bytes(b"content 000001")
    set_time(path, when)
    assert digests.digest(path) == Digests(tmp_path / "cache").digest(path) == sha256(path)


def test_damaged_lines_are_left_out(tmp_path: Path) -> None:
    paths = make(tmp_path / "videos", 40)
    digests = Digests(tmp_path)
    for path in paths:
        digests.digest(path)
    digests.save()
    content = digests.memo.read_bytes()
    for damage in (
        b"\xff\x00garbage\n\n{}\n" + content,
        content[: len(content) // 2],
        bytes(c ^ 4 * (i % 97 == 0) for i, c in enumerate(content)),
        content.replace(b"[", b"{"),
        content.replace(b"a", b"b"),
    ):
        digests.memo.write_bytes(damage)
        again = Digests(tmp_path)
        assert [again.digest(p) for p in paths] == [sha256(p) for p in paths]
        again.save()
        mended = Digests(tmp_path)
        assert len(mended._known) == 40


def work(folder: Path, number: int) -> None:
    for start in range(0, 200, 20):
        digests = Digests(folder / "cache")
        for path in sorted((folder / "videos").iterdir())[start + number : start + 20 : 3]:
            digests.digest(path)
        digests.save()


def test_processes_share_a_memo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make(tmp_path / "videos", 200)
    with ProcessPoolExecutor(3) as pool:
        list(pool.map(work, [tmp_path] * 3, range(3)))
    expected = [sha256(p) for p in paths]
    monkeypatch.setattr("stillmotion.files.sha256", refuse)
    digests = Digests(tmp_path / "cache")
    assert [digests.digest(p) for p in paths] == expected


def test_what_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(OSError, match=path.name):
            Digests(None).digest(path)
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(OSError, match="it is no file"):
        Digests(None).digest(tmp_path / "pipe.mp4")
    (tmp_path / "digests.jsonl").mkdir()
    digests = Digests(tmp_path)
    digests.digest(make(tmp_path / "videos", 1)[0])
    with pytest.raises(DiskError, match="it is a folder"):
        digests.save()


def test_lines_say_what_they_are(tmp_path: Path) -> None:
    path = make(tmp_path, 1)[0]
    digests = Digests(tmp_path)
    digests.digest(path)
    digests.save()
    check, text = digests.memo.read_text().strip().split(" ", 1)
    assert len(check) == 16
    name, (size, *_), digest = json.loads(text)
    assert (name, size, digest) == (str(path), 14, sha256(path))
