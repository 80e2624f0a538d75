"""The embedded data set: real files, the same from the same seed, and nothing but time between the two of a pair."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stillmotion.actors import render as actors
from stillmotion.actors.render import ACTIONS, FPS, HEIGHT, PAIRS, WIDTH, ActorsSpec, clip_frames, render_actors
from stillmotion.data.manifest import find_duplicates, find_split, read_manifest
from stillmotion.data.video import open_video

SPEC = ActorsSpec(train_actors=2, test_actors=1)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_actors(tmp_path_factory.mktemp("actors"), SPEC, processes=1)


def test_files_are_real_videos_in_the_layout_of_train(rendered: Path) -> None:
    train, test = find_split(rendered)
    manifests = [read_manifest(train), read_manifest(test)]
    assert manifests[0].classes == tuple(sorted(ACTIONS))
    assert Counter(c.label for c in manifests[0].clips) == dict.fromkeys(range(10), 2)
    assert len(manifests[1]) == 10
    assert find_duplicates(manifests) == []
    for clip in manifests[1].clips:
        video = open_video(clip.path)
        assert (video.fps, video.size) == (FPS, (HEIGHT, WIDTH))
        assert 1.6 <= video.duration <= 2.8
        assert video.frames([0]).float().std() > 10


def test_the_same_seed_gives_the_same_bytes(rendered: Path, tmp_path: Path) -> None:
    again = render_actors(tmp_path, ActorsSpec(train_actors=1, test_actors=0, actions=("push",)), processes=1)
    name = Path("train/push/actor00.mp4")
    assert (again / name).read_bytes() == (rendered / name).read_bytes()
    other = render_actors(
        tmp_path / "other", ActorsSpec(train_actors=1, test_actors=0, actions=("push",), seed=1), processes=1
    )
    assert (other / name).read_bytes() != (rendered / name).read_bytes()


def test_files_that_are_there_are_kept(rendered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(actors, "_render", lambda job: pytest.fail(f"rendered {job.path} again"))
    render_actors(rendered, SPEC, processes=1)


@pytest.mark.parametrize("pair", PAIRS)
def test_a_partner_is_the_action_played_backwards(pair: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same draws for both, the frames of one are those of the other in reverse."""
    monkeypatch.setattr(actors, "_seed", lambda *_: 5)
    monkeypatch.setattr(actors, "_shake", lambda count, _: np.zeros((count, 2), dtype=np.int64))
    forward, backward = ([np.asarray(f) for f in clip_frames(name, "train", 0, 0)] for name in pair)
    assert len(forward) == len(backward)
    assert all(np.array_equal(a, b) for a, b in zip(forward, reversed(backward)))
    assert np.abs(forward[0].astype(int) - forward[-1].astype(int)).mean() > 0.2, "something must move"


def test_actors_and_rooms_differ_between_train_and_test() -> None:
    train, test = (next(clip_frames("walk_left", split, 0, 0)) for split in ("train", "test"))
    assert np.abs(np.asarray(train, dtype=int) - np.asarray(test, dtype=int)).mean() > 10
