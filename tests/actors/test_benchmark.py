"""The benchmark's data sets: real files in the layout of `--data`, the same from the same seed."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stillmotion.actors import benchmark
from stillmotion.actors.benchmark import TASKS, BenchmarkSpec, ClipClass, classes, clip_frames, write_benchmark
from stillmotion.actors.captions import words
from stillmotion.actors.vocabulary import held_out_handling
from stillmotion.data.manifest import find_split, read_manifest
from stillmotion.data.video import open_video
from stillmotion.errors import StillmotionError
from stillmotion.models.tokenizer import tokenize

FEW = {
    "supervised": (ClipClass("wave"), ClipClass("sit_down"), ClipClass("sit_down", reverse=True)),
    "base_to_novel/novel": (ClipClass("lift", thing="bottle"),),
}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(benchmark, "classes", lambda task: FEW.get(task, ()))


def test_files_are_clips_in_folders_of_classes(few: None, tmp_path: Path) -> None:
    folder = write_benchmark(tmp_path / "b", BenchmarkSpec(train=2, val=1), processes=1)
    train, val = find_split(folder / "supervised")
    manifest = read_manifest(train)
    assert manifest.classes == ("sit down", "stand up", "wave")
    assert Counter(c.label for c in manifest.clips) == dict.fromkeys(range(3), 2) and len(read_manifest(val)) == 3
    shots = read_manifest(folder / "few_shot" / "1.csv")
    assert len(shots) == 3 and all(clip.path.is_file() for clip in shots.clips)
    assert not (folder / "few_shot" / "4.csv").exists(), "there are no four clips of a class"
    assert not (folder / "base_to_novel" / "novel" / "train").exists()
    video = open_video(manifest.clips[0].path)
    assert video.size == (96, 96) and 16 <= video.num_frames <= 24


def test_the_same_seed_gives_the_same_bytes_and_what_is_there_is_kept(few: None, tmp_path: Path) -> None:
    name = Path("supervised/val/wave/000.mp4")
    one, same, other = (
        write_benchmark(tmp_path / str(i), BenchmarkSpec(train=1, val=1, seed=seed), processes=1) / name
        for i, seed in enumerate((0, 0, 1))
    )
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()
    one.write_bytes(b"kept")
    write_benchmark(tmp_path / "0", BenchmarkSpec(train=1, val=1), processes=1)
    assert one.read_bytes() == b"kept"


def test_backwards_is_the_same_clip_in_reverse() -> None:
    there, back = (list(clip_frames(ClipClass("lie_down", reverse=r), np.random.RandomState(2))) for r in (False, True))
    assert len(there) == len(back)
    assert all(np.array_equal(a, b) for a, b in zip(there, reversed(back)))


def test_classes_of_the_tasks() -> None:
    names = {task: [c.name for c in classes(task)] for task in TASKS}
    known = set(tokenize([text.replace("{}", "") for text in words()]).flatten().tolist())
    for task, found in names.items():
        assert len(found) == len(set(found)) and 12 <= len(found) <= 40, task
        assert set(tokenize(found).flatten().tolist()) <= known, "captions have every word of a class name"
    assert set(names["zero_shot/source"]) | set(names["zero_shot/target"]) == set(names["supervised"])
    assert not set(names["zero_shot/source"]) & set(names["zero_shot/target"])
    assert not set(names["base_to_novel/base"]) & set(names["base_to_novel/novel"])
    for task, out in (("base_to_novel/base", False), ("base_to_novel/novel", True)):
        assert all(held_out_handling(c.action, c.thing) == out for c in classes(task) if c.thing)


def test_a_benchmark_of_nothing_is_refused() -> None:
    with pytest.raises(StillmotionError, match="train is 0"):
        BenchmarkSpec(train=0)
