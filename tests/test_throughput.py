"""Measured speed: every method in turn, and memory of a process of its own."""

import json

import pytest
import torch

from stillmotion.errors import StillmotionError
from stillmotion.methods import METHODS, ActionCLIP, LinearProbe
from stillmotion.throughput import Subject, _Model, measure
from tests.cli.test_cli import run
from tests.conftest import tiny_config


def test_speed_and_memory() -> None:
    subjects = [Subject(LinearProbe(num_frames=frames), tiny_config(), 3) for frames in (1, 64)]
    one, many = measure(subjects, "cpu", batch=2, repeats=3)
    assert len(one.seconds) == len(many.seconds) == 3
    assert one.videos_per_second == pytest.approx(2 / sorted(one.seconds)[1])
    assert one.videos_per_second > many.videos_per_second > 0
    assert 1e8 < one.peak_memory < 4e9, "bytes, with PyTorch in them"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs(name: str) -> None:
    method = ActionCLIP(templates=("a {}", "{}")) if name == "actionclip" else METHODS[name]()
    if name == "evl":
        method = METHODS[name](layers=2)
    if name == "change_probe":
        method = METHODS[name](blocks=3)
    _Model(Subject(method, tiny_config(), 3), torch.device("cpu"), 1).run()


def test_numbers_that_make_no_sense() -> None:
    with pytest.raises(StillmotionError, match="batch is 0"):
        measure([], batch=0)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("count", "linear_probe", "zero_shot", "--clip-model", "ViT-B-32", "--image-size", 64, "--num-frames", 1)
    code, out, _ = run(capsys, *words)
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("linear_probe", "zero_shot"))]
    assert code == 0
    assert [row[:3] for row in rows] == [["linear_probe", "ViT-B-32", "1"], ["zero_shot", "ViT-B-32", "1"]]
    assert rows[1][4] == "151.2" and "videos/s" not in out
    more = ("--throughput", "--repeats", 1, "--device", "cpu", "--classes", 5, "--json")
    code, out, _ = run(capsys, "count", "linear_probe", *words[3:], *more)
    (row,) = json.loads(out)["methods"]
    assert code == 0 and row["videos_per_second"] > 0 and row["peak_memory"] > 1e8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evl", "evil"), "did you mean 'evl'"),
        (("evl", "step", "--batch", "0"), "batch is 0"),
        (("evl", "--throughput", "--layers", "3"), "--layers"),
        (("evl", "torchvision:r3d_18"), "of another library"),
    ],
)
def test_mistakes_are_one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], message: str) -> None:
    code, out, err = run(capsys, "count", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
