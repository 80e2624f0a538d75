"""What a benchmark refuses: in one line, with exit code 2, and with nothing written."""

import shutil
from pathlib import Path

import pytest

from stillmotion.cli import main
from tests.bench.small import bench, cell, check_row, refused, table
from tests.conftest import write_tiny_clip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("few_shot", "zero_shot"), "no protocol 'few_shot'; did you mean 'few-shot'"),
        (("few-shot",), "name methods behind the protocol"),
        (("few-shot", "linear_prob"), "did you mean"),
        (("few-shot", "zero_shot", "--epoch", 3), "did you mean '--epochs'"),
        (("few-shot", "zero_shot", "--tuned", "image"), "none of these methods has an option --tuned"),
        (("few-shot", "zero_shot", "zero_shot"), "named twice"),
        (("few-shot", "a = zero_shot", "a = linear_probe"), "named twice"),
        (("few-shot", "../a = zero_shot"), "names no folder"),
        (("few-shot", "a = zero_shot --nonsense 3"), "nonsense"),
        (("few-shot", "a = 'zero_shot"), "cannot read the method"),
        (("few-shot", "zero_shot", "--shots", 0), "at least 1"),
        (("few-shot", "zero_shot", "--seeds", 0, 0), "give different"),
        (("few-shot", "zero_shot", "--shots", 4), "fewer than 4 shots"),
        (("supervised", "zero_shot", "--shots", 2), "--shots is for"),
        (("supervised", "zero_shot", "--draws", 2), "--draws is for"),
        (("supervised", "zero_shot", "--drop-last", 0), "drop-last is 0"),
        (("base-to-novel", "zero_shot", "--shots", 1, 2), "one number of --shots"),
        (("zero-shot", "linear_probe"), "must be trained before"),
        (("zero-shot", "zero_shot", "--draws", 1), "draw-classes is 160"),
        (("zero-shot", "zero_shot", "--split", "nope"), "nope"),
        (("zero-shot", "zero_shot", "--preset", "sloppy"), "sloppy"),
    ],
    ids=lambda x: "-".join(map(str, x)) if isinstance(x, tuple) else "",
)  # fmt: skip
def test_bad_input(
    words: tuple[object, ...], said: str, clips: Path, tiny_clip: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    line = refused(capsys, *words, "--data", clips, "--backbone", tiny_clip, "--out", out)
    assert said in line and len(line.splitlines()) == 1
    assert not out.exists()


def test_a_class_without_test_clips(
    clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(clips, data)
    shutil.rmtree(data / "val" / "run")
    words = ("--data", data, "--backbone", tiny_clip, "--out", out, "--shots", 1)
    assert "class 'run' has no clip" in refused(capsys, "base-to-novel", "zero_shot", *words)
    assert not out.exists()


def test_test_clips_that_are_training_clips(
    clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By their content, under another name; found before anything is trained, whatever the method."""
    data = tmp_path / "data"
    shutil.copytree(clips, data)
    shutil.copy(data / "train" / "run" / "run_train0.mp4", data / "val" / "run" / "other_name.mp4")
    words = ("--data", data, "--backbone", tiny_clip, "--epochs", 1)
    for method in ("linear_probe", "auto"):
        out = tmp_path / method
        line = refused(capsys, "supervised", method, *words, "--out", out)
        assert "1 of 9 test clips are training clips too" in line and "--allow-overlap" in line
        assert "other_name.mp4" in line and "run_train0.mp4" in line
        assert not list(out.rglob("cell.json")) and not (out / "table.json").exists()
    bench("supervised", "linear_probe", *words, "--out", tmp_path / "allowed", "--allow-overlap")
    assert "1 of 9 test clips are training clips too" in capsys.readouterr().err
    line, _, predictions = cell(tmp_path / "allowed", "linear_probe_seed-0")
    check_row(line, predictions)
    assert line["videos"] == 9


def test_auto_is_a_method(clips: Path, tmp_path: Path) -> None:
    clip = write_tiny_clip(tmp_path / "clip.safetensors", layers=4)
    bench("supervised", "auto", "linear_probe", "--data", clips, "--backbone", clip, "--epochs", 1, "--folds", 2,
          "--candidates", "linear_probe", "attentive_probe", "--out", tmp_path)  # fmt: skip
    rows = table(tmp_path)["rows"]
    assert [r["method"] for r in rows] == ["auto", "linear_probe"]
    for row in rows:
        _, _, predictions = cell(tmp_path, f"{row['method']}_seed-0")
        check_row(row, predictions)
    assert (tmp_path / "cells" / "auto_seed-0" / "auto.json").is_file()


def test_which_of_two_splits_is_scored_is_said(
    clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["data", "split", str(clips), "-o", str(tmp_path / "m.jsonl"), "--fractions", ".4", ".3", ".3"])
    words = ("supervised", "linear_probe", "--data", tmp_path / "m.jsonl", "--backbone", tiny_clip, "--epochs", 1)
    capsys.readouterr()
    bench(*words, "--out", tmp_path / "a")
    said = f"scoring split 'val' of {tmp_path / 'm.jsonl'}, which also has 'test'; pass --split test for that"
    assert said in capsys.readouterr().err
    bench(*words, "--split", "test", "--out", tmp_path / "b")
    assert "scoring split" not in capsys.readouterr().err
    paths = [{Path(p).name for p in cell(tmp_path / name, "linear_probe_seed-0")[2].paths} for name in "ab"]
    assert paths[0] and paths[1] and not paths[0] & paths[1]


def test_auto_cannot_choose_by_one_clip(clips: Path, tmp_path: Path) -> None:
    clip = write_tiny_clip(tmp_path / "clip.safetensors", layers=4)
    bench("few-shot", "auto", "linear_probe", "--data", clips, "--backbone", clip, "--epochs", 1, "--shots", 1, 2,
          "--candidates", "linear_probe", "--out", tmp_path)  # fmt: skip
    rows = {(row["method"], row["cell"]["shots"]): row for row in table(tmp_path)["rows"]}
    assert "has one clip for training; at least two" in rows["auto", 1]["note"] and rows["auto", 1]["top1"] is None
    assert all(rows[key]["top1"] is not None for key in (("auto", 2), ("linear_probe", 1), ("linear_probe", 2)))


def test_a_folder_whose_only_class_is_its_split(
    clips: Path, tiny_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "val").symlink_to(next(path for path in clips.rglob("*.mp4")).parent, target_is_directory=True)
    words = ["zero-shot", "zero_shot", "--data", tmp_path / "one", "--backbone", tiny_clip, "--out", tmp_path / "out"]
    line = refused(capsys, *words)
    assert "has one class, 'val'; at least two are compared" in line and not (tmp_path / "out").exists()
