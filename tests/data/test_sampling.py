"""Frame indices and crops equal those of the official samplers."""

import random
import re
from typing import get_args

import numpy as np
import pytest

from stillmotion.data.sampling import (
    STRIDES,
    Sampling,
    Scheme,
    actionclip_test,
    actionclip_train,
    crop_offsets,
    dense_test,
    dense_train,
    segments_test,
    segments_train,
    segments_train_evl,
    stride_window,
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
def test_segments_of_actionclip() -> None:
    """Its frames are numbered from 1."""
    for k, expected in cases("actionclip", "test(1-based)"):
        assert (actionclip_test(k["n"], k["T"]) + 1).tolist() == [expected]
    for k, expected in cases("actionclip", "train(1-based, seed 0)"):
        assert (actionclip_train(k["n"], k["T"], np.random.RandomState(0)) + 1).tolist() == expected


@pytest.mark.golden
def test_windows_of_a5() -> None:
    """Strides are of Python's generator, phase and window of NumPy's, both with the same seed."""
    windows = [(numbers(key), value) for key, value in GOLDEN["a5"].items()]
    assert len(windows) == 13
    for k, expected in windows:
        seed = k.get("seed", 0)
        stride = random.Random(seed).choice(STRIDES)
        assert stride_window(k["n"], 16, stride, np.random.RandomState(seed)).tolist() == expected


def test_a_short_video_repeats_its_last_frame_at_a_random_stride() -> None:
    assert stride_window(3, 5, 2, np.random.RandomState(0)).tolist() == [0, 1, 2, 2, 2]
    # 12 frames at a stride of 3 are 4, too few for 5: the stride becomes 1
    assert np.diff(stride_window(12, 5, 3, np.random.RandomState(0))).tolist() == [1, 1, 1, 1]


@pytest.mark.golden
def test_crops_of_evl() -> None:
    for key, expected in GOLDEN["evl"]["spatial(top,left,h,w)"].items():
        h, w, views = map(int, re.findall(r"\d+", key))
        assert [[*o, 224, 224] for o in crop_offsets((h, w), (224, 224), views)] == expected


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 100])
@pytest.mark.parametrize("T", [1, 8, 32])
def test_indices_are_frames_of_the_video(n: int, T: int) -> None:
    rng = np.random.RandomState(0)
    for sampling in [Sampling(scheme=scheme, stride=4, views=3) for scheme in get_args(Scheme)] + [Sampling()]:
        for indices in (sampling.test(n, T), sampling.train(n, T, rng)[None]):
            assert indices.shape[1] == T
            assert indices.min() >= 0
            assert indices.max() < n


@pytest.mark.parametrize("scheme", get_args(Scheme))
def test_views_differ_and_are_fixed(scheme: str) -> None:
    sampling = Sampling(scheme=scheme, stride=2, views=4)
    views = sampling.test(80, 8)
    assert views.shape == (4, 8)
    assert len({tuple(v) for v in views.tolist()}) == 4
    assert np.array_equal(views, sampling.test(80, 8))


def test_schemes_train_by_the_sampler_of_their_release() -> None:
    def draw(scheme: str) -> list[int]:
        return Sampling(scheme=scheme).train(1007, 8, np.random.RandomState(3)).tolist()

    assert draw("evl_segments") == segments_train_evl(1007, 8, np.random.RandomState(3)).tolist()
    assert draw("actionclip") == actionclip_train(1007, 8, np.random.RandomState(3)).tolist()
    assert draw("actionclip_middle") == actionclip_test(1007, 8)[0].tolist()
    assert len({tuple(draw(scheme)) for scheme in get_args(Scheme)}) == len(get_args(Scheme))


def test_evl_segments_are_tested_in_their_middle() -> None:
    assert np.array_equal(Sampling(scheme="evl_segments").test(50, 8), segments_test(50, 8))


def test_the_middle_frame_is_one_frame() -> None:
    assert segments_test(81, 1).tolist() == [[40]]


def test_empty_videos_are_refused() -> None:
    with pytest.raises(StillmotionError, match="8 frames asked of a video with 0"):
        segments_test(0, 8)
