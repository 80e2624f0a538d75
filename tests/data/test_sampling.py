"""Frame indices and crops equal those of the official samplers."""

import re

import numpy as np
import pytest

from stillmotion.data.sampling import (
    Sampling,
    crop_offsets,
    dense_test,
    dense_train,
    segments_test,
    segments_train,
    segments_train_evl,
)
from stillmotion.errors import StillmotionError
from tests.golden.recipe import load

GOLDEN = load("sampling")


def numbers(key: str) -> dict[str, int]:
    return {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", key)}


def cases(system: str, kind: str) -> list[tuple[dict[str, int], list]]:
    return [(numbers(key), value) for key, value in GOLDEN[system][kind].items()]


@pytest.mark.golden
def test_segments_of_vificlip_and_xclip() -> None:
    for k, expected in cases("vifi_xclip", "test"):
        assert segments_test(k["n"], k["T"]).tolist() == [expected]
    for k, expected in cases("vifi_xclip", "train(seed 0)"):
        assert segments_train(k["n"], k["T"], np.random.RandomState(0)).tolist() == expected
    for k, expected in cases("vifi_xclip", "multiview4(seed 0)"):
        rng = np.random.RandomState(0)
        assert np.concatenate([segments_train(k["n"], k["T"], rng) for _ in range(4)]).tolist() == expected


@pytest.mark.golden
def test_strides_and_segments_of_evl() -> None:
    for k, expected in cases("evl", "test"):
        assert dense_test(k["n"], k["T"], k["stride"], k["views"]).tolist() == expected
    for k, expected in cases("evl", "train(seed 0)"):
        assert dense_train(k["n"], k["T"], k["stride"], np.random.RandomState(0)).tolist() == expected
    for k, expected in cases("evl", "train_tsn(seed 0)"):
        assert segments_train_evl(k["n"], k["T"], np.random.RandomState(0)).tolist() == expected


@pytest.mark.golden
def test_crops_of_evl() -> None:
    for key, expected in GOLDEN["evl"]["spatial(top,left,h,w)"].items():
        h, w, views = map(int, re.findall(r"\d+", key))
        assert [[*o, 224, 224] for o in crop_offsets((h, w), (224, 224), views)] == expected


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("T", [1, 8, 32])
def test_indices_are_frames_of_the_video(n: int, T: int) -> None:
    rng = np.random.RandomState(0)
    for sampling in (Sampling(views=3), Sampling(scheme="dense", stride=4, views=3), Sampling(scheme="dense")):
        for indices in (sampling.test(n, T), sampling.train(n, T, rng)[None]):
            assert indices.shape[1] == T
            assert indices.min() >= 0
            assert indices.max() < n


def test_views_differ_and_are_fixed() -> None:
    views = segments_test(80, 8, views=4)
    assert views.shape == (4, 8)
    assert len({tuple(v) for v in views.tolist()}) == 4
    assert np.array_equal(views, segments_test(80, 8, views=4))


def test_the_middle_frame_is_one_frame() -> None:
    assert segments_test(81, 1).tolist() == [[40]]


def test_empty_videos_are_refused() -> None:
    with pytest.raises(StillmotionError, match="8 frames asked of a video with 0"):
        segments_test(0, 8)
