"""Two runs compared: their switches, the same videos, and the literature."""

import json
from pathlib import Path

import pytest

from stillmotion.compare import compare, settings
from stillmotion.report.runs import read_run
from tests.cli.test_cli import run
from tests.report.folders import write_run, write_scores

PATHS = [f"v/r{i // 2}_{i}.mp4" for i in range(12)]
LABELS = [i % 3 for i in range(12)]
WORSE = [*LABELS[:8], *((k + 1) % 3 for k in LABELS[8:])]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    found = []
    for name, called in (("a", LABELS), ("b", WORSE)):
        (tmp_path / name).mkdir()
        found.append(write_run(tmp_path / name, PATHS, LABELS, called))
    return found[0], found[1]


def change(folder: Path, **more: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["recipe"]["method"] |= more.pop("method", {})  # type: ignore[operator]
    config["recipe"]["train"] |= more.pop("train", {})  # type: ignore[operator]
    config["recipe"] |= more.pop("recipe", {})  # type: ignore[operator]
    (folder / "config.json").write_text(json.dumps(config | more))


def test_numbers_by_hand(folders: tuple[Path, Path]) -> None:
    found = compare(*map(read_run, folders))
    assert (found.videos, found.only_first, found.only_second) == (12, 4, 0)
    assert found.difference == pytest.approx(1 / 3)
    assert found.p_value == pytest.approx(2 / 2**4)
    low, high = found.difference_interval
    assert 0 < low < 1 / 3 < high < 1
    assert found.first.top1_interval == (1.0, 1.0)
    back = compare(*map(read_run, reversed(folders)))
    assert back.difference == pytest.approx(-1 / 3)
    grouped = compare(*map(read_run, folders), group=r"r(\d+)_")
    assert (grouped.sources, grouped.videos) == (6, 12)
    assert grouped.difference_interval[0] < low, "two videos of a recording fail together"


def test_switches_are_what_decides_numbers(folders: tuple[Path, Path]) -> None:
    a, b = folders
    change(a, place={"out": "x"}, train={"device": "cpu"}, recipe={"backbone": "/x/B.pt"}, backbone=["12"])
    change(b, place={"out": "y"}, train={"device": "cuda"}, recipe={"backbone": "B:openai"}, backbone=["12"])
    assert compare(*map(read_run, folders)).switches == ()
    change(b, recipe={"backbone": "/x/B.pt"}, backbone=["34"])
    (only,) = compare(*map(read_run, folders)).switches
    assert (only.name, only.second) == ("backbone", ["34"]), "one name, other weights"
    change(b, recipe={"backbone": "B:openai"})
    change(b, method={"num_frames": 16, "taps": [1]}, train={"seed": 8, "lr": 0.1}, backbone=["34"])
    found = {s.name: (s.first, s.second) for s in compare(*map(read_run, folders)).switches}
    assert found == {
        "recipe.method.num_frames": (8, 16),
        "recipe.method.taps": (None, [1]),
        "recipe.train.lr": (0.25, 0.1),
        "recipe.train.seed": (7, 8),
        "recipe.backbone": ("/x/B.pt", "B:openai"),
    }


def test_options_of_an_evaluation_are_switches(tmp_path: Path) -> None:
    write_scores(tmp_path, PATHS, LABELS, LABELS, name="eval_predictions.jsonl")
    (tmp_path / "eval.json").write_text(json.dumps({"config": {"views": "3", "data": "d", "device": "cpu"}}))
    assert settings(read_run(tmp_path)) == {"eval.views": "3"}


def test_the_command(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    change(folders[1], train={"seed": 9})
    code, out, _ = run(capsys, "compare", *folders)
    assert code == 0
    assert any(line.split() == ["recipe.train.seed", "7", "9"] for line in out.splitlines())
    assert "difference +33.3 points" in out and "p = 0.12" in out and "on 12 videos\n" in out
    _, text, _ = run(capsys, "compare", *folders, "--json")
    found = json.loads(text)
    assert found["only_first"] == 4
    assert found["switches"] == [{"name": "recipe.train.seed", "first": 7, "second": 9}]


def test_recordings_are_those_that_both_were_split_by(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    change(folders[0], data={"group": r"r(\d+)_"})
    assert "recordings drawn" not in run(capsys, "compare", *folders)[1], "the other knows none"
    change(folders[1], data={"group": r"r(\d+)_"})
    assert "on 12 videos, 6 recordings drawn" in run(capsys, "compare", *folders)[1]
    for folder in folders:
        change(folder, data={"group": "of other names"})
    assert "on 12 videos\n" in run(capsys, "compare", *folders)[1]


def test_other_videos_are_refused_unless_common(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    write_scores(folders[1], PATHS[2:], LABELS[2:], WORSE[2:])
    code, out, err = run(capsys, "compare", *folders)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "v/r0_0.mp4" in err and "(2 such)" in err and "--common" in err
    code, out, _ = run(capsys, "compare", *folders, "--common")
    assert code == 0
    assert "on 10 videos that both have; 12 and 10 scored" in out
    write_scores(folders[1], ["w/1.mp4"], [0], [0])
    code, _, err = run(capsys, "compare", *folders, "--common")
    assert code == 2 and "no video in common" in err


def test_beside_the_literature(folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ("compare", folders[1], "--published", "--setting", "zero-shot")
    code, _, err = run(capsys, *words)
    assert code == 2 and "my_videos, names no known data set; pass --data UCF101" in err
    code, out, _ = run(capsys, *words, "--data", "UCF101")
    assert code == 0
    assert "top-1 66.7 %" in out and "ViFi-CLIP, table 1" in out and "MAXI" not in out
    change(folders[1], data={"data": "sets/ucf101/val"})
    _, text, _ = run(capsys, *words, "--json")
    found = json.loads(text)
    assert found["run"]["videos"] == 12
    assert {row["dataset"] for row in found["published"]} == {"UCF-101"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "0 runs to compare; name two"),
        (("a",), "1 run to compare; name two"),
        (("a", "b", "--published"), "name one with --published"),
        (("a", "b", "--setting", "few-shot"), "pass --published"),
        (("nowhere", "b"), "nowhere holds no finished run"),
        (("a", "b", "--resamples", "0"), "resamples is 0"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folders: tuple[Path, Path],
    words: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folders[0].parent)
    code, out, err = run(capsys, "compare", *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert message in err
